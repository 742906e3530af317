"""The command: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edxdask
from edxdask import errors
from edxdask.cli import app, files, make

COMMAND = [sys.executable, "-m", "edxdask"]


def one_line(result):
    """The error, which must be one line and no traceback."""
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "map.zarr"
    edxdask.simulate(shape=(40, 70), counts=30, seed=1, out=path)
    return path


@pytest.fixture(scope="module")
def collection(tmp_path_factory, store):
    import xarray as xr

    ds = edxdask.open(store)
    path = tmp_path_factory.mktemp("cli") / "two.zarr"
    edxdask.save(xr.DataTree.from_dict({"/left": ds.isel(x=slice(0, 30)), "/right": ds}), path)
    return path


# what it does


def test_help_names_every_verb_and_every_verb_has_help(run):
    text = run("--help").stdout
    for verb in app.VERBS:
        assert f"  {verb} " in text
        own = run(verb, "--help")
        assert own.exit_code == 0
        assert "Usage: edxdask " + verb in own.stdout


def test_the_page_on_the_command_line_lists_every_verb_and_no_other():
    page = Path(__file__).parents[2] / "docs" / "command_line.md"
    rows = [line.split("|")[1] for line in page.read_text().splitlines() if line.startswith("| `")]
    assert sorted(verb for row in rows for verb in re.findall(r"`(\w+)`", row)) == sorted(app.VERBS)


def test_version_is_that_of_the_package(run):
    assert run("--version").stdout.split() == ["edxdask", edxdask.__version__]


def test_help_starts_fast_and_loads_no_verb():
    code = "import sys; sys.argv=['edxdask','--help']\nfrom edxdask.cli import main\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += "print([m for m in ('numpy', 'xarray', 'rich', 'edxdask.io') if m in sys.modules])"
    seconds = []  # of processor time: by the clock a busy machine would decide
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert done.stdout.splitlines()[-1] == "[]"
    assert min(seconds) < 0.5


def test_simulate_writes_the_store_it_names_and_says_what_is_in_it(run, tmp_path):
    out = tmp_path / "a.zarr"
    result = run(
        "simulate", "-o", out, "--shape", "8x12", "--channels", "200", "--counts", "9", "--seed", "4", "-q"
    )
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == str(out)
    assert "8 × 12 pixels" in result.stdout
    same = edxdask.simulate(shape=(8, 12), channels=200, counts=9.0, seed=4)
    np.testing.assert_array_equal(edxdask.open(out).counts.values, same.counts.values)


def test_ingest_of_a_bruker_file_holds_what_rosettasciio_reads(run, data, tmp_path):
    from rsciio.bruker import file_reader

    source, out = data / "vendor" / "over16bit.bcf", tmp_path / "m.zarr"
    result = run("--json", "ingest", source, "-o", out)
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    expected = next(s["data"] for s in file_reader(str(source)) if s["data"].ndim == 3)
    assert said["maps"][0]["photons"] == int(expected.sum())
    np.testing.assert_array_equal(edxdask.open(out).counts.values, expected)


def test_several_files_become_a_collection(run, data, tmp_path):
    sources = [data / "vendor" / "over16bit.bcf", data / "vendor" / "16x16_12bit_packed_8bit.bcf"]
    result = run("ingest", *sources, "-o", tmp_path / "c.zarr", "--json", "--quiet")
    assert [m["name"] for m in json.loads(result.stdout)["maps"]] == ["16x16_12bit_packed_8bit", "over16bit"]


def test_info_of_a_store_is_its_truth(run, store):
    said = json.loads(run("info", store, "--json").stdout)
    (each,) = said["maps"]
    counts = edxdask.open(store).counts.values
    assert each["photons"] == counts.sum()
    assert each["counts_per_pixel"] == pytest.approx(counts.sum() / (40 * 70))
    assert each["fill"] == pytest.approx((counts > 0).mean())
    assert each["largest_count"] == counts.max()
    assert each["dense_bytes"] == counts.nbytes
    assert each["spectrum"] == counts.sum((0, 1)).tolist()
    assert each["attributes"]["beam_energy_kev"] == 200.0
    assert each["pixels"]["y"] == {"size": 40, "step": 4.0, "unit": "nm"}


def test_info_prints_a_table_with_a_spectrum_of_text(run, store):
    text = run("info", store).stdout
    for part in (
        "40 × 70 pixels (y, x), 4 nm per pixel",
        "970 channels of 10 eV",
        "200 keV",
        "Mg, Si, Al",
        "█",
        " keV",
    ):
        assert part in text


def test_info_reads_no_counts(run, store, monkeypatch):
    from edxdask.io import lazy

    def refuse(*_):
        raise AssertionError("counts were read")

    monkeypatch.setattr(lazy.StoredCounts, "__getitem__", refuse)
    assert run("info", store).exit_code == 0


def test_info_draws_the_sum_spectrum_and_does_not_replace_it_unasked(run, store, tmp_path):
    png = tmp_path / "s.png"
    assert run("info", store, "--png", png).exit_code == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    refused = run("info", store, "--png", png)
    assert refused.exit_code == 2
    assert "s.png exists" in one_line(refused)


def test_info_of_a_vendor_file_is_its_header(run, data):
    said = json.loads(run("info", data / "88GPa_crop.hspy", "--json").stdout)
    assert said["kind"] == "HyperSpy file"
    (each,) = said["maps"]
    assert each["pixels"]["x"]["size"] == 80
    assert each["channels"] == 1917
    assert each["attributes"]["elements"][0] == "Al"


def test_info_of_a_collection_describes_every_map(run, collection):
    said = json.loads(run("info", collection, "--json").stdout)
    assert [(m["name"], m["pixels"]["x"]["size"]) for m in said["maps"]] == [("left", 30), ("right", 70)]


def test_bin_sums_pixels_and_channels(run, store, tmp_path):
    out = tmp_path / "b.zarr"
    assert run("bin", store, "-o", out, "-b", "4", "--energy", "2").exit_code == 0
    counts = edxdask.open(store).counts.values[:, :68]
    expected = counts.reshape(10, 4, 17, 4, 485, 2).sum((1, 3, 5))
    np.testing.assert_array_equal(edxdask.open(out).counts.values, expected)


def test_bin_of_a_collection_bins_every_map(run, collection, tmp_path):
    out = tmp_path / "b.zarr"
    assert run("bin", collection, "-o", out, "-b", "10").exit_code == 0
    binned = edxdask.open(out)
    assert dict(binned["left"].sizes)["x"] == 3


def test_crop_keeps_pixels_by_number_and_energies_in_kev(run, store, tmp_path):
    out = tmp_path / "c.zarr"
    words = ("--energy", "0.5:5", "--y", "3:20", "--x", "60:")
    assert run("crop", store, "-o", out, *words).exit_code == 0
    kept = edxdask.open(out)
    whole = edxdask.open(store)
    np.testing.assert_array_equal(kept.counts, whole.counts.values[3:20, 60:, 20:471])
    np.testing.assert_array_equal(kept.y, whole.y[3:20])
    assert (float(kept.energy[0]), float(kept.energy[-1])) == pytest.approx((0.5, 5.0))
    assert "crop(y=12…76" in kept.attrs["history"][-1]


def test_crop_of_a_collection_crops_every_map_and_names_no_pixels_that_a_map_lacks(run, collection, tmp_path):
    out = tmp_path / "c.zarr"
    assert run("crop", collection, "-o", out, "--x", ":25", "--energy", ":2").exit_code == 0
    kept = edxdask.open(out)
    assert [(name, kept[name].sizes["x"]) for name in kept.children] == [("left", 25), ("right", 25)]
    assert float(kept["left"].energy[-1]) == pytest.approx(2.0)
    refused = run("crop", collection, "-o", tmp_path / "d.zarr", "--x", "10:60")
    assert refused.exit_code == 2
    assert "--x 10:60: expected a range within 0:30" in one_line(refused)


def test_crop_writes_chunk_by_chunk_and_never_the_whole_map(run, tmp_path, monkeypatch):
    from edxdask.io import lazy

    edxdask.simulate(shape=(200, 8), channels=100, counts=5, out=tmp_path / "m.zarr")
    read, largest = lazy.StoredCounts.__getitem__, []

    def watched(self, key):
        got = read(self, key)
        largest.append(got.shape[0])
        return got

    monkeypatch.setattr(lazy.StoredCounts, "__getitem__", watched)
    assert run("crop", tmp_path / "m.zarr", "-o", tmp_path / "c.zarr", "--y", "10:190").exit_code == 0
    assert 0 < max(largest) <= 64


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give a range to keep: --energy 0.2:20"),
        (("--y", "9:3"), "write A:B with A < B, as in 0:100"),
        (("--y", "3"), "is not a range"),
        (("--y", ":"), "is not a range"),
        (("--x", "1.5:3"), "is not a range"),
        (("--energy", "a:b"), "as in 0.2:20"),
        (("--energy", "50:60"), "--energy 50:60: expected a range that holds a centre of this axis"),
        (("--y", "0:41"), "--y 0:41: expected a range within 0:40, the size of the map"),
    ],
)
def test_a_crop_that_keeps_nothing_is_refused(run, store, tmp_path, words, said):
    refused = run("crop", store, "-o", tmp_path / "c.zarr", *words)
    assert refused.exit_code == 2
    assert said in " ".join(refused.stderr.split())
    assert not (tmp_path / "c.zarr").exists()


def test_export_writes_what_its_suffix_says(run, store, tmp_path):
    import tifffile
    from rsciio.hspy import file_reader

    ds = edxdask.open(store)
    result = run("export", store, tmp_path / "m.hspy", "-q")
    assert result.stdout.strip() == str(tmp_path / "m.hspy")
    np.testing.assert_array_equal(file_reader(str(tmp_path / "m.hspy"))[0]["data"], ds.counts.values)
    assert run("export", store, tmp_path / "mg.tiff", "--map", "Mg_Ka").exit_code == 0
    np.testing.assert_allclose(
        tifffile.imread(tmp_path / "mg.tiff"), ds.edx.line_map("Mg_Ka").values, atol=1e-4
    )
    stacked = run("export", store, tmp_path / "l.tiff", "--map", "Mg_Ka", "--map", "Fe_Ka", "--json")
    assert json.loads(stacked.stdout)["path"] == str(tmp_path / "l.tiff")
    assert tifffile.imread(tmp_path / "l.tiff").shape == (2, 40, 70)
    assert run("export", store, tmp_path / "s.msa", "--spectrum").exit_code == 0
    assert "#BEAMKV      : 200" in (tmp_path / "s.msa").read_text()


def test_export_of_a_collection_needs_the_name_of_a_map(run, collection, tmp_path):
    refused = run("export", collection, tmp_path / "m.hspy")
    assert refused.exit_code == 2
    assert "--name is missing: expected a map of the collection. It has left, right." in one_line(refused)
    one, target = shlex.quote(f"{collection}/left"), shlex.quote(str(tmp_path / "m.hspy"))
    assert one_line(refused).endswith(f"For one of them: edxdask export {one} {target}")
    assert run("export", collection, tmp_path / "m.csv", "--name", "left", "-q").exit_code == 0


@pytest.mark.parametrize("shape", [(64, 64), pytest.param(make.DEMO_SHAPE, marks=pytest.mark.slow)])
def test_demo_ends_with_the_paths_of_its_pictures_and_its_report(run, tmp_path, monkeypatch, shape):
    monkeypatch.setattr(make, "DEMO_SHAPE", shape)
    result = run("demo", "-o", tmp_path / "d", "--quiet")
    assert result.exit_code == 0
    *pictures, page = (Path(line) for line in result.stdout.splitlines()[-4:])
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)
    assert page.name == "report.html"
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert edxdask.open(tmp_path / "d" / "mantle.zarr").counts.shape == (*shape, 970)
    assert re.search(r"^O at\.%.* ± .* ± .* ± ", result.stdout, re.MULTILINE)
    found = edxdask.open(tmp_path / "d" / "phases.zarr")
    assert list(found.phase.values) == ["Brg", "Fp", "CaPv"]


@pytest.mark.slow
def test_a_second_demo_takes_the_place_of_the_first_and_names_its_files_to_programs(
    run, tmp_path, monkeypatch
):
    monkeypatch.setattr(make, "DEMO_SHAPE", (64, 64))
    for _ in range(2):
        said = json.loads(run("demo", "-o", tmp_path / "d", "--json", "--quiet").stdout)
    assert {Path(path).name for path in said.values()} == set(make.DEMO_FILES)
    assert all(Path(path).exists() for path in said.values())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(run, shell):
    text = run("completion", shell).stdout
    assert "_EDXDASK_COMPLETE" in text
    assert "edxdask" in text


def test_the_completion_script_completes_verbs():
    words = {"COMP_WORDS": "edxdask si", "COMP_CWORD": "1", "_EDXDASK_COMPLETE": "bash_complete"}
    done = subprocess.run(COMMAND, env={**os.environ, **words}, capture_output=True, text=True, timeout=240)
    assert done.stdout.split() == ["plain,simulate"]


# how it fails


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "Usage: edxdask"),
        (("dance",), 2, "No such command 'dance'"),
        (("ingest", "a.bcf"), 2, "Missing option '-o'"),
        (("ingest", "a.bcf", "-o", "b", "--frames", "5:2"), 2, "write A:B with A < B"),
        (("simulate", "-o", "x", "--shape", "12"), 2, "write rows x columns"),
        (("bin", "{store}", "-o", "{new}"), 2, "give the number of pixels or channels"),
        (
            ("export", "{store}", "{new}.tiff", "--map", "Mg_Ka", "--spectrum"),
            2,
            "either --map or --spectrum",
        ),
        (("completion", "tcsh"), 2, "'tcsh' is not one of"),
    ],
)
def test_a_wrong_call_says_how_it_is_called(run, words, code, said, store, tmp_path):
    result = run(*(w.format(store=store, new=tmp_path / "new") for w in words))
    assert result.exit_code == code
    assert said in result.output


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("info", "{new}"), 2, "there is no such store"),
        (("info", "{folder}"), 1, "is not a store"),
        (("info", "{text}"), 1, "text.bcf: its content is not that of"),
        (("ingest", "{new}.bcf", "-o", "{new}"), 2, "there is no such file"),
        (("demo", "-o", "{text}"), 2, "expected a folder; this is a file"),
        (("export", "{store}", "{new}.jpg"), 2, ".png, .pdf, .svg, for a cube"),
        (("export", "{store}", "{new}.png", "--map", "Au_Ka"), 2, "--map Au_Ka: expected a line that is"),
        (("ingest", "{text}", "-o", "{new}"), 1, "text.bcf: its content is not that of"),
        (("simulate", "granite", "-o", "{new}"), 2, "RECIPE granite: expected one of 'mantle'"),
        (("simulate", "-o", "{store}"), 2, "exists"),
        (
            ("bin", "{store}", "-o", "{new}", "-b", "0"),
            2,
            "--factor 0: expected a whole number of at least 1",
        ),
        (("bin", "{store}", "-o", "{new}", "-b", "1000"), 2, "at most the size of that dimension"),
        (("export", "{store}", "{new}.doc"), 2, "a file ending in .hspy"),
        (("export", "{store}", "{new}.tiff"), 2, "It takes maps of lines: --map Mg_Ka"),
        (("export", "{store}", "{new}.tiff", "--map", "Mg_Qa"), 2, "a Siegbahn or IUPAC name after '_'"),
        (("export", "{store}", "{new}.csv", "--name", "left"), 2, "the store holds one map only"),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(run, words, code, said, store, tmp_path):
    text = tmp_path / "text.bcf"
    text.write_text("no microscope wrote this")
    places = {"store": store, "new": tmp_path / "new", "folder": tmp_path, "text": text}
    result = run(*(w.format(**places) for w in words), "-q")
    assert result.exit_code == code
    assert said in one_line(result)
    assert result.stdout == ""
    assert not (tmp_path / "new").exists()


def test_with_v_the_traceback_comes_too(run, tmp_path):
    result = run("-v", "info", tmp_path / "no")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "there is no such store" in result.stderr.splitlines()[-1]


def test_what_nobody_expected_is_one_line_too(run, monkeypatch, store):
    def fall_over(*_):
        raise RuntimeError("a wheel\ncame off")

    monkeypatch.setattr("edxdask.cli.info.describe_store", fall_over)
    result = run("info", store)
    assert result.exit_code == 1
    assert (
        one_line(result)
        == "edxdask: RuntimeError: a wheel came off (not an error that edxdask knows; -v shows where)"
    )


def test_an_interrupt_says_how_to_go_on(run, monkeypatch, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("edxdask.public.simulate", stop)
    monkeypatch.setattr(files.sys, "argv", ["edxdask", "simulate", "-o", "my map.zarr", "--overwrite"])
    result = run("simulate", "-o", tmp_path / "a")
    assert result.exit_code == 130
    assert result.stderr.strip() == (
        "edxdask: interrupted. To resume: edxdask simulate -o 'my map.zarr' --resume"
    )


@pytest.mark.slow
def test_a_real_interrupt_keeps_what_is_done_and_resume_completes_it(run, tmp_path, eventually):
    out = tmp_path / "m.zarr"
    words = ["simulate", "-o", str(out), "--shape", "2048x64", "--channels", "2000", "--counts", "300"]
    running = subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE, text=True)
    eventually(lambda: list(tmp_path.rglob("*.npz")))
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=240)
    assert running.returncode == 130
    assert said.count("edxdask simulate") == 1  # one hint, not two
    assert "Continue with: edxdask simulate" in said or "To resume: edxdask simulate" in said
    assert not out.exists()
    assert run("info", out).exit_code == 1
    done = subprocess.run([*COMMAND, *words, "--resume", "-q"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert edxdask.open(out).counts.shape == (2048, 64, 2000)


def test_a_closed_pipe_is_silent(store):
    code = f"import sys; sys.argv=['edxdask','info',{str(store)!r},'--json']\nimport os; os.close(0)\n"
    code += "from edxdask.cli import main; main()"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=240
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_every_error_has_an_exit_code_of_the_contract():
    kinds = [getattr(errors, name) for name in errors.__all__]
    assert {kind.exit_code for kind in kinds} == {1, 2}


# progress


def test_quiet_means_no_progress(run, tmp_path):
    assert run("simulate", "-o", tmp_path / "a", "--shape", "8x8", "-q").stderr == ""
    assert "100 %" in run("simulate", "-o", tmp_path / "b", "--shape", "8x8").stderr
