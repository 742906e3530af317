"""Line intensities of a spectrum, by maximum Poisson likelihood of lines and continuum together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edxdask.physics import energy_axis
from edxdask.physics.columns import Seen
from edxdask.physics.detector import channel_edges, efficiency, fwhm_kev
from edxdask.physics.energy_axis import (
    BEND,
    ESCAPE,
    LINEAR,
    NOMINAL,
    EnergyAxis,
    check_axis,
    is_far,
    shape_doubt,
)
from edxdask.physics.find import find_in_spectrum
from edxdask.physics.floor import Floor, spectrum_floor
from edxdask.physics.lines import parse_line
from edxdask.physics.poisson import LinearFit, fit_weights
from edxdask.quantify.model import LineModel, build_model
from edxdask.quantify.recipe import QuantificationRecipe

logger = logging.getLogger(__name__)

FREE = (*LINEAR, ESCAPE, *BEND)  # parameters of the axis that the fit finds
# A family is split if the deviance falls by this much per added weight; by chance it falls by 1.
GAIN_PER_SPLIT = 12.0
LEAST_SIGNIFICANCE = 10.0  # sigma of a family, below which the data cannot determine its rates
LEAST_EXPECTED = 0.5  # least counts of a channel in χ²: below, its distribution is far from normal
WINDOW_FWHM = 1.2  # width of a peak's window, where signal over √background of a Gaussian is largest
WINDOW_SHARE = 0.8427  # of a Gaussian that is in it: erf(1.2 √ln 2)


@dataclass(frozen=True, eq=False)
class LineFit:
    """A fitted spectrum.

    Attributes
    ----------
    model : columns
    counts, expected, continuum : (E,)
    weights, covariance : (M,), (M, M) of all columns; also of those that are at their bound of 0
    chi2_red : Pearson's χ² over degrees of freedom
    """

    model: LineModel
    counts: np.ndarray
    expected: np.ndarray
    continuum: np.ndarray
    weights: np.ndarray
    covariance: np.ndarray
    chi2_red: float

    @property
    def energy(self) -> np.ndarray:
        """Refined channel centres, keV."""
        return self.model.axis.energy(self.model.nominal)

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
        return self.model.axis.fwhm_mn_ka_ev


def fit_spectrum(
    counts: np.ndarray,
    energy: np.ndarray,
    elements: Sequence[str],
    *,
    beam_energy: float,
    axis: EnergyAxis = NOMINAL,
    seen: Seen = efficiency,
    refine_axis: bool = True,
) -> LineFit:
    """Fit one spectrum; with ``refine_axis`` also its energy axis and width, and rates that do not fit.

    Parameters
    ----------
    counts : (E,)
    energy : (E,) channel centres, keV; channels that cannot be used are left out (`spectrum_floor`)
    elements : all that have lines in the spectrum, those of grid and holder included
    beam_energy : keV
    axis : energy axis and width to begin with
    seen : fraction of photons of an energy that is counted
    refine_axis : False takes ``axis`` and all rates as they are
    """
    spectrum = np.asarray(counts, dtype=np.float64)
    first = spectrum_floor(energy, spectrum).first
    model = build_model(energy[first:], elements, beam_energy=beam_energy, axis=axis, seen=seen)
    spectrum = spectrum[first:]
    return fit_model(spectrum, refined(spectrum, model) if refine_axis else model)


def starting_model(
    energy: np.ndarray, recipe: QuantificationRecipe, counts: np.ndarray
) -> tuple[LineModel, Floor]:
    """Build the model that a recipe describes; ``counts`` (E,) say where the channels of use begin.

    Energy axis and width are those of the recipe: as the file has them, or as an earlier fit found them.
    """
    floor = spectrum_floor(energy, counts)
    model = build_model(
        energy[floor.first :],
        recipe.elements,
        beam_energy=recipe.beam_energy,
        axis=recipe.axis,
        seen=recipe.seen,
    )
    return model, floor


def settled_model(counts: np.ndarray, model: LineModel, recipe: QuantificationRecipe) -> LineModel:
    """Fit to a summed spectrum what the recipe leaves open: axis, width and rates, or rates alone."""
    if recipe.axis_found:
        return with_splits(counts, model)
    return refined(counts, model) if recipe.refine_axis else model


def refined(counts: np.ndarray, model: LineModel) -> LineModel:
    """Model with energy axis and width as in ``counts``, and families split where rates do not fit.

    An axis that moves far may follow lines that nobody listed (grid copper taken for hafnium moved that of a
    real map by 0.1 keV). It is then found once more, with columns for what else is there.
    """
    known = model.axis
    more: tuple[str, ...] = ()
    for _ in range(2):
        axis = _axis_of(counts, model, known)
        if is_far(axis):
            more = _elements_not_listed(counts, model, known)
            axis = _axis_of(counts, model.at(known).with_elements(more), known) if more else axis
        check_axis(axis, "With refine_axis=False the axis is taken as given; calibrate_energy corrects it.")
        model = model.at(axis)
        split = with_splits(counts, model)
        if split.split == model.split:
            return model
        model = split
    return model.at(_axis_of(counts, model.with_elements(more) if more else model, known))


def _axis_of(counts: np.ndarray, model: LineModel, known: EnergyAxis) -> EnergyAxis:
    return energy_axis.fit_axis(
        counts,
        lambda axis: model.at(axis).matrix,
        model.axis,
        free=FREE,
        known=known,
        doubt=shape_doubt(model.nominal),
    )


def _elements_not_listed(counts: np.ndarray, model: LineModel, known: EnergyAxis) -> tuple[str, ...]:
    found = find_in_spectrum(
        counts,
        model.nominal,
        beam_energy=model.beam_energy,
        axis=known,
        known=model.elements,
        seen=model.seen,
    )
    return tuple(e for e in found.elements if e not in model.elements)


def fit_model(counts: np.ndarray, model: LineModel, *, variance: np.ndarray | None = None) -> LineFit:
    """Fit the weights of a model.

    Parameters
    ----------
    counts : (E,) of the model's channels
    variance : (E,) of the counts where they are not Poisson counts, as for a phase's spectrum
    """
    matrix = model.matrix
    fit = fit_weights(counts, matrix)
    lines = model.line_columns
    used = fit.expected >= LEAST_EXPECTED
    free = max(int(used.sum()) - int((fit.weights > 0).sum()) - len(FREE), 1)
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
    than Poisson's, both sides of it are around the inverse (a sandwich).
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


def with_splits(counts: np.ndarray, model: LineModel) -> LineModel:
    """Split families with lines that the data do not tie by their rates, largest gain first."""
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
        logger.info("rates of %s %s in the tables do not fit: its lines are fitted separately", *best)
        model, worst = tried[best], scores[best]
        strong = promising - {best}
    return model
