"""Optional packages: imported where they are needed, with the line to paste when they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from edxdask.errors import MissingDependencyError


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import ``module`` or say which extra brings it.

    Examples
    --------
    >>> require("math", extra="none", purpose="sums").sqrt(4)
    2.0
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{purpose} needs {module!r}, which is not installed: python -m pip install 'edxdask[{extra}]'"
        ) from error
