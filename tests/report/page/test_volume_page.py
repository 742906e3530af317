"""The report of a volume: its sentences, pictures and tables."""

from __future__ import annotations

import html
import re
import shlex

import numpy as np
import pytest
from volume_samples import ball, sample_volume, three_phases

import edxdask
from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.report import rendered
from edxdask.report.page.evidence import Origin
from edxdask.report.page.steps import steps_of
from edxdask.report.page.volume import gather_volume
from edxdask.report.page.volume_done import volume_methods
from edxdask.report.page.volume_verdict import volume_concerns, volume_verdict


@pytest.fixture(autouse=True, scope="module")
def small_pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendered, "PIXELS", 100)
        yield


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "volume.html"
    return edxdask.report(sample_volume(three_phases((36, 30, 42))), path, progress=False).read_text("utf-8")


def evidence_of(volume):
    return gather_volume(volume, Origin())


def test_the_page_has_all_sections_and_needs_no_network(page):
    ids = re.findall(r'<section id="section-(\w+)"', page)
    assert ids == ["verdict", "phases", "particles", "spectra", "tilts", "done"]
    assert not re.search(r'(src|href)="https?:', page)
    assert page.count("<svg") >= 5


def test_the_verdict_names_what_was_found_and_which_tilts_do_not_fit(page):
    (verdict,) = re.findall(r'class="verdict-text (\w+)">([^<]*)<', page)
    assert verdict[0] == "warning"
    assert "the tilts -50° and 30° do not fit" in verdict[1]
    assert re.search(r"Three phases fill [\d\u202f]+ nm³: Brg \(\d", verdict[1])
    assert "from 8 tilts of -70° to 70°" in verdict[1]


def test_tables_hold_particles_compositions_and_tilts(page):
    text = re.sub(r"<[^>]+>", " ", page)
    assert re.search(r"Fp 2\s+[\d.]+", text)
    assert "Compositions" in text
    assert "its chi-squared is 4.2 times that of the others" in text


def test_a_good_volume_has_no_concern():
    volume = sample_volume(three_phases((36, 30, 42)))
    good = volume.assign({schema.TILT_FITS: volume.tilt_fits | True})
    assert volume_concerns(evidence_of(good)) == []
    first = volume_verdict(evidence_of(good)).blocks[0]
    assert first.tone == "good"
    assert "explains every tilt" in first.text


def test_what_the_data_do_not_support_is_said():
    volume = sample_volume(0.4 * three_phases()).assign_attrs(
        {schema.VOLUME_CONVERGED: 0, schema.WARNINGS: ["the field cuts the object"]}
    )
    few = volume.isel(tilt=slice(2, 5))
    few = few.assign({schema.TILT_PHOTONS: few.tilt_photons / 1000})
    said = "; ".join(volume_concerns(evidence_of(few)))
    for part in ("had not converged", "nowhere fill half", "span only 40°", "are few", "one warning below"):
        assert part in said


def test_an_object_that_goes_on_beyond_the_volume_is_named_but_not_along_the_axis():
    rod = ball((20, 24, 20), (9.5, 0.0, 9.5), 6.0)
    assert not any(
        "goes on" in one for one in volume_concerns(evidence_of(sample_volume(rod[None], labels="a")))
    )
    slab = ball((20, 24, 20), (9.5, 11.5, 0.0), 8.0)
    assert any(
        "along x" in one for one in volume_concerns(evidence_of(sample_volume(slab[None], labels="a")))
    )


def test_photons_without_yields_and_without_tilts_have_a_page_too(tmp_path):
    bare = sample_volume(40 * three_phases(), kind="photons", step=None)[["volume"]]
    text = edxdask.report(bare, tmp_path / "a.html", progress=False).read_text("utf-8")
    assert re.findall(r'<section id="section-(\w+)"', text) == ["verdict", "phases", "particles", "done"]
    assert "fractions are not known" in text


def test_methods_cite_what_they_name():
    text, references = volume_methods(sample_volume())
    numbers = {int(n) for n in re.findall(r"\[(\d+)\]", text)}
    assert numbers == set(range(1, len(references) + 1))
    plain, fewer = volume_methods(sample_volume().assign_attrs({schema.VOLUME_PRIOR: "none"}))
    assert "total variation" not in plain
    assert len(fewer) == len(references) - 1


def test_counts_are_not_asked_for_beside_a_volume(tmp_path):
    cube = edxdask.simulate(shape=(8, 8), counts=20)
    with pytest.raises(ParameterError, match="volumes of phases"):
        edxdask.report(sample_volume(), tmp_path / "a.html", cube=cube)


def test_the_lines_of_the_page_make_the_volume_again(tmp_path, monkeypatch):
    """Of photons and of an image: the Python that the report prints is run, where the series is."""
    monkeypatch.chdir(tmp_path)
    tilts, known = (
        [-60.0, -30.0, 0.0, 30.0, 60.0],
        {"shape": (8, 16), "counts": 30, "seed": 1, "channels": 120},
    )
    series = edxdask.simulate("tomography", tilts=tilts, out="series.zarr", **known)
    phases = edxdask.save(series[["truth_spectrum"]].rename(truth_spectrum="spectrum").load(), "phases.zarr")
    options = {"result": phases, "strength": 0.1, "alignment": False, "max_iter": 4, "rows": (2, 6)}
    volumes = {
        "photons.zarr": edxdask.tomography(series, **options),
        "image.zarr": edxdask.image_volume(series.edx.total_map(), iterations=5),
    }
    for place, volume in volumes.items():
        edxdask.save(volume, place)
        page = edxdask.report(edxdask.open(place), f"{place}.html", progress=False)
        text = html.unescape(re.sub(r"<[^>]+>", "", page.read_text("utf-8")))
        lines = text[text.index("import edxdask") : text.index("edxdask.report(volume")]
        assert "cube = edxdask.open('series.zarr')" in lines
        done: dict[str, object] = {}
        exec(lines.replace(f"out='{place}'", "out='again.zarr'"), done)
        np.testing.assert_array_equal(done["volume"].volume.values, volume.volume.values)


@pytest.mark.parametrize(
    ("entry", "typed"),
    [
        (
            "tomography(result=…, densities={'a': 4.1, 'b': 3.9}, rows=(2, None), shadows=[(0, 60), None], "
            "tilt_axis=1.5, cap=False, absorption=True, dtype='float16')",
            "--result phases.zarr --density a:4.1 --density b:3.9 --rows 2: --shadows 0:60,none --axis 1.5 "
            "--no-cap --absorption --half",
        ),
        (
            "tomography(phases=['a', 'b'], elements=['Mg', 'O'], absent={'a': 'Mg'}, tilts_deg=[-10.0, 0.0], "
            "prior='none', alignment=False)",
            "--phases a,b --elements Mg,O --absent a:Mg --tilts -10,0 --prior none --alignment none",
        ),
        (
            "image_volume(method='sirt', depth=50.0, iterations=9, alignment=…)",
            "--image Se_La,Zn_Ka --method sirt --depth 50.0 --max-iter 9 --alignment alignment.zarr",
        ),
        ("image_volume(method='fbp', cutoff=0.5)", "--image Se_La,Zn_Ka --alignment none --method fbp"),
    ],
)
def test_steps_of_volumes_are_typed_as_the_command_line_takes_them(entry, typed, run):
    (step,) = steps_of([entry], cube="s.zarr", result="v.zarr", labels=["Se_La", "Zn_Ka"])
    *before, last = step.command.splitlines()
    assert last == f"edxdask tomo s.zarr -o v.zarr {typed}"
    aligned = ["edxdask tomo s.zarr -o alignment.zarr --align-only"]
    in_python = ["# in Python only: cutoff=0.5"]
    assert before == (aligned if "alignment=…" in entry else in_python if "cutoff" in entry else [])
    compile(step.python, "lines", "exec")
    for command in (*before, last):  # all options are there: what is missing is the store
        if command.startswith("#"):
            continue
        said = run(*shlex.split(command)[1:])
        assert said.exit_code != 0
        assert ": there is no such store" in said.stderr
