"""What a person should know of amounts of traces: that they follow from the film's thickness."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import xarray as xr

from edxdask.physics.absorption import NOT_CORRECTED
from edxdask.physics.conditions import Conditions
from edxdask.schema import DENSITY, THICKNESS

logger = logging.getLogger(__name__)

MOST_NAMED = 3  # maps
# simulated, 100 nm at 4.5 g/cm3: Nd 368 ± 17, Sm 447 ± 17, U 148 ± 6 ppm instead of 249, 309, 100
MEASURED = "in a film of 100 nm, 100 to 300 ppm come out as 150 to 450 ppm"


def film_not_known(cubes: Mapping[str, xr.Dataset]) -> list[str]:
    """Say that traces are uncertain by more than their errors where a film's absorption is not known.

    The continuum below their peaks is bent by absorption, and what is not explained by it becomes traces.

    Examples
    --------
    >>> maps = {"a": xr.Dataset(attrs={"beam_energy_kev": 200.0})}
    >>> film_not_known(maps)[0][:72]
    "the film's thickness is not known, and what it absorbs is not corrected:"
    >>> film_not_known({"a": maps["a"].assign_attrs(thickness_nm=100.0, density_g_cm3=4.0)})
    []
    """
    unknown = [name for name, cube in cubes.items() if not _known(Conditions.of(cube.attrs))]
    if not unknown:
        return []
    more = "" if len(unknown) <= MOST_NAMED else f" and {len(unknown) - MOST_NAMED} more"
    named = f" of {', '.join(map(repr, unknown[:MOST_NAMED]))}{more}" if len(cubes) > 1 else ""
    text = (
        f"{NOT_CORRECTED}{named}: the continuum below the peaks of traces depends on it, so their amounts "
        f"may be wrong by far more than their errors ({MEASURED}). Set ds.attrs[{THICKNESS!r}] and "
        f"ds.attrs[{DENSITY!r}]"
    )
    logger.warning("%s", text)
    return [text]


def _known(conditions: Conditions) -> bool:
    return conditions.absorbs or conditions.is_bulk
