"""Photons of a voxel full of each phase: ratios from composition and density, the common scale from the data.

The likelihood sees only products of volumes and yields, and that phases fill the space says nothing of
ratios: a brighter phase of less volume fits as well. So ratios come from physics. Photons of lines per
atom follow from the composition, and how many of a spectrum's photons are in lines from the spectrum
itself; density and mean atomic mass give atoms per volume. What is common to all phases (dose, solid
angle, size of a voxel) is found from the interior of the object, where fractions add up to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import binary_erosion
from scipy.optimize import nnls

from edxdask.errors import ParameterError
from edxdask.physics.absorption import mean_atomic_mass
from edxdask.physics.basis import CONTINUUM_SHAPES, basis
from edxdask.physics.conditions import Conditions
from edxdask.tomo.estimate import VolumeSettings, reconstruct_slab
from edxdask.tomo.projector import Projector

SCALE_ROUNDS, SAME_SCALE, SCALE_PASSES = 3, 0.1, 20
HALF_OF_MATTER, INSIDE = 0.5, 0.5  # voxels with more than half of what full ones hold are inside
THRESHOLD_ROUNDS, MOST_DEPTH, ENOUGH_VOXELS = 5, 3, 200
SMOOTHER = 4.0  # than volumes are found: only the interior matters
LEAST_FRACTION = 1e-4  # atoms: an element with less has no say


@dataclass(frozen=True)
class Yields:
    """Photons of full voxels, relative to one another.

    Parameters
    ----------
    ratio : ndarray
        (phase,) relative to their mean.
    warnings : tuple of str
        What was assumed.
    """

    ratio: np.ndarray
    warnings: tuple[str, ...] = ()


def photons_per_atom(
    spectrum: np.ndarray,
    energy: np.ndarray,
    composition: Mapping[str, float],
    conditions: Conditions,
    *,
    through: np.ndarray | None = None,
) -> float:
    """Compute photons of a phase per atom of it, in barn: lines of its atoms, and its continuum.

    Parameters
    ----------
    spectrum : ndarray
        (channel,) that sums to 1.
    energy : ndarray
        (channel,) keV.
    composition : mapping
        Atomic fraction of each element.
    conditions : Conditions
        Beam and detector.
    through : ndarray, optional
        (channel,) fraction of photons that leave the object; None: all.
    """
    counted = conditions.seen()

    def seen(at: np.ndarray) -> np.ndarray:
        return counted(at) if through is None else counted(at) * np.interp(at, energy, through)

    whole = sum(composition.values())
    atoms = {e: c / whole for e, c in composition.items() if c > LEAST_FRACTION * whole}
    columns = basis(
        energy,
        list(atoms),
        beam_energy=conditions.beam_energy,
        fwhm_mn_ka_ev=conditions.fwhm_mn_ka_ev,
        seen=seen,
    )
    lines = np.array(list(atoms.values())) @ columns.matrix[: len(atoms)]
    shapes = np.vstack([lines / lines.sum(), columns.matrix[-CONTINUUM_SHAPES:]])
    # as the errors of counts are: the square root of the spectrum, where it is not nearly empty
    error = np.sqrt(np.maximum(spectrum, spectrum.max() * 1e-3))
    amounts, _ = nnls((shapes / error).T, spectrum / error)
    if amounts[0] <= 0:
        raise ParameterError(
            "composition", dict(composition), "elements whose lines the phase's spectrum shows"
        )
    return float(lines.sum() / amounts[0])


def relative_yields(
    spectra: np.ndarray,
    energy: np.ndarray,
    compositions: Sequence[Mapping[str, float]],
    labels: Sequence[str],
    conditions: Conditions,
    *,
    densities: Mapping[str, float] | None = None,
) -> Yields:
    """Find the photons of full voxels, relative to one another, from compositions and densities.

    Parameters
    ----------
    spectra : ndarray
        (phase, channel); rows sum to 1.
    energy : ndarray
        (channel,) keV.
    compositions : sequence of mappings
        Atomic fractions of each phase.
    labels : sequence of str
        Of the phases.
    conditions : Conditions
        Beam and detector.
    densities : mapping, optional
        g/cm³ by label. Without them a volume of any phase is taken to hold equally many atoms.

    Examples
    --------
    >>> energy = 0.3 + 0.01 * np.arange(970)
    >>> made = basis(energy, ["Mg", "O"], beam_energy=200.0)
    >>> spectra = np.array([[0.4, 0.5], [0.1, 0.9]]) @ made.matrix[:2]
    >>> spectra /= spectra.sum(axis=1, keepdims=True)
    >>> atoms = [{"Mg": 0.4, "O": 0.5}, {"Mg": 0.1, "O": 0.9}]
    >>> found = relative_yields(spectra, energy, atoms, ["a", "b"], Conditions(200.0))
    >>> found.ratio.round(3), len(found.warnings)
    (array([1.115, 0.885]), 1)
    """
    per_atom = np.array(
        [
            photons_per_atom(spectrum, energy, composition, conditions)
            for spectrum, composition in zip(spectra, compositions, strict=True)
        ]
    )
    atoms, warnings = np.ones(len(labels)), []
    if densities is None:
        warnings.append(
            "no densities were given: a volume of any phase is taken to hold equally many atoms. Fractions "
            f"of phases are wrong by as much as that is; give densities={{{labels[0]!r}: 4.1, ...}} in g/cm³"
        )
    else:
        checked = checked_densities(densities, labels)
        masses = np.array([mean_atomic_mass(composition) for composition in compositions])
        atoms = checked / masses
    photons = per_atom * atoms
    return Yields(photons / photons.mean(), tuple(warnings))


def checked_densities(densities: Mapping[str, float], labels: Sequence[str]) -> np.ndarray:
    """Densities in the order of the labels.

    Raises
    ------
    ParameterError
        If one is missing, of a phase that is not there, or not above 0.
    """
    strange = [str(label) for label in densities if label not in labels]
    missing = [str(label) for label in labels if label not in densities]
    if strange or missing:
        raise ParameterError(
            "densities",
            dict(densities),
            f"a density for each of the phases {', '.join(labels)}",
            f"Add {', '.join(missing)}." if missing else f"Leave out {', '.join(strange)}.",
        )
    values = np.array([float(densities[label]) for label in labels])
    if not (np.isfinite(values) & (values > 0)).all():
        raise ParameterError("densities", dict(densities), "numbers above 0, in g/cm³")
    return values


def first_scale(counts: np.ndarray, exposure: np.ndarray) -> float:
    """Guess the photons of a full voxel: those of thick pixels, over the width of the object in pixels.

    Parameters
    ----------
    counts : ndarray
        (tilt, detector row, column, class).
    exposure : ndarray
        (tilt,).
    """
    totals = counts.sum(axis=3, dtype=np.float64) / np.maximum(exposure, 1e-9)[:, None, None]
    lines = totals.mean(axis=1)  # (tilt, column): what a row of the object sends
    height = np.quantile(lines, 0.9, axis=1)
    width = (lines > INSIDE * height[:, None]).sum(axis=1)
    guesses = (height / np.maximum(width, 1))[height > 0]
    return float(np.median(guesses)) if guesses.size else 0.0


def common_scale(
    counts: np.ndarray, projector: Projector, responses: np.ndarray, settings: VolumeSettings
) -> tuple[float, np.ndarray]:
    """Find by which factor responses must be multiplied for fractions to add up to 1 inside the object.

    A few rows of the object are enough. They are reconstructed without the cap, and the sum of fractions of
    voxels deep inside is the factor.

    Parameters
    ----------
    counts : ndarray
        (tilt, detector row, column, class) of a slab.
    projector : Projector
        Of the slab.
    responses : ndarray
        (phase, class) relative: ratios of yields, times classes of spectra that sum to 1.
    settings : VolumeSettings
        Of the estimator; its cap is not used.

    Returns
    -------
    scale : float
        0 where there are no photons.
    volume : ndarray
        (phase, z, y, x) fractions under that scale.
    """
    free = replace(settings, cap=False, strength=SMOOTHER * settings.strength, max_iter=SCALE_PASSES)
    scale = first_scale(counts, projector.geometry.exposure)
    volume = None
    for _ in range(SCALE_ROUNDS if scale > 0 else 0):
        volume = reconstruct_slab(counts, projector, scale * responses, free, start=volume).volume
        found = plateau(volume.sum(axis=0))
        scale *= found
        volume = volume / np.float32(found)
        if abs(found - 1.0) < SAME_SCALE:
            break
    if volume is None:
        rows = projector.rows[1] - projector.rows[0]
        nz, nx = projector.shape
        volume = np.zeros((len(responses), nz, rows, nx), np.float32)
    return scale, volume


def plateau(values: np.ndarray) -> float:
    """Find what voxels deep inside an object hold: their median.

    Inside is where there is more than half of that; deep is as far from the surface as leaves enough voxels,
    three at most.

    Examples
    --------
    >>> values = np.zeros((20, 20, 20))
    >>> values[4:16, 4:16, 4:16] = np.random.default_rng(0).normal(3.0, 0.2, (12, 12, 12))
    >>> round(plateau(values), 1)
    3.0
    """
    # what half of all matter is in voxels of at least: an object may be small in its box
    falling = np.sort(values, axis=None)[::-1].astype(np.float64)
    matter = np.cumsum(falling)
    full = float(falling[np.searchsorted(matter, HALF_OF_MATTER * matter[-1])]) if matter[-1] > 0 else 0.0
    for _ in range(THRESHOLD_ROUNDS):
        inside = values > INSIDE * full
        if not inside.any():
            return full or 1.0
        full = float(np.median(values[inside]))
    for depth in range(MOST_DEPTH, 0, -1):
        deep = binary_erosion(inside, iterations=depth, border_value=1)
        if deep.sum() >= ENOUGH_VOXELS:
            return float(np.median(values[deep]))
    return full
