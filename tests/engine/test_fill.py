"""Which channels are held dense: the same however the data are cut, and those that are full."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.engine.fill import channels_to_hold_dense, mean_counts
from edxdask.engine.maps import maps_of

MEAN = np.concatenate([np.full(20, 0.02), np.full(5, 1.5), np.full(20, 0.01), [8.0]])


def draw(shape, mean, *, seed=0):
    counts = np.random.default_rng(seed).poisson(mean, (*shape, len(mean))).astype(np.uint16)
    return edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.01)


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (90, 70)])
@pytest.mark.parametrize("chunk", [1000, 16, 7])
def test_chunks_do_not_matter(shape, chunk):
    ds = draw(shape, MEAN)
    found = mean_counts(maps_of(ds))
    np.testing.assert_array_equal(found, mean_counts(maps_of(ds.chunk({"y": chunk, "x": chunk}))))
    if shape != (1, 1):
        assert channels_to_hold_dense(found).tolist() == [20, 21, 22, 23, 24, 45]
        np.testing.assert_allclose(found[20:25], 1.5, rtol=0.35)


def test_all_maps_of_a_collection_are_looked_at():
    empty, full = draw((40, 40), 0 * MEAN), draw((40, 40), MEAN)
    alone = mean_counts(maps_of(full))
    both = mean_counts(maps_of(xr.DataTree.from_dict({"/a": empty, "/b": full})))
    filled = -np.expm1(-both[20:25]), -np.expm1(-alone[20:25])
    np.testing.assert_allclose(filled[0], filled[1] / 2, rtol=0.1)


def test_a_pixel_with_very_many_photons_counts_once():
    ds = draw((30, 30), 0.01 * MEAN)
    ds.counts.values[15, 15] = 60000
    assert channels_to_hold_dense(mean_counts(maps_of(ds))).size == 0
