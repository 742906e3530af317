"""A lone spectrum on the command line: taken in, shown, quantified."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import edxdask

LISTED = "Mg,Si,Al,Ca,Fe,Nd,Sm,U"


def quantified(run, store, *options):
    done = run("quantify", store, "--json", *options)
    assert done.exit_code == 0, done.stderr
    return {row["element"]: row for row in json.loads(done.stdout)["rows"]}


@pytest.fixture(scope="module")
def real(data, tmp_path_factory):
    """Two real maps of mantle minerals, their sums as .msa and as .hspy files, and their sums' rows."""
    folder = tmp_path_factory.mktemp("real")
    for name in ("71GPa_left", "88GPa_crop"):
        cube = edxdask.ingest(data / f"{name}.hspy", folder / f"{name}.zarr")
        spectrum = cube.edx.sum_spectrum().compute().assign_attrs(cube.attrs)
        edxdask.export(spectrum, folder / f"{name}.msa")
        with h5py.File(data / f"{name}.hspy") as source, h5py.File(folder / f"{name}.hspy", "w") as target:
            for key, value in source.attrs.items():
                target.attrs[key] = value
            (old,) = source["Experiments"].values()
            new = target.create_group("Experiments/sum")
            new["data"] = np.asarray(old["data"][...]).sum((0, 1), dtype=np.uint64)
            new.attrs.update(old.attrs)
            source.copy(old["axis-2"], new, "axis-0")
            source.copy(old["metadata"], new, "metadata")
            source.copy(old["original_metadata"], new, "original_metadata")
    return folder


@pytest.mark.parametrize("suffix", [".msa", ".hspy"])
@pytest.mark.parametrize("name", [pytest.param("71GPa_left", marks=pytest.mark.slow), "88GPa_crop"])
def test_a_real_spectrum_is_quantified_as_the_map_it_is_the_sum_of(run, real, tmp_path, name, suffix):
    store = tmp_path / "s.zarr"
    assert run("ingest", real / f"{name}{suffix}", "-o", store).exit_code == 0
    assert edxdask.open(store).counts.shape[:2] == (1, 1)
    mine = quantified(run, store, "--elements", LISTED)
    whole = quantified(run, real / f"{name}.zarr", "--elements", LISTED)
    assert mine.keys() == whole.keys()
    for element, row in mine.items():
        assert row["composition"] == pytest.approx(whole[element]["composition"], rel=0.02, abs=1e-4)
        assert row["composition_std"] == pytest.approx(whole[element]["composition_std"], rel=0.1, abs=1e-5)


def test_a_real_spectrum_of_nanoparticles_is_quantified(run, tmp_path):
    folder = importlib.util.find_spec("exspy")
    if folder is None or folder.origin is None:
        pytest.skip("exspy, whose wheel holds the spectrum, is not installed")
    source = Path(folder.origin).parent / "data" / "EDS_TEM_FePt_nanoparticles.hspy"
    assert run("ingest", source, "-o", tmp_path / "s.zarr").exit_code == 0
    rows = quantified(run, tmp_path / "s.zarr", "--elements", "Fe,Pt,Cu,C,O", "--foreign", "Cu,C,O")
    # HyperSpy's user guide finds 15.4 at.% of iron in it, with k-factors of its own and no continuum
    assert rows["Fe"]["composition"] == pytest.approx(0.154, abs=0.02)
    assert 0 < rows["Fe"]["composition_std"] < 0.01


@pytest.mark.parametrize("name", ["bruker_nano.spx", "extracted_from_bcf.spx", "EDS_spectrum.dm3"])
def test_real_spectra_are_taken_in_and_shown(run, data, tmp_path, name):
    store = tmp_path / "s.zarr"
    assert run("ingest", data / "vendor" / name, "-o", store).exit_code == 0
    said = run("info", store, "--png", tmp_path / "a.png")
    assert said.exit_code == 0
    assert "1 × 1 pixels" in said.stdout
    assert run("export", store, tmp_path / "b.png").exit_code == 0
    assert run("export", store, tmp_path / "s.msa", "--spectrum").exit_code == 0
    for picture in ("a.png", "b.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    again = edxdask.ingest(tmp_path / "s.msa", tmp_path / "again.zarr")
    np.testing.assert_array_equal(again.counts, edxdask.open(store).counts)
    np.testing.assert_allclose(again.energy, edxdask.open(store).energy, atol=1e-9)


def test_a_spectrum_of_a_bulk_sample_is_no_thin_film(run, data, tmp_path):
    assert run("ingest", data / "vendor" / "bruker_nano.spx", "-o", tmp_path / "s.zarr").exit_code == 0
    done = run("quantify", tmp_path / "s.zarr", "--elements", "Fe,S,Cu")
    assert done.exit_code != 0
    assert "15" in done.stderr


def test_several_spectra_make_a_collection(run, data, tmp_path):
    files = [data / "vendor" / name for name in ("bruker_nano.spx", "extracted_from_bcf.spx")]
    assert run("ingest", *files, "-o", tmp_path / "s.zarr").exit_code == 0
    assert list(edxdask.open(tmp_path / "s.zarr").children) == ["bruker_nano", "extracted_from_bcf"]
