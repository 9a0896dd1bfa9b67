"""Writes a scene with Rerun's SDK: one entity for each thing that is switched on and off, frame by frame."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.scenes.view import scene_layout as layout
from lamm_pipeline.scenes.view.scene_frame import NO_CLASS, SceneFrame, ShownBox
from lamm_pipeline.scenes.view.scene_layout import Contents

APPLICATION = "lamm_pipeline"
NOTHING = (0, 0, 0, 0)
"""Colour of what has no class: masks are transparent there."""
_POINT, _OBJECT_POINT = 1.5, 2.5
"""Radii of points, in pixels of the screen."""
_LINE, _TRAIL = 1.5, 2.0
_PICTURE_DISTANCE_M = 0.8
_MASK_OPACITY = 0.45


@dataclass(frozen=True)
class ShownClass:
    """A class as it is shown; the colour may have an opacity."""

    number: int
    name: str
    color: tuple[int, ...]


@dataclass(frozen=True)
class Series:
    """A line over all frames below `layout.UNCERTAINTY_PLOT` or `layout.OBJECTS_PLOT`.

    Attributes:
        entity: where it is.
        name: in the plot's legend.
        color_rgb: of the line.
        frame_index, timestamp_ns, values: of its points.
    """

    entity: str
    name: str
    color_rgb: tuple[int, int, int]
    frame_index: Sequence[int]
    timestamp_ns: Sequence[int]
    values: Sequence[float]


def rerun_version() -> str:
    """Version of the Rerun SDK that is installed.

    Raises:
        InputError: none is.
    """
    try:
        import rerun
    except ImportError:
        raise InputError("Scene views need Rerun. Install it with `pip install 'lamm-pipeline[view]'` and launch again.") from None
    return str(rerun.__version__)


@dataclass
class SceneWriter:
    """A scene that is being written; use it as a context manager.

    Attributes:
        path: of the file.
        recording: key of the recording, which is its id in the file too.
        contents: what there is to show.
        camera: of the left image; None where images are not rectified.
        classes: of boxes, masks and `layout.OBJECT_POINTS`.
    """

    path: Path
    recording: str
    contents: Contents
    camera: RectifiedCamera | None
    classes: Sequence[ShownClass]
    _stream: Any = None
    _before: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    _scale: float | None = None

    def __enter__(self) -> Self:
        import rerun as rr

        rr.set_strict_mode(True)
        self._stream = rr.RecordingStream(APPLICATION, recording_id=self.recording, send_properties=False)
        self._stream.save(self.path, default_blueprint=layout.blueprint(self.contents))
        self._stream.set_log_time_enabled(False)
        self._stream.send_recording_name(self.recording)
        self._static(layout.WORLD, rr.ViewCoordinates.RDF, _annotation_context(self.classes))
        self._styles()
        self._stream.flush()  # a viewer that is still loading knows names and colours first
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.flush()
        self._stream.disconnect()

    def frame(self, frame: SceneFrame) -> None:
        """Write one frame; each thing that the frame lacks is emptied, so that nothing of the frame before stays."""
        self._stream.set_time(layout.FRAME_TIMELINE, sequence=frame.index)
        self._stream.set_time(layout.TIME_TIMELINE, timestamp=np.datetime64(frame.timestamp_ns, "ns"))
        self._camera(frame)
        if self.contents.image:
            self._picture(frame)
        if self.contents.points:
            self._points(frame)
        if self.contents.boxes:
            self._boxes(frame)

    def about(self, markdown: str) -> None:
        """Write the text about the scene."""
        import rerun as rr

        self._static(layout.ABOUT, rr.TextDocument(markdown, media_type="text/markdown"))

    def series(self, series: Series) -> None:
        """Write a line over all frames."""
        import rerun as rr

        self._static(series.entity, rr.SeriesLines(names=series.name, colors=series.color_rgb, widths=2.0))
        times = self._moments(series.frame_index, series.timestamp_ns)
        self._stream.send_columns(series.entity, times, rr.Scalars.columns(scalars=np.array(series.values, np.float64)))

    def emptied(self, frame_index: Sequence[int], timestamp_ns: Sequence[int]) -> None:
        """Empty each frame that is going to be written of boxes and masks, before any of them is.

        A viewer shows the latest that it has up to a moment. While it is loading, that would be an earlier frame's objects at a later one.
        """
        import rerun as rr

        contents = self.contents
        entities = [layout.MASKS, layout.BOXES_2D] if contents.image else []
        entities += [layout.BOXES_3D, layout.TRAILS] if contents.boxes else []
        for entity in entities:
            cleared = rr.Clear.columns(is_recursive=[False] * len(frame_index))
            self._stream.send_columns(entity, self._moments(frame_index, timestamp_ns), cleared)
        self._stream.flush()

    @staticmethod
    def _moments(frame_index: Sequence[int], timestamp_ns: Sequence[int]) -> list[Any]:
        import rerun as rr

        return [
            rr.TimeColumn(layout.FRAME_TIMELINE, sequence=np.array(frame_index, np.int64)),
            rr.TimeColumn(layout.TIME_TIMELINE, timestamp=np.array(timestamp_ns, "datetime64[ns]")),
        ]

    def _styles(self) -> None:
        """What is the same in all frames is written once."""
        import rerun as rr

        line, contents = rr.Radius.ui_points(_LINE), self.contents
        if contents.image:
            self._static(layout.MASKS, rr.SegmentationImage.from_fields(opacity=_MASK_OPACITY, draw_order=10.0))
            self._static(layout.BOXES_2D, rr.Boxes2D.from_fields(radii=line))
        if contents.points:
            self._static(layout.POINTS, rr.Points3D.from_fields(radii=rr.Radius.ui_points(_POINT)))
            self._static(layout.OBJECT_POINTS, rr.Points3D.from_fields(radii=rr.Radius.ui_points(_OBJECT_POINT)))
        if contents.boxes:
            self._static(layout.BOXES_3D, rr.Boxes3D.from_fields(radii=line, fill_mode=rr.components.FillMode.MajorWireframe))
            self._static(layout.TRAILS, rr.LineStrips3D.from_fields(radii=rr.Radius.ui_points(_TRAIL), show_labels=False))

    def _camera(self, frame: SceneFrame) -> None:
        import rerun as rr

        if frame.pose is not None:
            self._stream.log(layout.CAMERA, rr.Transform3D(translation=frame.pose[:3, 3], mat3x3=frame.pose[:3, :3]))
        if self.camera is None or frame.scale == self._scale:
            return
        self._scale = frame.scale
        camera, scale = self.camera, frame.scale
        shown = rr.Pinhole(
            focal_length=(camera.fx * scale, camera.fy * scale),
            principal_point=((camera.cx + 0.5) * scale, (camera.cy + 0.5) * scale),
            resolution=(round(camera.width * scale), round(camera.height * scale)),
            camera_xyz=rr.ViewCoordinates.RDF,
            image_plane_distance=_PICTURE_DISTANCE_M,
        )
        self._static(layout.IMAGE, shown)

    def _picture(self, frame: SceneFrame) -> None:
        import rerun as rr

        stream = self._stream
        stream.log(layout.IMAGE, rr.Clear.flat() if frame.jpeg is None else rr.EncodedImage(contents=frame.jpeg, media_type="image/jpeg"))
        if frame.masks is None:
            stream.log(layout.MASKS, rr.Clear.flat())
        else:
            masks = frame.masks.astype(np.uint8) if frame.masks.max(initial=0) < 256 else frame.masks
            stream.log(layout.MASKS, rr.SegmentationImage(masks))
        boxes = rr.Boxes2D(
            array=frame.boxes_xyxy,
            array_format=rr.Box2DFormat.XYXY,
            class_ids=frame.box_classes,
            labels=frame.box_labels,
        )
        stream.log(layout.BOXES_2D, boxes)

    def _points(self, frame: SceneFrame) -> None:
        import rerun as rr

        colors = {name: rr.components.ColorBatch(values) for name, values in frame.layers.items()}
        layers = [rr.DynamicArchetype(name, components={layout.COLORS: values}) for name, values in colors.items()]
        cloud = rr.Points3D(frame.points, colors=frame.photo)
        self._stream.log(layout.POINTS, cloud, *layers)
        objects = np.flatnonzero(frame.point_classes != NO_CLASS)  # places, because a mask takes rows of three several times slower
        self._stream.log(layout.OBJECT_POINTS, rr.Points3D(frame.points[objects], class_ids=frame.point_classes[objects]))

    def _boxes(self, frame: SceneFrame) -> None:
        import rerun as rr

        boxes = frame.boxes
        sizes = np.array([(each.box.length, each.box.height, each.box.width) for each in boxes], np.float32).reshape(-1, 3)
        shown = rr.Boxes3D(
            centers=np.array([_middle(each) for each in boxes], np.float32).reshape(-1, 3),
            half_sizes=sizes / 2,
            quaternions=[_quaternion(each.box.rotation_y) for each in boxes],
            class_ids=[each.class_number for each in boxes],
            labels=[each.label for each in boxes],
        )
        self._stream.log(layout.BOXES_3D, shown)
        here = {each.track_id: np.array(_middle(each), np.float32) for each in boxes if each.track_id is not None}
        moved = [each for each in boxes if each.track_id in self._before]
        strips = np.array([(self._before[each.track_id], here[each.track_id]) for each in moved if each.track_id is not None])
        numbers = [each.class_number for each in moved]
        self._stream.log(layout.TRAILS, rr.LineStrips3D(strips, class_ids=numbers))
        self._before = here

    def _static(self, entity: str, *what: Any) -> None:
        self._stream.log(entity, *what, static=True)


def _annotation_context(classes: Sequence[ShownClass]) -> Any:
    import rerun as rr

    return rr.AnnotationContext([rr.AnnotationInfo(id=each.number, label=each.name, color=each.color) for each in classes])


def _middle(shown: ShownBox) -> tuple[float, float, float]:
    return shown.box.x, shown.box.y - shown.box.height / 2, shown.box.z


def _quaternion(rotation_y: float) -> tuple[float, float, float, float]:
    """x, y, z, w."""
    return 0.0, float(np.sin(rotation_y / 2)), 0.0, float(np.cos(rotation_y / 2))
