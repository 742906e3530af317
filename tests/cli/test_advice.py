"""Advice in errors, typed as it stands until the work is done: no dead ends, no Python."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest

import edxdask
from edxdask.cli import app
from edxdask.cli.values import (
    AbsentElements,
    Charges,
    Elements,
    FrameRange,
    LineNames,
    Number,
    PhasesOption,
    Shape,
    Span,
)
from edxdask.cli.wording import Wording
from edxdask.errors import ParameterError

PYTHON = re.compile(
    r"\w=[\w'\"\[({]|\bds\.|edxdask\.\w+\(|\.isel|\[\.\.\.\]|\{\.\.\.\}|\bNone\b|\w+\(\.\.\.\)"
)
OPTION = re.compile(r"(--[a-z][a-z-]*)((?: [^\s;()]*[^\s,.;:?()]:?)?)")
COMMAND = re.compile(r"(?:: |with: )edxdask (.+)$")
MEANT = re.compile(r"Did you mean ([^\s?]+)")
MOST_STEPS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stores: a map, a collection, a result, and a map that says nothing about its measurement."""
    path = tmp_path_factory.mktemp("advice")
    cube = edxdask.simulate(shape=(16, 20), counts=400, seed=1, out=path / "map.zarr")
    edxdask.save(edxdask.collect({"left": cube.isel(x=slice(0, 12)), "right": cube}), path / "two.zarr")
    shifted = cube.isel(x=slice(0, 12), energy=slice(0, 900))
    edxdask.save(edxdask.collect({"left": shifted, "right": cube}), path / "axes.zarr")
    edxdask.save(cube.isel(x=slice(0, 4)), path / "old.zarr")
    edxdask.save(edxdask.nmf(cube, phases=2, max_iter=5), path / "nmf.zarr")
    unsaid = ("beam_energy_kev", "elements", "elevation_deg", "thickness_nm", "density_g_cm3")
    bare = cube.copy()
    bare.attrs = {name: value for name, value in cube.attrs.items() if name not in unsaid}
    edxdask.save(bare, path / "bare.zarr")
    edxdask.export(cube, path / "map.hspy")
    (path / "k.csv").write_text("Mg_Ka,1.0\nSi_Ka,1.1\n")
    (path / "a.png").write_text("there")
    return path


def advised(words, said):
    """Words that the error advises: a whole command, another word, or an option."""
    command = COMMAND.search(said)
    if command:
        return shlex.split(command[1])
    wrong, text = re.match(r"edxdask: (?:(.*?): expected .*?\. )?(.*)$", said, re.DOTALL).groups()
    meant = MEANT.search(text)
    if meant and wrong is None:  # a path
        return [
            meant[1] if meant[1].rpartition("/")[0] == word.rpartition("/")[0] else word for word in words
        ]
    option, given = (wrong or " ").split(" ")[:2]
    if meant:
        given = given.partition(":")[0]
        return [re.sub(rf"(^|,){re.escape(given)}(?=$|[,:])", rf"\g<1>{meant[1]}", word) for word in words]
    if wrong is None:  # what is wrong is said first, what to do after it
        text = text.partition(". ")[2] or text
    instead = re.search(r"As in (\S+)$", text)
    if instead:  # a file of the same name with another suffix
        return [instead[1] if Path(word).stem == Path(instead[1]).stem else word for word in words]
    found = OPTION.search(text)
    assert found, f"no advice in {said!r}"
    fresh = [found[1], *([] if is_flag(words[0], found[1]) else found[2].split())]
    if "expected nothing" in said:
        words = without(words, option)
    return [*without(words, fresh[0]), *fresh]


def is_flag(verb, option):
    (found,) = [one for one in app.cli.get_command(click.Context(app.cli), verb).params if option in one.opts]
    return found.is_flag


def without(words, option):
    if option not in words:
        return words
    at = words.index(option)
    value = at + 1 < len(words) and not words[at + 1].startswith("-")
    return [*words[:at], *words[at + 1 + value :]]


PROVOKED = [
    "psnmf bare.zarr -o {new} --elements Mg,Si --bin 4 --smooth 1 --max-iter 20",
    "nmf bare.zarr -o {new} --elements Mg,Si,O --beam-energy 200 --thickness 100 --max-iter 5",
    "nmf bare.zarr -o {new} --elements find --max-iter 5",
    "elements bare.zarr",
    "elements axes.zarr",
    "quantify bare.zarr",
    "quantify bare.zarr --method zeta",
    "quantify bare.zarr --beam-energy 200 --elements Mg,Si --thickness 100 --density 4",
    "quantify map.zarr --elements Mg,Xe,Zi",
    "quantify map.zarr --oxygen --elements Mg,Si,Pu",
    "quantify map.zarr --lines Mg_Kaa",
    "quantify map.zarr --table a.csv --figure a.png",
    "quantify two.zarr/lefft",
    "nmf map.zarr -o {new} --absent Fp:Si --max-iter 5",
    "psnmf map.zarr -o {new} --elements Mg,Si,O --phases Brg,Fp --absent brig:Si --bin 4 --smooth 1",
    "nmf map.zarr -o {new} --loss frobenius --elements Mg,Si --max-iter 5",
    "nmf map.zarr -o {new} --memory-limit 1MB --max-iter 5",
    "nmf map.zarr -o {new} --worker-memory 1GB --max-iter 5",
    "pca map.zarr -o map2.zarr/none/x.zarr",
    "bin nmf.zarr -o {new} -b 2",
    "crop map.zarr -o {new} --y 2:100",
    "crop map.zarr -o {new} --x 90:",
    "crop two.zarr/rigt -o {new} --x 3:",
    "score map.zarr map.zarr",
    "export two.zarr {new}.hspy",
    "export two.zarr {new}.hspy --name lef",
    "export map.zarr {new}.tiff",
    "export map.zarr {new}.doc",
    "export map.zarr {new}.tiff --map Mg_Kaa",
    "export map.zarr a.png",
    "export nmf.zarr {new}",
    "export nmf.zarr {new}.doc",
    "export nmf.zarr {new}.png --figure fit",
    "export map.zarr {new}.png --figure fit",
    "export map.zarr {new}.csv --figure maps",
    "info two.zarr --png {new}.png",
    "info nmf.zarr --png {new}.png",
    "info map.hspy --png {new}.png",
    "info map.zarr --png a.png",
    "ingest map.zarr -o {new}",
    "ingest map.hspy -o old.zarr",
    "nmf map.hspy -o {new}",
    "simulate -o old.zarr --shape 16x20 --counts 400 --seed 1",
]


@pytest.mark.parametrize("line", PROVOKED)
def test_advice_works_as_it_is_typed(run, folder, tmp_path, monkeypatch, line):
    monkeypatch.chdir(folder)
    words = [word.format(new=tmp_path / "new") for word in line.split()]
    for step in range(MOST_STEPS):
        done = run(*words, "-q")
        if done.exit_code == 0:
            assert step > 0, "nothing was wrong with it"
            return
        (said,) = [
            row for row in done.stderr.splitlines() if row.startswith("edxdask: ") and "WARNING" not in row
        ]
        assert not PYTHON.search(said.replace("map.zarr", "")), said
        if "mkdir" in said:
            assert said.endswith(f"mkdir -p {str(folder / 'map2.zarr' / 'none')!r}")
            return
        words = advised(words, said)
    pytest.fail(f"still wrong after {MOST_STEPS} steps: {words}")


def test_an_error_for_a_program_is_one_object_on_stdout(run, folder, monkeypatch):
    monkeypatch.chdir(folder)
    for words, part in (
        (["quantify", "bare.zarr", "--json"], "--beam-energy 200"),
        (["--json", "info", "nowhere.zarr"], "no such store"),
        (["info", "--json"], "Missing argument"),
        (["crop", "map.zarr", "--json", "-o", "x.zarr"], "give a range to keep"),
        (["dance", "--json"], "No such command"),
        (["info", "map.zarr", "--jsn", "--json"], "No such option"),
    ):
        done = run(*words)
        assert done.exit_code == 2
        assert list(json.loads(done.stdout)) == ["error"]
        assert part in json.loads(done.stdout)["error"]
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Elements(), ["Mg", "Si"]),
        (LineNames(), ["Mg_Ka"]),
        (Charges(), {"Fe": 3.0, "Ce": 4.0}),
        (FrameRange(), (0, 10)),
        (Span(float, "0.2:20"), (0.2, None)),
        (Span(int, "0:100"), (None, 7)),
        (Shape(), (12, 30)),
        (Number(float), 0.5),
        (Number(int), None),
        (PhasesOption(findable=True), ["Brg"]),
        (PhasesOption(findable=True), None),
        (PhasesOption(findable=False), 3),
    ],
)
def test_what_a_value_is_typed_as_means_that_value(kind, value):
    assert kind.convert(kind.typed(value), None, None) == value
    if kind.example:
        kind.convert(kind.example, None, None)


def test_absences_are_typed_each_after_the_option():
    assert AbsentElements().typed({"Fp": "Si", "CaPv": ["Mg", "Fe"]}) == "Fp:Si --absent CaPv:Mg,Fe"


def worded(verb):
    command = app.cli.get_command(click.Context(app.cli), verb)
    return Wording(command)


def test_parameters_become_options_of_the_verb_and_nothing_else_changes():
    psnmf = worded("psnmf")
    for text, expected in (
        ("Write elements=['Mg', 'Si', ...].", "Write --elements Mg,Si."),
        ("Name them: elements=[...].", "Name them: --elements Mg,Si,O."),
        ("smooth=None finds it", "--smooth auto finds it"),
        ("keep the axis (refine_axis=False)", "keep the axis (--keep-axis)"),
        ("pass overwrite=True (--overwrite)", "pass --overwrite"),
        ("bin=4, max_iter=10 and tol=1e-07", "--bin 4, --max-iter 10 and --tol 1e-07"),
        ("the max_iter of the run", "the --max-iter of the run"),
        ("ds.attrs['beam_energy_kev'] = 200.0, or beam_energy=200.0", "--beam-energy 200"),
        (
            "Set ds.attrs['density_g_cm3'], or remove 'thickness_nm'.",
            "Set --density 4.5, or remove --thickness.",
        ),
        ("as in phases=['Brg', 'Fp']", "as in --phases Brg,Fp"),
        ("k_factors={'Fe_Ka': 1.2} and a map.zarr/left=3", "k_factors={'Fe_Ka': 1.2} and a map.zarr/left=3"),
    ):
        assert psnmf.translated(text) == expected
    assert (
        psnmf.of(ParameterError("smooth", -1.0, "0, or None to find it"))
        == "--smooth -1: expected 0, or auto to find it."
    )
    assert psnmf.of(ParameterError("workers", 3, "None here")) == "--workers 3: expected nothing here."
    assert "cut=3" in psnmf.of(ParameterError("cut", 3, "less"))
    assert psnmf.of(ParameterError("bin", 3, "less")) == "--bin 3: expected less."
    assert psnmf.of(ParameterError("beam_energy", None, "it", "Python.", typed_fix="Typed.")).endswith(
        "Typed."
    )


def test_metavars_are_written_as_they_are_typed(run):
    for verb, parts in (
        ("psnmf", ("--elements Mg,Si,…|find", "--absent PHASE:Si,…", "--phases N|auto|Brg,Fp,…")),
        ("quantify", ("--lines Fe_Ka,Pt_La,…", "--foreign Mg,Si,…\n", "--beam-energy", "--elevation DEG,…")),
        ("crop", ("--energy A:B", "--y A:B")),
    ):
        text = run(verb, "--help").stdout
        for part in parts:
            assert part in re.sub(r" +\n", "\n", text.replace("   ", "\n")), part


def test_every_verb_that_takes_a_store_says_that_one_map_of_a_collection_will_do(run):
    for verb in ("info", "elements", "bin", "crop", "pca", "nmf", "psnmf", "quantify", "export"):
        assert "map.zarr/NAME" in " ".join(run(verb, "--help").stdout.split())


def test_a_map_of_a_collection_is_opened_by_its_path(run, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    said = json.loads(run("info", "two.zarr/left", "--json").stdout)
    assert said["maps"][0]["pixels"]["x"]["size"] == 12
    out = tmp_path / "left.zarr"
    assert run("crop", "two.zarr/left", "-o", out, "--y", ":4").exit_code == 0
    np.testing.assert_array_equal(
        edxdask.open(out).counts, edxdask.open("two.zarr")["left"].counts.isel(y=slice(0, 4))
    )
