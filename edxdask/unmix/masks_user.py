"""Masks that a user brings: PNG, TIFF and .npy files, or arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import MissingStoreError, ParameterError

SUFFIXES = (".png", ".tif", ".tiff", ".npy")
DRAW = "Draw it in two colours: black outside, white inside."


def user_mask(value: Any, cube: xr.Dataset, *, name: str) -> np.ndarray:
    """Read a mask (y, x) and check it: 0 (black) is outside, everything else inside.

    Parameters
    ----------
    value : path or array
        PNG, TIFF or .npy file, array or DataArray, of the map's shape and of two kinds of values at most.
    cube : Dataset
        The map.
    name : str
        What it is called in an error: ``user_masks['Fp']``.

    Raises
    ------
    ParameterError, MissingStoreError
        Saying what is wrong with it.
    """
    wanted = (cube.sizes[schema.Y], cube.sizes[schema.X])
    array, said = _array_of(value, name)
    if array.shape[:2] != wanted or array.ndim > 3:
        raise ParameterError(name, f"{said} of shape {array.shape}", f"the shape (y, x) of the map, {wanted}")
    if array.dtype.kind not in "buif" or not np.isfinite(array).all():
        raise ParameterError(name, f"{said} of {array.dtype}", "true and false, or finite numbers")
    kinds = len(np.unique(array.reshape(array.shape[0] * array.shape[1], -1), axis=0))
    if kinds > 2:
        raise ParameterError(name, f"{said} with {kinds} kinds of values", "two, outside and inside", DRAW)
    mask = array.reshape(*wanted, -1).any(axis=2)
    if not mask.any():
        raise ParameterError(name, f"{said} with no pixel inside", "a pixel or more", DRAW)
    if mask.all():
        raise ParameterError(name, f"{said} with all pixels inside", "pixels outside too: the matrix", DRAW)
    return np.asarray(mask)


def _array_of(value: Any, name: str) -> tuple[np.ndarray, str]:
    """Values of a mask, (y, x) or (y, x, colour), and what to call it."""
    if isinstance(value, str | Path):
        return _read(Path(value), name), str(value)
    if isinstance(value, xr.DataArray):
        pixels = (schema.Y, schema.X)
        value = value.transpose(*pixels).values if set(value.dims) == set(pixels) else value.values
    array = np.asarray(value)
    if array.ndim < 2:
        raise ParameterError(
            name, f"{type(value).__name__} of shape {array.shape}", "a file or an array (y, x)"
        )
    return array, "an array"


def _read(path: Path, name: str) -> np.ndarray:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ParameterError(name, str(path), f"a file of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise MissingStoreError(f"{path}: there is no such file, and a mask was expected there")
    try:
        if suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        return _without_alpha(_picture(path))
    except (ValueError, OSError, RuntimeError, IndexError, KeyError) as error:
        raise ParameterError(name, str(path), f"a picture that can be read: {error}") from error


def _picture(path: Path) -> np.ndarray:
    import imagecodecs
    import tifffile

    if path.suffix.lower() != ".png":
        return np.asarray(tifffile.imread(path))
    return np.asarray(imagecodecs.png_decode(path.read_bytes()))


def _without_alpha(picture: np.ndarray) -> np.ndarray:
    """Drop how opaque pixels are: the last one of two or four numbers."""
    return picture[..., :-1] if picture.ndim == 3 and picture.shape[2] in (2, 4) else picture
