"""Drift of frames: found on images or on photons, corrected by moving photons by whole pixels."""

from __future__ import annotations

import logging
from typing import overload

import numpy as np
import xarray as xr

from edxdask.errors import ParameterError
from edxdask.mosaic.drift_cube import CubeFrames, aligned
from edxdask.mosaic.drift_path import off_the_path, smooth_path
from edxdask.mosaic.drift_pictures import Pictures, pictures_of
from edxdask.mosaic.drift_registration import Match, PictureMean, Reference, correlated, refined
from edxdask.photons.frames import Drift, FrameSeries
from edxdask.progress import Progress, ProgressHook, ProgressOption, shown
from edxdask.results.collections import is_collection, on_each_map
from edxdask.results.frames import bad_frames_warning
from edxdask.schema import BAD_FRAMES

logger = logging.getLogger(__name__)

FOLDS = 4  # means that groups are dealt to
MOST_ROUNDS, SETTLED = 8, 0.02  # least squares of all frames, until none moves by more than so many pixels
WEAK_GAIN, WEAK_STD = 0.5, 5.0  # contrast below this part of the usual one, by so many standard errors
LEAST_CERTAIN = 5.0  # contrast over its error that frames with something in common have; noise reaches 4
REACH = 1 / 4  # of a side: the largest move from one group to the next, unless the user knows better


def find_drift(
    series: FrameSeries,
    *,
    image: str | None = None,
    group: int | None = None,
    max_step_px: float | None = None,
    progress: ProgressHook | None = None,
    label: str = "align frames",
) -> Drift:
    """Find the path of a series of frames; see ``align_frames`` for the parameters."""
    _check(series, max_step_px)

    def report(frames: int) -> None:
        if progress is not None:
            progress(Progress(f"{label}: spectra", frames, series.frames, "frame"))

    pictures = pictures_of(series, image, group, report)
    search = _Search(pictures, max_step_px, progress, label)
    search.start()
    for _ in range(MOST_ROUNDS):
        if search.round() < SETTLED:
            break
    return search.drift()


def _check(series: FrameSeries, max_step_px: float | None) -> None:
    if series.frames < 2:
        raise ParameterError("data", f"{series.frames} frame", "two frames or more, to find how they drift")
    if max_step_px is not None and not 1 <= max_step_px <= min(series.shape):
        raise ParameterError("max_step_px", max_step_px, f"1 to {min(series.shape)} pixels, the map's side")


class _Search:
    """Positions of all groups, improved round by round.

    Groups are dealt to a few means in turn. A group is compared with the mean of all means but its own.
    """

    def __init__(
        self, pictures: Pictures, max_step_px: float | None, progress: ProgressHook | None, label: str
    ) -> None:
        self.pictures, self._progress, self._label = pictures, progress, label
        self._reach = max_step_px / pictures.bin if max_step_px else REACH * min(pictures.shape)
        self._positions = np.zeros((len(pictures.groups), 2))
        self._matches: list[Match | None] = [None] * len(pictures.groups)
        self._means = [self._new_mean() for _ in range(min(FOLDS, len(pictures.groups)))]
        self._read = 0

    def _new_mean(self) -> PictureMean:
        return PictureMean(self.pictures.features, self.pictures.shape)

    def _picture(self, number: int) -> np.ndarray:
        picture = self.pictures.picture(number)
        self._read += 1
        if self._progress is not None:
            most = (MOST_ROUNDS + 1) * len(self.pictures.groups)
            self._progress(Progress(self._label, self._read, most, "picture", at_most=True))
        return picture

    def start(self) -> None:
        """Whole pixels, group after group: each is correlated with the mean of all before it."""
        together = self._new_mean()
        rows, columns = self.pictures.shape
        for number in range(len(self.pictures.groups)):
            picture = self._picture(number)
            here = self._positions[number - 1].astype(int) if number else np.zeros(2, dtype=int)
            if number:
                mean, seen = together.mean()
                y, x = here - together.origin
                window = np.s_[..., y : y + rows, x : x + columns]
                here = here + correlated(picture, mean[window], seen[window], self._reach)
            self._positions[number] = here
            together.add(picture, here)
            self._means[number % len(self._means)].add(picture, here)

    def round(self) -> float:
        """Register all groups once more; return the largest change of a position."""
        before = self._positions.copy()
        folds = len(self._means)
        for fold in range(folds):
            reference = Reference.without(self._means, fold)
            if not (reference.contrast > 0).any():
                raise self._nothing_to_see()
            fresh = self._new_mean()
            for number in range(fold, len(self._positions), folds):
                picture = self._picture(number)
                match = refined(picture, reference, self._positions[number])
                self._matches[number] = match
                fresh.add(picture, self._positions[number] if match is None else match.position)
            self._means[fold] = fresh
        self._positions = self._smoothed()
        return float(np.abs(self._positions - before).max())

    def _measured(self) -> tuple[list[int], np.ndarray, np.ndarray]:
        """Give the groups that can be trusted, with positions and covariances."""
        found = [(n, m) for n, m in enumerate(self._matches) if m is not None]
        usual = np.median([m.gain for _, m in found]) if found else 0.0
        certain = np.median([m.gain / m.gain_std for _, m in found]) if found else 0.0
        if certain < LEAST_CERTAIN or len(found) < 2:
            raise self._nothing_to_see()
        strong = [(n, m) for n, m in found if not _weak(m, float(usual))]
        numbers = [n for n, _ in strong]
        measured = np.array([m.position for _, m in strong])
        covariance = np.array([m.covariance for _, m in strong])
        kept = ~off_the_path(measured, covariance)
        return [n for n, k in zip(numbers, kept, strict=True) if k], measured[kept], covariance[kept]

    def _smoothed(self) -> np.ndarray:
        """Positions of the groups on the smooth path."""
        numbers, measured, covariance = self._measured()
        groups = self.pictures.groups
        path = smooth_path([groups[n] for n in numbers], measured, covariance, self.pictures.frames)
        return np.array([path.positions[a:b].mean(axis=0) for a, b in groups])

    def drift(self) -> Drift:
        """Give the path, and the frames of groups that are no part of it."""
        numbers, measured, covariance = self._measured()
        groups, frames = self.pictures.groups, self.pictures.frames
        path = smooth_path([groups[n] for n in numbers], measured, covariance, frames)
        left = set(range(len(groups))) - set(numbers)
        bad = {f for n in left for f in range(*groups[n])} | set(self.pictures.odd_frames())
        return Drift(
            self.pictures.bin * (path.positions[0] - path.positions),
            self.pictures.bin * path.std,
            tuple(sorted(bad)),
            self.pictures.name,
            self.pictures.group,
        )

    def _nothing_to_see(self) -> ParameterError:
        other = "photons" if self.pictures.name != "photons" else "a scanned image with frames"
        return ParameterError(
            "image",
            self.pictures.name,
            f"frames that show the same thing; on {self.pictures.name} they have nothing in common",
            f"Register them on {other}, or on more frames at a time: group={2 * self.pictures.group}.",
        )


def _weak(match: Match, usual: float) -> bool:
    return match.gain < WEAK_GAIN * usual and match.gain + WEAK_STD * match.gain_std < usual


@overload
def align_frames(
    data: xr.Dataset,
    *,
    image: str | None = None,
    group: int | None = None,
    max_step_px: float | None = None,
    drop_bad_frames: bool = False,
    progress: ProgressOption = None,
) -> xr.Dataset: ...
@overload
def align_frames(
    data: xr.DataTree,
    *,
    image: str | None = None,
    group: int | None = None,
    max_step_px: float | None = None,
    drop_bad_frames: bool = False,
    progress: ProgressOption = None,
) -> xr.DataTree: ...
def align_frames(
    data: xr.Dataset | xr.DataTree,
    *,
    image: str | None = None,
    group: int | None = None,
    max_step_px: float | None = None,
    drop_bad_frames: bool = False,
    progress: ProgressOption = None,
) -> xr.Dataset | xr.DataTree:
    """Correct the drift of a cube of frames and sum them; photons move by whole pixels and stay whole.

    The field grows by the drift, so that no photon is lost; ``exposure`` says how many frames saw each pixel.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube over ``frame``, ``y``, ``x`` and ``energy``, or a collection of such cubes.
    image : str, optional
        What the frames are registered on: an image over ``frame``, ``y`` and ``x``, or "photons". None: the
        image ``haadf`` if the cube has it, else its first image, else photons.
    group : int, optional
        Frames registered together. None: one, and on photons as many as have 2 photons per pixel.
    max_step_px : float, optional
        Largest move from one group of frames to the next, in pixels; where an image repeats itself, as a
        lattice does, give less than its period. None: a quarter of the shorter side.
    drop_bad_frames : bool
        Leave out frames that do not show what the others show, or are off the path; they are named in any
        case. Their photons are then missing from the sum.
    progress : callable, bool or None
        As in ``ingest``.

    Returns
    -------
    Dataset or DataTree
        The sum of the moved frames, with ``exposure(y, x)``, the path ``drift(frame, axis)`` in pixels and
        ``drift_std``. The first frame keeps its coordinates. Images are averaged over the frames that saw a
        pixel; maps that have no frames stay where the first frame is.

    Raises
    ------
    ParameterError
        If there are no frames, or if they have nothing in common.

    Notes
    -----
    *Chunks.* Any. Frames, or the photons of all frames weighted to a few maps, are read once if these
    maps fit 512 MiB, else once for each round. The counts that are returned are lazy, in chunks of 64 × 64
    pixels; frames that move alike are summed before they move.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scene = rng.random((40, 40)).repeat(4, 0).repeat(4, 1)
    >>> frames = np.stack([scene[30 - i : 94 - i, 30 : 94] for i in range(4)])  # one pixel down per frame
    >>> ds = xr.Dataset(
    ...     {
    ...         "counts": (("frame", "y", "x", "energy"), np.ones((4, 64, 64, 2), "u2")),
    ...         "haadf": (("frame", "y", "x"), frames + 0.01 * rng.random(frames.shape)),
    ...     },
    ...     {"energy": [0.0, 0.1]},
    ... )
    >>> moved = align_frames(ds)
    >>> moved.drift[:, 0].values.round().tolist(), moved.counts.shape, int(moved.counts.sum())
    ([0.0, 1.0, 2.0, 3.0], (67, 64, 2), 32768)
    """
    if is_collection(data):
        return on_each_map(
            lambda ds: align_frames(
                ds,
                image=image,
                group=group,
                max_step_px=max_step_px,
                drop_bad_frames=drop_bad_frames,
                progress=progress,
            ),
            data,
        )
    with shown(progress, "align frames") as hook:
        drift = find_drift(CubeFrames(data), image=image, group=group, max_step_px=max_step_px, progress=hook)
    summed = aligned(data, drift, drop_bad_frames=drop_bad_frames)
    warning = bad_frames_warning(summed.attrs[BAD_FRAMES], dropped=drop_bad_frames)
    if warning:
        logger.warning(warning)
    return summed
