"""The extraction of a recording: frames in, image pairs, depth, clouds, sensor values and the registry out."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.extraction.calib_txt import write_calib
from lamm_pipeline.extraction.diversity import DiversityFilter, Grey, Signature, from_hex, motion, signature, to_hex
from lamm_pipeline.extraction.frame_files import FrameTask, FrameWriter, Pair
from lamm_pipeline.extraction.frame_registry import FailedFrame, FrameRecord, FrameRegistry
from lamm_pipeline.extraction.frame_selection import frame_indices, planned_frames
from lamm_pipeline.extraction.rectify import Rectifier
from lamm_pipeline.extraction.settings import FrameSettings
from lamm_pipeline.extraction.stereo import FrameMatcher, SgbmMatcher, StereoMatcher
from lamm_pipeline.geometry.camera import StereoCalibration
from lamm_pipeline.recordings.reader import RecordingInfo, RecordingReader, SensorSample
from lamm_pipeline.storage.atomic import write_json
from lamm_pipeline.storage.draft import CHECKPOINT_EVERY, Draft, RecordLog
from lamm_pipeline.streaming import Progress, map_ordered, no_progress


def extract_frames(
    reader: RecordingReader,
    calibration: StereoCalibration | None,
    settings: FrameSettings,
    draft: Draft,
    *,
    recording: str,
    svo2_file: str,
    svo2_hash: str,
    lineage: Mapping[str, Any],
    workers: int | None = None,
    progress: Progress = no_progress,
    matcher: StereoMatcher | FrameMatcher | None = None,
) -> FrameRegistry:
    """Extract the frames of a recording into `draft`.

    Frames stream: decoding on this thread, everything else in `workers` threads. A frame that cannot be extracted is listed with its
    reason; only when more than `settings.max_bad_share` of the wanted frames fail is the recording refused. Without a calibration the
    images stay raw and there is neither depth nor cloud. Frames that the diversity filter drops are listed with their reason and get no
    files, so that no later stage works on them; nothing is renumbered.

    Args:
        reader: an open recording.
        calibration: of its camera at its resolution, None when unknown.
        settings: what to extract.
        draft: where to write; continued from its last checkpoint.
        recording: key of the recording.
        svo2_file: name of its file.
        svo2_hash: digest of its file.
        lineage: where it came from; kept in the registry.
        workers: number of threads, None = one a processor.
        progress: told after each frame.
        matcher: computes depth; None = semi-global matching with `settings.stereo`.

    Returns:
        The registry that was written.

    Raises:
        InputError: no frames in the range, too many bad frames, or a calibration of another size.
    """
    info = reader.info
    rectifier = _rectifier(calibration, settings, info)
    used_matcher = (matcher or SgbmMatcher(settings.stereo)) if rectifier is not None and settings.depth else None
    writer = FrameWriter(
        draft.directory,
        recording=recording,
        svo2_file=svo2_file,
        size=(info.width, info.height),
        source_names=info.source_names,
        settings=settings,
        rectifier=rectifier,
        matcher=used_matcher,
    )
    indices = frame_indices(info.frame_timestamps_ns, settings)
    listed, failed, kept = draft.log("frames.jsonl"), draft.log("failed.jsonl"), draft.log("kept.jsonl")
    done = int(draft.state.get("done", 0))
    tasks = _tasks(reader, indices[done:], settings)
    if settings.enable_diversity_filter:
        outcomes = _extract_diverse(writer, tasks, settings, kept, _unpack(draft.state.get("previous")), workers)
    else:
        outcomes = _extract_all(writer, tasks, workers)
    for count, outcome in enumerate(outcomes, start=done + 1):
        if isinstance(outcome.result, FailedFrame):
            failed.append(asdict(outcome.result))
            _refuse_if_too_many(failed, len(indices), svo2_file, settings)
        else:
            listed.append(asdict(replace(outcome.result, sequence_index=len(listed))))
        if outcome.kept is not None:
            kept.append(outcome.kept)
        progress(count, len(indices))
        if count % CHECKPOINT_EVERY == 0:
            draft.checkpoint({"done": count, "previous": _pack(outcome.blurred)})
    if len(listed) == 0:
        raise InputError(
            f"{svo2_file}: none of {len(indices)} frames could be extracted ({next(iter(failed))['reason']}); check the recording."
        )
    frames = tuple(FrameRecord(**record) for record in listed)
    registry = FrameRegistry(
        recording=recording,
        svo2_file=svo2_file,
        svo2_hash=svo2_hash,
        total_frames=info.frame_count,
        extracted_frames=sum(frame.selected for frame in frames),
        failed_frames=tuple(FailedFrame(**record) for record in failed),
        config=_config(settings, used_matcher),
        lineage={"dataset_id": None, "original_unix_timestamp": None, "camera_serial": info.serial, "use_enhanced_naming": False}
        | dict(lineage),
        rectified=rectifier is not None,
        camera=rectifier.camera if rectifier is not None else None,
        width=info.width,
        height=info.height,
        frames=frames,
    )
    _write_calibration(draft.directory, calibration, rectifier)
    frame_registry.write_table(draft.directory / frame_registry.TABLE_NAME, registry)
    frame_registry.write(draft.directory / frame_registry.FILE_NAME, registry)
    return registry


@dataclass(frozen=True)
class _Outcome:
    """What became of a frame, and what the diversity filter must remember of it.

    Attributes:
        result: the record or the failure.
        kept: the entry of the log of kept frames, None when the filter is off or did not keep the frame.
        blurred: blurred image of the last usable frame so far, for the motion score of the next.
    """

    result: FrameRecord | FailedFrame
    kept: dict[str, str] | None = None
    blurred: Grey | None = None


@dataclass(frozen=True)
class _Judged:
    """A prepared frame with the filter's verdict."""

    pair: Pair | FailedFrame
    drop_reason: str | None
    kept: dict[str, str] | None
    blurred: Grey | None


def _extract_all(writer: FrameWriter, tasks: Iterable[FrameTask], workers: int | None) -> Iterator[_Outcome]:
    def work(task: FrameTask) -> FrameRecord | FailedFrame:
        pair = writer.prepare(task)
        return pair if isinstance(pair, FailedFrame) else writer.write(pair)

    for _, result in map_ordered(work, tasks, workers):
        yield _Outcome(result)


def _extract_diverse(
    writer: FrameWriter,
    tasks: Iterable[FrameTask],
    settings: FrameSettings,
    kept: Iterable[Mapping[str, str]],
    previous: Grey | None,
    workers: int | None,
) -> Iterator[_Outcome]:
    """Like `_extract_all`, but stereo and files only for frames that the filter keeps; it judges in file order between two pools."""
    diversity = DiversityFilter(settings.similarity_threshold, settings.motion_threshold)
    for entry in kept:
        diversity.keep(from_hex(entry["dhash"]), entry["frame_id"])

    def prepare(task: FrameTask) -> tuple[Pair | FailedFrame, Signature | None]:
        pair = writer.prepare(task)
        return pair, None if isinstance(pair, FailedFrame) else signature(pair.left)

    def write(judged: _Judged) -> FrameRecord | FailedFrame:
        if isinstance(judged.pair, FailedFrame):
            return judged.pair
        if judged.drop_reason is not None:
            return writer.dropped(judged.pair.index, judged.pair.timestamp_ns, judged.drop_reason)
        return writer.write(judged.pair)

    prepared = (result for _, result in map_ordered(prepare, tasks, workers))
    for judged, result in map_ordered(write, _judge(prepared, diversity, writer, previous), workers):
        yield _Outcome(result, judged.kept, judged.blurred)


def _judge(
    prepared: Iterable[tuple[Pair | FailedFrame, Signature | None]], diversity: DiversityFilter, writer: FrameWriter, previous: Grey | None
) -> Iterator[_Judged]:
    for pair, current in prepared:
        if isinstance(pair, FailedFrame) or current is None:
            yield _Judged(pair, None, None, previous)
            continue
        reason = diversity.judge(current.dhash, motion(current.blurred, previous))
        previous = current.blurred
        entry = None
        if reason is None:
            entry = {"dhash": to_hex(current.dhash), "frame_id": writer.frame_id(pair.index)}
            diversity.keep(current.dhash, entry["frame_id"])
        yield _Judged(pair, reason, entry, previous)


def _tasks(reader: RecordingReader, indices: list[int], settings: FrameSettings) -> Iterator[FrameTask]:
    samples = _indexed_sensors(reader) if settings.sensors else iter(())
    index, sample = next(samples, (-1, None))
    for frame in planned_frames(reader, indices):
        while sample is not None and index < frame.index:
            index, sample = next(samples, (-1, None))
        yield FrameTask(frame, sample if index == frame.index else None)


def _indexed_sensors(reader: RecordingReader) -> Iterator[tuple[int, SensorSample]]:
    """Sensor samples with the index of the frame they belong to: frames may lack one, and are told apart by their stamps."""
    index_of = {stamp: index for index, stamp in reversed(list(enumerate(reader.info.frame_timestamps_ns)))}
    for sample in reader.frame_sensors():
        if sample.timestamp_ns in index_of:
            yield index_of[sample.timestamp_ns], sample


def _rectifier(calibration: StereoCalibration | None, settings: FrameSettings, info: RecordingInfo) -> Rectifier | None:
    if calibration is None:
        return None
    if (calibration.width, calibration.height) != (info.width, info.height):
        raise InputError(
            f"{calibration.source} is a calibration for {calibration.width}x{calibration.height}, but the recording has "
            f"{info.width}x{info.height}; use the calibration of the recording's own resolution."
        )
    return Rectifier(calibration) if settings.rectify else None


def _refuse_if_too_many(failed: RecordLog, wanted: int, svo2_file: str, settings: FrameSettings) -> None:
    if len(failed) > settings.max_bad_share * wanted:
        first = next(iter(failed))
        raise InputError(
            f"{svo2_file}: {len(failed)} of {wanted} frames could not be extracted, more than max_bad_share = {settings.max_bad_share:g} "
            f"allows (frame {first['index']}: {first['reason']}). Check the recording, or allow more."
        )


def _config(settings: FrameSettings, matcher: StereoMatcher | FrameMatcher | None) -> dict[str, Any]:
    return settings.model_dump(mode="json") | {
        "point_cloud_format": "bin",
        "stereo_matcher": matcher.identity if matcher is not None else None,
    }


def _write_calibration(folder: Path, calibration: StereoCalibration | None, rectifier: Rectifier | None) -> None:
    """`calibration.json`: the factory calibration that was used and what it led to; `calib.txt`: KITTI's form of the latter."""
    if calibration is None:
        return
    # Where the file lay differs between machines; what it says does not.
    factory = asdict(calibration) | {"source": Path(calibration.source).name}
    rectified = asdict(rectifier.camera) if rectifier is not None else None
    convention = "X_right = R X_left + T, R = Rodrigues(rotation_vector); metres, radians, pixels; x right, y down, z forward"
    write_json(folder / "calibration.json", {"factory": factory, "rectified": rectified, "convention": convention})
    if rectifier is not None:
        write_calib(folder / "calib.txt", rectifier.camera)


def _pack(image: Grey | None) -> dict[str, Any] | None:
    return None if image is None else {"shape": list(image.shape), "base64": base64.b64encode(image.tobytes()).decode()}


def _unpack(packed: dict[str, Any] | None) -> Grey | None:
    return None if packed is None else np.frombuffer(base64.b64decode(packed["base64"]), np.uint8).reshape(packed["shape"])
