"""Clusters of voxels show phases in a basis of more spectra than there are phases."""

from dataclasses import dataclass

import numpy as np
from small_phantom import phantom

from edxdask.tomo.voxel_clusters import cluster_spectra


@dataclass
class Seen:
    """Photons, and what two halves of the body's spectrum and those of the others expect."""

    made: object
    fitted: np.ndarray
    responses: np.ndarray

    def expected(self, volume, tilt):
        inside = np.ascontiguousarray(volume.transpose(1, 3, 0, 2), dtype=np.float32)
        image = self.made.projector.forward(inside, np.array([tilt]))[0]
        return image.transpose(2, 0, 1).reshape(-1, len(volume)).astype(float)


def extremes(made):
    """Basis of four that makes the body as a half of two that are too extreme, and volumes in it."""
    body, inclusions, core = made.responses.astype(float)
    way = 0.6 * (core / core.sum() - inclusions / inclusions.sum()) * body.sum()
    way *= min(1.0, 0.99 * float((body / np.maximum(np.abs(way), 1e-12)).min()))
    basis = np.stack([body + way, body - way, inclusions, core])
    truth = made.truth
    return basis, np.stack([0.5 * truth[0], 0.5 * truth[0], truth[1], truth[2]])


def test_a_matrix_that_was_split_in_two_is_one_cluster():
    made = phantom(40.0)
    basis, volume = extremes(made)
    noisy = np.maximum(volume + np.random.default_rng(0).normal(0, 0.04, volume.shape), 0) * (
        volume.sum(axis=0) > 0
    )
    found = cluster_spectra(noisy.astype(np.float32), Seen(made, made.counts, basis), 3)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    body = found[np.argmin(np.abs(found[:, 0] - 0.5) + np.abs(found[:, 1] - 0.5))]
    np.testing.assert_allclose(body, [0.5, 0.5, 0, 0], atol=0.1)
    assert found[:, 2].max() > 0.8
    assert found[:, 3].max() > 0.8


def test_voxels_that_are_all_alike_are_one_cluster():
    made = phantom(40.0)
    basis, volume = extremes(made)
    even = np.broadcast_to(volume.mean(axis=(1, 2, 3), keepdims=True), volume.shape)
    assert len(cluster_spectra(even.astype(np.float32), Seen(made, made.counts, basis), 3)) == 1
