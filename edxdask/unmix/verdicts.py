"""Which maps of a collection do not belong to it: another composition, or counts that no fit explains.

Each map is compared with all others (leave one out). T1 is the distance of its own composition from that of
the others, d' (I_own⁻¹ + I_others⁻¹)⁻¹ d over the number of independent fractions: about 1 if the map
belongs, however many photons it has. Information is added and no covariance, so what a map leaves open
counts for nothing. T2 is chi-squared per channel of its own fit, beside 1 if energy axis, detector
and elements are right. Both grow with the photons of a map that is wrong: a map is said not to belong if T1
is large, or if T2 is large and its excess per photon would matter for a composition. The worst such map is
taken out, then the others are judged again without it, so that it cannot make them look wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edxdask.unmix.pinned import PinnedFit

MOST_T1, MOST_T2, MOST_EXCESS = 5.0, 1.5, 5e-4


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
    """

    name: str
    t1: float
    t2: float
    excess: float
    belongs: bool
    reason: str = ""


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
    """

    composition: np.ndarray
    information: np.ndarray
    misfit: float
    channels: int
    photons: float

    @classmethod
    def of(cls, fit: PinnedFit, channels: int, photons: float) -> OwnFit:
        """Take what is needed from the fit of one map."""
        return cls(fit.composition, fit.information, float(fit.misfit[0]), channels, photons)

    @property
    def excess(self) -> float:
        """Chi-squared beyond the channels, per photon."""
        return (self.misfit - 1.0) * self.channels / max(self.photons, 1.0)


def judge_maps(fits: Mapping[str, OwnFit], failed: Mapping[str, str] | None = None) -> list[MapVerdict]:
    """Judge every map by its own fit.

    Parameters
    ----------
    fits : mapping of OwnFit
        By name.
    failed : mapping of str, optional
        Why other maps could not be fitted at all; they do not belong.

    Returns
    -------
    list of MapVerdict
        In the order of ``fits``, then the failed ones. The order changes no figure.
    """
    slopes = _independent(list(fits.values()))
    kept, out = sorted(fits), dict[str, MapVerdict]()
    while kept:
        now = {name: _judged(name, fits, kept, slopes) for name in kept}
        wrong = [name for name in kept if not now[name].belongs]
        if not wrong:
            out |= now
            break
        worst = max(wrong, key=lambda name: _badness(now[name]))
        out[worst] = now[worst]
        kept.remove(worst)
    rest = [
        MapVerdict(name, float("nan"), float("nan"), float("nan"), False, f"it cannot be calibrated: {why}")
        for name, why in (failed or {}).items()
    ]
    return [out[name] for name in fits] + rest


def _badness(one: MapVerdict) -> float:
    return max(np.nan_to_num(one.t1) / MOST_T1, one.t2 / MOST_T2 if one.excess > MOST_EXCESS else 0.0)


def _independent(maps: list[OwnFit]) -> np.ndarray:
    """Make the slopes of all atoms by the fractions that are compared: (phases × elements, fractions).

    Fractions of a phase sum to 1, so its largest follows from the others. What no map may hold is left out.
    """
    if not maps:
        return np.zeros((0, 0))
    fractions = np.median([one.composition for one in maps], axis=0)
    largest = fractions.argmax(axis=1)
    seen = np.all([np.diag(one.information) > 0 for one in maps], axis=0).reshape(fractions.shape)
    seen[np.arange(len(fractions)), largest] = False
    slopes = []
    for phase, element in np.argwhere(seen):
        slope = np.zeros(fractions.shape)
        slope[phase, element], slope[phase, largest[phase]] = 1.0, -1.0
        slopes.append(slope.ravel())
    return np.array(slopes).reshape(len(slopes), fractions.size).T


def _judged(name: str, fits: Mapping[str, OwnFit], kept: list[str], slopes: np.ndarray) -> MapVerdict:
    own = fits[name]
    others = [fits[other] for other in kept if other != name]
    t1 = _distance(own, others, slopes) if others and slopes.size else float("nan")
    reasons = []
    if t1 > MOST_T1:
        reasons.append(f"its composition is not that of the other maps (T1 {t1:.3g}, at most {MOST_T1:g})")
    if own.misfit > MOST_T2 and own.excess > MOST_EXCESS:
        reasons.append(
            f"its spectrum is not explained by energy axis, detector and elements (T2 {own.misfit:.3g}, "
            f"at most {MOST_T2:g})"
        )
    return MapVerdict(name, float(t1), own.misfit, float(own.excess), not reasons, "; ".join(reasons))


def _distance(own: OwnFit, others: list[OwnFit], slopes: np.ndarray) -> float:
    """T1 of a map: from the weighted mean of the others."""
    known = [slopes.T @ one.information @ slopes for one in others]
    mine, theirs = slopes.T @ own.information @ slopes, np.sum(known, axis=0)
    start = own.composition.ravel()
    kept = np.argmax(slopes > 0, axis=0)  # number of each fraction that is compared
    away = [(one.composition.ravel() - start)[kept] for one in others]
    mean = _inverse(theirs) @ np.sum([a @ b for a, b in zip(known, away, strict=True)], axis=0)
    both = mine @ _inverse(mine + theirs) @ theirs
    return float(mean @ both @ mean) / slopes.shape[1]


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverse of information, whatever the units of its rows; 0 for what it leaves open."""
    scale = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    inverse = np.linalg.pinv(matrix / np.outer(scale, scale), rcond=1e-12, hermitian=True)
    return np.asarray(inverse / np.outer(scale, scale))
