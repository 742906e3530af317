"""Work of kernels divided among a few threads: parts have results of their own, so no sum depends on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

T = TypeVar("T")
Span = tuple[int, int]  # the first and the one after the last


def side_by_side(threads: int, work: Callable[..., T], parts: Iterable[tuple[Any, ...]]) -> list[T]:
    """Call ``work`` with the arguments of each part, on up to ``threads`` threads; results in their order.

    Examples
    --------
    >>> side_by_side(2, max, [(0, 3), (5, 4)])
    [3, 5]
    """
    parts = list(parts)
    if threads == 1 or len(parts) < 2:
        return [work(*part) for part in parts]
    with ThreadPoolExecutor(min(threads, len(parts)), thread_name_prefix="edxdask-tomo") as pool:
        return [call.result() for call in [pool.submit(work, *part) for part in parts]]


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
