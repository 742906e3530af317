"""Figures of volumes: what is drawn of what, and that it is drawn without a warning."""

from __future__ import annotations

import numpy as np
import pytest
from volume_samples import LABELS, ball, sample_volume, three_phases

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.report import rendered
from edxdask.report.particle_sizes import sizes_figure
from edxdask.report.phase_colors import phase_colors
from edxdask.report.plot import figures_of, plot
from edxdask.report.rendered import Camera, render
from edxdask.report.tilts import tilts_figure
from edxdask.report.volume_overview import overview_of
from edxdask.report.volumes import layers_at, slices_figure


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr(rendered, "PIXELS", 140)


@pytest.fixture(scope="module")
def volume():
    return sample_volume(three_phases((36, 30, 42)), noise=0.05)


@pytest.mark.parametrize("figure", [None, "slices", "rendered", "sizes", "tilts", "spectra"])
def test_every_figure_is_drawn(volume, figure, tmp_path):
    drawn = plot(volume, figure=figure, title="a $ volume")
    path = tmp_path / "a.png"
    drawn.savefig(path, dpi=60)
    assert path.stat().st_size > 4000
    assert figures_of(volume) == ("slices", "rendered", "sizes", "tilts", "spectra")


def test_figures_that_a_volume_does_not_have_are_refused():
    bare = sample_volume().drop_vars([schema.TILT_PHOTONS, schema.TILT_CHI2, schema.SPECTRUM])
    with pytest.raises(ParameterError, match="'slices' or 'rendered' or 'sizes'"):
        plot(bare, figure="tilts")
    with pytest.raises(ParameterError, match="volumes of phases has"):
        plot(sample_volume(), figure="maps")


@pytest.mark.parametrize("chunks", [None, {"z": 7, "y": 30, "x": 11}])
def test_an_overview_is_the_mean_of_blocks_however_it_is_chunked(chunks):
    values = np.random.default_rng(0).random((2, 13, 9, 14), dtype=np.float32)
    found = overview_of(sample_volume(values, labels=("a", "b"), chunks=chunks), side=5)
    assert found.step == 3
    assert found.values.shape == (2, 5, 3, 5)
    assert found.values[1, 1, 2, 3] == pytest.approx(values[1, 3:6, 6:9, 9:12].mean(), rel=1e-5)
    assert found.values[0, 4, 0, 4] == pytest.approx(values[0, 12:, :3, 12:].mean(), rel=1e-5)
    assert found.grid.sides == (6.0, 6.0, 6.0)


def test_planes_go_through_the_smallest_phase_or_where_they_are_told(volume):
    overview = overview_of(volume)
    layers = layers_at(volume, None, overview)
    core = volume.volume.sel(phase="CaPv").isel(layers)
    assert float(core) > 0.8
    assert layers_at(volume, {"z": 0.0, "x": 4.0}, overview)["x"] == 2
    with pytest.raises(ParameterError, match="z within"):
        layers_at(volume, {"z": 400.0}, overview)
    with pytest.raises(ParameterError, match="'z', 'y' or 'x'"):
        layers_at(volume, {"tilt": 0.0}, overview)


def test_colours_of_planes_are_those_of_the_phases(volume):
    drawn = slices_figure(volume)
    drawn.draw_without_rendering()
    images = [image for axes in drawn.findobj(lambda a: hasattr(a, "images")) for image in axes.images]
    picture = next(i.get_array() for i in images if i.get_array().ndim == 3 and i.get_array().shape[-1] == 3)
    blue = np.array([0.0, 0x72 / 255, 0xB2 / 255])
    assert (np.abs(np.asarray(picture) - blue).max(axis=-1) < 0.12).mean() > 0.05


def test_a_ball_is_rendered_round_at_its_place_and_in_its_colour():
    one = ball((40, 40, 40), (19.5, 19.5, 19.5), 10.0)[None]
    picture = render(overview_of(sample_volume(one, labels=("a",))), Camera.at(30, 20), 80.0, 200)
    solid = picture[..., 3] > 0.5
    assert solid.sum() == pytest.approx(np.pi * (20 / 160 * 200) ** 2, rel=0.05)
    rows, columns = np.nonzero(solid)
    assert (rows.mean(), columns.mean()) == pytest.approx((99.5, 99.5), abs=0.5)
    red, green, blue = picture[100, 100, :3]
    assert blue > green > red  # the first phase is blue
    assert picture[80, 85, :3].sum() > picture[120, 115, :3].sum()  # lit from the upper left


def test_what_is_inside_a_large_phase_is_seen_through_it():
    shape = (40, 40, 40)
    core = ball(shape, (19.5, 19.5, 19.5), 5.0)
    shell = ball(shape, (19.5, 19.5, 19.5), 14.0) - core
    picture = render(overview_of(sample_volume(np.stack([shell, core]), labels=("shell", "core"))),
                     Camera.at(30, 20), 60.0, 100)  # fmt: skip
    middle, beside = picture[50, 50], picture[50, 66]
    assert middle[0] > middle[2]  # the core is orange, though the blue shell is before it
    assert middle[3] > 0.95
    assert 0.05 < beside[3] < 0.6


def test_a_camera_sees_the_beam_upright():
    view = Camera.at(30.0, 20.0)
    seen = view.seen(np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]))
    assert seen[0, 1] > 0.9
    assert abs(seen[0, 0]) < 1e-9
    assert np.allclose(np.linalg.norm(seen, axis=1), 1.0)


def test_photons_are_drawn_on_the_scale_of_full_voxels():
    counts = sample_volume(40 * three_phases((36, 30, 42)), kind="photons")
    overview = overview_of(counts)
    assert overview.full == pytest.approx([40.0] * 3, rel=0.05)
    slices_figure(counts).savefig("/dev/null", format="png", dpi=40)


def test_tilts_that_do_not_fit_are_crosses_with_their_angles():
    drawn = tilts_figure(sample_volume())
    assert {"-50°", "30°"} <= {t.get_text() for axes in drawn.axes for t in axes.texts}
    crosses = [line for line in drawn.axes[-1].lines if line.get_marker() == "X"]
    assert crosses[0].get_xdata().tolist() == [-50.0, 30.0]
    with pytest.raises(ParameterError, match="tilts"):
        tilts_figure(sample_volume()[["volume"]])


def test_every_particle_has_its_mark():
    volume = sample_volume(three_phases((48, 40, 56)))
    drawn = sizes_figure(volume)
    assert [axes.get_title(loc="left").split(":")[0] for axes in drawn.axes] == list(LABELS)
    marks = [line for line in drawn.axes[1].lines if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in marks) == 2
    assert marks[0].get_markeredgecolor() == phase_colors(LABELS)["Fp"]
    nothing = sample_volume(0 * three_phases())
    sizes_figure(nothing).savefig("/dev/null", format="png")


def test_one_layer_and_one_phase_can_be_drawn():
    thin = sample_volume(three_phases()[:1, 12:13], labels=("a",))
    plot(thin).savefig("/dev/null", format="png", dpi=40)
    empty = sample_volume(0 * three_phases())
    plot(empty).savefig("/dev/null", format="png", dpi=40)
