"""Progress of long work: stages report, the caller decides what is shown.

A stage reports to a hook, any callable that accepts a ``Progress``; one thread calls it. The option
``progress`` of a public function says where reports go, and ``shown`` turns it into the hook:

- None, the default: a bar on stderr where that is a terminal, a line with a bar in a Jupyter notebook, and
  nothing anywhere else (pipes, files, tests);
- True: the same, and without a terminal a line of text on stderr now and then, for the logs of batch jobs;
- False: nothing;
- a callable: called with every ``Progress``, nothing is shown.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from edxdask.errors import ParameterError


@dataclass(frozen=True)
class Progress:
    """How far a piece of work is.

    Attributes
    ----------
    label : what is being done ("ingest map_1")
    done, total : in ``unit``; ``total`` is None where it is not known
    resumed : how much of ``done`` an earlier run had finished
    values : figures for a function that follows the work (objective); people are not shown them
    at_most : ``total`` is the most there may be, and the work may end before
    expected : what ``done`` will likely be at the end, where ``total`` is only the most
    work : fraction of the work that is done, where some units take longer than others
    """

    label: str
    done: float
    total: float | None
    unit: str
    resumed: float = 0.0
    values: dict[str, Any] = field(default_factory=dict)
    at_most: bool = False
    expected: float | None = None
    work: float | None = None


ProgressHook = Callable[[Progress], None]
ProgressOption = ProgressHook | bool | None


@dataclass(frozen=True)
class _Chosen:
    """Where reports of the running call go; None: nowhere."""

    hook: ProgressHook | None


_CHOSEN: ContextVar[_Chosen | None] = ContextVar("edxdask_progress", default=None)


@contextmanager
def shown(progress: ProgressOption, label: str) -> Iterator[ProgressHook | None]:
    """Give the hook that the work in this block reports to, None where nobody listens.

    A call inside the block that leaves its own ``progress`` at None reports to the same hook, so that work
    made of several public functions has one display.

    Parameters
    ----------
    progress : bool, callable or None
        The option of a public function.
    label : str
        What is shown until the first report.

    Raises
    ------
    ParameterError
        If ``progress`` is anything else.

    Examples
    --------
    >>> with shown(print, "sums") as outer, shown(None, "inner sums") as inner:
    ...     outer is inner is print
    True
    >>> with shown(False, "sums"), shown(None, "inner sums") as inner:
    ...     inner is None
    True
    """
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        fix = "Leave it out to see a bar in a terminal or a notebook."
        raise ParameterError("progress", progress, "None, True, False, or a function of one Progress", fix)
    outer = _CHOSEN.get()
    if outer is not None and (progress is None or (progress is True and outer.hook is not None)):
        yield outer.hook
        return
    with _display(progress, label) as hook:
        token = _CHOSEN.set(_Chosen(hook))
        try:
            yield hook
        finally:
            _CHOSEN.reset(token)


def _display(progress: ProgressOption, label: str) -> AbstractContextManager[ProgressHook | None]:
    if progress is None or progress is True:
        place = watched()
        if place is None and progress is None:
            return nullcontext()
        from edxdask.progress_display import display  # nobody waits for it where nothing is shown

        return display(place, label)
    return nullcontext(progress or None)


def watched() -> str | None:
    """Say where somebody watches: in a "notebook", at a "terminal" on stderr, or nowhere (None).

    Processes that others started to work for them have the terminal of those, and leave it alone.
    """
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        return None
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if hasattr(shell, "kernel"):
        return "notebook"
    stderr = sys.stderr
    return "terminal" if stderr is not None and not stderr.closed and stderr.isatty() else None
