"""Simulated mantle maps with traces, and results that hold their truth."""

from __future__ import annotations

import numpy as np
import xarray as xr

import edxdask
from edxdask import schema

ELEMENTS = ["O", "Mg", "Al", "Si", "Ca", "Fe", "Cu", "Nd", "Sm", "U"]
PHASES = ["Brg", "Fp", "CaPv"]
ABSENT = {"Fp": "Si", "CaPv": "Mg"}
TRACES = {"Brg": {"Nd": 0.025, "Sm": 0.031, "U": 0.01}, "CaPv": {"Nd": 3.0, "Sm": 1.69, "U": 0.63}}
IN_MASK = 0.02  # true abundance of a pixel of a mask


def simulated(seed, *, size=48, counts=400.0, moved_kev=0.0, stretched=1.0, channels=970, **more):
    """Map whose file says that its axis begins at 0.3 keV in steps of 10 eV, whatever it is in truth."""
    compositions = more.pop("compositions", TRACES)
    ds = edxdask.simulate(
        shape=(size, size), counts=counts, seed=seed, channels=channels,
        energy_offset=0.3 * stretched + moved_kev, energy_scale=0.01 * stretched,
        compositions=compositions, **more,
    )  # fmt: skip
    return ds.assign_coords(energy=schema.energy_coordinate(0.3, 0.01, channels)).load()


def true_result(ds, *, masks=True):
    """Result with the true abundances, and the masks of ``aided`` where it is asked for."""
    abundance = ds.truth_abundance.values
    found = xr.Dataset(
        {
            "spectrum": (("phase", "energy"), ds.truth_spectrum.values),
            "composition": (("phase", "element"), ds.truth_composition.sel(element=ELEMENTS).values),
            "abundance": (("phase", "y", "x"), abundance),
            "total": (("y", "x"), ds.counts.sum("energy").values.astype(float)),
        },
        coords={"phase": PHASES, "element": ELEMENTS, "energy": ds.energy, "y": ds.y, "x": ds.x},
    )
    if masks:
        inside = abundance[1:] > IN_MASK
        found["mask"] = (("phase", "y", "x"), np.concatenate([~inside.any(axis=0)[None], inside]))
        found.attrs["core_width_px"] = 1
    return found


def collected(cubes, *, masks=True):
    """Collection of cubes by name, and the result of all of them."""
    results = {name: true_result(cube, masks=masks) for name, cube in cubes.items()}
    first = next(iter(results.values()))
    common = ["spectrum", "composition"]
    tree = {"/": first[common].assign_attrs(first.attrs)}
    tree |= {name: one.drop_vars(common) for name, one in results.items()}
    return edxdask.collect(cubes), xr.DataTree.from_dict(tree)


def true_ppm(ds, phase, elements):
    """Atoms per million in the simulation."""
    return 1e6 * ds.truth_composition.sel(phase=phase, element=elements).values
