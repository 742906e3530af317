"""Checks of the parameters of a simulation."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

from edxdask.errors import ParameterError

LEAST_SIDE = 4  # voxels: an object in fewer is no object


def pair(name: str, value: Any) -> tuple[Any, Any]:
    """Give two values, or raise an error that names the parameter."""
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise ParameterError(name, value, "two whole numbers, rows and columns")
    return value[0], value[1]


def whole(name: str, value: Any, least: int = 1, most: int = 2**31 - 1) -> int:
    """Give a whole number within limits."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not least <= int(value) <= most:
        raise ParameterError(name, value, f"a whole number from {least} to {most}")
    return int(value)


def finite(name: str, default: float, value: Any) -> float:
    """Give a finite number, ``default`` for None."""
    if value is None:
        return default
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ParameterError(name, value, "a finite number")
    return float(value)


def positive(name: str, value: Any, *, most: float = math.inf) -> float:
    """Give a number above 0."""
    number = finite(name, 0.0, value)
    if not 0 < number <= most:
        expected = "a number above 0" + (f" and up to {most:g}" if math.isfinite(most) else "")
        raise ParameterError(name, value, expected)
    return number


def size_of(shape: Any) -> tuple[int, int]:
    """Rows and columns of a map."""
    rows, columns = pair("shape", shape)
    return whole("shape[0]", rows), whole("shape[1]", columns)


def box_of(shape: Any) -> tuple[int, int, int]:
    """Planes, rows and columns of the box of an object; of two numbers, as many planes as columns."""
    if isinstance(shape, str) or not isinstance(shape, Sequence) or len(shape) not in (2, 3):
        raise ParameterError("shape", shape, "whole numbers: planes, rows and columns, or rows and columns")
    sides = (shape[-1], *shape) if len(shape) == 2 else shape
    planes, rows, columns = (whole(f"shape[{i}]", n, LEAST_SIDE) for i, n in enumerate(sides))
    return planes, rows, columns
