"""``edxdask.figures``: every figure has its place, draws, and can be saved."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from matplotlib.figure import Figure

import edxdask
from edxdask.errors import ParameterError
from edxdask.ops.maps import line_weights
from edxdask.report.denoised import denoised_line_maps
from edxdask.report.page.pictures import svg_of
from edxdask.report.phase_colors import mixed


@pytest.fixture(scope="module")
def cube():
    return edxdask.simulate(shape=(24, 30), counts=150, seed=4).load()


@pytest.fixture(scope="module")
def result(cube):
    truth = {"spectrum": "truth_spectrum", "abundance": "truth_abundance", "total": "truth_total"}
    made = cube[list(truth.values())].rename({source: name for name, source in truth.items()})
    return made.assign(spectrum=made.spectrum / made.spectrum.sum("energy"))


def test_the_module_is_public_and_loads_on_first_use():
    assert inspect.ismodule(edxdask.figures)
    assert edxdask.figures.__name__ == "edxdask.figures"
    assert sorted(edxdask.figures.__all__) == edxdask.figures.__all__
    assert all(inspect.getdoc(getattr(edxdask.figures, name)) for name in edxdask.figures.__all__)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_figure_is_saved_by_its_suffix(result, tmp_path, suffix):
    path = edxdask.figures.save(edxdask.figures.composite(result), tmp_path / f"phases.{suffix}")
    assert path.stat().st_size > 3000


def test_figures_of_a_result_draw_what_they_promise(cube, result):
    figures = edxdask.figures
    panels = figures.phases(result)
    assert [axes.get_title(loc="left") for axes in panels.axes] == ["Brg", "Fp", "CaPv", "all phases"]
    spectra = figures.phase_spectra(result)
    assert len(spectra.axes) == 3
    assert [a.get_ylabel() for a in figures.summed_fit(cube, result).axes] == ["Counts", "Residual (σ)"]
    assert isinstance(figures.misfit(cube, result), Figure)
    truth = figures.against_truth(result, cube)
    assert sum("0.00°" in axes.get_title(loc="left") for axes in truth.axes) == 3


def test_raw_stands_beside_each_step_on_one_scale(cube, result):
    steps = {"one phase": result.isel(phase=[0]), "all": result}
    figure = edxdask.figures.denoised(cube, steps, lines=["Mg_Ka", "Ca_Ka"])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:3] == ["Mg Kα, as counted", "Mg Kα, one phase", "Mg Kα, all"]
    scales = [axes.images[0].get_clim() for axes in figure.axes[:3]]
    assert len(set(scales)) == 1


def test_denoised_line_maps_are_what_the_line_map_of_the_expected_counts_is(cube, result):
    expected = edxdask.reconstruct(result).expected.values
    for line in ("Mg_Ka", "Fe_Ka"):
        found = denoised_line_maps(cube, result, [line]).values[0]
        np.testing.assert_allclose(found, expected @ line_weights(cube, line), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            cube.counts.values @ line_weights(cube, line), cube.edx.line_map(line).values, atol=1e-9
        )


def test_limits_need_limits(result):
    with pytest.raises(ParameterError, match="what quantify"):
        edxdask.figures.limits(result)


def test_choices_need_choices(result):
    with pytest.raises(ParameterError, match="settings the data chose"):
        edxdask.figures.choices(result)


def test_a_mixture_of_fractions_is_a_mixture_of_colours():
    half = np.array([[[1.0, 0.25]], [[0.0, 0.25]]])
    pure, rest = mixed(half, ["#000000", "#ffffff"])[0]
    assert pure.tolist() == [0.0, 0.0, 0.0]
    assert 0.7 < rest[0] < 0.8  # half of it is paper


def test_a_drawing_is_the_same_text_every_time(result):
    first, second = (svg_of(edxdask.figures.composite(result), "x") for _ in range(2))
    assert first == second
    assert "<style" not in first
    assert 'id="x-0"' in first
