"""Binning: neighbouring pixels, or channels, are summed into one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, overload

import dask.array as da
import numpy as np
import xarray as xr

from edxdask.errors import ParameterError, SchemaError
from edxdask.ops._blocks import derived_attrs, fold, lazy, lazy_counts, sum_dtype
from edxdask.results.collections import is_collection, on_each_map
from edxdask.schema import (
    COUNTS,
    ENERGY,
    LIVE_TIME,
    REAL_TIME,
    STD_SUFFIX,
    TRUTH_IN_VOXELS,
    VARIABLES,
    X,
    Y,
    Z,
    energy_axis,
    energy_coordinate,
    pixel_dims,
    validate_cube,
)

Boundary = Literal["trim", "exact", "pad"]


@overload
def bin_cube(
    data: xr.Dataset, factor: int | None = None, *, boundary: Boundary = "trim", **factors: int
) -> xr.Dataset: ...
@overload
def bin_cube(
    data: xr.DataTree, factor: int | None = None, *, boundary: Boundary = "trim", **factors: int
) -> xr.DataTree: ...
def bin_cube(
    data: xr.Dataset | xr.DataTree,
    factor: int | None = None,
    *,
    boundary: Boundary = "trim",
    **factors: int,
) -> xr.Dataset | xr.DataTree:
    """Sum neighbouring pixels (and channels, if asked) into one.

    Counts and totals are summed, abundances and images averaged, ``valid`` is true if it is for all
    members; spectra follow the energy axis. Coordinates become the centres of the bins. Counts get 32 bits
    where 16 might not hold the sum.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, or collection of cubes: each map is binned.
    factor : int, optional
        Pixels per bin along ``y`` and ``x``.
    boundary : {"trim", "exact", "pad"}
        What to do with rows that do not fill a bin: "trim" leaves them out (and says so in the history),
        "exact" refuses, "pad" keeps the bin that is not full.
    **factors : int
        Bins by dimension, such as ``y=4, x=2, energy=2``; these override ``factor``.

    Returns
    -------
    Dataset or DataTree
        The binned cube, lazy; a collection of a collection.

    Raises
    ------
    ParameterError
        If a factor or dimension is not possible, or ``boundary="exact"`` and rows are left over.

    Notes
    -----
    *Chunks.* Any. Each chunk is summed in the task that reads it, and a chunk's borders need not be multiples
    of the factor: where a bin crosses a border, the two sides exchange their partial sums of that bin's
    row (less than one row of bins), never counts. Chunks shrink by the factor. Needs a chunk and its bins
    per thread.

    Examples
    --------
    >>> counts = (("y", "x", "energy"), np.ones((4, 5, 3), "u2"))
    >>> ds = xr.Dataset({"counts": counts}, {"energy": [0.0, 0.1, 0.2]})
    >>> bin_cube(ds, 2).counts.shape, int(bin_cube(ds, 2).counts[0, 0, 0])
    ((2, 2, 3), 4)
    """
    if is_collection(data):
        return on_each_map(lambda ds: bin_cube(ds, factor, boundary=boundary, **factors), data)
    ds = validate_cube(data)
    wanted = _factors(ds, factor, factors)
    ds, lost = _without_voxels(ds, wanted)
    groups = {dim: _bin_ids(dim, ds.sizes[dim], b, boundary) for dim, b in wanted.items()}
    left = {dim: int((ids < 0).sum()) for dim, ids in groups.items()}
    binned = grouped(ds, groups, wanted)
    said = ", ".join(f"{dim}={b}" for dim, b in wanted.items())
    trimmed = ", ".join(f"{dim} {n}" for dim, n in left.items() if n)
    entry = f"bin({said})" + (f"; left out at the end: {trimmed}" if trimmed else "")
    if lost:
        entry += f"; left out, as voxels keep their size: {', '.join(lost)}"
    binned.attrs = scaled_times(derived_attrs(ds, entry, {}), _kept_fraction(ds, left))
    return validate_cube(binned, name="the binned cube")


def _without_voxels(ds: xr.Dataset, wanted: Mapping[str, int]) -> tuple[xr.Dataset, list[str]]:
    """Leave out what a simulation says in voxels or pixels, which binned pixels no longer fit."""
    lost = [name for name in TRUTH_IN_VOXELS if name in ds and ({X, Y} & set(wanted))]
    return (ds.drop_vars([*lost, *({Z} & set(ds.coords))]) if lost else ds), lost


def _factors(ds: xr.Dataset, factor: int | None, factors: Mapping[str, int]) -> dict[str, int]:
    dims = (*pixel_dims(ds), ENERGY)
    wanted: dict[str, int] = {} if factor is None else {d: factor for d in (Y, X) if d in dims}
    wanted.update(factors)
    if not wanted:
        raise ParameterError("factor", factor, "a bin size", f"Write bin(4), or name dimensions of {dims}.")
    for dim, size in wanted.items():
        if dim not in dims:
            raise ParameterError(dim, size, f"one of the cube's dimensions, {', '.join(dims)}")
        if not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 1:
            raise ParameterError(dim, size, "a whole number of at least 1")
        if size > ds.sizes[dim]:
            raise ParameterError(dim, size, f"at most the size of that dimension, {ds.sizes[dim]}")
    return {dim: int(size) for dim, size in wanted.items()}


def _bin_ids(dim: str, size: int, factor: int, boundary: Boundary) -> np.ndarray:
    """Bin of every row, -1 for rows that are left out."""
    ids = np.arange(size) // factor
    left = size % factor
    if boundary == "exact" and left:
        raise ParameterError(
            dim,
            factor,
            f"a divisor of {size}, as boundary='exact'",
            f"{left} are left over: boundary='trim' leaves them out, boundary='pad' keeps a bin of {left}.",
        )
    if boundary not in ("trim", "exact", "pad"):
        raise ParameterError("boundary", boundary, "'trim', 'exact' or 'pad'")
    if boundary == "trim" and left:
        ids[size - left :] = -1
    return ids


def grouped(ds: xr.Dataset, groups: Mapping[str, np.ndarray], factors: Mapping[str, int]) -> xr.Dataset:
    """Make the rows of each group one, every variable by its rule of the schema; drops ``ds.attrs``."""
    variables = {
        str(name): _grouped_variable(str(name), v.variable, groups) for name, v in ds.data_vars.items()
    }
    coords = {
        str(name): _grouped_coordinate(ds, str(name), c.variable, groups, factors)
        for name, c in ds.coords.items()
    }
    return xr.Dataset(variables, coords)


def _grouped_variable(name: str, variable: xr.Variable, groups: Mapping[str, np.ndarray]) -> xr.Variable:
    """One variable, binned by its rule; as it is where it has none of the dimensions."""
    axes = {variable.get_axis_num(d): ids for d, ids in groups.items() if d in variable.dims}
    if not axes:
        return variable
    if name == COUNTS:
        members = int(np.prod([np.bincount(ids[ids >= 0]).max() for ids in axes.values()]))
        cube = xr.Dataset({COUNTS: variable})
        data = fold(lazy_counts(cube), axes, sum_dtype(variable.dtype, members), spectra=True)
    else:
        data = _by_rule(name, variable, axes)
    return xr.Variable(variable.dims, data, variable.attrs)


def _rule(name: str, dtype: np.dtype) -> str:
    """How a variable bins: "sum", "mean" or "all", with "_std" for an uncertainty."""
    base = name.removesuffix(STD_SUFFIX)
    if base in VARIABLES:
        spec = VARIABLES[base]
        rule = (
            spec.binning if spec.pixels else "sum"
        )  # a spectrum's fractions in neighbouring channels add up
        return rule + STD_SUFFIX if base != name else rule
    if dtype.kind not in "biuf":
        raise SchemaError(
            f"variable {name!r} has dtype {dtype}, which cannot be binned: ds.drop_vars({name!r})"
        )
    return "all" if dtype.kind == "b" else "mean"


def _by_rule(name: str, variable: xr.Variable, axes: Mapping[int, np.ndarray]) -> Any:
    rule, dtype, data = _rule(name, variable.dtype), variable.dtype, lazy(variable)
    if rule == "all":
        return fold(~data.astype(bool), axes, np.dtype(np.int64), spectra=False) == 0
    if rule == "sum" and dtype.kind in "iu":
        return fold(data, axes, np.dtype(np.int64 if dtype.kind == "i" else np.uint64), spectra=False)
    out = dtype if dtype.kind == "f" else np.dtype(np.float64)
    uncertain = rule.endswith(STD_SUFFIX)
    total = fold(data**2 if uncertain else data, axes, np.dtype(np.float64), spectra=False)
    if uncertain:
        total = da.sqrt(total)
    return (total / _members(total.ndim, axes) if rule.startswith("mean") else total).astype(out)


def _members(ndim: int, axes: Mapping[int, np.ndarray]) -> np.ndarray:
    """How many rows each bin has, shaped to divide by."""
    members = np.ones((1,) * ndim)
    for axis, ids in axes.items():
        members = members * np.bincount(ids[ids >= 0]).reshape([-1 if a == axis else 1 for a in range(ndim)])
    return members


def _grouped_coordinate(
    ds: xr.Dataset,
    name: str,
    variable: xr.Variable,
    groups: Mapping[str, np.ndarray],
    factors: Mapping[str, int],
) -> xr.Variable:
    if name == ENERGY and name in groups:
        offset, scale = energy_axis(ds)
        factor, bins = factors[name], int(groups[name].max()) + 1
        return energy_coordinate(offset + (factor - 1) / 2 * scale, scale * factor, bins)
    if not set(groups) & set(variable.dims):
        return variable
    if variable.dtype.kind not in "biuf":
        raise SchemaError(
            f"coordinate {name!r} has dtype {variable.dtype}, no centre: ds.drop_vars({name!r})"
        )
    if variable.dims == (name,):
        centres = _centres(variable.values, groups[name], factors[name])
        return xr.Variable(variable.dims, centres, variable.attrs)
    axes = {variable.get_axis_num(d): ids for d, ids in groups.items() if d in variable.dims}
    return xr.Variable(variable.dims, _by_rule(name, variable, axes), variable.attrs)


def _centres(values: np.ndarray, ids: np.ndarray, factor: int) -> np.ndarray:
    """Centres of the bins; a bin that is not full is centred as if it were, so that the grid stays even."""
    bins = int(ids.max()) + 1
    values = np.asarray(values, dtype=np.float64)[: bins * factor]
    missing = bins * factor - values.size
    step = values[-1] - values[-2] if values.size > 1 else 0.0
    full = np.concatenate([values, values[-1] + step * np.arange(1, missing + 1)])
    return full.reshape(bins, factor).mean(axis=1)


def _kept_fraction(ds: xr.Dataset, left: Mapping[str, int]) -> float:
    """Fraction of the pixels that stay when ``left`` rows go."""
    return float(np.prod([1 - n / ds.sizes[dim] for dim, n in left.items() if dim != ENERGY]))


def scaled_times(attrs: Mapping[Any, Any], fraction: float) -> dict[Any, Any]:
    """``attrs`` with live and real time of the map cut to ``fraction``, so that time per pixel stays true."""
    times = {key: attrs[key] * fraction for key in (LIVE_TIME, REAL_TIME) if attrs.get(key) is not None}
    return {**attrs, **times} if fraction != 1.0 else dict(attrs)
