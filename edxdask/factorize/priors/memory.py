"""How much memory maps under a prior take."""

from __future__ import annotations

INNER = 20  # primal-dual steps per round, and rows of a halo


def state_floats(phases: int) -> int:
    """Count single-precision numbers per pixel of smoothing: its states and the abundances they come from.

    Examples
    --------
    >>> [state_floats(k) for k in (2, 3, 4, 8)]
    [13, 21, 30, 76]
    """
    return 5 * phases + model_floats(phases)


def map_bytes(phases: int) -> int:
    """Bytes per pixel of smoothing."""
    return 4 * state_floats(phases)


def scratch_floats(phases: int, width: int) -> int:
    """Count single-precision numbers that a thread works on: rows in use, a little wider than the image.

    Examples
    --------
    >>> scratch_floats(3, 512)
    231840
    """
    return (INNER + 3) * (4 * phases + model_floats(phases)) * (width + 48)


def halo_floats(phases: int, width: int) -> int:
    """Count single-precision numbers of a partition's halos: rows cut from both of its ends, and joined ones.

    Examples
    --------
    >>> halo_floats(3, 512)
    614400
    """
    return 4 * INNER * width * (3 * phases + model_floats(phases))


def model_floats(phases: int) -> int:
    """Count numbers per pixel of the quadratic model: step bound, slopes, curvatures."""
    return 1 + (phases - 1) + (phases - 1) * phases // 2
