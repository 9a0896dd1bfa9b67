"""The colours of uncertainty: blue where a model is sure, over violet to red where it is not.

The colours of a score are the same in all recordings and for all models, so that scenes can be compared: linear between three stops, from
0 to `red_at` of the score. Mutual information gets a stretched scale, because members of an ensemble seldom disagree completely.
"""

import numpy as np
from numpy.typing import NDArray

STOPS: NDArray[np.float64] = np.array([(47, 107, 255), (176, 79, 200), (255, 45, 45)], dtype=np.float64)
"""Red, green, blue at 0, half of `red_at`, and `red_at` and above."""
UNKNOWN = (110, 110, 110)


def red_at(kind: str) -> float:
    """From where on a score of this kind is red."""
    return 0.5 if kind == "mutual_information" else 1.0


def colors(scores: NDArray[np.floating], kind: str) -> NDArray[np.uint8]:
    """The colours of some scores.

    Args:
        scores: `(N,)`, 0 = sure; not finite = unknown, which is grey.
        kind: which score it is.

    Returns:
        `(N, 3)` red, green, blue.
    """
    known = np.isfinite(scores)
    place = np.clip(np.where(known, scores, 0.0).astype(np.float64) / red_at(kind), 0.0, 1.0) * (len(STOPS) - 1)
    channels = [np.interp(place, np.arange(len(STOPS)), STOPS[:, channel]) for channel in range(3)]
    found = np.stack(channels, axis=1).round().astype(np.uint8)
    found[~known] = UNKNOWN
    return found
