"""A small tilt series with known truth, projected by the package's own projector."""

from __future__ import annotations

import numpy as np
import xarray as xr

from edxdask.io import from_array
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.projector import Projector

CHANNELS = 60


def peaks(*places: float) -> np.ndarray:
    """One spectrum per place, each a broad continuum and a line there; rows sum to 1."""
    energy = np.arange(CHANNELS)
    lines = np.exp(-0.5 * ((energy[None] - np.array(places)[:, None]) / 2.0) ** 2)
    spectra = lines + 0.02
    return spectra / spectra.sum(1, keepdims=True)


def truth(depth: int, rows: int, width: int) -> np.ndarray:
    """Two phases (phase, z, y, x): a rod with a core that moves as rows go on."""
    z, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in (depth, rows, width)), indexing="ij")
    radius = min(depth, width)
    body = np.clip(0.38 * radius - np.hypot(z, x), -0.5, 0.5) + 0.5
    core = np.clip(0.13 * radius - np.hypot(z - 2 * np.sin(y / 3), x - 2 * np.cos(y / 4)), -0.5, 0.5) + 0.5
    return np.stack([body * (1 - core), body * core]).astype(np.float32)


def made_series(*, rows=20, width=24, tilts=None, photons=(0.8, 1.1), seed=0, chunks=(1, 8, 12, -1), **moves):
    """Cube of counts, the volume it was made from, and its spectra."""
    tilts = np.arange(-70, 71, 20.0) if tilts is None else np.asarray(tilts, float)
    volume, spectra = truth(width, rows, width), peaks(15, 40)
    geometry = TiltGeometry.of(tilts, **moves)
    projector = Projector(geometry, shape=(width, width), columns=width, volume_rows=rows)
    seen = projector.forward(np.ascontiguousarray(volume.transpose(1, 3, 0, 2)))
    rates = np.array(photons)[:, None] * spectra
    expected = np.einsum("tukr,ke->true", seen, rates) * geometry.exposure[:, None, None, None]
    counts = np.random.default_rng(seed).poisson(expected).astype(np.uint16)
    cube = from_array(counts, energy_offset=0.0, energy_scale=0.05, pixel_size=2.0)
    cube = cube.assign_coords(tilt=("tilt", tilts, {"units": "deg"}))
    return (cube.chunk(dict(zip(cube.counts.dims, chunks, strict=True))) if chunks else cube), volume, spectra


def result_of(spectra: np.ndarray, cube: xr.Dataset) -> xr.Dataset:
    """Spectra as a result has them."""
    labels = [f"phase_{i}" for i in range(len(spectra))]
    return xr.Dataset({"spectrum": (("phase", "energy"), spectra)}, {"phase": labels, "energy": cube.energy})
