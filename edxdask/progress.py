"""Progress of long work: stages report, whoever called decides what to show.

A stage takes ``progress=None`` or any callable that accepts a ``Progress``; one thread calls it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Progress:
    """How far a piece of work is.

    Attributes
    ----------
    label : what is being done ("ingest map_1")
    done, total : in ``unit``; ``total`` is None where it is not known
    resumed : how much of ``done`` an earlier run had finished; rates leave it out
    values : figures worth showing beside the bar (objective, photons)
    """

    label: str
    done: float
    total: float | None
    unit: str
    resumed: float = 0.0
    values: dict[str, Any] = field(default_factory=dict)


ProgressHook = Callable[[Progress], None]
