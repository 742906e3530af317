"""Pictures that frames are registered on: frames of a scanned image, or photons weighted by their energy.

An even film has equal totals everywhere, so totals alone say nothing of a drift. What differs is the
spectrum: photons are weighted by the first principal components of the spectra of binned pixels, whitened by
the counting noise, so that every feature has the noise of the total.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from edxdask.errors import ParameterError
from edxdask.photons import PhotonBlock
from edxdask.photons.frames import FrameSeries
from edxdask.photons.moments import pixel_totals
from edxdask.photons.rebin import bin_block

PHOTONS = "photons"  # in place of an image's name
PREFERRED = "haadf"
COMPONENTS = 3
MOST_BINS, MOST_GROUPS_OF_CHANNELS = 4096, 256
WANTED_PHOTONS = 2.0  # per pixel and picture; below, frames are taken together
LEAST_PICTURES = 8  # groups are made no larger than leaves so many pictures
LEAST_COUNTS = 0.02  # per bin that a group of channels needs: a lone photon in an empty one is no component
BAND = 64  # rows read at a time
ODD = 2.0  # a frame with this factor more or fewer photons than usual is odd
MOST_PIXELS = 1 << 19  # of a picture: frames that are larger are binned, and still found to 0.1 px
USUAL_VALUES = (0.1, 99.9)  # percentiles of an image: a pixel that is always bright must not hold it in place
KEPT_BYTES = 512 << 20  # of pictures that stay in memory; beyond, they are made again when needed


@dataclass
class Pictures:
    """Pictures of groups of frames.

    Attributes
    ----------
    name : image, or "photons"
    field : rows, columns of a frame
    frames, group : number of frames, and of those in one picture
    features : of a picture
    make : makes the sum of the pictures of some frames, of all pixels
    totals : photons of each frame, where they are known
    bin : pixels of a frame along a side of one pixel of the pictures
    shape : rows, columns of the pictures
    groups : first frame and one past the last of every picture
    """

    name: str
    field: tuple[int, int]
    frames: int
    group: int
    features: int
    make: Callable[[int, int], np.ndarray]
    totals: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Make the list of groups; a last one that is less than half full joins the one before."""
        self.bin = max(1, math.ceil(math.sqrt(math.prod(self.field) / MOST_PIXELS)))
        self.shape = (self.field[0] // self.bin, self.field[1] // self.bin)
        edges = [*range(0, self.frames, self.group), self.frames]
        if len(edges) > 2 and edges[-1] - edges[-2] < self.group / 2:
            del edges[-2]
        self.groups = list(itertools.pairwise(edges))
        size = len(self.groups) * self.features * math.prod(self.shape) * 4
        self._kept: dict[int, np.ndarray] | None = {} if size <= KEPT_BYTES else None

    def picture(self, number: int) -> np.ndarray:
        """Picture of one group, (features, rows, columns) float32: the mean of its frames."""
        if self._kept is not None and number in self._kept:
            return self._kept[number]
        first, stop = self.groups[number]
        made = (self._binned(self.make(first, stop)) / (stop - first)).astype(np.float32)
        if self._kept is not None:
            self._kept[number] = made
        return made

    def _binned(self, picture: np.ndarray) -> np.ndarray:
        """Sum bins of pixels; rows and columns that fill none are left out."""
        if self.bin == 1:
            return picture
        rows, columns = self.shape
        whole = picture[:, : rows * self.bin, : columns * self.bin]
        summed: np.ndarray = whole.reshape(-1, rows, self.bin, columns, self.bin).sum(axis=(2, 4))
        return summed

    def odd_frames(self) -> list[int]:
        """Frames with far more or far fewer photons than usual."""
        if self.totals is None:
            return []
        usual = np.median(self.totals)
        return np.flatnonzero((self.totals * ODD < usual) | (self.totals > ODD * usual)).tolist()


def pictures_of(
    series: FrameSeries,
    image: str | None,
    group: int | None,
    report: Callable[[int], None] | None = None,
) -> Pictures:
    """Pictures of what the user asked for; of what the series has, where that was left open.

    ``report`` is called with the number of frames whose photons have been read.
    """
    if image is None:
        found = PREFERRED if PREFERRED in series.images else None
        image = found or (series.images[0] if series.images else PHOTONS)
    if image != PHOTONS and image not in series.images:
        have = ", ".join(map(repr, series.images)) or "none here"
        raise ParameterError(
            "image", image, f"an image with one frame for each of the map ({have}), or '{PHOTONS}'"
        )
    if group is not None and not 1 <= group <= series.frames // 2:
        raise ParameterError("group", group, f"1 to {series.frames // 2}, half of the {series.frames} frames")
    if image == PHOTONS:
        return _of_photons(series, group, report)
    return _of_image(series, image, group or 1)


def _of_image(series: FrameSeries, name: str, group: int) -> Pictures:
    def make(first: int, stop: int) -> np.ndarray:
        summed = np.sum([series.image(name, f) for f in range(first, stop)], axis=0, dtype=float)
        return np.clip(summed, *np.percentile(summed, USUAL_VALUES))[None]

    return Pictures(name, series.shape, series.frames, group, 1, make)


def _of_photons(series: FrameSeries, group: int | None, report: Callable[[int], None] | None) -> Pictures:
    sums, totals = _binned_spectra(series, report)
    weights = informative_weights(sums, series.channels)
    if group is None:
        mean = float(np.median(totals)) / math.prod(series.shape)
        most = max(1, series.frames // LEAST_PICTURES)
        group = int(np.clip(math.ceil(WANTED_PHOTONS / max(mean, 1e-9)), 1, most))

    def make(first: int, stop: int) -> np.ndarray:
        rows, columns = series.shape
        parts = [
            _weighted(series.rows(first, stop, top, min(top + BAND, rows)), weights)
            for top in range(0, rows, BAND)
        ]
        return np.concatenate(parts).reshape(rows, columns, -1).transpose(2, 0, 1)

    return Pictures(PHOTONS, series.shape, series.frames, group, weights.shape[1], make, totals)


def _weighted(block: PhotonBlock, weights: np.ndarray) -> np.ndarray:
    """Sum the weights of each pixel's photons, (pixels, features)."""
    counts = csr_array(
        (block.count.astype(np.float32), block.channel.astype(np.int32), block.indptr),
        shape=(block.pixels, block.channels),
    )
    summed: np.ndarray = counts @ weights
    return summed


def _binned_spectra(
    series: FrameSeries, report: Callable[[int], None] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Spectra of bins of pixels of all frames as they are, channels in groups; and photons of each frame.

    Frame by frame, band by band: memory does not depend on the number of frames.
    """
    rows, columns = series.shape
    side = max(2, math.ceil(math.sqrt(rows * columns / MOST_BINS)))
    step = BAND - BAND % side if side <= BAND else side
    joined = -(-series.channels // MOST_GROUPS_OF_CHANNELS)
    fold = np.arange(series.channels) // joined
    across = -(-columns // side)
    sums = np.zeros((-(-rows // side) * across, fold[-1] + 1), dtype=np.float32)
    totals = np.zeros(series.frames, dtype=np.int64)
    for frame in range(series.frames):
        for top in range(0, rows, step):
            bottom = min(top + step, rows)
            block = series.rows(frame, frame + 1, top, bottom)
            totals[frame] += int(pixel_totals(block).sum())
            binned = bin_block(block, (bottom - top, columns), side)
            at = top // side * across
            pixel = np.repeat(np.arange(binned.pixels), np.diff(binned.indptr))
            place = pixel * sums.shape[1] + fold[binned.channel]
            own = np.bincount(place, binned.count, binned.pixels * sums.shape[1])
            sums[at : at + binned.pixels] += own.reshape(binned.pixels, -1)
        if report is not None:
            report(frame + 1)
    return sums, totals


def informative_weights(sums: np.ndarray, channels: int) -> np.ndarray:
    """Weights of channels, (channels, features): 1 for the total, then the components above the noise.

    Parameters
    ----------
    sums : ndarray
        (bins, groups of channels) counts.
    channels : int
        Length of the energy axis, which the groups divide evenly but for the last.
    """
    total = sums.sum()
    if total <= 0:
        raise ParameterError("data", "no photons", "frames that hold photons")
    joined = -(-channels // sums.shape[1])
    spectrum = sums.sum(axis=0) / total
    lit = sums.sum(axis=1) > 0
    used = spectrum * total >= LEAST_COUNTS * lit.sum()
    if not used.any():
        return np.ones((channels, 1), dtype=np.float32)
    photons = sums[lit].sum(axis=1, keepdims=True)
    expected = photons * spectrum[used]
    whitened = (sums[lit][:, used] - expected) / np.sqrt(expected)
    values, vectors = np.linalg.eigh(whitened.T @ whitened / lit.sum())
    edge = (1 + math.sqrt(used.sum() / lit.sum())) ** 2  # of the eigenvalues of noise (Marchenko, Pastur)
    chosen = [i for i in np.argsort(values)[::-1][:COMPONENTS] if values[i] > 1.05 * edge]
    folded = np.zeros((sums.shape[1], 1 + len(chosen)), dtype=np.float32)
    folded[:, 0] = 1.0
    folded[used, 1:] = vectors[:, chosen] / np.sqrt(spectrum[used, None])
    return np.repeat(folded, joined, axis=0)[:channels]
