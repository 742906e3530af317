"""Numbers as people read them, and words as they mistype them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable

_STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def si(value: float) -> str:
    """Three digits and a prefix, ready for a unit.

    Examples
    --------
    >>> si(0.0), si(147.2), si(68_719_476_736), si(0.0123)
    ('0 ', '147 ', '68.7 G', '0.0123 ')
    """
    for size, prefix in _STEPS:
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.3g} "


def plural(word: str, count: float) -> str:
    """Word in the form that its number asks for.

    Examples
    --------
    >>> plural("pixel", 1), plural("pass", 2), plural("map", 0)
    ('pixel', 'passes', 'maps')
    """
    return word if count == 1 else word + ("es" if word.endswith("s") else "s")


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


def decimals(error: float) -> int:
    """Decimal places that show two digits of an error.

    Examples
    --------
    >>> decimals(0.0314), decimals(0.248), decimals(31.0)
    (3, 2, 0)
    """
    return max(1 - math.floor(math.log10(error)), 0)


def rounded(value: float, error: float) -> tuple[str, str]:
    """Value and error to two digits of the error; four digits of a value whose error is not known.

    Examples
    --------
    >>> rounded(18.5312, 0.2479), rounded(59.93124, 12.6), rounded(1.0, float("nan"))
    (('18.53', '0.25'), ('60', '13'), ('1', ''))
    """
    if not (math.isfinite(error) and error > 0):
        return f"{value:.4g}", "0" if error == 0 else ""
    places = decimals(error)
    return f"{value:.{places}f}", f"{error:.{places}f}"


def closest(word: object, words: Iterable[object]) -> str | None:
    """Word of ``words`` that was most likely meant, in whichever case; None if none is near.

    Examples
    --------
    >>> closest("brig", ["Brg", "Fp"]), closest("lefft", ["left", "right"]), closest("Au", ["Brg", "Fp"])
    ('Brg', 'left', None)
    """
    known = {str(one).casefold(): str(one) for one in words}
    near = difflib.get_close_matches(str(word).casefold(), known, n=1)
    return known[near[0]] if near else None


def grouped(value: float) -> str:
    """Three digits of a number, its thousands apart, without an exponent up to ten million.

    Examples
    --------
    >>> grouped(452_880.0), grouped(4270.4), grouped(18.52), grouped(3.1e9)
    ('453\u202f000', '4270', '18.5', '3.1e+09')
    """
    if not 1000 <= abs(value) < 1e7:
        return f"{value:.3g}"
    text = f"{float(f'{value:.3g}'):,.0f}".replace(",", "\u202f")
    return text if abs(value) >= 10_000 else text.replace("\u202f", "")
