"""What notebooks show of cubes, results and collections: pictures and tables, quick, safe, the same."""

from __future__ import annotations

import base64
import io
import re
import time
from html.parser import HTMLParser

import dask
import matplotlib.image
import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.report.pictures import DrawnSpectrum, reduced, small_map, spectra_svg

HOSTILE = '<img src=x onerror="alert(1)">'
TAGS = {
    *("div", "b", "br", "details", "summary", "span", "ul", "li", "table", "tr", "td", "th", "img"),
    *("svg", "polyline", "line", "text", "title"),
}


class Tags(HTMLParser):
    """Tags and attributes of a page, and the text between them."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


def page_of(data):
    page = data.edx._repr_html_()
    assert page == data.edx._repr_html_()
    found = Tags(page)
    assert found.tags <= TAGS
    assert not any(name.startswith("on") for name in found.attributes)
    return page, found


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("notebook") / "map.zarr"
    return edxdask.simulate(shape=(40, 70), counts=60, seed=1, out=path)


@pytest.fixture(scope="module")
def result(store):
    return edxdask.nmf(store, phases=["Brg", HOSTILE, "CaPv"], max_iter=10)


def pictures(page):
    found = re.findall(r"base64,([\w+/=]+)", page)
    return [matplotlib.image.imread(io.BytesIO(base64.b64decode(one))) for one in found]


def test_a_cube_shows_its_photons_its_spectrum_and_its_conditions(store):
    page, found = page_of(store)
    (picture, _) = pictures(page)[:2] if len(pictures(page)) > 1 else (*pictures(page), None)
    assert picture.shape[:2] == (40, 70)
    assert page.count("<svg") == 1
    for part in ("40 × 70 pixels", "200 keV", "Mg, Si, Al", "O Kα", "keV", ".edx.line_map()"):
        assert part in found.text


def test_a_result_shows_a_map_for_each_phase_its_spectra_and_its_table(result):
    page, found = page_of(result)
    assert len(pictures(page)) == 3
    assert page.count("<polyline") == 3
    assert "photons" in found.text
    assert HOSTILE in found.text  # as text, and as nothing else


@pytest.mark.parametrize("kind", ["pca", "clusters", "elements", "quantified"])
def test_other_results_show_a_table(store, kind):
    made = {
        "pca": lambda: edxdask.pca(store, components=2),
        "clusters": lambda: edxdask.cluster_pixels(edxdask.pca(store, components=2), clusters=2),
        "elements": lambda: edxdask.find_elements(store),
        "quantified": lambda: edxdask.quantify(store),
    }
    page, _ = page_of(made[kind]())
    assert page.count("<table") == 1


def test_compositions_of_pixels_are_maps_and_lazy_ones_are_left_lazy(store):
    lazy = edxdask.quantify(store.isel(y=slice(0, 6), x=slice(0, 5)), elements=["Mg", "Si", "O"], per="pixel")
    _, found = page_of(lazy)
    assert ".edx.plot() draws them" in found.text
    page, found = page_of(lazy.compute())
    assert len(pictures(page)) == 3
    assert "Si, atomic fraction" in found.text


def test_a_collection_shows_every_map_by_name(store, result):
    tree = edxdask.collect({"left": store, HOSTILE.replace("/", ""): store.isel(x=slice(0, 8)).load()})
    page, found = page_of(tree)
    assert len(pictures(page)) == 2
    assert "40 × 8 pixels" in found.text
    assert "Collection of 2" in found.text


def test_hostile_attributes_are_text(store):
    cube = store.assign_attrs(title=HOSTILE, source_file=HOSTILE, history=[HOSTILE])
    _, found = page_of(cube)
    assert found.text.count(HOSTILE) >= 3


def test_what_is_neither_cube_nor_result_says_so():
    _, found = page_of(xr.Dataset({HOSTILE: ("x", [1.0, 2.0])}))
    assert "neither a cube nor a result" in found.text.lower()


def test_a_large_store_is_shown_from_its_manifest(tmp_path, monkeypatch):
    from edxdask.io import lazy

    counts = np.random.default_rng(0).poisson(0.2, (64 * 5, 64 * 4, 16)).astype("u2")
    counts[:64, :64] = 3
    cube = edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.5)
    stored = edxdask.save(cube, tmp_path / "large.zarr")

    def refuse(*_):
        raise AssertionError("counts were read")

    monkeypatch.setattr(lazy.StoredCounts, "__getitem__", refuse)
    stored.edx._repr_html_()  # what is imported is imported once
    start = time.process_time()
    page, found = page_of(stored)
    assert time.process_time() - start < 1.0
    (picture,) = pictures(page)
    side = picture.shape[0] // 5 if picture.shape[0] > 5 else 1
    assert picture[0, 0].sum() > picture[side, 0].sum()
    assert f"{counts.sum() / counts[..., 0].size:.4g} per pixel" in found.text


def test_a_lazy_cube_is_not_computed(store):
    def refuse(*_, **__):
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        _, found = page_of(store.edx.bin(2))
    assert "when you ask for them" in found.text


def test_small_maps_are_means_and_what_is_not_known_is_grey():
    values = np.arange(16.0).reshape(4, 4)
    values[0, 0] = np.nan
    assert reduced(values, 2).tolist() == [[10 / 3, 4.5], [10.5, 12.5]]
    assert reduced(np.zeros((1, 900)), 5).shape == (1, 180)
    (picture,) = pictures(small_map(np.array([[np.nan, 0.0], [1.0, 1.0]]), "m"))
    assert picture[0, 0, :3] == pytest.approx([0x8A / 255, 0x94 / 255, 0xA0 / 255], abs=1e-6)
    for odd in (np.zeros((2, 2)), np.full((2, 2), np.nan), np.full((1, 900), 7)):
        assert "nan" not in small_map(odd, "m")


def test_spectra_of_nothing_have_no_bad_numbers():
    energy = np.array([0.1, 0.2, 0.3])
    for values in (np.zeros(3), np.array([np.nan, 1.0, 2.0])):
        assert "nan" not in spectra_svg([DrawnSpectrum("a", energy, values)], lines={"Mg_Ka": 1.25})


def test_a_notebook_that_is_run_holds_the_page(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="nbformat, with which notebooks are made, is not here")
    nbclient = pytest.importorskip("nbclient", reason="nbclient, which runs notebooks, is not here")
    pytest.importorskip("ipykernel", reason="ipykernel, in which notebooks run, is not here")
    cells = ["import edxdask", "edxdask.simulate(shape=(8, 8), counts=20, progress=False).load().edx"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    (shown,) = notebook.cells[1].outputs
    assert "8 × 8 pixels" in shown["data"]["text/html"]
    assert shown["data"]["text/plain"].startswith(".edx of a cube of counts")
