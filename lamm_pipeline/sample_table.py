"""The one table of annotated frames: what recordings and imports are turned into, and all that splits, checks and formats read.

`samples.parquet` has one row a frame with its annotations inside, in the Arrow schema `SCHEMA`. Files are not in it: a frame names the
artifact in which its image lies and the path there, so that a table is good on any machine.

| column | meaning |
| --- | --- |
| `frame_id` | `<recording>:<frame index, 6 digits>`; unique |
| `recording` | key of the recording, or of the video that an import is of; frames of one recording look alike |
| `frame_index`, `timestamp_ns` | place in the recording; time since 1970, or since the video's start, null when unknown |
| `width`, `height` | pixels of the image |
| `artifact` | `<scope>/<partition>/<asset>/<version>` of the artifact that holds the files |
| `image`, `image_right`, `depth`, `point_cloud`, `calibration` | paths in that artifact, null where there is none |
| `camera` | the rectified pair, null without calibration |
| `state` | `kept`: has annotations. `reviewed_empty`: a person says that nothing is there. `unlabelled`: nobody found anything |
| `image_hash` | 64-bit difference hash, null where none was computed |
| `annotations` | list of structs, in the order of their ids; the fields of `Annotation` |
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.storage.tables import write_table

FILE_NAME = "samples.parquet"
ROWS_AT_ONCE = 1024

CAMERA = pa.struct([(name, pa.int32() if name in {"width", "height"} else pa.float64()) for name in RectifiedCamera.__dataclass_fields__])
BOX_3D = pa.struct(
    [
        *[(name, pa.float64()) for name in Box3D.__dataclass_fields__],
        ("alpha", pa.float64()),
        ("truncated", pa.float64()),
        ("occluded", pa.int8()),
        ("source", pa.string()),
    ]
)
ANNOTATION = pa.struct(
    [
        ("detection_id", pa.string()),
        ("class_id", pa.string()),
        ("box_xyxy", pa.list_(pa.float64())),
        ("mask_size", pa.list_(pa.int32())),
        ("mask_counts", pa.string()),
        ("mask_problem", pa.string()),
        ("area", pa.int64()),
        ("score", pa.float64()),
        ("score_source", pa.string()),
        ("track_id", pa.int64()),
        ("track_length", pa.int32()),
        ("box_3d", BOX_3D),
        ("source", pa.string()),
        ("reviewed", pa.bool_()),
        ("corrected", pa.list_(pa.string())),
    ]
)
SCHEMA = pa.schema(
    [
        ("frame_id", pa.string()),
        ("recording", pa.string()),
        ("frame_index", pa.int64()),
        ("timestamp_ns", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("artifact", pa.string()),
        ("image", pa.string()),
        ("image_right", pa.string()),
        ("depth", pa.string()),
        ("point_cloud", pa.string()),
        ("calibration", pa.string()),
        ("camera", CAMERA),
        ("state", pa.string()),
        ("image_hash", pa.uint64()),
        ("annotations", pa.list_(ANNOTATION)),
    ]
)


class FrameState(StrEnum):
    """What a frame is for a dataset (M-13)."""

    kept = "kept"
    reviewed_empty = "reviewed_empty"
    unlabelled = "unlabelled"
    excluded = "excluded"


ArtifactFolder = Callable[[str], Path]
"""Tells where an artifact lies on this machine, by its reference `<scope>/<partition>/<asset>/<version>`."""


@dataclass(frozen=True)
class PlacedBox:
    """A 3D box as labels have it.

    Attributes:
        box: rectified left-camera frame.
        alpha: KITTI's observation angle, radians.
        truncated: share outside the image, 0..1.
        occluded: 0 visible, 1 partly, 2 largely occluded, 3 unknown.
        source: `frame` for the box of this frame alone, `track` for one refined over the track, `import`.
    """

    box: Box3D
    alpha: float
    truncated: float
    occluded: int
    source: str


@dataclass(frozen=True)
class Annotation:
    """One object in one frame.

    Attributes:
        detection_id: `<frame id>:<n>`.
        class_id: id in the ontology, or the label of an import that the ontology does not know.
        box_xyxy: pixels.
        mask_rle: COCO's compressed runs, `{"size": [H, W], "counts": text}`; None where there is no mask that could be written so.
        mask_problem: what is wrong with the mask that was given, None where nothing is known.
        area: pixels that the mask is said to cover.
        score: 0..1, None when nobody gave one.
        score_source: `model`; `constant` where a tool writes the same number everywhere; None without a score.
        track_id: identity within the recording, None without one.
        track_length: frames on which that track is seen, 0 without one.
        box_3d: None where there is none.
        source: `model`; `human` where a person gave it something; `import`.
        reviewed: whether a person has looked at it.
        corrected: what a person gave it instead of the models: `class`, `box` (the 2D box), `mask`.
    """

    detection_id: str
    class_id: str
    box_xyxy: tuple[float, float, float, float]
    mask_rle: Mapping[str, Any] | None
    area: int
    mask_problem: str | None = None
    score: float | None = None
    score_source: str | None = None
    track_id: int | None = None
    track_length: int = 0
    box_3d: PlacedBox | None = None
    source: str = "model"
    reviewed: bool = False
    corrected: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One annotated frame: a row of the table.

    Attributes:
        folder: where its artifact lies here; no column of the table.
    """

    frame_id: str
    recording: str
    frame_index: int
    timestamp_ns: int | None
    width: int
    height: int
    artifact: str
    folder: Path
    image: str | None
    state: str
    annotations: tuple[Annotation, ...]
    image_right: str | None = None
    depth: str | None = None
    point_cloud: str | None = None
    calibration: str | None = None
    camera: RectifiedCamera | None = None
    image_hash: int | None = None

    def path(self, name: str | None) -> Path | None:
        """Where a file of the frame lies: `sample.path(sample.depth)`; None for None."""
        return None if name is None else self.folder / name


def write(path: Path, samples: Iterable[Sample]) -> int:
    """Write a table.

    Args:
        path: of the Parquet file.
        samples: in any order, which is kept.

    Returns:
        The number of rows written.
    """
    return write_table(path, SCHEMA, map(to_row, samples))


def read(path: Path, artifact_folder: ArtifactFolder) -> Iterator[Sample]:
    """Stream a table.

    Args:
        path: of the Parquet file.
        artifact_folder: tells where artifacts lie.

    Raises:
        InputError: the file is missing or is no such table.
    """
    folders: dict[str, Path] = {}
    for batch in read_batches(path):
        for reference in batch.column("artifact").unique().to_pylist():
            if reference not in folders:
                folders[reference] = artifact_folder(reference)
        for row, annotations in zip(_rows(batch.drop_columns(["annotations"])), _annotations(batch.column("annotations")), strict=True):
            camera = row.pop("camera")
            yield Sample(
                **row,
                folder=folders[row["artifact"]],
                camera=None if camera is None else RectifiedCamera(**camera),
                annotations=annotations,
            )


def read_batches(path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Stream a table as Arrow batches, for work on columns.

    Args:
        path: of the Parquet file.
        columns: those wanted, in Parquet's words (`annotations.list.element.class_id`); None for all.

    Raises:
        InputError: the file is missing or is no such table.
    """
    try:
        file = pq.ParquetFile(path)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} cannot be read as a table of samples ({error}). Run the stage that writes it again.") from error
    with file:
        if not file.schema_arrow.equals(SCHEMA):
            raise InputError(f"{path} is no table of samples of this release. Run the stage that writes it again.")
        yield from file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns)


def replace_annotation_columns(batch: pa.RecordBatch, **columns: pa.Array) -> pa.RecordBatch:
    """A batch whose annotations have other values in some columns.

    Args:
        batch: of the table.
        columns: values for all annotations of the batch, by the column's name.
    """
    lists = batch.column("annotations")
    found = lists.flatten()
    fields = [columns.get(field.name, found.field(field.name)) for field in ANNOTATION]
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    place = SCHEMA.get_field_index("annotations")
    replaced = pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(fields, fields=list(ANNOTATION)), SCHEMA.field(place).type)
    return batch.set_column(place, SCHEMA.field(place), replaced)


def to_row(sample: Sample) -> dict[str, Any]:
    """The row of a sample, as plain Python values."""
    row = {name: getattr(sample, name) for name in SCHEMA.names}
    row["camera"] = None if sample.camera is None else asdict(sample.camera)
    row["annotations"] = [_annotation_row(each) for each in sample.annotations]
    return row


def _annotation_row(annotation: Annotation) -> dict[str, Any]:
    row = dict(vars(annotation))
    mask_rle, placed = row.pop("mask_rle"), row["box_3d"]
    row["mask_size"] = None if mask_rle is None else list(mask_rle["size"])
    row["mask_counts"] = None if mask_rle is None else mask_rle["counts"]
    if placed is not None:
        row["box_3d"] = {name: value for name, value in vars(placed).items() if name != "box"} | vars(placed.box)
    return row


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """The rows of a batch; column by column, which is several times faster than row by row."""
    names = batch.schema.names
    for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
        yield dict(zip(names, values, strict=True))


def _annotations(column: pa.ListArray) -> Iterator[tuple[Annotation, ...]]:
    flat = column.flatten()
    columns = {field.name: flat.field(field.name).to_pylist() for field in ANNOTATION}
    masks = zip(columns.pop("mask_size"), columns.pop("mask_counts"), strict=True)
    columns["mask_rle"] = [None if counts is None else {"size": size, "counts": counts} for size, counts in masks]
    columns["box_xyxy"] = list(map(tuple, columns["box_xyxy"]))
    columns["corrected"] = list(map(tuple, columns["corrected"]))
    columns["box_3d"] = [None if placed is None else _placed(placed) for placed in columns["box_3d"]]
    names = tuple(columns)
    found = (_annotation(names, values) for values in zip(*columns.values(), strict=True))
    for length in column.value_lengths().to_pylist():
        yield tuple(islice(found, length or 0))


def _annotation(names: tuple[str, ...], values: tuple[Any, ...]) -> Annotation:
    annotation = object.__new__(Annotation)
    # at once: a frozen dataclass sets its fields one by one, which takes several times longer
    vars(annotation).update(zip(names, values, strict=True))
    return annotation


def _placed(row: dict[str, Any]) -> PlacedBox:
    box = Box3D(**{name: row.pop(name) for name in Box3D.__dataclass_fields__})
    return PlacedBox(box, **row)
