"""Values of options: how each is typed, and what it means; ``typed`` turns the latter into the former."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any

import click

AUTO, FIND = "auto", "find"
MOST_TILTS = 10_000
MOST_PIXELS = 2**32  # 65536 x 65536; sixteen times the finest map an instrument scans


def words(text: str) -> list[str]:
    """Words with commas between them.

    Examples
    --------
    >>> words("Mg, Si,")
    ['Mg', 'Si']
    """
    return [word.strip() for word in text.split(",") if word.strip()]


def typed(value: Any) -> str:
    """Give a plain value as it is typed: lists with commas between their words.

    Examples
    --------
    >>> typed(200.0), typed(["Mg", "Si"]), typed("my map.zarr")
    ('200', 'Mg,Si', "'my map.zarr'")
    """
    if isinstance(value, list | tuple | set):
        return ",".join(typed(one) for one in value if one is not ...)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {typed(one)}" for key, one in value.items())
    return f"{value:g}" if isinstance(value, float) else shlex.quote(str(value))


class Value(click.ParamType):
    """A value that knows an example of itself, and how it is typed."""

    example = ""

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Give the form as it is typed; click would write it in capitals."""
        return self.name

    def typed(self, value: Any) -> str:
        """Give the value as it is typed."""
        return typed(value)


class Quantity(Value):
    """A number in the unit that the metavar says."""

    def __init__(self, unit: str, example: float) -> None:
        self.name, self.example = unit, typed(example)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into a number."""
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number, as in {self.example}", param, ctx)


BEAM_ENERGY = Quantity("KEV", 200.0)
THICKNESS, DENSITY = Quantity("NM", 100.0), Quantity("G/CM3", 4.5)


class Number(Value):
    """A number, or ``auto`` to find it from the data."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.name = f"{'N' if kind is int else 'X'}|{AUTO}"
        self.example = AUTO

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into a number or None."""
        if value is None or value == AUTO:
            return None
        try:
            return self.kind(value)
        except ValueError:
            self.fail(f"{value!r} is not a number, and not {AUTO!r}", param, ctx)

    def typed(self, value: Any) -> str:
        """Give the number as it is typed."""
        return AUTO if value is None else typed(value)


class PhasesOption(Value):
    """A number of phases, their names with commas between them, or ``auto`` where that is possible."""

    example = "3"

    def __init__(self, *, findable: bool) -> None:
        self.findable = findable
        self.name = f"N|{AUTO}|Brg,Fp,…" if findable else "N|Brg,Fp,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into a number, a list of names, or None."""
        if not isinstance(value, str) or (self.findable and value == AUTO):
            return None if value == AUTO else value
        if "," in value:
            return [name.strip() for name in value.removesuffix(",").split(",")]
        try:
            return int(value)
        except ValueError:
            auto = f", {AUTO!r}" if self.findable else ""
            self.fail(
                f"{value!r}: expected a number{auto} or names with commas between them, as in Brg,Fp",
                param,
                ctx,
            )

    def typed(self, value: Any) -> str:
        """Give the phases as they are typed; a comma makes one name a list."""
        if value is None and self.findable:
            return AUTO
        text = typed(value)
        return f"{text}," if isinstance(value, list | tuple) and len(value) == 1 else text


class Elements(Value):
    """Symbols with commas between them, or "find" where that is possible."""

    example = "Mg,Si,O"

    def __init__(self, *, findable: bool = True) -> None:
        self.findable = findable
        self.name = f"Mg,Si,…|{FIND}" if findable else "Mg,Si,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into a list of symbols."""
        if not isinstance(value, str) or (self.findable and value.strip() == FIND):
            return value.strip() if isinstance(value, str) else value
        return words(value)


class LineNames(Value):
    """LineNames with commas between them."""

    name = "Fe_Ka,Pt_La,…"
    example = "Fe_Ka"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into a list of lines."""
        return words(value) if isinstance(value, str) else value


class Angles(Value):
    """Angles in degrees with commas between them, one for each detector."""

    name = "DEG,…"
    example = "22"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into a list of numbers."""
        if not isinstance(value, str):
            return value
        try:
            return [float(word) for word in words(value)]
        except ValueError:
            self.fail(f"{value!r}: expected angles in degrees, as in 22 or 18,18,22", param, ctx)


class TiltAngles(Value):
    """Tilts in degrees: a range with its step, or one for each projection."""

    name = "A:B:STEP|DEG,…"
    example = "-70:70:5"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into a list of numbers."""
        if not isinstance(value, str):
            return value
        try:
            if ":" not in value:
                return [float(word) for word in words(value)]
            first, last, step = (float(word) for word in value.split(":"))
            count = round((last - first) / step) + 1
        except (ValueError, ZeroDivisionError):
            count, first, last, step = 0, 0.0, 0.0, 0.0
        if not 0 < count <= MOST_TILTS or abs(first + (count - 1) * step - last) > 1e-6 * abs(step):
            self.fail(f"{value!r}: expected tilts in degrees, as in -70:70:5 or -60,-45,-30", param, ctx)
        return [first + i * step for i in range(count)]


class TiltAxis(Value):
    """Dimension of the projections that the tilt axis lies along, or its angle to y."""

    name = "y|x|DEG"
    example = "y"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into a dimension or an angle."""
        if not isinstance(value, str) or value in ("y", "x"):
            return value
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r}: expected y, x, or the angle of the axis to y in degrees", param, ctx)


class TiltsOfFiles(TiltAngles):
    """Tilts of files, or ``auto``: as the files say."""

    name = f"{AUTO}|A:B:STEP|DEG,…"
    example = AUTO

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into True or a list of numbers."""
        return True if value == AUTO else super().convert(value, param, ctx)

    def typed(self, value: Any) -> str:
        """Give tilts as they are typed."""
        return AUTO if value is True else typed(value)


class Charges(Value):
    """Elements and the charges of their ions."""

    name = "Fe:3,…"
    example = "Fe:3"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into charges by element."""
        if not isinstance(value, str):
            return value
        pairs = [word.partition(":") for word in words(value)]
        try:
            return {element.strip(): float(charge) for element, _, charge in pairs}
        except ValueError:
            self.fail(f"{value!r}: expected elements and their charges, as in Fe:3,Ce:4", param, ctx)

    def typed(self, value: Any) -> str:
        """Give the charges as they are typed."""
        if not isinstance(value, Mapping):
            return typed(value)
        return ",".join(f"{element}:{typed(charge)}" for element, charge in value.items())


class AbsentElements(Value):
    """A phase and elements that it cannot hold."""

    name = "PHASE:Si,…"
    example = "Fp:Si"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into the pair of a label, or number, and symbols."""
        if not isinstance(value, str):
            return value
        label, colon, symbols = value.partition(":")
        names = words(symbols)
        if not (label and colon and names):
            self.fail(f"{value!r}: expected a phase and elements it cannot hold, as in Fp:Si", param, ctx)
        return (int(label) if label.isdigit() else label), names

    def typed(self, value: Any) -> str:
        """Give absences as they are typed, each after the option."""
        if not isinstance(value, Mapping):
            return typed(value)
        return " --absent ".join(f"{label}:{typed(gone)}" for label, gone in value.items())


class OfPhase(Value):
    """Something for one phase, or for all of them where that is possible."""

    def __init__(self, what: str, example: str, *, for_all: bool = False) -> None:
        self.for_all = for_all
        self.name = f"{what}|PHASE:{what}" if for_all else f"PHASE:{what}"
        self.example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into the pair of a label, None for all, and what is for it."""
        if not isinstance(value, str):
            return value
        label, colon, rest = value.partition(":")
        if not colon and self.for_all and label:
            return None, label
        if not (label and colon and rest):
            self.fail(f"{value!r}: expected {self.name}, as in {self.example}", param, ctx)
        return label, rest

    def typed(self, value: Any) -> str:
        """Give what is for phases as it is typed."""
        if not isinstance(value, Mapping):
            return typed(value)
        return " ".join(f"{label}:{typed(what)}" for label, what in value.items())


class FrameRange(Value):
    """Frames as A:B, the last not included."""

    name = "A:B"
    example = "0:10"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into a pair."""
        if isinstance(value, tuple):
            return value
        first, colon, last = str(value).partition(":")
        if not colon or not first.isdigit() or not last.isdigit() or int(first) >= int(last):
            self.fail(f"{value!r} is not a range of frames: write A:B with A < B, as in 0:10", param, ctx)
        return int(first), int(last)

    def typed(self, value: Any) -> str:
        """Give the range as it is typed."""
        return ":".join("" if end is None else typed(end) for end in value)


class Span(Value):
    """A range A:B of numbers that are not negative, of which one end may be left out: A:, :B."""

    def __init__(self, kind: type, example: str) -> None:
        self.kind, self.example = kind, example
        self.name = "A:B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into a pair; None for an end that was left out."""
        if isinstance(value, tuple):
            return value
        ends = str(value).split(":")
        try:
            low, high = (self.kind(end) if end.strip() else None for end in ends)
        except ValueError:
            low = high = None
        given = [end for end in (low, high) if end is not None]
        if not given or min(given) < 0 or given[0] > given[-1] or (len(given) == 2 and low == high):
            self.fail(f"{value!r} is not a range: write A:B with A < B, as in {self.example}", param, ctx)
        return low, high

    def typed(self, value: Any) -> str:
        """Give the range as it is typed."""
        ends = (value.start, value.stop) if isinstance(value, slice) else value
        if not isinstance(ends, list | tuple):
            return typed(ends)
        return ":".join("" if end is None else typed(end) for end in ends)


class Shape(Value):
    """Rows and columns as ROWSxCOLUMNS, after planes where these are possible."""

    name = "YxX"

    def __init__(self, example: str = "180x180", *, planes: bool = False) -> None:
        self.example, self.planes = example, planes
        self.name = "[Zx]YxX" if planes else "YxX"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into whole numbers."""
        if isinstance(value, tuple):
            return value
        sides = str(value).lower().replace("×", "x").split("x")
        known = (2, 3) if self.planes else (2,)
        if len(sides) not in known or not all(s.isdigit() and int(s) > 0 for s in sides):
            self.fail(f"{value!r} is not a shape: write rows x columns, as in {self.example}", param, ctx)
        shape = tuple(map(int, sides))
        if math.prod(shape) > MOST_PIXELS:
            self.fail(f"{value!r} has more than {MOST_PIXELS} pixels, which is the limit", param, ctx)
        return shape

    def typed(self, value: Any) -> str:
        """Give the shape as it is typed."""
        return "x".join(map(str, value)) if isinstance(value, list | tuple) else typed(value)


class Overlap(Value):
    """A fraction of a map, or two of them, along y and x."""

    name = "FRACTION"
    example = "0.1"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into a number or a pair."""
        if not isinstance(value, str):
            return value
        try:
            found = tuple(float(word) for word in words(value))
        except ValueError:
            found = ()
        if len(found) not in (1, 2):
            self.fail(f"{value!r}: expected a fraction of a map, as in 0.1, or two: 0.1,0.15", param, ctx)
        return found[0] if len(found) == 1 else found
