"""``.edx`` on Datasets and DataTrees: the lazy operations as methods.

On a Dataset each method gives a new Dataset or DataArray; on a collection, a collection of those. The package
registers both classes when it is imported, and loads this module at their first use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xarray as xr

from edxdask.errors import ParameterError
from edxdask.ops import (
    bin_cube,
    calibrate_energy,
    crop_cube,
    find_elements,
    line_map,
    maximum_pixel_spectrum,
    sum_frames,
    sum_spectrum,
    total_map,
    valid_mask,
    window_map,
)
from edxdask.ops.bin import Boundary
from edxdask.ops.crop import Range
from edxdask.ops.maps import Window
from edxdask.ops.masks import MaskLike
from edxdask.schema import COUNTS, validate_cube

__all__ = ["DataTreeAccessor", "DatasetAccessor"]


class _Operations:
    """The methods, lazy but for ``calibrate`` and ``find_elements``; subclasses say what they act on."""

    def _apply(self, function: Callable[..., Any], *args: Any, mask: Any = None, **options: Any) -> Any:
        raise NotImplementedError

    def bin(self, factor: int | None = None, *, boundary: Boundary = "trim", **factors: int) -> Any:
        """Sum neighbouring pixels or channels: ``bin(4)``, ``bin(y=4, x=2)``; see ``ops.bin_cube``."""
        return self._apply(bin_cube, factor, boundary=boundary, **factors)

    def crop(self, *, energy: Range | None = None, **ranges: Range) -> Any:
        """Part of the map or axis: ``crop(y=slice(0, 50), energy=(0.3, 10))``; see ``ops.crop_cube``."""
        return self._apply(crop_cube, energy=energy, **ranges)

    def calibrate(
        self, lines: Sequence[str], *, spectrum: xr.DataArray | None = None, max_shift: float = 0.05
    ) -> Any:
        """Refine the energy axis on known lines; computes the sum spectrum; see ``ops.calibrate_energy``."""
        return self._apply(calibrate_energy, lines, spectrum=spectrum, max_shift=max_shift)

    def find_elements(
        self,
        *,
        known: Sequence[str] | None = None,
        among: Sequence[str] | None = None,
        result: xr.Dataset | None = None,
        threshold: float = 5.0,
    ) -> Any:
        """Find elements, listed or not; computes the sum spectrum; see ``ops.find_elements``."""
        return self._apply(find_elements, known=known, among=among, result=result, threshold=threshold)

    def frames(self, first: int = 0, stop: int | None = None) -> Any:
        """Sum of frames ``first`` to ``stop``, not included; see ``ops.sum_frames``."""
        return self._apply(sum_frames, first, stop)

    def sum_spectrum(self, mask: MaskLike | Mapping[str, MaskLike] | xr.DataTree | None = None) -> Any:
        """Sum spectrum of all pixels or those of ``mask`` (for a collection also one mask by map's name)."""
        return self._apply(sum_spectrum, mask=mask)

    def maximum_pixel_spectrum(self) -> Any:
        """Largest count of any pixel, by channel; see ``ops.maximum_pixel_spectrum``."""
        return self._apply(maximum_pixel_spectrum)

    def total_map(self) -> Any:
        """Photons of every pixel; see ``ops.total_map``."""
        return self._apply(total_map)

    def window_map(self, lo: float, hi: float, *, background: Sequence[Window] | None = None) -> Any:
        """Map the counts between two energies (keV), above a background if asked; see ``ops.window_map``."""
        return self._apply(window_map, lo, hi, background=background)

    def line_map(
        self,
        line: str | Sequence[str],
        *,
        width: float | None = None,
        background: bool | Sequence[Window] = True,
    ) -> Any:
        """Map the counts in a line above the background beside it; see ``ops.line_map``."""
        return self._apply(line_map, line, width=width, background=background)

    def valid_mask(self, min_counts: int = 1) -> Any:
        """Pixels with at least ``min_counts`` photons; see ``ops.valid_mask``."""
        return self._apply(valid_mask, min_counts=min_counts)


class DatasetAccessor(_Operations):
    """``ds.edx``: operations on one cube.

    Examples
    --------
    >>> import numpy as np
    >>> counts = (("y", "x", "energy"), np.ones((4, 4, 3), "u2"))
    >>> ds = xr.Dataset({"counts": counts}, {"energy": [0.0, 0.1, 0.2]})
    >>> ds.edx.bin(2).edx.sum_spectrum().values.tolist()
    [16, 16, 16]
    """

    def __init__(self, ds: xr.Dataset) -> None:
        self._ds = ds

    def _apply(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return function(self._ds, *args, **options)

    def to_hyperspy(self) -> Any:
        """Hand the cube over as a HyperSpy signal, lazy; needs the extra ``hyperspy``."""
        from edxdask.io.export.hyperspy import to_hyperspy  # HyperSpy and its exporter load on demand

        return to_hyperspy(validate_cube(self._ds))

    def to_sparse(self, **options: Any) -> Any:
        """Photons as ``scipy.sparse.csr_array``, pixels × channels; see ``edxdask.to_sparse``."""
        from edxdask.io.export.sparse import to_sparse  # the engine loads on demand

        return to_sparse(self._ds, **options)


class DataTreeAccessor(_Operations):
    """``tree.edx``: the same operations on every map of a collection; the result holds the maps only."""

    def __init__(self, tree: xr.DataTree) -> None:
        self._tree = tree

    def _maps(self) -> dict[str, xr.Dataset]:
        """Every map by its path from here; "." if it is this node itself."""
        nodes = self._tree.subtree_with_keys
        maps = {path: node.to_dataset() for path, node in nodes if COUNTS in node.data_vars}
        if not maps:
            raise ParameterError("tree", list(self._tree.children), "a collection of maps with counts")
        return maps

    def _apply(self, function: Callable[..., Any], *args: Any, **options: Any) -> xr.DataTree:
        maps = self._maps()
        masks = self._masks_by_path(options.pop("mask", None), maps) if "mask" in options else None
        made: dict[str, Any] = {".": xr.Dataset(attrs=self._tree.attrs)}
        for path, ds in maps.items():
            own = {} if masks is None else {"mask": masks[path]}
            out = function(ds, *args, **own, **options)
            made[path] = out if isinstance(out, xr.Dataset) else out.to_dataset(promote_attrs=True)
        return xr.DataTree.from_dict({f"/{path}": one for path, one in made.items()}, name=self._tree.name)

    def _masks_by_path(self, mask: Any, maps: Mapping[str, xr.Dataset]) -> dict[str, Any]:
        """One mask a map: the same for all, or by name (a collection of masks, such as ``valid_mask()``)."""
        if isinstance(mask, xr.DataTree):
            masks = {path: list(node.data_vars.values()) for path, node in mask.subtree_with_keys}
            mask = {path: found[0] for path, found in masks.items() if len(found) == 1}
        if not isinstance(mask, Mapping):
            return dict.fromkeys(maps, mask)
        named = {path: mask.get(path) for path in maps}
        missing = [path for path, one in named.items() if one is None]
        if missing or len(mask) != len(maps):
            raise ParameterError("mask", list(mask), f"one mask for each map, {list(maps)}")
        return named

    def to_hyperspy(self) -> dict[str, Any]:
        """Every map as a HyperSpy signal, by path."""
        return {path: DatasetAccessor(ds).to_hyperspy() for path, ds in self._maps().items()}

    def to_sparse(self, **options: Any) -> Any:
        """Photons of every map as ``scipy.sparse.csr_array``, by name; see ``edxdask.to_sparse``."""
        from edxdask.io.export.sparse import to_sparse  # the engine loads on demand

        return to_sparse(self._tree, **options)
