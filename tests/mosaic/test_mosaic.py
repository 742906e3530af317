"""`mosaic`: maps cut from one landscape come back to their places, counts are kept, errors teach."""

from __future__ import annotations

import logging
import tracemalloc

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from landscape import Landscape, rms_against

import edxdask
from edxdask import mosaic

GRID = {"grid": "2x4", "overlap": 18 / 96}


def photons(maps):
    return sum(int(one.counts.sum()) for one in maps.children.values())


# placement


@pytest.mark.parametrize("seed", [3, 4])
def test_haadf_places_two_by_four_maps_to_a_tenth_of_a_pixel(landscape, seed):
    maps, truth = landscape.tiles(2, 4, side=96, overlap=18, noise=0.3, seed=seed, photons=False)
    made = mosaic(maps, **GRID)
    assert rms_against(made, truth) <= 0.1
    start = made.assign(tile_position=made.tile_start)
    assert rms_against(start, truth) > 1.0
    # errors hold: 16 squares over their sigmas, less two for the mean
    error = made.tile_position.values - truth
    chi = (error - error.mean(axis=0)) / made.tile_position_std.values
    assert np.sqrt(np.mean(chi**2)) < 1.6


def test_abundances_of_forty_counts_per_pixel_place_maps_to_a_fifth_of_a_pixel(counted):
    maps, truth = counted
    result = edxdask.nmf(maps, phases=3, max_iter=60)
    made = mosaic(result, image="abundance", **GRID)
    assert rms_against(made, truth) <= 0.2
    assert made.abundance.dims == ("phase", "y", "x")
    assert made.attrs["placed_by"] == "abundance"
    np.testing.assert_allclose(made.spectrum, result.spectrum)
    fractions = made.abundance.values[:, made.exposure.values > 0]
    np.testing.assert_allclose(fractions.sum(axis=0), 1.0, atol=1e-5)
    assert float(made.total.sum()) == pytest.approx(
        sum(float(n.total.sum()) for n in result.children.values())
    )
    whole = mosaic(maps, placement=made)
    np.testing.assert_array_equal(whole.tile_origin, made.tile_origin)
    assert int(whole.counts.sum()) == photons(maps)


def test_totals_of_an_even_film_carry_nothing_which_is_said(counted, caplog):
    maps, _ = counted
    with caplog.at_level(logging.WARNING):
        made = mosaic(maps, image="total", **GRID)
    assert not made.pair_used.any()
    assert "'total' shows nothing that says how they lie" in caplog.text
    assert caplog.messages[0] in made.attrs["warnings"]
    np.testing.assert_allclose(made.tile_position, made.tile_start)


def test_a_false_pair_is_left_out_named_and_changes_nothing(landscape, caplog):
    """A defect of the detector that is in the overlap of two maps, at the same place in both images."""
    maps, truth = landscape.tiles(2, 4, side=96, overlap=24, noise=0.1, seed=5, photons=False)
    grid = {"grid": "2x4", "overlap": 24 / 96}
    honest = mosaic(maps, **grid)
    rng = np.random.default_rng(0)
    stamp = 30 * np.kron(rng.normal(size=(10, 4)), np.ones((4, 4)))
    one, other = (maps[name].to_dataset().copy(deep=True) for name in ("t1", "t2"))
    one.haadf[28:68, -24:-8] += stamp  # three or four pixels from where the other has it
    other.haadf[32:72, 3:19] += stamp
    spoiled = xr.DataTree.from_dict(
        {**{n: m.to_dataset() for n, m in maps.children.items()}, "t1": one, "t2": other}
    )
    made = mosaic(spoiled, **grid)
    assert rms_against(honest, truth) <= 0.05
    assert rms_against(made, truth) <= 0.05
    pairs = list(zip(made.pair_first.values, made.pair_second.values, made.pair_used.values, strict=True))
    assert ("t1", "t2", False) in pairs
    assert "contradict the others and were left out: t1 and t2" in caplog.text


def test_the_order_of_maps_changes_nothing(landscape):
    maps, _ = landscape.tiles(2, 2, side=64, overlap=16, seed=6, photons=False)
    names = list(maps.children)
    turned = xr.DataTree.from_dict({name: maps[name].to_dataset() for name in reversed(names)})
    one, other = (mosaic(data, grid="2x2", overlap=0.25) for data in (maps, turned))
    xr.testing.assert_identical(one.load(), other.load())


# where maps begin


@pytest.mark.parametrize("given", ["positions", "stage", "axes"])
def test_positions_stages_and_axes_say_where_maps_begin(landscape, given):
    maps, truth = landscape.tiles(1, 3, side=64, overlap=16, seed=7, photons=False)
    near = truth + np.array([[1.0, -1.5], [0.0, 2.0], [-2.0, 0.5]])
    positions = None
    tiles = {name: one.to_dataset() for name, one in maps.children.items()}
    if given == "positions":
        positions = {name: tuple(2.0 * corner) for name, corner in zip(tiles, near, strict=True)}
    for (name, one), (y, x) in zip(tiles.items(), near, strict=True):
        if given == "stage":
            centre = {"stage_y_nm": 2.0 * (y + 31.5) + 5e6, "stage_x_nm": 2.0 * (x + 31.5) - 3e6}
            tiles[name] = one.assign_attrs(centre)
        elif given == "axes":
            axes = {d: (d, one[d].values + 2.0 * begin, one[d].attrs) for d, begin in (("y", y), ("x", x))}
            tiles[name] = one.assign_coords(axes)
    made = mosaic(xr.DataTree.from_dict(tiles), positions=positions)
    assert rms_against(made, truth) <= 0.1
    shifted = made.tile_start.values - near
    np.testing.assert_allclose(shifted - shifted[0], 0, atol=1e-6)


@pytest.mark.parametrize(("turned", "signs"), [(False, (1, -1)), (False, (-1, -1)), (True, (-1, 1))])
def test_a_stage_may_run_along_other_axes_than_the_maps(landscape, turned, signs):
    maps, truth = landscape.tiles(2, 3, side=48, overlap=14, noise=0.1, seed=9, photons=False)
    tiles = {}
    for (name, one), corner in zip(maps.children.items(), truth, strict=True):
        centre = 2.0 * (corner + 23.5) * (signs[::-1] if turned else signs)
        y, x = centre[::-1] if turned else centre
        tiles[name] = one.to_dataset().assign_attrs(stage_y_nm=y, stage_x_nm=x)
    made = mosaic(xr.DataTree.from_dict(tiles))
    assert rms_against(made, truth) <= 0.1
    assert made.pair_used.sum() >= 6


@pytest.mark.parametrize("order", ["rows", "columns", "snake"])
def test_names_fill_a_grid_in_the_order_that_is_said(landscape, order):
    maps, _ = landscape.tiles(2, 3, side=24, overlap=0, off=0, photons=False)
    made = mosaic(maps, image=None, grid=(2, 3), overlap=0.0, order=order)
    cells = (made.tile_position.values / 24).astype(int).tolist()
    expected = {
        "rows": [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]],
        "columns": [[0, 0], [1, 0], [0, 1], [1, 1], [0, 2], [1, 2]],
        "snake": [[0, 0], [0, 1], [0, 2], [1, 2], [1, 1], [1, 0]],
    }
    assert cells == expected[order]
    assert "pair_used" not in made


# counts


def test_counts_are_conserved_and_lie_where_the_maps_say(counted):
    maps, _ = counted
    made = mosaic(maps, **GRID)
    counts = made.counts.values
    assert counts.sum() == photons(maps)
    alone = made.exposure.values == 1
    for name, (y, x) in zip(made.tile.values, made.tile_origin.values, strict=True):
        tile = maps[str(name)].counts.values
        mine = alone[y : y + 96, x : x + 96]
        np.testing.assert_array_equal(counts[y : y + 96, x : x + 96][mine], tile[mine])
    assert float(made.exposure.sum()) == 8 * 96 * 96
    assert float(made.exposure.max()) == 4.0
    rate = made.edx.total_map() / made.exposure.where(made.exposure > 0)
    inside, overlapped = (float(rate.values[mask].mean()) for mask in (alone, made.exposure.values == 2))
    assert inside == pytest.approx(40, rel=0.01)
    assert overlapped == pytest.approx(inside, rel=0.02)
    assert made.attrs["live_time_s"] == 80.0


def test_maps_measured_longer_have_more_exposure(landscape):
    maps, _ = landscape.tiles(1, 3, side=32, overlap=8, off=0, photons=False)
    tiles = {
        n: one.to_dataset().assign_attrs(live_time_s=t)
        for (n, one), t in zip(maps.children.items(), (10, 10, 30), strict=True)
    }
    made = mosaic(xr.DataTree.from_dict(tiles), image=None, grid="1x3", overlap=0.25)
    assert made.exposure.values[0].tolist() == [1.0] * 24 + [2.0] * 8 + [1.0] * 16 + [4.0] * 8 + [3.0] * 24


def test_a_mosaic_is_a_store_like_any_other(counted, tmp_path):
    maps, _ = counted
    made = mosaic(maps, **GRID)
    edxdask.save(made, tmp_path / "mosaic.zarr")
    back = edxdask.open(tmp_path / "mosaic.zarr")
    np.testing.assert_array_equal(back.counts, made.counts)
    np.testing.assert_array_equal(back.exposure, made.exposure)
    assert list(map(str, back.pair_first.values)) == made.pair_first.values.tolist()
    assert back.counts.dtype == np.uint16
    found = edxdask.nmf(back, phases=3, max_iter=3)
    assert found.abundance.shape == (3, *made.exposure.shape)
    again = mosaic(maps, placement=back)
    np.testing.assert_array_equal(again.tile_origin, made.tile_origin)
    binned = back.edx.bin(2)
    assert int(binned.counts.sum()) <= photons(maps)
    assert float(binned.exposure.max()) == 16.0


def test_a_mosaic_of_mosaics_is_that_of_all_maps(landscape):
    maps, _ = landscape.tiles(2, 3, side=32, overlap=8, off=0, counts=20, seed=3)
    options = {"image": None, "overlap": 0.25}
    whole = mosaic(maps, grid="2x3", **options)
    rows = {}
    for number in (0, 1):
        names = list(maps.children)[3 * number : 3 * number + 3]
        row = xr.DataTree.from_dict({name: maps[name].to_dataset() for name in names})
        rows[f"row {number}"] = mosaic(row, grid="1x3", **options)
    made = mosaic(xr.DataTree.from_dict(rows), grid="2x1", **options)
    np.testing.assert_array_equal(made.counts, whole.counts)
    np.testing.assert_array_equal(made.exposure, whole.exposure)
    assert made.tile.values.tolist() == ["row 0", "row 1"]


def test_images_finer_or_coarser_than_the_map_are_brought_to_its_pixels(landscape):
    """A scan of twice the pixels places maps as well as one on their own, one of half of them nearly so."""
    maps, truth = landscape.tiles(1, 3, side=64, overlap=16, noise=0.1, seed=10, photons=False)
    for size in (128, 96, 32):
        tiles = {}
        for name, one in maps.children.items():
            ds = one.to_dataset()
            fine = np.kron(ds.haadf.values, np.ones((6, 6)))  # 384 = 3 × 128 = 4 × 96 = 12 × 32
            step = 384 // size
            scanned = fine.reshape(size, step, size, step).mean(axis=(1, 3)).astype(np.float32)
            tiles[name] = ds.drop_vars("haadf").assign(haadf=(("haadf_y", "haadf_x"), scanned))
        made = mosaic(xr.DataTree.from_dict(tiles), grid="1x3", overlap=0.25)
        assert rms_against(made, truth) <= (0.1 if size > 64 else 0.3)
        assert made.haadf.dims == ("y", "x")
        assert "haadf_y" not in made.dims


def test_building_a_mosaic_of_placed_maps_computes_nothing(counted):
    maps, _ = counted
    lazy = xr.DataTree.from_dict({n: one.to_dataset().chunk(y=32, x=32) for n, one in maps.children.items()})

    def refuse(*_, **__):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        mosaic(lazy, image=None, **GRID)


@pytest.mark.slow
def test_memory_is_that_of_blocks_not_of_the_canvas(tmp_path):
    """Peak of writing 25 maps against 4: blocks in memory stay as many, only the graph grows."""
    counts = da.zeros((128, 128, 800), chunks=(64, 64, 800), dtype=np.uint16)
    tile = edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.01, pixel_size=1.0)
    peaks = {}
    for side in (1, 2, 5):  # the first warms up
        maps = xr.DataTree.from_dict({f"m{i}": tile for i in range(side**2)})
        made = mosaic(maps, image=None, grid=(side, side), overlap=0.1)
        tracemalloc.start()
        edxdask.save(made, tmp_path / f"{side}.zarr")
        peaks[side] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    dense = edxdask.open(tmp_path / "5.zarr").counts.size * 2
    assert dense > 5e8
    assert peaks[5] < 2.2 * peaks[2]  # six times as many pixels; two threads hold more or less at a time
    assert peaks[5] < dense / 3


# what cannot be


def test_no_overlap_at_all_is_an_error_that_says_how_to_go_on(landscape):
    maps, _ = landscape.tiles(1, 2, side=32, overlap=0, off=0, photons=False)
    apart = {"t0": (0.0, 0.0), "t1": (0.0, 500.0)}
    with pytest.raises(edxdask.EdxdaskError, match="no two of the 2 maps do") as caught:
        mosaic(maps, positions=apart)
    assert "image=None" in str(caught.value)
    placed = mosaic(maps, positions=apart, image=None)
    assert placed.sizes["x"] == 250 + 32
    assert float(placed.exposure.min()) == 0.0


def test_pixels_of_different_size_are_an_error_that_names_both_maps(landscape):
    maps, _ = landscape.tiles(1, 2, side=32, overlap=8, off=0, photons=False)
    coarse = maps["t1"].to_dataset().edx.bin(2)
    mixed = xr.DataTree.from_dict({"t0": maps["t0"].to_dataset(), "t1": coarse})
    with pytest.raises(
        edxdask.EdxdaskError, match=r"pixels of map 't1' are 4 × 4 nm, those of map 't0' 2 × 2 nm"
    ):
        mosaic(mixed, grid="1x2")


def test_energy_axes_that_differ_are_an_error_that_says_what_to_do(landscape):
    maps, _ = landscape.tiles(1, 2, side=32, overlap=8, off=0)
    other = maps["t1"].to_dataset()
    other = other.assign_coords(energy=other.energy + 0.02)
    mixed = xr.DataTree.from_dict({"t0": maps["t0"].to_dataset(), "t1": other})
    with pytest.raises(edxdask.EdxdaskError, match="a mosaic of counts needs one axis"):
        mosaic(mixed, grid="1x2")


def test_one_map_is_its_own_mosaic(landscape):
    maps, _ = landscape.tiles(1, 1, side=32, overlap=0, off=0)
    for data in (maps, maps["t0"].to_dataset()):
        made = mosaic(data)
        np.testing.assert_array_equal(made.counts, maps["t0"].counts)
        assert (made.exposure == 1).all()
        assert made.sizes["pair"] == 0


@pytest.mark.slow
def test_two_hundred_small_maps_come_to_their_places():
    land = Landscape(rows=270, columns=530, grain=4, seed=2)
    maps, truth = land.tiles(10, 20, side=32, overlap=8, off=1.0, noise=0.05, photons=False)
    made = mosaic(maps, grid="10x20", overlap=0.25, prior_px=1.0)
    assert int(made.tile_piece.max()) == 0
    assert rms_against(made, truth) <= 0.1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"image": "bse", "grid": "2x4"},
            "an image that the maps have: haadf, truth_abundance, total, a line",
        ),
        ({"grid": "3x3"}, r"rows × columns that make 8, the number of maps. Write grid=\(2, 4\)"),
        ({"grid": "2x4", "overlap": 1.5}, "a fraction of a map"),
        ({"grid": "2x4", "order": "spiral"}, "'rows' or 'columns' or 'snake'"),
        ({"grid": "2x4", "prior_px": 0}, "above 0"),
        ({"overlap": 0.1}, "None without a grid"),
        ({}, "all begin at the same place"),
        ({"positions": {"t0": (0, 0)}}, r"\(y, x\) of the first pixel of each map"),
        (
            {"positions": dict.fromkeys((f"t{i}" for i in range(8)), (0, "left"))},
            r"two numbers, \(y, x\), of each map",
        ),
        (
            {"positions": dict.fromkeys((f"t{i}" for i in range(8)), 5.0)},
            r"two numbers, \(y, x\), of each map",
        ),
        ({"grid": "2x4", "prior_px": "near"}, "how far a map may be off"),
        ({"positions": {"t0": (0, 0)}, "grid": "2x4"}, "None where positions are given"),
        ({"grid": "2x4", "placement": xr.Dataset()}, "a mosaic of the same maps"),
    ],
)
def test_what_is_wrong_is_said_with_the_line_that_fixes_it(counted, options, says):
    with pytest.raises(edxdask.EdxdaskError, match=says):
        mosaic(counted[0], **options)


def test_a_map_without_the_image_stays_where_it_began_and_is_named(landscape, caplog):
    maps, truth = landscape.tiles(2, 2, side=64, overlap=16, seed=8, photons=False)
    tiles = {n: one.to_dataset() for n, one in maps.children.items()}
    tiles["t2"] = tiles["t2"].drop_vars("haadf")
    made = mosaic(xr.DataTree.from_dict(tiles), grid="2x2", overlap=0.25)
    assert (
        "1 of 4 maps are tied to the others by no pair and are where they were said to begin: t2"
        in caplog.text
    )
    known = [0, 1, 3]
    assert rms_against(made.isel(tile=known), truth[known]) <= 0.1
    assert np.isnan(made.haadf.values[made.exposure.values == 0]).all()


def test_cubes_of_frames_are_refused_with_what_sums_them(landscape):
    maps, _ = landscape.tiles(1, 1, side=8, overlap=0, off=0)
    framed = maps["t0"].to_dataset()[["counts"]].expand_dims("frame")
    with pytest.raises(
        edxdask.EdxdaskError, match=r"a map over y and x. Sum its frames first: ds.edx.frames\(\)"
    ):
        mosaic(framed)
