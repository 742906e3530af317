"""A landscape with known truth, finer than any pixel, and maps cut from it at parts of pixels."""

from __future__ import annotations

import numpy as np
import xarray as xr

import edxdask

FINE = 4  # cells of the landscape along each side of a pixel
CHANNELS = 320


class Landscape:
    """Abundances (phase, y, x) on cells, and the spectra of the phases."""

    def __init__(self, *, rows, columns, grain=9, seed=0):
        drawn = edxdask.simulate(
            shape=(FINE * rows, FINE * columns),
            grain=FINE * grain,
            channels=CHANNELS,
            energy_scale=0.03,
            seed=seed,
        )
        self.abundance = drawn.truth_abundance.values
        self.spectrum = drawn.truth_spectrum.values
        self.energy = drawn.energy
        self.haadf = np.tensordot([0.4, 1.0, 2.2], self.abundance, axes=1)

    def _pixels(self, cells, corner, side):
        y, x = corner
        cut = cells[..., y : y + FINE * side, x : x + FINE * side]
        return cut.reshape(*cut.shape[:-2], side, FINE, side, FINE).mean(axis=(-3, -1))

    def tile(self, corner, side, *, counts, noise, rng, photons=True):
        """Map whose first pixel begins at the cell ``corner``."""
        abundance = self._pixels(self.abundance, corner, side)
        haadf = self._pixels(self.haadf, corner, side)
        haadf = haadf + noise * haadf.std() * rng.normal(size=haadf.shape)
        expected = (
            counts * np.einsum("pyx,pe->yxe", abundance, self.spectrum)
            if photons
            else np.zeros((side, side, 2))
        )
        drawn = rng.poisson(expected).astype(np.uint16)
        ds = edxdask.from_array(
            drawn,
            energy_offset=float(self.energy[0]) if photons else 0.0,
            energy_scale=0.03,
            pixel_size=2.0,
            attrs={"beam_energy_kev": 200.0, "live_time_s": 10.0},
        )
        ds["haadf"] = xr.Variable(("y", "x"), haadf.astype(np.float32))
        ds["truth_abundance"] = xr.Variable(("phase", "y", "x"), abundance.astype(np.float32))
        return ds

    def tiles(self, rows, columns, *, side, overlap, off=3.0, counts=40.0, noise=0.05, seed=0, photons=True):
        """Collection of rows × columns maps, each off by up to ``off`` px, and where each really is (px)."""
        rng = np.random.default_rng(seed)
        maps, truth = {}, []
        step = side - overlap
        for number, (row, column) in enumerate(np.ndindex(rows, columns)):
            wrong = rng.integers(-round(FINE * off), round(FINE * off) + 1, 2)
            corner = FINE * (np.array([row, column]) * step + np.ceil(off).astype(int)) + wrong
            maps[f"t{number}"] = self.tile(corner, side, counts=counts, noise=noise, rng=rng, photons=photons)
            truth.append(corner / FINE)
        return xr.DataTree.from_dict(maps), np.array(truth)


def rms_against(made, truth):
    """Root mean square over maps and axes of the errors of positions, their mean taken away, px."""
    error = made.tile_position.values - truth
    return float(np.sqrt(np.mean((error - error.mean(axis=0)) ** 2)))
