"""Which frames people are shown."""

from collections.abc import Sequence

import numpy as np


def preview_frames(indices: Sequence[int], stride: int, maximum: int) -> list[int]:
    """Choose frames for previews: every `stride`-th, thinned evenly to `maximum`, the first and the last among them.

    Args:
        indices: frame indices in ascending order.
        stride: 1 or more.
        maximum: most frames; 0 or less means no limit. With 1 only the first is left.

    Returns:
        Some of `indices`, ascending.

    Raises:
        ValueError: the stride is below 1.
    """
    if stride < 1:
        raise ValueError(f"The stride of previews is 1 or more, not {stride}.")
    chosen = list(indices[::stride])
    if chosen and chosen[-1] != indices[-1]:
        chosen.append(indices[-1])
    if 0 < maximum < len(chosen):
        chosen = [chosen[position] for position in np.linspace(0, len(chosen) - 1, maximum).astype(int)]
    return chosen
