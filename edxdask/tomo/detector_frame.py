"""From the frame of the tilt axis to the pixels of projections: moves along the axis, and turns of the image.

In the frame of the axis, rows are those of the volume, and every row is a projection of one slice. The
detector may lie elsewhere by part of a row, and may be turned. Counts stay where they were counted: it is the
expected projection that is taken to the detector's pixels, and by the transpose of that ratios come back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edxdask.errors import ParameterError
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.kernels import detector_frame as kernels
from edxdask.tomo.side_by_side import Span, side_by_side, spans


def checked_rows(name: str, rows: Span | None, total: int) -> Span:
    """Return ``rows``, (first, stop), or all of ``total`` where there are none."""
    if rows is None:
        return 0, total
    first, stop = rows
    if not 0 <= first < stop <= total:
        raise ParameterError(name, rows, f"(first, stop) with 0 <= first < stop <= {total}")
    return int(first), int(stop)


@dataclass(frozen=True)
class ImageGrid:
    """Pixels of the projections beside the rows of the volume.

    Parameters
    ----------
    columns, rows : int
        Pixels of a projection along x and along the axis.
    volume_rows : int
        Rows of the whole volume; its middle is seen in the middle of a projection that has not moved.
    """

    columns: int
    rows: int
    volume_rows: int

    def views(self, geometry: TiltGeometry) -> np.ndarray:
        """Give what ``kernels.detector_frame`` takes, (tilt, 6), with frames that begin at column 0.

        What is not turned needs no move along x: the rays themselves are moved.
        """
        angle = np.deg2rad(geometry.rotation_deg)
        turned = geometry.rotation_deg != 0
        middle = (self.columns - 1) / 2 + np.where(turned, geometry.shift_x, 0.0)
        down = (self.rows - 1) / 2 + geometry.shift_y
        first = np.where(turned, self._first_columns(geometry), -(self.columns - 1) / 2)
        row = np.full(len(geometry), (self.volume_rows - 1) / 2)
        return np.stack([np.cos(angle), np.sin(angle), middle, down, -first, row], axis=1)

    def _corners(self, geometry: TiltGeometry) -> tuple[np.ndarray, np.ndarray]:
        """Places (u, w) of the corners of each image, from the middle of the volume; (tilt, 4) each."""
        angle = np.deg2rad(geometry.rotation_deg)[:, None]
        half_x, half_y = (self.columns - 1) / 2, (self.rows - 1) / 2
        across = np.array([-half_x, half_x, -half_x, half_x]) - geometry.shift_x[:, None]
        down = np.array([-half_y, -half_y, half_y, half_y]) - geometry.shift_y[:, None]
        return (
            across * np.cos(angle) + down * np.sin(angle),
            down * np.cos(angle) - across * np.sin(angle),
        )

    def _first_columns(self, geometry: TiltGeometry) -> np.ndarray:
        return np.floor(self._corners(geometry)[0].min(axis=1))

    def frame_columns(self, geometry: TiltGeometry) -> int:
        """Count the columns that a frame needs, so that all pixels of turned images look at some."""
        if not geometry.rotation_deg.any():
            return self.columns
        furthest = np.ceil(self._corners(geometry)[0].max(axis=1)) - self._first_columns(geometry)
        return max(self.columns, int(furthest.max()) + 1)

    def rows_seeing(self, geometry: TiltGeometry, rows: Span) -> Span:
        """Rows of the detector, (first, stop), on which any of ``rows`` of the volume is seen in any tilt."""
        first, stop = checked_rows("rows", rows, self.volume_rows)
        angle = np.deg2rad(geometry.rotation_deg)[:, None, None]
        across = np.array([0, self.columns - 1])[None, :, None] - (self.columns - 1) / 2
        across = across - geometry.shift_x[:, None, None]
        edges = np.array([first - 1, stop])[None, None, :] - (self.volume_rows - 1) / 2
        # a pixel ``across`` the image sees row w where w = down cos φ - across sin φ
        down = (edges + across * np.sin(angle)) / np.cos(angle)
        seen = down + geometry.shift_y[:, None, None] + (self.rows - 1) / 2
        lowest, highest = math.floor(seen.min()) + 1, math.ceil(seen.max())
        lowest, highest = max(lowest, 0), min(highest, self.rows)
        if lowest >= highest:
            raise ParameterError("rows", rows, "rows of the volume that some projection shows")
        return lowest, highest


class FrameToDetector:
    """From frames of the axis to the detector and back, for some rows of each.

    Parameters
    ----------
    geometry : TiltGeometry
        Turns and moves.
    grid : ImageGrid
        Pixels of projections.
    rows : (int, int)
        Rows of the volume that frames have.
    detector_rows : (int, int)
        Rows of the detector that images have.
    """

    def __init__(self, geometry: TiltGeometry, grid: ImageGrid, rows: Span, detector_rows: Span) -> None:
        self._views = grid.views(geometry)
        self._views[:, 5] -= rows[0]
        self._height = rows[1] - rows[0]
        self._first_row = detector_rows[0]
        self._shape = (grid.columns, detector_rows[1] - detector_rows[0])
        self.columns = grid.frame_columns(geometry)
        same = not geometry.rotation_deg.any() and not geometry.shift_y.any()
        offset = (grid.rows - grid.volume_rows) / 2
        self.trivial = same and rows == detector_rows and offset == 0

    def forward(self, frame: np.ndarray, tilts: np.ndarray, threads: int = 1) -> np.ndarray:
        """Images (tilt, column, phase, row) of frames (tilt, column, phase, volume row)."""
        if self.trivial:
            return frame
        columns, rows = self._shape
        images = np.empty((len(frame), columns, frame.shape[2], rows), frame.dtype)
        views = self._views[tilts]

        def some(first: int, stop: int) -> None:
            part = slice(first, stop)
            kernels.to_detector(frame[part], views[part], images[part], self._first_row)

        side_by_side(threads, some, spans(len(frame), threads))
        return images

    def back(self, images: np.ndarray, tilts: np.ndarray, threads: int = 1) -> np.ndarray:
        """Apply the transpose of ``forward``."""
        if self.trivial:
            return images
        frame = np.zeros((len(images), self.columns, images.shape[2], self._height), images.dtype)
        views = self._views[tilts]

        def some(first: int, stop: int) -> None:
            part = slice(first, stop)
            kernels.from_detector(frame[part], views[part], images[part], self._first_row)

        side_by_side(threads, some, spans(len(images), threads))
        return frame

    def seen(self, tilts: np.ndarray) -> np.ndarray:
        """Pixels (tilt, column, row) that look at nothing but rows which frames have."""
        columns, rows = self._shape
        view = self._views[tilts][:, :, None, None]
        across = np.arange(columns)[None, :, None] - view[:, 2]
        down = np.arange(rows)[None, None, :] + self._first_row - view[:, 3]
        place = down * view[:, 0] - across * view[:, 1] + view[:, 5]
        return (place >= 0) & (place <= self._height - 1)
