"""Which elements a spectrum holds, including those that nobody listed.

Families of lines of every element are offered to a Poisson fit, the most significant first; what is not
significant any more is taken out again. An element stays if its lines are above both noise and
what a wrong peak shape or continuum would leave behind, and if no line that must be there is absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from edxdask.errors import ParameterError
from edxdask.physics import energy_axis
from edxdask.physics.candidates import Candidate, candidates_of
from edxdask.physics.columns import Seen
from edxdask.physics.detector import efficiency
from edxdask.physics.emission import check_beam_energy
from edxdask.physics.energy_axis import BEND, LINEAR, NOMINAL, USUAL, EnergyAxis
from edxdask.physics.floor import Floor, spectrum_floor
from edxdask.physics.library import continuum_columns, elements_on, library, shows, spline_columns
from edxdask.physics.lines import atomic_number
from edxdask.physics.selection import Explanation, misfit_variance, select

THRESHOLD = 5.0  # sigma
CALIBRATION_ROUNDS = 8
SETTLED = 0.03  # of a correction's prior: 0.6 eV, 6e-5, 0.5 eV
# Fraction of the beam's energy above which no line is: what the continuum's end leaves there is no peak.
END_OF_BEAM = 0.95
COARSE = 20.0  # sigma an element needs to take part in the calibration


@dataclass(frozen=True, eq=False)
class Found:
    """What was found in a spectrum, and the fit behind it.

    Attributes
    ----------
    candidates : most significant first
    axis : corrections of the energy axis and the width that fit best
    floor : first channel that was fitted
    energy : (E,) the channels fitted, keV, corrected
    counts, expected, continuum : (E,) what was measured, what the fit expects in all and of continuum
    """

    candidates: tuple[Candidate, ...]
    axis: EnergyAxis
    floor: Floor
    energy: np.ndarray
    counts: np.ndarray
    expected: np.ndarray
    continuum: np.ndarray

    @property
    def elements(self) -> tuple[str, ...]:
        """Symbols of the elements found, most significant first; without listed ones that are not seen."""
        return tuple(c.element for c in self.candidates if c.element is not None and c.significant)


@threadpool_limits.wrap(limits=1)
def find_in_spectrum(
    counts: np.ndarray,
    energy: np.ndarray,
    *,
    beam_energy: float,
    axis: EnergyAxis = NOMINAL,
    known: Sequence[str] = (),
    among: Sequence[str] | None = None,
    threshold: float = THRESHOLD,
    refine_axis: bool = True,
    seen: Seen = efficiency,
) -> Found:
    """Find the elements of a sum spectrum.

    Parameters
    ----------
    counts : (E,) of all pixels
    energy : (E,) channel centres, keV
    beam_energy : keV
    axis : energy axis and width to begin with
    known : elements that are surely there: fitted and judged, never removed
    among : elements to search for; None: all that a sample may hold
    threshold : sigma that an element needs
    refine_axis : refine energy axis and width
    seen : fraction of photons of an energy (keV) that are counted

    Raises
    ------
    ParameterError
        If an element is unknown or has no line on the axis, the spectrum is empty, or the beam energy is not
        in keV.

    Examples
    --------
    >>> from edxdask.physics.spectrum import phase_spectrum
    >>> axis = 0.3 + 0.01 * np.arange(970)
    >>> film = 1e5 * phase_spectrum({"Mg": 1, "Fe": 1, "O": 2}, axis)
    >>> sorted(find_in_spectrum(film.round(), axis, beam_energy=200.0).elements)
    ['Fe', 'Mg', 'O']
    """
    _check_beam(beam_energy)
    counts, energy, floor = _checked(counts, energy, threshold)
    known = tuple(dict.fromkeys([known] if isinstance(known, str) else known))
    for element in (*known, *(among or ())):
        atomic_number(element)
    pool = elements_on(energy, beam_energy=beam_energy) if among is None else tuple(among)
    pool = tuple(dict.fromkeys((*known, *pool)))

    def begun(axis: EnergyAxis) -> Explanation:
        at = axis.energy(energy)
        there = [e for e in pool if e in known or shows(e, at, beam_energy=beam_energy)]
        lines = library(at, there, beam_energy=beam_energy, axis=axis, seen=seen)
        return Explanation(counts, at, lines, continuum_columns(at, beam_energy=beam_energy, seen=seen), axis)

    start = axis
    for _ in range(CALIBRATION_ROUNDS if refine_axis else 0):
        coarse = select(begun(axis), known, threshold=max(COARSE, threshold))
        before, axis = axis, _aligned(coarse, energy, start)
        if (np.abs(axis.vector - before.vector) < SETTLED * USUAL).all():
            break
    model = select(begun(axis), known, threshold=threshold)
    found = candidates_of(model, known, threshold=threshold)
    found = tuple(c for c in found if c.kind != "unknown" or c.energy_kev < END_OF_BEAM * beam_energy)
    return Found(found, axis, floor, model.energy, counts, model.expected, model.background)


def _aligned(model: Explanation, nominal: np.ndarray, known: EnergyAxis) -> EnergyAxis:
    """Axis and width by one step on the lines found so far; the next lines are chosen on it."""
    if not model.terms:
        return model.axis
    return energy_axis.fit_axis(
        model.counts,
        lambda axis: model.matrix_at(axis.energy(nominal), axis),
        model.axis,
        free=(*LINEAR, *BEND),
        known=known,
        doubt=misfit_variance(model),
        rounds=1,
    )


def unlisted(
    counts: np.ndarray,
    expected: np.ndarray,
    energy: np.ndarray,
    *,
    beam_energy: float,
    axis: EnergyAxis = NOMINAL,
    known: Sequence[str] = (),
    continuum: np.ndarray | None = None,
    threshold: float = THRESHOLD,
    seen: Seen = efficiency,
) -> tuple[Candidate, ...]:
    """Find what a fit left unexplained: elements that are in ``counts`` and not in ``expected``.

    The fit is kept, except for a wide correction, so that its peaks may be wrong by some per cent
    without being taken for elements.

    Parameters
    ----------
    counts, expected : (E,) measured, and expected by the fit
    energy : (E,) channel centres, keV
    beam_energy : keV
    axis : energy axis and width of the fit
    known : elements of the fit, of which no more is to be found
    continuum : (E,) the part of ``expected`` that is continuum; None: all counts as peaks, and small peaks on
        the continuum need more to be found
    threshold : sigma that make an element
    seen : fraction of photons of an energy (keV) that are counted

    Examples
    --------
    >>> from edxdask.physics.spectrum import phase_spectrum
    >>> axis = 0.3 + 0.01 * np.arange(970)
    >>> fitted = 1e5 * phase_spectrum({"Mg": 1, "O": 1}, axis)
    >>> more = fitted + 1e4 * phase_spectrum({"Cu": 1}, axis)
    >>> [c.element for c in unlisted(more.round(), fitted, axis, beam_energy=200.0, known=["Mg", "O"])]
    ['Cu']
    """
    _check_beam(beam_energy)
    if np.shape(expected) != np.shape(counts):
        raise ParameterError(
            "expected", np.shape(expected), f"as many channels as counts, {np.shape(counts)}"
        )
    counts, nominal, floor = _checked(counts, energy, threshold)
    energy, inside = axis.energy(nominal), slice(floor.first, None)
    shape = np.maximum(np.asarray(expected, dtype=np.float64)[inside], 1e-6)
    pool = tuple(e for e in elements_on(energy, beam_energy=beam_energy) if e not in set(known))
    lines = library(energy, pool, beam_energy=beam_energy, axis=axis, seen=seen)
    smooth = np.zeros_like(shape) if continuum is None else np.asarray(continuum, dtype=np.float64)[inside]
    start = Explanation(
        counts, energy, lines, spline_columns(energy, shape), axis, peaks=np.maximum(shape - smooth, 0)
    )
    model = select(replace(start, artefacts=False), (), threshold=threshold)
    return tuple(c for c in candidates_of(model, (), threshold=threshold) if c.significant)


def _check_beam(beam_energy: float | None) -> None:
    if beam_energy is None:
        raise ParameterError("beam_energy", None, "the energy of the beam in keV, such as 200.0")
    check_beam_energy(beam_energy)


def _checked(
    counts: np.ndarray, energy: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray, Floor]:
    """Check a spectrum; give counts and energies of the usable channels, and where these begin."""
    counts, energy = np.asarray(counts, dtype=np.float64), np.asarray(energy, dtype=np.float64)
    if counts.ndim != 1 or counts.shape != energy.shape:
        raise ParameterError("counts", counts.shape, f"one spectrum, as long as energy, {energy.shape}")
    if not np.isfinite(counts).all() or (counts < 0).any():
        raise ParameterError("counts", float(counts.min()), "finite counts, 0 or more")
    if not threshold > 0:
        raise ParameterError("threshold", threshold, "sigma, more than 0")
    floor = spectrum_floor(energy, counts)
    if not counts[floor.first :].sum() > 0:
        raise ParameterError(
            "counts", 0, f"a spectrum with photons above {floor.energy_kev:.3g} keV; this one is empty"
        )
    return counts[floor.first :], energy[floor.first :], floor
