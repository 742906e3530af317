"""Exports are read back by rosettasciio, tifffile and plain text: an independent reader is the oracle."""

from __future__ import annotations

import os
import tracemalloc

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError, StoreExistsError, StoreWriteError
from edxdask.io.export import export

ATTRS = {
    schema.BEAM_ENERGY: 200.0,
    schema.BEAM_CURRENT: 0.5,
    schema.ELEVATION: [22.0, 22.0, 22.0, 22.0],
    schema.AZIMUTH: [45.0, 135.0, 225.0, 315.0],
    schema.TILT_ALPHA: -3.5,
    schema.FWHM: 128.5,
    schema.LIVE_TIME: 111.25,
    schema.REAL_TIME: 140.0,
    schema.ELEMENTS: ["Mg", "Al"],
    schema.THICKNESS: 80.0,
    schema.TITLE: "grain 1/left",
    schema.HISTORY: ["simulated", "binned by 2"],
    schema.VENDOR_METADATA: '{"Detector/1": {"text": "'
    + "µ" * 70_000
    + '", "list": [{"a": 1}, {"b": [2, null]}]}}',
}


def cube(shape=(10, 13), channels=40, dtype="uint16", chunks=None, attrs=ATTRS):
    rng = np.random.default_rng(5)
    counts = rng.poisson(0.3, (*shape, channels)).astype(dtype)
    counts[..., 7] += rng.integers(0, 300, shape).astype(dtype)
    dims = ("tilt", "y", "x")[-len(shape) :]
    coords = {
        d: xr.Variable((d,), 5.0 + 2.5 * np.arange(n), {"units": schema.COORDINATE_UNITS[d]})
        for d, n in zip(dims, shape, strict=True)
    }
    coords[schema.ENERGY] = schema.energy_coordinate(-0.1, 0.01, channels)
    data = counts if chunks is None else da.from_array(counts, chunks=chunks)
    return xr.Dataset({schema.COUNTS: ((*dims, schema.ENERGY), data)}, coords=coords, attrs=dict(attrs))


def spectrum(ds):
    total = ds[schema.COUNTS].sum(schema.pixel_dims(ds), dtype="int64")
    return total.rename(schema.SUM_SPECTRUM).assign_attrs(units="counts")


def a_map(ds, channel=7):
    return ds[schema.COUNTS].isel({schema.ENERGY: channel}).rename("Mg_Ka")


def read_hspy(path):
    from rsciio.hspy import file_reader

    return file_reader(str(path))[0]


@pytest.mark.parametrize(
    ("shape", "dtype", "chunks"),
    [
        ((10, 13), "uint16", None),
        ((10, 13), "uint16", ((3, 7), (13,), (40,))),
        ((10, 13), "uint32", ((4, 6), (1, 12), (25, 15))),
        ((3, 5, 6), "uint8", ((2, 1), (5,), (4, 2), (40,))),
        ((9,), "uint16", ((4, 5), (40,))),
    ],
)
def test_hspy_holds_the_same_counts_and_axes_for_any_chunks(tmp_path, shape, dtype, chunks):
    ds = cube(shape, dtype=dtype, chunks=chunks)
    signal = read_hspy(export(ds, tmp_path / "out.hspy"))
    np.testing.assert_array_equal(signal["data"], ds[schema.COUNTS].values)
    assert signal["data"].dtype == np.dtype(dtype)
    *pixels, energy = signal["axes"]
    assert [a["name"] for a in pixels] == list(schema.pixel_dims(ds))
    assert all((a["offset"], a["scale"]) == (5.0, 2.5) and a["navigate"] for a in pixels)
    assert (energy["name"], energy["units"], energy["offset"], energy["scale"]) == (
        "Energy",
        "keV",
        -0.1,
        0.01,
    )
    assert not energy["navigate"]


def test_hspy_metadata_are_where_hyperspy_looks_for_them(tmp_path):
    signal = read_hspy(export(cube(), tmp_path / "out.hspy"))
    microscope = signal["metadata"]["Acquisition_instrument"]["TEM"]
    assert (microscope["beam_energy"], microscope["beam_current"]) == (200.0, 0.5)
    assert microscope["Stage"]["tilt_alpha"] == -3.5
    detector = microscope["Detector"]["EDS"]
    assert (detector["elevation_angle"], detector["live_time"], detector["real_time"]) == (
        22.0,
        111.25,
        140.0,
    )
    assert detector["energy_resolution_MnKa"] == 128.5
    assert "azimuth_angle" not in detector  # four detectors have no one azimuth
    assert signal["metadata"]["Sample"] == {"elements": ["Al", "Mg"], "thickness": 8e-8}
    assert signal["metadata"]["Signal"]["signal_type"] == "EDS_TEM"
    assert signal["metadata"]["General"]["title"] == "grain 1/left"


def test_uneven_tilts_travel_as_an_axis_of_values(tmp_path):
    ds = cube((3, 4, 5)).assign_coords(tilt=("tilt", [-60.0, -5.0, 60.0], {"units": "deg"}))
    axis = read_hspy(export(ds, tmp_path / "out.hspy"))["axes"][0]
    assert (axis["_type"], axis["units"], list(axis["axis"])) == ("DataAxis", "deg", [-60.0, -5.0, 60.0])


@pytest.mark.parametrize("chunks", [None, ((3, 7), (6, 7), (40,))])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_ripple_is_read_back_equal(tmp_path, chunks, dtype):
    from rsciio.ripple import file_reader

    ds = cube(dtype=dtype, chunks=chunks)
    path = export(ds, tmp_path / "out.rpl")
    signal = file_reader(str(path))[0]
    np.testing.assert_array_equal(signal["data"], ds[schema.COUNTS].values)
    y, x, energy = signal["axes"]
    assert (y["offset"], y["scale"], y["units"]) == (x["offset"], x["scale"], x["units"]) == (5.0, 2.5, "nm")
    assert (energy["offset"], energy["scale"], energy["units"]) == (-0.1, 0.01, "keV")
    assert signal["original_metadata"]["ev-per-chan"] == 10.0
    microscope = signal["metadata"]["Acquisition_instrument"]["TEM"]
    assert (microscope["beam_energy"], microscope["Detector"]["EDS"]["live_time"]) == (200.0, 111.25)


def test_a_line_scan_is_one_row_of_ripple(tmp_path):
    path = export(cube((9,), chunks=((4, 5), (40,))), tmp_path / "line.raw")
    assert path.name == "line.rpl"
    raw = np.fromfile(tmp_path / "line.raw", dtype="<u2").reshape(9, 40)
    np.testing.assert_array_equal(raw, cube((9,))[schema.COUNTS].values)
    assert "height\t1\n" in path.read_text()


@pytest.mark.parametrize("scale", [1, 1e-7])
def test_msa_keeps_every_digit_and_the_axis(tmp_path, scale):
    from rsciio.msa import file_reader

    values = spectrum(cube()) * scale
    signal = file_reader(str(export(values, tmp_path / "s.msa", attrs=ATTRS)))[0]
    np.testing.assert_allclose(signal["data"], values.values, rtol=1e-11)
    axis = signal["axes"][0]
    assert (axis["offset"], axis["scale"], axis["units"], axis["size"]) == (-0.1, 0.01, "keV", 40)
    microscope = signal["metadata"]["Acquisition_instrument"]["TEM"]
    assert (microscope["beam_energy"], microscope["Detector"]["EDS"]["energy_resolution_MnKa"]) == (
        200.0,
        128.5,
    )
    assert signal["metadata"]["Signal"]["signal_type"] == "EDS_TEM"


def test_tiff_has_the_counts_and_a_scale_in_nm(tmp_path):
    import tifffile
    from rsciio.tiff import file_reader

    one = a_map(cube())
    path = export(one, tmp_path / "map.tif")
    with tifffile.TiffFile(path) as file:
        assert file.is_imagej
        np.testing.assert_array_equal(file.asarray(), one.values)
        assert file.pages[0].dtype == np.uint16
        assert file.imagej_metadata["unit"] == "nm"
    assert [axis["scale"] for axis in file_reader(str(path))[0]["axes"]] == [2.5, 2.5]


def test_tiff_stack_carries_labels_and_fractions(tmp_path):
    import tifffile

    ds = cube()
    stack = xr.concat([a_map(ds) / 7, a_map(ds, 8) / 7], xr.Variable("line", ["Mg_Ka", "Al_Ka"]))
    with tifffile.TiffFile(export(stack, tmp_path / "maps.tiff")) as file:
        np.testing.assert_allclose(file.asarray(), stack.values, rtol=1e-7)
        assert file.imagej_metadata["Labels"] == ["Mg_Ka", "Al_Ka"]


def test_csv_of_spectra_and_maps_holds_positions_and_exact_values(tmp_path):
    ds = cube()
    text = export(spectrum(ds), tmp_path / "s.csv").read_text().splitlines()
    assert text[0] == "energy (keV),sum_spectrum"
    table = np.loadtxt(text[1:], delimiter=",")
    np.testing.assert_array_equal(table[:, 1], spectrum(ds).values)
    np.testing.assert_allclose(table[:, 0], ds[schema.ENERGY].values, atol=1e-12)
    rows = export(a_map(ds), tmp_path / "m.csv").read_text().splitlines()
    assert rows[0].startswith("y (nm) \\ x (nm),5,7.5,10")
    np.testing.assert_array_equal(np.loadtxt(rows[1:], delimiter=",")[:, 1:], a_map(ds).values)


def test_csv_of_phases_has_one_column_each(tmp_path):
    phases = xr.DataArray(
        np.full((2, 3), 1 / 3),
        dims=(schema.PHASE, schema.ENERGY),
        coords={schema.PHASE: ["Brg", "a,b"], schema.ENERGY: schema.energy_coordinate(0.0, 0.1, 3)},
    )
    lines = export(phases, tmp_path / "p.csv").read_text().splitlines()
    assert lines[0] == 'energy (keV),Brg,"a,b"'
    assert [float(v) for v in lines[1].split(",")] == [0.0, 1 / 3, 1 / 3]


@pytest.mark.parametrize("suffix", [".hspy", ".rpl"])
def test_a_cube_is_written_a_block_at_a_time(tmp_path, suffix):
    shape = (256, 256, 256)  # 32 MiB dense, blocks of 0.5 MiB
    counts = da.zeros(shape, chunks=(32, 32, 256), dtype="uint16")
    ds = xr.Dataset(
        {schema.COUNTS: (("y", "x", schema.ENERGY), counts)},
        coords={schema.ENERGY: schema.energy_coordinate(0.0, 0.01, 256)},
    )
    export(ds.isel(y=slice(0, 32)), tmp_path / f"warm{suffix}")  # imports are not the subject
    tracemalloc.start()
    export(ds, tmp_path / f"out{suffix}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_progress_reaches_all_pixels(tmp_path):
    events = []
    export(cube(chunks=((3, 7), (13,), (40,))), tmp_path / "a.hspy", progress=events.append)
    assert [(e.done, e.total) for e in events] == [(39, 130), (130, 130)]


def test_an_existing_file_is_refused_and_kept(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("mine")
    with pytest.raises(StoreExistsError, match="overwrite=True"):
        export(spectrum(cube()), path)
    assert path.read_text() == "mine"
    export(spectrum(cube()), path, overwrite=True)
    assert path.read_text() != "mine"


def test_an_existing_raw_file_beside_the_header_is_refused(tmp_path):
    (tmp_path / "a.raw").write_text("mine")
    with pytest.raises(StoreExistsError, match=r"a\.raw exists"):
        export(cube(), tmp_path / "a.rpl")
    assert os.listdir(tmp_path) == ["a.raw"]


@pytest.mark.parametrize("suffix", [".hspy", ".rpl"])
def test_a_failing_read_leaves_nothing_behind(tmp_path, suffix):
    def fail(block, block_info=None):
        if block_info[0]["chunk-location"][0] == 1:
            raise SchemaError("unreadable chunk")
        return block

    ds = cube(chunks=((5, 5), (13,), (40,)))
    ds[schema.COUNTS].data = ds[schema.COUNTS].data.map_blocks(fail, dtype="uint16")
    with pytest.raises(SchemaError, match="unreadable chunk"):
        export(ds, tmp_path / f"a{suffix}")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(StoreWriteError, match=r"nowhere/a\.csv could not be written: No such file"):
        export(spectrum(cube()), tmp_path / "nowhere" / "a.csv")


@pytest.mark.parametrize(
    ("make", "name", "expected"),
    [
        (cube, "a.msa", r"\.hspy, \.rpl for a cube.*sum_spectrum"),
        (lambda: spectrum(cube()), "a.tiff", r"\.msa, \.csv for a spectrum"),
        (lambda: a_map(cube()), "a.hspy", r"\.tiff, \.csv for a map"),
        (cube, "a.docx", r"a file ending in \.hspy"),
        (lambda: cube((2, 3, 4)), "a.rpl", "at most two pixel dimensions"),
        (lambda: cube()[schema.COUNTS].rename("c").isel(y=0), "a.msa", "one spectrum for a .msa file"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_with_what_it_can(tmp_path, make, name, expected):
    with pytest.raises(ParameterError, match=expected):
        export(make(), tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_without_a_suffix_a_cube_becomes_hspy(tmp_path):
    assert export(cube(), tmp_path / "plain").name == "plain.hspy"
