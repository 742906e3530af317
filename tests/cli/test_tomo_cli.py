"""``edxdask tomo``: the table, the object for programs, errors in words of the command line, resume."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import edxdask

sys.path.insert(0, str(Path(__file__).parent.parent / "tomo"))
from small_series import made_series, result_of

QUICK = ("--alignment", "none", "--strength", "0.1", "--max-iter", "6", "-q")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tomo")
    cube, _, spectra = made_series(photons=(4.0, 6.0))
    edxdask.save(cube, path / "series.zarr")
    edxdask.save(result_of(spectra, cube), path / "phases.zarr")
    edxdask.save(cube.assign_coords(tilt=("tilt", np.arange(8.0), {"units": "1"})), path / "unknown.zarr")
    maps = {f"map_{i}": cube.isel(tilt=i, drop=True) for i in range(8)}
    for name, tilt in zip(maps, cube.tilt.values, strict=True):
        maps[name] = maps[name].assign_attrs(tilt_alpha_deg=float(tilt))
    edxdask.save(edxdask.collect(maps), path / "maps.zarr")
    return path


def test_a_volume_is_made_and_its_table_printed(run, folder, tmp_path):
    out = tmp_path / "volume.zarr"
    done = run("tomo", folder / "series.zarr", "-o", out, "--result", folder / "phases.zarr", *QUICK)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["phase_0", "phase_1"]
    assert any(line.startswith("voxels") and "24 × 20 × 24 (z, y, x), 2 nm each" in line for line in lines)
    assert any(line.startswith("tilts") and "8, -70° to 70°" in line for line in lines)
    assert any(line.startswith("do not fit") for line in lines)
    assert lines[-1] == str(out)
    assert "--max-iter 12 lets them go on" in done.stderr
    assert edxdask.open(out).volume.sizes["phase"] == 2


def test_a_collection_of_maps_of_one_tilt_each_gives_the_same_volume(run, folder, tmp_path):
    one, many = tmp_path / "one.zarr", tmp_path / "many.zarr"
    for store, out in (("series.zarr", one), ("maps.zarr", many)):
        done = run("tomo", folder / store, "-o", out, "--result", folder / "phases.zarr", *QUICK)
        assert done.exit_code == 0, done.stderr
    np.testing.assert_array_equal(edxdask.open(one).volume.values, edxdask.open(many).volume.values)


def test_programs_get_one_object(run, folder, tmp_path):
    out = tmp_path / "v.zarr"
    words = ("--result", folder / "phases.zarr", "--rows", "4:12", "--half", "--json", *QUICK)
    done = run("tomo", folder / "series.zarr", "-o", out, *words)
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["voxels"] == {"z": 24, "y": 8, "x": 24}
    assert set(found["phases"]) == {"phase_0", "phase_1"}
    assert len(found["tilt_chi2"]) == 8
    assert found["do_not_fit"] == []
    assert edxdask.open(out).volume.dtype == np.float16


@pytest.mark.parametrize(
    ("store", "words", "says"),
    [
        ("unknown.zarr", (), "the tilts in degrees, which the data do not say. Give all 8"),
        ("unknown.zarr", ("--tilts", "0:10:3"), "expected tilts in degrees, as in -70:70:5"),
        ("unknown.zarr", ("--tilts", "-10:10:10"), "--tilts -10,0,10: expected 8 numbers"),
        ("series.zarr", ("--axis", "z"), "expected y, x, or the angle of the axis"),
        ("series.zarr", ("--density", "phase_0:heavy"), "--density phase_0:heavy: expected g/cm³"),
        ("series.zarr", ("--density", "phase_0"), "expected PHASE:G/CM3"),
        ("series.zarr", ("--absorption",), "--absorption: expected densities of the phases beside it"),
        ("series.zarr", ("--shadows", "10"), "expected BEGINS:FULL|none,…, one for each detector"),
        ("series.zarr", ("--rows", "4:400"), "--rows 4:400: expected rows along the tilt axis"),
        ("series.zarr", ("--memory-limit", "1MiB"), "Set --memory-limit"),
        ("phases.zarr", (), "a store of counts, which tomo needs; this one holds a result"),
        ("nothing.zarr", (), "there is no such store"),
    ],
)
def test_errors_are_in_words_of_the_command_line(run, folder, tmp_path, store, words, says):
    out = tmp_path / "v.zarr"
    done = run("tomo", folder / store, "-o", out, "--result", folder / "phases.zarr", *QUICK, *words)
    assert done.exit_code in (1, 2)
    assert says in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())


def test_shadows_that_the_photons_contradict_are_named(run, folder, tmp_path):
    words = ("--result", folder / "phases.zarr", "--shadows", "0:60,none", *QUICK)
    done = run("tomo", folder / "series.zarr", "-o", tmp_path / "v.zarr", *words)
    assert done.exit_code == 0, done.stderr
    assert "photons differ from the shadows given by up to" in " ".join(done.output.split())


def test_a_store_that_is_there_is_left_alone(run, folder, tmp_path):
    out = tmp_path / "v.zarr"
    words = ("tomo", folder / "series.zarr", "-o", out, "--result", folder / "phases.zarr", *QUICK)
    assert run(*words).exit_code == 0
    done = run(*words)
    assert done.exit_code == 2
    assert "--overwrite" in done.stderr
    assert run(*words, "--overwrite").exit_code == 0


@pytest.fixture(scope="module")
def pictures(folder):
    """A particle whose projections moved: few photons, and an image of the annular detector beside them."""
    known = {"shape": (20, 16, 20), "tilts": np.arange(-60, 61, 20.0), "counts": 20, "channels": 120}
    series = edxdask.simulate("core-shell", seed=1, **known).load()
    moves = np.array([0, 2, -1, 1, 0, -2, 1])
    counts, image = series.counts.values.copy(), 100 * series.truth_total.values
    for tilt, move in enumerate(moves):
        counts[tilt], image[tilt] = (np.roll(one[tilt], move, axis=0) for one in (counts, image))
    cube = series[["counts"]].assign(haadf=(("tilt", "y", "x"), image.astype("f4")))
    edxdask.save(cube.assign(counts=(series.counts.dims, counts)), folder / "moved.zarr")
    edxdask.save(series[["truth_spectrum"]].rename(truth_spectrum="spectrum"), folder / "known.zarr")
    return folder / "moved.zarr", moves, series.truth_volume.sum("phase").values


def test_projections_alone_are_aligned_and_the_store_serves_others(run, pictures, folder, tmp_path):
    store, moves, _ = pictures
    out = tmp_path / "moves.zarr"
    done = run("tomo", store, "-o", out, "--align-only", "--axis", "0", "-q")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split("  ")[0] == "tilt, °"
    assert any(line.startswith("aligned on") and "haadf" in line for line in lines)
    assert any(line.startswith("tilt axis") and "near y" in line for line in lines)
    assert lines[-1] == str(out)
    found = edxdask.open(out).tilt_shift_y.values
    np.testing.assert_allclose(found - found.mean(), moves - moves.mean(), atol=0.3)
    words = ("--result", folder / "known.zarr", "--strength", "0.1", "--max-iter", "3", "-q", "--json")
    done = run("tomo", store, "-o", tmp_path / "v.zarr", "--alignment", out, *words)
    assert done.exit_code == 0, done.stderr
    np.testing.assert_allclose(edxdask.open(tmp_path / "v.zarr").tilt_shift_y, found)
    done = run("tomo", store, "-o", tmp_path / "t.zarr", "--align-only", "--image", "total", "-q", "--json")
    told = json.loads(done.stdout)
    assert told["aligned_on"] == "total"
    assert len(told["tilt_shift_y"]) == len(told["tilt_shift_y_std"]) == len(told["tilts"]) == 7


@pytest.mark.parametrize(
    ("words", "least"), [(("--max-iter", "60"), 0.9), (("--method", "fbp", "--alignment", "none"), 0.9)]
)
def test_a_volume_of_an_image_is_made(run, pictures, tmp_path, words, least):
    store, _, truth = pictures
    out = tmp_path / "haadf.zarr"
    done = run("tomo", store, "-o", out, "--image", "haadf", "--axis", "0", *words, "-q", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["voxels"] == {"z": 20, "y": 16, "x": 20}
    made = edxdask.open(out)
    assert made.phase.values.tolist() == ["haadf"]
    assert np.corrcoef(made.volume.values.ravel(), truth.ravel())[0, 1] > least


def test_volumes_of_lines_are_made_and_info_knows_them(run, folder, tmp_path):
    cube = edxdask.open(folder / "series.zarr").assign_attrs(beam_energy_kev=200.0)
    energy = 1.0 + 0.05 * np.arange(cube.sizes["energy"])
    known = {"units": "keV"}
    edxdask.save(cube.assign_coords(energy=("energy", energy, known)), tmp_path / "lines.zarr")
    out = tmp_path / "v.zarr"
    words = ("--image", "Si_Ka,K_Ka", "--alignment", "none", "--max-iter", "9", "-q")
    done = run("tomo", tmp_path / "lines.zarr", "-o", out, *words)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(out)
    assert set(edxdask.open(out).phase.values.tolist()) == {"Si_Ka", "K_Ka"}
    assert run("info", out).exit_code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--image", "haadf"), "expected an image of every tilt (the series has none), 'total' or a line"),
        (("--image", "total", "--elements", "Mg,O"), "nothing of this beside --image. Leave out --elements."),
        (("--align-only", "--method", "fbp"), "nothing of this beside --align-only. Leave out --method."),
        (("--align-only", "--density", "a:4"), "nothing of this beside --align-only. Leave out --density."),
        (("--method", "fbp"), "--method fbp: expected an image beside it. As in --image haadf."),
        (("--image", "total", "--alignment", "no.zarr"), "there is no such store"),
        (("--image", "total", "--tilts", "-10:10:10"), "--tilts -10,0,10: expected 8 numbers"),
    ],
)
def test_what_means_nothing_beside_images_is_refused(run, folder, tmp_path, words, says):
    done = run("tomo", folder / "series.zarr", "-o", tmp_path / "v.zarr", *words)
    assert done.exit_code in (1, 2)
    assert says in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())
