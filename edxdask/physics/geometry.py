"""Where detectors are, what covers them, and at which angle they see a tilted film.

Axes: z points up the column, x along the holder, towards its tip. Azimuths count from x, counter-clockwise
seen from the gun. `alpha` turns the film about x; `beta` turns it about the axis that is across the holder
and moves with it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edxdask.errors import ParameterError
from edxdask.schema import AZIMUTH, EFFICIENCY, EFFICIENCY_ENERGY, ELEVATION, FWHM, WINDOW

MOST_DETECTORS = 4
WINDOWS = ("none", "polymer", "beryllium")


@dataclass(frozen=True, slots=True)
class Detector:
    """A silicon drift detector, or an array of up to four alike.

    Attributes
    ----------
    window : "none", "polymer" (300 nm of polymer on a silicon grid) or "beryllium"
    beryllium_um : thickness of a beryllium window
    active_mm, dead_layer_nm, contact_nm : active silicon, dead silicon, aluminium contact
    fwhm_mn_ka_ev : width of a peak at Mn Kα
    elevation_deg, azimuth_deg : one angle per detector
    weights : solid angle of each, in any unit; empty: all the same
    curve : energies (keV) and efficiencies, straight lines between them; the other fields are then ignored

    Examples
    --------
    >>> SUPER_X.takeoff_deg().round(6).tolist()
    [22.0, 22.0, 22.0, 22.0]
    """

    window: str = "none"
    beryllium_um: float = 8.0
    active_mm: float = 0.45
    dead_layer_nm: float = 100.0
    contact_nm: float = 30.0
    fwhm_mn_ka_ev: float = 130.0
    elevation_deg: tuple[float, ...] = (22.0,)
    azimuth_deg: tuple[float, ...] = (45.0,)
    weights: tuple[float, ...] = ()
    curve: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    @classmethod
    def of(cls, attrs: Mapping[Hashable, Any]) -> Detector:
        """Detector that the attributes of a cube describe: windowless and at 22° where they do not.

        Raises
        ------
        ParameterError
            If they are not those of a detector, or hold only half of an efficiency curve.
        """
        usual = cls()
        names = (ELEVATION, AZIMUTH, EFFICIENCY_ENERGY, EFFICIENCY)
        known = {name: np.atleast_1d(attrs[name]) for name in names if attrs.get(name) is not None}
        elevation, azimuth = (
            tuple(known.get(name, np.empty(0)).astype(float).tolist()) for name in (ELEVATION, AZIMUTH)
        )
        elevation = elevation or usual.elevation_deg
        if len(azimuth) != len(elevation):
            azimuth = tuple(45.0 + 360.0 * i / len(elevation) for i in range(len(elevation)))
        curve = tuple(
            tuple(known[name].astype(float).tolist())
            for name in (EFFICIENCY_ENERGY, EFFICIENCY)
            if name in known
        )
        if len(curve) == 1:
            raise ParameterError(
                EFFICIENCY, attrs.get(EFFICIENCY),
                f"attributes {EFFICIENCY_ENERGY!r} and {EFFICIENCY!r} both, or neither",
            )  # fmt: skip
        return cls(
            window=str(attrs.get(WINDOW) or usual.window),
            fwhm_mn_ka_ev=float(attrs.get(FWHM) or usual.fwhm_mn_ka_ev),
            elevation_deg=elevation,
            azimuth_deg=azimuth,
            curve=(curve[0], curve[1]) if curve else None,
        )

    def __post_init__(self) -> None:
        if self.window not in WINDOWS:
            raise ParameterError("window", self.window, f"one of {', '.join(WINDOWS)}")
        for name in ("beryllium_um", "active_mm", "dead_layer_nm", "contact_nm", FWHM):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ParameterError(name, getattr(self, name), "a number, 0 or more")
        self._check_angles()
        if self.curve is not None:
            _check_curve(*self.curve)

    def _check_angles(self) -> None:
        count = len(self.elevation_deg)
        if not 1 <= count <= MOST_DETECTORS:
            raise ParameterError(ELEVATION, self.elevation_deg, f"1 to {MOST_DETECTORS} angles")
        if not all(0 < angle <= 90 for angle in self.elevation_deg):
            raise ParameterError(ELEVATION, self.elevation_deg, "angles above 0 and up to 90 degrees")
        if len(self.azimuth_deg) != count:
            raise ParameterError(AZIMUTH, self.azimuth_deg, f"as many angles as elevations: {count}")
        if self.weights and (len(self.weights) != count or min(self.weights) < 0 or sum(self.weights) <= 0):
            raise ParameterError("weights", self.weights, f"{count} solid angles, 0 or more, not all 0")

    def shares(self) -> np.ndarray:
        """Fraction of the solid angle that each detector has; they sum to 1."""
        weights = np.array(self.weights or (1.0,) * len(self.elevation_deg))
        return weights / weights.sum()

    def takeoff_deg(self, *, alpha_deg: float = 0.0, beta_deg: float = 0.0) -> np.ndarray:
        """Angle between film and line of sight of each detector; see `takeoff_angle`."""
        pairs = zip(self.elevation_deg, self.azimuth_deg, strict=True)
        return np.array([takeoff_angle(e, a, alpha_deg=alpha_deg, beta_deg=beta_deg) for e, a in pairs])

    def directions(self, tilt_deg: float) -> np.ndarray:
        """Give unit vectors (detector, (z, y, x)) towards each detector, in the frame of a tilted sample.

        The frame is that of a volume: y along the tilt axis, which is the holder's axis, z up the column
        without tilt, and a point at x is seen at ``x cos θ + z sin θ``.

        Examples
        --------
        >>> Detector(elevation_deg=(90.0,), azimuth_deg=(0.0,)).directions(30.0).round(3).tolist()
        [[0.866, 0.0, -0.5]]
        """
        elevation, azimuth = np.deg2rad(self.elevation_deg), np.deg2rad(self.azimuth_deg)
        up, along = np.sin(elevation), np.cos(elevation) * np.cos(azimuth)
        across = -np.cos(elevation) * np.sin(azimuth)  # x runs against the holder's second axis
        cos, sin = np.cos(np.deg2rad(tilt_deg)), np.sin(np.deg2rad(tilt_deg))
        return np.stack([up * cos + across * sin, along, across * cos - up * sin], axis=1)


def _check_curve(energies: Sequence[float], efficiencies: Sequence[float]) -> None:
    energy, share = np.asarray(energies, dtype=np.float64), np.asarray(efficiencies, dtype=np.float64)
    if energy.ndim != 1 or energy.shape != share.shape or energy.size < 2 or not (np.diff(energy) > 0).all():
        raise ParameterError(
            "curve", f"{energy.shape}, {share.shape}", "two rows of equal length, rising energies (keV)"
        )
    if not ((share >= 0) & (share <= 1)).all():
        raise ParameterError("curve", [float(share.min()), float(share.max())], "efficiencies from 0 to 1")


def takeoff_angle(
    elevation_deg: float, azimuth_deg: float, *, alpha_deg: float = 0.0, beta_deg: float = 0.0
) -> float:
    """Angle (deg) between a film tilted by ``alpha_deg`` and ``beta_deg`` and the line from it to a detector.

    sin(take-off) = d·n, with d the direction of the detector and n = cos β (cos α z - sin α y) + sin β x the
    normal of the film, which is z without tilt. Negative where the detector sees the film's lower side.

    Examples
    --------
    >>> round(takeoff_angle(22.0, -90.0, alpha_deg=15.0), 6)
    37.0
    """
    elevation, azimuth, alpha, beta = np.deg2rad([elevation_deg, azimuth_deg, alpha_deg, beta_deg])
    towards = np.array(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    )
    normal = np.array([np.sin(beta), -np.cos(beta) * np.sin(alpha), np.cos(beta) * np.cos(alpha)])
    return float(np.rad2deg(np.arcsin(np.clip(towards @ normal, -1.0, 1.0))))


def half_angle_deg(solid_angle_sr: float) -> float:
    """Half the opening angle (deg) of a round detector of ``solid_angle_sr``: Ω = 2π (1 - cos θ).

    Examples
    --------
    >>> round(half_angle_deg(0.175), 2)
    13.55
    """
    if not 0 < solid_angle_sr < 2 * np.pi:
        raise ParameterError("solid_angle_sr", solid_angle_sr, "a solid angle between 0 and 2π")
    return float(np.rad2deg(np.arccos(1.0 - solid_angle_sr / (2.0 * np.pi))))


def tabulated_share(tilt_deg: float, tilts_deg: Sequence[float], shares: np.ndarray) -> np.ndarray:
    """Fraction in sight of each detector at a tilt, from a table (tilts, detectors), by straight lines.

    Examples
    --------
    >>> tabulated_share(5.0, [0.0, 10.0], np.array([[1.0, 0.8], [0.9, 0.4]])).round(3).tolist()
    [0.95, 0.6]
    """
    tilts, table = np.asarray(tilts_deg, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != tilts.size or not (np.diff(tilts) > 0).all():
        raise ParameterError("shares", table.shape, f"one row per tilt ({tilts.size}), and rising tilts")
    if not tilts[0] <= tilt_deg <= tilts[-1]:
        raise ParameterError(
            "tilt_deg", tilt_deg, f"an angle within the table, {tilts[0]:g} to {tilts[-1]:g}"
        )
    return np.array([np.interp(tilt_deg, tilts, column) for column in table.T])


def shadow_share(tilts_deg: Sequence[float] | np.ndarray, begins_deg: float, full_deg: float) -> np.ndarray:
    """Fraction in sight of a detector that the holder shades, at each tilt, by the model of two angles.

    All of it is in sight up to ``begins_deg``, nothing from ``full_deg`` on, a straight line between; with
    ``full_deg`` below ``begins_deg`` the shadow falls on it towards negative tilts.

    Examples
    --------
    >>> shadow_share([-30, 0, 30, 60], 0, 40).tolist()
    [1.0, 1.0, 0.25, 0.0]
    >>> shadow_share([-30, 0, 30, 60], 0, -40).tolist()
    [0.25, 1.0, 1.0, 1.0]
    """
    if not (np.isfinite([begins_deg, full_deg]).all() and begins_deg != full_deg):
        raise ParameterError(
            "shadow", (begins_deg, full_deg), "the tilts at which it begins and is full, not the same"
        )
    tilts = np.asarray(tilts_deg, dtype=np.float64)
    return np.clip((full_deg - tilts) / (full_deg - begins_deg), 0.0, 1.0)


def shadow_shares(
    tilts_deg: Sequence[float] | np.ndarray, shadows: Sequence[tuple[float, float] | None]
) -> np.ndarray:
    """Fraction in sight of each detector at each tilt: (tilt, detector); None is one that nothing shades.

    Examples
    --------
    >>> shadow_shares([0, 30, 60], [(0, 40), None]).tolist()
    [[1.0, 1.0], [0.25, 1.0], [0.0, 1.0]]
    """
    if (
        isinstance(shadows, str)
        or not isinstance(shadows, Sequence)
        or not 1 <= len(shadows) <= MOST_DETECTORS
    ):
        raise ParameterError(
            "shadows",
            shadows,
            f"1 to {MOST_DETECTORS} detectors: (begins, full) or None",
            "shadows=[(10, 50), (10, 50), None, None]",
        )
    clear = np.ones(len(tilts_deg))
    columns = []
    for shadow in shadows:
        if shadow is None:
            columns.append(clear)
            continue
        if not isinstance(shadow, Sequence) or isinstance(shadow, str) or len(shadow) != 2:
            raise ParameterError("shadows", shadow, "two tilts in degrees, (begins, full), or None")
        columns.append(shadow_share(tilts_deg, float(shadow[0]), float(shadow[1])))
    return np.stack(columns, axis=1)


SUPER_X = Detector(elevation_deg=(22.0,) * 4, azimuth_deg=(45.0, 135.0, 225.0, 315.0))
