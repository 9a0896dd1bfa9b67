"""What can be set about sequence annotations."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lamm_pipeline.review.clustering import Algorithm


class Source(StrEnum):
    """What makes boxes of several frames to one object."""

    cluster = "cluster"
    track = "track"
    masklet = "masklet"


class Preset(StrEnum):
    """Thresholds that go together; `PRESETS` has their values."""

    conservative = "conservative"
    balanced = "balanced"
    permissive = "permissive"
    all = "all"


PRESETS = {
    Preset.conservative: {"confidence_threshold": 0.8, "iou_threshold": 0.6, "min_cluster_size": 3},
    Preset.balanced: {"confidence_threshold": 0.5, "iou_threshold": 0.3, "min_cluster_size": 1},
    Preset.permissive: {"confidence_threshold": 0.1, "iou_threshold": 0.1, "min_cluster_size": 1},
    Preset.all: {"confidence_threshold": 0.0, "iou_threshold": 0.0, "min_cluster_size": 1},
}


@dataclass(frozen=True)
class SequenceParameters:
    """What holds for one recording, nothing left open; what a source does not use is None.

    Attributes:
        source: what makes boxes to one object.
        confidence_threshold: boxes of clusters, and tracks and masklets by their best box, need at least this; 0 = no filter.
        min_cluster_size: least number of frames.
        algorithm: of clusters.
        iou_threshold: boxes of clusters overlap by more than this.
        per_class: whether a cluster has boxes of one class only.
        max_gap: most frames between two boxes that are linked.
        masklet_level: which masklets.
    """

    source: Source
    confidence_threshold: float
    min_cluster_size: int
    algorithm: Algorithm | None = None
    iou_threshold: float | None = None
    per_class: bool | None = None
    max_gap: int | None = None
    masklet_level: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As they stand in the file and in the version."""
        return asdict(self)


class SequenceOverrides(BaseModel):
    """What is different for one recording. Empty = as for all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Preset | None = Field(None, description="Another preset; thresholds set for all recordings do not hold then.")
    confidence_threshold: float | None = Field(None, ge=0.0, le=1.0, description="Another confidence_threshold.")
    iou_threshold: float | None = Field(None, ge=0.0, le=1.0, description="Another iou_threshold.")
    min_cluster_size: int | None = Field(None, ge=1, le=100_000, description="Another min_cluster_size.")
    algorithm: Algorithm | None = Field(None, description="Another algorithm.")
    source: Source | None = Field(None, description="Another source.")
    per_class: bool | None = Field(None, description="Another per_class.")
    max_gap: int | None = Field(None, ge=0, le=10_000_000, description="Another max_gap.")
    masklet_level: int | None = Field(None, ge=0, description="Another masklet_level.")


class SequenceSettings(BaseModel):
    """Settings of the asset `sequence_annotations`. The thresholds come from the preset where they are not set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Source = Field(
        Source.cluster,
        description="cluster: boxes that overlap over time. track, masklet: the identities that those stages have found.",
    )
    preset: Preset = Field(
        Preset.balanced,
        description="Confidence, IoU and frames: conservative .8/.6/3 for the sure ones that last, balanced .5/.3/1, permissive .1/.1/1 "
        "to miss little, all 0/0/1 for every prediction and any overlap.",
    )
    confidence_threshold: float | None = Field(
        None,
        ge=0.0,
        le=1.0,
        description="Least confidence; 0 = no filter. 0.7 to 0.9 only the most reliable, 0.4 to 0.6 usual, 0.1 to 0.3 uncertain ones too. "
        "Boxes without a confidence always stay. A track or masklet needs it once.",
    )
    iou_threshold: float | None = Field(
        None,
        ge=0.0,
        le=1.0,
        description="Boxes of a cluster overlap by more than this; 0 = any overlap. 0.1 to 0.2 for what moves, 0.3 to 0.4 usual, "
        "0.5 to 0.7 for what stands still.",
    )
    min_cluster_size: int | None = Field(
        None, ge=1, le=100_000, description="Least frames of an object: 1 takes everything, 3 and more what lasts."
    )
    algorithm: Algorithm = Field(
        Algorithm.union_find,
        description="union_find: single link, whatever the order. greedy_s4: one scan in the order of recording, as in the annotation tool "
        "that the format comes from; it can divide what a later box connects.",
    )
    per_class: bool | None = Field(
        None, description="Whether a cluster has boxes of one class only. Empty: yes, but not with greedy_s4, which knows no classes."
    )
    max_gap: int | None = Field(
        None,
        ge=0,
        le=10_000_000,
        description="Boxes are linked only when they lie at most this many frames apart. Empty: whenever they overlap. A moving camera "
        "needs it: other things come to the same place.",
    )
    masklet_level: int | None = Field(None, ge=0, description="Level of the masklets to take. Empty: the lowest, which has whole objects.")
    dry_run: bool = Field(False, description="Say what would be written, write nothing.")

    def parameters(self, overrides: SequenceOverrides | None = None) -> SequenceParameters:
        """What holds for a recording.

        Args:
            overrides: what is different for it.
        """
        changed = {} if overrides is None else overrides.model_dump(exclude_none=True)
        given = {} if "preset" in changed else {name: getattr(self, name) for name in PRESETS[self.preset]}
        thresholds = PRESETS[changed.get("preset", self.preset)] | {name: value for name, value in given.items() if value is not None}
        chosen = self.model_dump(exclude={"preset", "dry_run", *thresholds}) | thresholds | changed
        source = Source(chosen["source"])
        common = (source, float(chosen["confidence_threshold"]), int(chosen["min_cluster_size"]))
        if source is Source.cluster:
            algorithm = Algorithm(chosen["algorithm"])
            per_class = chosen["per_class"] if chosen["per_class"] is not None else algorithm is not Algorithm.greedy_s4
            return SequenceParameters(*common, algorithm, float(chosen["iou_threshold"]), per_class, chosen["max_gap"])
        return SequenceParameters(*common, masklet_level=chosen["masklet_level"] if source is Source.masklet else None)
