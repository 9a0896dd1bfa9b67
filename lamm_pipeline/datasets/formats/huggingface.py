"""A Hugging Face `DatasetDict`, which `datasets.load_from_disk` opens.

    huggingface/README.md                  dataset card: columns, statistics, lineage
    huggingface/dataset_dict.json          the splits that there are: train, validation, test
    huggingface/train/data-00000.arrow     rows, in shards of some hundred megabytes
    huggingface/train/{state,dataset_info}.json
    huggingface/images/train/000000.jpg    the images (hard links), only where they are not embedded

One row a frame, in the version's order. Images are the recordings' own files, byte for byte: embedded in the rows (`embed_images`), or
referenced by paths relative to this folder, which `Image()` looks up from the current directory; the card has the lines that make them
absolute, wherever the folder lies. Lists about objects (`masks`, `bounding_boxes`, `category`, ...) are in the same order and of the same
length. The files are those that `DatasetDict.save_to_disk` writes; rows go straight into them, so that nothing is held or written twice.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lamm_pipeline.datasets.formats.dataset_card import SPLIT_NAMES, Statistics, write_card
from lamm_pipeline.datasets.formats.files import Export, ExportSummary, image_path, place
from lamm_pipeline.datasets.formats.instructions import ask, box_xywh, conversation
from lamm_pipeline.datasets.splits.split_frames import SPLITS
from lamm_pipeline.datasets.splits.split_table import SplitSample
from lamm_pipeline.datasets.versions import VersionManifest
from lamm_pipeline.errors import InputError
from lamm_pipeline.sample_table import Annotation
from lamm_pipeline.storage.atomic import write_json
from lamm_pipeline.streaming import default_workers, map_ordered

if TYPE_CHECKING:
    from datasets import Features

FOLDER = "huggingface"
ROUND_BYTES = 512 << 20
"""After so many bytes the shards of all splits end and the work is made durable; interrupted work goes on from there."""

BATCH_BYTES = 16 << 20
BATCH_ROWS = 256
TOGETHER, MOST_THREADS = 16, 2
"""Rows a thread composes at once, and threads: more of either only hold more memory, since the writing takes longer."""


def dataset_features(class_ids: Iterable[str]) -> "Features":
    """The columns.

    Args:
        class_ids: all classes of the version, in the order of their category ids; a class's number in the dataset is its place here.
    """
    from datasets import ClassLabel, Features, Image, List, Value

    label = ClassLabel(names=list(class_ids))
    text, whole, real = Value("string"), Value("int64"), Value("float64")
    return Features(
        {
            "image": Image(),
            "conversations": List({"from": text, "value": text}),
            "masks": List({"size": List(Value("int32"), length=2), "counts": text}),
            "bounding_boxes": List(List(real, length=4)),
            "category": List(label),
            "classes": List(label),
            "detection_ids": List(text),
            "track_ids": List(whole),
            "scores": List(real),
            "boxes_3d": List(List(real)),
            "frame_id": text,
            "recording": text,
            "frame_index": whole,
            "timestamp_ns": whole,
            "width": Value("int32"),
            "height": Value("int32"),
            "state": text,
        }
    )


def write_huggingface(export: Export) -> ExportSummary:
    """Write the frames of a dataset version as a Hugging Face dataset."""
    draft, manifest, classes = export.draft, export.manifest, export.classes
    root, settings = draft.directory / FOLDER, manifest.settings
    by_id = {known.id: known for known in classes.all}
    number_of = {class_id: number for number, class_id in enumerate(by_id)}
    features = dataset_features(by_id)
    log = draft.log("frames.jsonl")
    done = int(draft.state.get("done", 0))

    def image(item: SplitSample) -> tuple[dict[str, Any], str]:
        source = image_path(item.sample)
        if settings.embed_images:
            return {"bytes": _content(source), "path": source.name}, "embedded"
        name = f"images/{SPLIT_NAMES[item.split]}/{item.output_index:06d}{source.suffix}"
        return {"bytes": None, "path": name}, place(source, root / name)

    def composed(item: SplitSample) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        for each in item.sample.annotations:
            classes.of(each)
        turns = ask(item.sample, by_id, settings.conversation_turns, with_3d=settings.include_3d_boxes)
        row = _row(item, number_of, with_3d=settings.include_3d_boxes) | {"conversations": conversation(turns)}
        content, placed = image(item)
        return row, content, _counts(item, row, placed)

    def compose(group: list[SplitSample]) -> list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
        return [composed(item) for item in group]

    threads = min(MOST_THREADS, default_workers() if export.workers is None else export.workers)
    groups = map_ordered(compose, _groups(islice(export.samples, done, None)), threads)
    items = chain.from_iterable(zip(group, found, strict=True) for group, found in groups)
    with ThreadPoolExecutor(1, "shards") as writer:
        shards = _Shards(root, features.arrow_schema, draft.state, writer)
        for number, (item, (row, content, counts)) in enumerate(items, start=done + 1):
            shards.add(SPLIT_NAMES[item.split], row, content)
            log.append(counts)
            export.progress(number, export.total)
            if shards.size >= ROUND_BYTES:
                draft.checkpoint({"done": number, **shards.finish()})
        shards.finish()
    statistics, summary = _summary(log, shards)
    _write_state(root, shards, features, manifest)
    write_card(root / "README.md", manifest, classes, features, statistics, embedded=settings.embed_images)
    return summary


def written_rows(folder: Path, split: str) -> Iterator[tuple[str, list[str]]]:
    """Stream frame id and detection ids of every row in a split of a written dataset; none where the split was not written.

    Args:
        folder: the export, `huggingface`.
        split: the split, by our name.

    Raises:
        InputError: a file is damaged, or a referenced image is missing.
    """
    for path in sorted((folder / SPLIT_NAMES[split]).glob("*.arrow")):
        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as batches:
                for batch in batches:
                    _check_images(folder, batch)
                    yield from zip(batch.column("frame_id").to_pylist(), batch.column("detection_ids").to_pylist(), strict=True)
        except pa.ArrowInvalid as error:
            raise InputError(f"{path} is damaged ({error}). Materialize huggingface_dataset again.") from error


def _groups(items: Iterator[SplitSample]) -> Iterator[list[SplitSample]]:
    while group := list(islice(items, TOGETHER)):
        yield group


class _Shards:
    """The rows of all splits, in files of record batches. Where a round ends depends on the rows alone."""

    def __init__(self, root: Path, schema: pa.Schema, state: Mapping[str, Any], writer: Executor) -> None:
        self.root = root
        self.schema = schema
        self._writer = writer
        self._written: Future[None] | None = None
        self.files = Counter[str](state.get("files", {}))
        self.bytes = Counter[str](state.get("bytes", {}))
        self.digests = dict[str, str](state.get("digests", {}))
        self.size = 0
        self._open: dict[str, tuple[pa.NativeFile, pa.RecordBatchStreamWriter]] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._images: dict[str, list[dict[str, Any]]] = {}
        self._pending = Counter[str]()

    def add(self, split: str, row: dict[str, Any], image: dict[str, Any]) -> None:
        """Add a row; `image` is what its first column gets."""
        self._rows.setdefault(split, []).append(row)
        self._images.setdefault(split, []).append(image)
        size = len(image["bytes"] or b"") + sum(len(mask["counts"]) for mask in row["masks"] if mask)
        self._pending[split] += size
        self.size += size
        if len(self._rows[split]) >= BATCH_ROWS or self._pending[split] >= BATCH_BYTES:
            self._write(split)

    def finish(self) -> dict[str, Any]:
        """End the round; returns what a draft has to remember."""
        for split in list(self._rows):
            self._write(split)
        self._wait()
        for split, (file, writer) in self._open.items():
            writer.close()
            self.bytes[split] += file.tell()
            file.close()
        self._open.clear()
        self.size = 0
        return {"files": dict(self.files), "bytes": dict(self.bytes), "digests": self.digests}

    def _write(self, split: str) -> None:
        if split not in self._open:
            path = self.root / split / shard_name(self.files[split])
            path.parent.mkdir(parents=True, exist_ok=True)
            self.files[split] += 1
            file = pa.OSFile(str(path), "wb")
            self._open[split] = file, pa.ipc.new_stream(file, self.schema)
        rows, images = self._rows.pop(split), self._images.pop(split)
        self.digests[split] = hashlib.sha256(f"{self.digests.get(split)}{rows!r}".encode()).hexdigest()
        columns = [
            pa.array(images if name == "image" else [row[name] for row in rows], self.schema.field(name).type) for name in self.schema.names
        ]
        batch = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        self._wait()
        self._written = self._writer.submit(self._open[split][1].write_batch, batch)
        del self._pending[split]

    def _wait(self) -> None:
        """Until the batch before is written: one is written while the next is made."""
        if self._written is not None:
            self._written.result()


def shard_name(number: int) -> str:
    """File with the rows of a split's shard."""
    return f"data-{number:05d}.arrow"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing, although its frame is listed. Make what it belongs to again.") from error


def _row(item: SplitSample, number_of: Mapping[str, int], *, with_3d: bool) -> dict[str, Any]:
    sample = item.sample
    category = [number_of[each.class_id] for each in sample.annotations]
    return {
        "masks": [None if each.mask_rle is None else dict(each.mask_rle) for each in sample.annotations],
        "bounding_boxes": [box_xywh(each) for each in sample.annotations],
        "category": category,
        "classes": sorted(set(category)),
        "detection_ids": [each.detection_id for each in sample.annotations],
        "track_ids": [each.track_id for each in sample.annotations],
        "scores": [each.score for each in sample.annotations],
        "boxes_3d": [_box_3d(each) if with_3d else None for each in sample.annotations],
        **{name: getattr(sample, name) for name in ("frame_id", "recording", "frame_index", "timestamp_ns", "width", "height", "state")},
    }


def _box_3d(annotation: Annotation) -> list[float] | None:
    """Height, width, length, x, y, z, rotation about y: the order of a KITTI label."""
    if annotation.box_3d is None:
        return None
    box = annotation.box_3d.box
    return [box.height, box.width, box.length, box.x, box.y, box.z, box.rotation_y]


def _counts(item: SplitSample, row: Mapping[str, Any], placed: str) -> dict[str, Any]:
    counts = Counter[str]([placed])
    counts["conversation_turns"] = len(row["conversations"]) // 2
    counts["without_mask"] = row["masks"].count(None)
    counts["boxes_3d"] = len(row["boxes_3d"]) - row["boxes_3d"].count(None)
    classes = Counter(each.class_id for each in item.sample.annotations)
    return {"split": item.split, "recording": item.sample.recording, "state": item.sample.state, "classes": classes, "counts": counts}


def _summary(log: Iterable[Mapping[str, Any]], shards: _Shards) -> tuple[Statistics, ExportSummary]:
    statistics, others = Statistics(), Counter[str]()
    for entry in log:
        statistics.add(entry)
        others.update(entry["counts"])
    statistics.bytes.update({split: shards.bytes[name] for split, name in SPLIT_NAMES.items()})
    others["classes"] = len(set().union(*statistics.classes.values()))
    others["shards"] = shards.files.total()
    frames = {split: statistics.frames[split] for split in SPLITS if statistics.frames[split]}
    annotations = {split: statistics.classes[split].total() for split in frames}
    return statistics, ExportSummary(frames, annotations, dict(sorted(others.items())))


def _write_state(root: Path, shards: _Shards, features: "Features", manifest: VersionManifest) -> None:
    """What `DatasetDict.save_to_disk` writes beside the rows."""
    written = [name for name in SPLIT_NAMES.values() if shards.files[name]]
    about = {"citation": "", "description": manifest.description or manifest.title, "homepage": "", "license": ""}
    for name in written:
        fingerprint = hashlib.sha256(f"{manifest.content_digest}{shards.digests[name]}".encode()).hexdigest()[:16]
        state: dict[str, Any] = {
            "_data_files": [{"filename": shard_name(number)} for number in range(shards.files[name])],
            "_fingerprint": fingerprint,
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": name,
        }
        write_json(root / name / "state.json", state)
        write_json(root / name / "dataset_info.json", about | {"features": features.to_dict()})
    root.mkdir(parents=True, exist_ok=True)
    write_json(root / "dataset_dict.json", {"splits": written})


def _check_images(folder: Path, batch: pa.RecordBatch) -> None:
    images = batch.column("image")
    if images.field("bytes").null_count:
        for name in images.field("path").to_pylist():
            if not (folder / name).is_file():
                raise InputError(f"{folder / name} is missing, although the dataset lists it. Materialize huggingface_dataset again.")
