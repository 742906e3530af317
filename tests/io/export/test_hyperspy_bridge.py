"""Cubes to HyperSpy and back, judged by the real HyperSpy and exspy.

HyperSpy is no dependency: these tests run in an environment of their own that has it.
"""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from test_export_files import ATTRS, cube

from edxdask import schema
from edxdask.errors import MissingDependencyError, ParameterError, SchemaError
from edxdask.io.export import export
from edxdask.io.export.hyperspy import from_hyperspy, to_hyperspy
from edxdask.io.export.metadata import from_metadata, to_metadata

PLAIN = {k: v for k, v in ATTRS.items() if k != schema.VENDOR_METADATA}


@pytest.fixture
def hs():
    pytest.importorskip("exspy", reason="exspy is not installed: it is an extra, edxdask[hyperspy]")
    return pytest.importorskip("hyperspy.api", reason="HyperSpy is not installed: it is an extra")


def assert_same_cube(found, ds):
    np.testing.assert_array_equal(found[schema.COUNTS].values, ds[schema.COUNTS].values)
    assert found[schema.COUNTS].dims == ds[schema.COUNTS].dims
    assert found[schema.COUNTS].dtype == ds[schema.COUNTS].dtype
    for dim in ds[schema.COUNTS].dims:
        np.testing.assert_allclose(found[dim].values, ds[dim].values, rtol=0, atol=1e-12)
        assert found[dim].attrs["units"] == ds[dim].attrs["units"]
    assert found.attrs == ds.attrs


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("shape", [(10, 13), (3, 5, 6), (9,)])
@pytest.mark.parametrize("chunks", [None, 4])
def test_a_cube_survives_the_way_to_hyperspy_and_back(hs, lazy, shape, chunks):
    ds = cube(shape)
    if chunks:
        ds = ds.chunk({schema.pixel_dims(ds)[0]: chunks})
    signal = to_hyperspy(ds, lazy=lazy)
    assert type(signal).__name__ == ("LazyEDSTEMSpectrum" if lazy else "EDSTEMSpectrum")
    assert isinstance(signal.data, da.Array) == lazy
    assert_same_cube(from_hyperspy(signal), ds)


def test_hyperspy_sees_axes_and_microscope(hs):
    signal = to_hyperspy(cube(), lazy=False)
    assert [(a.name, a.size, a.offset, a.scale, a.units) for a in signal.axes_manager.navigation_axes] == [
        ("x", 13, 5.0, 2.5, "nm"),
        ("y", 10, 5.0, 2.5, "nm"),
    ]
    energy = signal.axes_manager.signal_axes[0]
    assert (energy.offset, energy.scale, energy.units, energy.is_binned) == (-0.1, 0.01, "keV", True)
    microscope = signal.metadata.Acquisition_instrument.TEM
    assert (microscope.beam_energy, microscope.beam_current, microscope.Stage.tilt_alpha) == (
        200.0,
        0.5,
        -3.5,
    )
    assert (microscope.Detector.EDS.elevation_angle, microscope.Detector.EDS.live_time) == (22.0, 111.25)
    assert microscope.Detector.EDS.energy_resolution_MnKa == 128.5
    assert signal.metadata.Sample.elements == ["Al", "Mg"]


@pytest.mark.parametrize("lazy", [True, False])
def test_the_exported_file_opens_as_a_tem_spectrum_with_everything(hs, lazy, tmp_path):
    ds = cube((20, 21), chunks=((13, 7), (21,), (40,)))
    signal = hs.load(export(ds, tmp_path / "out.hspy"), lazy=lazy)
    assert type(signal).__name__ == ("LazyEDSTEMSpectrum" if lazy else "EDSTEMSpectrum")
    assert signal.metadata.General.title == "grain 1/left"
    assert signal.original_metadata["Detector_1"]["list"]["0"]["a"] == 1
    assert_same_cube(from_hyperspy(signal), ds)


def test_exspy_can_work_with_the_exported_file(hs, tmp_path):
    ds = cube((6, 7), channels=400)
    signal = hs.load(export(ds, tmp_path / "out.hspy"))
    window = signal.isig[1.0:1.5].sum(axis=-1)  # energies in keV
    np.testing.assert_array_equal(window.data, ds[schema.COUNTS].values[..., 110:160].sum(-1))
    (lines,) = signal.get_lines_intensity(["Mg_Ka"])
    assert lines.data.shape == (6, 7)
    assert lines.data.sum() > 0


def test_what_hyperspy_users_change_wins_and_what_it_invents_does_not(hs):
    attrs = {k: v for k, v in PLAIN.items() if k not in (schema.TILT_ALPHA, schema.FWHM)}
    signal = to_hyperspy(cube(attrs=attrs), lazy=False)
    assert signal.metadata.Acquisition_instrument.TEM.Detector.EDS.energy_resolution_MnKa  # exspy's default
    assert from_hyperspy(signal).attrs == attrs
    signal.set_microscope_parameters(tilt_stage=12.0, azimuth_angle=90.0)
    signal.metadata.Acquisition_instrument.TEM.beam_energy = 300.0  # exspy 0.3.2 sets "beam_energy " instead
    signal.set_elements(["Fe"])
    changed = {
        schema.BEAM_ENERGY: 300.0,
        schema.TILT_ALPHA: 12.0,
        schema.AZIMUTH: [90.0],
        schema.ELEMENTS: ["Fe"],
    }
    assert from_hyperspy(signal).attrs == attrs | changed


@pytest.mark.filterwarnings("ignore:Loading old file version")  # what HyperSpy says of files of its version 1
def test_a_real_map_keeps_its_counts_units_and_microscope(hs, data):
    signal = hs.load(data / "88GPa_crop.hspy", lazy=True)
    ds = from_hyperspy(signal)
    assert ds[schema.COUNTS].chunks is not None
    np.testing.assert_array_equal(ds[schema.COUNTS].values, signal.data.compute())
    assert ds["x"].attrs["units"] == "nm"
    assert float(ds["x"][1] - ds["x"][0]) == pytest.approx(9.85911335721014)
    assert schema.energy_axis(ds) == pytest.approx((0.83151949728, 0.01000467828), rel=1e-12)
    expected = {
        schema.BEAM_ENERGY: 200.0,
        schema.ELEVATION: [22.0],
        schema.AZIMUTH: [45.0],
        schema.LIVE_TIME: 28.085,
        schema.FWHM: 130.0,
        schema.TILT_ALPHA: 0.0,
    }
    assert {k: ds.attrs[k] for k in expected} == expected
    assert ds.attrs[schema.ELEMENTS][:3] == ["Al", "Ca", "Fe"]
    assert "Analysis" in ds.attrs[schema.VENDOR_METADATA]


def test_an_energy_axis_in_ev_becomes_kev_and_no_calibration_pixels(hs):
    signal = hs.signals.Signal1D(np.ones((4, 5, 8), "uint8"))
    axis = signal.axes_manager.signal_axes[0]
    axis.units, axis.scale, axis.offset = "eV", 10.0, -50.0
    ds = from_hyperspy(signal)
    assert schema.energy_axis(ds) == pytest.approx((-0.05, 0.01))
    assert ds["y"].attrs["units"] == "px"


def test_signals_that_are_no_cubes_are_refused_with_the_way_out(hs):
    with pytest.raises(ParameterError, match=r"keV or eV.*units = 'keV'"):
        from_hyperspy(hs.signals.Signal1D(np.ones((4, 8), "uint8")))
    with pytest.raises(ParameterError, match="one signal axis"):
        from_hyperspy(hs.signals.Signal2D(np.ones((4, 8), "uint8")))
    fractions = hs.signals.Signal1D(np.full((4, 8), 0.5))
    fractions.axes_manager.signal_axes[0].units = "keV"
    with pytest.raises(ParameterError, match="whole numbers"):
        from_hyperspy(fractions)


def test_something_else_than_a_signal_is_refused():
    with pytest.raises(ParameterError, match=r"a HyperSpy signal.*from_array"):
        from_hyperspy(np.ones((2, 2)))


def test_without_hyperspy_the_line_to_paste_is_given(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "exspy", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edxdask\[hyperspy\]'"):
        to_hyperspy(cube())


def test_metadata_of_the_wrong_kind_are_named():
    with pytest.raises(SchemaError, match=r"metadata\.Acquisition_instrument\.TEM\.beam_energy is 'fast'"):
        from_metadata({"Acquisition_instrument": {"TEM": {"beam_energy": "fast"}}}, {})


def test_metadata_of_an_sem_and_text_numbers_are_understood():
    tree = {"Acquisition_instrument": {"SEM": {"beam_energy": "15", "Detector": {"EDS": {"live_time": 3}}}}}
    assert from_metadata(tree, {}) == {schema.BEAM_ENERGY: 15.0, schema.LIVE_TIME: 3.0}


def test_detectors_that_agree_share_one_angle():
    tree = to_metadata({schema.ELEVATION: [18.0, 18.0], schema.AZIMUTH: [45.0, 225.0]})
    assert tree["Acquisition_instrument"]["TEM"]["Detector"]["EDS"] == {"elevation_angle": 18.0}


def test_the_bridge_takes_only_cubes():
    with pytest.raises(SchemaError, match="no variable 'counts'"):
        to_hyperspy(xr.Dataset())
