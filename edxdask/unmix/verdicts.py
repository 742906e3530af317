"""Which maps of a collection do not belong to it: another composition, or counts that no fit explains.

Each map is compared with all others (leave one out). T1 is the distance of its own composition from that of
the others, d' (I_own⁻¹ + I_others⁻¹)⁻¹ d over the number of independent fractions: about 1 if the map
belongs, however many photons it has. Information is added and no covariance, so what a map leaves open
counts for nothing. If only one element of one phase differs, T1 divides its excess by the number of all
fractions; therefore each fraction is also compared alone, with a limit for as many comparisons as there are
(Bonferroni): a collection of maps that all belong has one beyond it once in ten thousand times. T2 is
chi-squared per channel of its own fit, beside 1 if energy axis, detector and elements are right. All grow
with the photons of a map that is wrong: a map is said not to belong if T1 is large, or one fraction differs
by more than the limit, and a fraction differs by a part of itself that matters; or if T2 is large and its
excess per photon would matter for a composition. The worst such map is taken out, then the others are
judged again without it, so that it cannot make them look wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from edxdask.unmix.normal_equations import inverse_with_open_directions
from edxdask.unmix.pinned import PinnedFit

MOST_T1, MOST_T2, MOST_EXCESS = 5.0, 1.5, 5e-4
FALSE_ALARMS = 1e-4  # collections of maps that all belong in which one is named for one of its fractions
UNCALIBRATED, UNREAD = "it cannot be calibrated", "it cannot be read"  # so a map does not belong
LEAST_CHANGE = 0.02  # of a fraction, relative to that of the other maps, that matters
LEAST_SIGMA = 3.0  # at which such a change is surely there


@dataclass(frozen=True)
class MapVerdict:
    """Whether one map belongs to its collection.

    Attributes
    ----------
    name : of the map
    t1 : distance of its composition from that of the others; NaN where there is nothing to compare with
    t2 : chi-squared per channel of its own fit
    excess : of chi-squared, per photon
    belongs : as judged
    reason : why not; empty where it belongs
    sigma : largest difference of one fraction from that of the others, in standard errors
    fraction : which one that is, such as "Fe in Brg"
    most_sigma : limit of ``sigma`` for as many comparisons as there were
    """

    name: str
    t1: float
    t2: float
    excess: float
    belongs: bool
    reason: str = ""
    sigma: float = float("nan")
    fraction: str = ""
    most_sigma: float = float("nan")


@dataclass(frozen=True)
class Difference:
    """A map beside the others.

    Attributes
    ----------
    t1 : distance of all fractions together
    limit : of ``t1``
    sigma : largest difference of one fraction, in standard errors; of those that matter where there are any
    change : that difference, relative to the fraction of the others
    row : number of that fraction, phase × elements
    matters : whether that difference is large enough to care, and surely there
    """

    t1: float = float("nan")
    limit: float = MOST_T1
    sigma: float = float("nan")
    change: float = float("nan")
    row: int = -1
    matters: bool = False


@dataclass(frozen=True, eq=False)
class OwnFit:
    """What a map says alone.

    Attributes
    ----------
    composition : (phases, elements)
    information : (phases × elements, phases × elements) on amounts of atoms
    misfit : chi-squared per channel of its summed spectrum
    channels : of these
    photons : of the map
    by_phase : (phases,) photons of each
    """

    composition: np.ndarray
    information: np.ndarray
    misfit: float
    channels: int
    photons: float
    by_phase: np.ndarray

    @classmethod
    def of(cls, fit: PinnedFit, channels: int, photons: float) -> OwnFit:
        """Take what is needed from the fit of one map."""
        (own,) = fit.maps
        by_phase = own.amount.sum(axis=0) * own.spectra.sum(axis=1)
        return cls(fit.composition, fit.information, float(fit.misfit[0]), channels, photons, by_phase)

    @property
    def excess(self) -> float:
        """Chi-squared beyond the channels, per photon."""
        return (self.misfit - 1.0) * self.channels / max(self.photons, 1.0)


def judge_maps(
    fits: Mapping[str, OwnFit], fractions: Sequence[str], failed: Mapping[str, str] | None = None
) -> list[MapVerdict]:
    """Judge every map by its own fit.

    Parameters
    ----------
    fits : mapping of OwnFit
        By name.
    fractions : sequence of str
        Names of all fractions, phase by phase: "Mg in Brg", ….
    failed : mapping of str, optional
        Why other maps could not be fitted at all; they do not belong.

    Returns
    -------
    list of MapVerdict
        In the order of ``fits``, then the failed ones. The order changes no figure.
    """
    slopes = _independent(list(fits.values()))
    kept, out = sorted(fits), dict[str, MapVerdict]()
    compared = {name: slopes.T @ one.information @ slopes for name, one in fits.items()}
    limit = float(stats.norm.isf(FALSE_ALARMS / max(2 * len(fits) * slopes.shape[1], 2)))
    while kept:
        found = {name: _difference(name, fits, kept, compared, slopes) for name in kept}
        now = {name: _judged(name, fits[name], found[name], limit, fractions) for name in kept}
        wrong = [name for name in kept if not now[name].belongs]
        if not wrong:
            out |= now
            break
        worst = max(wrong, key=lambda name: _badness(now[name], limit))
        out[worst] = now[worst]
        kept.remove(worst)
    return [out[name] for name in fits] + [
        MapVerdict(name, float("nan"), float("nan"), float("nan"), False, why)
        for name, why in (failed or {}).items()
    ]


def _badness(one: MapVerdict, limit: float) -> float:
    of_t2 = one.t2 / MOST_T2 if one.excess > MOST_EXCESS else 0.0
    return max(np.nan_to_num(one.t1) / MOST_T1, np.nan_to_num(one.sigma) / limit, of_t2)


def _independent(maps: list[OwnFit]) -> np.ndarray:
    """Make the slopes of all atoms by the fractions that are compared: (phases × elements, fractions).

    Fractions of a phase sum to 1, so its largest follows from the others. What no map may hold is left out.
    """
    if not maps:
        return np.zeros((0, 0))
    fractions = np.median([one.composition for one in maps], axis=0)
    largest = fractions.argmax(axis=1)
    seen = np.any([np.diag(one.information) > 0 for one in maps], axis=0).reshape(fractions.shape)
    seen[np.arange(len(fractions)), largest] = False
    slopes = []
    for phase, element in np.argwhere(seen):
        slope = np.zeros(fractions.shape)
        slope[phase, element], slope[phase, largest[phase]] = 1.0, -1.0
        slopes.append(slope.ravel())
    return np.array(slopes).reshape(len(slopes), fractions.size).T


def _judged(name: str, own: OwnFit, found: Difference, limit: float, fractions: Sequence[str]) -> MapVerdict:
    reasons = []
    what = fractions[found.row] if found.row >= 0 else ""
    if found.t1 > found.limit and found.matters:
        reasons.append(
            f"its composition is not that of the other maps (T1 {found.t1:.3g}, at most {found.limit:.3g}; "
            f"most of all {what})"
        )
    elif found.sigma > limit and found.matters:
        more = f"{100 * abs(found.change):.2g} % {'more' if found.change > 0 else 'less'}"
        reasons.append(
            f"it has {more} {what} than the other maps ({found.sigma:.1f} standard errors, "
            f"at most {limit:.1f})"
        )
    if own.misfit > MOST_T2 and own.excess > MOST_EXCESS:
        reasons.append(
            f"its spectrum is not explained by energy axis, detector and elements (T2 {own.misfit:.3g}, "
            f"at most {MOST_T2:g})"
        )
    text = "; ".join(reasons)
    return MapVerdict(
        name, found.t1, own.misfit, float(own.excess), not reasons, text, found.sigma, what, limit
    )


def _difference(
    name: str,
    fits: Mapping[str, OwnFit],
    kept: Sequence[str],
    compared: Mapping[str, np.ndarray],
    slopes: np.ndarray,
) -> Difference:
    """Compare a map with the weighted mean of the others, in the fractions that both can say anything of.

    ``compared`` is the information of each map on the fractions that are compared.
    """
    rest = [other for other in kept if other != name]
    if not rest or not slopes.size:
        return Difference()
    own, others, known = fits[name], [fits[other] for other in rest], [compared[other] for other in rest]
    mine, theirs = compared[name], np.sum(known, axis=0)
    seen = np.flatnonzero((np.diag(mine) > 0) & (np.diag(theirs) > 0))
    if not seen.size:
        return Difference()
    rows = np.argmax(slopes > 0, axis=0)  # number of each fraction that is compared
    start = own.composition.ravel()
    away = [(one.composition.ravel() - start)[rows] for one in others]
    mean = _inverse(theirs) @ np.sum([a @ b for a, b in zip(known, away, strict=True)], axis=0)
    rows, mean, block = rows[seen], mean[seen], np.ix_(seen, seen)
    both = mine[block] @ _inverse(mine[block] + theirs[block]) @ theirs[block]
    sigmas = np.abs(mean) / _errors(own, others, mine[block], theirs[block], rows)
    changes = -mean / np.maximum(start[rows] + mean, 1e-12)
    matter = (np.abs(changes) > LEAST_CHANGE) & (sigmas > LEAST_SIGMA)
    most = int(np.argmax(np.where(matter, sigmas, 0.0) if matter.any() else sigmas))
    return Difference(
        float(mean @ both @ mean) / seen.size,
        max(MOST_T1, float(stats.chi2.isf(FALSE_ALARMS / len(fits), seen.size)) / seen.size),
        float(sigmas[most]),
        float(changes[most]),
        int(rows[most]),
        bool(matter.any()),
    )


def _errors(
    own: OwnFit, others: Sequence[OwnFit], mine: np.ndarray, theirs: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Give the standard error of the difference of every fraction.

    A map in which by chance nothing of a rare element was counted says that it is sure of that; therefore its
    variance is at least that of the others for as many photons of the phase.
    """
    phase = rows // own.composition.shape[1]
    counted = np.sum([one.by_phase for one in others], axis=0) / np.maximum(own.by_phase, 1.0)
    rest = np.diag(inverse_with_open_directions(theirs))
    alone = np.diag(inverse_with_open_directions(mine))
    return np.sqrt(np.maximum(alone, rest * counted[phase]) + rest)


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverse of information, whatever the units of its rows; 0 for what it leaves open."""
    scale = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    inverse = np.linalg.pinv(matrix / np.outer(scale, scale), rcond=1e-12, hermitian=True)
    return np.asarray(inverse / np.outer(scale, scale))
