"""How a simulated tilt series is acquired: at which tilts, how misaligned, how bright each projection is."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edxdask.errors import ParameterError
from edxdask.physics.geometry import shadow_shares
from edxdask.simulate.checks import LEAST_SIDE, finite
from edxdask.simulate.grains import random_table

TILTS_DEG = tuple(float(tilt) for tilt in range(-70, 71, 5))
MOST_TILTS = 1000
# of a misaligned series: moves of single tilts up to, the axis off the middle, its angle in the image, and
# the rows at both ends that stay empty so that the object stays in the field
MISALIGNED: Mapping[str, float | None] = {
    "shift_px": 3.0,
    "axis_px": 1.7,
    "rotation_deg": 1.0,
    "margin_px": None,
}
# tilts at which the shadow on a detector begins and is full
TWO_OF_FOUR = ((10.0, 50.0), (10.0, 50.0), None, None)

Misaligned = bool | Mapping[str, float | None]
Shadows = bool | Sequence[tuple[float, float] | None]


@dataclass(frozen=True)
class Acquisition:
    """What a user says of the acquisition of a tilt series; see ``edxdask.simulate``."""

    tilts: Sequence[float] | None
    misaligned: Misaligned
    shadows: Shadows
    dose_drift: float | Sequence[float] | None
    absorption: bool

    def fields(self, box: tuple[int, int, int], *, seed: int) -> dict[str, Any]:
        """Give what a ``SeriesSpec`` needs of it, checked."""
        if not isinstance(self.absorption, bool):
            raise ParameterError("absorption", self.absorption, "True or False")
        tilts = tilts_of(self.tilts)
        (shift_y, shift_x, turn), margin = moves_of(self.misaligned, len(tilts), box[2], seed=seed)
        if box[1] - 2 * margin < LEAST_SIDE:
            rows = math.ceil(2 * margin) + LEAST_SIDE
            expected = f"{rows} rows or more: a misaligned object needs {margin:.3g} free rows at both ends"
            raise ParameterError("shape", box, expected, 'Or give them: misaligned={"margin_px": 0}.')
        doses, sight = doses_of(self.dose_drift, len(tilts)), sight_of(self.shadows, tilts)
        seen = sight.mean(axis=1)
        return {
            "margin": margin,
            "tilt_deg": tilts,
            "shift_y": shift_y,
            "shift_x": shift_x,
            "rotation_deg": turn,
            "exposure": exposures_of(doses, seen),
            "sight": tuple(map(tuple, sight.tolist())),
            "absorption": self.absorption,
        }

    def check_none(self, recipe: str, series: Iterable[str]) -> None:
        """Refuse what only a tilt series has, for the recipe of a map."""
        for name, value in vars(self).items():
            if value is not None and value is not False:
                listed = " and ".join(map(repr, series))
                raise ParameterError(
                    name, value, f"nothing for a map, {recipe!r}", f"Tilt series are {listed}."
                )


def tilts_of(tilts: Any) -> tuple[float, ...]:
    """Check the angles of a series; None: from -70 to 70 in steps of 5."""
    if tilts is None:
        return TILTS_DEG
    array = np.atleast_1d(np.asarray(tilts)) if not isinstance(tilts, str) else np.empty(0)
    fits = array.ndim == 1 and array.dtype.kind in "iuf" and 1 <= array.size <= MOST_TILTS
    if not fits or not (np.abs(array) <= 90).all():
        raise ParameterError(
            "tilts", tilts, "angles of the stage in degrees, from -90 to 90", "tilts=range(-70, 71, 5)"
        )
    return tuple(array.astype(float).tolist())


def moves_of(
    misaligned: Any, tilts: int, width: int, *, seed: int
) -> tuple[tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]], float]:
    """Draw moves along y and x and turns of each projection, and the rows to keep empty at both ends."""
    still = (0.0,) * tilts
    if misaligned is False or misaligned is None:
        return (still, still, still), 0.0
    given = {} if misaligned is True else misaligned
    if not isinstance(given, Mapping) or set(given) - set(MISALIGNED):
        names = ", ".join(f"{name!r}: {value}" for name, value in MISALIGNED.items())
        raise ParameterError("misaligned", misaligned, f"True, False, or any of {{{names}}}")
    values = {name: _of_misaligned(name, given.get(name, usual), usual) for name, usual in MISALIGNED.items()}
    shift, axis, turn = values["shift_px"], values["axis_px"], values["rotation_deg"]
    draw = 2 * random_table(seed, 150, 2, tilts) - 1
    margin = abs(shift) + 1.0 + math.sin(math.radians(abs(turn))) * width / 2
    kept = margin if given.get("margin_px") is None else abs(values["margin_px"])
    along_y, along_x = (tuple((shift * row).tolist()) for row in draw)
    return (along_y, tuple(axis + move for move in along_x), (turn,) * tilts), kept


def _of_misaligned(name: str, value: Any, usual: float | None) -> float:
    if value is None and usual is None:
        return 0.0
    return finite(f"misaligned[{name!r}]", 0.0, value)


def doses_of(dose_drift: Any, tilts: int) -> np.ndarray:
    """Dose of each projection relative to one another: even, changing along the series, or as given."""
    if dose_drift is None:
        return np.ones(tilts)
    if isinstance(dose_drift, numbers.Real) and not isinstance(dose_drift, bool):
        if not -1 < float(dose_drift) <= 10:
            raise ParameterError(
                "dose_drift", dose_drift, "a change above -1: -0.3 is a beam that falls by 30 %"
            )
        return np.linspace(1.0, 1.0 + float(dose_drift), tilts)
    array = np.asarray(dose_drift)
    if isinstance(dose_drift, str | bool) or array.dtype.kind not in "iuf" or array.shape != (tilts,):
        raise ParameterError("dose_drift", dose_drift, f"a number, or one dose per tilt ({tilts})")
    if not (np.isfinite(array).all() and (array >= 0).all() and array.sum() > 0):
        raise ParameterError("dose_drift", dose_drift, "doses of 0 or more, not all 0")
    return array.astype(float)


def sight_of(shadows: Any, tilts: Sequence[float]) -> np.ndarray:
    """Fraction in sight of each detector (tilt, detector); True: two of four go into shadow."""
    if shadows is None or shadows is False:
        return np.ones((len(tilts), 1))
    shares = shadow_shares(tilts, TWO_OF_FOUR if shadows is True else shadows)
    if not shares.sum() > 0:
        raise ParameterError("shadows", shadows, "a detector that sees the object at one tilt")
    return shares


def exposures_of(doses: np.ndarray, sight: np.ndarray) -> tuple[float, ...]:
    """Dose times what detectors see of it, mean 1."""
    product = doses * sight
    if not product.sum() > 0:
        raise ParameterError(
            "dose_drift", doses.tolist(), "a dose at a tilt where a detector sees the object"
        )
    return tuple((product / product.mean()).tolist())
