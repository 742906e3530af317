"""What verbs print on stdout: a table for people, one JSON object for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
import numpy as np

from edxdask.progress_display import si

__all__ = ["print_json", "print_table", "si", "size"]


def size(count: float) -> str:
    """Bytes as people say them.

    Examples
    --------
    >>> size(512), size(3 * 2**30)
    ('512 B', '3.0 GiB')
    """
    for step, unit in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count:.0f} B"


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def print_table(rows: Sequence[tuple[str, str]], *, title: str | None = None) -> None:
    """Two columns, names and values; long values wrap, nothing is cut off."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False, title=title, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    console = Console(file=sys.stdout, highlight=False)
    # a file or a pipe has no width of its own: a narrow guess would break lines that programs look for
    if not console.is_terminal:
        console.width = 200
    console.print(table)
