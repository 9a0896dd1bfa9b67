"""What can be set about tracking."""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lamm_pipeline.tracking.byte_track import AssociationRules


class Similarity(StrEnum):
    """How alike a predicted and a detected box are."""

    center_distance = "center_distance"
    giou_bev = "giou_bev"
    giou_3d = "giou_3d"


class TrackingSettings(BaseModel):
    """Settings of the asset `tracks`. Lengths are metres, times seconds; `low_score < high_score <= new_track_score`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    high_score: float = Field(
        0.25,
        ge=0.0,
        le=1.0,
        description="Detections from this score on are matched to tracks first. The embedded detector reports from 0.35 on, and scores of "
        "boxes of implausible size are lowered; for models with scores near 1 take 0.5.",
    )
    low_score: float = Field(
        0.1, ge=0.0, le=1.0, description="Detections above this score, but below high_score, can continue a track. Lower ones are not used."
    )
    new_track_score: float = Field(
        0.35, ge=0.0, le=1.0, description="Only detections from this score on start a track; 0.1 above high_score is usual."
    )
    default_score: float = Field(
        0.8, ge=0.0, le=1.0, description="Taken for a detection that has no score; the track's points keep 'none'."
    )
    duplicate_iou_bev: float = Field(
        0.4,
        ge=0.0,
        le=1.0,
        description="Of boxes of one class that overlap more than this, seen from above, only the best is tracked: no two things stand in "
        "one place. 1 keeps all.",
    )
    min_hits: int = Field(3, ge=1, le=100, description="Detections in a row that make a track; shorter ones are not written.")
    max_lost_s: float = Field(1.0, ge=0.0, le=60.0, description="A track that is not seen for longer than this ends.")
    similarity: Similarity = Field(
        Similarity.center_distance,
        description="center_distance also works for boxes that move more than their size per frame; giou_bev and giou_3d need good sizes.",
    )
    gate_m: float = Field(
        2.0, gt=0.0, le=100.0, description="A detection farther than the gate from a track's prediction never continues it."
    )
    gate_sigmas: float = Field(
        2.0,
        ge=0.0,
        le=100.0,
        description="The gate grows by this many standard deviations of the predicted position: with the time since the track was seen, "
        "with the distance from the camera, and while its speed is not known.",
    )
    min_similarity_high: float = Field(
        0.1, ge=0.0, le=1.0, description="Least similarity times score in the first association (high scores)."
    )
    min_similarity_low: float = Field(0.3, ge=0.0, le=1.0, description="Least similarity in the second association (low scores).")
    min_similarity_unconfirmed: float = Field(
        0.1, ge=0.0, le=1.0, description="Least similarity times score for a track that is not confirmed yet."
    )
    position_noise_m: float = Field(0.2, gt=0.0, le=10.0, description="Standard deviation of a detected position, near the camera.")
    range_noise: float = Field(
        0.03,
        ge=0.0,
        le=1.0,
        description="Standard deviation of a detected distance as a share of the distance (stereo depth gets worse with it).",
    )
    acceleration_m_s2: float = Field(4.0, gt=0.0, le=100.0, description="Standard deviation of how objects speed up, slow down and turn.")
    initial_speed_m_s: float = Field(
        15.0, gt=0.0, le=200.0, description="Standard deviation of the speed of an object that was just found."
    )
    class_groups: list[list[str]] = Field(
        default=[["car", "van", "truck", "bus"]],
        description="Classes that may share a track: a detector that calls a truck a car in some frames shall not make two objects of it. "
        "Empty: a track has one class.",
    )
    odometry: bool = Field(
        True,
        description="Find the camera's motion from the images, track in world coordinates, and refine boxes over time. Needs rectified "
        "frames with depth.",
    )
    typical_size: float = Field(
        0.25,
        ge=0.0,
        le=1.0,
        description="Where in its class's range of sizes an object is assumed whose size no frame shows: 0 smallest, 1 largest.",
    )
    smoothing_s: float = Field(
        0.4, gt=0.0, le=10.0, description="Width (standard deviation) of the window in which places of a moving object are smoothed."
    )
    min_evidence: float = Field(
        3.0,
        ge=0.0,
        le=1000.0,
        description="Tracks with less evidence are left out when tracks are refined: the log-odds of being an object, from the scores of "
        "their detections (over those of even_score) and, if they move, from how often they are found again. 3 are odds of 20 to 1: four "
        "detections of 0.53, or nine of 0.43; if it moves, four of 0.43, or seven in a row of 0.35.",
    )
    even_score: float = Field(
        0.35,
        gt=0.0,
        lt=1.0,
        description="Score at which a detection is as often right as wrong. The embedded detector's is 0.35; for models whose scores are "
        "probabilities take 0.5.",
    )
    found_again: float = Field(
        0.6,
        gt=0.0,
        lt=1.0,
        description="Share of the frames in its track's span in which an object is detected. Each frame in which a track that moves is "
        "detected again adds to its evidence, and each in which it is not takes away, as this share and false_found_again say.",
    )
    false_found_again: float = Field(
        0.35,
        gt=0.0,
        lt=1.0,
        description="The same share for tracks made of false detections; at most found_again. With both equal only scores are evidence.",
    )
    min_support_share: float = Field(
        0.4, ge=0.0, le=1.0, description="Tracks detected in a smaller share of the frames of their span are left out when refined."
    )
    max_range_m: float = Field(
        60.0, gt=0.0, le=1000.0, description="Tracks never seen nearer than this are left out when refined: stereo places them badly."
    )
    max_off_ground_m: float = Field(
        0.8, gt=0.0, le=100.0, description="Tracks whose underside is farther from the ground plane than this (median) are left out."
    )
    merge_overlap: float = Field(
        0.3,
        ge=0.0,
        le=1.0,
        description="Two tracks of a class group whose refined boxes share more than this part of the smaller one, seen from above, in "
        "most frames both have, are one object: the one with less support is left out. 1 keeps both.",
    )
    merge_iou: float = Field(
        0.7,
        ge=0.0,
        le=1.0,
        description="A track whose detections overlap those of a track of another class group by more than this IoU in the image, in most "
        "of its frames, is the same object taken for something else: the one with less support is left out. 1 keeps both.",
    )
    max_extension_s: float = Field(
        1.0,
        ge=0.0,
        le=60.0,
        description="A track that stands still goes on before its first and after its last detection as long as depth shows it and it is "
        "whole in view, for at most this time and at most the time between the two. 0 adds nothing.",
    )
    nominal_fps: float = Field(30.0, gt=0.0, le=1000.0, description="Frame rate assumed where frames carry no time stamp.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low_score < self.high_score <= self.new_track_score:
            raise ValueError(
                f"low_score < high_score <= new_track_score is needed, not {self.low_score}, {self.high_score}, {self.new_track_score}"
            )
        if self.false_found_again > self.found_again:
            raise ValueError(f"false_found_again, {self.false_found_again}, must be at most found_again, {self.found_again}")
        named = [name for group in self.class_groups for name in group]
        if len(named) != len(set(named)):
            raise ValueError("a class is named twice in class_groups; put each class into one group")
        return self

    def group_of(self, class_id: str) -> str:
        """Name of the group a class belongs to: that of the group's first class, or its own."""
        return next((group[0] for group in self.class_groups if class_id in group), class_id)

    @property
    def rules(self) -> AssociationRules:
        """The association's part of the settings."""
        return AssociationRules(
            high_score=self.high_score,
            low_score=self.low_score,
            new_track_score=self.new_track_score,
            min_similarity_high=self.min_similarity_high,
            min_similarity_low=self.min_similarity_low,
            min_similarity_unconfirmed=self.min_similarity_unconfirmed,
            max_lost=self.max_lost_s,
            min_hits=self.min_hits,
        )
