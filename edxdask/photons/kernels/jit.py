"""How kernels are compiled.

A *kernel* is called from Python and is kept in numba's cache. A *helper* is called by kernels alone and ends up
inside them: it needs no entry from Python or C and no place in the cache. ``kernel`` and ``helper`` are for
code that makes no arrays, only views of those it is given: numba then counts no references, which are half
of what it would have to compile where arrays travel in named tuples.
"""

from numba import njit

kernel = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
helper = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)
