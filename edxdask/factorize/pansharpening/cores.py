"""The core of the matrix: pixels so far from all other phases that nothing of these can be there.

Abundances are never negative, so their noise adds up to a floor: 0.2 % of Ca-perovskite and 0.6 % of
ferropericlase in pixels of pure bridgmanite, which take 12 % of its neodymium. In the core they are exactly
zero instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from edxdask.engine.layout import ImageStack

NEAR_PX = 3.0  # blurred edges of precipitates reach as far as that beyond what maps show
LEAST_FRACTION = 0.05  # of other phases, in a pixel that holds them
FLOOR = 0.01  # mean fraction of all others in a core, up to which it may be noise
LEAST_CORE = 0.1  # of all photons, for a core that decides anything


@dataclass(frozen=True, eq=False)
class MatrixCore:
    """Pixels of pure matrix.

    Attributes
    ----------
    inside : (pixels of all maps,) bool
    phase : number of the matrix
    """

    inside: np.ndarray
    phase: int


def matrix_core(abundance: np.ndarray, stacks: Sequence[ImageStack]) -> MatrixCore | None:
    """Find the core of the phase that most photons belong to; None where it has none.

    Parameters
    ----------
    abundance : ndarray
        (pixels of all maps, k) in counts, smooth.
    stacks : sequence of ImageStack
        Where the pixels of each map are.

    Examples
    --------
    >>> maps = np.zeros((1, 9, 9, 2))
    >>> maps[..., 0], maps[0, 4, 4] = 1.0, (0.5, 0.5)
    >>> found = matrix_core(maps.reshape(-1, 2), [ImageStack(1, 9, 9, 0, (0, 9))])
    >>> int(found.inside.sum()), found.phase
    (52, 0)
    """
    total = abundance.sum(axis=1)  # in the type of the maps: of large ones, this is what costs memory
    phase = int(np.argmax(abundance.sum(axis=0, dtype=np.float64)))
    other = total - abundance[:, phase]
    impure = other > LEAST_FRACTION * total
    inside = np.zeros(len(total), bool)
    for stack in stacks:
        mine = slice(stack.first_pixel, stack.first_pixel + stack.pixels)
        images = impure[mine].reshape(stack.images, stack.rows, stack.width)
        inside[mine] = np.concatenate([_far(image).ravel() for image in images])
    inside &= total > 0
    photons, others, whole = (
        float(np.sum(values, where=where, dtype=np.float64))
        for values, where in ((total, inside), (other, inside), (total, True))
    )
    if photons < LEAST_CORE * whole or others > FLOOR * photons:
        return None
    return MatrixCore(inside, phase)


def _far(impure: np.ndarray) -> np.ndarray:
    """Pixels farther than ``NEAR_PX`` from all that are impure."""
    if not impure.any():
        return np.ones(impure.shape, bool)
    return np.asarray(distance_transform_edt(~impure) > NEAR_PX)
