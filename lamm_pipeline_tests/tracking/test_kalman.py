import numpy as np

from lamm_pipeline.tracking import kalman


def textbook(mean, covariance, transition, process_noise, measurement, noise):
    mean, covariance = transition @ mean, transition @ covariance @ transition.T + process_noise
    observation = np.eye(len(measurement), len(mean))
    gain = covariance @ observation.T @ np.linalg.inv(observation @ covariance @ observation.T + noise)
    return mean + gain @ (measurement - observation @ mean), (np.eye(len(mean)) - gain @ observation) @ covariance


def test_many_filters_at_once_give_what_the_textbook_gives_for_each():
    random = np.random.default_rng(0)
    means, measurements = random.normal(size=(5, 4)), random.normal(size=(5, 2))
    roots, noise_roots = random.normal(size=(5, 4, 4)), random.normal(size=(5, 2, 2))
    covariances, noise = roots @ roots.transpose(0, 2, 1), noise_roots @ noise_roots.transpose(0, 2, 1) + np.eye(2)
    transition, process_noise = np.eye(4) + np.eye(4, k=2) * 0.1, np.eye(4) * 0.01
    predicted, spread = kalman.predict(means, covariances, transition, process_noise)
    updated, updated_spread = kalman.update(predicted, spread, measurements - predicted[:, :2], noise)
    for n in range(5):
        mean, covariance = textbook(means[n], covariances[n], transition, process_noise, measurements[n], noise[n])
        np.testing.assert_allclose(updated[n], mean, atol=1e-10)
        np.testing.assert_allclose(updated_spread[n], covariance, atol=1e-10)


def test_diagonal_squares_the_deviations():
    np.testing.assert_array_equal(kalman.diagonal(np.array([[1.0, 2.0], [3.0, 0.0]])), [[[1, 0], [0, 4]], [[9, 0], [0, 0]]])
