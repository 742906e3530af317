"""Which mask every precipitate gets, and how: by a method, or from the user; checked before any work."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from edxdask.errors import ParameterError
from edxdask.optional import require
from edxdask.results.collections import ALONE, Data, cubes_in, is_collection, value_for_each_map
from edxdask.unmix.masks_abundance import GRABCUT, KMEANS, LEVEL, OTSU, THRESHOLD, Rule, abundance_rule
from edxdask.unmix.masks_potts import precipitate_mask
from edxdask.unmix.masks_user import user_mask
from edxdask.unmix.regions import Regions

POTTS, USER = "potts", "user"
METHODS = (POTTS, THRESHOLD, OTSU, KMEANS, GRABCUT)
NEEDED = {POTTS: ("maxflow", "PyMaxflow"), GRABCUT: ("cv2", "OpenCV")}  # of the extra "masks"
Method = str | Mapping[str, str]


@dataclass(frozen=True, eq=False)
class MaskPlan:
    """How the mask of each precipitate is made.

    Attributes
    ----------
    methods : by precipitate; ``USER`` where the user brings it
    drawn : masks (y, x) that the user brings, by precipitate, then by map
    """

    methods: Mapping[str, str]
    drawn: Mapping[str, Mapping[str, np.ndarray]]

    @property
    def needs_abundances(self) -> bool:
        """Whether a mask follows from abundance maps."""
        return any(method not in (POTTS, USER) for method in self.methods.values())

    @property
    def needs_photons(self) -> bool:
        """Whether a mask follows from the photons of every pixel."""
        return POTTS in self.methods.values()

    @property
    def text(self) -> list[str]:
        """Name the method of every precipitate, as an attribute of a result does."""
        return [f"{name}: {method}" for name, method in self.methods.items()]

    def rules(
        self, phases: Sequence[str], fractions: Collection[np.ndarray], level: float = LEVEL
    ) -> dict[str, Rule]:
        """Find the rules of masks that follow from abundances (phase, y, x) of all maps."""
        return {
            name: abundance_rule(method, list(phases).index(name), fractions, level)
            for name, method in self.methods.items()
            if method not in (POTTS, USER)
        }

    def regions(
        self,
        path: str,
        rules: Mapping[str, Rule],
        fractions: np.ndarray | None,
        ratios: Mapping[str, np.ndarray],
    ) -> Regions:
        """Make the masks of one map.

        Parameters
        ----------
        path : str
            Name of the map.
        rules : mapping
            What ``rules`` gave.
        fractions : ndarray, optional
            (phase, y, x) abundances.
        ratios : mapping of ndarray
            (y, x) log-likelihood ratios, by precipitate.
        """
        made: dict[str, np.ndarray] = {}
        for name, method in self.methods.items():
            if method == USER:
                made[name] = self.drawn[name][path]
            elif method == POTTS:
                made[name] = precipitate_mask(ratios[name])
            else:
                made[name] = rules[name](np.asarray(fractions))
        return Regions.of(made)

    def check(self, regions: Mapping[str, Regions]) -> None:
        """Refuse masks without a pixel, and masks that leave none for the matrix, in all maps together.

        Raises
        ------
        ParameterError
            Naming the precipitate.
        """
        for row, name in enumerate(self.methods):
            if not any(one.masks[row].any() for one in regions.values()):
                raise ParameterError(
                    "masks",
                    self.methods[name],
                    f"a mask of {name!r} with pixels; it has none",
                    _other_mask(name),
                )
        if not any(one.matrix.any() for one in regions.values()):
            largest = max(
                range(len(self.methods)),
                key=lambda row: sum(one.masks[row].sum() for one in regions.values()),
            )
            name = list(self.methods)[largest]
            raise ParameterError(
                "masks",
                self.methods[name],
                f"pixels in no mask: the matrix; the mask of {name!r} holds most of them",
                _other_mask(name),
            )


def plan_masks(
    data: Data, precipitates: Sequence[str], masks: Method, user_masks: Mapping[str, Any] | None
) -> MaskPlan:
    """Check what the user said of masks, and read those that the user brings.

    Raises
    ------
    ParameterError, MissingStoreError
        If a precipitate has no mask, a name or method is unknown, or a mask cannot be used.
    """
    given = user_masks or {}
    by_name = dict(masks) if isinstance(masks, Mapping) else dict.fromkeys(precipitates, masks)
    for parameter, names in (("user_masks", given), ("masks", by_name)):
        for name in names:
            if name not in precipitates:
                known = ", ".join(map(repr, precipitates))
                raise ParameterError(parameter, name, f"one of the precipitates, {known}")
    methods: dict[str, str] = {}
    for name in precipitates:
        if name not in given and name not in by_name:
            raise ParameterError(
                "masks", by_name, f"a mask for each precipitate; {name!r} has none", _other_mask(name)
            )
        methods[name] = USER if name in given else by_name[name]
        if methods[name] not in (*METHODS, USER) or (methods[name] == USER and name not in given):
            raise ParameterError("masks", methods[name], f"one of {', '.join(METHODS)}", _other_mask(name))
    for method in {*methods.values()}:
        if method in NEEDED:
            module, package = NEEDED[method]
            require(module, extra="masks", purpose=f"masks={method!r} ({package})")
    return MaskPlan(methods, {name: _drawn(data, name, value) for name, value in given.items()})


def _other_mask(name: str) -> str:
    return f"Choose a method, masks={{{name!r}: {OTSU!r}}}, or draw it: user_masks={{{name!r}: 'mask.png'}}."


def _drawn(data: Data, name: str, value: Any) -> dict[str, np.ndarray]:
    """Masks of one precipitate, by map."""
    parameter = f"user_masks[{name!r}]"
    cubes: dict[str, xr.Dataset] = cubes_in(data)
    by_map = value_for_each_map(value, data, name=parameter) if is_collection(data) else {ALONE: value}
    return {
        path: user_mask(by_map[path], cube, name=parameter if path == ALONE else f"{parameter}[{path!r}]")
        for path, cube in cubes.items()
    }
