"""Which phase is which: assigning the labels, and separating phases that never occur pure.

The likelihood leaves both open: a first fit may give the silicon of a matrix to a separate phase, and what
is everywhere may be mixed into everything. Labels, absences and the purest bins decide it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from edxdask.factorize.guidance.doubts import PlacementTrial, Places, doubts
from edxdask.factorize.guidance.guide import Guide
from edxdask.factorize.iteration.phases import Phases
from edxdask.factorize.iteration.simplest import as_good, purity_of, simplest
from edxdask.factorize.iteration.sweep_step import SOFT_COUNTS, SPARSITY
from edxdask.factorize.spectra.elemental import ElementalSpectra
from edxdask.progress import Progress, ProgressHook

RETURNED = 0.1  # of the mean spectrum in each, where it is not known yet which phase is which
PUREST, PRESENT_COUNTS = 0.1, 1e-3  # fraction of the bins that count as the matrix alone; of a count
RICH, MOST_OUT = 0.5, 0.9  # of its largest fraction, bins rich in a phase; part of a phase that may be matrix


def placed(
    guide: Guide,
    fits: Sequence[Phases],
    fitted: Callable[[Phases, ElementalSpectra, np.ndarray], Phases],
    progress: ProgressHook | None = None,
) -> tuple[dict[str | int, int], Phases]:
    """Find the phase of each label: where what the labels rule out costs the least likelihood or purity.

    Its composition alone does not say which phase it is: where phases never occur pure, the first fit may
    have given the silicon of a matrix to a separate phase. Every assignment is tried from each of the fits.
    """
    mean = guide.mean_model()
    tried: list[PlacementTrial] = []

    def trial(start: int, at: Places) -> Phases:
        now = fits[start]
        weights = mean.weights_of(now.spectra)
        # what the first fit removed from a phase may have to come back
        begun = (1 - RETURNED) * weights + RETURNED * weights.mean(axis=0)
        return fitted(now, guide.model(mean.composition(weights), at), _within(guide, at, begun))

    for start, now in enumerate(fits):
        placements = guide.placements(len(now.spectra))
        if placements == [{}]:
            return {}, now
        to_try = placements or [guide.places(mean.composition(mean.weights_of(now.spectra)))]
        for at in to_try:
            made = trial(start, at)
            tried.append(PlacementTrial(start, at, _score(made), purity_of(made.abundance), made.spectra))
            if progress:
                progress(Progress("finding which is which", len(tried), len(fits) * len(to_try), "trial"))
    scores = np.array([one.score for one in tried])
    best = simplest(scores, np.array([one.purity for one in tried]))
    taken = tried[best]
    # made again rather than kept: there may be dozens, each as large as the map where bins are single pixels
    found = made if best == len(tried) - 1 else trial(taken.start, taken.places)
    others = [tried[at].spectra for at in np.flatnonzero(as_good(scores, best))]
    notes = doubts(tried, best, lambda at: _score(trial(taken.start, at)), guide.said())
    return dict(taken.places), replace(found, others=np.stack(others) if others else None, notes=notes)


def _score(found: Phases) -> float:
    """Log-likelihood per photon, less the log-sparsity that the fit had."""
    penalty = SPARSITY * float(np.log1p(found.abundance / SOFT_COUNTS).sum(dtype=np.float64))
    return -(float(found.objectives[-1]) + penalty) / float(found.abundance.sum(dtype=np.float64))


def _within(guide: Guide, places: Places, weights: np.ndarray) -> np.ndarray:
    """Weights without what the labels rule out; rows sum to 1."""
    held = weights * guide.allowed(len(weights), places)
    return held / np.maximum(held.sum(axis=1, keepdims=True), np.finfo(float).tiny)


def purified(now: Phases, free: Sequence[int]) -> Phases:
    """Change the spectrum of the matrix to that of the purest bins; product and likelihood do not change.

    Where a phase is everywhere, S_m + b S_j with A_j - b A_m explains the counts as well as S_m with A_j.
    The matrix takes the b that its purest bins contain of each other phase. The matrix is the biggest phase
    after that, among those that the user said nothing about.
    """
    counts = now.abundance.astype(np.float64)
    heavy = counts.sum(axis=1) > 0
    best: tuple[float, int, np.ndarray] | None = None
    for row in free:
        mine = heavy & (counts[:, row] > PRESENT_COUNTS)
        if not mine.any():
            continue
        ratio = counts[mine] / counts[mine, row : row + 1]
        fraction = np.quantile(ratio, PUREST, axis=0)
        fraction[row] = 0.0
        size = float(counts[:, row].sum() * (1 + fraction.sum()))
        if best is None or size > best[0]:
            best = size, row, fraction
    if best is None or not best[2].any():
        return now
    _, row, fraction = best
    moved = np.minimum(counts[:, row : row + 1] * fraction, counts)
    moved[:, row] = 0.0
    fresh = counts - moved
    fresh[:, row] += moved.sum(axis=1)
    spectra = now.spectra.copy()
    spectra[row] = (spectra[row] + fraction @ now.spectra) / (1 + fraction.sum())
    return replace(now, spectra=spectra, abundance=fresh.astype(now.abundance.dtype))


def parted(now: Phases, guide: Guide, places: dict[str | int, int]) -> Phases:
    """Separate phases that cannot hold an element of the matrix from other precipitates and from the matrix.

    The same freedom as in ``purified``. A phase takes what its richest bins contain of other precipitates;
    then as much of the matrix is subtracted as the absent elements say: mixture minus matrix, as in NMF-aided
    unmixing (H. Chen et al., Ultramicroscopy (2024) 113981).
    """
    model = guide.mean_model()
    counts, weights = now.abundance.astype(np.float64), model.weights_of(now.spectra)
    matrix = int(np.argmax(counts.sum(axis=0)))
    for label, row in places.items():
        gone = [guide.elements.index(e) for e in guide.absent.get(label, ())]
        if row == matrix or not weights[matrix, gone].sum() > 0:
            continue
        total = counts.sum(axis=1)
        fraction = np.divide(counts[:, row], total, out=np.zeros_like(total), where=total > 0)
        rich = fraction >= RICH * fraction.max()
        left = np.quantile(
            counts[rich] / np.maximum(counts[rich, row : row + 1], PRESENT_COUNTS), PUREST, axis=0
        )
        left[[row, matrix]] = 0.0
        weights[row], counts = _with(weights[row] + left @ weights, counts, row, left)
        out = np.zeros(len(weights))
        out[matrix] = -min(weights[row, gone].sum() / weights[matrix, gone].sum(), MOST_OUT)
        weights[row], counts = _with(weights[row] + out @ weights, counts, row, out)
    return replace(now, spectra=model.spectra(weights), abundance=counts.astype(now.abundance.dtype))


def _with(
    weights: np.ndarray, counts: np.ndarray, row: int, fraction: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Add this much of the others to phase ``row`` per count; weights sum to 1 again."""
    moved = np.minimum(counts[:, row : row + 1] * fraction, counts)
    fresh = counts - moved
    fresh[:, row] += moved.sum(axis=1)
    held = np.maximum(weights, 0.0)
    return held / held.sum(), np.maximum(fresh, 0.0)
