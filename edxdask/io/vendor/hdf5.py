"""What the HDF5 readers have in common: recognising files, scalars in arrays of one element, metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py

from edxdask.io.vendor.convert import number, verbatim

_MAGIC = b"\x89HDF\r\n\x1a\n"
_SMALL = 64  # elements; what is longer is data, not metadata


def holds(path: Path, suffix: str, test: Callable[[h5py.File], bool]) -> bool:
    """Whether an HDF5 file passes ``test``; one too damaged to read counts if it has the ``suffix``."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return False
    try:
        with h5py.File(path, "r") as opened:
            return bool(test(opened))
    except (OSError, KeyError, RuntimeError, ValueError, TypeError):
        return path.suffix.lower() == suffix  # its reader then says what is wrong


def scalar(group: h5py.Group, name: str) -> float | None:
    """Value of the dataset ``name`` (vendors store arrays of one element), None where there is none."""
    item = group.get(name)
    return number(item[()]) if isinstance(item, h5py.Dataset) and item.size == 1 else None


def text(group: h5py.Group, name: str) -> str:
    """Text in the dataset ``name``, empty where there is none."""
    item = group.get(name)
    if not isinstance(item, h5py.Dataset) or item.size != 1:
        return ""
    value = verbatim(item[()])
    while isinstance(value, list):
        value = value[0]
    return str(value)


def metadata_tree(group: h5py.Group) -> dict[str, Any]:
    """All attributes and small datasets below ``group``, verbatim; of the others, what they are."""
    tree: dict[str, Any] = {f"@{key}": verbatim(group.attrs[key]) for key in group.attrs}
    for name, item in group.items():
        if isinstance(item, h5py.Group):
            tree[name] = metadata_tree(item)
        elif isinstance(item, h5py.Dataset):
            tree[name] = _leaf(item)
    return tree


def _leaf(item: h5py.Dataset) -> Any:
    attrs = {f"@{key}": verbatim(item.attrs[key]) for key in item.attrs}
    if item.dtype.names and item.size == 1:
        row = item[()].ravel()[0]
        value: Any = {field: verbatim(row[field]) for field in item.dtype.names}
    elif item.size is not None and item.size <= _SMALL and item.dtype.subdtype is None:
        value = verbatim(item[()])
    else:
        value = f"dataset of shape {item.shape} and type {item.dtype}"
    return {"value": value, **attrs} if attrs else value


def datasets_named(group: h5py.Group, name: str) -> Iterator[h5py.Dataset]:
    """Datasets called ``name`` at any depth, in the order of the file."""
    for key, item in group.items():
        if isinstance(item, h5py.Group):
            yield from datasets_named(item, name)
        elif key == name and isinstance(item, h5py.Dataset):
            yield item
