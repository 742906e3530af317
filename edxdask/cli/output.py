"""What verbs print: tables and words for people, one JSON object for programs.

Text is at most ``WIDEST`` columns wide, also in a terminal that is wider and in a file; the paths that a verb
ends with are never broken.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from edxdask.cli.app import Settings

if TYPE_CHECKING:
    from rich.console import Console

WIDEST = 100
NOTE = "note: "
GAP = 2  # columns between those of a table


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def at_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout is not None and sys.stdout.isatty()


def print_table(rows: Sequence[tuple[str, str]], *, title: str | None = None) -> None:
    """Two columns, names and values; long values wrap, nothing is cut."""
    from rich.table import Table

    if not rows:
        return
    table = Table(show_header=False, box=None, pad_edge=False, title_justify="left")
    if title:
        click.echo(click.style(shown_text(title), bold=True))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(_text(name), _text(value))
    _print(table)


def print_columns(
    heads: Sequence[str], cells: Sequence[Sequence[str]], *, faint: Collection[int] = ()
) -> None:
    """Print a table with headings; a first cell like the one above it stays empty.

    Rows with their numbers in ``faint`` are grey. Columns of numbers are right-aligned.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, head in enumerate(heads):
        numbers = all(_is_number(row[i]) for row in cells)
        justify: Any = "right" if numbers else "left"
        table.add_column(_text(head), justify=justify, no_wrap=numbers, overflow="fold")
    last = ""
    for i, (first, *rest) in enumerate(cells):
        style = "dim" if i in faint else ""
        table.add_row(*(_text(cell, style) for cell in (first if first != last else "", *rest)))
        last = first
    _print(table)


def print_matrix(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Print phases side by side; those that have no room come below, with the first column again."""
    widths = [max(_cells_of(row[i]) for row in [heads, *cells]) for i in range(len(heads))]
    at = 1
    while at < len(heads):
        upto, used = at, widths[0]
        while upto < len(heads) and (upto == at or used + GAP + widths[upto] <= _width()):
            used += GAP + widths[upto]
            upto += 1
        chosen = [0, *range(at, upto)]
        if at > 1:
            click.echo()
        for number, row in enumerate([heads, *cells]):
            line = (" " * GAP).join(_padded(row[i], widths[i]) for i in chosen).rstrip()
            click.echo(click.style(line, bold=True) if number == 0 else line)
        at = upto


def print_notes(settings: Settings, texts: Sequence[str]) -> None:
    """Print warnings on stderr, wrapped where a person reads them, and not once more by the log."""
    settings.warned(texts)
    people = sys.stderr is not None and sys.stderr.isatty()
    for text in texts:
        line = NOTE + shown_text(settings.worded(text))
        if people:
            options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
            line = textwrap.fill(line, _width(), subsequent_indent=" " * len(NOTE), **options)
        click.secho(line, fg="yellow", err=True)


def shown_text(text: str) -> str:
    """Text without what would change the terminal: names come from files of others.

    Examples
    --------
    >>> len(shown_text("grid" + chr(27) + "[31m"))
    12
    """
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def _text(value: str, style: str = "") -> Any:
    from rich.text import Text

    return Text(shown_text(value), style=style)


def _print(table: Any) -> None:
    """Print a table; in a file without the blanks that fill its lines."""
    console = _console()
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _console() -> Console:
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False)
    console.width = min(console.width, WIDEST) if console.is_terminal else WIDEST
    return console


def _width() -> int:
    return _console().width


def _cells_of(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(shown_text(text))


def _padded(text: str, width: int) -> str:
    return shown_text(text) + " " * (width - _cells_of(text))


def _is_number(text: str) -> bool:
    try:
        return not text or float(text) is not None
    except ValueError:
        return False
