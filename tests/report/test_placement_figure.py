"""Tables and figure of a mosaic's placement."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.report.placement import (
    pair_cells,
    pair_rows,
    placement_text,
    tile_cells,
    tile_rows,
)
from edxdask.report.placement_figure import placement_figure


@pytest.fixture(scope="module")
def made():
    """Three maps: two that overlap, and one that shows nothing."""
    rng = np.random.default_rng(0)
    field = np.kron(rng.normal(size=(20, 40)), np.ones((4, 4)))
    maps = {}
    for name, x in (("a", 0), ("b", 40), ("c", 80)):
        counts = np.ones((64, 64, 3), dtype=np.uint16)
        ds = edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.1, pixel_size=3.0)
        image = field[:64, x : x + 64] if name != "c" else rng.normal(size=(64, 64))
        maps[name] = ds.assign(haadf=(("y", "x"), image + 0.05 * rng.normal(size=image.shape)))
    return edxdask.mosaic(xr.DataTree.from_dict(maps), grid=(1, 3), overlap=0.4)


def test_tables_say_where_maps_lie_and_what_each_pair_gave(made):
    tiles = tile_rows(made)
    assert [row["map"] for row in tiles] == ["a", "b", "c"]
    assert tiles[1]["x"] - tiles[0]["x"] == pytest.approx(40, abs=0.05)
    assert [row["piece"] for row in tiles] == [0, 0, 1]
    pairs = pair_rows(made)
    assert [(row["pair_first"], row["pair_second"], row["pair_used"]) for row in pairs] == [
        ("a", "b", True),
        ("b", "c", False),
    ]
    assert pairs[1]["pair_shift_y"] is None
    heads, cells = tile_cells(made)
    assert len(heads) == len(cells[0]) == 7
    heads, cells, faint = pair_cells(made)
    assert {len(row) for row in cells} == {len(heads)}
    assert faint == [1]
    assert cells[1][-1] == "not measured"
    assert placement_text(made) == "3 maps, 1 of 2 pairs, residual 0.00 px rms, placed on haadf"


def test_the_figure_has_an_outline_for_each_map_and_a_point_for_each_pair(made):
    figure = placement_figure(made)
    mosaic, *_, graph = figure.axes
    outlines = [patch for patch in mosaic.patches if patch.get_linestyle() in ("-", "--")]
    assert len(outlines) == 3
    assert [patch.get_linestyle() for patch in outlines] == ["-", "-", "--"]
    step = float(made.x[1])
    lefts = [patch.get_x() / step for patch in outlines]
    np.testing.assert_allclose(lefts, made.tile_origin.values[:, 1])
    assert graph.get_xlabel().startswith("measured minus placed")
    assert edxdask.mosaic(made[["counts"]], image=None).edx.plot(figure="placement").axes


def test_counts_of_a_mosaic_are_drawn_over_exposure(made):
    figure = made.edx.plot(figure="maps")
    drawn = figure.axes[0].images[0].get_array()
    assert np.ma.allequal(drawn, 3.0)


def test_what_is_no_mosaic_has_no_placement(made):
    cube = made[["counts"]]
    with pytest.raises(edxdask.EdxdaskError, match=r"a mosaic, as edxdask\.mosaic gives it"):
        placement_figure(cube)
    with pytest.raises(edxdask.EdxdaskError, match="'maps' or 'spectra', which a cube"):
        cube.edx.plot(figure="placement")
