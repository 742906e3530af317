"""What a reconstruction is asked for, checked before anything is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from dask.system import CPU_COUNT

from edxdask.engine.checkpoint import digest
from edxdask.errors import ParameterError
from edxdask.factorize.guidance.guide import Absent

PRIORS = ("tv", "none")
DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class Options:
    """Parameters of ``tomography``; see there."""

    result: Any
    phases: int | Sequence[str] | None
    elements: Sequence[str] | str | None
    absent: Absent | None
    prior: str
    strength: float | None
    cap: bool
    alignment: bool | xr.Dataset
    shadows: Any
    densities: Mapping[str, float] | None
    absorption: bool
    depth: float | None
    rows: tuple[int, int] | None
    dtype: str
    slab_rows: int | None
    workers: int | None
    memory_limit: str | float | None
    max_iter: int
    tol: float
    seed: int

    @property
    def threads(self) -> int:
        """Threads of this process."""
        return self.workers or CPU_COUNT

    def identity(self) -> dict[str, Any]:
        """Give what must be the same in a run that continues another; JSON."""
        own = {
            "phases": self.phases
            if self.phases is None or isinstance(self.phases, int)
            else list(self.phases),
            "elements": self.elements,
            "absent": {str(k): v for k, v in (self.absent or {}).items()},
            "densities": dict(self.densities or {}),
            "result": None if self.result is None else _mark(self.result),
            "alignment": self.alignment if isinstance(self.alignment, bool) else _mark(self.alignment),
            "shadows": repr(self.shadows),
        }
        plain = (
            "prior",
            "strength",
            "cap",
            "absorption",
            "depth",
            "rows",
            "dtype",
            "slab_rows",
            "max_iter",
            "tol",
            "seed",
        )
        return {**own, **{name: getattr(self, name) for name in plain}}


def _mark(known: xr.Dataset) -> str:
    """Short name of the values of a Dataset."""
    arrays = [np.asarray(known[name].values) for name in sorted(map(str, known.variables))]
    numbers = [array for array in arrays if array.dtype.kind in "fiub"]
    return digest(*numbers)


def checked(options: Options) -> Options:
    """Return the options if all can be, else the error that says which cannot."""
    if options.prior not in PRIORS:
        raise ParameterError("prior", options.prior, " or ".join(map(repr, PRIORS)))
    if options.dtype not in DTYPES:
        raise ParameterError("dtype", options.dtype, " or ".join(map(repr, DTYPES)))
    if not isinstance(options.absorption, bool):
        raise ParameterError("absorption", options.absorption, "True or False")
    for name, least in (("workers", 1), ("slab_rows", 1), ("max_iter", 1)):
        value = getattr(options, name)
        if value is None and name != "max_iter":
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ParameterError(name, value, f"a whole number of at least {least}")
    for name in ("strength", "depth"):
        value = getattr(options, name)
        if value is not None and not _is_number(value, zero=name == "strength"):
            raise ParameterError(name, value, "a number, not negative" if name == "strength" else "above 0")
    if not (_is_number(options.tol, zero=True) and options.tol < 1):
        raise ParameterError("tol", options.tol, "a relative change at which to stop, such as 1e-4")
    if options.result is not None and options.elements is not None:
        fix = "Leave one of the two out: the result says what its phases are made of."
        raise ParameterError("elements", options.elements, "nothing beside result", fix)
    for label, density in (options.densities or {}).items():
        if not _is_number(density, zero=False):
            raise ParameterError(f"densities[{label!r}]", density, "g/cm³, above 0", "densities={'Brg': 4.1}")
    return options


def both_ends(wanted: Any, rows: int) -> tuple[int, int] | None:
    """First row and the end of a range of ``rows`` along the tilt axis, where None is that of all.

    Examples
    --------
    >>> both_ends((4, None), 20), both_ends(None, 20)
    ((4, 20), None)
    """
    if wanted is None:
        return None
    pair = isinstance(wanted, tuple | list) and len(wanted) == 2
    if not pair or not all(end is None or isinstance(end, int | np.integer) for end in wanted):
        raise ParameterError("rows", wanted, "the first row and the end, along the tilt axis: (0, 16)")
    first, stop = wanted[0] or 0, rows if wanted[1] is None else wanted[1]
    if not 0 <= first < stop <= rows:
        raise ParameterError("rows", wanted, f"rows along the tilt axis, within 0 and {rows}")
    return int(first), int(stop)


def _is_number(value: Any, *, zero: bool) -> bool:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return number and np.isfinite(value) and (value >= 0 if zero else value > 0)
