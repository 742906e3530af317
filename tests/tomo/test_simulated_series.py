"""Simulated series, drawn with exact rays, against the projector, which knows voxels only."""

from __future__ import annotations

import numpy as np
import pytest

import edxdask
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.projector import Projector
from edxdask.tomo.sight import exposure_of


@pytest.mark.parametrize("misaligned", [False, True, {"rotation_deg": 20.0, "margin_px": 2.0}])
def test_the_projected_truth_is_what_was_drawn_however_the_series_is_misaligned(misaligned):
    series = edxdask.simulate(
        "tomography",
        shape=(40, 28, 44),
        counts=20,
        tilts=[-70, -35, 0, 10, 60],
        misaligned=misaligned,
        shadows=True,
        dose_drift=-0.3,
        channels=20,
    )
    geometry = TiltGeometry.of(
        series.tilt.values,
        shift_y=series.truth_shift_y.values,
        shift_x=series.truth_shift_x.values,
        rotation_deg=series.truth_rotation.values,
        exposure=series.truth_exposure.values,
    )
    volume = np.ascontiguousarray(series.truth_volume.values.transpose(1, 3, 0, 2))
    seen = Projector(geometry, shape=(40, 44), columns=44, volume_rows=28).forward(volume)
    photons = np.einsum("tukr,k,t->tru", seen, series.truth_photons_per_voxel.values, geometry.exposure)
    expected = series.truth_total.values
    # what voxels with straight edges make of round solids; a move by half a pixel gives .06 and more
    assert np.sqrt(np.mean((photons - expected) ** 2) / np.mean(expected**2)) < 0.03
    moved = np.roll(expected, 1, axis=2)
    assert np.sqrt(np.mean((photons - moved) ** 2) / np.mean(expected**2)) > 0.05


def test_the_photons_of_an_isolated_object_say_its_exposures():
    series = edxdask.simulate(
        "core-shell", shape=(20, 24), counts=100, shadows=True, dose_drift=[1, 2, 1, 3, 2], channels=50,
        tilts=[-60, -30, 0, 30, 60],
    )  # fmt: skip
    photons = series.counts.sum(("y", "x", "energy")).values
    found = exposure_of(photons, series.tilt.values)
    assert (np.abs(found.values - series.truth_exposure.values) < 5 * found.std).all()
