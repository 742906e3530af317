"""Line intensities of a spectrum, by maximum Poisson likelihood of lines and continuum together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edxdask.errors import ParameterError
from edxdask.physics.basis import Seen
from edxdask.physics.detector import channel_edges, efficiency, fwhm_kev
from edxdask.physics.lines import parse_line
from edxdask.physics.poisson import LinearFit, fit_weights
from edxdask.quantify.model import Calibration, Model, build_model
from edxdask.quantify.recipe import LOWEST_KEV, Recipe

logger = logging.getLogger(__name__)

REFINEMENTS = 4
# How far offset (keV), gain and width (eV) of real files are off, and escape peaks from theory: in a spectrum
# of few photons this holds them, in others the data do.
PRIOR = np.array([0.02, 0.01, 15.0, 0.5])
STEP = np.array([1e-4, 1e-5, 0.1, 0.1])  # of the derivatives
ABSURD = 4.0  # times the prior, of the axis
MOST_ESCAPE = 2.0
# A family is split if that gains this much deviance per weight it adds; chance gains 1.
GAIN_PER_SPLIT = 12.0
LEAST_SIGNIFICANCE = 10.0  # sigma of a family, below which the data cannot tell its rates
LEAST_EXPECTED = 0.5  # counts of a channel in χ²: below, its distribution is nothing like normal
WINDOW_FWHM = 1.2  # width of a peak's window, where signal over √background of a Gaussian is largest
WINDOW_SHARE = 0.8427  # of a Gaussian that lies in it: erf(1.2 √ln 2)


@dataclass(frozen=True, eq=False)
class LineFit:
    """A fitted spectrum.

    Attributes
    ----------
    model : columns
    counts, expected, continuum : (E,)
    weights, covariance : (M,), (M, M) of all columns; also of those that stand at their bound of 0
    chi2_red : Pearson's χ² over degrees of freedom
    """

    model: Model
    counts: np.ndarray
    expected: np.ndarray
    continuum: np.ndarray
    weights: np.ndarray
    covariance: np.ndarray
    chi2_red: float

    @property
    def energy(self) -> np.ndarray:
        """Refined channel centres, keV."""
        return self.model.calibration.energy(self.model.nominal)

    def shares(self, lines: Sequence[str]) -> np.ndarray:
        """Photons counted in each line for a weight of 1 on each column: (lines, M)."""
        parsed = [parse_line(name) for name in lines]
        return np.array([self.model.share(p.element, [t.iupac for t in p.transitions]) for p in parsed])

    def intensities(self, lines: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Photons counted in each line and their covariance: (lines,), (lines, lines)."""
        shares = self.shares(lines)
        return shares @ self.weights, shares @ self.covariance @ shares.T

    def backgrounds(self, lines: Sequence[str]) -> np.ndarray:
        """Sum what other elements and the continuum add to the window of each line: (lines,) counts."""
        edges = channel_edges(self.energy)
        of_groups = self.weights[self.model.column_of][:, None] * self.model.group_rows
        out = []
        for line in map(parse_line, lines):
            half = 0.5 * WINDOW_FWHM * fwhm_kev(line.centroid_kev, fwhm_mn_ka_ev=self.fwhm_mn_ka_ev)
            overlap = np.minimum(edges[1:], line.centroid_kev + half) - np.maximum(
                edges[:-1], line.centroid_kev - half
            )
            inside = np.clip(overlap / np.diff(edges), 0.0, 1.0)
            own = [i for i, g in enumerate(self.model.groups) if g.element == line.element]
            others = self.expected - of_groups[own].sum(axis=0)
            out.append(float(inside @ np.maximum(others, 0.0)))
        return np.array(out)

    @property
    def fwhm_mn_ka_ev(self) -> float:
        """Width at Mn Kα."""
        return self.model.calibration.fwhm_mn_ka_ev


def fit_spectrum(
    counts: np.ndarray,
    energy: np.ndarray,
    elements: Sequence[str],
    *,
    beam_energy: float,
    fwhm_mn_ka_ev: float = 130.0,
    seen: Seen = efficiency,
    refine: bool = True,
) -> LineFit:
    """Fit one spectrum; with ``refine`` also its energy axis, its width and rates that do not hold.

    Parameters
    ----------
    counts : (E,)
    energy : (E,) channel centres, keV; channels below 0.15 keV are left out
    elements : all that have lines in the spectrum, those of grid and holder included
    beam_energy : keV
    fwhm_mn_ka_ev : width at Mn Kα to begin with
    seen : share of photons of an energy that is counted
    """
    model = model_above_noise(
        energy, elements, beam_energy=beam_energy, fwhm_mn_ka_ev=fwhm_mn_ka_ev, seen=seen
    )
    spectrum = np.asarray(counts, dtype=np.float64)[energy.size - model.nominal.size :]
    return fit_model(spectrum, refined(spectrum, model) if refine else model)


def model_above_noise(
    energy: np.ndarray, elements: Sequence[str], *, beam_energy: float, fwhm_mn_ka_ev: float, seen: Seen
) -> Model:
    """Build the model for the channels from 0.15 keV on."""
    return build_model(
        energy[int(np.searchsorted(energy, LOWEST_KEV)) :],
        elements,
        beam_energy=beam_energy,
        fwhm_mn_ka_ev=fwhm_mn_ka_ev,
        seen=seen,
    )


def starting_model(energy: np.ndarray, recipe: Recipe) -> Model:
    """Build the model that a recipe asks for, energy axis and width as the file has them."""
    return model_above_noise(
        energy,
        recipe.elements,
        beam_energy=recipe.beam_energy,
        fwhm_mn_ka_ev=recipe.fwhm_mn_ka_ev,
        seen=recipe.seen,
    )


def refined(counts: np.ndarray, model: Model) -> Model:
    """Model with energy axis and width as in ``counts``, and families split where their rates do not hold."""
    start = model.calibration
    for _ in range(2):
        model = calibrated(counts, model, start)
        split = with_splits(counts, model)
        if split.split == model.split:
            break
        model = split
    else:
        model = calibrated(counts, model, start)
    return model


def fit_model(counts: np.ndarray, model: Model, *, variance: np.ndarray | None = None) -> LineFit:
    """Fit the weights of a model.

    Parameters
    ----------
    counts : (E,) of the model's channels
    variance : (E,) of the counts where they are no Poisson counts, as of a phase's spectrum
    """
    matrix = model.matrix
    fit = fit_weights(counts, matrix)
    lines = model.line_columns
    used = fit.expected >= LEAST_EXPECTED
    free = max(int(used.sum()) - int((fit.weights > 0).sum()) - PRIOR.size, 1)
    chi2 = np.sum((counts[used] - fit.expected[used]) ** 2 / fit.expected[used]) / free
    return LineFit(
        model,
        counts,
        fit.expected,
        fit.weights[lines:] @ matrix[lines:],
        fit.weights,
        _covariance(fit, matrix, lines, variance),
        float(chi2) if used.any() else float("nan"),
    )


def _covariance(fit: LinearFit, matrix: np.ndarray, lines: int, variance: np.ndarray | None) -> np.ndarray:
    """Inverse Fisher information of all lines, and of the splines of the continuum above 0.

    A line at its bound has the error it would have if it were free. Where the counts have another variance
    than Poisson's, both sides of it stand around the inverse (a sandwich).
    """
    size = matrix.sum(axis=1)
    kept = np.arange(len(matrix)) < lines
    kept |= fit.weights * size > 1e-9 * max(float((fit.weights * size).max()), 1e-30)
    kept &= size > 0
    expected = np.maximum(fit.expected, 1e-6)
    rows = matrix[kept] / size[kept, None]
    inverse = np.linalg.pinv((rows / expected) @ rows.T, rcond=1e-12, hermitian=True)
    if variance is not None:
        inverse = inverse @ ((rows * (variance / expected**2)) @ rows.T) @ inverse
    out = np.zeros((len(matrix), len(matrix)))
    out[np.ix_(kept, kept)] = inverse / np.outer(size[kept], size[kept])
    return out


def calibrated(counts: np.ndarray, model: Model, start: Calibration) -> Model:
    """Refine offset, gain, width and escape peaks by Gauss-Newton steps taken together with the weights.

    Raises
    ------
    ParameterError
        If what fits best is too far from the axis of the file to be true.
    """
    base = _numbers(start)
    for _ in range(REFINEMENTS):
        now = _numbers(model.calibration)
        fit = fit_weights(counts, model.matrix)
        there = now + _calibration_step(counts, model, fit, (base - now) / PRIOR)
        there[-1] = np.clip(there[-1], 0.0, MOST_ESCAPE)
        if not (np.abs((there - base) / PRIOR)[:-1] < ABSURD).all():
            raise ParameterError(
                "refine",
                True,
                f"an axis near that of the file; best would be {1e3 * there[0]:+.0f} eV of offset, "
                f"a gain of {there[1]:+.2%} and {there[2]:.0f} eV of width",
                "Check elements and energy axis (calibrate_energy), or pass refine=False.",
            )
        model = model.at(Calibration(*there.tolist()))
        if np.abs((there - now) / PRIOR).max() < 1e-4:
            break
    return model


def _numbers(calibration: Calibration) -> np.ndarray:
    return np.array([calibration.offset_kev, calibration.gain, calibration.fwhm_mn_ka_ev, calibration.escape])


def _calibration_step(counts: np.ndarray, model: Model, fit: LinearFit, pull: np.ndarray) -> np.ndarray:
    now, size = _numbers(model.calibration), PRIOR.size
    changes = []
    for i, step in enumerate(STEP):
        there = model.at(Calibration(*(now + step * (np.arange(size) == i)).tolist()))
        changes.append((fit.weights @ there.matrix - fit.expected) / step * PRIOR[i])
    root = 1.0 / np.sqrt(np.maximum(fit.expected, 0.5))
    rows = np.vstack([changes, model.matrix[fit.weights > 0]]) * root
    length = np.linalg.norm(rows, axis=1)
    length[:size] = 1.0
    held = np.zeros((size, len(rows)))
    held[:, :size] = np.eye(size)
    system = np.vstack([(rows / np.where(length > 0, length, 1.0)[:, None]).T, held])
    aim = np.r_[(counts - fit.expected) * root, pull]
    return np.asarray(np.linalg.lstsq(system, aim, rcond=1e-10)[0][:size] * PRIOR)


def with_splits(counts: np.ndarray, model: Model) -> Model:
    """Split families whose lines the data cannot tie by their rates, the one that gains most first."""
    fit = fit_model(counts, model)
    error = np.sqrt(np.diag(fit.covariance))
    worst = fit_weights(counts, model.matrix, start=fit.weights).deviance
    strong = {
        (g.element, g.family)
        for g, column in zip(model.groups, model.column_of, strict=True)
        if fit.weights[column] > LEAST_SIGNIFICANCE * error[column]
    } - model.split
    while strong:
        tried = {key: model.splitting([key]) for key in sorted(strong)}
        tried = {key: m for key, m in tried.items() if m.line_columns > model.line_columns}
        scores = {key: fit_weights(counts, m.matrix).deviance for key, m in tried.items()}
        gains = {
            key: (worst - scores[key]) / (m.line_columns - model.line_columns) for key, m in tried.items()
        }
        promising = {key for key, gain in gains.items() if gain > GAIN_PER_SPLIT}
        if not promising:
            break
        best = max(promising, key=lambda key: gains[key])
        logger.info("rates of %s %s do not hold: its lines are fitted apart", *best)
        model, worst = tried[best], scores[best]
        strong = promising - {best}
    return model
