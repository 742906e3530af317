"""What a reduction declares, and what one task of it does.

A ``BlockStep`` says what happens to one partition: kernels that read its photons, change its state (arrays
that live beside the photons, one row per pixel) and return statistics. Statistics of partitions add up; the
driver hands the sum to ``finish``, which makes the factors of the next round. Everything else (threads or
processes, retries, checkpoints, stop rule, progress) is the engine's and exists once.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np

from edxdask.engine.partition import Partition, Tile
from edxdask.engine.reused_memory import copied, room_like

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


class Copies(UserDict[str, np.ndarray]):
    """A state to change while the previous one stays as it was.

    An array is copied when a step requests it, whole or by rows, and otherwise not at all.
    """

    def __init__(self, before: State) -> None:
        self.data = dict(before)
        self._not_yet = set(before)
        self._by_rows: State = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self._not_yet:
            self[name] = copied(self.data[name])
        return self.data[name]

    def __setitem__(self, name: str, array: np.ndarray) -> None:
        self._not_yet.discard(name)
        self.data[name] = array

    def rows(self, name: str, where: slice) -> np.ndarray:
        """See ``rows_of``."""
        if name in self._not_yet:
            self._by_rows[name] = self.data[name]
            self[name] = room_like(self.data[name])
        found = self.data[name][where]
        if name in self._by_rows:
            found[...] = self._by_rows[name][where]
        return found


def rows_of(state: State, name: str, where: slice) -> np.ndarray:
    """Rows of an array of a state, for a step that takes all of them once, some at a time.

    Where a state must be copied, rows are still near the processor when they are worked on.

    Examples
    --------
    >>> before = {"a": np.arange(4.0)}
    >>> after = Copies(before)
    >>> for where in (slice(0, 2), slice(2, 4)):
    ...     rows_of(after, "a", where)[:] *= 2
    >>> before["a"].tolist(), after["a"].tolist()
    ([0.0, 1.0, 2.0, 3.0], [0.0, 2.0, 4.0, 6.0])
    """
    return state.rows(name, where) if isinstance(state, Copies) else state[name][where]


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
    """Halo of one partition from the edges of its neighbours, nearest first, cut to the rows needed."""
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
    state = Copies(before.state)
    widths = (partition.tiles[0].plan.width, partition.tiles[-1].plan.width)
    up, down = (step.halo_rows * width for width in widths)
    halo = join_halo(above, below, up, down, step.halo_names) if step.halo_rows else Halo()
    stats = step.run(partition, cast(State, state), shared, halo)
    return Advanced(state.data, stats)


def edges_copy(partition: Partition, before: Advanced, rows: int, names: Sequence[str]) -> Edges:
    """Cut the rows that neighbours need, as a task."""
    return edges_of(partition, before.state, rows, names)


def stats_of(after: Advanced) -> Stats:
    """Statistics alone, which travel."""
    return after.stats


def ask_copy(ask: Callable[..., Any], partition: Partition, now: Advanced, *args: Any) -> Any:
    """Ask a partition something, as a task."""
    return ask(partition, now.state, *args)
