"""SAM2 exports, one ZIP a recording, as `imports/` reads them.

    sam2/drive.zip/annotations.json             video, export settings, objects by frame
    sam2/drive.zip/metadata.json                who wrote it, video, statistics
    sam2/drive.zip/images/frame_000012.png      the images as they are, nothing painted on them

Masks are COCO's compressed runs with their size, rates are measured from the frames' stamps. What the format has no place for stands under
the key `lamm` of the document, of frames and of objects, so that an import of the ZIP gives the same samples again. ZIPs are stored, not
compressed, and have the same bytes for the same samples.
"""

import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from lamm_pipeline.datasets.classes import VersionClasses
from lamm_pipeline.datasets.formats.files import FRAMES_PER_CHECKPOINT, Export, ExportSummary, image_path
from lamm_pipeline.datasets.formats.frame_rates import FrameRate, measured_fps, sampled, wanted_fps
from lamm_pipeline.datasets.splits.split_table import SplitSample
from lamm_pipeline.datasets.versions import VersionManifest
from lamm_pipeline.errors import InputError
from lamm_pipeline.imports.layout import ANNOTATIONS, METADATA
from lamm_pipeline.imports.objects import box_xywh
from lamm_pipeline.imports.sam2_format import EXPORTER, EXPORTER_VERSION, FORMAT_VERSION, FRAMES, NAMESPACE
from lamm_pipeline.sample_table import Annotation, Sample
from lamm_pipeline.storage import json_array
from lamm_pipeline.storage.draft import Draft, RecordLog

FOLDER = "sam2"
WARN_MB = 50.0
CONFIRM_MB = 100.0

_BYTES_AN_OBJECT = 600  # of JSON, for a mask of medium size
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a ZIP can hold
_MODE = 0o100644 << 16
_WORKING = ".annotations.json"


@dataclass
class _Recording:
    """What is known of a recording's samples once all were seen.

    Attributes:
        sizes: how many frames have which width and height.
    """

    indices: list[int] = field(default_factory=list)
    stamps: list[int | None] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)

    @cached_property
    def fps(self) -> float | None:
        """Frames a second, None where too few frames have stamps. To be asked for when all frames are known."""
        return measured_fps(self.indices, self.stamps)

    def chosen(self, rate: FrameRate) -> Sequence[int]:
        """Indices of the frames to write."""
        target = wanted_fps(rate, self.fps)
        return self.indices if self.fps is None or target is None else sampled(self.indices, self.fps, target)


@dataclass(frozen=True)
class Estimate:
    """What an export will be.

    Attributes:
        frames: that it will hold.
        megabytes: of all its ZIPs.
        recordings: of which it will hold a ZIP each.
        untimed: those of them that cannot be sampled, because too few of their frames have stamps; all their frames are written.
    """

    frames: int
    megabytes: float
    recordings: tuple[str, ...]
    untimed: tuple[str, ...]


def write_sam2(export: Export, rate: FrameRate = FrameRate.all) -> ExportSummary:
    """Write the frames of a dataset version as SAM2 exports, one ZIP after the other: threads would make no difference.

    Args:
        export: what to write.
        rate: how many frames a second to write.
    """
    draft, manifest = export.draft, export.manifest
    log = _listed(export.samples, export.classes, draft)
    recordings = _recordings(log)
    folder = draft.directory / FOLDER
    folder.mkdir(exist_ok=True)
    finished = int(draft.state.get("zips", 0))
    frames, annotations, counts = Counter[str](), Counter[str](), Counter[str]()
    for number, (recording, records) in enumerate(groupby(log, key=lambda record: str(record["recording"]))):
        known = recordings[recording]
        chosen = set(known.chosen(rate))
        target = wanted_fps(rate, known.fps)
        writer = _ZipWriter(folder / f"{recording}.zip", recording, known, target, manifest) if number >= finished else None
        try:
            for record in records:
                export.progress(sum(frames.values()) + counts["left_out_by_rate"] + 1, export.total)
                if record["frame_index"] not in chosen:
                    counts["left_out_by_rate"] += 1
                    continue
                frames[record["split"]] += 1
                annotations[record["split"]] += len(record["entry"]["objects"])
                if writer is not None:
                    writer.add(record)
            if writer is not None:
                writer.finish()
                draft.checkpoint({"done": len(log), "zips": number + 1})
        finally:
            if writer is not None:
                writer.close()
    counts["zips"] = len(recordings)
    return ExportSummary(dict(frames), dict(annotations), dict(sorted(counts.items())))


def estimate(samples: Iterable[SplitSample], rate: FrameRate) -> Estimate:
    """Tell how large an export will be, from the sizes of the images.

    Args:
        samples: as `write_sam2` takes them.
        rate: how many frames a second to write.
    """
    frames = size = 0
    recordings: list[str] = []
    untimed: list[str] = []
    for recording, group in groupby(samples, key=lambda item: item.sample.recording):
        known = _Recording()
        sizes: dict[int, int] = {}
        for item in group:
            known.indices.append(item.sample.frame_index)
            known.stamps.append(item.sample.timestamp_ns)
            sizes[item.sample.frame_index] = image_path(item.sample).stat().st_size + _BYTES_AN_OBJECT * (1 + len(item.sample.annotations))
        chosen = known.chosen(rate)
        frames += len(chosen)
        size += sum(sizes[index] for index in chosen)
        recordings.append(recording)
        if known.fps is None and rate is not FrameRate.all:
            untimed.append(recording)
    return Estimate(frames, size / 1e6, tuple(recordings), tuple(untimed))


def written_rows(folder: Path, split: str) -> Iterator[tuple[str, list[str]]]:
    """Stream frame id and annotation ids of every frame of a split in a written export, recording by recording in frame order.

    Args:
        folder: the export, `sam2`.
        split: the split.

    Raises:
        InputError: a ZIP is damaged, or an image is missing.
    """
    for path in sorted(folder.glob("*.zip"), key=lambda path: path.stem):
        try:
            with zipfile.ZipFile(path) as archive:
                names = set(archive.namelist())
                with archive.open(ANNOTATIONS) as document:
                    for entry in json_array.elements(document, FRAMES):
                        own = entry[NAMESPACE]
                        if own["image"] not in names:
                            raise InputError(f"{path} lacks the image {own['image']}. Materialize sam2_dataset again.")
                        if own["split"] == split:
                            yield own["frame_id"], [each[NAMESPACE]["detection_id"] for each in entry["objects"]]
        except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is not as the export writes it ({error}). Materialize sam2_dataset again.") from error


class _ZipWriter:
    """Writes the ZIP of one recording: images as they come, documents at the end."""

    def __init__(self, path: Path, recording: str, known: _Recording, target_fps: float | None, manifest: VersionManifest) -> None:
        self._path = path
        self._recording = recording
        self._known = known
        self._target_fps = target_fps
        self._manifest = manifest
        self._archive = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)
        self._working = path.with_name(f".{recording}{_WORKING}")
        self._lines = self._working.with_suffix(".jsonl").open("w+", encoding="utf-8")
        self._indices: list[int] = []
        self._objects = 0
        self._tracks: set[int] = set()
        fps = known.fps
        stamped = next(((index, stamp) for index, stamp in zip(known.indices, known.stamps, strict=True) if stamp is not None), None)
        self._origin_ns = None if fps is None or stamped is None else stamped[1] - round(stamped[0] * 1e9 / fps)

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a frame of the log."""
        source = Path(record["image"])
        name = f"images/frame_{record['frame_index']:06d}{source.suffix.lower()}"
        self._store(name, source)
        entry = record["entry"]
        stamp = entry[NAMESPACE]["timestamp_ns"]
        seconds = None if stamp is None or self._origin_ns is None else round((stamp - self._origin_ns) / 1e9, 3)
        entry = {"frame_index": record["frame_index"], "timestamp_sec": seconds, **entry, NAMESPACE: {**entry[NAMESPACE], "image": name}}
        self._lines.write(json.dumps(entry, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n")
        self._indices.append(record["frame_index"])
        self._objects += len(entry["objects"])
        self._tracks |= {each["object_id"] for each in entry["objects"] if each["object_id"] >= 0}

    def finish(self) -> None:
        """Write the documents and the list of members."""
        fps, indices = self._known.fps, self._indices
        (width, height), _ = self._known.sizes.most_common(1)[0]
        frames = self._known.indices[-1] + 1
        video = {"filename": self._recording, "width": width, "height": height}
        duration = None if fps is None else round(frames / fps, 3)
        config = {"target_fps": self._target_fps or fps, "total_exported_frames": len(indices), "frame_indices": indices}
        head = {
            "video": {**video, "source_fps": fps, "total_frames": frames, "duration_sec": duration},
            "export_config": {**config, "export_timestamp": self._manifest.created_at, "exporter_version": EXPORTER_VERSION},
            NAMESPACE: {
                "recording": self._recording,
                "dataset": self._manifest.key,
                "frame_range": [indices[0], indices[-1]] if indices else None,
                "frames_left_out_by_rate": len(self._known.indices) - len(indices),
            },
        }
        self._lines.seek(0)
        json_array.write(self._working, head, FRAMES, map(json.loads, self._lines))
        self._store(ANNOTATIONS, self._working)
        metadata = {
            "export_info": {"created_at": self._manifest.created_at, "format_version": FORMAT_VERSION, "exporter": EXPORTER},
            "video": {**video, "fps": fps, "total_frames": frames, "duration_sec": duration},
            "export_config": {name: config[name] for name in ("target_fps", "frame_indices")},
            "statistics": {
                "total_frames": len(indices),
                "total_objects": self._objects,
                "unique_objects": len(self._tracks),
                "objects_per_frame": round(self._objects / len(indices), 3) if indices else 0.0,
            },
        }
        self._working.write_text(json.dumps(metadata, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        self._store(METADATA, self._working)

    def close(self) -> None:
        """Close all files and remove the working ones."""
        self._archive.close()
        self._lines.close()
        self._working.unlink(missing_ok=True)
        self._working.with_suffix(".jsonl").unlink()

    def _store(self, name: str, source: Path) -> None:
        info = zipfile.ZipInfo(name, _EPOCH)
        info.external_attr, info.create_system = _MODE, 3
        info.file_size = source.stat().st_size
        with source.open("rb") as file, self._archive.open(info, "w") as member:
            shutil.copyfileobj(file, member, 1 << 20)


def _listed(samples: Iterable[SplitSample], classes: VersionClasses, draft: Draft) -> RecordLog:
    """All samples as records, by recording in frame order; goes on at the draft's checkpoint."""
    log = draft.log("samples.jsonl")
    done = int(draft.state.get("done", 0))
    for number, item in enumerate(islice(samples, done, None), start=done + 1):
        sample = item.sample
        log.append(
            {
                "recording": sample.recording,
                "split": item.split,
                "frame_index": sample.frame_index,
                "timestamp_ns": sample.timestamp_ns,
                "size": [sample.width, sample.height],
                "image": str(image_path(sample)),
                "entry": _entry(sample, item.split, classes),
            }
        )
        if number % FRAMES_PER_CHECKPOINT == 0:
            draft.checkpoint({"done": number, "zips": 0})
    return log


def _recordings(log: Iterable[Mapping[str, Any]]) -> dict[str, _Recording]:
    found: dict[str, _Recording] = {}
    for record in log:
        known = found.setdefault(record["recording"], _Recording())
        known.indices.append(record["frame_index"])
        known.stamps.append(record["timestamp_ns"])
        known.sizes[record["size"][0], record["size"][1]] += 1
    return found


def _entry(sample: Sample, split: str, classes: VersionClasses) -> dict[str, Any]:
    own = {
        "frame_id": sample.frame_id,
        "split": split,
        "state": sample.state,
        "timestamp_ns": sample.timestamp_ns,
        "camera": None if sample.camera is None else asdict(sample.camera),
    }
    return {"objects": [_object(each, n, classes) for n, each in enumerate(sample.annotations)], NAMESPACE: own}


def _object(annotation: Annotation, number: int, classes: VersionClasses) -> dict[str, Any]:
    placed = annotation.box_3d
    own = {
        "detection_id": annotation.detection_id,
        "box_xyxy": list(annotation.box_xyxy),
        "mask_problem": annotation.mask_problem,
        "score_source": annotation.score_source,
        "track_id": annotation.track_id,
        "track_length": annotation.track_length,
        "box_3d": None
        if placed is None
        else {**asdict(placed.box), **{name: each for name, each in vars(placed).items() if name != "box"}},
        "source": annotation.source,
        "reviewed": annotation.reviewed,
        "corrected": list(annotation.corrected),
    }
    return {
        "object_id": -1 - number if annotation.track_id is None else annotation.track_id,
        "label": classes.of(annotation).id,
        "mask_rle": None if annotation.mask_rle is None else dict(annotation.mask_rle),
        "bbox": box_xywh(annotation.box_xyxy),
        "area": annotation.area,
        "confidence": annotation.score,
        NAMESPACE: own,
    }
