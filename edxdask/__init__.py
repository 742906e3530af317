"""edxdask: STEM-EDX spectrum images larger than memory, at the cost of their photons.

Every name below loads on first use, so ``import edxdask`` costs next to nothing.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edxdask._accessor_hook import register_accessors

if TYPE_CHECKING:
    from edxdask._version import __version__
    from edxdask.errors import EdxdaskError
    from edxdask.io import from_array, ingest, save
    from edxdask.io.export.hyperspy import from_hyperspy, to_hyperspy
    from edxdask.ops import (
        Ellipse,
        Polygon,
        Rectangle,
        bin_cube,
        calibrate_energy,
        combine_masks,
        crop_cube,
        line_map,
        maximum_pixel_spectrum,
        sum_frames,
        sum_spectrum,
        total_map,
        valid_mask,
        window_map,
    )
    from edxdask.public import export, open, simulate

_HOMES = {
    "EdxdaskError": "edxdask.errors",
    "Ellipse": "edxdask.ops",
    "Polygon": "edxdask.ops",
    "Rectangle": "edxdask.ops",
    "__version__": "edxdask._version",
    "bin_cube": "edxdask.ops",
    "calibrate_energy": "edxdask.ops",
    "combine_masks": "edxdask.ops",
    "crop_cube": "edxdask.ops",
    "export": "edxdask.public",
    "from_array": "edxdask.io",
    "from_hyperspy": "edxdask.io.export.hyperspy",
    "ingest": "edxdask.io",
    "line_map": "edxdask.ops",
    "maximum_pixel_spectrum": "edxdask.ops",
    "open": "edxdask.public",
    "save": "edxdask.io",
    "simulate": "edxdask.public",
    "sum_frames": "edxdask.ops",
    "sum_spectrum": "edxdask.ops",
    "to_hyperspy": "edxdask.io.export.hyperspy",
    "total_map": "edxdask.ops",
    "valid_mask": "edxdask.ops",
    "window_map": "edxdask.ops",
}
__all__ = [
    "EdxdaskError",
    "Ellipse",
    "Polygon",
    "Rectangle",
    "__version__",
    "bin_cube",
    "calibrate_energy",
    "combine_masks",
    "crop_cube",
    "export",
    "from_array",
    "from_hyperspy",
    "ingest",
    "line_map",
    "maximum_pixel_spectrum",
    "open",
    "save",
    "simulate",
    "sum_frames",
    "sum_spectrum",
    "to_hyperspy",
    "total_map",
    "valid_mask",
    "window_map",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps ``edxdask.simulate`` the function.

    A room may be called like the function it offers; importing the room would put it in the function's place.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
register_accessors()
