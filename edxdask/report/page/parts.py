"""What sections are made of: sentences, pictures, pairs of pictures, tables, lines to copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class Note:
    """Sentences; of kind "warning", "good" or "plain"."""

    text: str
    tone: str = "plain"
    kind: ClassVar[str] = "note"


@dataclass(frozen=True)
class Drawing:
    """One figure.

    Attributes
    ----------
    name : identifier, part of all its ids
    svg : drawing, as it goes into the page
    alt : what is seen, for those who do not see it
    caption : text below
    code : Python line that makes the same figure for a paper
    live : name of its moving panel, where there is one
    title, color : above the moving panel, with a mark in this colour; the drawing has its own
    """

    name: str
    svg: str
    alt: str
    caption: str = ""
    code: str = ""
    live: str | None = None
    title: str = ""
    color: str | None = None
    kind: ClassVar[str] = "picture"


@dataclass(frozen=True)
class Row:
    """Pictures that stand side by side where the page is wide enough."""

    pictures: Sequence[Drawing]
    kind: ClassVar[str] = "row"


@dataclass(frozen=True)
class Flicker:
    """Pairs of pictures of one scale: as counted, and denoised."""

    pairs: Sequence[tuple[Drawing, Drawing]]
    kind: ClassVar[str] = "flicker"


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    heads, rows : texts
    caption : text above
    color : of the caption's mark, that of a phase
    row_colors : of the marks before the rows
    numbers : columns that are numbers, right-aligned
    narrow_hides : columns that are left out on narrow screens
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    color: str | None = None
    row_colors: Sequence[str] = ()
    numbers: Sequence[int] = ()
    narrow_hides: Sequence[int] = ()
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Code:
    """Lines to copy."""

    text: str
    caption: str = ""
    kind: ClassVar[str] = "code"


Block = Note | Drawing | Row | Flicker | Table | Code


@dataclass(frozen=True)
class Section:
    """A section of the page."""

    name: str
    title: str
    blocks: Sequence[Block] = field(default_factory=list)
