"""Verbs on a stored volume: info, report, export, score."""

from __future__ import annotations

import json

import pytest
from volume_samples import LABELS, sample_volume, three_phases

import edxdask
from edxdask.report import rendered


@pytest.fixture(autouse=True, scope="module")
def small_pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendered, "PIXELS", 100)
        yield


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("volumes") / "volume.zarr"
    edxdask.save(sample_volume(three_phases((36, 30, 42))), path, progress=False)
    return path


def test_info_says_voxels_phases_and_tilts(run, stored):
    said = run("info", stored)
    assert said.exit_code == 0
    assert "36 × 30 × 42 (z, y, x), 2 nm each" in said.stdout
    assert all(label in said.stdout for label in LABELS)
    assert "-50°" in said.stdout
    found = json.loads(run("info", stored, "--json").stdout)
    assert found["voxels"] == {"z": 36, "y": 30, "x": 42}
    assert found["do_not_fit"][0]["tilt_deg"] == -50.0


def test_report_writes_a_page(run, stored, tmp_path):
    said = run("report", stored, "-o", tmp_path / "a.html")
    assert said.exit_code == 0, said.stderr
    assert "Three phases fill" in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert f"edxdask report {stored}" in (tmp_path / "a.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["a.mrc", "a.ome.tiff", "a.ome.zarr", "a.csv", "a.png"])
def test_export_writes_what_the_suffix_says(run, stored, tmp_path, name):
    said = run("export", stored, tmp_path / name, "--json")
    assert said.exit_code == 0, said.stderr
    found = json.loads(said.stdout)
    files = found.get("files", [found])
    assert len(files) == (3 if name == "a.mrc" else 1)
    assert all(one["bytes"] > 100 for one in files)


def test_export_draws_the_figure_that_is_asked_for(run, stored, tmp_path):
    assert run("export", stored, tmp_path / "t.png", "--figure", "tilts").exit_code == 0
    refused = run("export", stored, tmp_path / "m.png", "--figure", "masks")
    assert refused.exit_code == 2
    assert "slices or rendered or sizes or tilts" in refused.stderr
    assert run("export", stored, tmp_path / "a.hspy").exit_code == 2


def test_score_compares_with_another_volume(run, stored):
    said = run("score", stored, stored)
    assert said.exit_code == 0
    assert "RMSE of all phases 0.0000" in said.stdout
    assert json.loads(run("score", stored, stored, "--json").stdout)["dice"] == [1.0, 1.0, 1.0]
