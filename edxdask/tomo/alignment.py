"""Where each projection of a tilt series lies: moves along and across the axis, and the axis' angle.

Along the axis, profiles: the sum across the axis is the same at every tilt. Across it, the centre of mass
goes onto the axis, where the field holds the whole object; where it does not, neighbouring tilts are
correlated. The angle of the axis is the one with which a volume explains all tilts best. Then every
projection is moved onto a volume of others (``reprojection``). Only copies, to search on, are resampled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from edxdask.errors import ParameterError
from edxdask.tomo.alignment_correlation import correlated_shifts
from edxdask.tomo.alignment_images import FEWEST_TILTS, Stack, stack_of
from edxdask.tomo.alignment_profiles import Shifts, first_shifts, half_width
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.quality import MAD_TO_SIGMA, SCATTERS
from edxdask.tomo.reprojection import Registered, Reprojection, Size, improved

MOST_COLUMNS, MOST_SEARCHED = (
    256,
    96,
)  # of images that are reprojected, and of those that the angle is sought on
SEARCHED_DEG = 8.0  # the axis is sought so far to both sides
SEARCH_STEPS = (2.0, 1.0, 0.5, 0.25)
SEARCH_SMOOTH = 1.0  # px
SURE = 3.0  # standard errors that the axis' angle must differ from 0 by
SEARCH_PASSES = 6
CUT_ROWS = 2.0  # times as uncertain is the angle where rows come and go
ROOM = 4  # voxels around the object
OFFSETS = (-1 / 16, -1 / 32, 0.0, 1 / 32, 1 / 16)  # of the columns: where the axis is sought in a cut field
MISFIT = 2.0  # times the usual one, and beyond the scatter: a projection that others do not explain
UNSURE_PX, UNSURE_DEG = 0.5, 0.5
TURNED = 1e-3  # degrees that stand for none where angles are compared, so that all are placed alike


@dataclass(frozen=True)
class AlignedTilts:
    """What was found of a series, in pixels of its images.

    Parameters
    ----------
    geometry : TiltGeometry
        Where projections lie; exposures are 1.
    shift_y_std, shift_x_std : ndarray
        Standard errors of moves, px.
    rotation_std : float
        Standard error of the axis' angle, degrees; 0 where it was given.
    brightness : ndarray
        Brightness of each image beside what the volume says, mean 1; of photons this is the exposure.
    misfit : ndarray
        Mean squared residual of each image over its variance, in units of that of the median tilt.
    cut_y, cut_x : bool
        Whether the field cuts the object along the axis and across it.
    method : str
        Steps that found it.
    notes : tuple of str
        What is uncertain.
    """

    geometry: TiltGeometry
    shift_y_std: np.ndarray
    shift_x_std: np.ndarray
    rotation_std: float
    brightness: np.ndarray
    misfit: np.ndarray
    cut_y: bool
    cut_x: bool
    method: str
    notes: tuple[str, ...]


def align_images(
    images: np.ndarray,
    tilt_deg: np.ndarray,
    *,
    guess: TiltGeometry | None = None,
    rotation_deg: float | None = None,
    cut: bool | None = None,
    threads: int = 1,
) -> AlignedTilts:
    """Align images of a tilt series whose axis is near y.

    Parameters
    ----------
    images : ndarray
        Over (tilt, y, x): counts, or any brightness that grows with mass; NaN where nothing was measured.
    tilt_deg : ndarray
        Tilts, degrees, in order.
    guess : TiltGeometry, optional
        Where projections may lie, to a few pixels; their angle is taken as it is.
    rotation_deg : float, optional
        Angle of the axis to y. None: found, up to 8° to both sides.
    cut : bool, optional
        Whether the field cuts the object across the axis. None: found from the images.
    threads : int
        Threads of the projector.

    Notes
    -----
    A move of all projections that only moves the volume is free: the object's centre of mass, or what the
    field shows of it at the middle tilt, comes to the middle of the volume.

    Examples
    --------
    >>> y, x = np.mgrid[:24, :32]
    >>> ball = np.sqrt(np.maximum(36 - (y - 11.5) ** 2 - (x - 15.5) ** 2, 0))
    >>> images = np.stack([np.roll(ball, move, axis=1) for move in (0, 2, -1, 0, 1)])
    >>> found = align_images(images, np.array([-40, -20, 0, 20, 40]), rotation_deg=0.0)
    >>> [round(float(move)) for move in found.geometry.shift_x]
    [0, 2, -1, 0, 1]
    """
    angles = _checked_tilts(images, tilt_deg)
    stack = stack_of(images, cut=cut)
    if guess is not None:
        if len(guess) != len(angles):
            raise ParameterError(
                "guess", f"{len(guess)} tilts", f"as many as there are images, {len(angles)}"
            )
        rotation_deg = float(np.mean(guess.rotation_deg)) if rotation_deg is None else rotation_deg
    start, search = _Start(stack, angles, guess), _searched(stack, angles, guess)
    steps = [start.name]
    rotation, rotation_std = (0.0 if rotation_deg is None else rotation_deg), 0.0
    if rotation_deg is None and not stack.cut_x:  # a film that fills the field looks alike at any angle
        rotation, rotation_std = _axis_angle(search, threads)
        steps.append("angle of the axis by reprojection")
    geometry, centres = start.at(rotation)
    if stack.cut_x and guess is None:
        offset = _axis_offset(search, rotation, threads)
        geometry = replace(geometry, shift_x=geometry.shift_x + offset)
    small = stack.binned(-(-stack.shape[1] // MOST_COLUMNS))
    geometry = small.geometry_here(geometry)
    work = Reprojection(small, _size(small, geometry), threads=threads)
    here, found = improved(work, geometry, centres=_in_pixels_of(small, centres))
    steps.append("reprojection")
    return _alignment(stack, small.geometry_of_file(here), found, small.bin, rotation_std, "; ".join(steps))


def _checked_tilts(images: np.ndarray, tilt_deg: np.ndarray) -> np.ndarray:
    angles = np.asarray(tilt_deg, dtype=np.float64)
    if angles.shape != np.shape(images)[:1] or angles.size < FEWEST_TILTS:
        expected = f"one angle per image ({np.shape(images)[0]}), of {FEWEST_TILTS} tilts or more"
        raise ParameterError("tilt_deg", angles.shape, expected)
    if not np.isfinite(angles).all() or not (np.diff(angles) > 0).all():
        raise ParameterError("tilt_deg", angles.tolist(), "angles that rise from one image to the next")
    return angles


class _Start:
    """First positions for any angle of the axis."""

    def __init__(self, stack: Stack, tilt_deg: np.ndarray, guess: TiltGeometry | None) -> None:
        self.stack, self.tilt_deg, self._guess = stack, tilt_deg, guess
        self._correlated = correlated_shifts(stack, tilt_deg) if guess is None and stack.cut_x else None
        total = np.maximum(stack.values.sum(axis=(1, 2), dtype=np.float64), 1e-30)
        self._exposure = np.ones(len(tilt_deg)) if stack.cut_x else total / total.mean()

    def every_second(self, first: int) -> _Start:
        """Every second projection from ``first`` on; where positions are given, so is the angle."""
        part, stack = slice(first, None, 2), self.stack
        fewer = replace(
            stack, values=stack.values[part], variance=stack.variance[part], measured=stack.measured[part]
        )
        return _Start(fewer, self.tilt_deg[part], None)

    @property
    def name(self) -> str:
        """Say what first positions come from."""
        if self._guess is not None:
            return "positions that were given"
        if self._correlated is not None:
            return "correlation of neighbouring tilts"
        return "profiles along y, centres of mass along x"

    def at(self, rotation_deg: float) -> tuple[TiltGeometry, Shifts | None]:
        """Give positions in pixels of the images, and centres of mass where the object is whole."""
        centres = None
        if self._guess is not None:
            shift_y, shift_x = self._guess.shift_y, self._guess.shift_x
        elif self._correlated is not None:
            shift_y, shift_x = self._correlated
        else:
            along, centres = first_shifts(self.stack, rotation_deg)
            shift_y, shift_x = along.values, centres.values
        geometry = TiltGeometry.of(
            self.tilt_deg,
            shift_y=shift_y,
            shift_x=shift_x,
            rotation_deg=rotation_deg,
            exposure=self._exposure,
        )
        return geometry, centres


def _in_pixels_of(small: Stack, centres: Shifts | None) -> Shifts | None:
    if centres is None:
        return None
    return Shifts((centres.values - small.offset[1]) / small.bin, centres.std / small.bin)


def _size(stack: Stack, geometry: TiltGeometry) -> Size:
    """Voxels of a volume that holds the object, or all that a cut field may show."""
    rows, columns = stack.shape
    half = half_width(stack, geometry.shift_y, geometry.shift_x)
    moved = int(np.ceil(np.ptp(geometry.shift_y))) + ROOM
    turned = int(np.ceil(half * abs(np.sin(np.deg2rad(geometry.rotation_deg)).max())))
    if not stack.cut_x:
        across = 2 * int(np.ceil(half)) + ROOM
        return Size(across, across, rows + moved + 2 * turned)
    widest = float(1 / np.cos(np.deg2rad(np.abs(geometry.tilt_deg).max())))
    across = int(np.ceil(columns * min(widest, 3.0))) + ROOM
    return Size(columns, across, rows + moved + 2 * turned)


def _searched(stack: Stack, tilt_deg: np.ndarray, guess: TiltGeometry | None) -> _Start:
    """First positions on small, smooth copies, which what is common to all tilts is searched on.

    A projector blurs turned projections a little, and others by the fraction of a pixel that they moved; on
    smooth images that says nothing.
    """
    small = stack.binned(-(-stack.shape[1] // MOST_SEARCHED))
    smooth = np.stack([gaussian_filter(image, SEARCH_SMOOTH) for image in small.values])
    edge = int(np.ceil(2 * SEARCH_SMOOTH))
    measured = small.measured.copy()
    if stack.cut_y:
        measured[:, :edge] = measured[:, -edge:] = False
    if stack.cut_x:
        measured[:, :, :edge] = measured[:, :, -edge:] = False
    small = replace(small, values=smooth, measured=measured)
    return _Start(small, tilt_deg, None if guess is None else small.geometry_here(guess))


def _misfit(work: Reprojection, geometry: TiltGeometry) -> float:
    """Squares that a volume of all tilts leaves."""
    tilts = np.arange(len(geometry))
    projector = work.projector(geometry)
    return work.squares(projector, work.volume(projector, tilts, passes=SEARCH_PASSES), tilts)


def _axis_angle(start: _Start, threads: int) -> tuple[float, float]:
    """Find the axis' angle; 0 where the images do not say otherwise.

    Every second tilt, and the others, must say the same: with few tilts a volume explains images that are
    turned better than those that are not, whatever the truth, and the misfit alone does not show it.
    """
    angle, std = _lowest_angle(start, threads)
    halves = [start.every_second(first) for first in (0, 1)]
    if min(len(half.tilt_deg) for half in halves) >= FEWEST_TILTS:
        first, second = (_lowest_angle(half, threads)[0] for half in halves)
        apart = max(abs(first - second) / 2, abs((first + second) / 2 - angle))
        std = max(std, float(apart)) if np.isfinite(apart) else SEARCHED_DEG
    return (angle, std) if np.isfinite(angle) and abs(angle) > SURE * std else (0.0, std)


def _lowest_angle(start: _Start, threads: int) -> tuple[float, float]:
    """Search the angle in ever smaller steps; NaN where it would be beyond the search.

    The standard error is where the misfit is 1 higher. Residuals of smooth images are not independent, which
    makes it too large, and moves are uncertain too, which makes it too small; in simulations it is right.
    """
    work = Reprojection(start.stack, _size(start.stack, start.at(0.0)[0]), threads=threads)
    known: dict[float, float] = {}

    def misfit(angle: float) -> float:
        if angle not in known:
            known[angle] = _misfit(work, start.at(angle if angle else TURNED)[0])
        return known[angle]

    best = min(np.arange(-SEARCHED_DEG, SEARCHED_DEG + 1, SEARCH_STEPS[0]).tolist(), key=misfit)
    if abs(best) >= SEARCHED_DEG:
        return np.nan, SEARCHED_DEG
    for step in SEARCH_STEPS[1:]:
        best = min((best - step, best, best + step), key=misfit)
    angle, std = _parabola({a: m for a, m in known.items() if abs(a - best) <= SEARCH_STEPS[0]})
    noise = float(start.stack.measured.sum()) / (4 * np.pi * SEARCH_SMOOTH**2)  # squares of smoothed counts
    std *= float(np.sqrt(max(1.0, min(known.values()) / noise)))
    std *= CUT_ROWS if start.stack.cut_y else 1.0
    return angle, std


def _parabola(points: dict[float, float]) -> tuple[float, float]:
    """Lowest point of a parabola through points, and where it is 1 above that."""
    at = np.array(sorted(points))
    values = np.array([points[a] for a in at])
    lowest = float(at[values.argmin()])
    bend, slope, _ = np.polyfit(at - lowest, values, 2)
    if bend <= 0:
        return lowest, float(np.ptp(at))
    return lowest + float(np.clip(-slope / (2 * bend), at[0] - lowest, at[-1] - lowest)), float(bend**-0.5)


def _axis_offset(start: _Start, rotation_deg: float, threads: int) -> float:
    """Find where the axis of a cut field lies across it, px from where the middle tilt has its middle."""
    geometry = start.at(rotation_deg or TURNED)[0]
    work = Reprojection(start.stack, _size(start.stack, geometry), threads=threads)
    columns = start.stack.shape[1]
    points = {
        part * columns: _misfit(work, replace(geometry, shift_x=geometry.shift_x + part * columns))
        for part in OFFSETS
    }
    return start.stack.bin * _parabola(points)[0]


def _alignment(
    stack: Stack, geometry: TiltGeometry, found: list[Registered], bin_: int, rotation_std: float, method: str
) -> AlignedTilts:
    """Put together what was found; errors are those of the misfit that was seen."""
    misfit = np.array([one.misfit for one in found])
    usual = float(np.median(misfit))
    spread = np.sqrt(np.maximum(1.0, misfit if np.isfinite(usual) else 1.0))
    std = bin_ * np.sqrt([np.diag(one.covariance) for one in found]) * spread[:, None]
    brightness = geometry.exposure / geometry.exposure.mean()
    misfit = misfit / max(usual, 1e-30)
    return AlignedTilts(
        replace(geometry, exposure=np.ones(len(geometry))),
        std[:, 0],
        std[:, 1],
        rotation_std,
        brightness,
        misfit,
        stack.cut_y,
        stack.cut_x,
        method,
        _notes(stack, geometry, std, misfit, rotation_std),
    )


def _notes(
    stack: Stack, geometry: TiltGeometry, std: np.ndarray, misfit: np.ndarray, rotation_std: float
) -> tuple[str, ...]:
    """Say what is uncertain."""
    notes = []
    if rotation_std > UNSURE_DEG:
        notes.append(
            f"the angle of the tilt axis is known to {rotation_std:.1f}° only; "
            f"{geometry.rotation_deg[0]:.1f}° was taken"
        )
    if stack.cut_x:
        notes.append(
            "the field cuts the object across the tilt axis, so its centre of mass is not known: "
            "neighbouring tilts were correlated, moves that change slowly with tilt are uncertain, and the "
            "angle of the axis is not found"
        )
    if stack.cut_y:
        notes.append("the field cuts the object along the tilt axis: rows that all tilts show were compared")
    unsure = np.flatnonzero(~(std < UNSURE_PX).all(axis=1))
    if unsure.size:
        notes.append(f"moves are known to {UNSURE_PX} px or worse at {_tilts(geometry, unsure)}")
    scatter = MAD_TO_SIGMA * float(np.median(np.abs(misfit - 1)))
    odd = np.flatnonzero(misfit > max(MISFIT, 1 + SCATTERS * scatter))
    if odd.size:
        notes.append(f"the volume of the other tilts does not explain {_tilts(geometry, odd)}")
    return tuple(notes)


def _tilts(geometry: TiltGeometry, which: np.ndarray) -> str:
    named = ", ".join(f"{geometry.tilt_deg[i]:g}°" for i in which[:8])
    return f"tilt {named}" + (f" and {which.size - 8} more" if which.size > 8 else "")
