"""Collections: the maps of a cube or an ``xarray.DataTree``, one after the other.

A single map is a collection of one, under the name "". Everything that asks whether data are one map or many
asks here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError

if TYPE_CHECKING:
    from typing_extensions import TypeIs

ALONE = ""  # name of a map that is no part of a collection
ROOT_MAP = "map"  # name of a map that stands at the root of a DataTree
Data = xr.Dataset | xr.DataTree


def is_collection(data: Any) -> TypeIs[xr.DataTree]:
    """Tell a collection from a single map or result."""
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
        node.path.lstrip("/") or ROOT_MAP: node.to_dataset(inherit=True)
        for node in data.subtree
        if schema.COUNTS in node.data_vars
    }
    if not found:
        raise SchemaError(f"{name} is a collection without maps: no node has a variable 'counts'")
    return found


def on_each_map(function: Callable[[xr.Dataset], Any], data: Data) -> Any:
    """Call ``function`` with a cube, or with every map of a collection; a collection of the answers.

    Attributes of the collection stay; an answer that is a DataArray becomes a Dataset of one variable.
    """
    if not is_collection(data):
        return function(data)
    made: dict[str, xr.Dataset] = {"/": xr.Dataset(attrs=data.attrs)}
    for path, node in data.subtree_with_keys:
        if schema.COUNTS in node.data_vars:
            out = function(node.to_dataset(inherit=True))
            made[f"/{path}"] = out if isinstance(out, xr.Dataset) else out.to_dataset(promote_attrs=True)
    if len(made) == 1:
        raise SchemaError("data is a collection without maps: no node has a variable 'counts'")
    return xr.DataTree.from_dict(made, name=data.name)


def check_same_axis(cubes: Mapping[str, xr.Dataset], advice: str) -> None:
    """Refuse maps whose energy axes differ by more than a thousandth of a channel.

    ``advice`` says what the user can do about it.
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


def shared_part(result: Data) -> xr.Dataset:
    """Give what all maps of a result share: its root in a collection, all of it where there is one map."""
    return result.to_dataset(inherit=True) if is_collection(result) else result


def with_shared(result: Data, variables: Mapping[str, Any], attrs: Mapping[str, Any] | None = None) -> Data:
    """Add variables and attributes to what all maps of a result share; the input stays as it is."""
    if not is_collection(result):
        return result.assign(variables).assign_attrs(attrs or {})
    fresh = result.copy()
    fresh.dataset = result.to_dataset(inherit=True).assign(variables).assign_attrs(attrs or {})
    return fresh
