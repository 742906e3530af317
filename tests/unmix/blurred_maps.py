"""Small mantle maps with a known truth: edges blurred by the beam, traces in the matrix, own energy axes."""

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

import edxdask
from edxdask import schema

ELEMENTS = ["O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "U", "Cu"]
ABSENT = {"Fp": "Si", "CaPv": "Mg"}
TRACES = {"Nd": 250e-6, "Sm": 310e-6, "U": 100e-6}
MATRIX = {"Mg": 18.5, "Si": 18.2, "Al": 1.5, "Ca": 1.0, "Fe": 1.0, "O": 60.0}
ENERGY = (0.3, 0.01, 970)  # keV: first channel, step; number


def blurred_map(seed, shape=(64, 64), *, counts=160, blur=1.0, offset=0.0, gain=1.0):
    """Draw a map; its file has the axis ``ENERGY``, its photons are ``offset`` keV and ``gain`` beside it."""
    first, step, channels = ENERGY
    made = edxdask.simulate(
        shape=shape,
        counts=counts,
        seed=seed,
        channels=channels,
        energy_offset=first * gain + offset,
        energy_scale=step * gain,
        compositions={"Brg": {**MATRIX, **{e: 100 * a for e, a in TRACES.items()}}},
    )
    fractions = gaussian_filter(made.truth_abundance.values, (0, blur, blur))
    spectra = made.truth_spectrum.values
    expected = np.einsum("pyx,pe->yxe", counts * fractions, spectra)
    drawn = np.random.default_rng(seed).poisson(expected).astype(np.uint16)
    axis = schema.energy_coordinate(*ENERGY)
    return made.assign(
        {
            schema.COUNTS: ((schema.Y, schema.X, schema.ENERGY), drawn),
            schema.TRUTH_ABUNDANCE: made.truth_abundance.copy(data=fractions),
        }
    ).assign_coords({schema.ENERGY: axis})


def truth_as_result(data):
    """What a perfect factorization would give: of a map or of a collection."""
    cubes = (
        {"": data} if isinstance(data, xr.Dataset) else {n: c.to_dataset() for n, c in data.children.items()}
    )
    first = next(iter(cubes.values()))
    shared = {
        schema.SPECTRUM: first.truth_spectrum.variable,
        schema.COMPOSITION: composition_of(first).variable,
    }
    coords = {
        schema.ENERGY: first[schema.ENERGY],
        schema.PHASE: first[schema.PHASE],
        schema.ELEMENT: ELEMENTS,
    }
    maps = {
        name: xr.Dataset(
            {
                schema.ABUNDANCE: cube.truth_abundance.variable,
                schema.TOTAL: cube.counts.sum(schema.ENERGY).astype(float).variable,
            },
            {schema.PHASE: first[schema.PHASE]},
        )
        for name, cube in cubes.items()
    }
    root = xr.Dataset(shared, coords, first.attrs)
    if isinstance(data, xr.Dataset):
        return root.merge(maps[""])
    return xr.DataTree.from_dict({"/": root, **maps})


def composition_of(cube):
    """True atomic fractions (phase, element), in the order of ``ELEMENTS``."""
    return cube.truth_composition.reindex({schema.ELEMENT: ELEMENTS}).fillna(0.0)
