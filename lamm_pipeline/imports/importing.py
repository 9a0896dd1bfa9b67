"""A SAM2 export becomes a table of samples.

    images/000012.jpg    the bytes as they were, under the frame's index
    samples.parquet      see `sample_table.py`
    import.json          source, video, counts, what labels mean, and everything that is wrong

A frame that the export lists, or that has an image, is a row; without objects its state is `unlabelled`. Frames without a readable image
are left out and listed. Everything is streamed: memory does not grow with the number of frames.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lamm_pipeline import sample_table
from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.imports.images import CheckedImage, ImageSource, ZipImages, check_image, image_header
from lamm_pipeline.imports.labels import Labels
from lamm_pipeline.imports.layout import Layout, read_layout
from lamm_pipeline.imports.mask_forms import Size
from lamm_pipeline.imports.objects import FrameObjects, read_objects
from lamm_pipeline.imports.problems import KINDS, Problem
from lamm_pipeline.imports.safe_zip import MEGABYTE, SafeZip, open_zip
from lamm_pipeline.imports.sam2_format import (
    DEMO_EXPORTER,
    MAX_SIDE,
    NAMESPACE,
    Documents,
    number,
    parse,
    read_documents,
    whole,
    within,
)
from lamm_pipeline.imports.settings import ImportSettings, RunOrder, ZipLimits
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.recordings.ingest import recording_slug
from lamm_pipeline.review.decisions import FrameState
from lamm_pipeline.sample_table import Sample
from lamm_pipeline.storage import json_array
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.storage.json_array import Span
from lamm_pipeline.storage.tables import write_table
from lamm_pipeline.streaming import Progress, map_ordered, no_progress

FILE_NAME = "import.json"
IMAGES = "images"
FRAMES_PER_CHECKPOINT = 1000  # two seconds of work; a checkpoint waits for the disk
HANDFUL = 5
"""Scores that are the same for up to so many objects may be chance."""

_DOCUMENT = ".annotations.json"
_CAMERA = tuple(RectifiedCamera.__dataclass_fields__)


@dataclass(frozen=True)
class ImportSource:
    """What is imported.

    Attributes:
        path: of the ZIP.
        digest: SHA-256 of it.
        key: of the import; names the recording where nothing else does.
        artifact: reference of the artifact that is being written.
        images: clean images in the place of those in the ZIP, None to take those.
        recording: the recording that the clean images are of, None where they are of none.
    """

    path: Path
    digest: str
    key: str
    artifact: str
    images: ImageSource | None = None
    recording: str | None = None


@dataclass(frozen=True)
class _Reading:
    """All that is the same for each frame of an import."""

    source: ImportSource
    documents: Documents
    document: Path
    images: ImageSource
    labels: Labels
    recording: str
    by_rows: bool
    max_pixels: float
    annotated_size: Size | None
    draft: Draft


def import_export(
    source: ImportSource,
    settings: ImportSettings,
    limits: ZipLimits,
    ontology: Ontology,
    draft: Draft,
    *,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Import an export; goes on at the draft's checkpoint.

    Args:
        source: the ZIP and what is known of it.
        settings: how it is read.
        limits: what the ZIP may hold.
        ontology: the classes there are.
        draft: gets the files.
        workers: number of threads, None for one per processor.
        progress: told after every frame.

    Returns:
        The counts of import.json.

    Raises:
        InputError: the ZIP is refused or damaged, or no frame of it can be used.
    """
    name = source.path.name
    archive = open_zip(source.path, limits)
    layout = read_layout(archive.members, name)
    document = draft.directory / _DOCUMENT
    try:
        documents = _read_documents(archive, layout, document, limits, name)
        video_name = settings.video or source.recording or documents.own.get("recording") or documents.video.filename
        reading = _Reading(
            source=source,
            documents=documents,
            document=document,
            images=source.images or ZipImages(archive, layout.images, limits.max_file_mb * MEGABYTE),
            labels=Labels(ontology, settings.class_map),
            recording=_recording(video_name) or source.key,
            by_rows=_by_rows(settings.run_order, documents),
            max_pixels=limits.max_megapixels * MEGABYTE,
            annotated_size=documents.video.size or (_size_in_zip(archive, layout) if source.images is not None else None),
            draft=draft,
        )
        frames = _frames(documents, layout)
        _import_frames(reading, frames, workers, progress)
    finally:
        document.unlink(missing_ok=True)
    return _finish(reading, layout, len(frames))


def read_summary(path: Path) -> dict[str, Any]:
    """Everything in an import.json."""
    return dict(parse(path.read_bytes()))


def _read_documents(archive: SafeZip, layout: Layout, document: Path, limits: ZipLimits, name: str) -> Documents:
    for member, megabytes in ((layout.annotations, limits.max_annotations_mb), (layout.metadata, limits.max_file_mb)):
        if member is not None and archive.members[member].file_size > megabytes * MEGABYTE:
            raise InputError(
                f"{name} is refused: {member} takes more than {megabytes:g} MB. If you trust where it comes from, raise the limit."
            )
    archive.copy(layout.annotations, document)
    return read_documents(document, None if layout.metadata is None else archive.read(layout.metadata), name)


def _recording(name: Any) -> str | None:
    """The key of the recording that a video's name gives: of `drive.mp4` it is `drive`."""
    if not isinstance(name, str) or not name.strip():
        return None
    file = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    stem, dot, suffix = file.rpartition(".")
    return recording_slug(stem if dot and stem and 2 <= len(suffix) <= 4 and not suffix.isdigit() else file)


def _by_rows(order: RunOrder, documents: Documents) -> bool:
    return documents.exporter == DEMO_EXPORTER if order is RunOrder.auto else order is RunOrder.rows


def _frames(documents: Documents, layout: Layout) -> list[tuple[int, Span | None]]:
    """Every frame that is listed or has an image in the ZIP, in order, with the place of its entry."""
    return [(index, documents.frames.get(index)) for index in sorted({*documents.frames, *layout.images})]


def _import_frames(reading: _Reading, frames: Sequence[tuple[int, Span | None]], workers: int | None, progress: Progress) -> None:
    draft = reading.draft
    (draft.directory / IMAGES).mkdir(exist_ok=True)
    log, problems = draft.log("frames.jsonl"), draft.log("problems.jsonl")
    done = int(draft.state.get("done", 0))

    def work(frame: tuple[int, Span | None]) -> tuple[dict[str, Any] | None, list[Problem]]:
        return _import_frame(reading, *frame)

    for count, (_, (record, found)) in enumerate(map_ordered(work, frames[done:], workers), start=done + 1):
        if record is not None:
            log.append(record)
        for each in found:
            problems.append(vars(each))
        progress(count, len(frames))
        if count % FRAMES_PER_CHECKPOINT == 0:
            draft.checkpoint({"done": count})


def _import_frame(reading: _Reading, index: int, span: Span | None) -> tuple[dict[str, Any] | None, list[Problem]]:
    """One frame as a record, its `row` of the table and what its `labels` mean, None where it is left out; and what is wrong with it."""
    entry = {} if span is None else _entry(reading.document, span)
    file = reading.images.names.get(index)
    if file is None:
        return None, [Problem("image_missing", f"Frame {index} has no image; it is left out.", index)]
    try:
        content = reading.images.read(index)
        image = check_image(content, reading.max_pixels)
    except InputError as error:
        sentence = f"The image of frame {index}, {file}, is not usable, and the frame is left out: {error}"
        return None, [Problem("image_damaged", sentence, index, file)]
    if reading.source.images is not None and reading.annotated_size not in {None, image.size}:
        raise _other_size(reading, file, image.size)
    name = f"{IMAGES}/{index:06d}{image.suffix}"
    (reading.draft.directory / name).write_bytes(content)
    frame_id = f"{reading.recording}:{index:06d}"
    found = read_objects(entry.get("objects"), frame_id, index, image.size, reading.labels, by_rows=reading.by_rows)
    row = sample_table.to_row(_sample(reading, index, frame_id, name, image, entry, found))
    return {"row": row, "labels": found.labels}, [*_size_problems(reading, index, file, image), *found.problems]


def _size_in_zip(archive: SafeZip, layout: Layout) -> Size | None:
    """Size of the first image in the ZIP, None where there is none."""
    first = next(iter(layout.images.values()), None)
    return None if first is None else image_header(archive.read(first))[1]


def _other_size(reading: _Reading, file: str, size: Size) -> InputError:
    rows, columns = reading.annotated_size or size
    return InputError(
        f"The image {file} has {size[1]} x {size[0]} pixels, but {reading.source.path.name} was annotated at {columns} x {rows}: it is no "
        "clean image of that video. Give images of the same size."
    )


def _entry(document: Path, span: Span) -> dict[str, Any]:
    with document.open("rb") as file:
        file.seek(span.offset)
        return dict(parse(file.read(span.length)))


def _sample(
    reading: _Reading, index: int, frame_id: str, name: str, image: CheckedImage, entry: Mapping[str, Any], found: FrameObjects
) -> Sample:
    given = entry.get(NAMESPACE)
    own: Mapping[str, Any] = given if isinstance(given, dict) else {}
    if found.annotations:
        state = FrameState.kept
    else:
        state = FrameState.reviewed_empty if own.get("state") == FrameState.reviewed_empty else FrameState.unlabelled
    height, width = image.size
    return Sample(
        frame_id=frame_id,
        recording=reading.recording,
        frame_index=index,
        timestamp_ns=_timestamp_ns(entry, own),
        width=width,
        height=height,
        artifact=reading.source.artifact,
        folder=reading.draft.directory,
        image=name,
        state=str(state),
        annotations=tuple(found.annotations),
        camera=_camera(own.get("camera")),
        image_hash=image.image_hash,
    )


def _timestamp_ns(entry: Mapping[str, Any], own: Mapping[str, Any]) -> int | None:
    exact = whole(own.get("timestamp_ns"))
    if exact is None and NAMESPACE not in entry:
        seconds = number(entry.get("timestamp_sec"))
        exact = None if seconds is None or abs(seconds) > 1e9 else round(seconds * 1e9)
    return exact if exact is not None and abs(exact) < 1 << 62 else None


def _camera(value: Any) -> RectifiedCamera | None:
    if not isinstance(value, dict):
        return None
    sides: dict[str, float | None] = {name: number(value.get(name)) for name in _CAMERA}
    sides |= {name: within(whole(value.get(name)), 1, MAX_SIDE) for name in ("width", "height")}
    known: dict[str, Any] = {name: each for name, each in sides.items() if each is not None}
    return RectifiedCamera(**known) if len(known) == len(_CAMERA) else None


def _size_problems(reading: _Reading, index: int, file: str, image: CheckedImage) -> Iterator[Problem]:
    told = reading.annotated_size
    if told is not None and told != image.size:
        sentence = f"The image of frame {index}, {file}, has {image.size[1]} x {image.size[0]} pixels, the video {told[1]} x {told[0]}."
        yield Problem("contradiction", sentence, index, file)


def _finish(reading: _Reading, layout: Layout, frame_count: int) -> dict[str, Any]:
    log = reading.draft.log("frames.jsonl")
    tally = _Tally(reading, log)
    if not tally.frames:
        first = next(_problems(reading), None)
        raise InputError(
            f"No frame of {reading.source.path.name} can be used"
            + (f": {first['sentence']}" if first is not None else ": it lists none and holds no images.")
        )
    write_table(reading.draft.directory / sample_table.FILE_NAME, sample_table.SCHEMA, tally.rows(log))
    source = reading.source
    counts = {
        "recording": reading.recording,
        "source": {"path": source.path.name, "digest": source.digest, "size": source.path.stat().st_size},
        "frames": tally.frames,
        "listed_frames": frame_count,
        "annotations": tally.annotations,
        "states": dict(sorted(tally.states.items())),
        "classes": dict(sorted(tally.classes.items())),
        "extra_classes": sorted(each for each in tally.classes if reading.labels.is_extra(each)),
        "tracks": len(tally.track_lengths),
        "ignored_files": layout.ignored,
        "problems": {kind: tally.problems[kind] for kind in KINDS if tally.problems[kind]},
        "flags": tally.flags(),
    }
    video = reading.documents.video
    size = {"width": video.width or tally.sizes.most_common(1)[0][0][1], "height": video.height or tally.sizes.most_common(1)[0][0][0]}
    head = {
        "recording": reading.recording,
        "exporter": reading.documents.exporter,
        "video": asdict(video) | size,
        "counts": counts,
        "labels": dict(sorted(tally.labels.items())),
    }
    json_array.write(reading.draft.directory / FILE_NAME, head, "problems", _problems(reading))
    return counts


def _problems(reading: _Reading) -> Iterator[dict[str, Any]]:
    """All that is wrong, the documents' problems first."""
    yield from map(vars, reading.documents.problems)
    yield from reading.draft.log("problems.jsonl")


class _Tally:
    """The sums over all frames, and what only they tell about each."""

    def __init__(self, reading: _Reading, log: Iterable[Mapping[str, Any]]) -> None:
        self._reading = reading
        self.frames = self.annotations = self._scores = 0
        self.states, self.classes, self.problems = Counter[str](), Counter[str](), Counter[str]()
        self.sizes, self.track_lengths = Counter[tuple[int, int]](), Counter[int]()
        self.labels: dict[str, str] = {}
        self._first_score: float | None = None
        self._same_scores = True
        self.problems.update(each["kind"] for each in _problems(reading))
        for record in log:
            self.labels |= record["labels"]
            self._add(record["row"])

    @property
    def constant_score(self) -> float | None:
        """The score that all objects have, None where they differ or are few."""
        return self._first_score if self._same_scores and self._scores > HANDFUL else None

    def rows(self, log: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """The rows of the table."""
        constant = self.constant_score is not None
        for record in log:
            for each in record["row"]["annotations"]:
                if each["score"] is not None and each["score_source"] is None:
                    each["score_source"] = "constant" if constant else "model"
                if each["track_id"] is not None and not each["track_length"]:
                    each["track_length"] = self.track_lengths[each["track_id"]]
            yield record["row"]

    def flags(self) -> dict[str, str]:
        """What is to be known before such data are used, a sentence each."""
        found: dict[str, str] = {}
        if self._reading.documents.exporter == DEMO_EXPORTER and self._reading.source.images is None:
            found["burned_in_overlays"] = (
                f"{DEMO_EXPORTER} paints the masks onto the images: a model would learn the paint. Import again with clean images "
                "(images_folder or from_recording)."
            )
        if self.constant_score is not None:
            found["constant_scores"] = f"All {self._scores} scores are {self.constant_score:g}: they were not measured, and say nothing."
        if len(self.sizes) > 1:
            shown = ", ".join(f"{columns} x {rows} ({count})" for (rows, columns), count in self.sizes.most_common(5))
            found["several_sizes"] = f"The images have {len(self.sizes)} sizes: {shown}."
        return found

    def _add(self, row: Mapping[str, Any]) -> None:
        self.frames += 1
        self.states[row["state"]] += 1
        self.sizes[row["height"], row["width"]] += 1
        self.annotations += len(row["annotations"])
        for each in row["annotations"]:
            self.classes[each["class_id"]] += 1
            if each["score"] is not None:
                self._scores += 1
                self._first_score = each["score"] if self._first_score is None else self._first_score
                self._same_scores &= each["score"] == self._first_score
        self.track_lengths.update({each["track_id"] for each in row["annotations"] if each["track_id"] is not None})
