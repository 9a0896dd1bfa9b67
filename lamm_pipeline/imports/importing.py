"""A SAM2 export becomes a table of samples.

    images/000012.jpg    the bytes as they were, under the frame's index
    samples.parquet      see `sample_table.py`
    import.json          source, video, counts, what labels mean, and everything that is wrong

A frame that the export lists, or that has an image, is a row; without objects its state is `unlabelled`. Frames without a readable image
are left out and listed. Everything is streamed: memory does not grow with the number of frames.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lamm_pipeline import sample_table
from lamm_pipeline.errors import InputError
from lamm_pipeline.imports.frames import IMAGES, FrameReader
from lamm_pipeline.imports.images import ImageSource, ZipImages, check_image
from lamm_pipeline.imports.labels import Labels
from lamm_pipeline.imports.layout import PLACES, Layout, read_layout
from lamm_pipeline.imports.mask_forms import Size
from lamm_pipeline.imports.problems import KINDS, LEFT_OUT
from lamm_pipeline.imports.safe_zip import MEGABYTE, SafeZip, open_zip
from lamm_pipeline.imports.sam2_format import DEMO_EXPORTER, DEMO_FPS, Documents, parse, read_documents
from lamm_pipeline.imports.settings import RAISE_THE_LIMIT, ImportSettings, RunOrder, ZipLimits
from lamm_pipeline.imports.tally import Tally
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.recordings.ingest import recording_slug
from lamm_pipeline.storage import json_array
from lamm_pipeline.storage.draft import Draft, RowLog
from lamm_pipeline.storage.json_array import Span
from lamm_pipeline.storage.tables import write_batches
from lamm_pipeline.streaming import Progress, map_ordered_in_processes, no_progress

FILE_NAME = "import.json"
FRAMES_PER_CHECKPOINT = 1000  # two seconds of work; a checkpoint waits for the disk
IMAGES_TRIED = 10
SHOWN_PROBLEMS = 10
_DOCUMENT = ".annotations.json"


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
class _Import:
    """An import at work."""

    source: ImportSource
    documents: Documents
    reader: FrameReader
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
        workers: number of processes, None for one per processor.
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
        in_zip = ZipImages(archive, layout.images, limits.max_file_mb * MEGABYTE)
        max_pixels = limits.max_megapixels * MEGABYTE
        clean = source.images is not None
        reader = FrameReader(
            export=name,
            document=document,
            images=source.images or in_zip,
            clean=clean,
            labels=Labels(ontology, settings.class_map),
            recording=_recording(source, settings, documents),
            by_rows=_by_rows(settings.run_order, documents),
            max_pixels=max_pixels,
            annotated_size=documents.video.size or (_size_in_zip(in_zip, max_pixels) if clean else None),
            artifact=source.artifact,
            folder=draft.directory,
        )
        frames = _frames(documents, layout)
        _import_frames(reader, frames, draft, workers, progress)
    finally:
        document.unlink(missing_ok=True)
    return _finish(_Import(source, documents, reader, draft), layout, len(frames))


def read_summary(path: Path) -> dict[str, Any]:
    """Everything in an import.json."""
    return dict(parse(path.read_bytes()))


def labels_by_class(summary: Mapping[str, Any]) -> dict[str, list[str]]:
    """The labels that each class has in an export.

    Args:
        summary: all of an import.json.
    """
    found: dict[str, list[str]] = {}
    for label, class_id in summary["labels"].items():
        found.setdefault(class_id, []).append(label)
    return found


def first_problems(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The first few things that are wrong, to be shown.

    Args:
        summary: all of an import.json.
    """
    return list(islice((each for each in summary["problems"] if each["kind"] in KINDS), SHOWN_PROBLEMS))


def _read_documents(archive: SafeZip, layout: Layout, document: Path, limits: ZipLimits, name: str) -> Documents:
    for member, limit in ((layout.annotations, "max_annotations_mb"), (layout.metadata, "max_entry_mb")):
        if member is not None and archive.members[member].file_size > getattr(limits, limit) * MEGABYTE:
            raise InputError(f"{name} is refused: {member} takes more than {getattr(limits, limit):g} MB ({limit}). {RAISE_THE_LIMIT}")
    archive.copy(layout.annotations, document)
    return read_documents(document, None if layout.metadata is None else archive.read(layout.metadata), name, limits)


def _recording(source: ImportSource, settings: ImportSettings, documents: Documents) -> str:
    """The key of the recording that the frames are of.

    Raises:
        InputError: the settings name a video, but in letters that no key has.
    """
    if settings.video is not None and _video_key(settings.video) is None:
        raise InputError(f"The video {settings.video!r} gives no name to go by. Name it with ASCII letters or digits.")
    own = documents.own.get("recording")
    written = recording_slug(own) if isinstance(own, str) and own else None
    return _video_key(settings.video) or source.recording or written or _video_key(documents.video.filename) or source.key


def _video_key(name: str | None) -> str | None:
    """The key that a video's name gives, of `drive.mp4` it is `drive`; None where the name has no letters that a key can have."""
    if name is None:
        return None
    file = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    stem, dot, suffix = file.rpartition(".")
    stem = stem if dot and stem and 2 <= len(suffix) <= 4 and not suffix.isdigit() else file
    return recording_slug(stem) if re.search(r"[A-Za-z0-9]", stem) else None


def _by_rows(order: RunOrder, documents: Documents) -> bool:
    return documents.by_demo_tool if order is RunOrder.auto else order is RunOrder.rows


def _frames(documents: Documents, layout: Layout) -> list[tuple[int, Span | None]]:
    """Every frame that is listed or has an image in the ZIP, in order, with the place of its entry."""
    return [(index, documents.frames.get(index)) for index in sorted({*documents.frames, *layout.images})]


def _import_frames(
    reader: FrameReader, frames: Sequence[tuple[int, Span | None]], draft: Draft, workers: int | None, progress: Progress
) -> None:
    (draft.directory / IMAGES).mkdir(exist_ok=True)
    rows, labels, problems = _rows(draft), draft.log("labels.jsonl"), draft.log("problems.jsonl")
    known = _labels(draft)
    done = int(draft.state.get("done", 0))
    with closing(map_ordered_in_processes(reader, frames[done:], workers)) as imported:
        for count, (_, frame) in enumerate(imported, start=done + 1):
            if frame.row is not None:
                rows.append(frame.row)
            if not frame.labels.items() <= known.items():
                labels.append(frame.labels)
                known |= frame.labels
            for each in frame.problems:
                problems.append(vars(each))
            progress(count, len(frames))
            if count % FRAMES_PER_CHECKPOINT == 0:
                draft.checkpoint({"done": count})


def _rows(draft: Draft) -> RowLog:
    return draft.row_log("samples.arrow", sample_table.SCHEMA)


def _labels(draft: Draft) -> dict[str, str]:
    """Class ids by label, of the frames that are read."""
    return {label: class_id for labels in draft.log("labels.jsonl") for label, class_id in labels.items()}


def _size_in_zip(images: ZipImages, max_pixels: float) -> Size | None:
    """Size of the first of the images in the ZIP that can be read; None where none of the first few can."""
    for frame in islice(images.names, IMAGES_TRIED):
        with suppress(InputError):
            return check_image(images.read(frame), max_pixels).size
    return None


def _finish(imported: _Import, layout: Layout, frame_count: int) -> dict[str, Any]:
    rows = _rows(imported.draft)
    tally = Tally(rows.batches())
    found = Counter[str](each["kind"] for each in _problems(imported))
    if not tally.frames:
        raise InputError(f"No frame of {imported.source.path.name} can be used: {_why_none(imported, layout)}")
    write_batches(imported.draft.directory / sample_table.FILE_NAME, sample_table.SCHEMA, tally.completed(rows.batches()))
    source = imported.source
    counts = {
        "recording": imported.reader.recording,
        "source": {"path": source.path.name, "digest": source.digest, "size": source.path.stat().st_size},
        "frames": tally.frames,
        "listed_frames": frame_count,
        "annotations": tally.annotations,
        "states": dict(sorted(tally.states.items())),
        "classes": dict(sorted(tally.classes.items())),
        "extra_classes": sorted(each for each in tally.classes if imported.reader.labels.is_extra(each)),
        "tracks": len(tally.track_lengths),
        "ignored_files": len(layout.ignored),
        "problems": {kind: found[kind] for kind in KINDS if found[kind]},
        "left_out": {kind: found[kind] for kind in LEFT_OUT if found[kind]},
        "flags": _flags(imported, tally),
    }
    video = imported.documents.video
    size = {"width": video.width or tally.sizes.most_common(1)[0][0][1], "height": video.height or tally.sizes.most_common(1)[0][0][0]}
    head = {
        "recording": imported.reader.recording,
        "exporter": imported.documents.exporter,
        "video": asdict(video) | size,
        "counts": counts,
        "labels": dict(sorted(_labels(imported.draft).items())),
    }
    json_array.write(imported.draft.directory / FILE_NAME, head, "problems", _problems(imported))
    return counts


def _why_none(imported: _Import, layout: Layout) -> str:
    """Why no frame can be used, in a sentence."""
    first = next(_problems(imported), None)
    why = "it lists none and holds no images." if first is None else first["sentence"]
    if layout.images or not layout.ignored:
        return why
    return f"{why} The ZIP holds {len(layout.ignored)} files that are not read, such as {layout.ignored[0]!r}; images are named {PLACES}."


def _problems(imported: _Import) -> Iterator[dict[str, Any]]:
    """All that is wrong or left out, what is wrong with the documents first."""
    yield from map(vars, imported.documents.problems)
    yield from imported.draft.log("problems.jsonl")


def _flags(imported: _Import, tally: Tally) -> dict[str, str]:
    """What is to be known before such data are used, a sentence each."""
    found: dict[str, str] = {}
    if imported.documents.by_demo_tool and imported.source.images is None:
        unsaid = "" if imported.documents.exporter else "Nothing says which tool wrote this, but its masks are as one tool writes them. "
        found["burned_in_overlays"] = (
            f"{unsaid}{DEMO_EXPORTER} paints the masks onto the images: a model would learn the paint. Import again with clean images "
            "(--images or --recording; in the Launchpad images_folder or from_recording)."
        )
    if imported.documents.by_demo_tool and imported.documents.video.fps == DEMO_FPS:
        found["assumed_rate"] = (
            f"{DEMO_EXPORTER} says {DEMO_FPS:g} frames a second of every video: times are right only if the video has so many."
        )
    if tally.constant_score is not None:
        found["constant_scores"] = f"All {tally.scores} scores are {tally.constant_score:g}: they were not measured, and say nothing."
    if len(tally.sizes) > 1:
        shown = ", ".join(f"{columns} x {rows} ({count})" for (rows, columns), count in tally.sizes.most_common(5))
        found["several_sizes"] = f"The images have {len(tally.sizes)} sizes: {shown}."
    return found
