"""Images of a tilt series as alignment takes them: binned, without their background, cut or whole."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter1d

from edxdask.errors import ParameterError
from edxdask.tomo.geometry import TiltGeometry

FEWEST_TILTS = 3
BORDER = 2  # rows and columns at the edge of a field that say whether it cuts the object
CUT = 0.15  # part of the object's brightness that such a border may have before the object is cut
CERTAIN = 5.0  # standard errors that it must differ by
BRIGHT = 0.99  # quantile of an image that stands for the brightness of the object
EVERYWHERE = 0.6  # a background this part of the object's brightness is material
SMOOTH = 2.0  # px


@dataclass(frozen=True)
class Stack:
    """Images over (tilt, y, x), of which NaN was taken out, and what their pixels are.

    Parameters
    ----------
    values : ndarray
        Brightness or counts, background taken away, over (tilt, y, x).
    variance : ndarray
        Their variances, up to a factor that all have.
    measured : ndarray
        Whether a pixel was measured.
    bin : int
        Pixels of the file along each side of a pixel here.
    offset : (float, float)
        Middle of these images from the middle of those of the file, y and x, in pixels of the file.
    cut_y, cut_x : bool
        Whether the field cuts the object along an axis.
    """

    values: np.ndarray
    variance: np.ndarray
    measured: np.ndarray
    bin: int
    offset: tuple[float, float]
    cut_y: bool
    cut_x: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (int(self.values.shape[1]), int(self.values.shape[2]))

    @property
    def whole(self) -> bool:
        """Whether every pixel was measured and every field holds the whole object."""
        return not (self.cut_y or self.cut_x) and bool(self.measured.all())

    def binned(self, factor: int) -> Stack:
        """Sum ``factor`` × ``factor`` pixels; rows and columns left over are cut off at both ends."""
        if factor == 1:
            return self
        values, offset = _binned(np.where(self.measured, self.values, 0.0), factor)
        variance = _binned(np.where(self.measured, self.variance, 0.0), factor)[0]
        measured = _binned(self.measured, factor)[0] == factor**2
        y, x = (self.offset[i] + self.bin * offset[i] for i in range(2))
        return replace(
            self,
            values=values.astype(np.float32),
            variance=variance.astype(np.float32),
            measured=measured,
            bin=self.bin * factor,
            offset=(y, x),
        )

    def geometry_here(self, geometry: TiltGeometry) -> TiltGeometry:
        """Give a geometry of the file in the pixels of these images."""
        return replace(
            geometry,
            shift_y=(geometry.shift_y - self.offset[0]) / self.bin,
            shift_x=(geometry.shift_x - self.offset[1]) / self.bin,
        )

    def geometry_of_file(self, geometry: TiltGeometry) -> TiltGeometry:
        """Give a geometry in these pixels in those of the file."""
        return replace(
            geometry,
            shift_y=geometry.shift_y * self.bin + self.offset[0],
            shift_x=geometry.shift_x * self.bin + self.offset[1],
        )


def stack_of(images: np.ndarray, *, cut: bool | None = None) -> Stack:
    """Make a stack; find its background and whether the field cuts the object.

    Parameters
    ----------
    images : ndarray
        Over (tilt, y, x); NaN where nothing was measured.
    cut : bool, optional
        Whether the field cuts the object along x. None: found from the images.
    """
    images = np.asarray(images)
    if images.ndim != 3 or images.shape[0] < FEWEST_TILTS or min(images.shape[1:]) < 8:
        expected = f"images over (tilt, y, x) of at least {FEWEST_TILTS} tilts and 8 × 8 pixels"
        raise ParameterError("images", images.shape, expected)
    values = images.astype(np.float32)
    measured = np.isfinite(values)
    values[~measured] = 0.0
    empty = [i for i in range(len(values)) if not (values[i] != values[i].flat[0]).any()]
    if empty:
        raise ParameterError(
            "images", f"nothing in tilt {_named(empty)}", "an image of the object in every tilt", _LEAVE_OUT
        )
    background = np.array([_background(v, m) for v, m in zip(values, measured, strict=True)])
    found_y, found_x = _cut(values, measured, background)
    cut_x = found_x if cut is None else cut
    if cut_x:  # no border is empty
        background = _darkest(values)
    variance = np.maximum(values, _least(values))
    values -= background[:, None, None].astype(np.float32)
    values[~measured] = 0.0
    return Stack(values, variance, measured, 1, (0.0, 0.0), found_y, cut_x)


_LEAVE_OUT = "Leave it out: tilts.isel(tilt=[...])."


def _named(numbers: list[int]) -> str:
    return ", ".join(str(n) for n in numbers[:8]) + (" …" if len(numbers) > 8 else "")


def _binned(images: np.ndarray, factor: int) -> tuple[np.ndarray, tuple[float, float]]:
    tilts, rows, columns = images.shape
    firsts, counts = zip(*(((n % factor) // 2, n // factor) for n in (rows, columns)), strict=True)
    ends = [first + factor * count for first, count in zip(firsts, counts, strict=True)]
    inner = images[:, firsts[0] : ends[0], firsts[1] : ends[1]]
    summed = inner.reshape(tilts, counts[0], factor, counts[1], factor).sum(axis=(2, 4), dtype=np.float64)
    y, x = (
        first + factor * count / 2 - n / 2
        for first, count, n in zip(firsts, counts, (rows, columns), strict=True)
    )
    return summed, (y, x)


def _background(image: np.ndarray, measured: np.ndarray) -> float:
    """Estimate what an image has where nothing is: the darkest of the four borders, unless that is material.

    Of counts the mean, since most pixels of an empty border hold none.
    """
    levels = [float(image[side][measured[side]].mean()) for side in _sides(3) if measured[side].any()]
    bright = _brightness(image)
    lowest = min(levels, default=0.0)
    floor = float(image[measured].min())
    return lowest if lowest - floor < EVERYWHERE * (bright - floor) else floor


def _darkest(values: np.ndarray) -> np.ndarray:
    """Background where material is everywhere: none of counts, else the darkest part of each image."""
    if (values >= 0).all() and (values == np.round(values)).all():
        return np.zeros(len(values))
    return np.array([float(gaussian_filter(image, SMOOTH).min()) for image in values])


def _brightness(image: np.ndarray) -> float:
    return float(np.quantile(gaussian_filter(image, SMOOTH), BRIGHT))


def _sides(width: int) -> tuple[tuple[slice, slice], ...]:
    """First and last rows, then first and last columns."""
    everything = slice(None)
    first, last = slice(0, width), slice(-width, None)
    return (first, everything), (last, everything), (everything, first), (everything, last)


def _cut(values: np.ndarray, measured: np.ndarray, background: np.ndarray) -> tuple[bool, bool]:
    """Find whether the object reaches the border of the field in several tilts, along y and along x."""
    reaches = np.zeros((len(values), 4), dtype=bool)
    for i, image in enumerate(values):
        contrast = _brightness(image) - background[i]
        for j, side in enumerate(_sides(BORDER)):
            strip, across = image[side], 0 if j < 2 else 1
            if not measured[i][side].all() or contrast <= 0:
                continue
            window = max(3, strip.shape[1 - across] // 16)
            line = uniform_filter1d(strip.mean(axis=across), window)
            noise = float(np.sqrt(max(strip.var(), 1e-30) / (BORDER * window)))
            over = float(line.max()) - background[i]
            reaches[i, j] = over > CUT * contrast and over > CERTAIN * noise
    often = reaches.mean(axis=0) > 0.25
    return bool(often[:2].any()), bool(often[2:].any())


def _least(values: np.ndarray) -> float:
    """Smallest variance that a pixel is given: that of the mean of a dim part."""
    positive = values[values > 0]
    return 0.1 * float(positive.mean()) if positive.size else 1.0
