"""Atoms in voxels, against arithmetic by hand."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
from volume_samples import LABELS, sample_volume

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.tomo.atoms import atoms_per_voxel

DENSITIES = {"Brg": 4.1, "Fp": 3.6, "CaPv": 4.2}


def test_atoms_are_those_of_density_and_composition():
    volume = sample_volume()
    found = atoms_per_voxel(volume, densities=DENSITIES)
    assert found.dims == ("element", "z", "y", "x")
    mass = 0.2 * 24.305 + 0.2 * 28.085 + 0.6 * 15.999  # g/mol, of MgSiO3 per atom, to 3e-4
    grams = np.einsum("p,pzyx->zyx", [4.1, 3.6, 4.2], volume.volume.values) * 8e-21
    wanted = grams / mass * 6.02214076e23
    assert np.allclose(found.sel(element="O"), 0.6 * wanted, rtol=1e-3, atol=1e-2)
    assert np.allclose(found.sum("element"), wanted, rtol=1e-3, atol=1e-2)


def test_atoms_are_lazy_and_keep_the_chunks_of_the_volume():
    volume = sample_volume(chunks={"z": 6, "y": 20, "x": 10})
    broken = volume.volume.data.map_blocks(lambda b: b / 0, dtype="f4", meta=np.empty(0, "f4"))
    found = atoms_per_voxel(volume.assign(volume=(volume.volume.dims, broken)), densities=DENSITIES)
    assert isinstance(found.data, da.Array)
    assert found.chunks == ((3,), (6, 6, 6, 6), (20,), (10, 10, 8))
    with dask.config.set(scheduler="synchronous"):
        whole = atoms_per_voxel(volume, densities=DENSITIES).compute()
    assert np.allclose(whole, atoms_per_voxel(sample_volume(), densities=DENSITIES))


@pytest.mark.parametrize(
    ("change", "densities", "error", "said"),
    [
        (lambda v: v, {"Brg": 4.0}, ParameterError, "one density"),
        (lambda v: v, dict.fromkeys(LABELS, -1.0), ParameterError, "above 0"),
        (lambda v: v.drop_vars(schema.COMPOSITION), DENSITIES, SchemaError, "no composition"),
        (lambda v: v.assign(composition=v.composition * np.nan), DENSITIES, SchemaError, "atomic fractions"),
    ],
)
def test_what_is_missing_is_named(change, densities, error, said):
    with pytest.raises(error, match=said):
        atoms_per_voxel(change(sample_volume()), densities=densities)


def test_photons_and_pixels_have_no_atoms():
    with pytest.raises(SchemaError, match="holds photons"):
        atoms_per_voxel(sample_volume(kind="photons"), densities=DENSITIES)
    with pytest.raises(SchemaError, match="in nm"):
        atoms_per_voxel(sample_volume(step=None), densities=DENSITIES)
