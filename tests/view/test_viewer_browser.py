"""The viewer in a real browser, with real clicks."""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest

import edxdask
from edxdask.view.viewer import view

MODEL = "Bokeh.documents[0].get_model_by_name"
FIND = f"const v = Bokeh.index.find_one({MODEL}(arguments[0]));"
FILES = {
    "map.png": b"\x89PNG",
    "map.svg": b"<?xml",
    "map.csv": b"y",
    "spectrum.png": b"\x89PNG",
    "spectrum.svg": b"<?xml",
    "spectrum.csv": b"energy (keV),counts",
    "amounts.csv": b"element,",
    "mask.png": b"\x89PNG",
}

pytest.importorskip("selenium")
pytestmark = [pytest.mark.browser, pytest.mark.slow]


def shown_map(page, name="map"):
    """Values that the figure draws: of what is in view where that has a picture, else of the whole map."""
    code = (
        "const m = Bokeh.documents[0].get_model_by_name(arguments[0]);"
        "const of = m.renderers.filter((r) => r.glyph.type == 'Image').map((r) => r.data_source.data);"
        "const d = of[1].image.length ? of[1] : of[0]; const i = d.image[0];"
        "return {shape: i?.shape, values: [...(i ?? [])].map((v) => Number.isNaN(v) ? null : v)}"
    )
    found = page.js(code, name)
    return np.array(found["values"], dtype=float).reshape(found["shape"])


@pytest.fixture
def viewer(store, phases):
    with view(edxdask.open(store), result=phases, browser=False) as running:
        yield running


def test_the_first_page_shows_photons_spectrum_amounts_and_code(page, viewer, store):
    page.open(viewer.url)
    ds = edxdask.open(store)
    page.until(lambda: "net counts" in page.text and "preparing" not in page.text)
    assert "130 × 96 px" in page.text
    assert f"{int(ds.counts.sum()):,} photons" in page.text
    page.until(lambda: np.allclose(shown_map(page), ds.edx.total_map().values))
    assert f"ds = edxdask.open({str(store)!r})" in page.value("code", "text")
    assert page.errors() == []


def test_a_click_on_a_peak_shows_the_map_of_its_line(page, viewer, store):
    page.open(viewer.url)
    page.until(lambda: "net counts" in page.text)
    page.click_at("spectrum", 6.40, 2000)
    page.until(lambda: page.value("show") == "line Fe_Ka")
    expected = edxdask.open(store).edx.line_map("Fe_Ka").values
    page.until(lambda: np.allclose(shown_map(page), expected, atol=1e-4))
    assert "ds.edx.line_map('Fe_Ka')" in page.value("code", "text")
    assert page.errors() == []


def test_an_element_or_a_range_is_typed_and_what_is_neither_is_answered(page, viewer, store):
    page.open(viewer.url)
    page.type("line", "ca")
    page.until(lambda: page.value("show") == "line Ca_Ka")
    page.type("line", "3.6-3.8")
    page.until(lambda: page.value("show") == "window 3.6-3.8")
    expected = edxdask.open(store).edx.window_map(3.6, 3.8).values
    page.until(lambda: np.allclose(shown_map(page), expected))
    page.type("line", "Xx")
    page.until(lambda: "the symbol of an element from H to Cf" in page.text)


def test_a_rectangle_gives_its_exact_spectrum_and_amounts(page, viewer, store):
    page.open(viewer.url)
    page.until(lambda: "net counts" in page.text)
    page.tool("map", "BoxSelectTool")
    page.drag("map", (40.0, 40.0), (200.0, 200.0), (402.0, 302.0))
    page.until(lambda: "Marked region" in page.text)
    ds = edxdask.open(store)
    code = page.value("code", "text")
    region = eval(code.split("region = ")[1].splitlines()[0], {"edxdask": edxdask})
    expected = ds.edx.sum_spectrum(mask=region).values
    step = f"{MODEL}('spectrum').renderers.find((r) => r.glyph.type == 'Step')"
    drawn = page.js(f"return [...{step}.data_source.data.counts]")
    assert np.array_equal(drawn, expected)
    page.until(lambda: "net counts" in page.text and "finding" not in page.text)
    assert page.errors() == []


def test_a_lasso_gives_a_polygon_and_the_whole_map_comes_back(page, viewer, store):
    page.open(viewer.url)
    page.tool("map", "LassoSelectTool")
    page.drag("map", (100.0, 100.0), (300.0, 110.0), (320.0, 260.0), (120.0, 250.0))
    page.until(lambda: "edxdask.Polygon([" in page.value("code", "text"))
    page.until(lambda: "Marked region" in page.text)
    page.click("clear")
    page.until(lambda: "Whole map" in page.value("region", "text"))


def test_raw_and_denoised_are_side_by_side_and_move_together(page, viewer, phases):
    page.open(viewer.url)
    page.choose("show", "Mg Kα")
    page.choose("beside", "Mg Kα, denoised")
    page.until(lambda: "expected = edxdask.reconstruct" in page.value("code", "text"))
    names = {"result": phases}
    exec(page.value("code", "text"), names)
    page.until(lambda: np.allclose(shown_map(page, "map_beside"), names["image"], rtol=1e-3, atol=1e-3))
    same = f"{MODEL}('map').x_range == {MODEL}('map_beside').x_range"
    assert page.js(f"return {same}")
    assert page.errors() == []


def test_two_browsers_show_different_things(page, other_browser, viewer):
    second = type(page)(other_browser).open(viewer.url)
    page.open(viewer.url)
    page.choose("show", "Fe Kα")
    page.until(lambda: "Fe_Ka" in page.value("code", "text"))
    assert second.value("show") == "total"
    second.choose("show", "Ca Kα")
    second.until(lambda: "Ca_Ka" in second.value("code", "text"))
    assert page.value("show") == "line Fe_Ka"
    other_browser.get("about:blank")


ITEMS = (
    "const all = (n) => [...n.querySelectorAll('*')].flatMap((e) => "
    "[e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);"
    "all(document).filter((e) => e.className == 'bk-item' && /PNG|SVG|CSV/.test(e.textContent))"
)
HOSTILE = "<img src=x onerror='document.title=`owned`'>"
PICTURES = (
    "const all = (n) => [...n.querySelectorAll('*')].flatMap((e) => "
    "[e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);"
    "return all(document).filter((e) => e.onerror || e.nodeName == 'IMG').length"
)


def test_hostile_names_and_labels_are_shown_as_text(page, store, phases):
    ds = edxdask.open(store).isel(y=slice(64), x=slice(64))
    bad = phases.isel(y=slice(64), x=slice(64)).assign_coords(phase=[HOSTILE, "b</script><b>", "$$x$$"])
    ds = ds.assign({HOSTILE: ds.truth_total}).assign_attrs(title=HOSTILE)
    tree = edxdask.collect({HOSTILE.replace("/", ""): ds, "b": ds})
    for data, result in ((ds, bad), (tree, None), (bad, None)):
        with view(data, result=result, browser=False) as viewer:
            page.open(viewer.url)
            page.until(lambda: "onerror" in page.text)
            if result is not None:
                page.choose("show", HOSTILE)
                page.inside("blend", "input").click()
                page.until(lambda: "onerror" in page.js(f"{FIND} return v.shadow_el.textContent", "blend"))
                page.choose("show", f"Phase {HOSTILE}")
                page.until(lambda: "onerror" in page.value("code", "text"))
            assert page.js(PICTURES) == 0
            assert page.driver.title != "owned"


def test_a_collection_shows_its_maps_and_a_click_chooses_one(page, tmp_path):
    maps = {f"map{i}": edxdask.simulate(shape=(64, 64), counts=60, seed=i) for i in range(3)}
    edxdask.save(edxdask.collect(maps), tmp_path / "all.zarr")
    with view(edxdask.open(tmp_path / "all.zarr"), browser=False) as viewer:
        page.open(viewer.url)
        page.until(lambda: "net counts" in page.text)
        page.click_at("thumbnails", 2 * 128 + 60, 60)
        page.until(lambda: "/map2" in page.value("code", "text"))
        assert "map2" in page.text
        assert page.errors() == []


def test_what_is_seen_is_saved(page, viewer, tmp_path, store):
    page.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    page.open(viewer.url)
    page.until(lambda: "net counts" in page.text)
    page.tool("map", "BoxSelectTool")
    page.drag("map", (40.0, 40.0), (200.0, 200.0))
    page.until(lambda: "Marked region" in page.text and "finding" not in page.text)
    for number, (name, start) in enumerate(FILES.items()):
        page.click("save")
        page.until(lambda number=number: page.js(f"{ITEMS}[arguments[0]].click(); return true", number))
        page.until(lambda name=name: (tmp_path / name).exists())
        page.until(lambda name=name, start=start: (tmp_path / name).read_bytes().startswith(start))
    counts = np.loadtxt(tmp_path / "spectrum.csv", delimiter=",", skiprows=1)[:, 1]
    assert counts.sum() > 1000
    from edxdask.unmix.masks_user import user_mask

    mask = user_mask(tmp_path / "mask.png", edxdask.open(store), name="mask")
    code = page.value("code", "text")
    region = eval(code.split("region = ")[1].splitlines()[0], {"edxdask": edxdask})
    assert (mask == region.mask(edxdask.open(store)).values).all()


def test_ctrl_c_ends_a_viewer_whose_browser_is_open_or_has_vanished(store, page):
    for leave in (False, True):
        command = [sys.executable, "-m", "edxdask", "view", str(store), "--no-browser"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            page.open(process.stdout.readline().strip())
            if leave:
                page.driver.get("about:blank")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
