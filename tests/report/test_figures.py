"""Figures hold the numbers, and no text covers another."""

from __future__ import annotations

import sys
from itertools import combinations, pairwise

import numpy as np
import pytest
import xarray as xr
from matplotlib.image import imread

import edxdask
from edxdask import schema
from edxdask.errors import ParameterError, StoreExistsError
from edxdask.report import quantified
from edxdask.report.elements import elements_figure
from edxdask.report.figures import sum_spectrum_figure
from edxdask.report.fit import summed_figure
from edxdask.report.labels import scale_bar, spread
from edxdask.report.maps import map_figure, maps_figure
from edxdask.report.quantified import quantified_figure
from edxdask.report.sparkline import spectrum_lines
from edxdask.report.spectra import spectra_figure
from edxdask.report.style import save_figure

LINES = {
    f"{element}_Ka": 0.5 + 0.02 * i for i, element in enumerate(["O", "Fe", "Cu", "Mg", "Al", "Si", "P", "S"])
}


def spectrum():
    energy = schema.energy_coordinate(0.0, 0.01, 1000)
    peaks = sum(1e4 * np.exp(-0.5 * ((energy.values - e) / 0.05) ** 2) for e in (0.52, 1.25, 6.4))
    return xr.DataArray(np.rint(peaks + 3).astype(int), dims=schema.ENERGY, coords={schema.ENERGY: energy})


def a_map(shape=(40, 30), unit="nm"):
    values = np.random.default_rng(0).poisson(5.0, shape)
    coords = {d: (d, 2.0 * np.arange(n), {"units": unit}) for d, n in zip("yx", shape, strict=True)}
    return xr.DataArray(values, dims=("y", "x"), coords=coords, attrs={"units": "counts"})


def text_boxes(figure):
    figure.draw_without_rendering()
    axes = [a for ax in figure.axes for a in (ax, *ax.child_axes)]
    texts = [t for ax in axes for t in ax.texts if t.get_text()]
    texts += [ax.title for ax in axes] + [ax._left_title for ax in axes] + [ax.yaxis.label for ax in axes]
    texts += [t for ax in axes if ax.axison for t in (*ax.get_xticklabels(), *ax.get_yticklabels())]
    shown = [t for t in texts if t.get_text() and t.get_visible()]
    assert all(t.get_fontsize() >= 8 for t in shown)
    return {t: t.get_window_extent() for t in shown}


def assert_no_overlap(figure):
    boxes = text_boxes(figure)
    page = figure.bbox
    for (a, first), (b, second) in combinations(boxes.items(), 2):
        assert not first.overlaps(second), (a.get_text(), b.get_text())
    for text, box in boxes.items():
        inside = page.x0 <= box.x0 < box.x1 <= page.x1 and page.y0 <= box.y0 < box.y1 <= page.y1
        assert inside, text.get_text()


@pytest.mark.parametrize("log", [True, False])
def test_labels_of_crowded_lines_never_overlap(log):
    figure = sum_spectrum_figure(
        spectrum(), lines=LINES | {"Fe_Kb": 7.06, "U_Lb1": 9.99}, log=log, title="A map"
    )
    assert_no_overlap(figure)
    names = [t.get_text() for t in figure.axes[0].texts]
    assert names == ["O Kα", "Fe Kα", "Cu Kα", "Mg Kα", "Al Kα", "Si Kα", "P Kα", "S Kα", "Fe Kβ", "U Lβ1"]


def test_leaders_do_not_cross_one_another():
    figure = sum_spectrum_figure(spectrum(), lines=LINES)
    leaders = [line.get_xydata() for line in figure.axes[0].lines if len(line.get_xydata()) == 4]
    assert len(leaders) == len(LINES)
    assert all((left[:, 0] < right[:, 0]).all() for left, right in pairwise(leaders))


def test_more_lines_than_fit_keep_those_on_the_highest_peaks():
    many = {f"X{i}": 2.0 + 0.01 * i for i in range(200)} | {"Fe_Ka": 6.4}
    figure = sum_spectrum_figure(spectrum(), lines=many)
    names = [t.get_text() for t in figure.axes[0].texts]
    assert "Fe Kα" in names
    assert 20 < len(names) < 70
    assert_no_overlap(figure)


def test_lines_outside_the_range_are_not_named_and_the_range_is_kept():
    figure = sum_spectrum_figure(spectrum(), lines={"Fe_Ka": 6.4, "Mg_Ka": 1.25}, energy_range=(1.0, 5.0))
    assert figure.axes[0].get_xlim() == (1.0, 5.0)
    assert [t.get_text() for t in figure.axes[0].texts] == ["Mg Kα"]


def test_a_spectrum_without_counts_is_drawn():
    empty = spectrum() * 0
    for log in (True, False):
        sum_spectrum_figure(empty, lines={"Fe_Ka": 6.4}, log=log).draw_without_rendering()


@pytest.mark.parametrize("shape", [(40, 30), (20, 90), (90, 20)])
def test_a_map_shows_every_value_with_a_scale_bar_in_its_unit(shape):
    array = a_map(shape)
    figure = map_figure(array, title="Mg Kα")
    (image,) = figure.axes[0].images
    np.testing.assert_array_equal(image.get_array(), array.values)
    length, text = scale_bar(2.0 * shape[1], "nm")
    assert [t.get_text() for t in figure.axes[0].texts] == [text]
    box = figure.axes[0].get_window_extent()
    (bar,) = figure.axes[0].lines
    ends = bar.get_transform().transform(bar.get_xydata())
    assert (ends[1, 0] - ends[0, 0]) / box.width == pytest.approx(length / (2.0 * shape[1]))
    assert_no_overlap(figure)


def test_one_hot_pixel_does_not_darken_the_map_and_is_said():
    array = a_map((100, 100))
    array[3, 4] = 10_000
    (image,) = map_figure(array).axes[0].images
    assert image.get_clim()[0] == 0
    assert image.get_clim()[1] < 20
    assert image.colorbar.extend == "max"


def test_net_counts_below_zero_are_dark_and_said_and_scores_keep_their_sign():
    net = a_map((50, 50)) - 5.0
    (image,) = map_figure(net.assign_attrs(units="counts")).axes[0].images
    assert image.get_clim()[0] == 0
    assert image.colorbar.extend == "both"
    (image,) = map_figure(net.assign_attrs(units="1")).axes[0].images
    assert image.get_clim()[0] == -5


def test_a_flat_map_and_a_map_with_holes_are_drawn():
    holes = a_map().astype(float).where(lambda m: m > 4)
    assert map_figure(holes).axes[0].images[0].get_array().mask.any()
    map_figure(a_map() * 0).draw_without_rendering()


@pytest.mark.parametrize("count", [1, 3, 7])
def test_a_panel_holds_all_maps_with_readable_titles(count):
    stack = xr.concat(
        [a_map()] * count,
        xr.Variable("line", [f"{e}_Ka" for e in ("Mg", "Al", "Si", "Ca", "Fe", "O", "C")[:count]]),
    )
    figure = maps_figure(stack, title="A sample")
    assert [ax.get_title(loc="left") for ax in figure.axes][:1] == ["Mg Kα"]
    assert len(figure.axes) == count
    assert_no_overlap(figure)


def test_a_saved_figure_is_a_png_of_its_size_and_is_not_replaced_unasked(tmp_path):
    path = save_figure(map_figure(a_map()), tmp_path / "m.png", dpi=100)
    width, height = map_figure(a_map()).get_size_inches() * 100
    assert imread(path).shape[:2] == pytest.approx((height, width), abs=1)
    with pytest.raises(StoreExistsError, match="exists"):
        save_figure(map_figure(a_map()), path)


def test_no_pyplot_is_loaded():
    assert "matplotlib.pyplot" not in sys.modules


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(ParameterError, match="one dimension, 'energy'"):
        sum_spectrum_figure(a_map())
    with pytest.raises(ParameterError, match=r"within 0\.000 to 9\.990 keV"):
        sum_spectrum_figure(spectrum(), energy_range=(20.0, 30.0))
    with pytest.raises(ParameterError, match="two dimensions"):
        map_figure(spectrum())
    with pytest.raises(ParameterError, match="at least one map"):
        maps_figure([])
    with pytest.raises(ParameterError, match="2 texts"):
        maps_figure([a_map(), a_map()], titles=["one"])


def test_spread_keeps_gaps_order_and_bounds_and_moves_the_least():
    from scipy.optimize import minimize

    rng = np.random.default_rng(1)
    for _ in range(10):
        wanted = np.sort(rng.uniform(0, 10, 6))
        found = spread(list(wanted), 1.2, 0.5, 9.5)
        assert (np.diff(found) >= 1.2 - 1e-9).all()
        assert found[0] >= 0.5
        assert found[-1] <= 9.5 + 1e-9
        gaps = {"type": "ineq", "fun": lambda x: np.diff(x) - 1.2}
        best = minimize(
            lambda x, w=wanted: ((x - w) ** 2).sum(),
            np.linspace(0.5, 9.5, 6),
            bounds=[(0.5, 9.5)] * 6,
            constraints=gaps,
        )
        assert ((found - wanted) ** 2).sum() == pytest.approx(best.fun, rel=1e-4, abs=1e-6)


def test_a_spectrum_of_text_has_its_width_and_its_peak_above_its_energy():
    values = np.ones(1000)
    values[[500, 990]] = 1e6
    upper, lower, axis = spectrum_lines(values, 0.15, 0.01, 50)
    assert len(upper) == len(lower) == 50
    assert upper[25] == lower[25] == "█"
    assert set(upper) == {" ", "█"}
    assert axis.index("5") == 24
    assert axis.endswith("keV")
    assert {*"".join(spectrum_lines(np.zeros(5), 0.0, 1.0, 50)[:2])} <= {" "}
    assert spectrum_lines(np.array([]), 0.0, 1.0, 5) == []


def test_a_zero_peak_hides_no_line_and_one_count_is_no_peak():
    energy = -0.25 + 0.01 * np.arange(2000)
    counts = 1e6 * np.exp(-0.5 * (energy / 0.03) ** 2) + 20 * np.exp(-0.5 * ((energy - 8.05) / 0.06) ** 2)
    counts[1500] = 1
    upper, lower, axis = spectrum_lines(np.rint(counts), -0.25, 0.01, 64)
    at = axis.index("8")
    assert "█" in upper[at - 2 : at + 3]
    assert set(upper.replace("█", " ")) <= set(" ▁▂▃▄▅▆▇")
    assert set(lower[: at - 6]) <= set(" ▁▂▃▄")


def test_peaks_of_a_real_map_stand_out_of_its_spectrum_of_text(data):
    import h5py

    with h5py.File(data / "71GPa_left.hspy") as file:
        (name,) = file["Experiments"]
        group = file["Experiments"][name]
        counts = group["data"][...].sum((0, 1))
        axis = group["axis-2"].attrs
        offset, scale = float(axis["offset"]), float(axis["scale"])
    upper, lower, numbers = spectrum_lines(counts, offset, scale, 64)
    heights = [" ▁▂▃▄▅▆▇█".index(a) + " ▁▂▃▄▅▆▇█".index(b) for a, b in zip(upper, lower, strict=True)]
    step = (numbers.index("7") - numbers.index("3")) / 4  # letters per keV
    for energy in (3.69, 6.40, 8.05):  # Ca, Fe, and the grid's Cu
        at = round(numbers.index("3") + (energy - 3) * step)
        beside = [*heights[at - 5 : at - 2], *heights[at + 3 : at + 6]]
        assert max(heights[at - 1 : at + 2]) >= min(beside) + 3, energy
    assert max(heights) == 16


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (20, 100), (100, 20), (40, 40)])
@pytest.mark.parametrize("scale", [1, 1_000, 100_000])
def test_the_label_of_a_colour_bar_is_on_the_page_however_long_its_numbers(shape, scale):
    figure = map_figure(a_map(shape).astype(float) * scale + 0.5, title="Mg Kα", label="counts")
    figure.draw_without_rendering()
    (bar,) = figure.axes[0].child_axes
    for box in (bar.get_tightbbox(), bar.yaxis.label.get_window_extent()):
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_spectra_of_phases_are_drawn_below_one_another_and_those_below_zero_are_linear():
    rows = np.abs(np.random.default_rng(0).normal(size=(3, 1000)))
    stack = xr.DataArray(
        rows,
        dims=("phase", "energy"),
        coords={"phase": ["a", "b", "c"], "energy": schema.energy_coordinate(0.0, 0.01, 1000)},
    )
    figure = spectra_figure(stack, title="three")
    figure.draw_without_rendering()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a", "b", "c"]
    for axes, row in zip(figure.axes, rows, strict=True):
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), row)
    assert {axes.get_yscale() for axes in figure.axes} == {"log"}
    assert {axes.get_yscale() for axes in spectra_figure(stack - 1).axes} == {"linear"}
    with pytest.raises(ParameterError, match="spectra with dimensions"):
        spectra_figure(stack[0])


def test_a_summed_fit_shows_counts_fit_and_residuals_and_names_elements_that_were_not_listed_in_colour():
    energy = schema.energy_coordinate(0.3, 0.01, 900)
    expected = xr.DataArray(np.full(900, 100.0), dims="energy", coords={"energy": energy})
    counts = xr.DataArray(
        np.random.default_rng(0).poisson(expected), dims="energy", coords={"energy": energy}
    )
    figure = summed_figure(counts, expected, elements=["Mg", "Ca"], others=["Cu"], title="all")
    upper, lower = figure.axes
    colors = {text.get_text(): text.get_color() for text in upper.texts}
    assert {"Mg Kα", "Ca Kα", "Ca Kβ", "Cu Kα"} <= set(colors)
    assert colors["Mg Kα"] == colors["Ca Kα"] != colors["Cu Kα"]
    np.testing.assert_allclose(lower.lines[0].get_ydata(), (counts - expected) / 10)
    assert [line.get_label() for line in upper.lines if line.get_label()[0] != "_"] == ["Counts", "Fit"]
    with pytest.raises(ParameterError, match="expected"):
        summed_figure(counts, expected[1:], elements=["Mg"])


@pytest.fixture(scope="module")
def cube():
    return edxdask.simulate(shape=(16, 16), counts=300, seed=2).load()


def test_found_elements_are_drawn_with_fit_residuals_and_names(cube):
    found = edxdask.find_elements(cube)
    figure = elements_figure(found, title="A map")
    assert_no_overlap(figure)
    upper, lower = figure.axes
    fit = next(line for line in upper.lines if line.get_label() == "Fit")
    np.testing.assert_array_equal(fit.get_ydata(), found.fitted_spectrum)
    assert {"Mg Kα", "Si Kα", "Fe Kα"} <= {t.get_text() for t in upper.texts}
    assert np.abs(lower.lines[0].get_ydata()).max() < 6


def test_a_quantified_sum_and_regions_are_drawn_with_their_compositions(cube):
    regions = {"top": edxdask.Rectangle(y=(0, 8), x=(0, 16)), "all": "sum"}
    for per, names in (("sum", ["sum"]), (regions, ["top", "all"])):
        found = edxdask.quantify(cube, per=per, foreign=["Cu"])
        figure = quantified_figure(found, title="A map")
        assert_no_overlap(figure)
        titles = [axes.get_title(loc="left").replace("\u00a0", " ") for axes in figure.axes[::2]]
        assert [text.partition(":")[0] for text in titles] == names
        assert f"Mg {100 * float(found.composition.sel(element='Mg').values.flat[-1]):.1f}" in titles[-1]
        assert "Cu" not in titles[0]
        assert "Cu Kα" in {t.get_text() for t in figure.axes[0].texts}


def test_a_collection_is_drawn_map_by_map_and_what_has_no_fit_is_refused(cube, monkeypatch):
    tree = xr.DataTree.from_dict({"/left": cube, "/right": cube.isel(y=slice(8))})
    figure = quantified_figure(edxdask.quantify(tree))
    assert [axes.get_title(loc="left").partition(":")[0] for axes in figure.axes[::2]] == ["left", "right"]
    with pytest.raises(ParameterError, match="no fitted spectra"):
        quantified_figure(edxdask.quantify(cube, per="pixel"))
    monkeypatch.setattr(quantified, "MOST", 2)
    many = {f"r{i}": "sum" for i in range(3)}
    with pytest.raises(ParameterError, match="at most 2"):
        quantified_figure(edxdask.quantify(cube, per=many, elements=["Mg", "Si"], refine_axis=False))
