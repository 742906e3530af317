"""Opens stores: one plain Zarr group per map, or a group of such groups for a collection."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from edxdask.errors import (
    CorruptStoreError,
    ForeignStoreError,
    IncompleteStoreError,
    MissingStoreError,
    NewerSchemaError,
)
from edxdask.io.grid import ChunkGrid
from edxdask.io.lazy import StoredCounts, array_name, lazy_counts, stamp
from edxdask.io.manifest import MANIFEST, Manifest, read_manifest
from edxdask.io.target import is_ours, is_partial, partial_path, read_plan
from edxdask.readable import closest
from edxdask.schema import (
    COMPLETE,
    COUNTS,
    ENERGY,
    FORMAT_KEY,
    SCHEMA_VERSION,
    SCHEMA_VERSION_KEY,
    energy_axis,
)

_DAMAGE = (ValueError, RuntimeError, OSError, KeyError, TypeError, IndexError, AttributeError, AssertionError)


def open_store(path: str | Path) -> xr.Dataset | xr.DataTree:
    """Open a store lazily: a Dataset, or a DataTree for a collection; ``collection/name`` is one map of it.

    Notes
    -----
    Chunks: counts in the chunks of the store, 64 × 64 pixels × all channels. Reads metadata and
    coordinates only.

    Raises
    ------
    MissingStoreError, ForeignStoreError, IncompleteStoreError, NewerSchemaError, CorruptStoreError
        Nothing there; not a store of edxdask; not written to the end; too new; damaged.
    """
    root = Path(path)
    check_store(root)
    names = map_names(root)
    if not names:
        return _with_shared(_open_map(root), root.absolute().parent)
    maps = {name: _open_map(root / name) for name in names}
    top = _open_map(root)
    return xr.DataTree.from_dict({"/": top, **maps}, name=None)


def _with_shared(ds: xr.Dataset, home: Path) -> xr.Dataset:
    """Give a map of a collection what all maps share, such as the spectra of a result."""
    if not is_ours(home) or COUNTS in ds:
        return ds
    shared = _open_map(home)
    lacking = shared.drop_vars([name for name in shared.variables if name in ds.variables])
    return ds.assign(lacking.variables)


def check_store(path: Path) -> dict[str, Any]:
    """Attributes of the store at ``path`` if it is one that can be read, else the error that says why not."""
    if not os.path.lexists(path):
        raise _absent(path)
    if path.is_dir() and is_partial(path) and read_plan(path) is not None:
        raise IncompleteStoreError(f"{path} is an unfinished store. {_how_to_resume(path)}")
    if not (path / "zarr.json").is_file():
        raise ForeignStoreError(f"{path} is not a store: it has no zarr.json. {_how_to_get_one(path)}")
    try:
        attributes = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]
        attributes.get(FORMAT_KEY)
    except _DAMAGE as error:
        raise CorruptStoreError(f"{path}: its metadata (zarr.json) cannot be read: {error}") from error
    if not is_ours(path):
        if is_ours(path.absolute().parent):
            raise ForeignStoreError(f"{path} is an array of a store: open the store, {path.parent}")
        raise ForeignStoreError(
            f"{path} is a Zarr store of another program. In Python, edxdask.from_array makes a cube of counts"
        )
    newest = attributes.get(SCHEMA_VERSION_KEY)
    if not isinstance(newest, int):
        raise CorruptStoreError(f"{path}: its schema_version is {newest!r}, not a number")
    if newest > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"{path} has schema version {newest}, this edxdask reads up to {SCHEMA_VERSION}: "
            "python -m pip install --upgrade edxdask"
        )
    if attributes.get(COMPLETE) is not True:
        raise IncompleteStoreError(f"{path} was not written to the end. {_how_to_resume(partial_path(path))}")
    return attributes


def map_names(root: Path) -> list[str]:
    """Names of the maps of a collection, in order; none for a store of one map."""
    return sorted(
        p.name
        for p in root.iterdir()
        if p.is_dir() and p.name != MANIFEST and _node(p).get("node_type") == "group"
    )


def _node(folder: Path) -> dict[str, Any]:
    try:
        node = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CorruptStoreError(f"{folder}: its metadata (zarr.json) cannot be read: {error}") from error
    return node if isinstance(node, dict) else {}


def _absent(path: Path) -> Exception:
    partial = partial_path(path)
    if partial.is_dir() and read_plan(partial) is not None:
        return IncompleteStoreError(f"{path} was not finished. {_how_to_resume(partial)}")
    home = path.absolute().parent
    if not is_ours(home):
        return MissingStoreError(f"{path}: there is no such store")
    names = map_names(home)
    if not names:
        return MissingStoreError(f"{path}: there is no such store; {path.parent} is one of a single map")
    near = closest(path.name, names)
    meant = f". Did you mean {path.parent / near}?" if near else "."
    return MissingStoreError(f"{path.parent} has no map {path.name!r}{meant} Its maps: {', '.join(names)}")


def _how_to_get_one(path: Path) -> str:
    """Say what to do with what is no store: a vendor file is ingested."""
    from edxdask.io.vendor import FORMATS

    if path.suffix.lower() in FORMATS:
        store = path.with_suffix(".zarr").name
        return f"Turn the vendor file into one: edxdask ingest {path} -o {store}"
    return "A store is a folder that edxdask wrote, such as map.zarr"


def _how_to_resume(partial: Path) -> str:
    plan = read_plan(partial)
    if plan is None:
        return "Ingest the source again with overwrite=True (--overwrite)."
    return f"What was finished is kept; continue with: {plan.get('hint')}"


def _open_map(folder: Path) -> xr.Dataset:
    attributes = check_store(folder)
    try:
        _check_whole(folder)
        rest = xr.open_zarr(folder, chunks={}, drop_variables=[COUNTS])
        variables = {**rest.data_vars}
        if (folder / COUNTS).exists():
            variables = {COUNTS: _counts(folder, rest), **variables}
        texts = {
            n: (c.dims, c.values.astype(object).astype(str))
            for n, c in rest.coords.items()
            if c.dtype.kind in "TO"
        }
    except _DAMAGE as error:
        raise CorruptStoreError(f"{folder}: its metadata or coordinates are damaged: {error}") from error
    kept = {k: v for k, v in attributes.items() if k not in (FORMAT_KEY, COMPLETE)}
    ds = xr.Dataset(variables, coords=rest.coords, attrs=kept)
    return ds.assign_coords(texts) if texts else ds


def _counts(folder: Path, rest: xr.Dataset) -> xr.Variable:
    array = zarr.open_array(folder / COUNTS, mode="r")
    dims = getattr(array.metadata, "dimension_names", None)
    grid = ChunkGrid(array.shape[:-1], array.shape[-1])
    if dims is None or dims[-1] != ENERGY or array.chunks != grid.chunk_shape:
        raise CorruptStoreError(
            f"{folder}: counts has dims {dims} and chunks {array.chunks}, not those of a store"
        )
    sizes = dict(zip(dims, array.shape, strict=True))
    odd = {d: n for d, n in rest.sizes.items() if d in sizes and sizes[d] != n}
    if odd:
        raise CorruptStoreError(f"{folder}: counts has {sizes}, its coordinates have {odd}")
    _check_chunks(folder, grid)
    source = {"source": str(folder.resolve())}
    return xr.Variable(dims, lazy_counts(folder, array.shape, array.dtype), dict(array.attrs), source)


def _check_whole(folder: Path) -> None:
    """Refuse arrays beside counts that lack a chunk: all are stored, and Zarr would read zeros."""
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or path.name == COUNTS:
            continue
        if path.name == MANIFEST:
            _check_whole(path)
        node = _node(path)
        if node.get("node_type") == "array":
            sides = node["chunk_grid"]["configuration"]["chunk_shape"]
            expected = math.prod(-(-n // c) for n, c in zip(node["shape"], sides, strict=True))
            home = path / "c"
            present = sum(p.is_file() for p in home.rglob("*")) if home.is_dir() else int(home.exists())
            if present < expected:
                raise CorruptStoreError(
                    f"{path}: {expected - present} of its {expected} chunks are missing; "
                    "ingest the source again"
                )


def _check_chunks(folder: Path, grid: ChunkGrid) -> Manifest:
    """Compare the chunk files with the manifest by name; one listing of one folder, no counts are read."""
    manifest = read_manifest(zarr.open_group(folder, mode="r"), str(folder))
    if not manifest.fits(grid):
        raise CorruptStoreError(f"{folder}: its manifest is not that of a cube of {grid.pixels} pixels")
    present = set(os.listdir(folder / COUNTS))
    full = np.argwhere(manifest.photons > 0)
    lost = [n for b, c in full if (n := grid.file_name(grid.index(int(b), int(c)))) not in present]
    if lost:
        raise CorruptStoreError(
            f"{folder}: {len(lost)} of {len(full)} chunks of counts are missing ({', '.join(lost[:3])}); "
            "ingest the source again"
        )
    return manifest


def store_of(counts: xr.DataArray) -> Path | None:
    """Folder of the map if ``counts`` are its stored counts; None if they were changed.

    Its manifest then gives photons and non-zero counts without reading any.
    """
    source = counts.encoding.get("source")
    if source is None or counts.chunks is None or not (Path(source) / COUNTS / "zarr.json").exists():
        return None
    reader = StoredCounts(source, counts.shape, counts.dtype, stamp(Path(source)))
    return Path(source) if counts.data.name == array_name(reader) else None


@dataclass(frozen=True)
class StoreInfo:
    """A map as its metadata describe it; no counts are read.

    Attributes
    ----------
    path : folder of the map
    dims, shape : of counts, energy last
    dtype : of counts
    photons, nonzeros : of the whole map
    largest : largest count of a pixel and channel
    sum_spectrum : (energy,) uint64
    energy_offset, energy_scale : keV
    disk_bytes : size of the store's files
    photon_bytes : memory the map takes as photon blocks
    attrs : attributes of the map
    variables : other variables and images
    photons_by_first : photons at each index of the first pixel dimension, of a cube of three
    """

    path: Path
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    photons: int
    nonzeros: int
    largest: int
    sum_spectrum: np.ndarray
    energy_offset: float
    energy_scale: float
    disk_bytes: int
    photon_bytes: int
    attrs: dict[str, Any]
    variables: tuple[str, ...]
    photons_by_first: np.ndarray | None = None

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return int(np.prod(self.shape[:-1]))

    @property
    def counts_per_pixel(self) -> float:
        """Mean photons of a pixel."""
        return self.photons / self.pixels

    @property
    def fill(self) -> float:
        """Fraction of the cube that is not zero."""
        return self.nonzeros / (self.pixels * self.shape[-1])


def manifest_of(path: str | Path) -> Manifest:
    """Photons of the map at ``path``, chunk by chunk; of a map of a collection: ``path / name``."""
    folder = Path(path)
    check_store(folder)
    if not (folder / COUNTS).exists():
        maps = ", ".join(map_names(folder)) or "none"
        raise ForeignStoreError(f"{folder} holds no counts itself; its maps: {maps}")
    return read_manifest(zarr.open_group(folder, mode="r"), str(folder))


def store_info(path: str | Path) -> StoreInfo | dict[str, StoreInfo]:
    """Describe a store from its manifest; for a collection, by name of the map."""
    root = Path(path)
    check_store(root)
    maps = [n for n in map_names(root) if (root / n / COUNTS).exists()]
    return {name: _info(root / name) for name in maps} if maps else _info(root)


def _info(folder: Path) -> StoreInfo:
    manifest, ds = manifest_of(folder), _open_map(folder)
    counts, (offset, scale) = ds[COUNTS], energy_axis(ds)
    nonzeros, largest = int(manifest.nonzeros.sum()), int(manifest.largest.max())
    pixels = counts.size // counts.sizes[ENERGY]
    count_bytes = 1 if largest <= 0xFF else 2 if largest <= 0xFFFF else 4
    return StoreInfo(
        path=folder,
        dims=tuple(map(str, counts.dims)),
        shape=counts.shape,
        dtype=counts.dtype,
        photons=int(manifest.photons.sum()),
        nonzeros=nonzeros,
        largest=largest,
        sum_spectrum=manifest.sum_spectrum,
        energy_offset=offset,
        energy_scale=scale,
        disk_bytes=sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()),
        photon_bytes=nonzeros * (2 + count_bytes) + 8 * (pixels + 1),
        attrs=dict(ds.attrs),
        variables=tuple(str(v) for v in ds.variables if v not in ds.dims and v != COUNTS),
        photons_by_first=manifest.photons.reshape(counts.shape[0], -1).sum(1) if counts.ndim == 4 else None,
    )
