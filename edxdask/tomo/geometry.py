"""Where each projection of a tilt series looks at the volume from, and how brightly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edxdask.errors import ParameterError


@dataclass(frozen=True)
class TiltGeometry:
    """Directions, shifts and exposures of the projections of a series whose tilt axis is near y.

    A point (x, y, z) of the volume, in pixels from its middle, is at ``u = x cos θ + z sin θ``, ``w = y`` in
    the frame of the axis. On the detector that frame is turned by ``rotation_deg`` about the middle of the
    image and then moved: column ``u cos φ - w sin φ + shift_x``, row ``u sin φ + w cos φ + shift_y``, again
    from the middle. A tilt axis that is off the middle of the image is a shift that all projections have.

    Parameters
    ----------
    tilt_deg : ndarray
        θ of each projection, degrees.
    shift_y, shift_x : ndarray
        Moves of each projection, pixels.
    rotation_deg : ndarray
        φ of each projection, degrees.
    exposure : ndarray
        Dose times what the detectors see of it; mean 1.
    """

    tilt_deg: np.ndarray
    shift_y: np.ndarray
    shift_x: np.ndarray
    rotation_deg: np.ndarray
    exposure: np.ndarray

    @classmethod
    def of(
        cls,
        tilt_deg: Sequence[float] | np.ndarray,
        *,
        shift_y: Sequence[float] | np.ndarray | float = 0.0,
        shift_x: Sequence[float] | np.ndarray | float = 0.0,
        rotation_deg: Sequence[float] | np.ndarray | float = 0.0,
        exposure: Sequence[float] | np.ndarray | float = 1.0,
    ) -> TiltGeometry:
        """Make one; a single number holds for all projections.

        Examples
        --------
        >>> TiltGeometry.of([-10, 0, 10], shift_x=1.5).shift_x
        array([1.5, 1.5, 1.5])
        """
        angles = np.atleast_1d(np.asarray(tilt_deg, dtype=np.float64))
        each = {}
        for name, value in (
            ("shift_y", shift_y),
            ("shift_x", shift_x),
            ("rotation_deg", rotation_deg),
            ("exposure", exposure),
        ):
            array = np.asarray(value, dtype=np.float64)
            if array.ndim and array.shape != angles.shape:
                raise ParameterError(name, array.shape, f"one number, or one per tilt ({angles.size})")
            if not np.isfinite(array).all():
                raise ParameterError(name, value, "finite numbers")
            each[name] = np.broadcast_to(array, angles.shape).copy()
        return cls(angles, **each)

    def __len__(self) -> int:
        """Count the projections."""
        return int(self.tilt_deg.size)
