"""Measurements of the samples, whose truth is known, and how near to it a fit can be."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import espm_truth
import numpy as np
import xarray as xr
from samples import BY_NAME, CHANNEL_KEV, Sample
from scipy.sparse import csr_array

import edxdask
from edxdask import schema
from edxdask.physics.detector import line_response
from edxdask.physics.spectrum import phase_intensity

PIXEL_NM = 2.0
LOWEST_KEV = 0.03  # below it the tables of emission say nothing
RIGHT_DEGREES, OF_KNOWN_MAPS = 1.5, 2.0  # right: below this angle, or below so many times known maps'
ROUNDS_SHARP, ROUNDS = 500, 100  # to undo the detector's width in the truth; of the fit with known maps


@dataclass(frozen=True, eq=False)
class Made:
    """A measurement of a sample, and its truth.

    Attributes
    ----------
    cube : counts
    spectra : (phase, energy), each sums to 1
    limits : (phase,) degrees that a found spectrum may be off
    guided_limits : the same where it is made of what elements emit, by other tables than espm's
    by_espm : whether espm computed the spectra
    """

    cube: xr.Dataset
    spectra: np.ndarray
    limits: np.ndarray
    guided_limits: np.ndarray
    by_espm: bool


def make(sample: Sample, seed: int, espm_python: str | None) -> Made:
    """Draw the counts of a sample."""
    by_espm = sample.by_espm and espm_python is not None
    own = _own_spectra(sample)
    yields = own.sum(axis=1)
    spectra = _espm_spectra(sample.name, str(espm_python)) if by_espm else own / yields[:, None]
    amounts = sample.maps(sample.side, seed) * (1.0 if sample.even else yields[:, None, None])
    amounts *= sample.counts / amounts.sum(axis=0).mean()
    rng = np.random.default_rng(1000 + seed)
    counts = rng.poisson(np.einsum("kyx,ke->yxe", amounts, spectra))
    known = angles(_with_known_maps(counts, amounts, spectra, sample.energy), spectra).diagonal()
    if sample.spoil is not None:
        counts = sample.spoil(counts, sample.energy, rng)
    cube = _cube(sample, counts)
    limits = np.maximum(RIGHT_DEGREES, OF_KNOWN_MAPS * known)
    guided = limits
    if by_espm:
        photons = amounts.sum(axis=(1, 2))
        guided = np.maximum(limits, OF_KNOWN_MAPS * _of_pure_phases(sample, spectra, photons))
    return Made(cube, spectra, limits, guided, by_espm)


def angles(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Degrees between spectra, (found, true).

    Examples
    --------
    >>> angles(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 2.0]])).tolist()
    [[0.0, 90.0]]
    """
    lengths = np.linalg.norm(found, axis=1)[:, None] * np.linalg.norm(true, axis=1)[None]
    return np.degrees(np.arccos(np.clip(found @ true.T / np.maximum(lengths, 1e-300), -1, 1)))


def _cube(sample: Sample, counts: np.ndarray) -> xr.Dataset:
    return edxdask.from_array(
        counts.astype(np.uint16),
        energy_offset=sample.first_kev,
        energy_scale=CHANNEL_KEV,
        pixel_size=PIXEL_NM,
        attrs=sample.attrs,
    )


def _own_spectra(sample: Sample) -> np.ndarray:
    """Photons per electron, (phase, energy), of our own tables."""
    spectra = np.zeros((len(sample.phases), sample.channels))
    computed = sample.energy > LOWEST_KEV
    for row, (name, atoms) in enumerate(sample.phases.items()):
        spectra[row, computed] = phase_intensity(
            atoms,
            sample.energy[computed],
            beam_energy=sample.beam_kev,
            thickness_nm=sample.thickness_nm,
            density_g_cm3=sample.density[name],
        )
    return spectra


@functools.cache
def _espm_spectra(name: str, python: str) -> np.ndarray:
    sample = BY_NAME[name]
    blank = _cube(sample, np.zeros((1, 1, sample.channels)))
    own = _own_spectra(sample).sum(axis=0)
    return espm_truth.spectra(blank, sample.phases, [sample.density[n] for n in sample.phases], own, python)


def _with_known_maps(
    counts: np.ndarray, amounts: np.ndarray, true: np.ndarray, energy: np.ndarray
) -> np.ndarray:
    """Spectra that the likelihood gives where the maps are known, begun at the truth.

    They are what the detector can resolve, as psnmf's are: free channels would mostly fit noise, and what is
    twice as far off as they are would be called right.
    """
    resolved = line_response(energy, energy)
    resolved = csr_array(np.where(resolved > 1e-9, resolved / resolved.sum(axis=1, keepdims=True), 0.0))
    sharp = true.copy()
    for _ in range(ROUNDS_SHARP):
        sharp *= (true / np.maximum(sharp @ resolved, 1e-30)) @ resolved.T
    flat, maps_of = csr_array(counts.reshape(-1, counts.shape[-1])), amounts.reshape(len(amounts), -1)
    pixel, channel = flat.nonzero()
    in_pixel = maps_of[:, pixel]
    for _ in range(ROUNDS):
        expected = (in_pixel * (sharp @ resolved)[:, channel]).sum(axis=0)
        ratio = csr_array((flat.data / expected, (pixel, channel)), shape=flat.shape)
        sharp *= ((ratio.T @ maps_of.T).T @ resolved.T) / maps_of.sum(axis=1)[:, None]
    return sharp @ resolved


def _of_pure_phases(sample: Sample, spectra: np.ndarray, photons: np.ndarray) -> np.ndarray:
    """Angles of a guided fit to each phase alone: what other tables of emission cost, with known maps."""
    off = np.zeros(len(spectra))
    for row, atoms in enumerate(sample.phases.values()):
        mean = np.broadcast_to(spectra[row] * photons[row] / 16, (4, 4, spectra.shape[1]))
        pure = _cube(sample, np.random.default_rng(row).poisson(mean))
        elements = [name for name in atoms if name in sample.elements]
        found = edxdask.psnmf(pure, phases=1, elements=elements, bin=1, smooth=0.0, progress=False)
        off[row] = angles(found[schema.SPECTRUM].values, spectra[[row]])[0, 0]
    return off
