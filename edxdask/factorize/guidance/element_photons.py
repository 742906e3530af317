"""What is said of a phase where atoms cannot be counted: the fraction of its photons in each element's lines.

In a scanning microscope, electrons stop in the sample, and the physics of thin films does not give atoms
from photons. Which lines a phase has, and how strong they are in its spectrum, holds all the same.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.factorize.guidance.guide import Guide
from edxdask.results.collections import with_shared


def element_photons(guide: Guide, spectra: np.ndarray) -> np.ndarray:
    """Fraction of each spectrum's photons in lines of each listed element, (k, elements)."""
    model = guide.mean_model()
    weights = model.weights_of(spectra)  # of columns that sum to 1: photons
    owners = np.array(guide.column_elements, dtype=object)
    return np.stack([weights[:, : owners.size][:, owners == e].sum(axis=1) for e in guide.elements], axis=1)


def with_element_photons(
    result: xr.Dataset | xr.DataTree, guide: Guide, spectra: np.ndarray
) -> xr.Dataset | xr.DataTree:
    """Add ``element_photons(phase, element)`` to a result."""
    name = schema.ELEMENT_PHOTONS
    fractions = element_photons(guide, spectra)
    variables = {
        schema.ELEMENT: xr.Variable((schema.ELEMENT,), list(guide.elements)),
        name: xr.Variable((schema.PHASE, schema.ELEMENT), fractions, schema.variable_attrs(name)),
    }
    return with_shared(result, variables)
