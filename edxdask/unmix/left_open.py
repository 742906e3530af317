"""What the result that an unmixing begins with leaves open: taken along, since masks do not close it.

``psnmf`` finds how far the composition of each phase may lie from what it found, with the counts explained
as well: where no pixel is pure, much is open. Masks and a core are assumptions, that the core is pure before
all; they make errors of counting small, but add nothing to what the counts say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from edxdask import schema


@dataclass(frozen=True, eq=False)
class LeftOpen:
    """What a result leaves open.

    Attributes
    ----------
    spread : (phases, elements) error of the compositions, 0 where the result says nothing of it
    warnings : of the result, about its phases
    """

    spread: np.ndarray
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, result: xr.Dataset, phases: Sequence[str], elements: Sequence[str]) -> LeftOpen:
        """Read a result.

        Examples
        --------
        >>> dims, names = ("phase", "element"), {"phase": ["a"], "element": ["Mg", "Si"]}
        >>> result = xr.Dataset({"composition_spread": (dims, [[0.1, 0.2]])}, names, {"warnings": ["a: no"]})
        >>> found = LeftOpen.of(result, ["a"], ["Si", "Fe"])
        >>> found.spread.tolist(), found.warnings
        ([[0.2, 0.0]], ('a: no',))
        """
        texts = [str(text) for text in result.attrs.get(schema.WARNINGS, ())]
        about = tuple(text for text in texts if text.startswith(tuple(f"{name}: " for name in phases)))
        if schema.COMPOSITION_SPREAD not in result:
            return cls(np.zeros((len(phases), len(elements))), about)
        spread = result[schema.COMPOSITION_SPREAD].transpose(schema.PHASE, schema.ELEMENT)
        spread = spread.reindex({schema.ELEMENT: list(elements)}, fill_value=0.0)
        values = spread.sel({schema.PHASE: list(phases)}).values.astype(np.float64)
        return cls(np.nan_to_num(values), about)

    def about(self, phase: str) -> list[str]:
        """Warnings about one phase."""
        return [text for text in self.warnings if text.startswith(f"{phase}: ")]
