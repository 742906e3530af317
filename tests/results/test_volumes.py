"""Volumes as Datasets: what make_volume labels, and what check_volume refuses."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from volume_samples import LABELS, TILTS, sample_volume, three_phases

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.results.kinds import Kind, kind_of
from edxdask.results.volumes import check_volume, depth_coordinate, is_fraction, make_volume


def test_a_made_volume_has_the_dimensions_units_and_kinds_of_the_schema():
    made = sample_volume()
    assert kind_of(made) is Kind.VOLUME
    assert made.volume.dims == ("phase", "z", "y", "x")
    assert made.tilt_chi2.dims == ("tilt",)
    assert made.tilt_shift_x.attrs["units"] == "px"
    assert list(made.phase.values) == list(LABELS)
    assert np.allclose(np.diff(made.z), 2.0)
    assert float(made.z.mean()) == 0.0
    assert made.tilt.attrs["units"] == "deg"
    assert made.attrs[schema.HISTORY] == ["tomography(phases=3)"]
    assert is_fraction(made)
    assert not is_fraction(sample_volume(kind="photons"))


def test_a_lazy_volume_is_labelled_without_computing_it():
    lazy = da.from_delayed(dask.delayed(lambda: 1 / 0)(), (3, 4, 5, 6), np.float16)
    with dask.config.set(scheduler="synchronous"):
        made = make_volume(lazy, phases=LABELS, coords={}, entry="made")
    assert made.volume.dtype == np.float16
    assert made.volume.chunks is not None


def test_without_calibration_depth_is_in_pixels():
    assert depth_coordinate(4, None).attrs == {"units": "px"}
    assert sample_volume(step=None).z.attrs["units"] == "px"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v.transpose("phase", "x", "y", "z", ...), "volume has dims"),
        (lambda v: v.assign_attrs({schema.VOLUME_KIND: "density"}), "volume_kind 'density'"),
        (lambda v: v.assign(volume=v.volume * 3), "expected fractions between 0 and 1"),
        (lambda v: v.assign(volume=v.volume - 0.5), "expected fractions between 0 and 1"),
        (lambda v: v.assign(volume=v.volume.where(v.volume < 0.5)), "not finite"),
        (lambda v: v.assign(volume=v.volume.astype(int)), "dtype int64"),
        (lambda v: v.assign_coords(phase=["a", "a", "b"]), "labels"),
        (lambda v: v.isel(z=slice(0, 0)), "is empty"),
        (lambda v: v.drop_vars("volume"), "expected volumes of phases"),
        (lambda v: v.assign(tilt_chi2=("energy", v.energy.values)), "tilt_chi2 has dims"),
    ],
)
def test_a_volume_that_is_not_what_the_schema_says_is_refused(change, said):
    with pytest.raises(SchemaError, match=said):
        check_volume(change(sample_volume()))


def test_errors_have_the_dimensions_of_what_they_are_of():
    made = make_volume(
        three_phases(),
        phases=LABELS,
        coords={"element": ["Mg", "O"]},
        variables={"composition": np.full((3, 2), 0.5), "composition_std": np.full((3, 2), 0.01)},
        entry="made",
    )
    assert made.composition_std.dims == ("phase", "element")
    assert made.composition_std.attrs["long_name"].startswith("standard deviation")


def test_photons_of_voxels_may_be_larger_than_one():
    made = sample_volume(40 * three_phases(), kind="photons")
    assert made.volume.attrs["units"] == "counts"
    check_volume(made)


def test_parts_that_do_not_fit_one_another_are_named():
    values = three_phases()
    with pytest.raises(SchemaError, match="do not fit"):
        make_volume(
            values,
            phases=LABELS,
            coords={"tilt": TILTS},
            variables={schema.TILT_CHI2: np.ones(3)},
            entry="made",
        )
    with pytest.raises(ParameterError, match="names of the schema"):
        make_volume(values, phases=LABELS, coords={}, variables={"brightness": 1}, entry="made")
    with pytest.raises(ParameterError, match="'fraction' or 'photons'"):
        make_volume(values, phases=LABELS, coords={}, kind="mass", entry="made")


def test_a_volume_is_no_collection():
    with pytest.raises(SchemaError, match="collection"):
        check_volume(xr.DataTree.from_dict({"/a": sample_volume()}))
