"""How kernels are compiled, so that it takes no longer than it must.

A *kernel* is called from Python and is kept in numba's cache; what only kernels call is compiled into them,
and needs no entry from Python and no place in the cache. A *helper* is inlined before its types are
found, so that it is compiled once and not twice; a *subroutine* stays a function, which suits long ones.
``kernel`` and ``helper`` make no arrays, only views of those they are given: numba then counts no references,
which would be half of what it has to compile where arrays travel in named tuples.

A slice is never assigned to a slice: numba takes two seconds to compile the error for slices that do not fit.
"""

from typing import Any

from numba import njit

_UNCOUNTED: dict[str, Any] = {"error_model": "numpy", "_nrt": False}
_INSIDE: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

kernel = njit(cache=True, nogil=True, **_UNCOUNTED)
helper = njit(inline="always", **_UNCOUNTED, **_INSIDE)
subroutine = njit(nogil=True, error_model="numpy", **_INSIDE)
