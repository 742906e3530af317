"""How the page says numbers, lists and sizes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import xarray as xr

from edxdask import schema
from edxdask.io.export.target import axis_of
from edxdask.readable import rounded, si

NOTHING = 1e-6  # less than any error worth its digits, in per cent or ppm
_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def number_of(count: int, one: str, many: str | None = None) -> str:
    """Count things in words up to ten.

    Examples
    --------
    >>> number_of(1, "phase"), number_of(3, "phase"), number_of(12, "map")
    ('one phase', 'three phases', '12 maps')
    """
    word = _SMALL[count] if count < len(_SMALL) else str(count)
    return f"{word} {one if count == 1 else many or one + 's'}"


def listed(parts: Sequence[str], *, most: int | None = None) -> str:
    """Join parts with commas and "and"; of more than ``most``, say how many more there are.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"]), listed(["a", "b", "c", "d"], most=2)
    ('a', 'a, b and c', 'a, b and 2 more')
    """
    shown = list(parts)
    if most is not None and len(shown) > most:
        shown = [*shown[:most], f"{len(parts) - most} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def sentence(text: str) -> str:
    """Begin with a capital letter and end with a full stop.

    Examples
    --------
    >>> sentence("three phases"), sentence("Is it?")
    ('Three phases.', 'Is it?')
    """
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else text + "."


def with_unit(value: float, unit: str) -> str:
    """Give a number with three digits, a prefix and a unit.

    Examples
    --------
    >>> with_unit(4_760_000, "photons"), with_unit(147.2, "photons")
    ('4.76 M photons', '147 photons')
    """
    return f"{si(value).strip()} {unit}"


def plus_minus(value: float, error: float) -> str:
    """Write a value with its error, to two digits of the error.

    Examples
    --------
    >>> plus_minus(18.5312, 0.2479), plus_minus(0.5, float("nan"))
    ('18.53 ± 0.25', '0.5')
    """
    if not math.isfinite(value):
        return "not known"
    if abs(value) < NOTHING and error < NOTHING:
        return "0"
    shown, error_shown = rounded(value, error)
    return f"{shown} ± {error_shown}" if error_shown not in ("", "0") else shown


def size_of(array: xr.DataArray) -> str:
    """Say how large a map is: pixels, and the field where the pixel size is known.

    Examples
    --------
    >>> size_of(xr.DataArray([[0, 0]], dims=("y", "x"), coords={"x": ("x", [0.0, 4.0], {"units": "nm"})}))
    '1 × 2 pixels'
    """
    pixels = " × ".join(str(array.sizes[d]) for d in array.dims) + " pixels"
    axes = [axis_of(array, d) for d in (schema.Y, schema.X) if d in array.dims]
    if any(one.unit != "nm" or not one.scale or one.values.size < 2 for one in axes):
        return pixels
    spans = [abs(one.scale or 0.0) * one.values.size for one in axes]
    unit, factor = ("µm", 1e-3) if max(spans) >= 1000 else ("nm", 1.0)
    return f"{pixels} ({' × '.join(f'{factor * span:.3g}' for span in spans)} {unit})"


def identifier(text: str) -> str:
    """Make the name of a picture of any text: letters, digits and hyphens only.

    Examples
    --------
    >>> identifier("Fe <b>"), identifier("ü")
    ('Fe-b', 'x')
    """
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-") or "x"
