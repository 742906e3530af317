"""Tilt series on the command line: simulated, ingested in the order of tilts, and described."""

from __future__ import annotations

import json

import numpy as np
import pytest

import edxdask

STAGE = "Experiments/map/metadata/Acquisition_instrument/TEM/Stage"


@pytest.fixture
def files(tmp_path):
    """Vendor files of three tilts, in no order."""
    paths = []
    for name, tilt in (("c", 0.0), ("a", 30.0), ("b", -30.0)):
        counts = np.random.default_rng(len(paths)).poisson(0.5, (4, 5, 12)).astype(np.uint16)
        cube = edxdask.from_array(counts, energy_offset=0.1, energy_scale=0.02, pixel_size=2.0)
        path = tmp_path / f"{name}.hspy"
        edxdask.export(cube.assign_attrs(tilt_alpha_deg=tilt), path)
        paths.append(path)
    return paths


def test_a_series_is_simulated_and_described_with_its_tilts(run, tmp_path):
    out = tmp_path / "series.zarr"
    options = ("--shape", "12x18x16", "--tilts", "-60:60:30", "--counts", "20", "--channels", "40")
    acquired = ("--misaligned", "--shadows", "--dose-drift", "-0.2")
    made = run("simulate", "tomography", "-o", out, *options, *acquired)
    assert made.exit_code == 0, made.stderr
    assert "5 tilts, -60° to 60° in steps of 30°" in made.stdout
    series = edxdask.open(out)
    assert series.counts.shape == (5, 18, 16, 40)
    assert series.truth_volume.shape == (3, 12, 18, 16)
    assert (series.truth_rotation == 1).all()
    assert float(series.truth_exposure[-1] / series.truth_exposure[0]) == pytest.approx(0.8 * 0.5)
    shown = run("info", out)
    per_tilt = series.counts.sum(("y", "x", "energy")).values
    assert f"{per_tilt.min()} to {per_tilt.max() / 1000:.3g} k photons" in shown.stdout
    found = json.loads(run("info", out, "--json").stdout)
    assert found["maps"][0]["tilts"] == {"tilt_deg": [-60, -30, 0, 30, 60], "photons": per_tilt.tolist()}


def test_tilts_without_photons_are_named(run, tmp_path):
    out = tmp_path / "series.zarr"
    edxdask.simulate(
        "tomography", shape=(8, 12), counts=20, tilts=[-30, 0, 30], dose_drift=[1, 0, 1], channels=40, out=out
    )
    assert "nearly no photons at 0°" in run("info", out).stdout


def test_files_are_ingested_in_the_order_of_tilts_and_shown_as_a_series(run, files, tmp_path):
    out = tmp_path / "series.zarr"
    made = run("ingest", *files, "-o", out, "--tilts", "auto")
    assert made.exit_code == 0, made.stderr
    assert "3 tilts, -30° to 30° in steps of 30°" in made.stdout
    shown = run("info", out)
    assert shown.exit_code == 0, shown.stderr
    lines = [line.split() for line in shown.stdout.splitlines()]
    rows = [words[:2] for words in lines if len(words) == 3 and words[1].endswith("°")]
    assert rows == [["00_b", "-30°"], ["01_c", "0°"], ["02_a", "30°"]]
    found = json.loads(run("info", out, "--json").stdout)
    assert found["tilts"]["names"] == ["00_b", "01_c", "02_a"]
    assert found["tilts"]["photons"] == [each["photons"] for each in found["maps"]]


def test_tilts_can_be_given_in_the_order_of_the_files(run, files, tmp_path):
    made = run("ingest", *files, "-o", tmp_path / "s.zarr", "--tilts", "10,20,30")
    assert made.exit_code == 0, made.stderr
    tilts = edxdask.collect_tilts(tmp_path / "s.zarr")
    assert tilts.tilt_map.values.tolist() == ["00_c", "01_a", "02_b"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--tilts", "1:2"), "as in -70:70:5"),
        (("--tilts", "10,10,20"), "each tilt once"),
        (("--tilts", "0:10:10"), "3 numbers"),
    ],
)
def test_tilts_that_are_no_series_are_refused_in_words_of_the_command(run, files, tmp_path, words, says):
    done = run("ingest", *files, "-o", tmp_path / "s.zarr", *words)
    assert done.exit_code == 2
    assert says in done.stderr
    assert "tilts_deg" not in done.stderr


def test_options_of_a_series_are_refused_for_maps(run, tmp_path):
    done = run("simulate", "mantle", "-o", tmp_path / "m.zarr", "--shape", "8x8", "--misaligned")
    assert done.exit_code == 2
    assert "--misaligned: expected nothing for a map" in done.stderr
    done = run("simulate", "mantle", "-o", tmp_path / "m.zarr", "--shape", "8x8x8")
    assert done.exit_code == 2
