"""Registration of frames with their own mean: whole pixels by correlation, fractions by least squares.

A *picture* is (features, rows, columns): one feature for an image, some for photons. Its *position* is where
its first pixel lies on the canvas, in pixels. A frame is compared with a mean that it is no part of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

ROUNDS, ENOUGH = 15, 1e-3  # least squares ends after so many steps, or at a step of so many pixels
TAPER = 0.1  # of a side: where the weight of a correlation rises from 0 at the edge
MARGIN = 16  # pixels that a canvas has beyond the frames on it
RINGS = 48  # rings of spatial frequency in which power is averaged


@dataclass(frozen=True)
class Match:
    """Where a picture lies on the canvas.

    Attributes
    ----------
    position : (2,) row and column of its first pixel
    covariance : (2, 2) of the position, px²
    gain, gain_std : contrast over that of the mean, with its error
    """

    position: np.ndarray
    covariance: np.ndarray
    gain: float
    gain_std: float


class PictureMean:
    """Mean of pictures at positions that are no whole numbers; grows with them.

    A picture is spread over the four nearest whole positions, so that the mean stays where the pictures are.
    """

    def __init__(self, features: int, shape: tuple[int, int]) -> None:
        self.origin = np.array([-MARGIN, -MARGIN])  # canvas position of the array's first pixel
        size = (shape[0] + 2 * MARGIN, shape[1] + 2 * MARGIN)
        self._total = np.zeros((features, *size), dtype=np.float32)
        self._seen = np.zeros(size, dtype=np.float32)

    def add(self, picture: np.ndarray, position: np.ndarray) -> None:
        """Add one picture."""
        whole = np.floor(position).astype(int)
        self._make_room(whole, picture.shape[1:])
        down, right = position - whole
        rows, columns = picture.shape[1:]
        for dy, dx, weight in (
            (0, 0, (1 - down) * (1 - right)),
            (0, 1, (1 - down) * right),
            (1, 0, down * (1 - right)),
            (1, 1, down * right),
        ):
            y, x = whole - self.origin + (dy, dx)
            self._total[:, y : y + rows, x : x + columns] += weight * picture
            self._seen[y : y + rows, x : x + columns] += weight

    def mean(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean picture, and how many pictures saw each pixel; pixels that none saw hold the overall mean."""
        seen = self._seen
        mean = np.divide(self._total, seen, out=np.zeros_like(self._total), where=seen > 1e-9)
        for feature in mean:
            feature[seen <= 1e-9] = np.average(feature, weights=seen)
        return mean, seen

    @classmethod
    def joined(cls, means: Sequence[PictureMean]) -> PictureMean:
        """Sum of means that have been ``levelled``."""
        out = cls.__new__(cls)
        out.origin = means[0].origin
        out._total = np.sum([c._total for c in means], axis=0)
        out._seen = np.sum([c._seen for c in means], axis=0)
        return out

    @staticmethod
    def levelled(means: Sequence[PictureMean]) -> None:
        """Grow means until all cover the same area."""
        for one in means:
            for other in means:
                rows, columns = other._seen.shape
                one._make_room(other.origin + MARGIN, (rows - 2 * MARGIN, columns - 2 * MARGIN))

    def _make_room(self, whole: np.ndarray, shape: tuple[int, ...]) -> None:
        before = np.maximum(self.origin - (whole - MARGIN), 0)
        end = self.origin + self._seen.shape
        after = np.maximum(whole + shape + MARGIN - end, 0)
        if before.any() or after.any():
            sides = list(zip(before, after, strict=True))
            self._seen = np.pad(self._seen, sides)
            self._total = np.pad(self._total, [(0, 0), *sides])
            self.origin = self.origin - before


class Reference:
    """Smooth mean that pictures are registered with, ready for interpolation.

    Each spatial frequency is weighted by how much of its power is the same in another mean, made of other
    frames (Wiener's filter); what is noise has none in common.
    """

    def __init__(self, mean: np.ndarray, seen: np.ndarray, origin: np.ndarray, other: np.ndarray) -> None:
        self.origin, self.seen = origin, seen
        smooth = np.stack([_wiener(own, one) for own, one in zip(mean, other, strict=True)])
        self.contrast = smooth[:, seen > 0.5 * seen.max()].std(axis=1)
        self._splines = np.stack([ndimage.spline_filter(f, order=3, mode="mirror") for f in smooth])

    @classmethod
    def without(cls, means: Sequence[PictureMean], left_out: int) -> Reference:
        """Make a reference from all means but one, filtered by what that one has in common with them."""
        PictureMean.levelled(means)
        others = [c for i, c in enumerate(means) if i != left_out]
        joined = PictureMean.joined(others)
        mean, seen = joined.mean()
        return cls(mean, seen, joined.origin, means[left_out].mean()[0])

    def holds(self, position: np.ndarray, shape: tuple[int, ...]) -> bool:
        """Whether a picture at a position lies on the canvas, with the pixels that interpolation needs."""
        first = np.floor(position).astype(int) - self.origin - 1
        return bool((first >= 0).all() and (first + np.array(shape) + 3 <= self.seen.shape).all())

    def at(self, position: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        """Values, their slopes along rows and columns, and the weight of each pixel, at a position."""
        whole = np.floor(position).astype(int)
        y, x = whole - self.origin - 1
        rows, columns = shape
        window = self._splines[:, y : y + rows + 3, x : x + columns + 3]
        (wy, dy), (wx, dx) = (_spline_weights(float(f)) for f in position - whole)
        across = sum(w * window[:, :, t : t + columns] for t, w in enumerate(wx))
        slope = sum(w * window[:, :, t : t + columns] for t, w in enumerate(dx))
        values = sum(w * across[:, t : t + rows] for t, w in enumerate(wy))
        down = sum(w * across[:, t : t + rows] for t, w in enumerate(dy))
        right = sum(w * slope[:, t : t + rows] for t, w in enumerate(wy))
        seen = self.seen[y + 1 : y + 1 + rows, x + 1 : x + 1 + columns]
        weight = np.where(seen > 0.5, seen / (seen + 1), 0.0)  # noise of the picture, and of the mean
        return values, down, right, weight


def _spline_weights(t: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights of four coefficients of a cubic spline at ``t`` past the second, and of its slope."""
    u = 1 - t
    values = np.array([u**3, 3 * t**3 - 6 * t**2 + 4, 3 * u**3 - 6 * u**2 + 4, t**3]) / 6
    slopes = np.array([-(u**2), 3 * t**2 - 4 * t, 4 * u - 3 * u**2, t**2]) / 2
    return values, slopes


def _wiener(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Filter a mean by the power that it has in common with another, ring by ring of spatial frequency.

    Cosine transforms have no step at the edges, so the edges do not pass for a signal.
    """
    mine, theirs = fft.dctn(own, norm="ortho"), fft.dctn(other, norm="ortho")
    y, x = (np.arange(n) / n for n in own.shape)
    ring = np.minimum((np.hypot(y[:, None], x) * (RINGS / np.sqrt(2))).astype(int), RINGS - 1)
    mine[0, 0] = theirs[0, 0] = 0.0  # a constant says nothing of positions
    common = np.bincount(ring.ravel(), (mine * theirs).ravel(), RINGS)
    power = np.bincount(ring.ravel(), (mine**2).ravel(), RINGS)
    gain = np.divide(common, power, out=np.zeros(RINGS), where=power > 0)
    gain = ndimage.gaussian_filter1d(np.clip(gain, 0.0, 1.0), 1.0)
    smooth: np.ndarray = fft.idctn(mine * gain[ring], norm="ortho")
    return smooth


def correlated(picture: np.ndarray, mean: np.ndarray, seen: np.ndarray, reach: float) -> tuple[int, int]:
    """Whole pixels that ``picture`` must move down and right to lie on ``mean``, at most ``reach``.

    Both have one shape; ``seen`` says where the mean holds something.
    """
    taper = _taper(picture.shape[1])[:, None] * _taper(picture.shape[2])
    known = taper * (seen > 0.5)
    size = [fft.next_fast_len(n + int(np.ceil(reach)), real=True) for n in picture.shape[1:]]
    total = np.zeros((size[0], size[1] // 2 + 1), dtype=complex)
    for mine, theirs in zip(picture, mean, strict=True):
        a = taper * (mine - np.average(mine, weights=taper + 1e-12))
        b = known * (theirs - np.average(theirs, weights=known + 1e-12))
        spread = a.var() or 1.0
        total += np.conj(fft.rfft2(a, size)) * fft.rfft2(b, size) / spread
    surface = ndimage.gaussian_filter(fft.irfft2(total, size), 1.0, mode="wrap")
    y, x = (fft.fftfreq(n, 1 / n) for n in size)
    surface[(np.abs(y)[:, None] > reach) | (np.abs(x) > reach)] = -np.inf
    best = np.unravel_index(int(np.argmax(surface)), surface.shape)
    return int(y[best[0]]), int(x[best[1]])


def _taper(size: int) -> np.ndarray:
    """Weights that rise from the edge as a half wave."""
    ramp = max(1, round(TAPER * size))
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5
    weights: np.ndarray = np.where(distance < ramp, 0.5 - 0.5 * np.cos(np.pi * distance / ramp), 1.0)
    return weights


def refined(picture: np.ndarray, reference: Reference, start: np.ndarray) -> Match | None:
    """Position of a picture by least squares from ``start``, with a gain and an offset of each feature.

    None where it does not settle: the picture holds nothing that the reference holds.
    """
    position, gain, shape = start.astype(float), 1.0, picture.shape[1:]
    for _ in range(ROUNDS):
        if not reference.holds(position, shape):
            return None
        normal, right_side = _normal_equations(picture, reference, position, gain)
        try:
            step = np.linalg.solve(normal, right_side)
        except np.linalg.LinAlgError:
            return None
        longest = np.abs(step[:2]).max()
        position = position + step[:2] / max(1.0, longest)
        gain += step[2]
        if not np.isfinite(longest) or np.abs(position - start).max() > MARGIN / 2:
            return None
        if longest < ENOUGH:
            break
    covariance = np.linalg.inv(normal)
    return Match(position, covariance[:2, :2], float(gain), float(np.sqrt(covariance[2, 2])))


def _normal_equations(
    picture: np.ndarray, reference: Reference, position: np.ndarray, gain: float
) -> tuple[np.ndarray, np.ndarray]:
    """Give normal matrix and right side for row, column and gain; features count by their misfit."""
    values, down, right, weight = reference.at(position, picture.shape[1:])
    total = weight.sum()
    normal, right_side = np.zeros((3, 3)), np.zeros(3)
    slope = max(gain, 0.1)  # a slope of 0 would leave no way back
    for own, value, dy, dx in zip(picture, values, down, right, strict=True):
        parts = [part - (weight * part).sum() / total for part in (slope * dy, slope * dx, value, own)]
        products = np.array([[(weight * a * b).sum() for b in parts] for a in parts])
        misfit = products[3, 3] - 2 * gain * products[3, 2] + gain**2 * products[2, 2]
        if not products[3, 3] > 0:
            continue  # one value everywhere
        scale = total / max(misfit, 1e-12 * products[3, 3])
        normal += scale * products[:3, :3]
        right_side += scale * (products[:3, 3] - gain * products[:3, 2])
    return normal, right_side
