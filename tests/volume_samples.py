"""Volumes with known contents, for tests: spheres on a fine grid, and what tomography says beside them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.results.volumes import depth_coordinate, make_volume

LABELS = ("Brg", "Fp", "CaPv")
TILTS = np.arange(-70.0, 71.0, 20.0)
STEP = 2.0  # nm


def ball(shape, centre, radius, *, finer=3):
    """Fraction of each voxel that a ball fills, drawn ``finer`` times finer; lengths in voxels."""
    edges = [(np.arange(n * finer) + 0.5) / finer - 0.5 for n in shape]
    z, y, x = np.meshgrid(*edges, indexing="ij", sparse=True)
    inside = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2
    parts = inside.reshape(shape[0], finer, shape[1], finer, shape[2], finer)
    return parts.mean(axis=(1, 3, 5), dtype=np.float32)


def three_phases(shape=(24, 20, 28)):
    """A body, two precipitates in it, and a small core in one of them; fractions sum to at most 1."""
    nz, ny, nx = shape
    whole = ball(shape, (nz / 2 - 0.5, ny / 2 - 0.5, nx / 2 - 0.5), 0.45 * min(shape))
    large = ball(shape, (nz / 2 - 0.5, ny / 2 - 0.5, nx / 2 - 0.5 - 0.17 * min(shape)), 0.16 * min(shape))
    small = ball(shape, (nz / 2 - 0.5, ny / 2 + 0.5, nx / 2 - 0.5 + 0.25 * min(shape)), 0.11 * min(shape))
    core = ball(shape, (nz / 2 - 0.5, ny / 2 - 0.5, nx / 2 - 0.5 - 0.17 * min(shape)), 0.08 * min(shape))
    precipitates = np.maximum(large, small) - core
    return np.stack([np.clip(whole - large - small, 0, 1), np.clip(precipitates, 0, 1), core])


def sample_volume(values=None, *, labels=LABELS, noise=0.0, step=STEP, chunks=None, kind="fraction"):
    """Label a volume as ``tomography`` does: two tilts of its series do not fit."""
    values = three_phases() if values is None else values
    if noise:
        values = values + np.random.default_rng(1).normal(0, noise, values.shape)
    values = np.clip(values, 0, 1).astype(np.float32) if kind == "fraction" else values.astype(np.float32)
    count, (_, nz, ny, nx) = len(labels), values.shape
    rng, tilts, channels = np.random.default_rng(5), len(TILTS), 40
    axes = {
        dim: xr.Variable(dim, np.arange(n) * (step or 1.0), {"units": "nm" if step else schema.PIXEL_UNIT})
        for dim, n in ((schema.Y, ny), (schema.X, nx))
    }
    fits = np.ones(tilts, bool)
    fits[[1, 5]] = False
    reason = np.where(fits, "", "its chi-squared is 4.2 times that of the others")
    spectra = rng.dirichlet(np.full(channels, 0.3), size=count)
    made = make_volume(
        values,
        phases=list(labels),
        coords={
            schema.Z: depth_coordinate(nz, step),
            **axes,
            schema.TILT: TILTS,
            schema.ENERGY: schema.energy_coordinate(0.1, 0.1, channels),
            schema.ELEMENT: ["Mg", "Si", "O"],
            schema.ITERATION: np.arange(6),
        },
        variables={
            schema.SPECTRUM: spectra,
            schema.PHOTONS_PER_VOXEL: np.linspace(3.0, 2.0, count),
            schema.COMPOSITION: np.tile([[0.2, 0.2, 0.6]], (count, 1)),
            schema.TILT_SHIFT_Y: rng.normal(0, 1, tilts),
            schema.TILT_SHIFT_X: rng.normal(0, 1, tilts),
            schema.TILT_ROTATION: np.full(tilts, 0.8),
            schema.TILT_EXPOSURE: 1 + 0.2 * np.cos(np.radians(TILTS)),
            schema.TILT_PHOTONS: 1e5 * (1 + 0.2 * np.cos(np.radians(TILTS))),
            schema.TILT_CHI2: np.where(fits, rng.normal(1.0, 0.03, tilts), 4.2),
            schema.TILT_FITS: fits,
            schema.TILT_REASON: reason,
            schema.OBJECTIVE: np.geomspace(5e4, 4e4, 6),
        },
        kind=kind,
        attrs={
            schema.TITLE: "three spheres",
            schema.BEAM_ENERGY: 200.0,
            schema.TILT_AXIS: schema.Y,
            schema.TILT_AXIS_DEG: 0.8,
            schema.VOLUME_PRIOR: "tv",
            schema.VOLUME_STRENGTH: 0.4,
            schema.VOLUME_CONVERGED: 1,
            schema.SEED: 0,
        },
        entry="tomography(phases=3)",
    )
    return made.chunk({schema.PHASE: 1, **chunks}) if chunks else made
