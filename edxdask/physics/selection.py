"""Forward selection and backward elimination of elements in a Poisson fit of one spectrum."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from edxdask.physics.detector import fwhm_kev, line_response
from edxdask.physics.energy_axis import EnergyAxis
from edxdask.physics.library import Library, best_lines, edge_columns
from edxdask.physics.poisson import LEAST_MODEL, LinearFit, fit_weights

# What a fit leaves of a peak with a slightly wrong shape, place or width, as a fraction of the peak, with the
# doubts about the ratios of lines in a family; more, at the minor lines of K, where photons came out of
# something thick, such as a grid's bar, as Kα is absorbed more than Kβ. And of a continuum with bends
# that no column follows.
# From the residuals of maps at 71 and 88 GPa with 2e6 and 7e5 counts.
PEAK_MISFIT = 0.02
FAMILY_MISFIT = {"K": 0.02, "L": 0.04, "M": 0.15}
MINOR_MISFIT, MINOR_THICK_MISFIT = 0.03, 0.15
CONTINUUM_MISFIT = 0.01
SOFT_MISFIT, SOFT_KEV = 0.1, 0.2  # more below 1 keV, where sample and detector have many edges
PEAK_WIDTHS = 1.5  # of a peak's FWHM: channels that a Gaussian's square fills evenly
# A family that is this much weaker than another family predicts is evidence against the element. Photons of
# lower energy may have been absorbed, those of higher energy not.
LEAST_RATIO, MOST_RATIO = 0.3, 3.0
# Where two elements explain the same, the one with the better known lines is chosen.
PLAUSIBLE = {"K": 1.0, "L": 0.95, "M": 0.8}
CLEAR = 3.0  # sigma by which a measured family must be below the expected one
SUM_LINES = 12  # strongest peaks that are paired
MOST_ROUNDS = 60
OVERLAP = 0.05  # columns with less than this in common are judged independently in one round


@dataclass(frozen=True)
class Term:
    """Columns of one element that are fitted with one weight.

    Attributes
    ----------
    element : symbol
    columns : of the library
    """

    element: str
    columns: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Explanation:
    """A spectrum and what explains it so far.

    Attributes
    ----------
    counts, energy : (E,)
    lines : columns to choose from
    base : (K, E) continuum
    axis : corrections that the energies hold
    terms : chosen
    artefacts : whether sum peaks are part of it
    peaks : (E,) peaks that are part of ``base``
    edges : elements; the continuum may fall at their absorption edges
    fit : weights of all columns
    sums : (E,) sum peaks
    """

    counts: np.ndarray
    energy: np.ndarray
    lines: Library
    base: np.ndarray
    axis: EnergyAxis
    terms: tuple[Term, ...] = ()
    artefacts: bool = True
    peaks: np.ndarray | None = None
    edges: tuple[str, ...] = ()
    fit: LinearFit | None = None
    sums: np.ndarray | None = field(default=None)

    def column(self, term: Term) -> np.ndarray:
        """Shape of a term, (E,); several families have the ratios of theory."""
        chosen = list(term.columns)
        return self.lines.per_atom[chosen] @ self.lines.matrix[chosen] / self.lines.per_atom[chosen].sum()

    @property
    def matrix(self) -> np.ndarray:
        """All columns fitted: continuum, terms, sum peaks."""
        rows = [self.base, *(self.column(t)[None] for t in self.terms)]
        return np.vstack([*rows, self.sums[None]] if self.sums is not None else rows)

    def matrix_at(self, energy: np.ndarray, axis: EnergyAxis) -> np.ndarray:
        """All columns, with the lines on another axis; continuum and sum peaks stay where they are."""
        rows = [self.base]
        for term in self.terms:
            chosen = list(term.columns)
            amounts = self.lines.per_atom[chosen] / self.lines.per_atom[chosen].sum()
            columns = [self.lines.column_at(c, energy, axis) for c in chosen]
            rows.append((amounts @ np.array(columns))[None])
        return np.vstack([*rows, self.sums[None]] if self.sums is not None else rows)

    @property
    def fitted(self) -> LinearFit:
        """The fit; made on first need by `refitted`."""
        if self.fit is None:
            raise RuntimeError("the model was not fitted")
        return self.fit

    @property
    def expected(self) -> np.ndarray:
        """(E,) counts."""
        return self.fitted.expected

    @property
    def background(self) -> np.ndarray:
        """(E,) counts of continuum."""
        count = len(self.base)
        return np.asarray(self.fitted.weights[:count] @ self.base)

    def weight(self, index: int) -> float:
        """Return the counts of a term."""
        return float(self.fitted.weights[len(self.base) + index])

    @property
    def blur(self) -> float:
        """Width (channels) over which a misfit of a peak acts."""
        step = float(self.energy[1] - self.energy[0])
        return float(fwhm_kev(2.0, fwhm_mn_ka_ev=self.axis.fwhm_mn_ka_ev)) / step


def refitted(model: Explanation) -> Explanation:
    """Fit all weights; edges and sum peaks follow from the strongest lines of the fit before."""
    if not model.artefacts:
        return replace(model, fit=fit_weights(model.counts, model.matrix))
    fit = fit_weights(model.counts, model.matrix)
    model = _with_edges(replace(model, fit=fit))
    fit = model.fitted
    made = _sum_peaks(model)
    if made is None:
        return replace(model, fit=fit)
    with_sums = replace(model, sums=made)
    return replace(with_sums, fit=fit_weights(model.counts, with_sums.matrix))


def _with_edges(model: Explanation) -> Explanation:
    """Let the continuum fall at absorption edges of the elements with the strongest peaks, and fit again.

    Photons from a thick part near the sample (a grid's bar, the frame) have passed some of it: a map on a
    copper grid shows the K edge of Cu, and that of Fe where there is much of it.
    """
    names = dict.fromkeys(name.partition("_")[0] for name, _, _ in strongest(model))
    wanted = tuple(n for n in names if n not in model.edges)
    rows = edge_columns(model.energy, wanted, model.base.sum(axis=0))
    if not len(rows):
        return model
    model = replace(model, base=np.vstack([model.base, rows]), edges=(*model.edges, *wanted))
    return replace(model, fit=fit_weights(model.counts, model.matrix))


def strongest(model: Explanation) -> list[tuple[str, float, float]]:
    """Name, energy and counts of the strongest peaks, by counts."""
    found = []
    for i, term in enumerate(model.terms):
        lead = max(term.columns, key=lambda c: model.lines.per_atom[c])
        for name, at, share in best_lines(str(model.lines.elements[lead]), str(model.lines.families[lead])):
            found.append((name, at, share * model.weight(i)))
    return sorted(found, key=lambda peak: -peak[2])[:SUM_LINES]


def _sum_peaks(model: Explanation) -> np.ndarray | None:
    """One shape (E,), summing to 1, of pairs of the strongest lines."""
    peaks = [p for p in strongest(model) if p[2] > 0]
    at = np.array([a[1] + b[1] for i, a in enumerate(peaks) for b in peaks[i:]])
    rate = np.array([(1.0 if a is b else 2.0) * a[2] * b[2] for i, a in enumerate(peaks) for b in peaks[i:]])
    if not at.size:
        return None
    shape = rate @ line_response(model.energy, at, fwhm_mn_ka_ev=model.axis.fwhm_mn_ka_ev)
    return shape / shape.sum() if shape.sum() > 1e-6 * rate.sum() else None


@dataclass(frozen=True, eq=False)
class Scores:
    """One step of a fit for every column of the library: (M,) each.

    Attributes
    ----------
    counts : that the column would take
    noise, misfit : sigma of those counts, by statistics and by wrong shapes of what is there already
    """

    counts: np.ndarray
    noise: np.ndarray
    misfit: np.ndarray

    @property
    def sigma(self) -> np.ndarray:
        """Both together."""
        return np.hypot(self.noise, self.misfit)

    @property
    def significance(self) -> np.ndarray:
        """Counts in sigma."""
        return self.counts / self.sigma


def misfit_variance(model: Explanation, *, without: str | None = None) -> np.ndarray:
    """Variance (E,) of counts by wrong shapes of all but element ``without``.

    What is wrong is wrong over a peak's width, so that each single channel gets the fraction of one width.
    """
    wrong, smooth = np.zeros(model.energy.size), model.background
    for index, term in enumerate(model.terms):
        if term.element != without:
            wrong += model.weight(index) * _doubt(model, term)
    if model.sums is not None:
        wrong += FAMILY_MISFIT["M"] * model.fitted.weights[-1] * model.sums
    if model.peaks is not None:
        wrong += PEAK_MISFIT * model.peaks
        smooth = np.maximum(smooth - model.peaks, 0.0)
    doubt = CONTINUUM_MISFIT + SOFT_MISFIT * np.exp(-model.energy / SOFT_KEV)
    wrong = gaussian_filter1d(wrong, model.blur) + doubt * smooth
    width = fwhm_kev(model.energy, fwhm_mn_ka_ev=model.axis.fwhm_mn_ka_ev) / (
        model.energy[1] - model.energy[0]
    )
    return np.asarray(PEAK_WIDTHS * width * wrong**2)


def misfit_counts(model: Explanation, columns: np.ndarray, *, without: str | None = None) -> np.ndarray:
    """Estimate the counts (M,) that wrong shapes of all but ``without`` may bring to ``columns`` (M, E)."""
    noise = np.maximum(model.expected, 1e-3)
    alone = 1.0 / np.sum(columns**2 / noise, axis=1)
    both = 1.0 / np.sum(columns**2 / (noise + misfit_variance(model, without=without)), axis=1)
    return np.asarray(np.sqrt(np.maximum(both - alone, 0.0)))


def _doubt(model: Explanation, term: Term) -> np.ndarray:
    """Fraction of a term's counts that may be wrong, by channel: (E,)."""
    out = np.zeros(model.energy.size)
    whole = model.lines.per_atom[list(term.columns)].sum()
    for c in term.columns:
        family = str(model.lines.families[c])
        share = np.full(model.energy.size, FAMILY_MISFIT[family])
        if family == "K":
            width = fwhm_kev(float(model.lines.line_kev[c]), fwhm_mn_ka_ev=model.axis.fwhm_mn_ka_ev)
            minor = np.abs(model.energy - model.lines.line_kev[c]) > 1.5 * width
            share += minor * (MINOR_THICK_MISFIT if _is_thick(model, term) else MINOR_MISFIT)
        out += share * model.lines.matrix[c] * model.lines.per_atom[c] / whole
    return out


def _is_thick(model: Explanation, term: Term) -> bool:
    """Whether an element has K lines but few lines of lower energy, which were absorbed."""
    alone = {t.columns[0]: model.weight(i) for i, t in enumerate(model.terms) if len(t.columns) == 1}
    lead = model.weight(model.terms.index(term)) / model.lines.per_atom[list(term.columns)].sum()
    others = [c for c in model.lines.members(term.element) if c not in term.columns and c in alone]
    return any(alone[c] < LEAST_RATIO * lead * model.lines.per_atom[c] for c in others)


def scores(model: Explanation) -> Scores:
    """Score all columns against the residual of a fitted model; channels with doubtful shapes count less."""
    rows, active = model.lines.matrix, model.matrix
    noise = np.maximum(np.maximum(gaussian_filter1d(model.counts, 2.0), model.expected), 1e-3)
    variance = noise + misfit_variance(model)
    weighted = rows / variance
    cross = weighted @ active.T
    inverse = np.linalg.pinv((active / variance) @ active.T, rcond=1e-12, hermitian=True)
    residual = model.counts - model.expected
    information = np.maximum(np.sum(weighted * rows, axis=1), LEAST_MODEL)
    left = information - np.einsum("mk,kl,ml->m", cross, inverse, cross)
    slope = weighted @ residual - cross @ (inverse @ (active / variance @ residual))
    free = left > 1e-3 * information  # the rest is explained already
    counts = np.where(free, slope / np.where(free, left, 1.0), 0.0)
    sigma = np.where(free, 1.0 / np.sqrt(np.where(free, left, 1.0)), np.inf)
    return Scores(counts, sigma, np.zeros(len(rows)))


@dataclass(frozen=True)
class Offer:
    """An element that would explain counts.

    Attributes
    ----------
    element : symbol
    terms : as it would enter the fit
    gain : squared sigma of all its families, times the plausibility of the leading one
    """

    element: str
    terms: tuple[Term, ...]
    gain: float


def offer(model: Explanation, element: str, found: Scores, *, threshold: float) -> Offer | None:
    """Evaluate an element; None if it explains too little, or if a line that must be there is absent."""
    columns = model.lines.members(element)
    atoms = found.counts[columns] / model.lines.per_atom[columns]
    sigma = found.sigma[columns] / model.lines.per_atom[columns]
    tells = atoms / sigma
    inside = model.lines.leads[columns] & (model.lines.line_kev[columns] < model.energy[-1])
    if not (inside & (tells > threshold)).any():
        return None
    lead = int(np.argmax(inside & (tells > threshold)))  # the most energetic significant one: least absorbed
    if (LEAST_RATIO * atoms[lead] - np.maximum(atoms[:lead], 0.0) > CLEAR * sigma[:lead]).any():
        return None
    tied, single, gain = [int(columns[lead])], [], float(tells[lead] ** 2)
    for i, column in enumerate(columns):
        if i == lead:
            continue
        if i > lead and atoms[i] > MOST_RATIO * atoms[lead] + CLEAR * sigma[i]:
            share = MOST_RATIO * atoms[lead] / atoms[i]  # the rest belongs to another element
            tied.append(int(column))
            gain += float(tells[i] ** 2) * share * (2.0 - share)
        else:
            single.append(int(column))
            gain += float(max(tells[i], 0.0) ** 2)
    gain *= PLAUSIBLE[str(model.lines.families[columns[lead]])]
    terms = (Term(element, tuple(tied)), *(Term(element, (c,)) for c in single))
    return Offer(element, terms, gain)


def select(model: Explanation, known: tuple[str, ...], *, threshold: float) -> Explanation:
    """Add elements, most significant first, then take out those that are no longer significant."""
    pool = tuple(dict.fromkeys(model.lines.elements.tolist()))
    listed = [Term(e, (int(c),)) for e in known for c in model.lines.members(e)]
    model = refitted(replace(model, terms=tuple(listed)))
    banned: set[str] = set()
    for _ in range(MOST_ROUNDS):
        here = {t.element for t in model.terms} | banned
        table = scores(model)
        offers = [offer(model, e, table, threshold=threshold) for e in pool if e not in here]
        best = _independent(model, [o for o in offers if o is not None])
        if best:
            model = refitted(replace(model, terms=(*model.terms, *(t for o in best for t in o.terms))))
        dropped = _weak(model, known, threshold=threshold)
        banned |= dropped  # otherwise in and out again for ever
        if dropped:
            model = refitted(replace(model, terms=tuple(t for t in model.terms if t.element not in dropped)))
        if not best and not dropped:
            break
    return model


def _independent(model: Explanation, offers: list[Offer]) -> list[Offer]:
    """Pick the best offer, and others in order if their columns do not overlap those before them."""
    chosen: list[Offer] = []
    taken = np.zeros(model.energy.size)
    for each in sorted(offers, key=lambda o: -o.gain):
        shape = sum((model.column(t) for t in each.terms), np.zeros(model.energy.size))
        shape = gaussian_filter1d(shape / np.linalg.norm(shape), model.blur)
        if not chosen or float(shape @ taken) < OVERLAP * float(shape @ shape):
            chosen.append(each)
            taken = taken + shape
    return chosen


def standing(model: Explanation, element: str) -> Scores:
    """Compute counts and sigma of an element's terms in a fitted model, as they are ordered there."""
    indices = [i for i, t in enumerate(model.terms) if t.element == element]
    places = np.array(indices) + len(model.base)
    rows = model.matrix[places]
    counts = model.fitted.weights[places] * rows.sum(axis=1)
    noise = np.sqrt(np.diag(model.fitted.covariance)[places]) * rows.sum(axis=1)
    # at its bound of 0 a weight has no covariance: the cost of one more photon
    bound = 1.0 / np.sqrt(np.sum(rows**2 / np.maximum(model.expected, LEAST_MODEL), axis=1))
    noise = np.where(noise > 0, noise, bound)
    return Scores(counts, noise, misfit_counts(model, rows, without=element))


def _weak(model: Explanation, known: tuple[str, ...], *, threshold: float) -> set[str]:
    """Elements that are no longer significant, or have absent lines at higher energy."""
    elements = {t.element for t in model.terms} - set(known)
    return {e for e in elements if _is_weak(model, e, standing(model, e), threshold)}


def _is_weak(model: Explanation, element: str, stand: Scores, threshold: float) -> bool:
    terms = [t for t in model.terms if t.element == element]
    at = np.array([model.lines.line_kev[list(t.columns)].max() for t in terms])
    whole = np.array([model.lines.per_atom[list(t.columns)].sum() for t in terms])
    tells = stand.significance > threshold
    if not tells.any():
        return True
    lead = int(np.argmax(np.where(tells, at, -np.inf)))
    above = at > at[lead]
    lacks = LEAST_RATIO * stand.counts[lead] / whole[lead] - stand.counts / whole
    return bool((above & (lacks > CLEAR * stand.sigma / whole)).any())
