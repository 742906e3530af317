"""How bright each projection is: dose times what detectors see, from the counts or a model of shadows.

The photons of an object that lies within every field are the same at all tilts, up to dose and shadows (and
absorption, which is small where this is used), so their number is the exposure, drift of the beam included.
Where the field cuts the object, what is in it changes with the tilt, and only a model can say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edxdask.errors import ParameterError
from edxdask.physics.geometry import shadow_shares

Shadows = Sequence[tuple[float, float] | None]
DARK = 0.05  # exposure over the mean below which a projection says nothing
SIGNIFICANT = 5.0  # sigma between counts and model that are no chance
LARGEST_MISFIT = 0.05  # relative, between counts and a model with a straight drift of the dose


@dataclass(frozen=True)
class Exposure:
    """Exposures of the projections of a series.

    Attributes
    ----------
    values : (tilt,), mean 1
    std : (tilt,), standard errors; 0 where a model says them
    source : whether the counts or a model said so
    warnings : what a person should know
    """

    values: np.ndarray
    std: np.ndarray
    source: Literal["counts", "model"]
    warnings: tuple[str, ...] = ()


def exposure_of(
    photons: np.ndarray,
    tilt_deg: np.ndarray,
    *,
    shadows: Shadows | None = None,
    dose: np.ndarray | None = None,
    cut: bool = False,
) -> Exposure:
    """Exposures from the photons of each projection or, of a field that cuts the object, from the model.

    Parameters
    ----------
    photons : (tilt,), of whole projections
    tilt_deg : (tilt,)
    shadows : of each detector, (tilt at which its shadow begins, tilt at which it is full) or None
    dose : (tilt,), in any unit, where files say it
    cut : whether the object is larger than the field, so that photons do not say the exposure

    Examples
    --------
    >>> exposure_of(np.array([90, 110, 100]), np.array([-10, 0, 10])).values.round(2).tolist()
    [0.9, 1.1, 1.0]
    >>> exposure_of(np.array([90, 110, 100]), [-10, 0, 10], shadows=[(0, 20), None], cut=True).values.round(3)
    array([1.091, 1.091, 0.818])
    """
    counted, tilts = np.asarray(photons, dtype=np.float64), np.asarray(tilt_deg, dtype=np.float64)
    if counted.shape != tilts.shape or not (counted >= 0).all() or not counted.sum() > 0:
        raise ParameterError("photons", counted.shape, f"a number of photons for each of {tilts.size} tilts")
    modelled = None if shadows is None and dose is None else _modelled(tilts, shadows, dose)
    if not cut:
        values = counted / counted.mean()
        warnings = [] if modelled is None else _misfit(counted, tilts, modelled)
        return Exposure(
            values, np.sqrt(counted) / counted.mean(), "counts", (*warnings, *_dark(values, tilts))
        )
    if modelled is not None:
        return Exposure(modelled, np.zeros_like(modelled), "model", tuple(_dark(modelled, tilts)))
    warning = (
        "the field cuts the object, so photons do not say how bright each tilt is, and no shadows given: "
        "all tilts are taken to be alike. shadows=[(begins, full), …] says what the holder shades"
    )
    return Exposure(np.ones_like(counted), np.zeros_like(counted), "model", (warning,))


def sight_of_tilts(tilt_deg: Sequence[float] | np.ndarray, shadows: Shadows) -> np.ndarray:
    """Fraction of all detectors in sight at each tilt, s(t) = Σ_d s_d(t) / n: (tilt,).

    Examples
    --------
    >>> sight_of_tilts([0, 30, 60], [(0, 60), (0, 60), None, None]).tolist()
    [1.0, 0.75, 0.5]
    """
    return np.asarray(shadow_shares(tilt_deg, shadows).mean(axis=1))


def _modelled(tilts: np.ndarray, shadows: Shadows | None, dose: np.ndarray | None) -> np.ndarray:
    sight = np.ones(tilts.size) if shadows is None else sight_of_tilts(tilts, shadows)
    if dose is not None:
        given = np.asarray(dose, dtype=np.float64)
        if given.shape != tilts.shape or not (np.isfinite(given) & (given >= 0)).all():
            raise ParameterError(
                "dose", given.tolist(), f"a dose of 0 or more for each of {tilts.size} tilts"
            )
        sight = sight * given
    if not sight.sum() > 0:
        raise ParameterError("shadows", shadows, "a detector that sees the object at one tilt")
    return np.asarray(sight / sight.mean())


def _misfit(counted: np.ndarray, tilts: np.ndarray, modelled: np.ndarray) -> list[str]:
    """Say where counts contradict the model, beyond a drift of the dose that is straight in acquisition."""
    seen = modelled > DARK
    if seen.sum() < 4:
        return []
    order = np.arange(tilts.size, dtype=np.float64)[seen]
    ratio = counted[seen] / (modelled[seen] * counted.mean())
    line = np.polynomial.Polynomial.fit(order, ratio, 1)(order)
    error = np.sqrt(np.maximum(counted[seen], 1)) / (modelled[seen] * counted.mean())
    off = np.abs(ratio / line - 1)
    bad = (off > LARGEST_MISFIT) & (np.abs(ratio - line) > SIGNIFICANT * error)
    if not bad.any():
        return []
    named = ", ".join(f"{tilt:g}°" for tilt in tilts[seen][bad][:8])
    return [
        f"photons differ from the shadows given by up to {100 * off[bad].max():.0f} % ({named}); the photons "
        "were used. The two angles of a detector may be wrong, or the object leaves the field"
    ]


def _dark(values: np.ndarray, tilts: np.ndarray) -> list[str]:
    dark = values < DARK
    if not dark.any():
        return []
    named = ", ".join(f"{tilt:g}°" for tilt in tilts[dark][:8])
    return [f"projections with less than {100 * DARK:g} % of the mean exposure say nearly nothing: {named}"]
