"""``edxdask report``: the path it prints, JSON, and refusals in the words of the command line."""

from __future__ import annotations

import json

import pytest
import xarray as xr

import edxdask


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A cube, a result and principal components in stores."""
    folder = tmp_path_factory.mktemp("stores")
    cube = edxdask.simulate(shape=(20, 24), counts=150, seed=1).isel(energy=slice(0, 240))
    cube = edxdask.save(cube.assign_attrs(elements=["O", "Mg", "Si"]), folder / "map.zarr")
    truth = {"spectrum": "truth_spectrum", "abundance": "truth_abundance", "total": "truth_total"}
    made = xr.Dataset({name: cube[source] for name, source in truth.items()}, attrs=cube.attrs).compute()
    made = made.assign(spectrum=made.spectrum / made.spectrum.sum("energy"))
    edxdask.save(made, folder / "phases.zarr")
    edxdask.save(edxdask.pca(cube, components=2), folder / "pca.zarr")
    return folder


def test_it_prints_the_path_and_its_commands_name_the_stores(run, stores, tmp_path):
    page = tmp_path / "r.html"
    store, cube = stores / "phases.zarr", stores / "map.zarr"
    result = run("report", store, "-o", page, "--cube", cube, "-q")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(page)
    assert f"edxdask report {store} -o report.html --cube {cube}" in page.read_text(encoding="utf-8")
    again = run("report", store, "-o", page, "-q")
    assert again.exit_code != 0
    assert "--overwrite" in again.output


def test_for_programs_it_prints_one_object(run, stores, tmp_path):
    page = tmp_path / "r.html"
    said = json.loads(run("report", stores / "map.zarr", "-o", page, "--json", "-q").stdout)
    assert said == {"store": str(stores / "map.zarr"), "report": str(page), "bytes": page.stat().st_size}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("report", "{map}", "-o", "r.pdf"), "--out r.pdf: expected a file that ends in .html"),
        (("report", "{map}", "--cube", "{map}"), "as {map} holds a cube of counts"),
        (
            ("report", "{pca}"),
            "expected a store of counts, phases, traces or volumes; this one holds a result of principal",
        ),
        (
            ("report", "{phases}", "--cube", "{phases}"),
            "expected a store of counts, which report --cube needs",
        ),
    ],
)
def test_refusals_are_in_the_words_of_the_command_line(run, stores, words, said):
    places = {name: str(stores / f"{name}.zarr") for name in ("map", "phases", "pca")}
    result = run(*(word.format(**places) for word in words), "-q")
    assert result.exit_code == 2
    assert said.format(**places) in " ".join(result.output.split())
