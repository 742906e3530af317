"""``collect_tilts``: maps of one tilt each become one lazy series, in order, or an error says why not."""

from __future__ import annotations

import logging

import dask
import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.errors import ParameterError, SchemaError

RNG = np.random.default_rng(5)


def one_map(tilt=None, *, rows=6, columns=8, step=2.0, channels=20, offset=0.1, **attrs):
    """A map with counts that are all its own, tilted as its metadata say."""
    counts = RNG.poisson(0.7, (rows, columns, channels)).astype(np.uint16)
    known = {} if tilt is None else {"tilt_alpha_deg": tilt}
    cube = edxdask.from_array(
        counts,
        energy_offset=offset,
        energy_scale=0.02,
        pixel_size=step,
        beam_energy=200,
        attrs={**known, **attrs},
    )
    return cube.assign(haadf=(("y", "x"), counts.sum(-1).astype(np.float32)))


def test_maps_come_in_the_order_of_the_tilts_of_their_metadata():
    maps = {f"m{i}": one_map(tilt) for i, tilt in enumerate((30.0, -30.0, 0.0))}
    series = edxdask.collect_tilts(maps)
    assert series.tilt.values.tolist() == [-30, 0, 30]
    assert series.tilt.attrs["units"] == "deg"
    assert series.tilt_map.values.tolist() == ["m1", "m2", "m0"]
    assert series.counts.dims == ("tilt", "y", "x", "energy")
    for tilt, name in ((-30, "m1"), (0, "m2"), (30, "m0")):
        np.testing.assert_array_equal(series.counts.sel(tilt=tilt), maps[name].counts)
        np.testing.assert_array_equal(series.haadf.sel(tilt=tilt), maps[name].haadf)
    assert series.attrs["tilt_axis"] == "y"
    assert "tilt_alpha_deg" not in series.attrs
    assert series.attrs["beam_energy_kev"] == 200
    np.testing.assert_array_equal(series.x, maps["m0"].x)


@pytest.mark.parametrize("how", ["mapping", "list", "collection", "store of a collection", "stores"])
def test_any_form_of_maps_gives_the_same_series(tmp_path, how):
    maps = {f"m{i}": one_map(tilt) for i, tilt in enumerate((30.0, -30.0, 0.0))}
    tree = edxdask.collect(maps)
    paths = {name: tmp_path / f"{name}.zarr" for name in maps}
    if how == "stores":
        for name, path in paths.items():
            edxdask.save(maps[name], path)
    if how == "store of a collection":
        edxdask.save(tree, tmp_path / "tree.zarr")
    data = {
        "mapping": maps,
        "list": list(maps.values()),
        "collection": tree,
        "store of a collection": str(tmp_path / "tree.zarr"),
        "stores": list(paths.values()),
    }[how]
    series, expected = edxdask.collect_tilts(data), edxdask.collect_tilts(maps)
    np.testing.assert_array_equal(series.counts, expected.counts)
    np.testing.assert_array_equal(series.tilt, expected.tilt)


def test_tilts_are_given_in_the_order_of_the_maps_or_by_name():
    maps = {name: one_map() for name in "abc"}
    listed = edxdask.collect_tilts(maps, tilts_deg=[10, -10, 0])
    named = edxdask.collect_tilts(maps, tilts_deg={"c": 0, "a": 10, "b": -10})
    assert listed.tilt_map.values.tolist() == ["b", "c", "a"]
    xr.testing.assert_identical(listed.compute(), named.compute())


def test_collecting_computes_nothing_and_the_series_can_be_stored(tmp_path):
    edxdask.save(edxdask.collect({f"m{t}": one_map(float(t)) for t in (20, -20, 0)}), tmp_path / "maps.zarr")

    def refuse(*_, **__):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        series = edxdask.collect_tilts(tmp_path / "maps.zarr")
    assert series.counts.chunks is not None
    stored = edxdask.save(series, tmp_path / "series.zarr")
    xr.testing.assert_equal(stored.compute(), series.compute())
    again = edxdask.collect_tilts(tmp_path / "series.zarr")
    np.testing.assert_array_equal(again.counts, series.counts)


def test_maps_of_different_sizes_are_cut_to_what_all_have_about_their_middles(caplog):
    large, small = one_map(-5.0, rows=9, columns=8), one_map(5.0, rows=6, columns=11)
    with caplog.at_level(logging.WARNING):
        series = edxdask.collect_tilts([large, small])
    assert "6 × 8 pixels" in caplog.text
    assert "6 × 8 pixels" in series.attrs["warnings"][0]
    np.testing.assert_array_equal(series.counts.sel(tilt=-5), large.counts[1:7])
    np.testing.assert_array_equal(series.counts.sel(tilt=5), small.counts[:, 1:9])
    assert series.y.values.tolist() == [0, 2, 4, 6, 8, 10]


def test_maps_of_different_sizes_can_keep_every_photon():
    large, small = one_map(-5.0, rows=9, columns=8), one_map(5.0, rows=6, columns=11)
    series = edxdask.collect_tilts([large, small], fields="all")
    assert series.counts.shape == (2, 9, 11, 20)
    assert series.counts.dtype == np.uint16
    for tilt, cube in ((-5, large), (5, small)):
        assert int(series.counts.sel(tilt=tilt).sum()) == int(cube.counts.sum())
    np.testing.assert_array_equal(series.counts.sel(tilt=5)[1:7], small.counts)
    np.testing.assert_array_equal(series.x, np.arange(11) * 2.0)
    assert "nothing is outside" in series.attrs["warnings"][0]


def test_the_dose_of_maps_that_know_their_time_and_current_is_kept():
    times = {"live_time_s": 100.0}, {"live_time_s": 300.0}
    currents = {"beam_current_na": 1.0}, {"beam_current_na": 0.5}
    series = edxdask.collect_tilts([one_map(float(i), **time) for i, time in enumerate(times)])
    np.testing.assert_allclose(series.tilt_dose, [0.5, 1.5])
    both = [
        one_map(float(i), **time, **now) for i, (time, now) in enumerate(zip(times, currents, strict=True))
    ]
    np.testing.assert_allclose(edxdask.collect_tilts(both).tilt_dose, [0.8, 1.2])
    assert "tilt_dose" not in edxdask.collect_tilts([one_map(0.0, live_time_s=5.0), one_map(1.0)])


def test_elements_of_any_map_are_those_of_the_series():
    maps = [one_map(0.0, elements=["Mg", "O"]), one_map(1.0, elements=["O", "Fe"])]
    assert edxdask.collect_tilts(maps).attrs["elements"] == ["Mg", "O", "Fe"]


def cube_of_all_tilts(tilts=None):
    counts = RNG.poisson(1.0, (3, 4, 5, 6)).astype(np.uint16)
    cube = edxdask.from_array(counts, energy_offset=0.1, energy_scale=0.02)
    return cube if tilts is None else cube.assign_coords(tilt=("tilt", tilts, {"units": "deg"}))


def test_a_cube_of_all_tilts_is_put_in_order():
    cube = cube_of_all_tilts([10.0, -10.0, 0.0])
    series = edxdask.collect_tilts(cube, axis="x")
    assert series.tilt.values.tolist() == [-10, 0, 10]
    np.testing.assert_array_equal(series.counts, cube.counts[[1, 2, 0]])
    assert series.attrs["tilt_axis"] == "x"
    given = edxdask.collect_tilts(cube_of_all_tilts(), tilts_deg=[3, 2, 1])
    assert given.tilt.values.tolist() == [1, 2, 3]


def test_a_stack_of_hyperspy_becomes_a_series():
    signals = pytest.importorskip("hyperspy.api", reason="needs HyperSpy").signals
    signal = signals.Signal1D(RNG.poisson(1.0, (3, 4, 5, 6)))
    signal.axes_manager[-1].units, signal.axes_manager[-1].scale = "keV", 0.02
    series = edxdask.collect_tilts(edxdask.from_hyperspy(signal), tilts_deg=[1, 3, 2])
    assert series.tilt.values.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(series.counts, signal.data[[0, 2, 1]])


@pytest.mark.parametrize(
    ("maps", "options", "says"),
    [
        ([one_map(0.0)], {}, "two maps or more"),
        ([one_map(0.0), one_map(), one_map()], {}, "the tilts of 'map_1', 'map_2' in degrees"),
        ([one_map(0.0), one_map(1.0)], {"tilts_deg": [0, 1, 2]}, "2 numbers"),
        ([one_map(0.0), one_map(1.0)], {"tilts_deg": "0:1"}, "2 numbers"),
        ([one_map(0.0), one_map(1.0)], {"tilts_deg": [0, np.nan]}, "degrees from -180"),
        ([one_map(0.0), one_map(1.0)], {"tilts_deg": {"map_0": 3}}, "one tilt for each map"),
        ([one_map(2.0), one_map(1.0), one_map(2.0)], {}, "maps 'map_0', 'map_2' have this one"),
        ([one_map(0.0), one_map(1.0)], {"axis": "z"}, "'y' or 'x'"),
        ([one_map(0.0), one_map(1.0)], {"fields": "cut"}, "'common' or 'all'"),
        (7, {}, "maps of one tilt each"),
        (cube_of_all_tilts(), {}, "the tilts in degrees, which the data do not say"),
        (cube_of_all_tilts([1.0, 1.0, 2.0]), {}, "each tilt once"),
        (cube_of_all_tilts(), {"tilts_deg": {"a": 1}}, "as a list"),
    ],
)
def test_series_that_cannot_be_are_refused(maps, options, says):
    with pytest.raises(ParameterError, match=says):
        edxdask.collect_tilts(maps, **options)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (one_map(1.0, step=2.1), "pixels of map 'map_1' are 2.1 × 2.1 nm"),
        (one_map(1.0, step=None), "are \\? × \\? nm"),
        (one_map(1.0, offset=0.2), "rebin_energy"),
        (one_map(1.0, channels=21), "rebin_energy"),
        (cube_of_all_tilts(), "a map of one tilt has"),
    ],
)
def test_maps_that_do_not_go_together_are_named(other, says):
    with pytest.raises(SchemaError, match=says):
        edxdask.collect_tilts([one_map(0.0), other])


def test_one_map_alone_is_no_series():
    with pytest.raises(SchemaError, match="a tilt series has"):
        edxdask.collect_tilts(one_map(0.0))


def test_a_vendor_file_is_to_be_ingested_first(tmp_path):
    (tmp_path / "a.emd").write_bytes(b"no store")
    with pytest.raises(ParameterError, match="Ingest it first"):
        edxdask.collect_tilts([tmp_path / "a.emd", one_map(0.0)])
