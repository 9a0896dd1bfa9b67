"""Where everything in a scene view is, and how it opens: the names of its entities, and Rerun's blueprint over them."""

from dataclasses import dataclass
from typing import Any

FRAME_TIMELINE = "frame"
TIME_TIMELINE = "time"

WORLD = "world"
CAMERA = "world/camera"
IMAGE = "world/camera/image"
MASKS = "world/camera/image/masks"
BOXES_2D = "world/camera/image/boxes"
POINTS = "world/points"
OBJECT_POINTS = "world/object_points"
BOXES_3D = "world/boxes"
TRAILS = "world/trails"
UNCERTAINTY_PLOT = "plots/uncertainty"
OBJECTS_PLOT = "plots/objects"
ABOUT = "about"

COLORS = "colors"
"""Name of a layer's one component."""

TRAIL_FRAMES = 60
"""Frames over which a trail shows where an object was."""

_EYE_BEHIND = (0.0, -3.5, -6.0)
_EYE_TARGET = (0.0, 0.5, 12.0)
_UP = (0.0, -1.0, 0.0)
_BACKGROUND = (16, 18, 22)


@dataclass(frozen=True)
class Contents:
    """What there is to show.

    Attributes:
        image: camera images.
        points: point clouds.
        boxes: 3D boxes.
        layers: names of the points' further colours.
        uncertainty: evaluations with scores.
        fps: frames a second, for playing.
    """

    image: bool
    points: bool
    boxes: bool
    layers: tuple[str, ...]
    uncertainty: bool
    fps: float


def blueprint(contents: Contents) -> Any:
    """The layout: 3D large with a tab for each way to colour the points, the image beside it, time series below, panels folded."""
    import rerun.blueprint as rrb

    image = rrb.Spatial2DView(origin=IMAGE, name="Camera")
    objects = rrb.TimeSeriesView(origin=OBJECTS_PLOT, name="Objects in the frame", plot_legend=rrb.Corner2D.RightTop)
    about = rrb.TextDocumentView(origin=ABOUT, name="About this scene")
    series = rrb.TimeSeriesView(origin=UNCERTAINTY_PLOT, name="Uncertainty", plot_legend=rrb.Corner2D.RightTop)
    if contents.points or contents.boxes:
        beside = rrb.Vertical(*([image] if contents.image else []), rrb.Tabs(objects, about) if contents.uncertainty else about)
        top = rrb.Horizontal(_views_3d(contents), beside, column_shares=[5, 3])
    else:
        top = rrb.Horizontal(*([image] if contents.image else []), about, column_shares=[5, 2] if contents.image else None)
    below = series if contents.uncertainty else objects
    return rrb.Blueprint(
        rrb.Vertical(top, below, row_shares=[7, 2]),
        rrb.BlueprintPanel(state="collapsed"),
        rrb.SelectionPanel(state="collapsed"),
        rrb.TimePanel(state="collapsed", timeline=FRAME_TIMELINE, fps=contents.fps, play_state="paused", loop_mode="all"),
    )


def color_component(layer: str) -> str:
    """Name of the component of `POINTS` that holds the colours of a layer."""
    return f"{layer}:{COLORS}"


def _views_3d(contents: Contents) -> Any:
    """A tab for each way to colour the points, which are stored once with a colour for each of the ways."""
    import rerun.blueprint as rrb

    views = [_view_3d("Classes", [OBJECT_POINTS, POINTS]), _view_3d("Photo", [POINTS])] if contents.points else [_view_3d("Boxes", [])]
    views += [_view_3d(layer.replace("/", ": ").capitalize(), [POINTS], layer) for layer in contents.layers]
    return rrb.Tabs(*views) if len(views) > 1 else views[0]


def _view_3d(name: str, clouds: list[str], layer: str | None = None) -> Any:
    import rerun as rr
    import rerun.blueprint as rrb
    from rerun.blueprint.encodings import ComponentSourceKind, VisualizerComponentMapping

    trail = rrb.VisibleTimeRanges(
        timeline=FRAME_TIMELINE,
        start=rrb.TimeRangeBoundary.cursor_relative(seq=-TRAIL_FRAMES),
        end=rrb.TimeRangeBoundary.cursor_relative(),
    )
    overrides: dict[Any, Any] = {TRAILS: trail}
    if layer is not None:
        source = VisualizerComponentMapping(
            target=str(rr.Points3D.descriptor_colors()),
            source_kind=ComponentSourceKind.SourceComponent,
            source_component=color_component(layer),
        )
        overrides[POINTS] = rr.Points3D.from_fields().visualizer(mappings=[source])
    return rrb.Spatial3DView(
        origin=CAMERA,
        name=name,
        contents=[f"+ /{each}" for each in (IMAGE, BOXES_3D, TRAILS, *clouds)],
        background=rrb.Background(color=_BACKGROUND),
        line_grid=False,
        eye_controls=rrb.EyeControls3D(position=_EYE_BEHIND, look_target=_EYE_TARGET, eye_up=_UP),
        overrides=overrides,
    )
