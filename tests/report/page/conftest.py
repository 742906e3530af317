"""A small map, its truth as a result, and what the report is made of."""

from __future__ import annotations

import pytest
import xarray as xr

import edxdask

ELEMENTS = ["O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "U", "Cu"]


@pytest.fixture(scope="session")
def cube():
    return edxdask.simulate(shape=(32, 40), counts=150, seed=2).load()


@pytest.fixture(scope="session")
def exact(cube):
    """The truth as a result: phases that are known exactly, without compositions."""
    truth = {"spectrum": "truth_spectrum", "abundance": "truth_abundance", "total": "truth_total"}
    made = xr.Dataset({name: cube[source] for name, source in truth.items()}, attrs=cube.attrs)
    return made.assign(spectrum=made.spectrum / made.spectrum.sum("energy"))


@pytest.fixture(scope="session")
def quantified(exact):
    return edxdask.quantify(exact, elements=ELEMENTS)


@pytest.fixture(scope="session")
def page(cube, quantified, tmp_path_factory):
    """Text of the report of a quantified result, with its counts."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    return edxdask.report(quantified, path, cube=cube).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def small_cube():
    """Fewer pixels and channels: most of a report's time goes into drawing."""
    cut = edxdask.simulate(shape=(24, 24), counts=150, seed=2).isel(energy=slice(0, 240)).load()
    return cut.assign_attrs(elements=["O", "Mg", "Si"])


@pytest.fixture(scope="session")
def small_exact(small_cube):
    truth = {"spectrum": "truth_spectrum", "abundance": "truth_abundance", "total": "truth_total"}
    made = xr.Dataset({name: small_cube[source] for name, source in truth.items()}, attrs=small_cube.attrs)
    return made.assign(spectrum=made.spectrum / made.spectrum.sum("energy"))
