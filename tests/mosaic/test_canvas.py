"""The canvas: sums and means against plain loops, on any chunking, and nothing computed too early."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edxdask.mosaic.canvas import Layer, added, averaged


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_sums_are_those_of_a_loop_whatever_the_chunks_and_places(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    rows, columns, block = (
        data.draw(st.integers(1, 23)),
        data.draw(st.integers(1, 23)),
        data.draw(st.integers(1, 9)),
    )
    want = np.zeros((rows, columns, 3), dtype=np.int64)
    layers = []
    for _ in range(data.draw(st.integers(1, 5))):
        y, x = int(rng.integers(rows)), int(rng.integers(columns))
        shape = (int(rng.integers(1, rows - y + 1)), int(rng.integers(1, columns - x + 1)), 3)
        values = rng.integers(0, 60000, shape).astype(np.uint16)
        want[y : y + shape[0], x : x + shape[1]] += values
        chunks = (int(rng.integers(1, 8)), int(rng.integers(1, 8)), int(rng.integers(1, 4)))
        layers.append(Layer(da.from_array(values, chunks=chunks), (y, x)))
    made = added(layers, (rows, columns), axes=(0, 1), block=block)
    assert made.dtype == np.uint32
    assert made.shape == want.shape
    assert max(made.chunks[0]) <= block
    np.testing.assert_array_equal(made.compute(scheduler="synchronous"), want)


def test_means_are_weighted_and_empty_where_no_map_is():
    ones, twos = da.full((2, 4, 4), 1.0), da.full((2, 4, 4), 2.0)
    light, heavy = da.full((4, 4), 1.0), da.full((4, 4), 3.0)
    layers = [Layer(ones, (0, 0), light), Layer(twos, (2, 2), heavy)]
    found = averaged(layers, (7, 7), axes=(1, 2), block=3).compute()
    assert found[0, 0, 0] == 1.0
    assert found[1, 5, 5] == 2.0
    assert found[0, 3, 3] == (1 + 3 * 2) / 4
    assert np.isnan(found[:, 6, 0]).all()


def test_a_pixel_without_value_leaves_the_mean_to_the_others():
    hole = np.ones((4, 4))
    hole[1, 1] = np.nan
    weight = da.ones((4, 4))
    layers = [Layer(da.from_array(hole), (0, 0), weight), Layer(da.full((4, 4), 5.0), (0, 0), weight)]
    found = averaged(layers, (4, 4), axes=(0, 1), block=4).compute()
    assert found[1, 1] == 5.0
    assert found[0, 0] == 3.0


def test_errors_of_means_shrink_where_maps_overlap():
    error, weight = da.full((4, 4), 0.2), da.ones((4, 4))
    layers = [Layer(error, (0, 0), weight), Layer(error, (0, 0), weight)]
    found = averaged(layers, (4, 5), axes=(0, 1), block=4, errors=True).compute()
    np.testing.assert_allclose(found[:, :4], 0.2 / np.sqrt(2))


def test_building_a_canvas_computes_nothing_and_a_block_reads_only_what_it_needs():
    read = []

    def noted(block, block_info=None):
        read.append(block_info[0]["chunk-location"])
        return block

    tile = da.ones((256, 256, 2), chunks=(64, 64, 2), dtype=np.uint16)
    watched = da.map_blocks(noted, tile, dtype=tile.dtype, meta=np.empty((0, 0, 0), tile.dtype))
    made = added([Layer(watched, (0, 0)), Layer(watched, (10, 200))], (300, 500), axes=(0, 1), block=64)
    assert read == []
    with dask.config.set(scheduler="synchronous"):
        assert int(made[:64, :64].sum()) == 64 * 64 * 2
    assert read == [(0, 0, 0)]


@pytest.mark.parametrize(("dtype", "wide"), [("u1", "u2"), ("u2", "u4"), ("u4", "u4"), ("f4", "f4")])
def test_sums_have_a_type_that_holds_them(dtype, wide):
    tile = da.full((4, 4), 200, dtype=dtype)
    assert added([Layer(tile, (0, 0))] * 3, (4, 4), axes=(0, 1), block=4).dtype == wide
