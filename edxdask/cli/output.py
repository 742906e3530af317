"""What verbs print on stdout: a table for people, one JSON object for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import click
import numpy as np


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def print_table(rows: Sequence[tuple[str, str]], *, title: str | None = None) -> None:
    """Two columns, names and values; long values wrap, nothing is cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False, title=title, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    console = Console(file=sys.stdout, highlight=False)
    # a file or a pipe has no width: a narrow guess would break lines that programs search for
    if not console.is_terminal:
        console.width = 200
    console.print(table)


def print_columns(
    heads: Sequence[str], cells: Sequence[Sequence[str]], *, faint: Collection[int] = ()
) -> None:
    """Print a table with headings; a first cell like the one above it stays empty.

    Rows with their numbers in ``faint`` are grey. Columns of numbers are right-aligned.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, head in enumerate(heads):
        numbers = all(_is_number(row[i]) for row in cells)
        table.add_column(head, justify="right" if numbers else "left", no_wrap=numbers)
    last = ""
    for i, (first, *rest) in enumerate(cells):
        style = "dim" if i in faint else ""
        table.add_row(*(Text(cell, style=style) for cell in (first if first != last else "", *rest)))
        last = first
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)


def _is_number(text: str) -> bool:
    try:
        return not text or float(text) is not None
    except ValueError:
        return False
