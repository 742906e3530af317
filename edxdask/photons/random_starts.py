"""Random starts that depend only on the number of a pixel."""

from __future__ import annotations

import numpy as np

from edxdask.photons.kernels.random import STREAM_START
from edxdask.photons.kernels.uniform_rows import fill_uniform

SPECTRA_KEYS = 1 << 48  # keys of channels, different from those of all pixels


def uniform_start(seed: int, keys: np.ndarray, draws: int) -> np.ndarray:
    """Uniform numbers in [0, 1), ``(keys, draws)``; each row depends on its key and the seed alone.

    Examples
    --------
    >>> whole = uniform_start(3, np.arange(10), 2)
    >>> (uniform_start(3, np.arange(4, 7), 2) == whole[4:7]).all()
    np.True_
    """
    out = np.empty((len(keys), draws))
    fill_uniform(seed, STREAM_START, np.asarray(keys, dtype=np.int64), out)
    return out
