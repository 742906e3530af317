"""What a reduction declares, and what one task of it does.

A ``BlockStep`` says what happens to one partition: kernels that read its photons, change its state (arrays
that live beside the photons, one row a pixel) and return statistics. Statistics of partitions add up; the
driver hands the sum to ``finish``, which makes the factors of the next round. Everything else (threads or
processes, retries, checkpoints, stop rule, progress) is the engine's and exists once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from edxdask.engine.partition import Partition, Tile
from edxdask.engine.recycle import copied

State = dict[str, np.ndarray]
Stats = dict[str, Any]


@dataclass(frozen=True)
class Halo:
    """Rows of the neighbouring partitions: up to ``halo_rows`` rows of the same image on either side.

    Each is a State of ``(rows * width, …)`` arrays, empty where the image ends.
    """

    above: State = field(default_factory=dict)
    below: State = field(default_factory=dict)


class BlockStep(Protocol):
    """One declared reduction; ``halo_rows`` is 0 where pixels do not interact."""

    @property
    def halo_rows(self) -> int:
        """Rows of neighbours that ``run`` must see."""
        ...

    @property
    def halo_names(self) -> tuple[str, ...]:
        """State arrays the halo holds."""
        ...

    def run(self, partition: Partition, state: State, shared: Any, halo: Halo) -> Stats:
        """Change ``state`` in place and return what must be added over partitions."""
        ...


StateMaker = Callable[[Partition], State]
StateChange = Callable[[Partition, State], State]


@dataclass(frozen=True)
class Advanced:
    """What a task leaves behind: the state stays where it is, the statistics travel."""

    state: State
    stats: Stats


@dataclass(frozen=True)
class Edges:
    """First rows of a partition's first tile and last rows of its last tile."""

    top: State
    bottom: State


def add_stats(parts: Sequence[Stats]) -> Stats:
    """Sum of statistics, key by key, in the order given.

    Examples
    --------
    >>> add_stats([{"n": 1, "s": np.ones(2)}, {"n": 2, "s": np.ones(2)}])
    {'n': 3, 's': array([2., 2.])}
    """
    total = dict(parts[0])
    for part in parts[1:]:
        for key, value in part.items():
            total[key] = total[key] + value
    return total


def edges_of(partition: Partition, state: State, rows: int, names: Sequence[str]) -> Edges:
    """Rows that neighbours need, cut out of the state."""
    first, last = partition.tiles[0], partition.tiles[-1]

    def cut(tile: Tile, bottom: bool) -> State:
        n = min(rows, tile.plan.rows) * tile.plan.width
        pixels = tile.pixels
        where = slice(pixels.stop - n, pixels.stop) if bottom else slice(pixels.start, pixels.start + n)
        return {name: state[name][where].copy() for name in names}

    return Edges(cut(first, False), cut(last, True))


def join_halo(
    above: Sequence[Edges], below: Sequence[Edges], up_pixels: int, down_pixels: int, names: Sequence[str]
) -> Halo:
    """Halo of one partition from the edges of its neighbours, nearest first, cut to the rows asked for."""
    up = {n: np.concatenate([e.bottom[n] for e in reversed(above)])[-up_pixels:] for n in names if above}
    down = {n: np.concatenate([e.top[n] for e in below])[:down_pixels] for n in names if below}
    return Halo(up, down)


def start_copy(make: StateMaker, partition: Partition) -> Advanced:
    """First state of a partition, as a task."""
    return Advanced(make(partition), {})


def change_copy(alter: StateChange, partition: Partition, before: Advanced) -> Advanced:
    """Change the state of a partition, as a task."""
    return Advanced(alter(partition, before.state), {})


def advance_copy(
    step: BlockStep,
    partition: Partition,
    before: Advanced,
    shared: Any,
    above: Sequence[Edges] = (),
    below: Sequence[Edges] = (),
) -> Advanced:
    """Run a step as a pure task: ``before`` is left as it was, so that a lost result can be made again."""
    state = {name: copied(array) for name, array in before.state.items()}
    widths = (partition.tiles[0].plan.width, partition.tiles[-1].plan.width)
    up, down = (step.halo_rows * width for width in widths)
    halo = join_halo(above, below, up, down, step.halo_names) if step.halo_rows else Halo()
    return Advanced(state, step.run(partition, state, shared, halo))


def edges_copy(partition: Partition, before: Advanced, rows: int, names: Sequence[str]) -> Edges:
    """Cut the rows that neighbours need, as a task."""
    return edges_of(partition, before.state, rows, names)


def stats_of(after: Advanced) -> Stats:
    """Statistics alone, which travel."""
    return after.stats


def ask_copy(ask: Callable[..., Any], partition: Partition, now: Advanced, *args: Any) -> Any:
    """Ask a partition something, as a task."""
    return ask(partition, now.state, *args)
