"""A basis that fits a sum spectrum: energy axis, width, strength of line families, and a smooth rest.

A basis that is slightly wrong is worse than none: an offset of 8 eV turns spectra by 10 degrees. Real
detectors never match the book, so four things are found from the summed counts, most certain first: where
the peaks stand and how wide they are; how strong an element's L and M lines are against its K lines, which
tables know to 10 to 30 %; and a smooth factor shared by all columns for what efficiency, windows, absorption,
the continuum's shape and the peaks' leave over. As stiff as the data allow, it is 1 where the basis is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import BSpline
from threadpoolctl import threadpool_limits

from edxdask.errors import EdxdaskError
from edxdask.physics.basis import Basis, Column, basis
from edxdask.physics.conditions import Conditions
from edxdask.physics.detector import fwhm_kev
from edxdask.physics.poisson import LEAST_MODEL, LinearFit, deviance, fit_weights

AXIS_ROUNDS, CORRECTION_ROUNDS = 6, 3
# What is known before looking at the data (1 σ): offset in keV, gain, width at Mn Kα in eV. Few counts leave
# the axis where it is instead of throwing it about.
PRIOR = np.array([0.02, 0.005, 8.0])
STEP = np.array([1e-3, 1e-4, 1.0])  # for derivatives
ABSURD_SHIFT_KEV, ABSURD_GAIN, WIDTH_EV = 0.1, 0.02, (119.0, 250.0)  # silicon resolves no less than 117
FAMILY_PRIOR = 0.3  # relative; strength of L and M against K, in the tables
# Distance of the factor's knots: first too far apart to follow a peak, so that lines which nobody listed stay
# in the residual; then near enough for shapes of peaks and absorption edges under them.
WIDE_FWHM, NARROW_FWHM = 3.0, 0.5
STIFFNESS = 10.0 ** np.arange(-1, 9)  # of the factor; the data choose (Akaike)
LEAST_MISS, MOST_SIGMA = 0.1, 2.5  # of a family that still rides with its element
LEAST_REFERENCE = 0.1  # relative error up to which a harder family is the reference of its element


@dataclass(frozen=True, eq=False)
class Calibration:
    """What was found; ``basis`` makes the matrix that goes with it.

    Attributes
    ----------
    energy : (E,) keV, the axis as it is: offset and gain applied
    shift_kev, gain : energy = shift + gain · (the axis as it was)
    conditions : with the width found
    elements : columns that count as composition, then those that do not (``extra``)
    extra : elements found in the residual, not listed
    columns : (M,) families
    reference : family by element on which its atoms are counted
    strength : (M,) factor of each family's column, 1 for the references
    loose : (M,) bool, families whose strength the tables do not predict
    correction : (E,) smooth factor shared by all columns, 1 on average over the lines. It shapes spectra; how
        many atoms a line stands for is left to the tables
    fit : of the sum spectrum
    mean_composition : atomic fractions of the elements listed
    chi2_red : of the summed fit: without a factor, with one too wide to follow a peak, with the whole
    """

    energy: np.ndarray
    shift_kev: float
    gain: float
    conditions: Conditions
    elements: tuple[str, ...]
    extra: tuple[str, ...]
    columns: tuple[Column, ...]
    reference: dict[str, str]
    strength: np.ndarray
    loose: np.ndarray
    correction: np.ndarray
    fit: LinearFit
    mean_composition: dict[str, float]
    chi2_red: tuple[float, float, float]

    def families(self, composition: dict[str, float] | None = None) -> Basis:
        """Columns of families as the tables have them, on the axis found."""
        return _families(self.energy, self.elements, self.conditions, composition)


def _families(
    energy: np.ndarray, elements: Sequence[str], conditions: Conditions, composition: dict[str, float] | None
) -> Basis:
    return basis(
        energy,
        elements,
        beam_energy=conditions.beam_energy,
        fwhm_mn_ka_ev=conditions.fwhm_mn_ka_ev,
        families=True,
        seen=conditions.seen(composition),
    )


@threadpool_limits.wrap(limits=1)
def calibrate(
    counts: np.ndarray,
    energy: np.ndarray,
    elements: Sequence[str],
    conditions: Conditions,
    *,
    extra: Sequence[str] = (),
    refine_axis: bool = True,
) -> Calibration:
    """Fit a sum spectrum with everything a basis leaves open.

    Parameters
    ----------
    counts, energy : (E,) sum spectrum and channel centres in keV
    elements : listed by the user
    extra : elements whose lines are there but are not part of the sample
    refine_axis : find offset, gain and width

    Raises
    ------
    EdxdaskError
        If the axis or width that fits best is absurd.
    """
    counts = np.asarray(counts, dtype=np.float64)
    names = (*elements, *(e for e in extra if e not in elements))
    start = np.array([0.0, 1.0, conditions.fwhm_mn_ka_ev])
    found = start
    composition: dict[str, float] | None = None
    for _ in range(2 if conditions.absorbs else 1):
        if refine_axis:
            found = _refine_axis(counts, energy, names, conditions, composition, found)
        axis = found[0] + found[1] * energy
        measured = conditions.with_width(float(found[2]))
        made = _families(axis, names, measured, composition)
        fit = fit_weights(counts, made.matrix)
        composition = _atoms(made, fit, _strengths(made, fit)[0], elements)
    made = _families(axis, names, measured, composition)
    correction, fit, chi2 = _correct(counts, made)
    reference, strength, loose = _strengths(made, fit)
    return Calibration(
        energy=axis,
        shift_kev=float(found[0]),
        gain=float(found[1]),
        conditions=measured,
        elements=tuple(names),
        extra=tuple(e for e in names if e not in elements),
        columns=made.columns,
        reference=reference,
        strength=strength,
        loose=loose,
        correction=correction,
        fit=fit,
        mean_composition=_atoms(made, fit, reference, elements),
        chi2_red=chi2,
    )


def _refine_axis(
    counts: np.ndarray,
    energy: np.ndarray,
    elements: Sequence[str],
    conditions: Conditions,
    composition: dict[str, float] | None,
    start: np.ndarray,
) -> np.ndarray:
    """Fisher scoring on offset, gain and width together with all weights, held by what is known before."""

    def matrix(p: np.ndarray) -> np.ndarray:
        return _families(
            p[0] + p[1] * energy, elements, conditions.with_width(float(p[2])), composition
        ).matrix

    known = np.array([0.0, 1.0, conditions.fwhm_mn_ka_ev])
    found = start
    for _ in range(AXIS_ROUNDS):
        shapes = matrix(found)
        fit = fit_weights(counts, shapes)
        slopes = np.array(
            [fit.weights @ (matrix(found + s) - matrix(found - s)) for s in np.diag(STEP)]
        ) / (2 * STEP[:, None])  # fmt: skip
        rows = np.concatenate([shapes[fit.weights > 0], slopes])
        expected = np.maximum(fit.expected, 0.5)
        scale = np.sqrt(np.maximum((rows**2 / expected).sum(axis=1), 1e-300))
        rows = rows / scale[:, None]
        information = (rows / expected) @ rows.T
        gradient = rows @ ((counts - fit.expected) / expected)
        last = np.arange(len(rows) - 3, len(rows))
        # misfit beyond counting errors makes the axis less certain than the counts say
        spread = max(deviance(counts, fit.expected) / counts.size, 1.0)
        information[last, last] += spread / (PRIOR * scale[-3:]) ** 2
        gradient[-3:] += spread * (known - found) / (PRIOR**2 * scale[-3:])
        step = np.linalg.lstsq(information, gradient, rcond=1e-12)[0][-3:] / scale[-3:]
        found = found + np.clip(step, -3 * PRIOR, 3 * PRIOR)
        _check_axis(found)
        if (np.abs(step) < 1e-3 * PRIOR).all():
            break
    return found


def _check_axis(found: np.ndarray) -> None:
    shift, gain, width = found
    if abs(shift) > ABSURD_SHIFT_KEV or abs(gain - 1) > ABSURD_GAIN or not WIDTH_EV[0] < width < WIDTH_EV[1]:
        raise EdxdaskError(
            f"calibration: the elements listed fit best with the energy axis moved by {1e3 * shift:+.1f} eV, "
            f"stretched by {100 * (gain - 1):+.2f} % and peaks {width:.0f} eV wide at Mn Ka: absurd. "
            "Are elements and energy axis (keV) right? With refine_axis=False the axis is taken as given."
        )


def _strengths(made: Basis, fit: LinearFit) -> tuple[dict[str, str], np.ndarray, np.ndarray]:
    """Find each element's reference family, the strength of its others, and which of these are loose.

    The strength that the data say, and 1 from the tables, are weighed by their errors. Where they differ by
    more than both allow, the tables predict nothing.
    """
    # a weight at its bound of 0 has no error of its own: that of all others known
    alone = 1 / np.sqrt(np.maximum((made.matrix**2 / np.maximum(fit.expected, 0.5)).sum(axis=1), 1e-300))
    error = np.where(fit.weights > 0, np.sqrt(np.maximum(np.diag(fit.covariance), 0)), alone)
    strength = np.ones(len(made.columns))
    loose = np.zeros(len(made.columns), bool)
    reference = {}
    for element in made.elements:
        members = made.members(element)
        weight, sigma = fit.weights[members], error[members]
        # hardest first: one so precise settles the element, also where it says that there is none
        sure = [i for i in range(members.size) if sigma[i] < LEAST_REFERENCE * weight.max()]
        first = sure[0] if sure else int(np.argmax(fit.weights[members] * made.matrix[members].sum(axis=1)))
        reference[element] = str(made.columns[members[first]].family)
        for i, member in enumerate(members):
            if i != first and not weight[first] > sigma[first]:
                loose[member] = weight[i] > 0
            elif i != first:
                ratio = weight[i] / weight[first]
                spread = np.hypot(sigma[i], ratio * sigma[first]) / weight[first]
                precise, known = 1 / max(spread, 1e-6) ** 2, 1 / FAMILY_PRIOR**2
                strength[member] = (ratio * precise + known) / (precise + known)
                loose[member] = abs(ratio - 1) > max(LEAST_MISS, MOST_SIGMA * spread)
    return reference, strength, loose


def _atoms(
    made: Basis, fit: LinearFit, reference: dict[str, str], elements: Sequence[str]
) -> dict[str, float]:
    """Mean composition, from the reference families."""
    atoms = {
        str(c.element): float(w)
        for c, w in zip(made.columns, fit.weights, strict=True)
        if c.element in elements and reference.get(c.element or "") == c.family
    }
    whole = sum(atoms.values())
    return {e: a / whole for e, a in atoms.items()} if whole > 0 else {e: 1 / len(elements) for e in elements}


def _correct(counts: np.ndarray, made: Basis) -> tuple[np.ndarray, LinearFit, tuple[float, float, float]]:
    """Find the factor on all columns, in rounds with the weights: a wide one, a narrow one on top of it."""
    fit = fit_weights(counts, made.matrix)
    chi2 = [_chi2(counts, fit.expected, len(made.columns))]
    lines = np.array([c.kind == "lines" for c in made.columns])
    factor = np.ones_like(counts)
    for apart in (WIDE_FWHM, NARROW_FWHM):
        splines = _splines(made.energy, apart)
        bent, freedom = factor, 0.0
        for _ in range(CORRECTION_ROUNDS):
            more, freedom = smooth_factor(counts, fit.expected / bent * factor, splines)
            bent = factor * more
            fit = fit_weights(counts, made.matrix * bent, start=fit.weights)
        drawn = fit.weights[lines] @ made.matrix[lines]
        mean = float((drawn * bent).sum() / max(drawn.sum(), LEAST_MODEL))
        factor = bent / mean
        fit = replace(fit, weights=fit.weights * mean, covariance=fit.covariance * mean**2)
        chi2.append(_chi2(counts, fit.expected, len(made.columns) + freedom))
    return factor, fit, (chi2[0], chi2[1], chi2[2])


def _chi2(counts: np.ndarray, expected: np.ndarray, parameters: float) -> float:
    return float(
        np.sum((counts - expected) ** 2 / np.maximum(expected, 0.5)) / max(counts.size - parameters, 1.0)
    )


def _splines(energy: np.ndarray, apart: float) -> np.ndarray:
    """Cubic B-splines, (splines, E), with knots ``apart`` peak widths from one another."""
    knots = [float(energy[0])]
    while knots[-1] < energy[-1]:
        knots.append(knots[-1] + apart * float(fwhm_kev(max(knots[-1], 0.0))))
    inner = np.linspace(0, 1, len(knots))
    place = np.interp(energy, knots, inner)
    step = inner[1]
    padded = np.concatenate([-step * np.arange(3, 0, -1), inner, 1 + step * np.arange(1, 4)])
    return BSpline.design_matrix(place, padded, 3).toarray().T


def smooth_factor(counts: np.ndarray, expected: np.ndarray, splines: np.ndarray) -> tuple[np.ndarray, float]:
    """Factor exp(θ·splines) that brings ``expected`` to ``counts``, as stiff as the data allow.

    Penalised Poisson likelihood with second differences of θ; stiffness by Akaike's criterion, in which the
    deviance is scaled so that a misfit no smooth factor fixes does not count as signal.
    """
    second = np.diff(np.eye(len(splines)), n=2, axis=0)
    penalty = second.T @ second
    best: tuple[float, np.ndarray, float] | None = None
    scale = None
    for stiffness in STIFFNESS:
        theta = np.zeros(len(splines))
        for _ in range(8):
            mean = np.maximum(expected * np.exp(splines.T @ theta), LEAST_MODEL)
            information = (splines * mean) @ splines.T
            slope = splines @ (counts - mean) - stiffness * penalty @ theta
            step = np.linalg.solve(information + stiffness * penalty + 1e-9 * np.eye(len(theta)), slope)
            theta = theta + np.clip(step, -1, 1)
            if np.abs(step).max() < 1e-6:
                break
        mean = np.maximum(expected * np.exp(splines.T @ theta), LEAST_MODEL)
        information = (splines * mean) @ splines.T
        freedom = float(np.trace(np.linalg.solve(information + stiffness * penalty, information)))
        misfit = deviance(counts, mean)
        if scale is None:  # of the most flexible factor
            scale = max(misfit / max(counts.size - freedom, 1.0), 1.0)
        score = misfit / scale + 2 * freedom
        if best is None or score < best[0]:
            best = (score, np.exp(splines.T @ theta), freedom)
    if best is None:
        raise RuntimeError("no stiffness was tried")
    return best[1], best[2]
