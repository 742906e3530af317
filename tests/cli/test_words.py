"""Words for people: tables of results, warnings, and the line that says what to do next."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading

import pytest

import edxdask
from edxdask.cli import advice, app, output
from edxdask.cli.output import WIDEST
from edxdask.report.summary import result_table

QUICK = ("--bin", "4", "--smooth", "1", "--max-iter", "10")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("words")
    cube = edxdask.simulate(shape=(32, 32), counts=150, seed=4, out=path / "map.zarr")
    guided = edxdask.psnmf(
        cube, phases=["Brg", "Fp", "CaPv"], elements=cube.attrs["elements"], bin=4, smooth=1.0, max_iter=20
    )
    edxdask.save(guided, path / "guided.zarr")
    edxdask.save(edxdask.nmf(cube, phases=2, max_iter=10), path / "nmf.zarr")
    edxdask.save(edxdask.collect({"left": cube, "right": cube.isel(x=slice(0, 16))}), path / "two.zarr")
    shifted = cube.isel(energy=slice(0, 900))
    edxdask.save(edxdask.collect({"left": shifted, "right": cube}), path / "axes.zarr")
    edxdask.save(cube.isel(y=slice(0, 2), x=slice(0, 2)), path / "few.zarr")
    edxdask.export(cube, path / "vendor.hspy")
    return path


@pytest.fixture
def typed(run, folder, monkeypatch):
    """Run a command as at a terminal; give its output and the command that it says comes next."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(advice, "at_terminal", lambda: True)

    def type_in(words):
        monkeypatch.setattr(sys, "argv", ["edxdask", *words])
        done = run(*words)
        assert done.exit_code == 0, done.stderr
        said = [line for line in done.stdout.splitlines() if line.startswith("next: edxdask ")]
        assert len(said) <= 1
        return done, shlex.split(said[0])[2:] if said else None

    before = set(folder.iterdir())
    yield type_in
    for path in set(folder.iterdir()) - before:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


# tables


def test_phases_stand_side_by_side_biggest_first_with_errors_beside_values(run, folder):
    result = edxdask.open(folder / "guided.zarr").load()
    heads, cells = result_table(result)
    photons = (result.abundance * result.total).sum(("y", "x"))
    assert heads[1:] == result.phase.values[(-photons.values).argsort()].tolist()
    amounts = {row[0]: row[1:] for row in cells}
    at = result.sel(phase=heads[1], element="O")
    value, error = amounts["O at.%"][0].split(" ± ")
    assert float(value) == pytest.approx(100 * float(at.composition), abs=float(error))
    assert float(error) == pytest.approx(100 * float(at.composition_std), rel=0.06)
    first = [row[0].split()[0] for row in cells[1:]]
    most = result.composition.max("phase")
    assert first == most.element.values[(-most.values).argsort(kind="stable")].tolist()
    lines = run("info", folder / "guided.zarr").stdout.splitlines()
    table = lines[: len(cells) + 1]
    assert max(map(len, lines)) <= WIDEST
    signs = {tuple(i for i, letter in enumerate(line) if letter == "±") for line in table[2:]}
    assert max(map(len, signs)) == 3
    assert len({places[-1] for places in signs}) == 1  # one below another


def test_where_there_is_no_composition_the_strongest_lines_name_a_phase(run, folder):
    text = run("info", folder / "nmf.zarr").stdout
    assert re.search(r"^lines +O Kα", text, re.MULTILINE)


def test_info_of_other_results_shows_their_table(run, folder, tmp_path):
    cube = edxdask.open(folder / "map.zarr")
    edxdask.save(edxdask.cluster_pixels(edxdask.pca(cube, components=2), clusters=2), tmp_path / "c.zarr")
    text = run("info", tmp_path / "c.zarr").stdout
    assert "% of the pixels" in text
    assert "cluster_1" in text


def test_phases_that_have_no_room_come_below_with_their_rows_named_again(capsys):
    heads = ["", *(f"a phase of the sample {i}" for i in range(9))]
    output.print_matrix(heads, [("photons", *(f"{i} %" for i in range(9)))])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= WIDEST
    assert [line.split("  ")[0] for line in lines if "%" in line] == ["photons"] * 3
    assert all(head in "\n".join(lines) for head in heads)


def test_a_table_in_a_file_has_no_blanks_at_its_ends_and_names_change_no_terminal(capsys):
    output.print_table([("title", "a \x1b[31mred\x07 grid"), ("x", "y")], title="map \x1b]0;me\x07")
    output.print_columns(["", "at.%"], [("Fe\x1b[2J", "1.0"), ("Fe\x1b[2J", "2.0")])
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\x07" not in said
    assert all(line == line.rstrip() for line in said.splitlines())


def test_a_warning_is_said_once_after_the_table(run, folder, tmp_path):
    done = run("psnmf", folder / "map.zarr", "-o", tmp_path / "a.zarr", "--elements", "Mg,Si,O", *QUICK, "-q")
    said = edxdask.open(tmp_path / "a.zarr").attrs["warnings"]
    assert said
    for text in said:
        assert done.stderr.count(app.Settings().worded(text)[:40]) == 1
    assert "WARNING" not in done.stderr


def test_a_warning_about_a_result_that_was_not_saved_is_still_said(run, folder, tmp_path, monkeypatch):
    from edxdask import io

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(io, "save", full)
    done = run("psnmf", folder / "map.zarr", "-o", tmp_path / "a.zarr", "--elements", "Mg,Si,O", *QUICK, "-q")
    assert done.exit_code == 1
    assert "edxdask: WARNING: " in done.stderr


# what comes next


@pytest.mark.parametrize(
    ("line", "follows"),
    [
        ("ingest vendor.hspy -o new.zarr", "psnmf new.zarr -o new-phases.zarr"),
        ("simulate -o sim.zarr --shape 16x16", "psnmf sim.zarr -o sim-phases.zarr"),
        ("bin map.zarr -b 2 -o binned.zarr", "psnmf binned.zarr -o binned-phases.zarr"),
        ("crop two.zarr -o cut.zarr --y :16", "psnmf cut.zarr -o cut-phases.zarr"),
        ("info map.zarr", "psnmf map.zarr -o map-phases.zarr"),
        ("info two.zarr/left", "psnmf two.zarr/left -o two-left-phases.zarr"),
        ("info axes.zarr", "rebin axes.zarr -o axes-rebinned.zarr"),
        ("info few.zarr", "elements few.zarr"),
        ("info vendor.hspy", "ingest vendor.hspy -o vendor.zarr"),
        ("info guided.zarr", "report guided.zarr"),
        ("elements map.zarr", "psnmf map.zarr -o map-phases.zarr --elements "),
        ("quantify guided.zarr", "quantify guided.zarr --figure guided-fits.pdf"),
        (
            "quantify guided.zarr --figure f.pdf",
            "quantify guided.zarr --figure f.pdf --table guided-table.csv",
        ),
        ("quantify guided.zarr -o q.zarr", "report q.zarr"),
        ("pca map.zarr -o pca.zarr", "export pca.zarr pca.png"),
        ("nmf map.zarr -o n.zarr --max-iter 5", "report n.zarr"),
        ("score guided.zarr map.zarr", "report guided.zarr"),
    ],
)
def test_the_next_command_works_as_it_is_typed(typed, line, follows):
    _, words = typed(shlex.split(line))
    assert " ".join(words).startswith(follows)
    quick = [*QUICK, "--overwrite"] if words[0] == "psnmf" else ["--overwrite"]
    typed([*words, *([] if words[0] in ("elements", "ingest") else quick)])


@pytest.mark.slow
def test_from_a_file_to_a_picture_by_typing_what_is_said(typed, folder):
    words, steps = ["info", "vendor.hspy"], []
    while words:
        steps.append(words[0])
        _, words = typed(words)
    assert steps[:3] == ["info", "ingest", "psnmf"]
    assert steps[-1] == "report"


@pytest.mark.parametrize(
    ("line", "example"),
    [
        ("nmf map.zarr --max-iter 5", "edxdask nmf map.zarr --max-iter 5 -o map-nmf.zarr"),
        ("ingest vendor.hspy", "edxdask ingest vendor.hspy -o vendor.zarr"),
        ("export guided.zarr", "edxdask export guided.zarr guided.png"),
        ("export map.zarr a.png --map Mg", "--map Mg_Ka"),
        ("export map.zarr a.png --map U", "--map U_La"),
        ("inggest vendor.hspy", "Did you mean ingest?"),
    ],
)
def test_what_is_missing_is_given_as_it_can_be_typed(run, typed, monkeypatch, line, example):
    monkeypatch.setattr(sys, "argv", ["edxdask", *line.split()])
    done = run(*line.split())
    assert done.exit_code == 2
    assert done.stderr.rstrip().endswith(example)
    if example.startswith("edxdask "):
        typed(shlex.split(example)[1:])


def test_a_name_that_is_taken_is_not_proposed(tmp_path):
    (tmp_path / "map-phases.zarr").mkdir()
    assert advice.beside(tmp_path / "map.zarr", "-phases.zarr") == str(tmp_path / "map-phases-2.zarr")


def test_programs_and_files_get_no_next_line(run, folder, typed, monkeypatch):
    _, words = typed(["info", "map.zarr", "--json"])
    assert words is None
    monkeypatch.setattr(advice, "at_terminal", output.at_terminal)
    assert "next:" not in run("info", folder / "map.zarr").output


def test_a_terminal_gets_the_next_line_and_at_80_columns_nothing_is_cut(folder):
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    master, slave = pty.openpty()
    seen = bytearray()

    def read():
        try:
            while piece := os.read(master, 4096):
                seen.extend(piece)
        except OSError:  # the other side is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"}
    words = [sys.executable, "-m", "edxdask", "info", "guided.zarr"]
    done = subprocess.run(words, stdout=slave, stderr=slave, cwd=folder, env=environment, timeout=120)
    os.close(slave)
    reader.join(timeout=30)
    os.close(master)
    text = re.sub(r"\x1b\[[\d;]*m", "", seen.decode()).replace("\r", "")
    assert done.returncode == 0, text
    assert "next: edxdask " in text.splitlines()[-1]
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "…" not in text
