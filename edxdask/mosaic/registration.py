"""The shift between two images that overlap: a correlation finds it to a pixel, Gauss-Newton to a hundredth.

Images are stacks ``(channel, y, x)`` with NaN where nothing was measured. A shift is the position of the
second image's first pixel in pixels of the first image. Pure NumPy and SciPy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import fft, ndimage

LEAST_SIDE, LEAST_PIXELS = 4, 96  # of an overlap: fewer pixels correlate by chance
SIGNIFICANT = 5.0  # sigma of white noise that a correlation must exceed: of 10,000 shifts noise reaches 4
WIDTHS = (1.0, 2.0, 4.0)  # of the Gaussian that images are smoothed with, px
GOOD_ENOUGH = 0.04  # px: an error at which no wider smoothing is tried
WORST = 0.75  # px: a shift that is less certain is none
FLOOR = 0.02  # px: distortions and interpolation, which no residual shows
BORDER = 6.0  # smoothing widths: overlaps that are narrower are mostly border
NARROW = 2.0  # how much larger their errors are, since borders are smoothed with fewer neighbours
_MOST_STEPS, _CONVERGED, _REACH, _HALF = 30, 1e-3, 2.0, 0.6


@dataclass(frozen=True, eq=False)
class Registration:
    """How a second image lies on a first one.

    Attributes
    ----------
    shift : (2,) position of the second image's first pixel in the first image, px
    std : (2,) its standard error, px
    correlation : of the two images where they overlap
    pixels : number of pixels there
    """

    shift: np.ndarray
    std: np.ndarray
    correlation: float
    pixels: int


@dataclass(frozen=True, eq=False)
class _Smooth:
    """A smoothed image without NaN, and where it was measured."""

    image: np.ndarray
    valid: np.ndarray


def register(
    first: np.ndarray, second: np.ndarray, start: np.ndarray, radius: float, *, constraints: int = 0
) -> Registration | None:
    """Measure the shift between two images.

    Parameters
    ----------
    first : array
        Image (channel, y, x).
    second : array
        Image of as many channels.
    start : array
        Shift that is expected.
    radius : float
        How far from it the shift may be, px along each axis.
    constraints : int
        Sums of channels that are constant, such as that of abundances: they carry no information of their
        own.

    Returns
    -------
    Registration or None
        None where the images do not overlap enough, or carry nothing that says how they lie.

    Examples
    --------
    >>> field = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(60, 60)), 2)[None]
    >>> found = register(field[:, :40], field[:, 30:], np.array([28.0, 1.0]), 4)
    >>> (found.shift.round(1) + 0.0).tolist()
    [30.0, 0.0]
    """
    cut = [_cut(image, *rows) for image, rows in _facing(first, second, start, radius)]
    if cut[0] is None or cut[1] is None:
        return None
    offset = _offset(first, second, start, radius)
    sizes = first.shape[1:], second.shape[1:]
    wide = min(overlap_of(*sizes, start)) >= BORDER * WIDTHS[0]
    best: Registration | None = None
    for width in WIDTHS:
        margin = round(width) if wide else 0
        pair = _smooth(cut[0], width, margin), _smooth(cut[1], width, margin)
        found = _measured(*pair, start - offset, radius, width, constraints)
        if found is None:
            continue
        found = replace(found, shift=found.shift + offset)
        narrow = min(overlap_of(*sizes, found.shift)) < BORDER * width
        if narrow and width > WIDTHS[0]:
            break
        found = replace(found, std=found.std * NARROW) if narrow else found
        if best is None or found.std.max() < best.std.max():
            best = found
        if best.std.max() <= GOOD_ENOUGH:
            break
    return best if best is not None and best.std.max() < WORST else None


def overlap_of(first: tuple[int, int], second: tuple[int, int], shift: np.ndarray) -> tuple[int, int]:
    """Rows and columns that two images of these sizes have in common.

    Examples
    --------
    >>> overlap_of((10, 10), (10, 10), np.array([8.0, -3.0]))
    (2, 7)
    """
    sides = (
        int(np.floor(min(n, p + m) - max(0.0, p) + 1e-9))
        for n, m, p in zip(first, second, shift, strict=True)
    )
    rows, columns = (max(side, 0) for side in sides)
    return rows, columns


def _facing(
    first: np.ndarray, second: np.ndarray, start: np.ndarray, radius: float
) -> list[tuple[np.ndarray, list[tuple[int, int]]]]:
    """Rows and columns of both images that may overlap, and a margin for smoothing."""
    margin = radius + 2 * WIDTHS[-1]
    spans = []
    for own, other, sign in ((first, second, 1.0), (second, first, -1.0)):
        lows = np.maximum(np.floor(sign * start - margin), 0).astype(int)
        sizes, others = np.array(own.shape[1:]), np.array(other.shape[1:])
        highs = np.minimum(np.ceil(sign * start + others + margin), sizes).astype(int)
        spans.append((own, list(zip(lows.tolist(), highs.tolist(), strict=True))))
    return spans


def _cut(image: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray | None:
    cut = image[:, rows[0] : max(rows), columns[0] : max(columns)]
    return cut if min(cut.shape[1:]) >= LEAST_SIDE else None


def _offset(first: np.ndarray, second: np.ndarray, start: np.ndarray, radius: float) -> np.ndarray:
    """Find what cutting the images adds to a shift."""
    (_, one), (_, other) = _facing(first, second, start, radius)
    return np.array([a[0] - b[0] for a, b in zip(one, other, strict=True)], dtype=float)


def _smooth(image: np.ndarray, width: float, margin: int) -> _Smooth:
    """Smooth by a Gaussian; pixels that were not measured take no part and count for nothing.

    ``margin`` pixels along the borders are left out: they are smoothed with fewer neighbours than others.
    """
    valid = np.isfinite(image).all(axis=0)
    image = image.astype(np.float64)
    middle = np.array([np.mean(one, where=valid) if valid.any() else 0.0 for one in image])
    filled = np.where(valid, image - middle[:, None, None], 0.0)
    weight = ndimage.gaussian_filter(valid.astype(np.float64), width, mode="nearest")
    smoothed = np.stack([ndimage.gaussian_filter(one, width, mode="nearest") for one in filled])
    inside = np.zeros_like(valid)
    inside[margin : valid.shape[0] - margin, margin : valid.shape[1] - margin] = True
    return _Smooth(smoothed / np.maximum(weight, 1e-3), valid & inside)


def _measured(
    a: _Smooth, b: _Smooth, start: np.ndarray, radius: float, width: float, constraints: int
) -> Registration | None:
    """Correlate, then refine."""
    found = _correlated(a, b, start, radius, width)
    return None if found is None else _refined(a, b, found, width, constraints)


def _correlated(a: _Smooth, b: _Smooth, start: np.ndarray, radius: float, width: float) -> np.ndarray | None:
    """Whole-pixel shift at which the correlation is most significant; None where chance explains it.

    The correlation of every shift is that of the pixels in common (as of masked images), from transforms of
    the images, their squares and their masks.
    """
    sizes = [n + m - 1 for n, m in zip(a.valid.shape, b.valid.shape, strict=True)]
    shape = tuple(fft.next_fast_len(n, real=True) for n in sizes)
    lows, highs = np.floor(start - radius).astype(int), np.ceil(start + radius).astype(int)
    rows, columns = (np.arange(low, high + 1) % n for low, high, n in zip(lows, highs, shape, strict=True))

    def turned(image: np.ndarray) -> np.ndarray:
        return np.asarray(fft.rfft2(image, shape))

    def summed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.asarray(fft.irfft2(one * other.conj(), shape))[np.ix_(rows, columns)]

    masks = turned(a.valid), turned(b.valid)
    pixels = np.rint(summed(*masks))
    safe = np.maximum(pixels, 1.0)
    product, powers = np.zeros_like(safe), [np.zeros_like(safe), np.zeros_like(safe)]
    for one, other in zip(a.image * a.valid, b.image * b.valid, strict=True):
        scale = max(float(np.sqrt(np.mean(one**2) + np.mean(other**2))), 1e-300)
        waves = turned(one / scale), turned(other / scale)
        sums = summed(waves[0], masks[1]), summed(masks[0], waves[1])
        product += summed(*waves) - sums[0] * sums[1] / safe
        powers[0] += summed(turned((one / scale) ** 2), masks[1]) - sums[0] ** 2 / safe
        powers[1] += summed(masks[0], turned((other / scale) ** 2)) - sums[1] ** 2 / safe
    enough = _enough(pixels, lows, highs, a, b)
    both = powers[0] * powers[1]
    usable = enough & (powers[0] > 0) & (powers[1] > 0) & (both > 1e-24 * safe**2)
    correlation = np.where(usable, product / np.sqrt(np.where(usable, both, 1.0)), 0.0)
    # smoothed white noise: neighbours within 2πw² pixels are one measurement
    sigma = np.arctanh(np.clip(correlation, -0.999999, 0.999999)) * np.sqrt(pixels / (2 * np.pi * width**2))
    place = np.unravel_index(int(np.argmax(sigma)), sigma.shape)
    if not sigma[place] > SIGNIFICANT:
        return None
    return np.asarray(lows + np.array(place), dtype=float)


def _enough(pixels: np.ndarray, lows: np.ndarray, highs: np.ndarray, a: _Smooth, b: _Smooth) -> np.ndarray:
    """Whether the overlap of each shift has a least size."""
    sides = []
    for low, high, n, m in zip(lows, highs, a.valid.shape, b.valid.shape, strict=True):
        shifts = np.arange(low, high + 1)
        sides.append(np.minimum(n, shifts + m) - np.maximum(0, shifts))
    return (pixels >= LEAST_PIXELS) & (sides[0][:, None] >= LEAST_SIDE) & (sides[1][None, :] >= LEAST_SIDE)


@dataclass(frozen=True, eq=False)
class _Overlap:
    """Both images where they overlap at one shift, without their means, in the units of the first.

    Attributes
    ----------
    first, second : (channel, pixels)
    slopes : (2, 2, channel, pixels) of first and second, along y and x
    residual : (channel, pixels)
    shape : rows and columns
    valid : (rows, columns), which pixels those are
    """

    first: np.ndarray
    second: np.ndarray
    slopes: np.ndarray
    residual: np.ndarray
    valid: np.ndarray


def _refined(
    a: _Smooth, b: _Smooth, start: np.ndarray, width: float, constraints: int
) -> Registration | None:
    """Least squares over the shift, a gain and an offset of each channel.

    The gradient is the mean of both images', and the normal matrix their product: noise of one image is
    independent of that of the other, so that it biases neither.
    """
    shift, whole = start.copy(), start
    for _ in range(_MOST_STEPS):
        seen = _at(a, b, shift, whole)
        if seen is None:
            return None
        normal, force, weights = _normal_equations(seen)
        if not _is_positive(normal):
            return None
        step = np.clip(np.linalg.solve(normal, force), -0.5, 0.5)
        if np.abs(step).max() < _CONVERGED:
            break
        shift = shift + step
        if np.abs(shift - start).max() > _REACH:
            return None
        if np.abs(shift - whole).max() > _HALF:  # the pixels in common change only here
            whole = np.rint(shift)
    else:
        return None
    inverse = np.linalg.inv(normal)
    channels = len(seen.first)
    counted = channels / max(channels - constraints, 1)
    covariance = inverse @ _scatter(seen, weights, width) @ inverse * counted
    std = np.sqrt(np.diag(covariance) + FLOOR**2)
    norms = np.sqrt((seen.first**2).sum(axis=1) * (seen.second**2).sum(axis=1))
    correlation = float(np.average((seen.first * seen.second).sum(axis=1) / norms, weights=norms))
    return Registration(shift, std, correlation, int(seen.valid.sum()))


def _is_positive(normal: np.ndarray) -> bool:
    """Whether both directions are fixed by the images."""
    return bool(np.all(np.isfinite(normal)) and np.linalg.eigvalsh(normal)[0] > 0)


def _at(a: _Smooth, b: _Smooth, shift: np.ndarray, whole: np.ndarray) -> _Overlap | None:
    """Interpolate the second image on pixels of the first (cubic splines): those in common at a whole shift.

    The shift is no more than about half a pixel from the whole one; borders are continued that far.
    """
    near = whole.astype(int)
    sizes, others = np.array(a.valid.shape), np.array(b.valid.shape)
    lows, highs = np.maximum(near, 0), np.minimum(near + others, sizes)
    if np.any(highs - lows < LEAST_SIDE):
        return None
    window = tuple(slice(low, high) for low, high in zip(lows, highs, strict=True))
    same = tuple(slice(low, high) for low, high in zip(lows - near, highs - near, strict=True))
    places = (np.arange(w.start, w.stop) - p for w, p in zip(window, shift, strict=True))
    grid = np.meshgrid(*places, indexing="ij")
    moved = np.stack([ndimage.map_coordinates(one, grid, order=3, mode="nearest") for one in b.image])
    valid = a.valid[window] & b.valid[same]
    if valid.sum() < LEAST_PIXELS:
        return None
    varied = _varied(a.image[:, *window][:, valid]) & _varied(moved[:, valid])
    if not varied.any():
        return None
    kept, moved = a.image[varied][:, *window], moved[varied]
    slopes = np.stack([np.stack(np.gradient(image, axis=(1, 2))) for image in (kept, moved)])
    first, second = (_without_mean(image[:, valid]) for image in (kept, moved))
    gain = np.sqrt((first**2).mean(axis=1) / (second**2).mean(axis=1))[:, None]
    slopes = slopes[..., valid]
    slopes[1] *= gain
    # what a change of gain or offset would explain says nothing on the shift
    slopes = _without_mean(slopes)
    common = (first + gain * second) / 2
    slopes -= (slopes * common).mean(axis=-1, keepdims=True) * (
        common / (common**2).mean(axis=1, keepdims=True)
    )
    return _Overlap(first, gain * second, slopes, first - gain * second, valid)


def _varied(values: np.ndarray) -> np.ndarray:
    """Which channels are not of one value, as a phase that is not there is."""
    spread = values.std(axis=1)
    return np.asarray(spread > 1e-6 * max(float(spread.max()), 1e-300))


def _without_mean(values: np.ndarray) -> np.ndarray:
    return np.asarray(values - values.mean(axis=-1, keepdims=True))


def _normal_equations(seen: _Overlap) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrix and right side of a step, and the weights of the channels."""
    power = (seen.residual**2).mean(axis=1)
    signal = (seen.first * seen.second).mean(axis=1)
    weights = 1.0 / np.maximum(power, 1e-9 * np.abs(signal) + 1e-300)
    cross = np.einsum("icp,jcp,c->ij", seen.slopes[0], seen.slopes[1], weights)
    mean = seen.slopes.mean(axis=0)
    # r = a - b(x - shift): b moves against its gradient
    force = -np.einsum("icp,cp,c->i", mean, seen.residual, weights)
    return (cross + cross.T) / 2, force, weights


def _scatter(seen: _Overlap, weights: np.ndarray, width: float) -> np.ndarray:
    """Variance of the right side, for noise that was white before the images were smoothed."""
    # a Gaussian of this width leaves 1 / 4πw² of the variance of white noise
    noise = (seen.residual**2).mean(axis=1) * 4 * np.pi * width**2
    mean = seen.slopes.mean(axis=0)
    found = np.zeros((2, 2))
    for channel, (weight, variance) in enumerate(zip(weights, noise, strict=True)):
        planes = []
        for axis in (0, 1):
            plane = np.zeros(seen.valid.shape)
            plane[seen.valid] = mean[axis, channel]
            planes.append(ndimage.gaussian_filter(plane, width, mode="constant").ravel())
        found += weight**2 * variance * np.array([[one @ other for other in planes] for one in planes])
    return found
