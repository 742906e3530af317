"""How progress is shown: a bar in a terminal or a notebook, lines of text in a log.

Bars show one piece of work at a time, appear when the work has taken a second, and disappear at its end. A
separate thread draws them, so that work that reports rarely still shows that it runs.
"""

from __future__ import annotations

import contextvars
import html
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from edxdask.progress import Progress, ProgressHook
from edxdask.readable import si

DELAY = 1.0  # seconds of work before a bar appears
LINE_SECONDS = 5.0  # between lines of one piece of work
WINDOW = 20.0  # seconds that a rate is taken from: long enough to be steady, short enough to follow a change
SURE = 1.0  # seconds of reports before time left is estimated
REDRAW = {"terminal": 0.1, "notebook": 0.5}

_TERMINAL = threading.Lock()  # there is one terminal: two threads at work have one bar


def done_of(event: Progress) -> str:
    """How much is done, of how much; units that are words in the plural.

    Examples
    --------
    >>> done_of(Progress("fit", 1, 9, "fit")), done_of(Progress("save", 11500, 32400, "px"))
    ('1 of 9 fits', '11.5 kpx of 32.4 kpx')
    """
    if event.total is None:
        return f"{si(event.done)}{event.unit}"
    if len(event.unit) > len("px") and event.unit.isalpha():
        plural = event.unit + ("es" if event.unit.endswith("s") else "s")
        return f"{event.done:.0f} of {event.total:.0f} {plural}"
    return f"{si(event.done)}{event.unit} of {si(event.total)}{event.unit}"


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


class Pace:
    """Rate and time left of the piece of work reported last.

    The rate is taken between reports of the last ``WINDOW`` seconds. What comes before the first report
    (compiling, reading, what an earlier run had done) says nothing about the rate.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.event: Progress | None = None
        self._marks: deque[tuple[float, float, float]] = deque()  # time, done, work

    def note(self, event: Progress) -> None:
        """Take in a report."""
        before, self.event = self.event, event
        if before is None or event.label != before.label or event.done < before.done:
            self._marks.clear()
        now = self._clock()
        if len(self._marks) > 1 and now - self._marks[-2][0] < WINDOW / 100:
            self._marks.pop()  # a thousand reports per second do not need a thousand marks
        self._marks.append((now, event.done, event.done if event.work is None else event.work))
        while len(self._marks) > 2 and self._marks[1][0] <= now - WINDOW:
            self._marks.popleft()

    @property
    def rate(self) -> float | None:
        """Units per second; None until there are reports."""
        return self._rate(1)

    def _rate(self, what: int) -> float | None:
        """Change of one of the marks' figures per second."""
        if len(self._marks) < 2:
            return None
        first, last = self._marks[0], self._marks[-1]
        seconds = last[0] - first[0]
        return (last[what] - first[what]) / seconds if seconds >= SURE else None

    @property
    def left(self) -> float | None:
        """Seconds left; None where total or rate is not known, or the estimate has run out."""
        event, rate = self.event, self._rate(2)
        if event is None or event.total is None or not rate or event.done >= event.total:
            return None
        if event.work is not None:
            rest = 1.0 - event.work
        elif event.expected is not None:
            rest = max(min(event.expected, event.total) - event.done, 1.0)
        else:
            rest = event.total - event.done
        left = rest / rate - (self._clock() - self._marks[-1][0])
        return left if left > 0 else None

    @property
    def fraction(self) -> float | None:
        """Fraction done; None where the total is not known."""
        event = self.event
        return min(event.done / event.total, 1.0) if event is not None and event.total else None

    def describe(self) -> str:
        """Rate, figures and time left as text."""
        event, rate, left = self.event, self.rate, self.left
        if event is None:
            return ""
        parts = []
        if rate:
            slow = rate < 1 and event.unit.isalpha()
            parts.append(f"{duration(1 / rate)} per {event.unit}" if slow else f"{si(rate)}{event.unit}/s")
        parts += [f"{k} {v:.5g}" for k, v in event.values.items() if isinstance(v, int | float)]
        if left is not None:
            bound = "" if not event.at_most else "at most " if event.expected is None else "about "
            parts.append(f"{bound}{duration(left)} left")
        return ", ".join(parts)


@contextmanager
def display(place: str | None, label: str) -> Iterator[ProgressHook]:
    """Show the reports of a block in a "terminal", a "notebook" or, with None, as lines on stderr.

    Parameters
    ----------
    place : str or None
        Where somebody watches.
    label : str
        What is shown until the first report.
    """
    shows = Lines() if place is None else Bar(_canvas(place), label, REDRAW[place])
    try:
        yield shows
    finally:
        shows.close()


class Lines:
    """A line every few seconds, and one at the end of each piece of work, on stderr."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace, self._clock = Pace(clock), clock
        self._written, self._waiting = clock(), False

    def __call__(self, event: Progress) -> None:
        """Take in a report."""
        before = self._pace.event
        if self._waiting and before is not None and event.label != before.label:
            self._write(before)
        self._pace.note(event)
        self._waiting = True
        finished = event.total is not None and event.done >= event.total
        if finished or self._clock() - self._written >= LINE_SECONDS:
            self._write(event)

    def close(self) -> None:
        """Write what is still to be written."""
        if self._waiting and self._pace.event is not None:
            self._write(self._pace.event)

    def _write(self, event: Progress) -> None:
        self._written, self._waiting = self._clock(), False
        percent = "" if not event.total else f" {100 * event.done / event.total:.0f} %"
        figures = ", ".join(filter(None, (done_of(event), self._pace.describe())))
        sys.stderr.write(f"edxdask: {event.label}:{percent} ({figures})\n")
        sys.stderr.flush()


@dataclass(frozen=True)
class Picture:
    """What a bar shows at one moment.

    Attributes
    ----------
    fraction : of the work that is done; None where the total is not known
    text : what follows the bar
    """

    label: str
    fraction: float | None
    text: str


class Canvas(Protocol):
    """Something on which a bar can be drawn."""

    def draw(self, picture: Picture) -> None:
        """Show this instead of what is shown."""
        ...

    def close(self, last: str) -> None:
        """End what is shown; ``last`` says in a few words what was done."""
        ...


class Bar:
    """Draws the newest report from a separate thread, once the work has taken ``DELAY`` seconds."""

    def __init__(self, canvas: Callable[[], Canvas | None], label: str, redraw: float) -> None:
        self._canvas, self._label, self._redraw = canvas, label, redraw
        self._pace, self._begun = Pace(), time.monotonic()
        self._lock, self._over = threading.Lock(), threading.Event()
        # with the caller's context: by it a notebook knows which cell an output belongs to
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._draw,), name="edxdask-progress", daemon=True)
        self._thread.start()

    def __call__(self, event: Progress) -> None:
        """Take in a report."""
        with self._lock:
            self._pace.note(event)

    def close(self) -> None:
        """Take the bar away."""
        self._over.set()
        self._thread.join()

    def _draw(self) -> None:
        if self._over.wait(DELAY):
            return
        canvas = self._canvas()
        if canvas is None:
            return
        try:
            canvas.draw(self._picture())
            while not self._over.wait(self._redraw):
                canvas.draw(self._picture())
        finally:
            canvas.close(self._last())

    def _picture(self) -> Picture:
        with self._lock:
            event = self._pace.event
            if event is None:
                return Picture(self._label, None, duration(time.monotonic() - self._begun))
            fraction = self._pace.fraction
            done = f"{si(event.done)}{event.unit}" if fraction is None else f"{100 * fraction:.0f} %"
            return Picture(event.label, fraction, ", ".join(filter(None, (done, self._pace.describe()))))

    def _last(self) -> str:
        with self._lock:
            event = self._pace.event
            took = duration(time.monotonic() - self._begun)
            return f"{self._label if event is None else event.label}: {took}"


def _canvas(place: str) -> Callable[[], Canvas | None]:
    return NotebookCanvas if place == "notebook" else _terminal


def _terminal() -> Canvas | None:
    """Take the terminal, if no other thread has it."""
    return TerminalCanvas() if _TERMINAL.acquire(blocking=False) else None


class TerminalCanvas:
    """One line at the bottom of a terminal, removed at the end."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[text]}", markup=False),
        )
        # what is printed meanwhile is above the bar; a stdout that goes elsewhere must still go there
        at_terminal = sys.stdout is not None and sys.stdout.isatty()
        self._bars = Bars(
            *columns,
            console=Console(stderr=True, force_jupyter=False),
            expand=True,
            transient=True,
            auto_refresh=False,
            redirect_stdout=at_terminal,
        )
        self._task = self._bars.add_task("", total=None, text="")
        self._bars.start()

    def draw(self, picture: Picture) -> None:
        """Show this instead of what is shown."""
        fraction = picture.fraction
        self._bars.update(
            self._task,
            description=picture.label,
            total=None if fraction is None else 1.0,
            completed=fraction or 0.0,
            text=picture.text,
        )
        self._bars.refresh()

    def close(self, last: str) -> None:
        """Take the line away."""
        self._bars.stop()
        _TERMINAL.release()


class NotebookCanvas:
    """One line in the output of a notebook's cell; at the end it says how long the work took."""

    def __init__(self) -> None:
        self._handle: Any = None

    def draw(self, picture: Picture) -> None:
        """Show this instead of what is shown."""
        fraction = picture.fraction
        value = "" if fraction is None else f' value="{fraction:.4f}"'
        self._show(
            f"{picture.label}: {picture.text}",
            f'{html.escape(picture.label)} <progress max="1"{value}></progress> {html.escape(picture.text)}',
        )

    def close(self, last: str) -> None:
        """Leave a line of text."""
        self._show(last, html.escape(last))

    def _show(self, text: str, markup: str) -> None:
        from IPython.display import display as show

        bundle = {"text/plain": text, "text/html": markup}
        if self._handle is None:
            self._handle = show(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)
