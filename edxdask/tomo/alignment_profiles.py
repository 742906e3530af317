"""First positions of projections: y by profiles along the axis, x by the centre of mass on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from edxdask.tomo.alignment_images import Stack

REACH = 1 / 4  # of a profile: the largest move of a projection from the others
ROUNDS, SETTLED = 30, 0.003  # least squares of profiles, px
SMOOTH = 1.0  # px, of the mean profile
LEAST_OVERLAP = 0.5  # of a profile that must lie on the mean
SUPPORT = 0.01  # of the brightest column: where the object begins
MARGIN = 1.25  # window of a centre of mass in widths of the object


@dataclass(frozen=True)
class Shifts:
    """Moves of all projections along an axis, px, with standard errors."""

    values: np.ndarray
    std: np.ndarray


def shifts_along_axis(stack: Stack, rotation_deg: float = 0.0) -> Shifts:
    """Find moves along the axis: across it each line holds as much in all tilts, whatever the tilt.

    With the axis at an angle φ lines run at φ through the middle of the image, so that what is found is
    shift_y - shift_x tan φ.
    """
    profiles, variances, seen = _profiles(stack, rotation_deg)
    start = _row_start(profiles, seen, centred=not stack.cut_y)
    return _refined(profiles, variances, seen, start)


def first_shifts(stack: Stack, rotation_deg: float = 0.0) -> tuple[Shifts, Shifts]:
    """Find moves along y and along x of projections that hold the object's whole width."""
    along = shifts_along_axis(stack, rotation_deg)
    tilted = np.tan(np.deg2rad(rotation_deg))
    across = column_shifts(stack, along.values)
    if stack.cut_y and tilted:
        across = column_shifts(stack, along.values + tilted * across.values)
    std = np.hypot(along.std, tilted * across.std) if tilted else along.std
    return Shifts(along.values + tilted * across.values, std), across


def _profiles(stack: Stack, rotation_deg: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum across the axis, along lines at ``rotation_deg``: values, variances, and what part was measured."""
    rows, columns = stack.shape
    c = np.arange(columns) - (columns - 1) / 2
    r = np.arange(rows)
    w = r[:, None] - c[None, :] * np.tan(np.deg2rad(rotation_deg))  # distance from the middle is added back
    first = np.floor(w).astype(np.int64)
    upper = (w - first).ravel()
    low = first.ravel()
    out = []
    for array in (stack.values, stack.variance, stack.measured.astype(np.float32)):
        made = np.zeros((len(array), rows))
        for index, weight in ((low, 1 - upper), (low + 1, upper)):
            inside = (index >= 0) & (index < rows)
            for i, image in enumerate(array):
                made[i] += np.bincount(index[inside], (image.ravel() * weight)[inside], minlength=rows)
        out.append(made)
    values, variance, seen = out
    return values, variance, seen > 0.8 * columns


def _row_start(profiles: np.ndarray, seen: np.ndarray, *, centred: bool) -> np.ndarray:
    """Whole pixels: centres of mass, or where the object is cut, correlation with the mean so far."""
    tilts, rows = profiles.shape
    if centred:
        at = np.arange(rows) - (rows - 1) / 2
        kept = np.maximum(profiles, 0)
        return np.asarray((kept @ at) / np.maximum(kept.sum(axis=1), 1e-30))
    shifts = np.zeros(tilts)
    middle = tilts // 2
    for i in (*range(middle + 1, tilts), *range(middle - 1, -1, -1)):
        near = i - 1 if i > middle else i + 1
        done = range(middle, i) if i > middle else range(middle, i, -1)
        mean, weight = _mean(profiles, seen, shifts, list(done))
        shifts[i] = _correlated(profiles[i], seen[i], mean, weight > 0, around=shifts[near])
    return shifts


def _mean(
    profiles: np.ndarray, seen: np.ndarray, shifts: np.ndarray, used: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of moved profiles, each scaled to the same level, on rows that reach beyond the field."""
    rows = profiles.shape[1]
    at = np.arange(rows)
    total, weight = np.zeros(rows), np.zeros(rows)
    for i in used:
        there = at + shifts[i]
        inside = np.interp(there, at, seen[i].astype(float), left=0.0, right=0.0) > 0.99
        total += np.where(inside, np.interp(there, at, profiles[i]), 0.0)
        weight += inside
    return np.where(weight > 0, total / np.maximum(weight, 1), 0.0), weight


def _correlated(
    profile: np.ndarray, seen: np.ndarray, mean: np.ndarray, known: np.ndarray, *, around: float
) -> float:
    """Whole-pixel lag of the highest correlation coefficient."""
    rows = profile.size
    reach = max(2, int(REACH * rows))
    best, at = -np.inf, around
    smooth, mean = gaussian_filter1d(profile, SMOOTH), gaussian_filter1d(mean, SMOOTH)
    for lag in range(round(around) - reach, round(around) + reach + 1):
        a = slice(max(lag, 0), min(rows, rows + lag))
        b = slice(max(-lag, 0), min(rows, rows - lag))
        both = seen[a] & known[b]
        if both.sum() < LEAST_OVERLAP * rows:
            continue
        p, m = smooth[a][both], mean[b][both]
        p, m = p - p.mean(), m - m.mean()
        norm = float(np.sqrt((p @ p) * (m @ m)))
        value = float(p @ m) / norm if norm > 0 else -np.inf
        if value > best:
            best, at = value, float(lag)
    return at


def _refined(profiles: np.ndarray, variances: np.ndarray, seen: np.ndarray, shifts: np.ndarray) -> Shifts:
    """Least squares of each profile on the mean of all others, until none moves."""
    tilts, rows = profiles.shape
    at = np.arange(rows, dtype=float)
    shifts, std = shifts.astype(float).copy(), np.full(tilts, np.inf)
    scale = profiles.sum(axis=1) / profiles.sum(axis=1).mean()
    for _ in range(ROUNDS):
        before = shifts.copy()
        level = profiles / scale[:, None]
        for i in range(tilts):
            mean, weight = _mean(level, seen, shifts, [j for j in range(tilts) if j != i])
            mean = gaussian_filter1d(mean, SMOOTH)
            there = at - shifts[i]
            inside = seen[i] & (np.interp(there, at, weight, left=0.0, right=0.0) > tilts / 3)
            if inside.sum() < 3:
                continue
            model, slope = np.interp(there, at, mean), np.interp(there, at, np.gradient(mean))
            observed = gaussian_filter1d(profiles[i], SMOOTH)
            jacobian = np.stack([model, -scale[i] * slope], axis=1)[inside]
            heavy = jacobian / np.maximum(variances[i][inside], variances[i].mean() * 1e-3)[:, None]
            normal = heavy.T @ jacobian
            step = np.linalg.lstsq(normal, heavy.T @ (observed - scale[i] * model)[inside], rcond=None)[0]
            scale[i] = max(scale[i] + step[0], 0.1 * scale[i])
            shifts[i] += float(np.clip(step[1], -1, 1))
            std[i] = float(np.sqrt(np.linalg.pinv(normal)[1, 1]))
        shifts -= shifts.mean() - before.mean()
        if np.abs(shifts - before).max() < SETTLED:
            break
    return Shifts(shifts, std)


def common_rows(stack: Stack, shift_y: np.ndarray) -> tuple[int, int]:
    """First and last row + 1, counted in the volume, that all fields show; all rows where there are none."""
    rows = stack.shape[0]
    first, stop = int(np.ceil(max(0.0, (-shift_y).max()))), int(np.floor(min(rows, rows - shift_y.max())))
    return (first, stop) if first < stop else (0, rows)


def column_shifts(stack: Stack, shift_y: np.ndarray) -> Shifts:
    """Find moves across the axis: the centre of mass of the rows that all fields show goes onto the axis."""
    tilts, (_, columns) = len(stack.values), stack.shape
    profiles = np.empty((tilts, columns))
    variances = np.empty((tilts, columns))
    first, stop = common_rows(stack, shift_y) if stack.cut_y else (0, stack.shape[0])
    for i in range(tilts):
        low, high = (first + shift_y[i], stop + shift_y[i]) if stack.cut_y else (0.0, float(stop))
        weight = np.clip(np.arange(stack.shape[0]) + 1 - low, 0, 1)
        weight *= np.clip(high - np.arange(stack.shape[0]), 0, 1)
        profiles[i], variances[i] = weight @ stack.values[i], weight @ stack.variance[i]
    at = np.arange(columns) - (columns - 1) / 2
    centre = (np.maximum(profiles, 0) @ at) / np.maximum(np.maximum(profiles, 0).sum(axis=1), 1e-30)
    for _ in range(5):
        half = _half_width(profiles, centre)
        window = np.clip(half + 0.5 - np.abs(at[None, :] - centre[:, None]), 0, 1)
        mass = (window * profiles).sum(axis=1)
        centre = (window * profiles) @ at / np.maximum(mass, 1e-30)
    spread = (window * variances * (at[None, :] - centre[:, None]) ** 2).sum(axis=1)
    known = (mass > 0) & (spread > 0)
    return Shifts(centre, np.where(known, np.sqrt(spread) / np.where(known, mass, 1.0), np.inf))


def half_width(stack: Stack, shift_y: np.ndarray, shift_x: np.ndarray) -> float:
    """Half of the object's width across the axis, px, over all tilts."""
    return _half_width(stack.values.sum(axis=1, dtype=np.float64), shift_x) / MARGIN


def _half_width(profiles: np.ndarray, centre: np.ndarray) -> float:
    columns = profiles.shape[1]
    at = np.arange(columns) - (columns - 1) / 2
    mean = np.mean([np.interp(at, at - c, p) for c, p in zip(centre, profiles, strict=True)], axis=0)
    mean = gaussian_filter1d(mean, 2 * SMOOTH)
    out = np.abs(at)[mean > SUPPORT * mean.max()]
    return MARGIN * float(out.max(initial=columns / 2 if mean.max() <= 0 else 0.0)) + 2
