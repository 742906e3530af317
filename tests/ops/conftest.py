"""Cubes for the tests of lazy operations, and a scheduler that forbids computing."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from edxdask import schema

SIZES = {"tilt": 2, "frame": 5, "y": 11, "x": 9, "energy": 24}


@pytest.fixture
def no_compute():
    """Any computation while this is in use is a failure."""

    def refuse(*args, **kwargs):
        raise AssertionError("something was computed while the operation was being built")

    with dask.config.set(scheduler=refuse):
        yield


@pytest.fixture
def make_cube():
    """Factory of small cubes: dims, chunks (None: in memory) and dtype as asked, truth riding along."""

    def make(dims=("y", "x"), *, chunks=None, dtype="u2", mean=0.7, seed=0):
        rng = np.random.default_rng(seed)
        shape = tuple(SIZES[d] for d in (*dims, "energy"))
        counts = rng.poisson(mean, size=shape).astype(dtype)
        data = counts if chunks is None else da.from_array(counts, chunks=chunks)
        map_shape = shape[:-1]
        ds = xr.Dataset(
            {
                schema.COUNTS: ((*dims, "energy"), data, {"units": "counts"}),
                schema.TRUTH_ABUNDANCE: (("phase", *dims), rng.random((2, *map_shape))),
                schema.TRUTH_TOTAL: (dims, rng.random(map_shape)),
                schema.TRUTH_SPECTRUM: (("phase", "energy"), rng.random((2, SIZES["energy"]))),
                schema.VALID: (dims, rng.random(map_shape) > 0.2),
                "haadf": (dims, rng.random(map_shape).astype("f4")),
                "abundance_std": (("phase", *dims), rng.random((2, *map_shape))),
            },
            {
                **{d: (d, 2.0 * np.arange(SIZES[d]) + 1.0, {"units": "nm"}) for d in dims},
                "energy": schema.energy_coordinate(0.1, 0.05, SIZES["energy"]),
            },
            {"live_time_s": 60.0, "beam_energy_kev": 200.0, "history": ["made"]},
        )
        return ds

    return make


@pytest.fixture
def counted():
    """Wrap a cube's counts so that each chunk that is read is written down: (cube, list of blocks read)."""

    def wrap(ds, chunks):
        values, read = ds.counts.values, []

        def load(block_info=None):
            place = block_info[None]["array-location"]
            read.append(tuple(map(tuple, place)))
            return values[tuple(slice(*p) for p in place)]

        sizes = da.core.normalize_chunks(chunks, values.shape)
        data = da.map_blocks(load, chunks=sizes, dtype=values.dtype, meta=values[:0])
        return ds.assign(counts=(ds.counts.dims, data)), read

    return wrap
