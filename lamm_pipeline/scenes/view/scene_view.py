"""`scene.rrd`: a recording as a Rerun scene, and `scene.json`, which says what is in it and what was left out to keep it small.

Images, boxes, points and time series lie on one timeline, counted in frames (`frame`) and in Unix time (`time`). The file is a cache:
Rerun promises to read it for about one minor version, and its bytes differ from one writing to the next (the ids of its chunks are
random), while its content does not.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FrameRecord
from lamm_pipeline.geometry.drawing import distinct_color
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.scenes.view import scene_layout as layout
from lamm_pipeline.scenes.view import thinning as thin
from lamm_pipeline.scenes.view import uncertainty_colors
from lamm_pipeline.scenes.view.evaluations import Evaluation
from lamm_pipeline.scenes.view.scene_frame import NO_CLASS, FrameInputs, SceneFrame, class_numbers, make_frame
from lamm_pipeline.scenes.view.scene_layout import Contents
from lamm_pipeline.scenes.view.scene_source import SceneSource
from lamm_pipeline.scenes.view.scene_writer import NOTHING, SceneWriter, Series, ShownClass, rerun_version
from lamm_pipeline.scenes.view.settings import SceneViewSettings
from lamm_pipeline.scenes.view.thinning import Detail, Thinning
from lamm_pipeline.storage.atomic import write_json
from lamm_pipeline.streaming import Progress, map_ordered, no_progress

SCENE_FILE = "scene.rrd"
ABOUT_FILE = "scene.json"

_PROBE_FILE = "probe.rrd"
_PROBED = 6
_HEADROOM = 0.93
_STRICTER = 0.9


def write_scene(
    source: SceneSource, settings: SceneViewSettings, folder: Path, *, workers: int | None = None, progress: Progress = no_progress
) -> dict[str, Any]:
    """Write `scene.rrd` and `scene.json`.

    How finely frames are shown is decided from the bytes that a few of them take. The file is measured when it is written; one that came
    out too large is written once more, coarser.

    Args:
        source: what is shown.
        settings: how finely at best, and how large the file may be.
        folder: where the files go.
        workers: threads; None means one per processor.
        progress: told about frames.

    Returns:
        What `scene.json` says.

    Raises:
        InputError: Rerun is not installed, or the recording has no frames.
    """
    version = rerun_version()
    frames = len(source.registry.selected_frames)
    if frames == 0:
        raise InputError(f"The recording {source.registry.recording!r} has no frames to show. Extract frames first.")
    limit = settings.max_megabytes * 1e6
    places = {n * frames // min(frames, _PROBED) for n in range(min(frames, _PROBED))}
    probed = [inputs for place, inputs in enumerate(source.inputs()) if place in places]

    def size_of(some: list[FrameInputs], detail: Detail) -> int:
        path = folder / _PROBE_FILE
        _write(source, path, some, [each.record for each in some], detail, "", workers)
        size = path.stat().st_size
        path.unlink()
        return size

    peaks = _peaks(source)
    allowed = limit * _HEADROOM
    steps = thin.details(settings)
    beside_frames = size_of([], steps[0])
    while True:
        thinning = thin.choose(
            steps, frames, lambda detail: (size_of(probed, detail) - beside_frames) / len(probed), allowed - beside_frames
        )
        shown = thinning.shown(frames, peaks)
        chosen = (each for place, each in enumerate(source.inputs()) if place in shown)
        told = _told(source, settings, thinning)
        records = [record for place, record in enumerate(source.registry.selected_frames) if place in shown]
        written = _write(source, folder / SCENE_FILE, chosen, records, thinning.detail, told, workers, progress)
        size = (folder / SCENE_FILE).stat().st_size
        if size <= limit or written["frames"] == 1:
            break
        allowed *= _STRICTER * limit / size
    about = {
        "recording": source.registry.recording,
        "rerun": version,
        "megabytes": round(size / 1e6, 3),
        "recording_frames": frames,
        **written,
        "thinning": thinning.to_json(),
        "thinned": _thinned(settings, thinning),
        "missing": missing(source),
        "evaluations": [_about_evaluation(source, each) for each in source.evaluations],
        "world": "camera frame of the first image" if source.poses else "camera frame of each image",
    }
    write_json(folder / ABOUT_FILE, about)
    return about


def _peaks(source: SceneSource) -> list[int]:
    """Places of the most uncertain frames: the first of each evaluation, then the second of each, and so on."""
    places = {frame.svo2_frame_index: place for place, frame in enumerate(source.registry.selected_frames)}
    ranked = zip_longest(*(each.peaks() for each in source.evaluations))
    return list(dict.fromkeys(places[index] for rank in ranked for index in rank if index in places))


def missing(source: SceneSource) -> list[str]:
    """What a scene could show and this one does not, as sentences."""
    sentences = {
        "There are no camera images.": source.has_images,
        "The images are not rectified, so nothing has a place in space.": source.registry.camera is not None,
        "There are no point clouds.": source.has_points or source.registry.camera is None,
        "There are no detections: nothing is outlined in the image.": "detections" in source.artifacts,
        "There are no 3D boxes.": "boxes_3d" in source.artifacts,
        "There are no tracks: boxes have no ids and leave no trails.": "tracks" in source.artifacts,
        "The camera's motion is not known: trails are as the camera saw them.": bool(source.poses) or "tracks" not in source.artifacts,
        "There is no uncertainty: no model was evaluated on this recording.": bool(source.evaluations),
    }
    return [sentence for sentence, there in sentences.items() if not there]


def _write(
    source: SceneSource,
    path: Path,
    chosen: Iterable[FrameInputs],
    records: Sequence[FrameRecord],
    detail: Detail,
    about: str,
    workers: int | None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Write these frames, and the time series of all frames; returns counts."""
    numbers = class_numbers(source.ontology)
    camera = source.registry.camera
    frames = points = cloud_points = boxes = 0
    damaged: list[str] = []

    def work(inputs: FrameInputs) -> SceneFrame:
        return make_frame(inputs, camera, numbers, detail, source.layers)

    with SceneWriter(path, source.registry.recording, _contents(source), camera, _classes(source.ontology)) as writer:
        writer.about(about)
        for series in [*_uncertainty_series(source), *_object_series(source)]:
            writer.series(series)
        writer.emptied([each.svo2_frame_index for each in records], [each.timestamp_ns for each in records])
        for _, frame in map_ordered(work, chosen, workers):
            writer.frame(frame)
            frames += 1
            points += len(frame.points)
            cloud_points += frame.cloud_points
            boxes += len(frame.boxes)
            damaged += [f"frame {frame.index}: {name}" for name in frame.damaged]
            progress(frames, None)
    return {"frames": frames, "points": points, "cloud_points": cloud_points, "boxes": boxes, "damaged_files": damaged}


def _contents(source: SceneSource) -> Contents:
    return Contents(
        image=source.has_images,
        points=source.has_points,
        boxes="boxes_3d" in source.artifacts or "tracks" in source.artifacts,
        layers=source.layer_names(),
        uncertainty=bool(source.evaluations),
        fps=source.fps,
    )


def _classes(ontology: Ontology) -> list[ShownClass]:
    return [ShownClass(NO_CLASS, "", NOTHING), *(ShownClass(each.category_id, each.name, each.color_rgb) for each in ontology.classes)]


def _uncertainty_series(source: SceneSource) -> list[Series]:
    times = {frame.svo2_frame_index: frame.timestamp_ns for frame in source.registry.selected_frames}
    series: list[Series] = []
    for each, kind in ((one, kind) for one in source.evaluations for kind in one.kinds):
        known = [(index, frame.score) for index, frame in each.frames.items() if frame.kind == kind and index in times]
        if known:
            indices, scores = zip(*known, strict=True)
            name = f"{each.id} ({kind.replace('_', ' ')})"
            entity = f"{layout.UNCERTAINTY_PLOT}/{each.id}/{kind}"
            series.append(Series(entity, name, distinct_color(len(series)), indices, [times[index] for index in indices], scores))
    return series


def _object_series(source: SceneSource) -> list[Series]:
    """How many objects of each class every frame has."""
    counted = [each for each in source.inputs() if each.detections is not None] if "detections" in source.artifacts else []
    found = [Counter(one.class_id for one in each.detections.detections) for each in counted if each.detections is not None]
    indices, times = [each.record.svo2_frame_index for each in counted], [each.record.timestamp_ns for each in counted]
    there = set().union(*found)
    return [
        Series(f"{layout.OBJECTS_PLOT}/{each.id}", each.name, each.color_rgb, indices, times, [counts[each.id] for counts in found])
        for each in source.ontology.classes
        if each.id in there
    ]


def _about_evaluation(source: SceneSource, evaluation: Evaluation) -> dict[str, Any]:
    colors = source.class_colors(evaluation).tolist()
    return {
        "id": evaluation.id,
        "model_id": evaluation.model_id,
        "scores": list(evaluation.kinds),
        "classes": [{"name": name, "color": "#{:02x}{:02x}{:02x}".format(*colors[n])} for n, name in enumerate(evaluation.class_names)],
    }


def _thinned(settings: SceneViewSettings, thinning: Thinning) -> list[str]:
    """What was made coarser than asked for, as sentences."""
    detail = thinning.detail
    sentences = []
    if thinning.step > 0:
        sentences = [
            f"Clouds have at most {detail.points} points a frame instead of {settings.points_per_frame}.",
            f"Images are at most {detail.image_width} pixels wide instead of {settings.image_width}.",
            f"Images have JPEG quality {detail.jpeg_quality} instead of {settings.jpeg_quality}.",
        ]
    if thinning.every > 1:
        sentences.append(
            f"One frame in {thinning.every} is shown, and up to {thinning.peaks} of the most uncertain ones; the time series have all."
        )
    return sentences


def _told(source: SceneSource, settings: SceneViewSettings, thinning: Thinning) -> str:
    """The text that stands in the scene, as Markdown."""
    registry = source.registry
    lines = [f"# {registry.recording}", "", f"{len(registry.selected_frames)} frames, {registry.width}x{registry.height}."]
    lines += ["", "Tabs above the 3D view choose the colours of the points. The panel at the left switches single things on and off."]
    for each in source.evaluations:
        scales = [f"{kind.replace('_', ' ')}, blue at 0, red at {uncertainty_colors.red_at(kind):g} and above" for kind in each.kinds]
        lines += ["", f"**{each.id}** ({each.model_id}): {'; '.join(scales)}."]
    for title, sentences in (("Thinned", _thinned(settings, thinning)), ("Not here", missing(source))):
        if sentences:
            lines += ["", f"## {title}", "", *(f"- {sentence}" for sentence in sentences)]
    return "\n".join(lines) + "\n"
