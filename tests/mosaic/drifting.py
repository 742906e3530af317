"""Maps that drift, with known paths: for tests of what finds the paths."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from edxdask.photons import from_dense
from edxdask.simulate import simulate

MARGIN = 16


def path_of(frames, *, reach=6.0, seed=0):
    """A smooth path (frames, 2) that starts at 0: how far the sample moves, px."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, frames)[:, None]
    turn = rng.uniform(0, 2 * np.pi, 2)
    path = reach * (t * np.array([0.9, -0.6]) + 0.25 * np.sin(5 * t + turn))
    return path - path[0]


def shifted(field, move, shape):
    """Cut a frame out of a larger ``field`` whose content has moved by ``move``, by cubic splines."""
    moved = ndimage.shift(field, [0] * (field.ndim - 2) + list(move), order=3, mode="nearest")
    return moved[..., MARGIN : MARGIN + shape[0], MARGIN : MARGIN + shape[1]]


def scene(shape, *, seed=0, grain=4.0):
    """An image (rows, columns) beyond the frame on all sides: bright grains, mean 1, contrast 0.3."""
    rng = np.random.default_rng(seed)
    size = [n + 2 * MARGIN for n in shape]
    smooth = ndimage.gaussian_filter(rng.normal(size=size), grain)
    return 1 + 0.3 * np.tanh(3 * smooth / smooth.std())


def mantle(shape, *, seed=0, channels=None):
    """Abundances beyond the frame on all sides and spectra of the mantle map; channels are joined."""
    size = tuple(n + 2 * MARGIN for n in shape)
    ds = simulate(shape=size, seed=seed, counts=100.0)
    spectra, energy = ds.truth_spectrum.values, ds.energy.values
    if channels is not None:
        joined = spectra.shape[1] // channels
        spectra = spectra[:, : channels * joined].reshape(len(spectra), channels, joined).sum(axis=2)
        energy = energy[: channels * joined].reshape(channels, joined).mean(axis=1)
    return ds.truth_abundance.values, spectra, energy


class MadeSeries:
    """Frames held in memory: a ``FrameSeries``."""

    def __init__(self, counts, images=None):
        self.counts, self._images = counts, images or {}
        self.frames, rows, columns, self.channels = counts.shape
        self.shape = (rows, columns)
        self.images = tuple(self._images)
        self.pieces = []  # rows asked for, so that tests can see how much is read at a time

    def image(self, name, frame):
        return self._images[name][frame]

    def rows(self, first, stop, top, bottom):
        self.pieces.append((stop - first, bottom - top))
        return from_dense(self.counts[first:stop, top:bottom].sum(axis=0, dtype=np.uint16))


def drifting_images(path, shape, *, noise=0.2, seed=0):
    """Frames of one image along a path, with noise of ``noise`` times the mean."""
    rng, field = np.random.default_rng(seed + 1), scene(shape, seed=seed)
    frames = np.stack([shifted(field, move, shape) for move in path])
    return (frames + rng.normal(scale=noise, size=frames.shape)).astype(np.float32)


def drifting_counts(path, shape, *, per_frame=1.0, seed=0, channels=None):
    """Photons (frame, y, x, energy) of the even mantle film along a path; returns counts and energies."""
    rng = np.random.default_rng(seed + 2)
    field, spectra, energy = mantle(shape, seed=seed, channels=channels)
    counts = np.empty((len(path), *shape, spectra.shape[1]), dtype=np.uint8)
    for frame, move in enumerate(path):
        abundance = np.clip(shifted(field, move, shape), 0, None)
        mean = np.tensordot(abundance / abundance.sum(axis=0), spectra, axes=(0, 0))
        counts[frame] = rng.poisson(per_frame * mean / mean.sum(axis=-1, keepdims=True))
    return counts, energy


def rms(found, truth):
    """Rms difference of two paths, apart from a constant."""
    off = found - truth
    return float(np.sqrt(((off - off.mean(axis=0)) ** 2).mean()))
