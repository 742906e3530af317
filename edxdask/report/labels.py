"""Places of labels, so that none covers another, and how lines and lengths are written."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_GREEK = str.maketrans({"a": "α", "b": "β", "g": "γ"})


def pretty_line(name: str) -> str:
    """Line name for readers.

    Examples
    --------
    >>> pretty_line("Mg_Ka"), pretty_line("Nd_Lb1"), pretty_line("HAADF")
    ('Mg Kα', 'Nd Lβ1', 'HAADF')
    """
    element, separator, line = name.partition("_")
    if not separator or line[:1] not in "KLM" or not element.isalpha() or len(element) > 2:
        return name
    return f"{element} {line[:1]}{line[1:].translate(_GREEK)}"


def plain(text: str) -> str:
    """Text that matplotlib draws as it is: a dollar sign starts no formula, a line break no line.

    Examples
    --------
    >>> plain("cost $5 and  $6").count("$"), plain("two  words")
    (2, 'two words')
    """
    return " ".join(text.split()).replace("$", r"\$")


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> np.ndarray:
    """Positions nearest to ``wanted`` (rising) that keep ``gap`` between neighbours and stay within bounds.

    Least squares under ``x[i + 1] - x[i] >= gap`` is an isotonic regression of ``wanted[i] - i * gap``:
    neighbours that violate it are pooled to their mean (pool adjacent violators).

    Examples
    --------
    >>> spread([1.0, 1.0, 5.0], 2.0, 0.0, 10.0).tolist()
    [0.0, 2.0, 5.0]
    """
    pools: list[tuple[float, int]] = []
    for i, position in enumerate(wanted):
        mean, size = position - i * gap, 1
        while pools and pools[-1][0] > mean:
            before, count = pools.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        pools.append((mean, size))
    free = np.repeat([mean for mean, _ in pools], [size for _, size in pools])
    steps = gap * np.arange(len(wanted))
    return np.clip(free, low, max(low, high - steps[-1] if len(wanted) else high)) + steps


def scale_bar(extent: float, unit: str, *, fraction: float = 0.27) -> tuple[float, str]:
    """Length (in ``unit``) and text of the round scale bar nearest to ``fraction`` of ``extent``.

    Examples
    --------
    >>> scale_bar(500.0, "nm"), scale_bar(9000.0, "nm"), scale_bar(180, "px")
    ((100.0, '100 nm'), (2000.0, '2 µm'), (50.0, '50 px'))
    """
    wanted = extent * fraction
    decade = 10.0 ** math.floor(math.log10(wanted))
    length = min((step * decade for step in (1.0, 2.0, 5.0, 10.0)), key=lambda n: abs(math.log(n / wanted)))
    if unit == "nm" and length >= 1000.0:
        return length, f"{length / 1000.0:g} µm"
    return length, f"{length:g} {unit}"
