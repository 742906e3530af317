"""Projections of a slab of a volume along the rays of a tilt series, and the exact transpose.

Two stages: rays through slices (``kernels.rays``), which all rows and phases share, and, where a projection
is moved along the axis or turned, from the frame of the axis to the detector (``detector_frame``).
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

import numpy as np

from edxdask.errors import ParameterError
from edxdask.tomo.detector_frame import FrameToDetector, ImageGrid, checked_rows
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.kernels import rays
from edxdask.tomo.side_by_side import Span, side_by_side, spans

MOST_PARTS = 8  # of the lines of a volume
MANY_TILTS = 16
MOST_TURNED = 60.0  # degrees
Tilts = Sequence[int] | np.ndarray | None


class Projector:
    """Expected projections of a slab of rows of a volume, and their transpose.

    The volume is ``(z, x, phase, row)`` and images are ``(tilt, column, phase, detector row)``, both in
    single or both in double precision. Voxels and pixels have the same size. Exposures are not applied.

    Parameters
    ----------
    geometry : TiltGeometry
        Directions, moves and turns of the projections.
    shape : (int, int)
        Voxels of the volume along z and x.
    columns : int
        Pixels of a projection along x.
    volume_rows : int
        Rows of the whole volume along the axis.
    image_rows : int, optional
        Rows of a whole projection; as many as the volume has if not given.
    rows : (int, int), optional
        First row of the slab and the one after its last; the whole volume if not given.
    detector_rows : (int, int), optional
        Rows of projections that images have; all that show some row of the slab if not given.
    threads : int
        Threads that work side by side. Results are the same to the bit whatever their number.

    Attributes
    ----------
    rows, detector_rows : (int, int)
        Rows of the slab and of images.

    Examples
    --------
    >>> geometry = TiltGeometry.of([-60, 0, 60], shift_x=0.25)
    >>> projector = Projector(geometry, shape=(8, 8), columns=8, volume_rows=4)
    >>> volume = np.zeros((8, 8, 1, 4), np.float32)
    >>> volume[4, 4, 0, 2] = 1
    >>> images = projector.forward(volume)
    >>> images.shape, round(float(images.sum()), 6)
    ((3, 8, 1, 4), 3.0)
    >>> images[1, :, 0, 2]
    array([0.  , 0.  , 0.  , 0.  , 0.75, 0.25, 0.  , 0.  ], dtype=float32)
    """

    def __init__(
        self,
        geometry: TiltGeometry,
        *,
        shape: tuple[int, int],
        columns: int,
        volume_rows: int,
        image_rows: int | None = None,
        rows: Span | None = None,
        detector_rows: Span | None = None,
        threads: int = 1,
    ) -> None:
        self.geometry = _checked(geometry)
        self.shape = (_at_least_one("shape", shape[0]), _at_least_one("shape", shape[1]))
        self.threads = _at_least_one("threads", threads)
        volume_rows = _at_least_one("volume_rows", volume_rows)
        image_rows = volume_rows if image_rows is None else _at_least_one("image_rows", image_rows)
        self._grid = ImageGrid(_at_least_one("columns", columns), image_rows, volume_rows)
        self.rows = checked_rows("rows", rows, volume_rows)
        if detector_rows is None:
            detector_rows = self._grid.rows_seeing(geometry, self.rows)
        self.detector_rows = checked_rows("detector_rows", detector_rows, image_rows)
        self._to_detector = FrameToDetector(geometry, self._grid, self.rows, self.detector_rows)
        self._rays = self._rays_of(geometry)

    def _rays_of(self, geometry: TiltGeometry) -> np.ndarray:
        """Give cos θ, sin θ and the column of the volume's middle in the frame of the axis, per tilt."""
        angle = np.deg2rad(geometry.tilt_deg)
        turned = geometry.rotation_deg != 0
        middle = self._grid.views(geometry)[:, 4] + np.where(turned, 0.0, geometry.shift_x)
        return np.stack([np.cos(angle), np.sin(angle), middle], axis=1)

    @property
    def columns(self) -> int:
        """Pixels of a projection along x."""
        return self._grid.columns

    def detector_rows_of(self, rows: Span) -> Span:
        """Rows of the detector, (first, stop), on which any of ``rows`` of the volume is seen in any tilt."""
        return self._grid.rows_seeing(self.geometry, rows)

    def seen(self, tilts: Tilts = None) -> np.ndarray:
        """Pixels (tilt, column, detector row) that look at rows of the slab only.

        What others count comes from beyond the slab in part, and says nothing of the slab alone.
        """
        return self._to_detector.seen(self._chosen(tilts))

    def forward(self, volume: np.ndarray, tilts: Tilts = None) -> np.ndarray:
        """Project a volume (z, x, phase, row): images (tilt, column, phase, detector row).

        Parameters
        ----------
        volume : ndarray
            Slab, single or double precision.
        tilts : sequence of int, optional
            Numbers of the projections; all if not given.

        Returns
        -------
        ndarray
            Images of the same precision.
        """
        chosen = self._chosen(tilts)
        phases = volume.shape[2] if volume.ndim == 4 else 0
        height = self.rows[1] - self.rows[0]
        flat = _lanes("volume", volume, (*self.shape, phases, height))
        frame = self._to_frame_of_axis(flat, self._rays[chosen])
        images = frame.reshape(*frame.shape[:2], phases, height)
        return self._to_detector.forward(images, chosen, self.threads)

    def _to_frame_of_axis(self, volume: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Images (tilt, frame column, lane) of a volume (z, x, lane).

        Threads divide tilts; where there are few, lines of the volume, or each thread would read all of it
        for little work. Which of the two depends on the number of tilts alone, as roundings do.
        """
        shape = (len(views), self._to_detector.columns, volume.shape[2])
        depth = volume.shape[0]
        if len(views) >= MANY_TILTS:
            frame = np.zeros(shape, volume.dtype)

            def some_tilts(first: int, stop: int) -> None:
                rays.project(volume, views[first:stop], frame[first:stop], (0, depth))

            side_by_side(self.threads, some_tilts, spans(len(views), self.threads))
            return frame

        def some_lines(first: int, stop: int) -> np.ndarray:
            part = np.zeros(shape, volume.dtype)
            rays.project(volume, views, part, (first, stop))
            return part

        frame, *others = side_by_side(self.threads, some_lines, spans(depth, MOST_PARTS, rays.TILE))
        for other in others:
            frame += other
        return frame

    def back(self, images: np.ndarray, tilts: Tilts = None) -> np.ndarray:
        """Take images (tilt, column, phase, detector row) back: the transpose of ``forward``.

        Parameters
        ----------
        images : ndarray
            Images of the projections ``tilts``, single or double precision.
        tilts : sequence of int, optional
            Numbers of the projections; all if not given.

        Returns
        -------
        ndarray
            Volume (z, x, phase, row) of the same precision.
        """
        return self.back_from_frame(self.to_frame(images, tilts), tilts)

    def to_frame(self, images: np.ndarray, tilts: Tilts = None) -> np.ndarray:
        """Take images to the frame of the axis, (tilt, frame column, phase, row): transpose of placement."""
        chosen = self._chosen(tilts)
        phases = images.shape[2] if images.ndim == 4 else 0
        height = self.detector_rows[1] - self.detector_rows[0]
        _lanes("images", images, (len(chosen), self.columns, phases, height))
        return self._to_detector.back(images, chosen, self.threads)

    def back_from_frame(self, frame: np.ndarray, tilts: Tilts = None) -> np.ndarray:
        """Take images in the frame of the axis back along their rays to a volume (z, x, phase, row)."""
        chosen = self._chosen(tilts)
        phases = frame.shape[2]
        height = self.rows[1] - self.rows[0]
        flat = _lanes("frame", frame, (len(chosen), self._to_detector.columns, phases, height))
        volume = np.zeros((*self.shape, flat.shape[2]), flat.dtype)
        views = self._rays[chosen]

        def some_lines(first: int, stop: int) -> None:
            rays.back_project(volume, views, flat, (first, stop))

        side_by_side(self.threads, some_lines, spans(self.shape[0], MOST_PARTS, rays.TILE))
        return volume.reshape(*self.shape, phases, height)

    def _chosen(self, tilts: Tilts) -> np.ndarray:
        count = len(self.geometry)
        if tilts is None:
            return np.arange(count)
        chosen = np.asarray(tilts)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or np.any((chosen < 0) | (chosen >= count)):
            raise ParameterError("tilts", tilts, f"whole numbers from 0 to {count - 1}, the series' tilts")
        return chosen


def _checked(geometry: TiltGeometry) -> TiltGeometry:
    if len(geometry) == 0 or not np.isfinite(geometry.tilt_deg).all():
        raise ParameterError("tilt_deg", geometry.tilt_deg.tolist(), "one finite angle or more, in degrees")
    furthest = float(np.abs(geometry.rotation_deg).max())
    if furthest > MOST_TURNED:
        fix = "Where the axis is nearer to x, transpose the images."
        raise ParameterError("rotation_deg", furthest, f"angles of up to {MOST_TURNED:g}° to the rows", fix)
    return geometry


def _at_least_one(name: str, value: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise ParameterError(name, value, "a whole number, at least 1") from None
    if number < 1:
        raise ParameterError(name, value, "a whole number, at least 1")
    return number


def _lanes(name: str, array: np.ndarray, shape: Iterable[int]) -> np.ndarray:
    """Return ``array`` with its last two axes as one, after a look at its form."""
    shape = tuple(shape)
    if array.shape != shape or 0 in shape:
        raise ParameterError(name, array.shape, f"an array of the shape {shape}")
    if array.dtype not in (np.float32, np.float64):
        raise ParameterError(name, array.dtype.name, "float32 or float64", f"{name}.astype(np.float32)")
    if not array.flags.c_contiguous:
        raise ParameterError(
            name, array.strides, "rows side by side in memory", f"np.ascontiguousarray({name})"
        )
    return array.reshape(*shape[:2], -1)
