"""Absorption in objects: closed forms, photons that were absorbed one by one, and when a warning is due."""

from __future__ import annotations

import numpy as np
import pytest

import edxdask
from edxdask.errors import ParameterError
from edxdask.physics.absorption import film_transmission
from edxdask.physics.geometry import SUPER_X, Detector, takeoff_angle
from edxdask.tomo.absorption import (
    Object,
    absorption_warnings,
    length_from_projections,
    mean_factor,
    transmission_of,
    warnings_of_volume,
)

QUARTZ = {"Si": 1.0, "O": 2.0}
ENERGY = np.array([0.525, 1.74, 6.4])


@pytest.mark.parametrize("tilt", [-40.0, 0.0, 25.0])
@pytest.mark.parametrize("azimuth", [0.0, 45.0, 200.0])
def test_the_line_to_a_detector_leaves_a_film_at_the_take_off_angle(tilt, azimuth):
    (way,) = Detector(elevation_deg=(22.0,), azimuth_deg=(azimuth,)).directions(tilt)
    assert np.linalg.norm(way) == pytest.approx(1)
    assert np.rad2deg(np.arcsin(way[0])) == pytest.approx(takeoff_angle(22.0, azimuth, alpha_deg=tilt))


def test_a_wide_slab_absorbs_as_a_film_does():
    slab = np.zeros((1, 12, 121, 121))
    slab[0, 1:11] = 1.0
    middle = slab.copy()
    middle[0, :, :40], middle[0, :, -40:], middle[0, :, :, :40], middle[0, :, :, -40:] = 0, 0, 0, 0
    # photons start in the middle, where the slab's sides are far
    both = np.concatenate([middle, slab - middle])
    thing = Object(both, 40.0, [QUARTZ, QUARTZ], [2.6, 2.6])
    detector = Detector(elevation_deg=(60.0,) * 4, azimuth_deg=(45.0, 135.0, 225.0, 315.0))
    found = transmission_of(thing, ENERGY, tilt_deg=np.array([0.0, 10.0]), detector=detector)[0]
    for i, tilt in enumerate((0.0, 10.0)):
        film = {"thickness_nm": 400.0, "density_g_cm3": 2.6, "detector": detector, "tilt_deg": (tilt, 0.0)}
        np.testing.assert_allclose(found[i], film_transmission(QUARTZ, ENERGY, **film), rtol=0.03)


def test_mean_factors_are_those_of_photons_absorbed_one_by_one():
    known = {"shape": (40, 16, 40), "seed": 3, "tilts": [-60, 0, 60], "pixel_size": 10.0, "channels": 200}
    detectors = {"elevation_deg": (22.0,) * 4}
    lost = edxdask.simulate("tomography", counts=60, absorption=True, **known, **detectors).compute()
    phases = [
        dict(zip(lost.element.values.tolist(), row, strict=True)) for row in lost.truth_composition.values
    ]
    energy = lost.energy.values
    factor = mean_factor(
        Object(lost.truth_volume.values, 10.0, phases, [4.5] * 3),
        energy,
        tilt_deg=lost.tilt.values,
        detector=SUPER_X,
    )
    emitted = np.einsum("ktyx,tyx->k", lost.truth_abundance, lost.truth_total)
    expected = emitted @ (factor * lost.truth_spectrum.values)
    seen = lost.counts.sum(("tilt", "y", "x")).values
    bands = [(energy > low) & (energy < high) for low, high in ((0.45, 0.6), (1.15, 1.35), (1.65, 1.85))]
    for band in bands:
        # 200 starts per phase know a mean of 15 % absorption to 0.7 %
        noise = 4 / np.sqrt(seen[band].sum()) + 0.02
        assert seen[band].sum() == pytest.approx(expected[band].sum(), rel=noise)
    oxygen = seen[bands[0]].sum() / (emitted @ lost.truth_spectrum.values)[bands[0]].sum()
    assert oxygen < 0.87


def test_an_object_that_absorbs_nothing_loses_no_photon():
    known = {"shape": (16, 8, 16), "counts": 30, "tilts": [0, 30], "channels": 50, "energy_offset": 9.0}
    ds = edxdask.simulate("core-shell", absorption=True, pixel_size=1e-3, **known).compute()
    expected = float(ds.truth_total.sum())
    assert float(ds.counts.sum()) == pytest.approx(expected, abs=4 * np.sqrt(expected))
    by_phase = np.einsum("ktyx,tyx,ke->e", ds.truth_abundance, ds.truth_total, ds.truth_spectrum)
    seen = ds.counts.sum(("tilt", "y", "x")).values
    assert np.mean((seen - by_phase) ** 2 / np.maximum(by_phase, 1)) < 1.6
    image = ds.counts.sum("energy").values
    lit = ds.truth_total.values > 2
    assert np.mean((image - ds.truth_total.values)[lit] ** 2 / ds.truth_total.values[lit]) == pytest.approx(
        1, abs=0.2
    )


def test_detectors_in_shadow_do_not_see_absorbed_photons_either():
    known = {"shape": (16, 8, 16), "counts": 60, "tilts": [-60, 60], "channels": 100, "absorption": True}
    ds = edxdask.simulate("tomography", shadows=[(0, 40), None], **known)
    totals = ds.counts.sum(("y", "x", "energy")).values
    assert totals[1] / totals[0] == pytest.approx(0.5, abs=0.06)
    assert len(ds.attrs["azimuth_deg"]) == 2


def warned(voxel_nm):
    ball = np.zeros((2, 15, 15, 15))
    z, y, x = np.mgrid[-7:8, -7:8, -7:8]
    ball[0] = z**2 + y**2 + x**2 < 40
    ball[1, 6:9, 6:9, 6:9], ball[0, 6:9, 6:9, 6:9] = 1, 0
    thing = Object(ball, voxel_nm, [QUARTZ, {"Fe": 1.0}], [2.6, 7.9])
    tilts = np.arange(-60.0, 61, 30)
    return absorption_warnings(
        thing, ["quartz", "iron"], range_kev=(0.3, 10.0), tilt_deg=tilts, detector=SUPER_X
    )


def test_a_line_that_is_absorbed_by_more_than_5_percent_is_named():
    (text,) = warned(50.0)
    assert "O_Ka of quartz" in text
    assert "Si_Ka of quartz" not in text
    assert warned(1.0) == []


def test_a_volume_names_the_lines_that_it_absorbs():
    series = edxdask.simulate("tomography", shape=(80, 20, 80), pixel_size=6.0, tilts=[-50, 0, 50], counts=20)
    known = {"truth_volume": "volume", "truth_composition": "composition"}
    volume = series[[*known, "energy", "tilt"]].rename(known)
    (text,) = warnings_of_volume(volume, dict.fromkeys(["Brg", "Fp", "CaPv"], 4.5))
    assert "O_Ka of Brg" in text
    thin = volume.assign_coords({dim: volume[dim] / 50 for dim in "zyx"})
    assert warnings_of_volume(thin, dict.fromkeys(["Brg", "Fp", "CaPv"], 4.5)) == []


def test_the_path_before_there_is_a_volume_is_half_the_thickness():
    assert length_from_projections(np.zeros(3)) == 0
    assert length_from_projections(np.array([[10.0, 30.0]])) == pytest.approx(12.5)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((np.ones((1, 3, 3)), 1.0, [QUARTZ], [2.6]), "each with atoms and a density"),
        ((np.ones((2, 3, 3, 3)), 1.0, [QUARTZ], [2.6]), "each with atoms and a density"),
        ((np.ones((1, 3, 3, 3)), 0.0, [QUARTZ], [2.6]), "above 0"),
    ],
)
def test_what_is_no_object_is_refused(given, says):
    with pytest.raises(ParameterError, match=says):
        Object(*given)


def test_a_film_thickness_and_absorption_in_the_object_exclude_each_other():
    with pytest.raises(ParameterError, match="the object itself says"):
        edxdask.simulate("tomography", shape=(8, 8), absorption=True, thickness=50.0)
    with pytest.raises(ParameterError, match="Tilt series are"):
        edxdask.simulate("mantle", shape=(8, 8), absorption=True)
    with pytest.raises(ParameterError, match="True or False"):
        edxdask.simulate("tomography", shape=(8, 8), absorption=0.3)
