"""From a cube or a collection to loaded partitions: validation, memory plan, executor.

``photons_of`` is how every photon method begins and ends.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.budget import MemoryPlan, available_memory, parse_bytes, resident_memory
from edxdask.engine.derive import Thinning, derivations
from edxdask.engine.executor import Executor, ThreadExecutor
from edxdask.engine.layout import ImageStack, PartitionPlan, TilePlan, plan_partitions, stack_of
from edxdask.engine.partition import PartitionJob, partition_mark, read_band
from edxdask.errors import ParameterError, SchemaError

if TYPE_CHECKING:
    from distributed import Client

PIECE_BYTES = 64 * 2**20  # dense bytes decoded at once; one stored chunk of 4096 channels is 32 MiB
SAMPLES = 12  # chunks read to foresee the number of photons
BYTES_PER_NONZERO = 3  # uint16 channel, uint8 count
BYTES_PER_PIXEL = 8  # index pointer
WORKER_BASE = 260 * 2**20  # a worker process with numba, dask and xarray loaded, measured


@dataclass(frozen=True)
class MapView:
    """One map as the engine sees it."""

    name: str
    cube: xr.Dataset
    stack: ImageStack

    @property
    def counts(self) -> da.Array:
        """Lazy counts as ``(images, rows, width, energy)``; dense arrays in memory become lazy here."""
        data = self.cube[schema.COUNTS].data
        if not isinstance(data, da.Array):
            rows = max(1, PIECE_BYTES // max(1, data[..., :1, :, :].nbytes)) if data.ndim > 2 else -1
            chunks = (-1,) * data.ndim if data.ndim < 3 else (*(1,) * (data.ndim - 3), rows, -1, -1)
            data = da.from_array(data, chunks=chunks, name=False)
        return data


@dataclass
class Problem:
    """Loaded photons of one or more maps that share an energy axis."""

    maps: list[MapView]
    energy: xr.DataArray
    executor: Executor
    plans: list[PartitionPlan]
    memory: MemoryPlan
    nonzeros: int
    photons: int

    @property
    def channels(self) -> int:
        """Length of the energy axis."""
        return self.energy.size

    @property
    def pixels(self) -> int:
        """Pixels of all maps."""
        return sum(view.stack.pixels for view in self.maps)

    def fingerprint(self) -> str:
        """Name of the photons and their places, in whatever partitions: tells a cube from its mirror image.

        Reads the photons once.
        """
        return f"{sum(self.executor.collect(partition_mark)) % 2**64:016x}"

    def derive(self, *, factor: int = 1, thinning: Thinning | None = None) -> Problem:
        """Binned or thinned photons as a problem of their own; close its executor when done."""
        stacks, made = derivations([m.stack for m in self.maps], self.plans, factor=factor, thinning=thinning)
        executor, sizes = self.executor.derive(made)
        nonzeros, photons = (int(total) for total in np.sum(sizes, axis=0))
        maps = [replace(view, stack=stack) for view, stack in zip(self.maps, stacks, strict=True)]
        plans = [derivation.plan for _, derivation in made]
        return replace(self, maps=maps, executor=executor, plans=plans, nonzeros=nonzeros, photons=photons)


@dataclass(frozen=True)
class Demand:
    """Memory a method needs beside the photons.

    Attributes
    ----------
    per_pixel : bytes of state a pixel
    fixed : bytes of factors and statistics a thread
    """

    per_pixel: int
    fixed: int


@contextmanager
def photons_of(
    data: xr.Dataset | xr.DataTree,
    *,
    step: str,
    demand: Demand,
    workers: int | None = None,
    memory_limit: str | float | None = None,
    cache: str | Path | None = None,
) -> Iterator[Problem]:
    """Partitions of ``data`` on the active Client, else on threads; let go of at the end.

    Raises
    ------
    SchemaError, ParameterError
        If the data are not counts of photons on one energy axis.
    MemoryBudgetError
        If the work cannot fit.
    """
    maps = maps_of(data)
    client = active_client()
    if workers is not None and (isinstance(workers, bool) or workers < 1):
        raise ParameterError("workers", workers, "a number of threads of at least 1")
    threads = workers or os.cpu_count() or 1
    executor = _cluster_executor(client) if client else ThreadExecutor(threads)
    try:
        plans = plan_partitions([m.stack for m in maps], 2 * executor.workers)
        memory = _memory(maps, demand, executor, client, memory_limit).check(step)
        folder = Path(cache) if cache else Path(tempfile.gettempdir())
        spill = folder / f"edxdask-photons-{uuid4().hex[:12]}" if memory.cached else None
        sizes = executor.load([PartitionJob(plan, _sources(maps, plan), spill) for plan in plans])
        nonzeros, photons = (int(total) for total in np.sum(sizes, axis=0))
        if photons == 0:
            raise SchemaError(f"{step}: the cube holds no photons at all; is it the right file or crop?")
        energy = maps[0].cube.coords[schema.ENERGY]
        yield Problem(maps, energy, executor, plans, memory, nonzeros, photons)
    finally:
        executor.close()


def maps_of(data: xr.Dataset | xr.DataTree) -> list[MapView]:
    """List the valid maps of a cube or collection, numbered through, on one energy axis."""
    if isinstance(data, xr.DataTree):
        named = [
            (node.path.lstrip("/") or "map", node.to_dataset(inherit=True))
            for node in data.subtree
            if schema.COUNTS in node.data_vars
        ]
        if not named:
            raise SchemaError("the collection holds no map: no node has a variable 'counts'")
    else:
        named = [("", data)]
    views: list[MapView] = []
    first = 0
    for name, dataset in named:
        cube = schema.validate_cube(dataset, name=name or "ds")
        _same_axis(named[0][0], named[0][1], name, cube)
        view = MapView(name, cube, ImageStack(0, 0, 0, 0, ()))
        counts = view.counts
        row_bytes = counts[..., :1, :, :].nbytes if counts.ndim > 2 else counts.nbytes
        widest = max(counts.chunks[-2])
        piece_row = max(1, row_bytes * widest // counts.shape[-2])
        stack = stack_of(counts.shape[:-1], counts.chunks[:-1], first, max(1, PIECE_BYTES // piece_row))
        views.append(MapView(name, cube, stack))
        first += stack.pixels
    return views


def _same_axis(first_name: str, first: xr.Dataset, name: str, cube: xr.Dataset) -> None:
    a, b = schema.energy_axis(first), schema.energy_axis(cube)
    channels = first.sizes[schema.ENERGY], cube.sizes[schema.ENERGY]
    if channels[0] != channels[1] or not np.allclose(a, b, rtol=0, atol=1e-3 * a[1]):
        raise SchemaError(
            f"the energy axis of map {name!r} ({channels[1]} channels, {b[0]:.5g} + i × {b[1]:.5g} keV) "
            f"is not that of map {first_name!r} ({channels[0]} channels, {a[0]:.5g} + i × {a[1]:.5g} keV); "
            "shared spectra need one axis: crop the maps to the same channels"
        )


def active_client() -> Client | None:
    """Return the ``distributed`` Client in force, if the program made one."""
    if "distributed" not in sys.modules:
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:
        return None


def _cluster_executor(client: Client) -> Executor:
    from edxdask.engine.cluster_executor import ClusterExecutor

    return ClusterExecutor(client)


def _sources(maps: Sequence[MapView], plan: PartitionPlan) -> tuple[da.Array, ...]:
    return tuple(_tile_array(maps[tile.map_index], tile) for tile in plan.tiles)


def _tile_array(view: MapView, tile: TilePlan) -> da.Array:
    counts = view.counts
    if counts.ndim == 2:
        return counts[None]
    image = np.unravel_index(tile.image, counts.shape[:-3]) if counts.ndim > 3 else ()
    return counts[(*map(int, image), slice(tile.first_row, tile.first_row + tile.rows))]


def _memory(
    maps: Sequence[MapView],
    demand: Demand,
    executor: Executor,
    client: Client | None,
    memory_limit: str | float | None,
) -> MemoryPlan:
    pixels = sum(m.stack.pixels for m in maps)
    per_pixel, band_pixels, piece = foresee_photons(maps)
    photons = int(pixels * (per_pixel * BYTES_PER_NONZERO + BYTES_PER_PIXEL))
    processes = len(client.nthreads()) if client else 1
    threads = max(1, executor.workers // processes)
    band = int(band_pixels * (per_pixel * BYTES_PER_NONZERO + BYTES_PER_PIXEL))
    base = WORKER_BASE if client else resident_memory()
    limit = parse_bytes(memory_limit) if memory_limit is not None else _limit(client, base)
    return MemoryPlan(
        base=base,
        photons=photons // processes,
        state=demand.per_pixel * pixels // processes * (2 if client else 1),
        reading=threads * (2 * piece + 2 * band),
        scratch=threads * (demand.fixed + band),
        limit=limit,
    )


def _limit(client: Client | None, base: int) -> int:
    if client is None:
        return base + int(0.8 * available_memory())
    workers: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    limits = [int(w["memory_limit"]) for w in workers.values() if w["memory_limit"]]
    # beyond 80 % of its limit a worker pauses, beyond 95 % its nanny ends it
    return int(0.8 * min(limits)) if limits else base + int(0.8 * available_memory())


def foresee_photons(maps: Sequence[MapView]) -> tuple[float, int, int]:
    """Nonzeros a pixel (from a few chunks spread over the maps), pixels of a band, bytes of a dense piece."""
    corners: list[tuple[MapView, int, int, int, int]] = []
    band_pixels = piece = 0
    for view in maps:
        counts, stack = view.counts, view.stack
        lefts = np.cumsum([0, *counts.chunks[-2]])
        tallest = max(np.diff(stack.row_edges))
        band_pixels = max(band_pixels, int(tallest) * stack.width)
        widest = max(counts.chunks[-2])
        piece = max(piece, int(tallest) * widest * counts.shape[-1] * counts.dtype.itemsize)
        corners += [
            (view, image, row, int(lefts[column]), int(lefts[column + 1]))
            for image in range(stack.images)
            for row in range(len(stack.row_edges) - 1)
            for column in range(len(lefts) - 1)
        ]
    chosen = np.unique(np.linspace(0, len(corners) - 1, min(SAMPLES, len(corners))).round().astype(int))
    nonzeros = seen = 0
    for view, image, row, left, right in (corners[i] for i in chosen):
        top, bottom = view.stack.row_edges[row : row + 2]
        tile = TilePlan(0, image, (top, bottom), view.stack.rows, view.stack.width, 0)
        block = read_band(_tile_array(view, tile)[:, left:right])
        nonzeros += block.count.size
        seen += block.pixels
    return nonzeros / seen, band_pixels, piece


def require_phases(phases: int, problem_pixels: int, channels: int, *, name: str = "phases") -> int:
    """Check a number of phases against what the data could support."""
    if isinstance(phases, bool) or not isinstance(phases, int | np.integer) or phases < 1:
        raise ParameterError(name, phases, "a whole number of at least 1")
    if phases > min(problem_pixels, channels, 32):
        raise ParameterError(
            name,
            phases,
            f"at most 32, and no more than pixels ({problem_pixels}) or channels ({channels})",
        )
    return int(phases)


__all__ = ["Demand", "MapView", "Problem", "active_client", "maps_of", "photons_of", "require_phases"]
