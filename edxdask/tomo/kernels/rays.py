"""Distance-driven projection of slices (z, x) along parallel rays, and its exact transpose.

Along the axis of a slice that is nearer to the detector, voxels lie side by side: each takes a footprint
|cos θ| (or |sin θ|) wide there, at most one column, so it falls on two columns at most. What falls on the
first and on the second sums to 1, so a projection holds what the volume holds. Both depend on neither row nor
phase: they are found once per voxel and tilt, and the loop within runs over all rows and phases side by side.

Slices are passed through in tiles, all tilts for each tile, so that voxels and columns stay in the first
caches: 1.5 times as fast as whole slices. ``lanes`` (first, stop) is the part of the last axis to work on.
"""

import math

import numpy as np

from edxdask.photons.kernels.jit import helper, kernel

TILE = 16  # voxels; 8 to 32 differ by less than 3 %


@helper
def _footprint(place, width):
    """First column that a footprint around ``place`` falls on, and the fraction of it that falls there.

    Column ``j`` reaches from ``j - ½`` to ``j + ½``.
    """
    start = place + 0.5 - 0.5 * width
    column = math.floor(start)
    return int(column), min((1.0 - (start - column)) / width, 1.0)


@helper
def _add_to_two(first, second, weight, rest, values, start, stop):
    for i in range(start, stop):
        value = values[i]
        first[i] += weight * value
        second[i] += rest * value


@helper
def _add_from_two(values, first, second, weight, rest, start, stop):
    for i in range(start, stop):
        values[i] += weight * first[i] + rest * second[i]


@helper
def _add(to, values, weight, start, stop):
    for i in range(start, stop):
        to[i] += weight * values[i]


@kernel
def project(volume, rays, images, lanes):
    """Add the projections of ``volume`` (z, x, lane) to ``images`` (tilt, column, lane).

    ``rays`` (tilt, 3): cos θ, sin θ and the column of the volume's middle, of each of the images.
    """
    depth, width, _ = volume.shape
    columns = images.shape[1]
    one = volume.dtype.type(1.0)
    start, stop = (
        np.uintp(lanes[0]),
        np.uintp(lanes[1]),
    )  # a signed index may count from the end: no vectors then
    for corner_z in range(0, depth, TILE):
        for corner_x in range(0, width, TILE):
            for t in range(len(rays)):
                cos, sin, middle = rays[t, 0], rays[t, 1], rays[t, 2]
                print_width = max(abs(cos), abs(sin))
                for z in range(corner_z, min(corner_z + TILE, depth)):
                    line = middle + (z - 0.5 * (depth - 1)) * sin - 0.5 * (width - 1) * cos
                    for x in range(corner_x, min(corner_x + TILE, width)):
                        j, fraction = _footprint(line + x * cos, print_width)
                        weight = volume.dtype.type(fraction)
                        if j >= 0 and j + 1 < columns:
                            _add_to_two(
                                images[t, j],
                                images[t, j + 1],
                                weight,
                                one - weight,
                                volume[z, x],
                                start,
                                stop,
                            )
                        elif j == columns - 1:
                            _add(images[t, j], volume[z, x], weight, start, stop)
                        elif j == -1:
                            _add(images[t, 0], volume[z, x], one - weight, start, stop)


@kernel
def back_project(volume, rays, images, lines):
    """Add to the lines ``lines`` (first, stop) along x of ``volume`` what ``images`` hold of them."""
    depth, width, count = volume.shape
    columns = images.shape[1]
    one = volume.dtype.type(1.0)
    first, last = lines
    for corner_z in range(first, last, TILE):
        for corner_x in range(0, width, TILE):
            for t in range(len(rays)):
                cos, sin, middle = rays[t, 0], rays[t, 1], rays[t, 2]
                print_width = max(abs(cos), abs(sin))
                for z in range(corner_z, min(corner_z + TILE, last)):
                    line = middle + (z - 0.5 * (depth - 1)) * sin - 0.5 * (width - 1) * cos
                    for x in range(corner_x, min(corner_x + TILE, width)):
                        j, fraction = _footprint(line + x * cos, print_width)
                        weight = volume.dtype.type(fraction)
                        if j >= 0 and j + 1 < columns:
                            _add_from_two(
                                volume[z, x], images[t, j], images[t, j + 1], weight, one - weight, 0, count
                            )
                        elif j == columns - 1:
                            _add(volume[z, x], images[t, j], weight, 0, count)
                        elif j == -1:
                            _add(volume[z, x], images[t, 0], one - weight, 0, count)
