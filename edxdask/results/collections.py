"""Collections: the maps of a cube or an ``xarray.DataTree``, one after the other.

A single map is a collection of one, under the name "". All code that must know whether data are one
map or many uses this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError

if TYPE_CHECKING:
    from typing_extensions import TypeIs

ALONE = ""  # name of a map that is not in a collection
ROOT_MAP = "map"  # name of a map that is at the root of a DataTree
Data = xr.Dataset | xr.DataTree
# Of functions that give one result for a map, and a collection of results for a collection.
OneOrMany = TypeVar("OneOrMany", xr.Dataset, xr.DataTree)


def is_collection(data: Any) -> TypeIs[xr.DataTree]:
    """Say whether this is a collection, and not a single map or result."""
    return isinstance(data, xr.DataTree)


def cubes_in(data: Data, *, name: str = "data") -> dict[str, xr.Dataset]:
    """Give every map that holds counts, by its path in the collection; a single cube has the name "".

    Raises
    ------
    ParameterError, SchemaError
        If ``data`` is no cube and no collection of cubes.

    Examples
    --------
    >>> cube = xr.Dataset({"counts": (("y", "x", "energy"), np.zeros((1, 1, 2), "u2"))})
    >>> list(cubes_in(cube)), list(cubes_in(xr.DataTree.from_dict({"/a": cube, "/b": cube})))
    ([''], ['a', 'b'])
    """
    if isinstance(data, xr.Dataset):
        return {ALONE: data}
    if not is_collection(data):
        raise ParameterError(
            name, type(data).__name__, "a cube (Dataset) or a collection of cubes (DataTree)"
        )
    found = {
        _map_name(path): node.to_dataset(inherit=True)
        for path, node in data.subtree_with_keys
        if schema.COUNTS in node.data_vars
    }
    if not found:
        raise SchemaError(
            f"{name} is a collection without maps: no node has a variable 'counts' (its nodes: "
            f"{', '.join(data.children) or 'none'}). edxdask.collect({{'a': cube, …}}) makes a collection"
        )
    return found


def _map_name(path: str) -> str:
    return ROOT_MAP if path == "." else path


def on_each_map(
    function: Callable[..., Any], data: Data, *, each: Mapping[str, Mapping[str, Any]] | None = None
) -> Any:
    """Call ``function`` with a cube, or with every map of a collection; a collection of the answers.

    Attributes of the collection stay; an answer that is a DataArray becomes a Dataset of one variable.

    Parameters
    ----------
    function : callable
        Takes a cube, and the keywords of ``each``.
    data : Dataset or DataTree
        Cube or collection of cubes.
    each : mapping, optional
        Keywords with values that differ from map to map: by keyword, then by name of the map.
    """
    made: dict[str, xr.Dataset] = {}
    cubes = cubes_in(data)
    for name, cube in cubes.items():
        out = function(cube, **{key: values[name] for key, values in (each or {}).items()})
        if not is_collection(data):
            return out
        path = "/" if name == ROOT_MAP and schema.COUNTS in data.data_vars else name
        made[path] = out if isinstance(out, xr.Dataset) else out.to_dataset(promote_attrs=True)
    made.setdefault("/", xr.Dataset(attrs=data.attrs))
    return xr.DataTree.from_dict(made, name=data.name if is_collection(data) else None)


def value_for_each_map(value: Any, data: xr.DataTree, *, name: str) -> dict[str, Any]:
    """Give one value for every map: the same for all, or by name of the map.

    Parameters
    ----------
    value : any
        One value, a mapping of values by map, or a collection with one variable per map, such as the masks
        that ``valid_mask`` gives of a collection.
    data : DataTree
        Collection of cubes.
    name : str
        What the value is called in an error.
    """
    maps = cubes_in(data)
    if is_collection(value):
        nodes = {_map_name(path): list(node.data_vars.values()) for path, node in value.subtree_with_keys}
        value = {path: found[0] for path, found in nodes.items() if len(found) == 1}
    if not isinstance(value, Mapping):
        return dict.fromkeys(maps, value)
    missing = [path for path in maps if value.get(path) is None]
    if missing or len(value) != len(maps):
        raise ParameterError(name, list(value), f"one {name} for each map, {list(maps)}")
    return {path: value[path] for path in maps}


def check_same_axis(cubes: Mapping[str, xr.Dataset], advice: str) -> None:
    """Refuse maps if their energy axes differ by more than a thousandth of a channel.

    ``advice`` says what the user can do.
    """
    (first_name, first), *rest = cubes.items()
    a, channels = schema.energy_axis(first), first.sizes[schema.ENERGY]
    for name, cube in rest:
        b = schema.energy_axis(cube)
        if channels != cube.sizes[schema.ENERGY] or not np.allclose(a, b, rtol=0, atol=1e-3 * a[1]):
            raise SchemaError(
                f"the energy axis of map {name!r} ({cube.sizes[schema.ENERGY]} channels, {b[0]:.5g} + i × "
                f"{b[1]:.5g} keV) is not that of map {first_name!r} ({channels} channels, {a[0]:.5g} + i × "
                f"{a[1]:.5g} keV); {advice}"
            )


def nodes_of(result: Data, *, name: str = "result") -> tuple[xr.Dataset, list[tuple[str, xr.Dataset]]]:
    """Give the shared variables and the maps of a result, one or many."""
    if isinstance(result, xr.Dataset):
        return result, [(ALONE, result)]
    if not is_collection(result):
        raise ParameterError(
            name, type(result).__name__, "a result: a Dataset, or a DataTree of a collection"
        )
    maps = [
        (path, node.to_dataset(inherit=True))
        for path, node in result.subtree_with_keys
        if node is not result and node.data_vars
    ]
    if not maps:
        raise SchemaError(f"{name} is a collection without maps")
    return result.to_dataset(inherit=True), maps


def shared_part(result: Data) -> xr.Dataset:
    """Give what is common to all maps of a result: the root of a collection; of one map, all of it."""
    return result.to_dataset(inherit=True) if is_collection(result) else result


def with_shared(result: Data, variables: Mapping[str, Any], attrs: Mapping[str, Any] | None = None) -> Data:
    """Add variables and attributes to what is common to all maps of a result; the input stays as it is."""
    if not is_collection(result):
        return result.assign(variables).assign_attrs(attrs or {})
    return with_shared_part(result, shared_part(result).assign(variables).assign_attrs(attrs or {}))


def with_shared_part(result: Data, shared: xr.Dataset) -> Data:
    """Replace what is common to all maps of a result by ``shared``; the input stays as it is."""
    if not is_collection(result):
        return shared
    nodes = {f"/{path}": node.to_dataset(inherit=False) for path, node in result.subtree_with_keys}
    nodes["/"] = shared
    return xr.DataTree.from_dict({p: n for p, n in nodes.items() if p != "/."}, name=result.name)


def joined(maps: Mapping[str, xr.Dataset], like: Data, *, shared: xr.Dataset | None = None) -> Data:
    """Give maps as ``like`` has them: the one map itself, or a collection with the attributes of ``like``."""
    if not is_collection(like):
        return next(iter(maps.values()))
    root = xr.Dataset(attrs=like.attrs) if shared is None else shared
    return xr.DataTree.from_dict({"/": root, **maps}, name=like.name)
