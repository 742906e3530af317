"""Scenes: regions exact to the pixel, pictures and Python lines that agree with the library."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.errors import ParameterError
from edxdask.view import layers
from edxdask.view.answers import composition_of
from edxdask.view.code_lines import code_of
from edxdask.view.layers import LayerKind, ShownLayer, SteppedImage, asked_layer, layer_of, lines_near
from edxdask.view.map_pane import blend_colours
from edxdask.view.regions import from_mask, parts_of, polygon, rectangle
from edxdask.view.scene import Scene
from edxdask.view.viewer import scenes_of, view
from edxdask.view.viewport import Viewport


@pytest.fixture(scope="module")
def cube(store):
    return edxdask.open(store)


@pytest.fixture
def scene(cube, phases):
    (made,) = scenes_of(cube, phases)
    yield made
    made.close()


REGIONS = (
    rectangle((3.0, 170.0), (10.0, 480.0)),
    rectangle((-100.0, 1e4), (-100.0, 1e4)),
    polygon([5.0, 370.0, 200.0, 100.0], [8.0, 50.0, 515.0, 260.0]),
    polygon([10.0, 10.0, 12.0], [10.0, 300.0, 150.0]),
)


@pytest.mark.parametrize("region", REGIONS)
def test_the_spectrum_of_a_region_is_exact(scene, cube, region):
    mask = region.shape.mask(cube)
    spectrum, pixels = scene.region_spectrum(region)
    assert pixels == int(mask.sum())
    assert (spectrum == cube.edx.sum_spectrum(mask=mask).values).all()


def test_the_inside_of_a_large_region_is_not_read_pixel_by_pixel():
    y = x = np.arange(64.0 * 20)
    from edxdask.io.grid import ChunkGrid
    from edxdask.view.viewport import ChunkPlane

    plane = ChunkPlane(ChunkGrid((1280, 1280), 8))
    parts, pixels = parts_of(rectangle((10, 1200), (10, 1200)), plane, y, x)
    assert pixels == 1191**2
    assert sum(inside is not None for _, _, inside in parts) == 4 * 18
    assert len(parts) == 19**2
    mask = np.zeros((1280, 1280), dtype=bool)
    mask[10:1201, 10:1201] = True
    assert parts_of(from_mask(mask, "a.png"), plane, y, x)[1] == pixels


def all_layers(scene):
    return [*scene.layers, asked_layer("3.6-3.8", scene.energy), asked_layer("Nd_La", scene.energy)]


def test_the_python_lines_make_what_is_shown(scene, phases):
    whole = Viewport((0, 96), (0, 130), 1)
    for layer in all_layers(scene):
        values, complete = scene.picture(layer, whole)
        names = {"result": phases}
        exec(code_of(scene, [layer], None, []), names)
        assert complete
        np.testing.assert_allclose(values, names["image"], rtol=1e-3, atol=2e-3, err_msg=layer.key)


def test_the_python_lines_of_a_region_and_its_amounts_run(scene, phases):
    region, elements = REGIONS[0], ["O", "Mg", "Si", "Fe", "Ca", "Al"]
    names = {"result": phases}
    exec(code_of(scene, [], region, elements), names)
    spectrum, pixels = scene.region_spectrum(region)
    assert (names["spectrum"].values == spectrum).all()
    answer = composition_of(scene, spectrum, elements, pixels / (96 * 130))
    amounts = {row[0]: float(row[1]) for row in answer.rows}
    for element, percent in amounts.items():
        expected = 100 * float(names["composition"].composition.sel(element=element))
        assert percent == pytest.approx(expected, abs=0.05)


def test_amounts_that_cannot_be_found_are_explained(scene):
    spectrum = np.zeros(scene.energy.size)
    assert "Name the elements" in composition_of(scene, spectrum, [], 1.0).note
    assert "too few" in composition_of(scene, spectrum, ["Mg"], 1.0).note
    unknown = Scene("no beam", scene.cube.drop_attrs(), None)
    assert "beam" in composition_of(unknown, spectrum + 10, ["Mg"], 1.0).note


def test_a_result_alone_shows_its_phases_and_what_it_expects(phases):
    (scene,) = scenes_of(phases, None)
    kinds = {layer.kind for layer in scene.layers}
    assert {LayerKind.TOTAL, LayerKind.PHASE, LayerKind.EXPECTED} <= kinds
    total, _ = scene.picture(layer_of("total"), Viewport((0, 96), (0, 130), 1))
    np.testing.assert_allclose(total, phases.total, rtol=1e-6)
    assert scene.sum_spectrum().sum() == pytest.approx(float(phases.total.sum()), rel=1e-3)
    with pytest.raises(ParameterError, match="no counts"):
        scene.picture(layer_of("line Fe_Ka"), scene.whole)


def test_a_series_of_images_has_a_scene_each_with_shared_photons():
    maps = [edxdask.simulate(shape=(20, 30), counts=20, seed=i) for i in range(3)]
    counts = np.stack([one.counts.values for one in maps])
    axes = {"tilt": [0.0, 1.0, 2.0], "y": maps[0].y, "x": maps[0].x, "energy": maps[0].energy}
    cube = xr.Dataset({"counts": (("tilt", "y", "x", "energy"), counts)}, axes, maps[0].attrs)
    scenes = list(scenes_of(cube, None))
    assert [scene.plane for scene in scenes] == [0, 1, 2]
    assert scenes[2].photons is scenes[0].photons
    for number, scene in enumerate(scenes):
        assert (scene.sum_spectrum() == counts[number].sum((0, 1))).all()
        values, _ = scene.picture(layer_of("total"), Viewport((0, 20), (0, 30), 1))
        np.testing.assert_array_equal(values, counts[number].sum(-1))
        exec(code_of(scene, [layer_of("total")], None, []), names := {"edxdask": edxdask, "ds": cube})
        np.testing.assert_array_equal(values, names["image"])
    scenes[0].close()


def test_overlaps_of_a_mosaic_are_not_brighter(store):
    ds = edxdask.open(store)
    exposure = xr.ones_like(ds.truth_total)
    exposure[:, :10] = 2.0
    placed = ds.assign(exposure=exposure, tile_position=(("tile", "axis"), np.zeros((2, 2))))
    (scene,) = scenes_of(placed, None)
    values, _ = scene.picture(layer_of("total"), Viewport((0, 96), (0, 130), 1))
    np.testing.assert_allclose(values, ds.counts.sum("energy") / exposure, rtol=1e-6)
    scene.close()


def test_a_large_image_is_read_in_steps(monkeypatch):
    monkeypatch.setattr(layers, "_IN_MEMORY", 5000)
    image = xr.DataArray(np.random.default_rng(0).random((403, 301)), dims=("y", "x")).chunk(64)
    stepped = SteppedImage(lambda: image)
    for part in (
        Viewport((0, 403), (0, 301), 8),
        Viewport((64, 192), (32, 96), 1),
        Viewport((0, 403), (0, 301), 16),
    ):
        whole = part.averaged(image.values[slice(*part.rows), slice(*part.columns)].astype("f4"))
        np.testing.assert_allclose(stepped.picture(part)[:-1, :-1], whole[:-1, :-1], rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Xx", "symbol of an element"), ("9-3", "two energies"), ("Fe_Zz", "Siegbahn"), ("H", "a line from")],
)
def test_lines_that_are_none_are_explained(scene, text, expected):
    with pytest.raises(ParameterError, match=expected):
        asked_layer(text, scene.energy)


def test_a_click_means_a_listed_element_before_others():
    assert lines_near(6.4, ["Fe"])[0].name == "Fe_Ka"
    assert lines_near(1.74, [])[0].name == "Si_Ka"
    assert lines_near(0.05, []) == []


@pytest.mark.parametrize("kind", ["other", "array", "shape", "phases"])
def test_what_cannot_be_seen_is_refused(cube, phases, kind):
    data, result, expected = {
        "other": (xr.Dataset({"haadf": ("x", [1.0])}), None, "a cube of counts, or a result"),
        "array": (np.zeros(3), None, "ndarray"),
        "shape": (cube, phases.isel(y=slice(10)), "as the cube has"),
        "phases": (cube, cube, "a result of nmf"),
    }[kind]
    with pytest.raises(ParameterError, match=expected):
        view(data, result=result, browser=False)


def test_layers_are_found_by_their_keys(scene):
    for layer in scene.layers:
        assert layer_of(layer.key) == layer
    assert ShownLayer(LayerKind.IMAGE, "a b <c>") == layer_of("image a b <c>")


def test_a_phase_has_one_hue_whatever_else_is_shown(scene):
    brg, fp = (layer for layer in scene.layers if layer.name in ("Brg", "Fp"))
    other = layer_of("line Fe_Ka")
    first, second, third = blend_colours(scene, [other, fp, brg])
    assert blend_colours(scene, [brg, fp]) == [third, second]
    assert len({first, second, third}) == 3
