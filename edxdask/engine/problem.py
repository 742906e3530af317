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
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr
from dask.system import CPU_COUNT

from edxdask import schema
from edxdask.budget import MemoryPlan, format_bytes, return_large_arrays
from edxdask.engine.derive import Thinning, binned_stacks, derivations
from edxdask.engine.executor import Executor, ThreadExecutor
from edxdask.engine.faults import TileFaults, are_faults, fault_warnings, peak_limits, sharp_everywhere
from edxdask.engine.fill import channels_to_hold_dense, mean_counts
from edxdask.engine.layout import PartitionPlan, plan_partitions
from edxdask.engine.maps import MapView, maps_of, sharpest_width, tile_array
from edxdask.engine.memory import Demand, PhotonCopy, copy_bytes, plan_memory
from edxdask.engine.partition import PartitionJob, faults_of, partition_mark, summed_spectrum
from edxdask.errors import ParameterError, SchemaError
from edxdask.physics.floor import Floor, spectrum_floor
from edxdask.portable import process_lives

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)

CACHE_PREFIX = "edxdask-photons-"
LEAST_END_KEV = 1.0  # of an axis of X-rays in keV, on which a floor means something
ALL_CHANNELS = Floor(0, -np.inf)
PARTITIONS_PER_THREAD = 2  # of this process: small last ones balance the work
PARTITIONS_PER_WORKER = 1  # of a cluster, where every task costs the same, and a pause before the next one


@dataclass(frozen=True, eq=False)
class Problem:
    """Loaded photons of maps with one energy axis.

    Attributes
    ----------
    plans : of the partitions
    memory : what the photons, their copies and the work on them may take
    nonzeros, photons : of all maps
    mean : (E,) photons per pixel in each channel, estimated
    cache : folder for photons on disk, as the user gave it
    warnings : faults of the detector and the scan: what was left out, and where to look
    floor : first channel that may be used; those below it take part in totals only
    below : (E,) fraction of the photons in each channel below the floor
    """

    maps: list[MapView]
    energy: xr.DataArray
    executor: Executor
    plans: list[PartitionPlan]
    memory: MemoryPlan
    nonzeros: int
    photons: int
    mean: np.ndarray
    cache: str | Path | None = None
    warnings: tuple[str, ...] = ()
    floor: Floor = ALL_CHANNELS
    below: np.ndarray | None = None

    @property
    def channels(self) -> int:
        """Length of the energy axis."""
        return self.energy.size

    @property
    def pixels(self) -> int:
        """Pixels of all maps."""
        return sum(view.stack.pixels for view in self.maps)

    def fingerprint(self) -> str:
        """Name of the photons and their places, for any partitions: a cube and its mirror image differ.

        Reads the photons once.
        """
        return f"{sum(self.executor.collect(partition_mark)) % 2**64:016x}"

    def identity(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Collect what must be equal in a checkpoint of this run."""
        return {
            "method": method,
            "pixels": self.pixels,
            "channels": self.channels,
            "photons": self.photons,
            "fingerprint": self.fingerprint(),
            "energy_kev": [float(self.energy[0]), float(self.energy[-1])],
            **parameters,
        }

    @property
    def lowest_energy(self) -> dict[str, float]:
        """Attribute of a result that says where the usable channels begin; empty where all are."""
        return {schema.LOWEST_ENERGY: self.floor.energy_kev} if self.floor.first > 0 else {}

    @contextmanager
    def derived(
        self,
        *,
        factor: int = 1,
        thinning: Thinning | None = None,
        per_pixel: int = 0,
        beside: Problem | None = None,
    ) -> Iterator[Problem]:
        """Binned or thinned photons as a separate problem, released at the end.

        Parameters
        ----------
        factor : int
            Pixels per bin, along rows and columns.
        thinning : Thinning, optional
            Which part of the photons is taken.
        per_pixel : int
            Bytes of state per pixel of the copy that the work on it takes.
        beside : Problem, optional
            The problem that holds the copies which exist at the same time; this one where there are none.
        """
        copy = PhotonCopy(factor, thinning.kept if thinning else 1.0)
        mean = self.mean * (factor**2 * copy.kept)
        stacks = binned_stacks([m.stack for m in self.maps], factor)
        memory, spill = self._room_for(copy, per_pixel * sum(s.pixels for s in stacks), beside or self)
        made = derivations(
            stacks, self.plans, channels_to_hold_dense(mean), factor=factor, thinning=thinning, cache=spill
        )
        executor, sizes = self.executor.derive(made)
        try:
            nonzeros, photons = (int(total) for total in np.sum(sizes, axis=0))
            maps = [replace(view, stack=stack) for view, stack in zip(self.maps, stacks, strict=True)]
            plans = [derivation.plan for _, derivation in made]
            yield replace(
                self, maps=maps, executor=executor, plans=plans, memory=memory, nonzeros=nonzeros,
                photons=photons, mean=mean,
            )  # fmt: skip
        finally:
            executor.close()

    def _room_for(self, copy: PhotonCopy, state: int, beside: Problem) -> tuple[MemoryPlan, Path | None]:
        """Plan of the work on a copy, and the folder it goes to where memory cannot hold it too."""
        size = copy_bytes(self.mean, copy, self.pixels) // self.memory.processes
        memory, spill = beside.memory.beside(size, state // self.memory.processes)
        if not spill:
            return memory, None
        logger.info("a copy of the photons, %s, is kept in a cache on disk", format_bytes(size))
        return memory, cache_folder(self.cache, active_client() is not None)

    @contextmanager
    def split_in_two(
        self, fraction: float, seed: int, *, per_pixel: int = 0
    ) -> Iterator[tuple[Problem, Problem]]:
        """Two independent parts of the photons, of which the first has ``fraction`` of them."""
        first, second = (Thinning(fraction, seed, rest) for rest in (False, True))
        with (
            self.derived(thinning=first, per_pixel=per_pixel) as train,
            self.derived(thinning=second, per_pixel=per_pixel, beside=train) as judge,
        ):
            yield replace(train, memory=judge.memory), judge

    @contextmanager
    def window(self, data: xr.Dataset) -> Iterator[Problem]:
        """Photons of a part of one of the maps as a separate problem, released at the end."""
        maps = maps_of(data)
        size = copy_bytes(self.mean, PhotonCopy(), sum(m.stack.pixels for m in maps))
        memory, spill = self.memory.beside(size // self.memory.processes, 0)
        folder = cache_folder(self.cache, active_client() is not None) if spill else None
        executor = _executor(self.executor.workers)
        try:
            step = "choices, in the middle of the map"
            loaded = _loaded(maps, executor, self.mean, memory, folder, self.cache, step)
            yield replace(loaded, floor=self.floor, below=self.below)
        finally:
            executor.close()


@contextmanager
def photons_of(
    data: xr.Dataset | xr.DataTree,
    *,
    step: str,
    demand: Demand,
    workers: int | None = None,
    memory_limit: str | float | None = None,
    cache: str | Path | None = None,
    as_they_are: bool = False,
) -> Iterator[Problem]:
    """Partitions of ``data`` on the active Client, else on threads; released at the end.

    Voxels that no detector can make are left out (``engine.faults``), unless counts are taken
    ``as_they_are``.

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
    executor = _executor(workers or CPU_COUNT)
    try:
        mean = mean_counts(maps)
        partitions = len(_partitions(maps, executor))
        memory = plan_memory(maps, partitions, mean, demand, executor, client, memory_limit).check(step)
        logger.info(
            "%s: at most %s of memory %s, photons %s",
            step,
            format_bytes(memory.peak),
            "per worker" if client else "in this process",
            "in a cache on disk" if memory.cached else "in memory",
        )
        spill = cache_folder(cache, client is not None) if memory.cached else None
        problem = _loaded(maps, executor, mean, memory, spill, cache, step, as_they_are)
        for text in problem.warnings:
            logger.warning("%s: %s", step, text)
        yield problem if as_they_are else _with_floor(problem)
    finally:
        executor.close()


def _with_floor(problem: Problem) -> Problem:
    """Find the first usable channel in the summed photons."""
    energy = problem.energy.values.astype(np.float64)
    if energy[-1] < LEAST_END_KEV:
        return problem
    counts = np.sum(list(problem.executor.collect(summed_spectrum)), axis=0)
    floor = spectrum_floor(energy, counts)
    below = np.where(np.arange(energy.size) < floor.first, counts, 0.0) / counts.sum()
    return replace(problem, floor=floor, below=below)


def _executor(threads: int) -> Executor:
    """Make the executor of the active Client, else one of so many threads."""
    client = active_client()
    return _cluster_executor(client) if client else ThreadExecutor(threads)


def _partitions(maps: Sequence[MapView], executor: Executor) -> list[PartitionPlan]:
    each = PARTITIONS_PER_WORKER if active_client() else PARTITIONS_PER_THREAD
    return plan_partitions([m.stack for m in maps], each * executor.workers)


def _loaded(
    maps: list[MapView],
    executor: Executor,
    mean: np.ndarray,
    memory: MemoryPlan,
    spill: Path | None,
    cache: str | Path | None,
    step: str,
    as_they_are: bool = False,
) -> Problem:
    """Read the photons of maps into the partitions of an executor, in memory or in the folder ``spill``."""
    plans, dense_channels = _partitions(maps, executor), channels_to_hold_dense(mean)
    energy = maps[0].cube.coords[schema.ENERGY]
    limits = None if as_they_are else peak_limits(energy.values, sharpest_width(maps))
    jobs = [PartitionJob(plan, _sources(maps, plan), dense_channels, spill, limits) for plan in plans]
    sizes, faults = executor.load(jobs), _faults(executor)
    pixels, sharp = sum(m.stack.pixels for m in maps), sum(fault.sharp.count.size for fault in faults)
    common = not are_faults(sharp, pixels)
    if common:
        sizes = executor.load([replace(job, limits=None) for job in jobs])
    nonzeros, photons = (int(total) for total in np.sum(sizes, axis=0))
    if photons == 0:
        raise SchemaError(f"{step}: the cube holds no photons; is it the right file or crop?")
    warnings = fault_warnings(maps, energy.values, faults)
    if common:
        warnings = (sharp_everywhere(sharp, pixels), *warnings[1:])
    return Problem(maps, energy, executor, plans, memory, nonzeros, photons, mean, cache, warnings)


def _faults(executor: Executor) -> list[TileFaults]:
    """Faults that all partitions found when they were read."""
    return [fault for own in executor.collect(faults_of) for fault in own]


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


def require_phases(phases: int | None, problem_pixels: int, channels: int, *, name: str = "phases") -> int:
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
