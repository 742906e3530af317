"""Small results made by hand, of one map and of several."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from edxdask import schema

CHANNELS = 40


def a_result(shape=(6, 5), seed=0, phases=("Brg", "Fp", "CaPv")):
    rng = np.random.default_rng(seed)
    k, pixels = len(phases), ("tilt", "y", "x")[-len(shape) :]
    fractions = np.moveaxis(rng.dirichlet(np.ones(k), size=shape), -1, 0)
    coords = {d: (d, 4.0 * np.arange(n), {"units": "nm"}) for d, n in zip(pixels, shape, strict=True)}
    return xr.Dataset(
        {
            schema.SPECTRUM: ((schema.PHASE, schema.ENERGY), rng.dirichlet(np.ones(CHANNELS), size=k)),
            schema.ABUNDANCE: ((schema.PHASE, *pixels), fractions.astype(np.float32)),
            schema.TOTAL: (pixels, rng.uniform(50, 90, size=shape)),
        },
        {
            schema.ENERGY: schema.energy_coordinate(0.5, 0.05, CHANNELS),
            schema.PHASE: list(phases),
            **coords,
        },
        {schema.TITLE: "made"},
    )


def a_collection(*shapes):
    parts = [a_result(shape, seed) for seed, shape in enumerate(shapes)]
    own = [part.drop_vars(schema.SPECTRUM).drop_vars(schema.ENERGY) for part in parts]
    shared = parts[0][[schema.SPECTRUM]].drop_vars(["y", "x"], errors="ignore")
    names = [f"/map_{i}" for i in range(len(own))]
    return xr.DataTree.from_dict({"/": shared, **dict(zip(names, own, strict=True))}, name="both")


@pytest.fixture
def result():
    return a_result()


@pytest.fixture
def results_of_two_maps():
    return a_collection((6, 5), (4, 7))
