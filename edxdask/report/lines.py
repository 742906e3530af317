"""Which X-ray lines a figure names."""

from __future__ import annotations

from collections.abc import Iterable

from edxdask.physics.lines import MAIN_LINES, lines_of

RESOLVED_KEV = 0.2  # Kβ this far above Kα is a separate peak that readers ask about


def label_lines(elements: Iterable[str], low: float, high: float) -> dict[str, float]:
    """Energies (keV) by name of the lines worth a label between ``low`` and ``high``.

    Kα, Lα and Mα of every element, and Kβ where it is separate from Kα.

    Examples
    --------
    >>> list(label_lines(["Mg", "Ca"], 0.2, 20.0))
    ['Mg_Ka', 'Ca_Ka', 'Ca_Kb']
    """
    named: dict[str, float] = {}
    for element in elements:
        energies = {line.siegbahn: line.centroid_kev for line in lines_of(element, low, high)}
        apart = energies.get("Kb", 0.0) - energies.get("Ka", high)
        wanted = (*MAIN_LINES, "Kb") if apart >= RESOLVED_KEV else MAIN_LINES
        named |= {f"{element}_{name}": energy for name, energy in energies.items() if name in wanted}
    return named
