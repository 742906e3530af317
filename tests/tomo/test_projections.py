"""Projections of a volume: those of the projector at once, whatever the chunks; residuals of a series."""

from __future__ import annotations

import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

import edxdask
from edxdask import schema
from edxdask.errors import SchemaError
from edxdask.results.volumes import depth_coordinate, make_volume
from edxdask.tomo import projections as module
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.projections import projections
from edxdask.tomo.projector import Projector

sys.path.insert(0, str(Path(__file__).parent))
from small_series import made_series

PHOTONS = (0.8, 1.1)
TILTS = np.arange(-70, 71, 20.0)
MOVES = {
    "shift_y": np.linspace(-1.5, 2.0, 8),
    "shift_x": np.linspace(1.0, -1.0, 8),
    "rotation_deg": 2.0,
    "exposure": np.linspace(0.7, 1.3, 8),
}


@pytest.fixture(scope="module")
def made():
    """A series, and the volume that it was made from as ``tomography`` would give it."""
    cube, values, spectra = made_series(rows=20, width=24, tilts=TILTS, photons=PHOTONS, **MOVES)
    geometry = TiltGeometry.of(TILTS, **MOVES)
    volume = make_volume(
        values,
        phases=["body", "core"],
        coords={
            "z": depth_coordinate(24, 2.0),
            "y": cube.y,
            "x": cube.x,
            "tilt": TILTS,
            "energy": cube.energy,
        },
        variables={
            schema.SPECTRUM: spectra,
            schema.PHOTONS_PER_VOXEL: np.array(PHOTONS),
            schema.TILT_SHIFT_Y: geometry.shift_y,
            schema.TILT_SHIFT_X: geometry.shift_x,
            schema.TILT_ROTATION: geometry.rotation_deg,
            schema.TILT_EXPOSURE: geometry.exposure,
        },
        attrs={schema.TILT_AXIS: "y"},
        entry="made",
    )
    return cube, volume, geometry


def at_once(volume, geometry):
    projector = Projector(geometry, shape=(24, 24), columns=24, volume_rows=20)
    full = volume.volume.values * np.array(PHOTONS, np.float32)[:, None, None, None]
    seen = projector.forward(np.ascontiguousarray(full.transpose(1, 3, 0, 2)))
    return (seen * geometry.exposure[:, None, None, None]).transpose(2, 0, 3, 1)


@pytest.mark.parametrize("chunks", [None, {"phase": 1, "z": 24, "y": 4, "x": 12}])
@pytest.mark.parametrize("band", [3, 16])
def test_projections_are_those_of_the_whole_volume(made, monkeypatch, chunks, band):
    _, volume, geometry = made
    monkeypatch.setattr(module, "BAND_ROWS", band)
    found = projections(volume.chunk(chunks) if chunks else volume)
    assert isinstance(found.abundance.data, da.Array)
    expected = (found.abundance * found.total).transpose("phase", "tilt", "y", "x").values
    assert np.allclose(expected, at_once(volume, geometry), atol=1e-4)


def test_residuals_of_the_series_are_the_noise_of_its_counts(made):
    cube, volume, _ = made
    left = volume.edx.residual(cube, normalise=True).residual
    expected = volume.edx.reconstruct().expected
    enough = expected.values > 0.02
    assert np.nanmean(left.values[enough] ** 2) == pytest.approx(1.0, abs=0.05)
    photons = float(cube.counts.sum())
    assert float(expected.sum()) == pytest.approx(photons, abs=4 * photons**0.5)


def test_volumes_in_photons_and_along_x_give_the_same(made):
    _, volume, geometry = made
    photons = (volume.volume * volume.photons_per_voxel).transpose("phase", "z", "y", "x").astype("f4")
    counted = volume.assign(volume=photons).assign_attrs({schema.VOLUME_KIND: "photons"})
    assert np.allclose(projections(counted).total, at_once(volume, geometry).sum(0), atol=1e-3)
    turned = volume.rename(y="x", x="y", tilt_shift_y="tilt_shift_x", tilt_shift_x="tilt_shift_y")
    turned = turned.transpose("phase", "z", "y", "x", ...).assign_attrs({schema.TILT_AXIS: "x"})
    assert np.allclose(projections(turned).total, at_once(volume, geometry).sum(0).swapaxes(1, 2), atol=1e-3)


def test_a_part_of_the_rows_lies_where_the_series_has_it(made):
    cube, volume, geometry = made
    part = projections(volume.isel(y=slice(6, 14)), series=cube)
    assert part.sizes["y"] == 20
    inner = slice(9, 10)  # rows that only see rows of the part
    whole = at_once(volume, geometry).sum(0)[:, inner]
    middle = projections(volume, series=cube).total.values[:, inner]
    assert np.allclose(middle, whole, atol=1e-4)
    assert part.total.values[:, inner].sum() == pytest.approx(whole.sum(), rel=0.2)
    assert float(part.total[:, :2].sum()) == 0.0
    with pytest.raises(SchemaError, match="none of the series"):
        projections(volume, series=cube.isel(y=slice(0, 12)))


def test_what_is_missing_is_named(made):
    _, volume, _ = made
    with pytest.raises(SchemaError, match="tilt_rotation"):
        edxdask.projections(volume.drop_vars("tilt_rotation"))
    with pytest.raises(SchemaError, match="photons_per_voxel"):
        projections(volume.drop_vars("photons_per_voxel"))
