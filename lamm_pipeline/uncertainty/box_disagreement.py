"""How much the members of an ensemble of 2D detectors disagree on a frame."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from lamm_pipeline.geometry.boxes_2d import iou_matrix
from lamm_pipeline.uncertainty.predictions import MemberBoxes

MATCH_IOU = 0.5


def box_disagreement(boxes: MemberBoxes, members: int) -> float:
    """One minus the mean panoptic quality of all pairs of members, each taken as the truth of the other.

    The panoptic quality of two sets of boxes is the sum of the overlaps of matched boxes over matched + half of the unmatched. Boxes match
    one to one, within a class, above an IoU of 0.5 (Kirillov et al., Panoptic Segmentation, 2019). Two members without a box agree.

    Args:
        boxes: of one frame.
        members: number of members, those without a box among them.

    Returns:
        0 (all say the same) to 1 (no two say the same).
    """
    if members < 2:
        return 0.0
    own = [np.flatnonzero(boxes.member == member) for member in range(members)]
    return float(1.0 - np.mean([_agreement(boxes, one, other) for one, other in combinations(own, 2)]))


def _agreement(boxes: MemberBoxes, one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    if len(one) == 0 or len(other) == 0:
        return 1.0 if len(one) == len(other) else 0.0
    overlap = iou_matrix(boxes.xyxy[one], boxes.xyxy[other])
    overlap = np.where((boxes.class_index[one][:, None] == boxes.class_index[other]) & (overlap > MATCH_IOU), overlap, 0.0)
    matched = overlap[linear_sum_assignment(-overlap)]
    pairs = np.count_nonzero(matched)
    return float(matched.sum() / (pairs + 0.5 * (len(one) + len(other) - 2 * pairs)))
