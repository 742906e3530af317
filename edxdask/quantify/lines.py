"""Which line is used to quantify an element."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from edxdask.errors import ParameterError
from edxdask.physics.lines import lines_of, parse_line

# Main lines, with the range (keV) in which each is taken before the next: below, the sample absorbs and lines
# crowd; above, a silicon detector lets photons through. A line outside all ranges is taken where it is.
PREFERRED: tuple[tuple[str, float, float], ...] = (("Ka", 0.9, 15.0), ("La", 0.9, 15.0), ("Ma", 0.9, 15.0))
MAIN = ("Ka", "La", "Ma")


def choose_lines(
    elements: Sequence[str],
    low: float,
    high: float,
    *,
    lines: Iterable[str] | None = None,
    factors: Mapping[str, object] | None = None,
) -> dict[str, str]:
    """Line of each element: as given, else one that a factor is given for, else by energy.

    Parameters
    ----------
    elements : symbols
    low, high : ends of the axis, keV
    lines : names such as "Pt_La", at most one per element
    factors : factors by line; a line that has one is taken before others

    Examples
    --------
    >>> choose_lines(["O", "Fe", "Nd", "U"], 0.2, 20.0, lines=["U_La"])
    {'O': 'O_Ka', 'Fe': 'Fe_Ka', 'Nd': 'Nd_La', 'U': 'U_La'}
    """
    asked = _by_element(lines or (), elements, "lines")
    given = {name: key for name, key in _by_element(factors or (), elements, None).items()}
    out = {}
    for element in elements:
        name = asked.get(element) or given.get(element) or _preferred(element, low, high)
        energy = parse_line(name).energy_kev
        if not low < energy < high:
            raise ParameterError(
                "lines", name, f"a line between {low:.3g} and {high:.3g} keV; it is at {energy:.3g} keV"
            )
        out[element] = name
    return out


def _by_element(names: Iterable[str], elements: Sequence[str], strict: str | None) -> dict[str, str]:
    out: dict[str, str] = {}
    for name in names:
        element = parse_line(name).element
        if element in elements:
            if strict and element in out:
                raise ParameterError(strict, name, f"one line per element; {out[element]} is there too")
            out.setdefault(element, name)
        elif strict:
            raise ParameterError(strict, name, f"lines of the elements {', '.join(elements)}")
    return out


def _preferred(element: str, low: float, high: float) -> str:
    found = {line.siegbahn: line for line in lines_of(element, low, high) if line.siegbahn in MAIN}
    for name, least, most in PREFERRED:
        if name in found and least <= found[name].energy_kev <= most:
            return found[name].name
    for name in MAIN:
        if name in found:
            return found[name].name
    have = ", ".join(f"{line.name} {line.energy_kev:.2f}" for line in lines_of(element)) or "none"
    other = next(
        (f", or name a line of it: lines=[{line.name!r}]" for line in lines_of(element, low, high)), ""
    )
    raise ParameterError(
        "elements",
        element,
        f"elements with a main line (Ka, La, Ma) between {low:.3g} and {high:.3g} keV",
        f"Its lines (keV): {have}. Leave it out{other}.",
    )
