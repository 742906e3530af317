"""Bodies whose projections are known in closed form, with no edges that pixels would blunt."""

from __future__ import annotations

import numpy as np


def centred(count: int) -> np.ndarray:
    """Places of voxels or pixels from the middle."""
    return np.arange(count) - (count - 1) / 2


def soft_ellipse(shape, middle, half_axes, turned_deg):
    """``(1 - r²)²`` on voxels (z, x); ``middle`` is (x, z), the first half axis turned from x to z."""
    z, x = np.meshgrid(centred(shape[0]) - middle[1], centred(shape[1]) - middle[0], indexing="ij")
    angle = np.deg2rad(turned_deg)
    along, across = x * np.cos(angle) + z * np.sin(angle), z * np.cos(angle) - x * np.sin(angle)
    return np.clip(1 - (along / half_axes[0]) ** 2 - (across / half_axes[1]) ** 2, 0, None) ** 2


def soft_ellipse_projected(u, tilt_deg, middle, half_axes, turned_deg):
    """Line integrals of ``soft_ellipse`` at places ``u``, as x cos θ + z sin θ."""
    theta, angle = np.deg2rad(tilt_deg), np.deg2rad(turned_deg)
    reach = np.hypot(half_axes[0] * np.cos(theta - angle), half_axes[1] * np.sin(theta - angle))
    off = (u - middle[0] * np.cos(theta) - middle[1] * np.sin(theta)) / reach
    return 16 / 15 * half_axes[0] * half_axes[1] / reach * np.clip(1 - off**2, 0, None) ** 2.5


def soft_ball(shape, middle, radius):
    """``(1 - r²)²`` on voxels (z, x, y); ``middle`` is (x, y, z)."""
    z, x, y = np.meshgrid(*(centred(n) for n in shape), indexing="ij")
    squared = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 + (z - middle[2]) ** 2
    return np.clip(1 - squared / radius**2, 0, None) ** 2


def soft_ball_projected(column, row, seen_at, radius):
    """Line integrals of ``soft_ball`` that is seen at ``seen_at`` (column, row)."""
    squared = ((column - seen_at[0]) ** 2 + (row - seen_at[1]) ** 2) / radius**2
    return 16 / 15 * radius * np.clip(1 - squared, 0, None) ** 2.5
