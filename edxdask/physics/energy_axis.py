"""The energy axis and the width of peaks of a spectrum: the only fit of both.

A basis that is slightly wrong is worse than none: an offset of 8 eV changes spectra by 10 degrees. Offset,
gain, width, bends of the axis and the strength of escape peaks are found by Fisher scoring together with
the weights of any columns, and kept near what is known of real detectors. ``calibrate_energy``,
``find_elements``, guided factorization and ``quantify`` differ in their columns and channels, and in which
parameters are free; not in this.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edxdask.errors import EdxdaskError
from edxdask.physics.detector import fwhm_kev
from edxdask.physics.poisson import LinearFit, deviance, fit_weights
from edxdask.schema import ENERGY_BENDS, ENERGY_GAIN, ENERGY_OFFSET_STEP, ESCAPE_STRENGTH, FWHM

DEFAULT_FWHM_EV = 130.0
BENDS, BENDS_END = (1.5, 3.5, 6.0, 8.5), 14.0  # keV
OFFSET, GAIN, WIDTH, ESCAPE = "offset", "gain", "width", "escape"
BEND = tuple(f"bend_{i}" for i in range(len(BENDS)))
PARAMETERS = (OFFSET, GAIN, WIDTH, ESCAPE, *BEND)
LINEAR = (OFFSET, GAIN, WIDTH)
# What is known before looking at the data (1 σ): offset in keV, gain, width at Mn Kα in eV, escape peaks over
# theory's, bends in keV. With few counts the axis then stays where it is. A real map (71
# GPa) has its lines of Mg to Ca 6 eV too high and Cu 6 eV too low.
USUAL = np.array([0.02, 4e-3, 12.0, 0.5, *(0.004,) * len(BENDS)])
FIRST = np.array([0.0, 1.0, DEFAULT_FWHM_EV, 1.0, *(0.0,) * len(BENDS)])
SMALL = np.array([1e-4, 1e-5, 0.1, 0.01, *(1e-4,) * len(BENDS)])  # for derivatives
LOW = np.array([-0.1, 0.98, 119.0, 0.0, *(-0.012,) * len(BENDS)])  # silicon resolves no less than 117 eV
HIGH = np.array([0.1, 1.02, 250.0, 2.0, *(0.012,) * len(BENDS)])
# Beyond this the instrument is not the cause: elements are missing, or the axis belongs to another map.
MOST_OFFSET_KEV, MOST_GAIN = 0.025, 5e-3
MOST_MISPLACED = 0.05  # fraction of the counts
ROUNDS, SETTLED = 8, 1e-3  # of what is usual
LONGEST_STEP = 3.0  # times what is usual
LEAST_VARIANCE = 0.5  # counts
MISFIT, MISFIT_WIDTHS = 0.02, 1.5  # of shapes; widths of a peak that a Gaussian's square fills evenly


@dataclass(frozen=True)
class EnergyAxis:
    """Energies of channels, as corrections of the axis in the file, and the detector's width.

    Attributes
    ----------
    offset_kev : to add at energy 0
    gain : to multiply with, 1 for none
    fwhm_mn_ka_ev : width at Mn Kα
    escape : escape peaks relative to theory; 0 where a vendor's program removed them
    bend_kev : to add at the energies of ``BENDS``, straight lines between: electronics are not exactly linear
    errors : 1 σ of each of ``PARAMETERS``, 0 of those that were not fitted
    misplaced : fraction of the counts that are in other channels than the fit has them: on the axis to
        begin with, and on this one
    """

    offset_kev: float = 0.0
    gain: float = 1.0
    fwhm_mn_ka_ev: float = DEFAULT_FWHM_EV
    escape: float = 1.0
    bend_kev: tuple[float, ...] = (0.0,) * len(BENDS)
    errors: tuple[float, ...] = (0.0,) * len(PARAMETERS)
    misplaced: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, attrs: Mapping[Hashable, Any]) -> EnergyAxis | None:
        """Read the axis that a fit has left in the attributes of a result; None where there is none."""
        if ENERGY_GAIN not in attrs or ENERGY_OFFSET_STEP not in attrs:
            return None
        return cls(
            float(attrs[ENERGY_OFFSET_STEP]),
            float(attrs[ENERGY_GAIN]),
            float(attrs.get(FWHM, DEFAULT_FWHM_EV)),
            float(attrs.get(ESCAPE_STRENGTH, 1.0)),
            tuple(map(float, attrs.get(ENERGY_BENDS, FIRST[-len(BENDS) :]))),
        )

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes that `of` reads."""
        return {
            ENERGY_OFFSET_STEP: self.offset_kev,
            ENERGY_GAIN: self.gain,
            FWHM: self.fwhm_mn_ka_ev,
            ESCAPE_STRENGTH: self.escape,
            ENERGY_BENDS: list(self.bend_kev),
        }

    def energy(self, nominal: np.ndarray) -> np.ndarray:
        """Corrected energies (keV) of channels."""
        nominal = np.asarray(nominal, dtype=np.float64)
        straight = self.offset_kev + self.gain * nominal
        if not any(self.bend_kev):
            return straight
        return straight + np.interp(nominal, (0.0, *BENDS, BENDS_END), (0.0, *self.bend_kev, 0.0))

    @property
    def vector(self) -> np.ndarray:
        """Values of ``PARAMETERS``."""
        return np.array([self.offset_kev, self.gain, self.fwhm_mn_ka_ev, self.escape, *self.bend_kev])

    def moved_to(self, vector: np.ndarray) -> EnergyAxis:
        """Axis with these ``PARAMETERS``, limited to what detectors have."""
        offset, gain, width, escape, *bend = np.clip(vector, LOW, HIGH).tolist()
        return replace(
            self, offset_kev=offset, gain=gain, fwhm_mn_ka_ev=width, escape=escape, bend_kev=tuple(bend)
        )

    def error(self, parameter: str) -> float:
        """1 σ of one of ``PARAMETERS``."""
        return self.errors[PARAMETERS.index(parameter)]


NOMINAL = EnergyAxis()  # as the file has it
Doubt = Callable[[EnergyAxis, np.ndarray], np.ndarray]


def shape_doubt(nominal: np.ndarray) -> Doubt:
    """Variance of counts by shapes that are wrong by 2 %: make a ``doubt`` for channels ``nominal`` (keV).

    Without it, a fit of 10⁶ counts moves the axis to make up for what absorption, windows and tails do to
    peaks. What is wrong is wrong over a peak's width, so that each channel gets the fraction of one width.
    """
    step = (nominal[-1] - nominal[0]) / (nominal.size - 1)

    def doubt(axis: EnergyAxis, expected: np.ndarray) -> np.ndarray:
        width = fwhm_kev(axis.energy(nominal), fwhm_mn_ka_ev=axis.fwhm_mn_ka_ev) / step
        return np.asarray(MISFIT_WIDTHS * width * (MISFIT * expected) ** 2)

    return doubt


def fit_axis(
    counts: np.ndarray,
    shapes: Callable[[EnergyAxis], np.ndarray],
    start: EnergyAxis,
    *,
    free: Sequence[str] = LINEAR,
    known: EnergyAxis | None = None,
    usual: np.ndarray = USUAL,
    doubt: np.ndarray | Doubt | None = None,
    rounds: int = ROUNDS,
) -> EnergyAxis:
    """Find offset, gain, width … together with all weights, kept near what is known before.

    Parameters
    ----------
    counts : (E,)
    shapes : makes the columns (M, E) on an axis; the same columns in the same order for every axis
    start : to begin with
    free : which of ``PARAMETERS`` to find
    known : where the axis most likely is; None: ``start``
    usual : 1 σ of what is known, for each of ``PARAMETERS``; infinite where nothing is
    doubt : (E,) variance of the counts beyond Poisson's, for shapes that may be wrong; or what finds it from
        the axis and the counts expected
    rounds : at most

    Returns
    -------
    EnergyAxis
        With errors. Misfit beyond counting errors makes these larger than the counts alone say.

    Examples
    --------
    >>> from edxdask.physics.detector import line_response
    >>> channels = np.arange(1.0, 9.0, 0.01)
    >>> def peaks(axis):
    ...     return line_response(axis.energy(channels), np.array([2.0, 5.0, 8.0]), fwhm_mn_ka_ev=130.0)
    >>> truth = EnergyAxis(offset_kev=0.01, gain=0.999)
    >>> found = fit_axis(1e5 * peaks(truth).sum(axis=0), peaks, EnergyAxis(), free=("offset", "gain"))
    >>> round(found.offset_kev, 4), round(found.gain, 5)
    (0.01, 0.999)
    """
    index = np.array([PARAMETERS.index(name) for name in free])
    centre = (start if known is None else known).vector
    axis, before = start, None
    for _ in range(rounds):
        matrix = shapes(axis)
        fit = fit_weights(counts, matrix)
        after = misplaced(counts, fit.expected)
        before = after if before is None else before
        more = doubt(axis, fit.expected) if callable(doubt) else doubt
        step, errors = _step(counts, shapes, axis, matrix, fit, index, (centre, usual), more)
        there = axis.moved_to(axis.vector + step)
        moved = np.abs(there.vector - axis.vector)[index] / USUAL[index]
        axis = replace(there, errors=tuple(errors.tolist()), misplaced=(before, after))
        if (moved < SETTLED).all():
            break
    return axis


def _step(
    counts: np.ndarray,
    shapes: Callable[[EnergyAxis], np.ndarray],
    axis: EnergyAxis,
    matrix: np.ndarray,
    fit: LinearFit,
    index: np.ndarray,
    held: tuple[np.ndarray, np.ndarray],
    doubt: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """One step of Fisher scoring, and the errors: (parameters,) each, 0 of those that are not free."""
    centre, usual = held
    slopes = []
    for i in index:
        small = np.zeros(len(PARAMETERS))
        small[i] = SMALL[i] if axis.vector[i] + SMALL[i] <= HIGH[i] else -SMALL[i]
        there = shapes(axis.moved_to(axis.vector + small))
        slopes.append((fit.weights @ there - fit.expected) / small[i] * USUAL[i])
    variance = np.maximum(fit.expected, LEAST_VARIANCE) + (0.0 if doubt is None else doubt)
    rows = np.vstack([matrix[fit.weights > 0], slopes])
    last = slice(len(rows) - index.size, None)
    if doubt is None:
        spread = max(deviance(counts, fit.expected) / counts.size, 1.0)
    else:
        spread = max(float(np.mean((counts - fit.expected) ** 2 / variance)), 1.0)
    stiff = (USUAL / usual)[index] ** 2 * spread
    size = (rows**2 / variance).sum(axis=1)
    size[last] += stiff  # a bend where no line is has nothing else
    scale = np.sqrt(np.maximum(size, 1e-300))
    rows = rows / scale[:, None]
    information = (rows / variance) @ rows.T
    right = rows @ ((counts - fit.expected) / variance)
    information[last, last] += np.diag(stiff / scale[last] ** 2)
    right[last] += stiff * ((centre - axis.vector) / USUAL)[index] / scale[last]
    inverse = np.linalg.pinv(information, rcond=1e-13, hermitian=True)
    step, errors = np.zeros(len(PARAMETERS)), np.zeros(len(PARAMETERS))
    wanted = (inverse @ right)[last] / scale[last]
    step[index] = np.clip(wanted, -LONGEST_STEP, LONGEST_STEP) * USUAL[index]
    sigma = np.sqrt(spread * np.maximum(np.diag(inverse)[last], 0.0)) / scale[last]
    errors[index] = sigma * USUAL[index]
    return step, errors


def misplaced(counts: np.ndarray, expected: np.ndarray) -> float:
    """Fraction of counts that are in other channels than expected, beyond what chance moves.

    Examples
    --------
    >>> misplaced(np.array([1e6, 0.0]), np.array([5e5, 5e5])).__round__(3)
    0.499
    """
    chance = np.minimum(np.sqrt(2 / np.pi * np.maximum(expected, 0.0)), 2 * np.maximum(expected, 0.0))
    beyond = float(np.abs(counts - expected).sum() - chance.sum())
    return max(beyond, 0.0) / (2 * max(float(counts.sum()), 1.0))


def is_far(axis: EnergyAxis) -> bool:
    """Whether an axis was moved farther than instruments are usually off."""
    return abs(axis.offset_kev) > MOST_OFFSET_KEV or abs(axis.gain - 1) > MOST_GAIN


def check_axis(axis: EnergyAxis, advice: str) -> None:
    """Refuse an impossible axis; ``advice`` says what the user can do.

    It is at the limit of what detectors have, or farther off than instruments are and still fits badly.
    """
    vector = axis.vector[: len(LINEAR)]
    at_end = (vector <= LOW[: len(LINEAR)]).any() or (vector >= HIGH[: len(LINEAR)]).any()
    if at_end or (is_far(axis) and axis.misplaced[1] > MOST_MISPLACED):
        raise EdxdaskError(
            f"the elements listed fit best with the energy axis moved by {1e3 * axis.offset_kev:+.1f} eV, "
            f"stretched by {100 * (axis.gain - 1):+.2f} % and peaks {axis.fwhm_mn_ka_ev:.0f} eV wide at "
            f"Mn Ka, and {100 * axis.misplaced[1]:.0f} % of the counts are still not where the fit has them: "
            f"this is not possible. Are elements and energy axis (keV) right? {advice}"
        )


def axis_warning(axis: EnergyAxis, name: str) -> str | None:
    """Say if an axis was moved farther than instruments are off, and on what evidence; None if not."""
    if not is_far(axis):
        return None
    offset = f"{1e3 * axis.offset_kev:+.1f} ± {1e3 * axis.error(OFFSET):.1f} eV"
    gain = f"{100 * (axis.gain - 1):+.3f} ± {100 * axis.error(GAIN):.3f} %"
    before, after = (100 * fraction for fraction in axis.misplaced)
    return (
        f"{name}: the energy axis was moved by {offset} and stretched by {gain}, more than instruments are "
        f"off ({1e3 * MOST_OFFSET_KEV:.0f} eV, {100 * MOST_GAIN:.1f} %); {after:.1f} % of the counts are not "
        f"where the fit has them, {before:.1f} % on the axis as given. Elements missing from the list can "
        "cause this, or an axis of another calibration: check both, or keep the axis (refine_axis=False)"
    )
