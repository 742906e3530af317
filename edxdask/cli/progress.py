"""Progress on stderr: a bar where somebody watches, a line now and then where a file listens."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from edxdask.cli.app import PROGRAM, Settings
from edxdask.progress import Progress, ProgressHook
from edxdask.report.numbers import si

LINE_SECONDS = 5.0


@contextmanager
def shown(settings: Settings) -> Iterator[ProgressHook | None]:
    """Give the hook to hand to a stage, None where progress was not asked for."""
    if settings.quiet:
        yield None
    elif sys.stderr.isatty():
        with _bars() as hook:
            yield hook
    else:
        yield Lines()


class Paces:
    """Rate and time left of each piece of work; what an earlier run had done does not count."""

    def __init__(self) -> None:
        self._last_end = time.monotonic()  # the first piece started when the work did, the next after it
        self._starts: dict[str, float] = {}

    def describe(self, event: Progress) -> str:
        """Rate and time left as text."""
        now = time.monotonic()
        start = self._starts.setdefault(event.label, self._last_end)
        if event.total is not None and event.done >= event.total:
            self._last_end = now
        rate = (event.done - event.resumed) / max(now - start, 1e-6)
        figures = "".join(f", {k} {v:.5g}" for k, v in event.values.items() if isinstance(v, int | float))
        text = f"{si(rate)}{event.unit}/s{figures}"
        if event.total is None or rate <= 0 or event.done >= event.total:
            return text
        return f"{text}, {duration((event.total - event.done) / rate)} left"


def duration(seconds: float) -> str:
    """Time as people say it.

    Examples
    --------
    >>> duration(7.4), duration(95), duration(7300)
    ('7 s', '1 min 35 s', '2 h 1 min')
    """
    whole = max(round(seconds), 1)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Lines:
    """A line every few seconds, and one at the end of each piece of work."""

    def __init__(self) -> None:
        self._paces = Paces()
        self._said = time.monotonic()

    def __call__(self, event: Progress) -> None:
        """Show one event."""
        pace = self._paces.describe(event)
        finished = event.total is not None and event.done >= event.total
        now = time.monotonic()
        if not finished and now - self._said < LINE_SECONDS:
            return
        self._said = now
        share = "" if not event.total else f" {100 * event.done / event.total:.0f} %"
        of = "" if event.total is None else f" of {si(event.total)}{event.unit}"
        click.echo(f"{PROGRAM}: {event.label}:{share} ({si(event.done)}{event.unit}{of}, {pace})", err=True)


@contextmanager
def _bars() -> Iterator[ProgressHook]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[pace]}"),
    )
    with Bars(*columns, console=Console(stderr=True), expand=True) as bars:
        tasks: dict[str, Any] = {}
        paces = Paces()

        def hook(event: Progress) -> None:
            if event.label not in tasks:
                tasks[event.label] = bars.add_task(event.label, total=event.total, pace="")
            pace = paces.describe(event)
            bars.update(tasks[event.label], completed=event.done, total=event.total, pace=pace)

        yield hook
