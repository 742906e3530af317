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
from edxdask.readable import duration, plural, si

DELAY = 1.0  # seconds of work before a bar appears
LINE_SECONDS = 5.0  # between lines of a log, at first
SPARSER, RAREST = 12.0, 300.0  # then a twelfth of the time it has taken, and every five minutes at the end
QUICK = 1.0  # seconds; the end of a shorter piece of work is not worth a line
WINDOW = 20.0  # seconds that a rate is taken from: long enough to be steady, short enough to follow a change
SURE = 1.0  # seconds of reports before time left is estimated
LEAST_BAR = 12  # columns of a terminal that the bar and the space around it keep
REDRAW = {"terminal": 0.1, "notebook": 0.5}

_MANY = {"px": "pixel", "slice": "slice"}  # units that come by the thousand, and their word
_TERMINAL = threading.Lock()  # there is one terminal: two threads at work have one bar


def headline(event: Progress) -> str:
    """Say what is being done; of things that are counted one by one, how many are done.

    Examples
    --------
    >>> headline(Progress("choosing the bin size", 3, 9, "fit")), headline(Progress("save", 5, 9, "px"))
    ('choosing the bin size (3 of 9)', 'save')
    """
    counted = event.total is not None and not event.at_most and event.unit not in _MANY
    return f"{event.label} ({event.done:.0f} of {event.total:.0f})" if counted else event.label


def done_of(event: Progress) -> str:
    """Say how much is done, where the headline does not.

    Examples
    --------
    >>> done_of(Progress("save", 11500, 32400, "px"))
    '11.5 k of 32.4 k pixels'
    >>> done_of(Progress("fit", 65, 400, "iteration", at_most=True))
    'iteration 65'
    """
    if event.total is None:
        return _amount(event.done, event.unit) if event.done else ""
    if event.at_most:
        return f"{event.unit} {event.done:.0f}"
    if event.unit not in _MANY:
        return ""
    return f"{si(event.done).strip()} of {_amount(event.total, event.unit)}"


def shortened(text: str, length: int) -> str:
    """Text of at most ``length`` letters, without its middle: names differ at their ends.

    Examples
    --------
    >>> shortened("ingest a_very_long_name_007.emd", 20), shortened("save", 20)
    ('ingest a_v…e_007.emd', 'save')
    """
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[head - length + 1 :]}"


def _amount(count: float, unit: str) -> str:
    return f"{si(count).strip()} {plural(_MANY.get(unit, unit), count)}"


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
        """Fraction done, of what is expected where that is known; None where the total is not."""
        event = self.event
        if event is None or not event.total:
            return None
        if event.work is not None:
            return min(event.work, 1.0)
        most = event.total if event.expected is None else min(max(event.expected, 1.0), event.total)
        return min(event.done / most, 1.0)

    def describe(self) -> str:
        """Rate and time left as text."""
        event, rate, left = self.event, self.rate, self.left
        if event is None:
            return ""
        parts = [_rate_text(rate, event)] if rate else []
        if left is not None:
            bound = "" if not event.at_most else "at most " if event.expected is None else "about "
            parts.append(f"{bound}{duration(left)} left")
        return ", ".join(parts)


def _rate_text(rate: float, event: Progress) -> str:
    if event.unit in _MANY:
        return f"{_amount(rate, event.unit)}/s"
    return f"{si(rate).strip()} per second" if rate >= 1 else f"{duration(1 / rate)} each"


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
    """A line now and then on stderr, rarer as the work takes longer, and one when a piece of it ends."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace, self._clock = Pace(clock), clock
        self._begun = self._written = self._piece = self._reported = clock()

    def __call__(self, event: Progress) -> None:
        """Take in a report."""
        before, now = self._pace.event, self._clock()
        if before is not None and event.label != before.label:
            if self._reported - self._piece >= QUICK:
                self._end(before)
            self._piece = self._reported
        self._pace.note(event)
        self._reported = now
        between = min(max(LINE_SECONDS, (now - self._begun) / SPARSER), RAREST)
        if now - self._written >= between and not _ended(event):
            self._write(event, self._pace.describe())

    def close(self) -> None:
        """Say how the last piece of work ended."""
        if self._pace.event is not None:
            self._end(self._pace.event)

    def _end(self, event: Progress) -> None:
        self._write(event, f"took {duration(self._reported - self._piece)}")

    def _write(self, event: Progress, rest: str) -> None:
        self._written = self._clock()
        percent = f"{100 * event.done / event.total:.0f} %" if event.total and event.unit in _MANY else ""
        figures = ", ".join(filter(None, (percent, done_of(event), rest)))
        sys.stderr.write(f"edxdask: {headline(event)}{': ' if figures else ''}{figures}\n")
        sys.stderr.flush()


def _ended(event: Progress) -> bool:
    return event.total is not None and event.done >= event.total


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
        self._shown, self._since, self._furthest = label, self._begun, 0.0
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
            if event.label != self._shown:
                self._shown, self._since, self._furthest = event.label, time.monotonic(), 0.0
            fraction = self._pace.fraction
            if fraction is not None:  # what is expected may move: a bar does not go back
                self._furthest = fraction = max(self._furthest, fraction)
            return Picture(headline(event), fraction, self._text(event, fraction))

    def _text(self, event: Progress, fraction: float | None) -> str:
        rest = self._pace.describe()
        if not rest and not event.done:
            return duration(time.monotonic() - self._since)
        percent = f"{100 * fraction:.0f} %" if fraction is not None and event.unit in _MANY else ""
        return ", ".join(filter(None, (percent or done_of(event), rest)))

    def _last(self) -> str:
        return f"{self._label}: {duration(time.monotonic() - self._begun)}"


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
        from rich.table import Column

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True)),
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
        room = self._bars.console.width - len(picture.text) - LEAST_BAR
        self._bars.update(
            self._task,
            description=shortened(picture.label, max(room, LEAST_BAR)),
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
            ": ".join(filter(None, (picture.label, picture.text))),
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
