"""Tables of uniform random numbers, one row per key."""

from numba import njit

from edxdask.photons.kernels.random import pixel_key, uniform


@njit(cache=True, nogil=True)
def fill_uniform(seed, stream, keys, out):
    """Fill ``out[i]`` with the first draws of key ``keys[i]``."""
    for i in range(keys.size):
        key = pixel_key(seed, stream, keys[i])
        for j in range(out.shape[1]):
            out[i, j] = uniform(key, j)
