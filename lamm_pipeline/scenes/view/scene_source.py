"""What a scene view is made of: the frames of a recording and whatever else is known of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count, pairwise
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.extraction.frame_registry import FrameRegistry
from lamm_pipeline.extraction.in_frame_order import InFrameOrder
from lamm_pipeline.geometry.drawing import distinct_color
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.reconstruction import frame_boxes
from lamm_pipeline.scenes.view import evaluations, uncertainty_colors
from lamm_pipeline.scenes.view.evaluations import Evaluation
from lamm_pipeline.scenes.view.scene_frame import FrameInputs, TrackedBox, by_frame
from lamm_pipeline.segmentation import detections
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore
from lamm_pipeline.storage.in_force import artifacts_in_force
from lamm_pipeline.tracking import camera_path, tracks
from lamm_pipeline.tracking.camera_path import Pose
from lamm_pipeline.uncertainty import frame_uncertainty
from lamm_pipeline.uncertainty.frame_uncertainty import UNKNOWN_CLASS

FRAMES = "frames"
OPTIONAL = ("detections", "boxes_3d", "tracks", "frame_uncertainty")
"""Assets that a scene view shows where they are there."""

_LEAST_COLOR_DISTANCE = 120
_SLOWEST, _FASTEST, _UNKNOWN_FPS = 1.0, 60.0, 10.0


@dataclass(frozen=True)
class SceneSource:
    """A recording and what is known of it.

    Attributes:
        artifacts: by asset: `FRAMES` and some of `OPTIONAL`.
        ontology: names and colours of the classes.
    """

    artifacts: Mapping[str, Artifact]
    ontology: Ontology

    @cached_property
    def registry(self) -> FrameRegistry:
        """The frames."""
        return frame_registry.read(self.artifacts[FRAMES].file(frame_registry.FILE_NAME))

    @cached_property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """What models said of the frames; none where there is no frame uncertainty."""
        artifact = self.artifacts.get("frame_uncertainty")
        return () if artifact is None else evaluations.gather(frame_uncertainty.read(artifact.file(frame_uncertainty.FILE_NAME)))

    @cached_property
    def poses(self) -> Mapping[int, Pose]:
        """Of the camera by frame index; empty where its motion is not known."""
        artifact = self.artifacts.get("tracks")
        known = artifact is not None and camera_path.POSES_FILE in artifact.manifest.files
        return camera_path.read(artifact.file(camera_path.POSES_FILE)) if artifact is not None and known else {}

    @cached_property
    def tracked(self) -> Mapping[int, list[TrackedBox]]:
        """The tracks of each frame, by frame index."""
        artifact = self.artifacts.get("tracks")
        return {} if artifact is None else by_frame(tracks.read(artifact.file(tracks.TRACKS_FILE)))

    @property
    def has_points(self) -> bool:
        """Whether there are point clouds that can be placed."""
        return self.registry.camera is not None and any(frame.point_cloud is not None for frame in self.registry.selected_frames)

    @property
    def has_images(self) -> bool:
        """Whether there are camera images."""
        return any(frame.image_left is not None for frame in self.registry.selected_frames)

    @property
    def fps(self) -> float:
        """Frames a second, for playing."""
        times = [frame.timestamp_ns for frame in self.registry.selected_frames]
        steps = [after - before for before, after in pairwise(times) if after > before]
        return min(max(1e9 / median(steps), _SLOWEST), _FASTEST) if steps else _UNKNOWN_FPS

    def inputs(self) -> Iterator[FrameInputs]:
        """Everything known of each frame, in order, streamed."""
        found = self._in_order("detections", lambda artifact: detections.read(artifact.file(detections.FILE_NAME)))
        boxed = self._in_order("boxes_3d", lambda artifact: frame_boxes.read(artifact.file(frame_boxes.FILE_NAME)))
        for record in self.registry.selected_frames:
            yield FrameInputs(
                record=record,
                image=self._file(record.image_left),
                cloud=self._file(record.point_cloud),
                detections=None if found is None else found.at(record),
                boxes=None if boxed is None else boxed.at(record),
                tracked=self.tracked.get(record.svo2_frame_index, ()),
                pose=self.poses.get(record.svo2_frame_index),
            )

    def layer_names(self) -> tuple[str, ...]:
        """Names of what `layers` gives, as far as some frame has it."""
        names = [f"uncertainty/{each.id}" for each in self.evaluations]
        names += [f"{what}/{each.id}" for each in self.evaluations if each.has_classes for what in ("prediction", "truth")]
        return tuple(names) if self.has_points else ()

    def layers(self, index: int, points: int) -> Mapping[str, NDArray[np.uint8]]:
        """The colours that the evaluations give the points of a frame, `(points, 3)` by layer; grey where they say nothing."""
        found: dict[str, NDArray[np.uint8]] = {}
        artifact = self.artifacts.get("frame_uncertainty")
        if artifact is None:
            return found
        for each in self.evaluations:
            frame = each.frames.get(index)
            colors = np.full((points, 3), uncertainty_colors.UNKNOWN, np.uint8)
            if frame is not None:
                colors = uncertainty_colors.colors(evaluations.point_scores(artifact, frame, points), frame.kind)
            found[f"uncertainty/{each.id}"] = colors
            if each.has_classes:
                classes = None if frame is None else evaluations.point_classes(artifact, each, frame, points)
                shown = self.class_colors(each)[np.full((points, 2), UNKNOWN_CLASS) if classes is None else classes]
                found |= {f"prediction/{each.id}": shown[:, 0], f"truth/{each.id}": shown[:, 1]}
        return found

    def class_colors(self, evaluation: Evaluation) -> NDArray[np.uint8]:
        """`(classes + 1, 3)`: the ontology's colours where it knows a class, else ones unlike those; last unknown's, which -1 finds."""
        known = [self.ontology.by_label.get(name.casefold()) for name in evaluation.class_names]
        taken = [each.color_rgb for each in known if each is not None]
        # the first of them is red, which is what uncertainty looks like
        others = (color for color in map(distinct_color, count(1)) if all(_unlike(color, each) for each in taken))
        colors = [next(others) if each is None else each.color_rgb for each in known]
        return np.array([*colors, uncertainty_colors.UNKNOWN], np.uint8)

    def _file(self, name: str | None) -> Any:
        artifact = self.artifacts[FRAMES]
        return None if name is None or name not in artifact.manifest.files else artifact.file(name)

    def _in_order(self, asset: str, read: Any) -> Any:
        artifact = self.artifacts.get(asset)
        return None if artifact is None else InFrameOrder(read(artifact), self.registry.recording, asset)


def usable_inputs(store: ArtifactStore, recording: str) -> tuple[dict[str, Artifact], list[str]]:
    """The artifacts that a scene shows, all made from each other, and why others that are there are left out.

    Raises:
        InputError: there are no frames.
    """
    chosen = artifacts_in_force(store, recording, [FRAMES])
    left_out = []
    for asset in OPTIONAL:
        if store.current(ArtifactKey("recordings", recording, asset)) is None:
            continue
        try:
            chosen = artifacts_in_force(store, recording, [*chosen, asset])
        except InputError as error:
            left_out.append(f"Left out: {error}")
    return chosen, left_out


def _unlike(one: Sequence[int], other: Sequence[int]) -> bool:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) >= _LEAST_COLOR_DISTANCE
