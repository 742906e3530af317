"""Work of kernels divided among a few threads: parts have results of their own, so no sum depends on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

Span = tuple[int, int]  # the first and the one after the last


def side_by_side(threads: int, work: Callable[..., None], parts: Iterable[tuple[Any, ...]]) -> None:
    """Call ``work`` with the arguments of each part, on up to ``threads`` threads.

    Examples
    --------
    >>> sizes = [0, 0]
    >>> side_by_side(2, sizes.__setitem__, [(0, 3), (1, 4)])
    >>> sizes
    [3, 4]
    """
    parts = list(parts)
    if threads == 1 or len(parts) < 2:
        for part in parts:
            work(*part)
        return
    with ThreadPoolExecutor(min(threads, len(parts)), thread_name_prefix="edxdask-tomo") as pool:
        for call in [pool.submit(work, *part) for part in parts]:
            call.result()


def spans(count: int, number: int, unit: int = 1) -> list[Span]:
    """Divide ``count`` things into up to ``number`` spans of whole units; only the last may end within one.

    Examples
    --------
    >>> spans(70, 3, unit=16)
    [(0, 32), (32, 48), (48, 70)]
    """
    units = -(-count // unit)
    number = min(number, units)
    edges = [min(round(i * units / number) * unit, count) for i in range(number + 1)] if number else [0]
    return list(pairwise(edges))
