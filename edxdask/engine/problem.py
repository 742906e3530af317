"""From a cube or a collection to loaded partitions: validation, memory plan, executor.

``photons_of`` is how every photon method begins and ends.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.budget import MemoryPlan, format_bytes, return_large_arrays
from edxdask.engine.derive import Thinning, binned_stacks, derivations
from edxdask.engine.executor import Executor, ThreadExecutor
from edxdask.engine.fill import full_channels, mean_counts
from edxdask.engine.layout import PartitionPlan, plan_partitions
from edxdask.engine.maps import MapView, maps_of, tile_array
from edxdask.engine.memory import Demand, plan_memory
from edxdask.engine.partition import PartitionJob, partition_mark
from edxdask.errors import ParameterError, SchemaError
from edxdask.portable import process_lives

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)

CACHE_PREFIX = "edxdask-photons-"
PARTITIONS_PER_THREAD = 2  # of this process: the last ones even out
PARTITIONS_PER_WORKER = 1  # of a cluster, where every task costs the same, and a pause before the next one


@dataclass
class Problem:
    """Loaded photons of maps that share an energy axis; ``mean`` photons per pixel and channel."""

    maps: list[MapView]
    energy: xr.DataArray
    executor: Executor
    plans: list[PartitionPlan]
    memory: MemoryPlan
    nonzeros: int
    photons: int
    mean: np.ndarray

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
        mean = self.mean * (factor**2 * (thinning.kept if thinning else 1.0))
        stacks = binned_stacks([m.stack for m in self.maps], factor)
        made = derivations(stacks, self.plans, full_channels(mean), factor=factor, thinning=thinning)
        executor, sizes = self.executor.derive(made)
        nonzeros, photons = (int(total) for total in np.sum(sizes, axis=0))
        maps = [replace(view, stack=stack) for view, stack in zip(self.maps, stacks, strict=True)]
        plans = [derivation.plan for _, derivation in made]
        return replace(
            self, maps=maps, executor=executor, plans=plans, nonzeros=nonzeros, photons=photons, mean=mean
        )


@contextmanager
def photons_of(
    data: xr.Dataset | xr.DataTree,
    *,
    step: str,
    demand: Demand,
    workers: int | None = None,
    memory_limit: str | float | None = None,
    cache: str | Path | None = None,
    mean: np.ndarray | None = None,
) -> Iterator[Problem]:
    """Partitions of ``data`` on the active Client, else on threads; let go of at the end.

    ``mean``, the photons per pixel in each channel, is estimated from ``data`` where it is not known.

    Raises
    ------
    SchemaError, ParameterError
        If the data are not counts of photons on one energy axis.
    MemoryBudgetError
        If the work cannot fit.
    """
    maps = maps_of(data)
    return_large_arrays()
    client = active_client()
    if workers is not None and (isinstance(workers, bool) or workers < 1):
        raise ParameterError("workers", workers, "a number of threads of at least 1")
    threads = workers or os.cpu_count() or 1
    executor = _cluster_executor(client) if client else ThreadExecutor(threads)
    try:
        each = PARTITIONS_PER_WORKER if client else PARTITIONS_PER_THREAD
        plans = plan_partitions([m.stack for m in maps], each * executor.workers)
        mean = mean_counts(maps) if mean is None else mean
        full = full_channels(mean)
        memory = plan_memory(maps, len(plans), full, demand, executor, client, memory_limit).check(step)
        logger.info(
            "%s: at most %s of memory %s, photons %s",
            step,
            format_bytes(memory.peak),
            "a worker" if client else "in this process",
            "in a cache on disk" if memory.cached else "in memory",
        )
        spill = cache_folder(cache, client is not None) if memory.cached else None
        sizes = executor.load([PartitionJob(plan, _sources(maps, plan), full, spill) for plan in plans])
        nonzeros, photons = (int(total) for total in np.sum(sizes, axis=0))
        if photons == 0:
            raise SchemaError(f"{step}: the cube holds no photons at all; is it the right file or crop?")
        energy = maps[0].cube.coords[schema.ENERGY]
        yield Problem(maps, energy, executor, plans, memory, nonzeros, photons, mean)
    finally:
        executor.close()


def cache_folder(cache: str | Path | None, cluster: bool) -> Path:
    """Name a new folder for photons on disk.

    Workers keep theirs in their own scratch folders (a relative path), which go when they do. Those of this
    process go at its end; what killed ones left on this machine goes now.
    """
    mine = f"{CACHE_PREFIX}{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:12]}"
    if cluster:
        return Path(cache).absolute() / mine if cache else Path(mine)
    home = Path(cache) if cache else Path(tempfile.gettempdir())
    for path in home.glob(f"{CACHE_PREFIX}{socket.gethostname()}-*-*"):
        pid = path.name.rsplit("-", 2)[1]
        if pid.isdigit() and not process_lives(int(pid)):
            shutil.rmtree(path, ignore_errors=True)
    return home / mine


def active_client() -> Client | None:
    """Return the ``distributed`` Client in force, if the program made one."""
    if "distributed" not in sys.modules:
        return None
    from distributed import default_client

    try:
        client = default_client()
    except ValueError:
        return None
    return None if client.status in ("closing", "closed") else client


def _cluster_executor(client: Client) -> Executor:
    from edxdask.engine.cluster_executor import ClusterExecutor

    return ClusterExecutor(client)


def _sources(maps: Sequence[MapView], plan: PartitionPlan) -> tuple[da.Array, ...]:
    return tuple(tile_array(maps[tile.map_index], tile) for tile in plan.tiles)


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
