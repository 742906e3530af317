"""Volumes in files of other programs, read back by their readers; any chunking, whole or not at all."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import xarray as xr
import zarr
from volume_samples import LABELS, sample_volume, three_phases

from edxdask.errors import ParameterError, StoreExistsError
from edxdask.io.export import ome_zarr_volume
from edxdask.io.export.volume_stack import stack_of
from edxdask.report.export import export

SLABS = {"z": 24, "y": 6, "x": 28}


@pytest.fixture(params=[None, SLABS, {"z": 7, "y": 20, "x": 9}], ids=["whole", "slabs", "blocks"])
def volume(request):
    return sample_volume(chunks=request.param)


def read_mrc(path):
    """Read values and header words of an MRC file by the letter of MRC2014."""
    raw = path.read_bytes()
    nx, ny, nz, mode = struct.unpack("<4i", raw[:16])
    assert mode == 2
    assert raw[208:216] == b"MAP DD\x00\x00"
    assert struct.unpack("<i", raw[108:112]) == (20141,)
    values = np.frombuffer(raw[1024:], "<f4").reshape(nz, ny, nx)
    cell = np.array(struct.unpack("<3f", raw[40:52]))
    return values, {
        "voxel": cell / (nx, ny, nz),
        "angles": struct.unpack("<3f", raw[52:64]),
        "order": struct.unpack("<3i", raw[64:76]),
        "low_high_mean": struct.unpack("<3f", raw[76:88]),
        "space_group": struct.unpack("<i", raw[88:92])[0],
        "origin": struct.unpack("<3f", raw[196:208]),
        "rms": struct.unpack("<f", raw[216:220])[0],
        "labels": raw[224 : 224 + 80 * struct.unpack("<i", raw[220:224])[0]].decode(),
    }


def test_mrc_holds_each_phase_with_its_size_in_angstrom(tmp_path, volume):
    paths = export(volume, tmp_path / "vol.mrc", progress=False)
    assert [path.name for path in paths] == [f"vol_{label}.mrc" for label in LABELS]
    for path, one in zip(paths, volume.volume.values, strict=True):
        values, header = read_mrc(path)
        assert np.array_equal(values, one)
        assert header["voxel"] == pytest.approx([20.0] * 3)
        assert header["angles"] == (90.0, 90.0, 90.0)
        assert header["order"] == (1, 2, 3)
        assert header["space_group"] == 1
        assert header["origin"] == pytest.approx((0.0, 0.0, -230.0))
        assert header["low_high_mean"] == pytest.approx((one.min(), one.max(), one.mean()), rel=1e-5)
        assert header["rms"] == pytest.approx(one.std(), rel=1e-4)
    assert "Brg" in read_mrc(paths[0])[1]["labels"]
    assert "three spheres" in read_mrc(paths[0])[1]["labels"]


def test_mrcfile_reads_it_and_finds_nothing_wrong(tmp_path, volume):
    mrcfile = pytest.importorskip("mrcfile", reason="pip install mrcfile: an independent reader")
    path = export(volume.isel(phase=[1]), tmp_path / "one.mrc", progress=False)
    assert path.name == "one.mrc"
    assert mrcfile.validate(path)
    with mrcfile.open(path) as file:
        assert file.is_volume()
        assert np.array_equal(file.data, volume.volume.values[1])
        assert float(file.voxel_size.x) == pytest.approx(20.0)


def test_without_calibration_a_voxel_has_a_side_of_one(tmp_path):
    paths = export(sample_volume(step=None), tmp_path / "vol.mrc", progress=False)
    assert read_mrc(paths[0])[1]["voxel"] == pytest.approx([1.0] * 3)


def test_half_precision_and_photons_are_written_as_single(tmp_path):
    counts = sample_volume(30 * three_phases(), kind="photons", chunks=SLABS)
    counts = counts.assign(volume=counts.volume.astype(np.float16))
    values, header = read_mrc(export(counts, tmp_path / "n.mrc", progress=False)[0])
    assert np.array_equal(values, counts.volume.values[0].astype(np.float32))
    assert header["low_high_mean"][1] == pytest.approx(30.0)


def test_ome_tiff_has_a_channel_for_each_phase_and_sections_along_z(tmp_path, volume):
    tifffile = pytest.importorskip("tifffile")
    path = export(volume, tmp_path / "vol.ome.tiff", progress=False)
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == "CZYX"
        assert np.array_equal(file.asarray(), volume.volume.values)
        xml = file.ome_metadata
    assert 'PhysicalSizeZ="2.0"' in xml
    assert 'PhysicalSizeZUnit="nm"' in xml
    assert all(f'Name="{label}"' in xml for label in LABELS)
    assert list(tmp_path.iterdir()) == [path]


def test_large_sections_of_ome_tiff_have_levels_of_half_size(tmp_path):
    """As maps have them: means of 2 × 2 voxels of each section, all sections of all phases."""
    tifffile = pytest.importorskip("tifffile")
    values = np.random.default_rng(0).random((2, 3, 20, 600), dtype=np.float32)
    made = sample_volume(values, labels=LABELS[:2])
    path = export(made, tmp_path / "vol.ome.tiff", progress=False)
    with tifffile.TiffFile(path) as file:
        (series,) = file.series
        shapes = [level.shape for level in series.levels]
        first, second, third = (level.asarray() for level in series.levels)
    assert shapes == [(2, 3, 20, 600), (2, 3, 10, 300), (2, 3, 5, 150)]
    np.testing.assert_array_equal(first, values)
    means = values.reshape(2, 3, 10, 2, 300, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(second, means, rtol=1e-6)
    np.testing.assert_allclose(third, means.reshape(2, 3, 5, 2, 150, 2).mean(axis=(3, 5)), rtol=1e-6)
    assert list(tmp_path.iterdir()) == [path]


def test_ome_zarr_has_the_voxels_scale_and_colours(tmp_path, volume):
    path = export(volume, tmp_path / "vol.ome.zarr", progress=False)
    group = zarr.open_group(path, mode="r")
    assert np.array_equal(group["0"][:], volume.volume.values)
    ome = group.attrs["ome"]
    scale = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]
    assert scale == {"type": "scale", "scale": [1.0, 2.0, 2.0, 2.0]}
    assert [axis["name"] for axis in ome["multiscales"][0]["axes"]] == ["c", "z", "y", "x"]
    assert [c["label"] for c in ome["omero"]["channels"]] == list(LABELS)
    assert ome["omero"]["channels"][0]["color"] == "0072B2"
    assert json.loads((path / "zarr.json").read_text())["zarr_format"] == 3


@pytest.mark.parametrize("chunks", [None, SLABS])
def test_levels_of_ome_zarr_are_means_of_blocks(tmp_path, monkeypatch, chunks):
    monkeypatch.setattr(ome_zarr_volume, "SMALLEST", 8)
    monkeypatch.setattr(ome_zarr_volume, "CHUNK", 5)
    volume = sample_volume(chunks=chunks)
    path = export(volume, tmp_path / "vol.ome.zarr", progress=False)
    group = zarr.open_group(path, mode="r")
    assert [group[str(i)].shape for i in range(3)] == [(3, 24, 20, 28), (3, 12, 10, 14), (3, 6, 5, 7)]
    blocks = volume.volume.values.reshape(3, 12, 2, 10, 2, 14, 2).mean(axis=(2, 4, 6))
    assert np.allclose(group["1"][:], blocks, atol=1e-6)
    shift = group.attrs["ome"]["multiscales"][0]["datasets"][1]["coordinateTransformations"][1]
    assert shift["translation"] == [0.0, -22.0, 1.0, 1.0]


def test_atoms_and_single_volumes_are_written_too(tmp_path):
    volume = sample_volume(chunks=SLABS)
    atoms = volume.edx.atoms(densities=dict.fromkeys(LABELS, 4.0))
    paths = export(atoms, tmp_path / "atoms.mrc", progress=False)
    assert [path.name for path in paths] == ["atoms_Mg.mrc", "atoms_Si.mrc", "atoms_O.mrc"]
    assert np.allclose(read_mrc(paths[2])[0], atoms.sel(element="O"))
    haadf = xr.DataArray(np.ones((3, 4, 5), np.float32), dims=("z", "y", "x"), name="haadf")
    assert read_mrc(export(haadf, tmp_path / "haadf.mrc", progress=False))[0].shape == (3, 4, 5)


@pytest.mark.parametrize("suffix", ["mrc", "ome.tiff", "ome.zarr"])
def test_a_volume_that_cannot_be_read_leaves_no_file(tmp_path, suffix):
    volume = sample_volume(chunks=SLABS)

    def broken(block, block_info=None):
        if block_info and block_info[0]["chunk-location"][2] == 2:
            raise OSError(5, "the disk broke")
        return block

    lazy = volume.volume.data.map_blocks(broken, dtype=np.float32, meta=np.empty((0,) * 4, np.float32))
    with pytest.raises(Exception, match="disk broke"):
        export(volume.assign(volume=(volume.volume.dims, lazy)), tmp_path / f"a.{suffix}", progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["mrc", "ome.tiff", "ome.zarr"])
def test_existing_files_are_kept_unless_overwrite_is_given(tmp_path, suffix):
    volume = sample_volume()
    export(volume, tmp_path / f"a.{suffix}", progress=False)
    with pytest.raises(StoreExistsError):
        export(volume, tmp_path / f"a.{suffix}", progress=False)
    export(volume, tmp_path / f"a.{suffix}", overwrite=True, progress=False)


def test_progress_counts_voxels_to_the_end(tmp_path):
    seen = []
    export(sample_volume(chunks=SLABS), tmp_path / "a.ome.zarr", progress=seen.append)
    assert seen[-1].done == seen[-1].total == 3 * 24 * 20 * 28


def test_other_suffixes_are_refused_with_those_that_work(tmp_path):
    with pytest.raises(ParameterError, match=r"\.mrc, \.ome\.tiff, \.ome\.zarr"):
        export(sample_volume(), tmp_path / "a.hspy")
    with pytest.raises(ParameterError, match="for volumes over z, y and x"):
        export(sample_volume().volume, tmp_path / "a.csv")
    with pytest.raises(ParameterError, match="over z, y and x"):
        stack_of(sample_volume().volume.isel(x=0))


def test_tables_and_spectra_of_a_volume_are_written(tmp_path):
    volume = sample_volume()
    found = json.loads(export(volume, tmp_path / "a.json").read_text())
    assert [row["of"] for row in found["phases"]] == list(LABELS)
    assert found["phases"][1]["particles"] == 2
    lines = export(volume, tmp_path / "a.csv").read_text().splitlines()
    assert lines[0].startswith("of,particle,volume_nm3")
    assert len(lines) == 1 + len(found["particles"]) == 5
    assert "% of object" in export(volume, tmp_path / "a.txt").read_text()
    with pytest.raises(StoreExistsError):
        export(volume, tmp_path / "a.csv")
    assert [p.name for p in export(volume, tmp_path / "a.msa")] == [f"a_{n}.msa" for n in LABELS]
