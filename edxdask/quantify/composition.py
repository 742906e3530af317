"""From amounts of atoms to compositions, with covariances: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edxdask.errors import ParameterError
from edxdask.physics.lines import atomic_number

OXYGEN = "O"
# Usual charges of cations in oxides of the Earth's mantle and of ceramics.
CHARGES: Mapping[str, float] = {
    **dict.fromkeys(("Li", "Na", "K", "Rb", "Cs", "Ag"), 1.0),
    **dict.fromkeys(("Be", "Mg", "Ca", "Sr", "Ba", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Cd", "Pb"), 2.0),
    **dict.fromkeys(("B", "Al", "Ga", "In", "Sc", "Y", "V", "Cr", "Bi"), 3.0),
    **dict.fromkeys(
        ("La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu"), 3.0
    ),
    **dict.fromkeys(("C", "Si", "Ge", "Sn", "Ti", "Zr", "Hf", "S", "Th", "U"), 4.0),
    **dict.fromkeys(("P", "Nb", "Ta"), 5.0),
    **dict.fromkeys(("Mo", "W"), 6.0),
}


def charges_of(elements: Sequence[str], given: Mapping[str, float] | None) -> np.ndarray:
    """Charge of each element that oxygen balances; 0 for oxygen itself.

    Raises
    ------
    ParameterError
        If an element has no usual charge and none is given; the error names it.

    Examples
    --------
    >>> charges_of(["Mg", "Fe", "O"], {"Fe": 3})
    array([2., 3., 0.])
    """
    own = dict(given or {})
    for element, charge in own.items():
        atomic_number(element)
        if not (np.isfinite(charge) and charge >= 0):
            raise ParameterError("oxygen", {element: charge}, "charges of cations, 0 or more")
    known = {**CHARGES, **own, OXYGEN: 0.0}
    for element in elements:
        if element not in known:
            raise ParameterError(
                "oxygen", element, "elements of known charge", f"Give it: oxygen={{{element!r}: 3}}."
            )
    return np.array([float(known[e]) for e in elements])


def with_oxygen(
    atoms: np.ndarray, covariance: np.ndarray, charges: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Append the oxygen that balances the charges: (n + 1,), (n + 1, n + 1)."""
    carry = np.vstack([np.eye(atoms.size), charges / 2.0])
    return carry @ atoms, carry @ covariance @ carry.T


def fractions(amounts: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fractions of their sum, and their covariance; NaN where there is nothing.

    x = n/N, so dx = (1 - x 1ᵀ) dn / N.

    Examples
    --------
    >>> x, c = fractions(np.array([30.0, 10.0]), np.diag([30.0, 10.0]))
    >>> x.tolist(), np.sqrt(np.diag(c)).round(4).tolist()
    ([0.75, 0.25], [0.0685, 0.0685])
    """
    whole = float(amounts.sum())
    if not whole > 0:
        return np.full(amounts.shape, np.nan), np.full(covariance.shape, np.nan)
    x = amounts / whole
    carry = (np.eye(x.size) - np.outer(x, np.ones(x.size))) / whole
    return x, carry @ covariance @ carry.T
