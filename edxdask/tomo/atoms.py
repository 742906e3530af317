"""Atoms of each element in every voxel, from fractions of phases, their compositions and densities."""

from __future__ import annotations

from collections.abc import Mapping

import dask.array as da
import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.physics.absorption import mean_atomic_mass
from edxdask.physics.spectrum import AVOGADRO_PER_MOL
from edxdask.results.volumes import VOXELS, check_volume, is_fraction
from edxdask.results.voxels import voxel_grid

NM3_PER_CM3 = 1e21


def atoms_per_voxel(result: xr.Dataset, *, densities: Mapping[str, float]) -> xr.DataArray:
    """Count the atoms of each element in every voxel.

    A voxel full of a phase holds as many atoms as its density and mean atomic mass say, and of each element
    the fraction that the composition says.

    Parameters
    ----------
    result : Dataset
        Volume: fractions of phases with ``composition``, as ``tomography(..., elements=…)`` gives them.
    densities : mapping
        Density of each phase in g/cm³, by label.

    Returns
    -------
    DataArray
        ``atoms_per_voxel(element, z, y, x)``, lazy float32.

    Raises
    ------
    SchemaError, ParameterError
        If the volume holds photons, has no composition or no size in nm, or a density is missing.

    Notes
    -----
    *Chunks*: as in the volume; a chunk needs its voxels of all phases.

    Examples
    --------
    >>> from edxdask.results.volumes import depth_coordinate, make_volume
    >>> side = np.array([-0.5, 0.5])
    >>> vol = make_volume(
    ...     np.ones((1, 2, 2, 2), "f4"),
    ...     phases=["Fp"],
    ...     coords={d: xr.Variable(d, side, {"units": "nm"}) for d in "zyx"} | {"element": ["Mg", "O"]},
    ...     variables={"composition": [[0.5, 0.5]]},
    ...     entry="made",
    ... )
    >>> atoms_per_voxel(vol, densities={"Fp": 3.58}).sel(element="Mg").values[0, 0, 0].round(1)
    np.float32(53.5)
    """
    volume = check_volume(result)
    per_voxel = _full_voxels(volume, densities)
    labels = [str(e) for e in volume[schema.ELEMENT].values]
    fractions = volume[schema.VOLUME].data
    lazy = fractions if isinstance(fractions, da.Array) else da.from_array(fractions, name=False)
    lazy = lazy.rechunk({0: -1})
    atoms = da.map_blocks(
        _atoms,
        lazy,
        per_voxel.astype(np.float32),
        dtype=np.float32,
        chunks=((len(labels),), *lazy.chunks[1:]),
        meta=np.empty((0, 0, 0, 0), np.float32),
    )
    coords = {d: volume.coords[d] for d in VOXELS if d in volume.coords} | {schema.ELEMENT: labels}
    return xr.DataArray(
        atoms,
        coords,
        (schema.ELEMENT, *VOXELS),
        schema.ATOMS_PER_VOXEL,
        schema.variable_attrs(schema.ATOMS_PER_VOXEL),
    )


def _full_voxels(volume: xr.Dataset, densities: Mapping[str, float]) -> np.ndarray:
    """Atoms (phase, element) of a voxel that is full of a phase."""
    grid = voxel_grid(volume)
    if not is_fraction(volume):
        raise SchemaError(
            "atoms follow from fractions of voxels, and this volume holds photons: tomography(..., "
            "elements=…, densities=…) finds fractions"
        )
    if schema.COMPOSITION not in volume:
        raise SchemaError("the volume has no composition: tomography(..., elements=[…]) finds it")
    if grid.unit != "nm":
        raise SchemaError("the size of a voxel is not known in nm: assign_coords(z=…, y=…, x=…) with units")
    composition = volume[schema.COMPOSITION].transpose(schema.PHASE, schema.ELEMENT)
    labels = [str(label) for label in volume[schema.PHASE].values]
    grams = _checked(densities, labels)
    elements = [str(e) for e in volume[schema.ELEMENT].values]
    masses = []
    for label, row in zip(labels, composition.values, strict=True):
        amounts = {e: float(a) for e, a in zip(elements, row, strict=True) if a > 0}
        if not amounts or not np.isfinite(row).all():
            raise SchemaError(f"the composition of {label!r} is {row.tolist()}; expected atomic fractions")
        masses.append(mean_atomic_mass(amounts))
    per_nm3 = AVOGADRO_PER_MOL * grams / NM3_PER_CM3 / np.array(masses)
    found: np.ndarray = per_nm3[:, None] * grid.voxel * _normalised(composition.values)
    return found


def _normalised(rows: np.ndarray) -> np.ndarray:
    rows = np.clip(rows, 0.0, None).astype(np.float64)
    whole: np.ndarray = rows / rows.sum(axis=1, keepdims=True)
    return whole


def _checked(densities: Mapping[str, float], labels: list[str]) -> np.ndarray:
    if set(densities) != set(labels):
        raise ParameterError("densities", list(densities), f"one density (g/cm³) for each of {labels}")
    values = np.array([float(densities[label]) for label in labels])
    if not (np.isfinite(values) & (values > 0)).all():
        raise ParameterError("densities", dict(densities), "densities above 0 in g/cm³")
    return values


def _atoms(fractions: np.ndarray, per_voxel: np.ndarray) -> np.ndarray:
    return np.tensordot(per_voxel, fractions.astype(np.float32), axes=(0, 0))
