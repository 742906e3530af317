"""X-ray lines: elements, Siegbahn names ("Fe_Ka") and IUPAC names ("Fe_KL3"), families, energies.

Energies and radiative rates come from xraylib (T. Schoonjans et al., Spectrochim. Acta B 66 (2011) 776);
the Siegbahn names follow R. Jenkins et al., X-Ray Spectrom. 20 (1991) 149.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

import xraylib

from edxdask.errors import ParameterError

LARGEST_Z = 98  # the last element of the ionisation table

# A Siegbahn name and the transitions that a detector sees as one peak, strongest first.
SIEGBAHN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Ka": ("KL3", "KL2"),
        "Kb": ("KM3", "KM2", "KN3", "KN2"),
        "La": ("L3M5", "L3M4"),
        "Lb1": ("L2M4",),
        "Lb2": ("L3N5", "L3N4"),
        "Lb3": ("L1M3",),
        "Lb4": ("L1M2",),
        "Lg1": ("L2N4",),
        "Lg3": ("L1N3", "L1N2"),
        "Ll": ("L3M1",),
        "Ln": ("L2M1",),
        "Ma": ("M5N7", "M5N6"),
        "Mb": ("M4N6",),
        "Mg": ("M3N5",),
        "Mz": ("M5N3", "M4N2"),
    }
)
# Names of single transitions.
SIEGBAHN_SINGLE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Ka1": ("KL3",),
        "Ka2": ("KL2",),
        "Kb1": ("KM3",),
        "Kb3": ("KM2",),
        "La1": ("L3M5",),
        "La2": ("L3M4",),
        "Ma1": ("M5N7",),
        "Ma2": ("M5N6",),
    }
)


# Beryllium metal: its valence electrons fill the K shell, which tables of atoms lack. Energy (keV) from the
# X-ray Data Booklet (LBNL 2009), table 1-2; nothing else radiates, so the rate is 1.
BERYLLIUM_KA: Mapping[tuple[int, str], tuple[float, float]] = MappingProxyType({(4, "KL3"): (0.1085, 1.0)})
FAMILIES = ("K", "L", "M")
MAIN_LINES = ("Ka", "La", "Ma")
EDGE_KEV = 0.15  # a line nearer to the end of the axis has no background beside it
# xraylib has no transitions from 4f to 3d below Gd, though they make Mα and Mβ of these elements. Their
# rates go with the number of 4f electrons (of the free atom), scaled from Gd; their energies are those of
# the M5 and M4 edges, as the X-ray Data Booklet's table 1-2 shows (Nd Mα 0.978, Sm Mα 1.081 keV).
FOUR_F_ELECTRONS: Mapping[int, int] = MappingProxyType({58: 1, 59: 3, 60: 4, 61: 5, 62: 6, 63: 7})
FOUR_F_LINES: Mapping[str, tuple[str, ...]] = MappingProxyType({"M5": ("M5N7", "M5N6"), "M4": ("M4N6",)})
GADOLINIUM, GADOLINIUM_4F = 64, 7


@dataclass(frozen=True, slots=True)
class Transition:
    """One radiative transition.

    Attributes
    ----------
    iupac : vacancy first, "KL3"
    energy_kev : energy of the photon
    rate : fraction of the radiative decays of that subshell
    """

    iupac: str
    energy_kev: float
    rate: float

    @property
    def subshell(self) -> str:
        """Subshell with the vacancy: "K" of "KL3", "L3" of "L3M5"."""
        return "K" if self.iupac.startswith("K") else self.iupac[:2]


@dataclass(frozen=True, slots=True)
class Line:
    """A line by its name after the element, and the transitions in it, strongest first.

    Attributes
    ----------
    element : symbol
    siegbahn : "Ka"; or a single transition's IUPAC name, "KL3"
    transitions : strongest first
    """

    element: str
    siegbahn: str
    transitions: tuple[Transition, ...]

    @property
    def name(self) -> str:
        """Element and line, "Fe_Ka"."""
        return f"{self.element}_{self.siegbahn}"

    @property
    def iupac(self) -> str:
        """IUPAC name after the element, "KL3"; "KL2,3" is spelled out, "KL3+KL2"."""
        return "+".join(t.iupac for t in self.transitions)

    @property
    def family(self) -> str:
        """Shell of the vacancy: K, L or M."""
        return self.siegbahn[0]

    @property
    def energy_kev(self) -> float:
        """Energy of the strongest transition; what tables list."""
        return self.transitions[0].energy_kev

    @property
    def centroid_kev(self) -> float:
        """Mean energy weighted with the rates; where a detector that does not resolve them has its peak."""
        weight = sum(t.rate for t in self.transitions)
        return sum(t.rate * t.energy_kev for t in self.transitions) / weight


@lru_cache(maxsize=1)
def element_symbols() -> tuple[str, ...]:
    """Symbols from H on, in order of atomic number, as far as there are data."""
    return tuple(xraylib.AtomicNumberToSymbol(z) for z in range(1, LARGEST_Z + 1))


def atomic_number(element: str) -> int:
    """Atomic number of a symbol.

    Examples
    --------
    >>> atomic_number("Fe")
    26
    """
    symbols = element_symbols()
    if element in symbols:
        return symbols.index(element) + 1
    near = difflib.get_close_matches(str(element).capitalize(), symbols, n=3, cutoff=0.3)
    hint = f"Did you mean {' or '.join(near)}?" if near else ""
    raise ParameterError("element", element, "the symbol of an element from H to Cf, as in 'Fe'", hint)


def checked_elements(elements: Sequence[str]) -> tuple[str, ...]:
    """Symbols, each known and once; from a list, or from text with commas between them.

    Examples
    --------
    >>> checked_elements("Mg, Si"), checked_elements(["O"])
    (('Mg', 'Si'), ('O',))
    """
    given = elements.split(",") if isinstance(elements, str) else elements
    names = tuple(str(name).strip() for name in given)
    for name in names:
        atomic_number(name)
        if names.count(name) > 1:
            raise ParameterError("elements", list(names), f"each element once; {name} is there twice")
    return names


def _line_code(iupac: str) -> int | None:
    return getattr(xraylib, f"{iupac}_LINE", None)


def _transition(number: int, iupac: str) -> Transition | None:
    """Look up a transition; None where xraylib tabulates none and raises."""
    if (number, iupac) in BERYLLIUM_KA:
        return Transition(iupac, *BERYLLIUM_KA[number, iupac])
    code = _line_code(iupac)
    if code is None:
        return None
    if iupac in FOUR_F_LINES.get(iupac[:2], ()) and number in FOUR_F_ELECTRONS:
        rates = _four_f_rates(number, iupac[:2])
        edge = xraylib.EdgeEnergy(number, getattr(xraylib, f"{iupac[:2]}_SHELL"))
        return Transition(iupac, edge, rates[iupac])
    try:
        return Transition(iupac, xraylib.LineEnergy(number, code), xraylib.RadRate(number, code))
    except ValueError:
        return None


@lru_cache(maxsize=1)
def _iupac_names() -> tuple[str, ...]:
    # one vacancy subshell (K, L1-3, M1-5) and one donor subshell: no sums such as "KA" or "KO"
    pattern = re.compile(r"((?:K|L[123]|M[1-5])[L-Q]\d)_LINE$")
    return tuple(sorted(m.group(1) for m in map(pattern.match, dir(xraylib)) if m))


def _four_f_rates(number: int, subshell: str) -> dict[str, float]:
    """Fraction of each transition from 4f in the radiative decays of a subshell, below Gd."""
    names = FOUR_F_LINES[subshell]
    of_gadolinium = [xraylib.RadRate(GADOLINIUM, getattr(xraylib, f"{name}_LINE")) for name in names]
    full = sum(of_gadolinium)
    part = full * FOUR_F_ELECTRONS[number] / GADOLINIUM_4F
    share = part / (part + 1.0 - full)
    return {name: share * rate / full for name, rate in zip(names, of_gadolinium, strict=True)}


@lru_cache(maxsize=512)
def transitions_of(element: str, four_f: bool = False) -> tuple[Transition, ...]:
    """All tabulated K, L and M transitions of an element, by energy.

    Parameters
    ----------
    element : symbol
    four_f : with Mα and Mβ of Ce to Eu, which xraylib lacks; other decays of M4 and M5 are reduced for them
    """
    number = atomic_number(element)
    extra = {n for names in FOUR_F_LINES.values() for n in names} if number in FOUR_F_ELECTRONS else set()
    found = [t for t in (_transition(number, name) for name in _iupac_names()) if t is not None]
    if not four_f:
        found = [t for t in found if t.iupac not in extra]
    elif extra:
        left = {s: 1.0 - sum(_four_f_rates(number, s).values()) for s in FOUR_F_LINES}
        found = [
            t if t.iupac in extra else replace(t, rate=t.rate * left.get(t.subshell, 1.0)) for t in found
        ]
    return tuple(sorted(found, key=lambda t: (t.energy_kev, t.iupac)))


@lru_cache(maxsize=4096)
def _line(element: str, siegbahn: str) -> Line | None:
    number = atomic_number(element)
    names = SIEGBAHN.get(siegbahn) or SIEGBAHN_SINGLE.get(siegbahn) or (siegbahn,)
    found = tuple(t for t in (_transition(number, name) for name in names) if t is not None)
    return Line(element, siegbahn, tuple(sorted(found, key=lambda t: -t.rate))) if found else None


def parse_line(name: str) -> Line:
    """Find a line by its Siegbahn or IUPAC name.

    Raises
    ------
    ParameterError
        If the name is malformed, the element unknown, or the element has no such line.

    Examples
    --------
    >>> [t.iupac for t in parse_line("Fe_Ka").transitions]
    ['KL3', 'KL2']
    >>> parse_line("Fe_KL3").energy_kev
    6.4039
    """
    element, separator, siegbahn = str(name).partition("_")
    if not separator:
        raise ParameterError("line", name, "element and Siegbahn or IUPAC name, as in 'Fe_Ka' or 'Fe_KL3'")
    atomic_number(element)
    known = (*SIEGBAHN, *SIEGBAHN_SINGLE)
    if siegbahn not in known and siegbahn not in _iupac_names():
        near = difflib.get_close_matches(siegbahn.capitalize(), known, n=1)
        fix = f"Did you mean {element}_{near[0]}?" if near else f"Known: {', '.join(known)}."
        raise ParameterError("line", name, "a Siegbahn or IUPAC name after '_'", fix)
    line = _line(element, siegbahn)
    if line is None:
        have = ", ".join(known_line.name for known_line in lines_of(element)) or "none at all"
        raise ParameterError("line", name, f"a line that {element} has", f"It has {have}.")
    return line


def line_energy(name: str) -> float:
    """Energy (keV) of the strongest transition of a line, as tables list it.

    Examples
    --------
    >>> line_energy("Fe_Ka")
    6.4039
    """
    return parse_line(name).energy_kev


def line_centroid(name: str) -> float:
    """Rate-weighted mean energy (keV) of a line: where its unresolved peak is.

    Examples
    --------
    >>> round(line_centroid("Fe_Ka"), 4)
    6.3995
    """
    return parse_line(name).centroid_kev


def lines_of(element: str, e_min: float = 0.0, e_max: float = float("inf")) -> tuple[Line, ...]:
    """Lines of an element with ``e_min <= energy <= e_max`` (keV), by energy.

    Examples
    --------
    >>> [line.name for line in lines_of("Fe", 1, 10)]
    ['Fe_Ka', 'Fe_Kb']
    """
    found = (_line(element, siegbahn) for siegbahn in SIEGBAHN)
    inside = [line for line in found if line is not None and e_min <= line.energy_kev <= e_max]
    return tuple(sorted(inside, key=lambda line: line.energy_kev))


def main_line(element: str, low: float, high: float) -> str | None:
    """Line that a map of an element is best made of, between ``low`` and ``high`` keV; None if there is none.

    Kα where it is on the axis and the beam's photons are many, else Lα, else Mα.

    Examples
    --------
    >>> main_line("Mg", 0.2, 10.0), main_line("Nd", 0.2, 10.0), main_line("U", 0.2, 10.0)
    ('Mg_Ka', 'Nd_La', 'U_Ma')
    """
    energies = {line.siegbahn: line.centroid_kev for line in lines_of(element, low, high)}
    inside = (name for name in MAIN_LINES if low + EDGE_KEV < energies.get(name, low) < high - EDGE_KEV)
    found = next(inside, None)
    return None if found is None else f"{element}_{found}"


def family_of(element: str, family: str) -> tuple[Line, ...]:
    """Lines of one family of an element (``family`` "K", "L" or "M"), by energy.

    Examples
    --------
    >>> [line.name for line in family_of("Fe", "K")]
    ['Fe_Ka', 'Fe_Kb']
    """
    if family not in FAMILIES:
        raise ParameterError("family", family, f"one of {', '.join(FAMILIES)}")
    return tuple(line for line in lines_of(element) if line.family == family)
