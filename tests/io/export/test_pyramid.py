"""OME-TIFF and OME-Zarr: values, levels and axes come back through readers that are not ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import dask.array as da
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr

import edxdask
from edxdask.io.export.pyramid import halved, layers_of

ROWS, COLUMNS = 1111, 777


def image(name="haadf", *, unit="nm", dtype="f4", rows=ROWS, columns=COLUMNS):
    rng = np.random.default_rng(len(name))
    values = (1000 * rng.random((rows, columns))).astype(dtype)
    if values.dtype.kind == "f":
        values[:3] = np.nan
    coords = {d: (d, 2.5 * np.arange(n), {"units": unit}) for d, n in (("y", rows), ("x", columns))}
    return xr.DataArray(da.from_array(values, chunks=300), dims=("y", "x"), coords=coords, name=name)


def means(values, times):
    """Levels by a plain loop over pixels' blocks, NaN left out."""
    for _ in range(times):
        rows, columns = (-(-n // 2) for n in values.shape)
        out = np.empty((rows, columns))
        for y in range(rows):
            for x in range(columns):
                block = values[2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
                out[y, x] = np.nanmean(block) if np.isfinite(block).any() else np.nan
        values = out
    return values


def test_halves_are_means_also_at_odd_ends():
    values = np.random.default_rng(0).random((7, 5))
    values[2, :] = np.nan
    np.testing.assert_allclose(halved(values), means(values, 1))
    np.testing.assert_allclose(halved(np.array([[1, 2], [4, 6]], "u2")), 3)


def test_tifffile_reads_every_level_with_names_and_pixel_size(tmp_path):
    stack = xr.Dataset({"a": image("a"), "bb": image("bb")}).to_dataarray("layer")
    path = edxdask.export(stack, tmp_path / "m.ome.tiff")
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        assert file.is_ome
        assert series.axes == "CYX"
        assert [level.shape for level in series.levels] == [
            (2, 1111, 777),
            (2, 556, 389),
            (2, 278, 195),
            (2, 139, 98),
        ]
        assert all(level.pages[0].is_tiled for level in series.levels)
        np.testing.assert_array_equal(series.asarray()[1], stack[1])
        np.testing.assert_allclose(series.levels[1].asarray()[0], halved(stack[0].values), rtol=1e-6)
        deepest = halved(halved(halved(stack[0].values)))
        np.testing.assert_allclose(series.levels[3].asarray()[0], deepest, rtol=1e-5)
        (pixels,) = ElementTree.fromstring(file.ome_metadata).findall(".//{*}Pixels")
    assert (pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeYUnit")) == ("2.5", "nm")
    assert [channel.get("Name") for channel in pixels.findall("{*}Channel")] == ["a", "bb"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.ome.tiff"]


def test_zarr_reads_every_level_and_the_metadata_say_where_its_pixels_are(tmp_path):
    one = image()
    path = edxdask.export(one, tmp_path / "m.ome.zarr")
    group = zarr.open_group(path, mode="r")
    np.testing.assert_array_equal(group["0"][0], one)
    np.testing.assert_allclose(group["2"][0], halved(halved(one.values)), rtol=1e-6)
    ome = group.attrs["ome"]
    assert ome["version"] == "0.5"
    (multiscale,) = ome["multiscales"]
    assert [axis["name"] for axis in multiscale["axes"]] == ["c", "y", "x"]
    assert multiscale["axes"][1]["unit"] == "nanometer"
    for number, dataset in enumerate(multiscale["datasets"]):
        scale, translation = dataset["coordinateTransformations"]
        assert scale["scale"] == [1.0, 2.5 * 2**number, 2.5 * 2**number]
        # the centre of the first pixel: the mean of the centres of those it is made of
        assert translation["translation"][1] == pytest.approx(2.5 * np.mean(np.arange(2**number)))
    assert ome["omero"]["channels"][0]["label"] == "haadf"
    assert group["0"].metadata.dimension_names == ("c", "y", "x")


def test_the_reader_of_ome_zarr_takes_it(tmp_path):
    """Its zarr may be another than ours: EDXDASK_OME_ZARR_PYTHON names a python that has it."""
    python = os.environ.get("EDXDASK_OME_ZARR_PYTHON") or sys.executable
    code = "from ome_zarr.io import parse_url; from ome_zarr.reader import Reader; import json, sys; "
    code += "(node,) = Reader(parse_url(sys.argv[1], mode='r'))(); "
    code += "print(json.dumps([[d.shape for d in node.data], node.metadata['channel_names']]))"
    if subprocess.run([python, "-c", "import ome_zarr"], capture_output=True).returncode:
        pytest.skip("ome-zarr is in no environment that is known here")
    path = edxdask.export(image(), tmp_path / "m.ome.zarr")
    done = subprocess.run([python, "-c", code, str(path)], capture_output=True, text=True, check=True)
    shapes, names = json.loads(done.stdout)
    assert shapes == [[1, 1111, 777], [1, 556, 389], [1, 278, 195], [1, 139, 98]]
    assert names == ["haadf"]


NAPARI = """
import json, sys
from napari_ome_zarr import napari_get_reader
layers = napari_get_reader(sys.argv[1])(sys.argv[1])
said = [
    {
        "kind": kind,
        "shapes": [list(level.shape) for level in (data if isinstance(data, list) else [data])],
        **{name: meta.get(name) for name in ("name", "scale", "axis_labels", "units", "channel_axis")},
    }
    for data, meta, kind in layers
]
print(json.dumps(said))
"""


def test_the_reader_of_napari_takes_it(tmp_path):
    """napari without Qt is enough: EDXDASK_NAPARI_PYTHON names a python that has napari-ome-zarr."""
    python = os.environ.get("EDXDASK_NAPARI_PYTHON") or sys.executable
    if subprocess.run([python, "-c", "import napari_ome_zarr"], capture_output=True).returncode:
        pytest.skip("napari-ome-zarr is in no environment that is known here")
    stack = xr.Dataset({"Brg": image("Brg"), "Fp": image("Fp")}).to_dataarray("layer")
    path = edxdask.export(stack, tmp_path / "m.ome.zarr")
    done = subprocess.run([python, "-c", NAPARI, str(path)], capture_output=True, text=True, check=True)
    (layer,) = json.loads(done.stdout.splitlines()[-1])
    assert (layer["kind"], layer["channel_axis"]) == ("image", 0)
    assert layer["shapes"] == [[2, 1111, 777], [2, 556, 389], [2, 278, 195], [2, 139, 98]]
    assert layer["name"] == ["m: Brg", "m: Fp"]
    assert layer["scale"] == [2.5, 2.5]
    assert (layer["axis_labels"], layer["units"]) == (["y", "x"], ["nanometer"] * 2)


def test_whole_numbers_stay_whole_and_pixels_without_unit_have_none(tmp_path):
    counts = image("total", unit="px", dtype="u2")
    with tifffile.TiffFile(edxdask.export(counts, tmp_path / "m.ome.tif")) as file:
        assert file.series[0].dtype == np.uint16
        np.testing.assert_array_equal(file.series[0].asarray(squeeze=True), counts)
        assert "PhysicalSizeX" not in file.ome_metadata
    group = zarr.open_group(edxdask.export(counts, tmp_path / "m.ome.zarr"), mode="r")
    assert "unit" not in group.attrs["ome"]["multiscales"][0]["axes"][1]


def test_only_one_strip_is_computed_at_a_time():
    read = []

    def noted(block, block_info=None):
        read.append(block_info[0]["array-location"][0])
        return block

    watched = da.map_blocks(noted, da.zeros((2048, 64), chunks=(512, 64)), dtype=float, meta=np.empty((0, 0)))
    strips = layers_of([xr.DataArray(watched, dims=("y", "x"), name="a")]).strips("", None)
    next(strips)
    assert set(map(tuple, read)) == {(0, 512)}


def test_cubes_results_and_mosaics_give_all_their_images(tmp_path):
    cube = edxdask.simulate(shape=(32, 40), counts=30, channels=300, energy_scale=0.03)
    cube["haadf"] = (("y", "x"), np.ones((32, 40), np.float32))
    made = edxdask.mosaic(cube, image=None)
    result = edxdask.nmf(cube, phases=2, max_iter=3)
    names = {}
    for name, data in (("cube", cube), ("mosaic", made), ("result", result)):
        group = zarr.open_group(edxdask.export(data, tmp_path / f"{name}.ome.zarr"), mode="r")
        names[name] = [channel["label"] for channel in group.attrs["ome"]["omero"]["channels"]]
    assert names["cube"] == ["total", "truth_total", "haadf"]
    assert set(names["mosaic"]) == {"total", "truth_total", "haadf", "exposure"}
    assert names["result"] == ["phase_0", "phase_1", "total"]
    two = edxdask.collect({"left": cube, "right": cube})
    paths = edxdask.export(two, tmp_path / "two.ome.tiff")
    assert [path.name for path in paths] == ["two_left.ome.tiff", "two_right.ome.tiff"]


def test_targets_appear_whole_or_not_at_all(tmp_path):
    def fails(block):
        raise RuntimeError("stop")

    broken = xr.DataArray(
        da.map_blocks(fails, da.zeros((600, 40), chunks=512), dtype=float, meta=np.empty((0, 0))),
        dims=("y", "x"),
        name="a",
    )
    for suffix in ("ome.tiff", "ome.zarr"):
        with pytest.raises(RuntimeError, match="stop"):
            edxdask.export(broken, tmp_path / f"m.{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_replaced_only_when_asked_and_only_if_it_is_an_image(tmp_path):
    small = image(rows=20, columns=20)
    for suffix in ("ome.tiff", "ome.zarr"):
        path = edxdask.export(small, tmp_path / f"m.{suffix}")
        with pytest.raises(edxdask.EdxdaskError, match="exists: give another name, or overwrite=True"):
            edxdask.export(small, path)
        edxdask.export(small, path, overwrite=True)
    precious = tmp_path / "data.ome.zarr"
    precious.mkdir()
    (precious / "thesis.txt").write_text("all of it")
    with pytest.raises(edxdask.EdxdaskError, match="move it away"):
        edxdask.export(small, precious, overwrite=True)
    assert (precious / "thesis.txt").exists()


def test_the_command_writes_both(run, tmp_path):
    edxdask.simulate(shape=(20, 30), counts=20, channels=200, energy_scale=0.05, out=tmp_path / "map.zarr")
    for suffix in ("ome.tiff", "ome.zarr"):
        done = run("export", tmp_path / "map.zarr", tmp_path / f"m.{suffix}", "--json")
        found = json.loads(done.stdout)
        assert Path(found["path"]).exists()
        assert found["bytes"] > 1000
        lines = run(
            "export", tmp_path / "map.zarr", tmp_path / f"lines.{suffix}", "--map", "Mg_Ka", "--map", "Si_Ka"
        )
        assert lines.exit_code == 0, lines.stderr
    with tifffile.TiffFile(tmp_path / "lines.ome.tiff") as file:
        assert file.series[0].shape == (2, 20, 30)
