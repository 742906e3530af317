"""Results at the command line; and what a full disk, a closed stdout and an early end make of a verb."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import edxdask

COMMAND = [sys.executable, "-m", "edxdask"]


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("results")
    edxdask.simulate(shape=(12, 16), counts=60, seed=3, out=path / "map.zarr")
    assert run("nmf", path / "map.zarr", "-o", path / "nmf.zarr", "--max-iter", "15", "-q").exit_code == 0
    assert run("pca", path / "map.zarr", "-o", path / "pca.zarr", "-q").exit_code == 0
    return path


def test_info_of_a_factorization_says_phases_shares_and_iterations(run, folder):
    said = json.loads(run("info", folder / "nmf.zarr", "--json").stdout)
    ds = edxdask.open(folder / "nmf.zarr")
    photons = (ds.abundance * ds.total).sum(("y", "x")).values
    assert (said["kind"], said["method"], said["iterations"]) == (
        "result",
        "factorization",
        ds.objective.size,
    )
    np.testing.assert_allclose(list(said["phases"].values()), photons / photons.sum())
    assert said["maps"][0]["pixels"]["x"] == {"size": 16, "step": 4.0, "unit": "nm"}
    text = run("info", folder / "nmf.zarr").stdout
    for part in ("phase_0", "photons", "0.3 to 9.99 keV", "12 × 16 pixels", "nmf(phases=3"):
        assert part in text


def test_info_of_principal_components_says_their_share_of_the_variance(run, folder):
    said = json.loads(run("info", folder / "pca.zarr", "--json").stdout)
    ratio = edxdask.open(folder / "pca.zarr").explained_variance_ratio.values
    np.testing.assert_allclose(list(said["components"].values()), ratio[:3])
    assert "of the variance" in run("info", folder / "pca.zarr").stdout
    assert run("info", folder / "pca.zarr", "--png", folder / "no.png").exit_code == 2


def test_a_result_is_exported_as_maps_and_as_spectra(run, folder, tmp_path):
    import tifffile
    from rsciio.msa import file_reader

    ds = edxdask.open(folder / "nmf.zarr")
    for words in (["maps.png"], ["spectra.png", "--spectrum"], ["maps.tiff"], ["s.csv", "--spectrum"]):
        assert run("export", folder / "nmf.zarr", tmp_path / words[0], *words[1:]).exit_code == 0
    for name in ("maps.png", "spectra.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "maps.tiff"), ds.abundance.values)
    table = np.loadtxt(tmp_path / "s.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(table[:, 1:].T, ds.spectrum.values)
    said = run("export", folder / "nmf.zarr", tmp_path / "s.msa").stdout.split()
    assert said == [str(tmp_path / f"s_phase_{i}.msa") for i in range(3)]
    np.testing.assert_allclose(file_reader(said[1])[0]["data"], ds.spectrum.values[1], rtol=1e-10)
    assert run("export", folder / "pca.zarr", tmp_path / "pca.png").exit_code == 0


def test_help_keeps_the_lines_of_its_examples(run):
    for words, line in (
        ((), "info map.zarr      "),
        (("completion",), "fish:  edxdask completion fish > ~/"),
    ):
        text = run(*words, "--help").stdout
        assert "\\b" not in text
        assert any(row.strip().removeprefix("edxdask ").startswith(line.strip()) for row in text.splitlines())


def test_what_stops_a_bin_names_the_command_that_continues_it(run, folder, tmp_path, monkeypatch):
    from edxdask.cli import files
    from edxdask.io import writer

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_write_synced", full)
    monkeypatch.setattr(files.sys, "argv", ["edxdask", "bin", "map.zarr", "-o", "b.zarr", "-b", "2"])
    words = ("bin", folder / "map.zarr", "-o", tmp_path / "b.zarr", "-b", "2", "-q")
    said = run(*words).stderr
    assert "b.zarr could not be written: No space left on device" in said
    assert "then continue with: edxdask bin map.zarr -o b.zarr -b 2 --resume" in said
    monkeypatch.undo()
    assert run(*words, "--resume").exit_code == 0


def test_stdout_closed_or_full_is_one_line_and_a_failure(folder):
    code = "import os, sys; os.execv(sys.executable, [sys.executable, '-m', 'edxdask', *sys.argv[1:]])"
    words = ["info", str(folder / "map.zarr")]
    closed = subprocess.run(
        [sys.executable, "-c", f"import os; os.close(1); {code}", *words],
        stderr=subprocess.PIPE,
        text=True,
        timeout=240,
    )
    said = "edxdask: stdout: it is closed, so the result could not be printed\n"
    assert (closed.returncode, closed.stderr) == (1, said)
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=240
            )
        assert (done.returncode, done.stderr) == (1, "edxdask: output: No space left on device\n")


def test_a_shape_beyond_all_maps_is_refused_before_any_work(run, tmp_path):
    refused = run("simulate", "-o", tmp_path / "a", "--shape", "99999999x99999999")
    assert refused.exit_code == 2
    assert "which is the limit" in refused.output


def test_progress_of_a_simulation_is_called_that(run, tmp_path):
    said = run("simulate", "-o", tmp_path / "a.zarr", "--shape", "8x8").stderr
    assert "simulate a.zarr: 100 %" in said
