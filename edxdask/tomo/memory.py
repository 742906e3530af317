"""How much memory slabs take, predicted before any is begun; rows of a slab follow from it."""

from __future__ import annotations

from dataclasses import dataclass

from edxdask.budget import available_memory, format_bytes, parse_bytes, resident_memory
from edxdask.engine.memory import WORKER_BASE
from edxdask.engine.problem import active_client
from edxdask.errors import MemoryBudgetError
from edxdask.tomo.class_cube import MOST_BAND_BYTES
from edxdask.tomo.estimate import slab_bytes
from edxdask.tomo.slabs import HALO_ROWS, even_rows

SLAB_ROWS = (32, 16, 8, 4)  # tried in turn; with fewer, halo rows cost more than the rows themselves
FLOAT = 4
BAND_COPIES = 4  # of a band by class, that a task takes in all
KERNELS = 60 * 2**20  # code and tables that load when they are first used, measured


@dataclass(frozen=True)
class SlabMemory:
    """Predicted peak of one process that reconstructs slabs.

    Attributes
    ----------
    base : bytes of the process before the work
    each : bytes of one slab
    at_once : slabs at once in the process
    threads : of the projector, in each slab
    slab_rows : rows of a slab, without its halo
    limit : bytes that the process may take
    """

    base: int
    each: int
    at_once: int
    threads: int
    slab_rows: int
    limit: int

    @property
    def band_bytes(self) -> int:
        """Bytes that a band of rows may have while its counts by class are made, before any slab."""
        return max(
            1, min(MOST_BAND_BYTES, (self.limit - self.base) // (BAND_COPIES * self.at_once * self.threads))
        )

    @property
    def peak(self) -> int:
        """Bytes of the process at most."""
        return self.base + self.each * self.at_once

    def __str__(self) -> str:
        """Say it in a line."""
        slabs = f"{self.at_once} slabs" if self.at_once > 1 else "a slab"
        return f"{slabs} of {self.slab_rows} rows at once, at most {format_bytes(self.peak)} of memory"


@dataclass(frozen=True)
class SlabSizes:
    """What the size of a slab follows from.

    Attributes
    ----------
    shape : (z, row, column) of the volume
    tilts, columns, classes, phases : of the counts and the model
    count_bytes : of a count
    subsets : of tilts, in the first passes
    rows_alike : projections are neither turned nor moved along the tilt axis
    """

    shape: tuple[int, int, int]
    tilts: int
    columns: int
    classes: int
    phases: int
    count_bytes: int = 1
    subsets: int = 1
    rows_alike: bool = False

    def of(self, slab_rows: int) -> int:
        """Bytes of a slab of so many rows and its halo."""
        depth, rows, width = self.shape
        sides = min(-(-rows // slab_rows) - 1, 2)  # of the slab that has the most neighbours
        held = min(slab_rows + sides * HALO_ROWS, rows)
        counts = self.tilts * held * self.columns * self.classes * self.count_bytes
        work = slab_bytes((depth, width), self.phases, held, self.columns, self.tilts, subsets=self.subsets)
        if self.rows_alike:  # how well voxels are seen is then kept for one row
            work -= FLOAT * depth * width * held * self.subsets
        return counts + work


def rows_that_fit(
    sizes: SlabSizes,
    *,
    wanted: int | None,
    workers: int,
    memory_limit: str | float | None,
    base: int | None = None,
) -> SlabMemory:
    """Choose rows of a slab, and how many slabs at once, so that memory is kept.

    Rows are as many as fit with a slab in every thread; fewer slabs at once only where the smallest do not.
    With a Client, the limit is that of its smallest worker.

    Parameters
    ----------
    sizes : SlabSizes
        Of the reconstruction.
    wanted : int, optional
        Rows of a slab that the user asks for.
    workers : int
        Threads of this process, or of the cluster.
    memory_limit : str or float, optional
        What a process may take.
    base : int, optional
        Bytes of the process before the work; None measures it.

    Raises
    ------
    MemoryBudgetError
        If even the smallest slab does not fit; it says which setting makes it fit.
    """
    threads, own_base, free = _process(workers)
    base = own_base if base is None else base
    limit = parse_bytes(memory_limit) if memory_limit is not None else free
    rows = sizes.shape[1]
    tried = (wanted,) if wanted is not None else SLAB_ROWS
    each = [even_rows(rows, most) for most in tried]
    together = (threads, 1) if threads > 1 else (1,)
    plans = [_plan(sizes, one, threads, base, limit, many) for many in together for one in each]
    for plan in plans:
        if plan.peak <= limit:
            return plan
    raise MemoryBudgetError(_refusal(plans[-1], sizes, wanted))


def _plan(sizes: SlabSizes, slab_rows: int, threads: int, base: int, limit: int, at_once: int) -> SlabMemory:
    slabs = -(-sizes.shape[1] // slab_rows)
    together = 1 if active_client() is None and at_once == 1 else min(at_once, slabs)
    return SlabMemory(base, sizes.of(slab_rows), together, max(1, threads // together), slab_rows, limit)


def _process(workers: int) -> tuple[int, int, int]:
    """Threads, bytes before the work, and bytes that may be taken, of this process or the smallest worker."""
    client = active_client()
    if client is None:
        base = KERNELS + resident_memory()
        return workers, base, base + int(0.8 * available_memory())
    known = client.scheduler_info(n_workers=-1)["workers"].values()
    limits = [int(one["memory_limit"]) for one in known if one["memory_limit"]]
    base = KERNELS + WORKER_BASE
    # beyond 80 % of its limit a worker pauses, beyond 95 % its nanny ends it
    free = int(0.8 * min(limits)) if limits else base + int(0.8 * available_memory())
    return max(int(one["nthreads"]) for one in known), base, free


def _refusal(plan: SlabMemory, sizes: SlabSizes, wanted: int | None) -> str:
    needed = -(-int(plan.peak * 1.02) // 2**20)
    text = (
        f"a slab of {plan.slab_rows} rows does not fit memory_limit={format_bytes(plan.limit)} (process "
        f"{format_bytes(plan.base)}, slab {format_bytes(plan.each)}). Set memory_limit='{needed}MiB'"
    )
    if wanted is not None and wanted > SLAB_ROWS[-1]:
        return f"{text}, or slab_rows={SLAB_ROWS[-1]} for {format_bytes(plan.base + sizes.of(SLAB_ROWS[-1]))}"
    return f"{text}, or bin the projections: data.edx.bin(2) takes a quarter"
