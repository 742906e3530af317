"""Where parallel rays first meet the surface of a volume."""

import numpy as np

from edxdask.photons.kernels.jit import kernel


@kernel
def value_at(values, z, y, x):
    """Interpolate between eight voxels; zero outside."""
    nz, ny, nx = values.shape
    k, j, i = int(np.floor(z)), int(np.floor(y)), int(np.floor(x))
    total = 0.0
    for dk in range(2):
        for dj in range(2):
            for di in range(2):
                a, b, c = k + dk, j + dj, i + di
                if 0 <= a < nz and 0 <= b < ny and 0 <= c < nx:
                    weight = (dk * (z - k) + (1 - dk) * (1 - z + k)) * (dj * (y - j) + (1 - dj) * (1 - y + j))
                    total += weight * (di * (x - i) + (1 - di) * (1 - x + i)) * values[a, b, c]
    return total


@kernel
def inside_box(shape, start, step, steps):
    """Give the first and the last step of a ray that may meet a voxel; none where the first is larger."""
    low, high = 0.0, float(steps)
    for axis in range(3):
        if step[axis] == 0.0:
            if start[axis] < -1.0 or start[axis] > shape[axis]:
                high = -1.0
            continue
        one = (-1.0 - start[axis]) / step[axis]
        other = (shape[axis] - start[axis]) / step[axis]
        low = max(low, min(one, other))
        high = min(high, max(one, other))
    return int(np.floor(low)), int(np.ceil(high)) if high >= low else -1


@kernel
def first_surface(values, starts, step, steps, threshold, depth):
    """Fill ``depth`` with the steps after which each ray reaches ``threshold``; below zero it never does."""
    for r in range(starts.shape[0]):
        z, y, x = starts[r, 0], starts[r, 1], starts[r, 2]
        depth[r] = -1.0
        first, last = inside_box(values.shape, starts[r], step, steps)
        before = 0.0
        for n in range(first, last + 1):
            now = value_at(values, z + n * step[0], y + n * step[1], x + n * step[2])
            if now >= threshold:
                depth[r] = n - (now - threshold) / (now - before)
                break
            before = now


@kernel
def values_at(values, places, out):
    """Fill ``out`` with interpolated values at places (place, 3), in voxels."""
    for r in range(places.shape[0]):
        out[r] = value_at(values, places[r, 0], places[r, 1], places[r, 2])
