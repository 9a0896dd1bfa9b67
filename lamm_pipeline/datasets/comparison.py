"""What differs between two dataset versions: frames and annotations in, out and changed, and why.

An annotation is known by its id where both versions pin the same detections of its recording. Where they were computed again, it is the one
that overlaps it most in the same frame, by at least half, whatever its class.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from lamm_pipeline.datasets.curate import CuratedFrame, read_selection
from lamm_pipeline.datasets.samples import source_frames
from lamm_pipeline.datasets.versions import VersionManifest
from lamm_pipeline.geometry.boxes_2d import iou_matrix
from lamm_pipeline.review.carry_over import MIN_IOU
from lamm_pipeline.sample_table import Annotation, ArtifactFolder, Sample

NOT_IN_VERSION = "recording_not_in_version"
NOT_EXTRACTED = "not_extracted"
COMPUTED_AGAIN = "computed_again"
HUMAN = "human"


class Change(StrEnum):
    """What became of something from the old version to the new one."""

    added = "in"
    removed = "out"
    changed = "changed"


@dataclass(frozen=True)
class FrameChange:
    """A frame that is not in both versions as it was.

    Attributes:
        before, after: its state in the old and in the new version, None where the version does not know it.
        reason: of a frame that went out why it is out, of one that came in why it was out, of a changed one what changed: `state`,
            `annotations` or both.
        detail: for people.
    """

    frame_id: str
    change: str
    before: str | None
    after: str | None
    reason: str
    detail: str | None


@dataclass(frozen=True)
class AnnotationChange:
    """An annotation that is not in both versions as it was.

    Attributes:
        annotation_id: in the new version, in the old one where it is gone.
        class_before, class_after: None where it is not in the version.
        what: of a changed one what differs: `class`, `box`, `mask`.
        reason: of one that went out why it is out, of one that came in why it was out, of a changed one where the change comes from.
        detail: for people.
    """

    annotation_id: str
    frame_id: str
    change: str
    class_before: str | None
    class_after: str | None
    what: tuple[str, ...]
    reason: str
    detail: str | None


@dataclass
class Comparison:
    """All that differs.

    Attributes:
        old, new: keys of the versions.
        settings: by setting, its old and its new value; what hard cases had to fulfil is among them.
        artifacts: by recording and asset, the old and the new version pinned; None where there is none.
        frames, annotations: in the order of recordings and frames.
        classes: by class `before`, `in`, `out`, `from_other_class`, `to_other_class`, `corrected` (box or mask), `after`; before + in - out
            + from_other_class - to_other_class = after.
        total_frames: kept in the old and in the new version.
    """

    old: str
    new: str
    settings: dict[str, tuple[Any, Any]]
    artifacts: dict[tuple[str, str], tuple[str | None, str | None]]
    frames: list[FrameChange] = field(default_factory=list)
    annotations: list[AnnotationChange] = field(default_factory=list)
    classes: dict[str, Counter[str]] = field(default_factory=dict)
    total_frames: tuple[int, int] = (0, 0)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "old": self.old,
            "new": self.new,
            "settings": {name: list(values) for name, values in self.settings.items()},
            "artifacts": [
                {"recording": recording, "asset": asset, "before": before, "after": after}
                for (recording, asset), (before, after) in self.artifacts.items()
            ],
            "total_frames": list(self.total_frames),
            "counts": {"frames": counted(self.frames), "annotations": counted(self.annotations)},
            "classes": {class_id: dict(self.classes[class_id]) for class_id in sorted(self.classes)},
            "frames": [asdict(each) for each in self.frames],
            "annotations": [asdict(each) for each in self.annotations],
        }


def counted(changes: Iterable[FrameChange | AnnotationChange]) -> list[dict[str, Any]]:
    """How many of each change have which reason, the most frequent first."""
    found = Counter((each.change, each.reason) for each in changes)
    return [{"change": change, "reason": reason, "count": count} for (change, reason), count in found.most_common()]


@dataclass(frozen=True)
class Curated:
    """A dataset version whose frames and annotations have been selected.

    Attributes:
        manifest: the version.
        folders: where its pinned artifacts lie.
        selection_folder: of its artifact `curated_dataset`.
    """

    manifest: VersionManifest
    folders: ArtifactFolder
    selection_folder: Path

    def frames(self) -> Iterator["_Frame"]:
        """Every frame with what is selected of it, by recording and index."""
        for frame, row in zip(source_frames(self.manifest, self.folders), read_selection(self.selection_folder), strict=True):
            if frame.twin is None:
                yield _Frame(frame.sample, row)


@dataclass(frozen=True)
class _Frame:
    sample: Sample
    row: CuratedFrame

    @property
    def place(self) -> tuple[str, int]:
        return self.row.recording, self.row.frame_index

    @property
    def name(self) -> tuple[str, str]:
        return self.row.recording, self.row.frame_id


def compare(old: Curated, new: Curated) -> Comparison:
    """Compare two dataset versions, of the same dataset or of different ones.

    Args:
        old: the version to start from.
        new: the version to look at.

    Raises:
        InputError: artifacts that a version is made of are gone.
    """
    pins = [_pins(version.manifest) for version in (old, new)]
    result = Comparison(
        old.manifest.key,
        new.manifest.key,
        _settings_changed(*(_chosen(version.manifest) for version in (old, new))),
        _artifacts_changed(*pins),
    )
    kept = Counter[str]()
    for (recording, frame_id), before, after in _side_by_side(old.frames(), new.frames()):
        kept.update(old=before is not None and before.row.kept, new=after is not None and after.row.kept)
        absent = NOT_EXTRACTED if all(recording in each for each in pins) else NOT_IN_VERSION
        same = all(recording in each for each in pins) and _annotated_by(pins[0][recording]) == _annotated_by(pins[1][recording])
        changes = list(_annotation_changes(frame_id, before, after, absent, same_detections=same, classes=result.classes))
        result.annotations += changes
        frame = _frame_change(frame_id, before, after, absent, changes)
        if frame is not None:
            result.frames.append(frame)
    result.total_frames = (kept["old"], kept["new"])
    return result


def _side_by_side(old: Iterator[_Frame], new: Iterator[_Frame]) -> Iterator[tuple[tuple[str, str], _Frame | None, _Frame | None]]:
    """Recording and frame id, with the frame in both versions; None where a version does not know it."""
    before, after = next(old, None), next(new, None)
    while before is not None or after is not None:
        if before is not None and (after is None or before.place < after.place):
            yield before.name, before, None
            before = next(old, None)
        elif after is not None and (before is None or after.place < before.place):
            yield after.name, None, after
            after = next(new, None)
        elif before is not None:
            yield before.name, before, after
            before, after = next(old, None), next(new, None)


def _frame_change(
    frame_id: str, before: _Frame | None, after: _Frame | None, absent: str, annotations: list[AnnotationChange]
) -> FrameChange | None:
    was, is_ = (each is not None and each.row.kept for each in (before, after))
    states = [None if each is None else each.row.state for each in (before, after)]
    if was and is_:
        parts = ["state"] * (states[0] != states[1]) + ["annotations"] * bool(annotations)
        return FrameChange(frame_id, Change.changed, states[0], states[1], "+".join(parts), None) if parts else None
    if not was and not is_:
        return None
    out = after if was else before
    reason, detail = (absent, None) if out is None else (str(out.row.reason), out.row.detail)
    return FrameChange(frame_id, Change.removed if was else Change.added, states[0], states[1], reason, detail)


def _annotation_changes(
    frame_id: str, before: _Frame | None, after: _Frame | None, absent: str, *, same_detections: bool, classes: dict[str, Counter[str]]
) -> Iterator[AnnotationChange]:
    """The changes of one frame's annotations; counts them, and what stays, by class."""
    old, new = ({} if each is None else {one.detection_id: one for one in each.sample.annotations} for each in (before, after))
    kept_old, kept_new = (frozenset(() if each is None else each.row.kept_detection_ids) for each in (before, after))
    partner = {name: name for name in old if name in new} if same_detections else _overlapping(old, new)
    for name in old:
        if name in kept_old:
            classes.setdefault(old[name].class_id, Counter()).update(before=1)
            twin = partner.get(name)
            if twin not in kept_new:
                classes[old[name].class_id].update(out=1)
                reason, detail = _why_not(after, twin, absent)
                yield AnnotationChange(name, frame_id, Change.removed, old[name].class_id, None, (), reason, detail)
    found = {twin: name for name, twin in partner.items()}
    for name in new:
        if name not in kept_new:
            continue
        count = classes.setdefault(new[name].class_id, Counter())
        count.update(after=1)
        twin = found.get(name)
        if twin not in kept_old:
            count.update({"in": 1})
            reason, detail = _why_not(before, twin, absent)
            yield AnnotationChange(name, frame_id, Change.added, None, new[name].class_id, (), reason, detail)
            continue
        one, other = old[str(twin)], new[name]
        what = _differing(one, other)
        if "class" in what:
            count.update(from_other_class=1)
            classes[one.class_id].update(to_other_class=1)
        elif what:
            count.update(corrected=1)
        if what:
            reason = HUMAN if set(what) <= {*one.corrected, *other.corrected} else COMPUTED_AGAIN
            yield AnnotationChange(name, frame_id, Change.changed, one.class_id, other.class_id, what, reason, None)


def _why_not(frame: _Frame | None, name: str | None, absent: str) -> tuple[str, str | None]:
    """Why a version does not have an annotation: its frame, itself, or that it was not found there."""
    if frame is None:
        return absent, None
    if not frame.row.kept and frame.row.state == "excluded":
        return f"frame: {frame.row.reason}", frame.row.detail
    if name is None:
        return COMPUTED_AGAIN, None
    place = frame.row.dropped_detection_ids.index(name)
    return frame.row.dropped_reasons[place], frame.row.dropped_details[place]


def _differing(one: Annotation, other: Annotation) -> tuple[str, ...]:
    pairs = {
        "class": (one.class_id, other.class_id),
        "box": (one.box_xyxy, other.box_xyxy),
        "mask": (one.mask_rle, other.mask_rle),
    }
    return tuple(name for name, (before, after) in pairs.items() if before != after)


def _overlapping(old: Mapping[str, Annotation], new: Mapping[str, Annotation]) -> dict[str, str]:
    """Old annotations with the new one that each is, the best overlap first, one to one."""
    if not old or not new:
        return {}
    names, others = list(old), list(new)
    ious = iou_matrix([old[name].box_xyxy for name in names], [new[name].box_xyxy for name in others])
    ranked = sorted((-float(ious[a, b]), a, b) for a, b in zip(*(ious >= MIN_IOU).nonzero(), strict=True))
    found: dict[str, str] = {}
    taken: set[str] = set()
    for _, a, b in ranked:
        if names[a] not in found and others[b] not in taken:
            found[names[a]] = others[b]
            taken.add(others[b])
    return found


def _pins(manifest: VersionManifest) -> dict[str, dict[str, str | None]]:
    """Versions of the artifacts of each recording; imports of it are named by their keys."""
    pins = {each.recording: dict(each.artifacts) for each in manifest.recordings}
    for each in manifest.imports:
        pins.setdefault(each.recording, {})[f"import {each.key}"] = each.artifact
    return pins


def _annotated_by(pins: Mapping[str, str | None]) -> dict[str, str | None]:
    """What the ids of annotations depend on."""
    return {asset: version for asset, version in pins.items() if asset == "detections" or asset.startswith("import ")}


def _chosen(manifest: VersionManifest) -> dict[str, Any]:
    """What people chose for a version, by setting: its settings, and the condition of its hard cases."""
    condition = {} if manifest.hard_cases is None else {"hard_cases": manifest.hard_cases.condition.model_dump(mode="json")}
    return _flat(manifest.settings.model_dump(mode="json") | condition)


def _settings_changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {name: (old.get(name), new.get(name)) for name in sorted({*old, *new}) if old.get(name) != new.get(name)}


def _artifacts_changed(
    old: Mapping[str, Mapping[str, str | None]], new: Mapping[str, Mapping[str, str | None]]
) -> dict[tuple[str, str], tuple[str | None, str | None]]:
    found = {}
    for recording in sorted({*old, *new}):
        before, after = old.get(recording, {}), new.get(recording, {})
        for asset in dict.fromkeys([*before, *after]):
            if before.get(asset) != after.get(asset):
                found[recording, asset] = (before.get(asset), after.get(asset))
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found
