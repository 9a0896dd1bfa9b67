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
    measured = innovations.shape[1]
    observation = np.eye(measured, means.shape[1])
    cross = covariances[:, :, :measured]
    gain = cross @ np.linalg.inv(covariances[:, :measured, :measured] + noise)
    means = means + (gain @ innovations[:, :, None])[:, :, 0]
    rest = np.eye(means.shape[1]) - gain @ observation
    covariances = rest @ covariances @ rest.transpose(0, 2, 1) + gain @ noise @ gain.transpose(0, 2, 1)
    return means, covariances


def diagonal(standard_deviations: Array) -> Array:
    """`(T, S, S)` diagonal covariances from `(T, S)` standard deviations."""
    return standard_deviations[:, :, None] ** 2 * np.eye(standard_deviations.shape[1])
