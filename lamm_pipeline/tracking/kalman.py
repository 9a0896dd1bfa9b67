"""Linear Kalman filtering of many tracks at once: the algebra, without any model of how things move.

Source: Kalman 1960; the covariance update is Joseph's form, which keeps covariances symmetric and positive.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def predict(means: Array, covariances: Array, transition: Array, process_noise: Array) -> tuple[Array, Array]:
    """Move states forward in time.

    Args:
        means: `(T, S)`.
        covariances: `(T, S, S)`.
        transition: `(S, S)`.
        process_noise: `(T, S, S)` or `(S, S)`.

    Returns:
        The predicted means and covariances.
    """
    return means @ transition.T, transition @ covariances @ transition.T + process_noise


def update(means: Array, covariances: Array, innovations: Array, noise: Array) -> tuple[Array, Array]:
    """Correct states by measurements of their first Z entries.

    Args:
        means: `(T, S)`.
        covariances: `(T, S, S)`.
        innovations: `(T, Z)`, measurement minus the state's first Z entries.
        noise: `(T, Z, Z)` covariances of the measurements.

    Returns:
        The corrected means and covariances.
    """
    states, measured = means.shape[1], innovations.shape[1]
    gain = covariances[:, :, :measured] @ np.linalg.inv(covariances[:, :measured, :measured] + noise)
    means = means + (gain @ innovations[:, :, None])[:, :, 0]
    rest = np.tile(np.eye(states), (len(means), 1, 1))
    rest[:, :, :measured] -= gain
    covariances = rest @ covariances @ rest.transpose(0, 2, 1) + gain @ noise @ gain.transpose(0, 2, 1)
    return means, covariances


def diagonal(standard_deviations: Array) -> Array:
    """`(T, S, S)` diagonal covariances from `(T, S)` standard deviations."""
    rows, size = standard_deviations.shape
    covariances = np.zeros((rows, size * size))
    covariances[:, :: size + 1] = standard_deviations**2
    return covariances.reshape(rows, size, size)
