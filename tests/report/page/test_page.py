"""The report: its order, its verdict, what it refuses, and that nothing in it comes from outside."""

from __future__ import annotations

import hashlib
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.errors import MissingDependencyError, ParameterError, StoreExistsError
from edxdask.report.page.steps import steps_of
from edxdask.report.unlisted_names import names_of_unlisted

ORDER = ["verdict", "phases", "spectra", "composition", "goodness", "lines", "measured", "done"]
TIME = re.compile(r"<time datetime=.*?</time>")
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script> $\\frac{ \"'&"


class Page(HTMLParser):
    """Sections, tags, attributes and visible text of a page."""

    def __init__(self, text):
        super().__init__()
        self.sections, self.tags, self.attributes, self.text = [], [], [], []
        self._hidden = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        found = dict(attrs)
        if tag == "section":
            self.sections.append(found["class"])
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag):
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._hidden:
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def report_of(data, tmp_path, **options):
    return edxdask.report(data, tmp_path / "report.html", overwrite=True, **options).read_text(
        encoding="utf-8"
    )


def test_the_report_of_a_mosaic_counts_all_photons_and_draws_its_placement(tmp_path):
    film = edxdask.simulate(shape=(32, 56), counts=60, seed=1).load()
    film["haadf"] = film.truth_abundance.sel(phase="Brg") + 1
    maps = {name: film[["counts", "haadf"]].isel(x=slice(a, a + 32)) for name, a in (("a", 0), ("b", 24))}
    whole = edxdask.mosaic(edxdask.collect(maps))
    page = Page(report_of(whole, tmp_path))
    photons = int(sum(one.counts.sum() for one in maps.values()))
    assert f"{photons / 1000:.3g} k photons" in page.words
    assert "figures.placement(cube)" in page.words


def test_the_sections_stand_in_the_promised_order(page):
    assert Page(page).sections == ORDER


def test_compositions_have_errors_snr_and_limits(page):
    words = Page(page).words
    assert "element line at.% wt.% counts SNR LOD, at.%" in words
    assert re.search(r"Mg Mg Kα [\d.]+ ± [\d.]+ [\d.]+ ± [\d.]+ \d+ [\d.]+ [\d.]+", words)
    assert "Brg / Fp Fe / Mg" in words


def test_the_page_asks_nothing_of_a_network(page):
    parsed = Page(page)
    outside = [
        a for a in parsed.attributes if re.match(r"(https?:)?//", a[2]) and not a[1].startswith("xmlns")
    ]
    assert outside == []
    assert {"link", "img", "iframe", "object"} & set(parsed.tags) <= {"link"}
    policy = next(
        value for _, name, value in parsed.attributes if name == "content" and "default-src" in value
    )
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_every_picture_is_there_without_scripts_and_says_what_it_shows(page):
    parsed = Page(page)
    labels = [value for tag, name, value in parsed.attributes if name == "aria-label" and tag == "div"]
    assert parsed.tags.count("svg") == parsed.tags.count("figure") > 15
    assert all(labels)


def test_no_id_occurs_twice(page):
    ids = [value for _, name, value in Page(page).attributes if name == "id"]
    assert len(ids) == len(set(ids))


@pytest.mark.slow
def test_a_second_build_is_equal_but_for_its_date(cube, quantified, page, tmp_path):
    again = report_of(quantified, tmp_path, cube=cube)
    first, second = (hashlib.sha256(TIME.sub("", text).encode()).hexdigest() for text in (page, again))
    assert len(TIME.findall(page)) == 1
    assert first == second


def test_without_warnings_the_verdict_says_what_was_found_and_that_only_noise_is_left(page):
    text = re.search(r'class="verdict-text good">(.*?)</p>', page)[1]
    assert text.startswith("Three phases explain the ")
    assert "only the noise of the counts (χ² per degree of freedom 0." in text or "freedom 1.0" in text
    assert text.count(". ") == 1  # two sentences


def test_warnings_come_first_and_name_what_nobody_listed(small_cube, small_exact, tmp_path):
    said = "Fe: not listed, but Fe_Ka at 6.40 keV is there (61380 counts, 284 sigma). Add it to elements"
    warned = small_exact.assign_attrs(warnings=[said, "something else"], solutions=2)
    text = report_of(warned, tmp_path, cube=small_cube)
    verdict = re.search(r'class="verdict-text warning">(.*?)</p>', text)[1]
    assert verdict.startswith(
        "Look before you rely on this: the counts hold lines of Fe, which nobody listed"
    )
    assert "two sets of spectra explain the counts equally well" in verdict
    assert verdict.index("Look") < verdict.index("Three phases")
    assert "61380 counts" in Page(text).words


@pytest.mark.slow
def test_wrong_elements_are_the_first_thing_that_a_guided_report_says(tmp_path):
    cube = edxdask.simulate(shape=(48, 48), counts=150, seed=3)
    wrong = edxdask.psnmf(cube, phases=2, elements=["Mg", "Si", "Zn"], bin=6, smooth=1.0)
    text = report_of(wrong, tmp_path, cube=cube)
    verdict = re.search(r'class="verdict-text warning">(.*?)</p>', text)[1]
    assert verdict.startswith("Look before you rely on this: the counts hold lines of O, Fe, Ca, ")
    assert "which nobody listed" in verdict
    shown = 100 * float(wrong.composition.sel(phase="phase_0", element="Mg"))
    found = re.search(r"phase_0 element line at.% .*? Mg Mg Kα ([\d.]+) ±", Page(text).words)
    assert abs(float(found[1]) - shown) < 0.1  # of the guided fit, not of a fit of one spectrum


def test_hostile_names_are_text(small_cube, small_exact, tmp_path):
    hostile = small_exact.assign_attrs(title=HOSTILE, warnings=[HOSTILE]).assign_coords(
        phase=[HOSTILE, "b</svg><script>alert(3)</script>", "{{ 7 * 7 }}"]
    )
    mine = small_cube.assign(haadf=(("y", "x"), np.ones((24, 24)) + np.eye(24))).rename(
        {"haadf": HOSTILE[:20]}
    )
    text = report_of(hostile, tmp_path, cube=mine)
    parsed = Page(text)
    assert "img" not in parsed.tags
    assert parsed.tags.count("script") == 2
    assert not [a for a in parsed.attributes if a[1].startswith("on")]
    assert "alert(3)" in parsed.words  # as text
    assert "{{ 7 * 7 }}" in parsed.words
    assert "<script>alert" not in text


def test_a_cube_alone_has_its_elements_line_maps_and_sum(cube, tmp_path):
    parsed = Page(report_of(cube, tmp_path))
    assert parsed.sections == ["verdict", "goodness", "lines", "measured", "done"]
    assert "their sum shows" in parsed.words
    assert "edxdask simulate mantle" in parsed.words


def test_a_result_without_its_counts_says_what_is_missing(small_exact, tmp_path):
    parsed = Page(report_of(small_exact, tmp_path))
    assert "lines" not in parsed.sections
    assert "Residuals need the counts" in parsed.words
    assert "No composition is known" in parsed.words


def test_a_collection_has_the_maps_of_each_of_its_maps(small_cube, small_exact, tmp_path):
    tree = edxdask.collect({"left": small_cube, "right": small_cube.isel(x=slice(0, 12))})
    shared = small_exact[["spectrum"]].drop_vars(["y", "x"], errors="ignore")
    own = small_exact.drop_vars(["spectrum", "energy"])
    results = xr.DataTree.from_dict({"/": shared, "/left": own, "/right": own.isel(x=slice(0, 12))})
    text = report_of(results, tmp_path, cube=tree)
    assert "<h3>left</h3>" in text
    assert "<h3>right</h3>" in text
    assert "two maps" in Page(text).words


def test_one_phase_makes_a_report(small_cube, small_exact, tmp_path):
    one = small_exact.isel(phase=[0])
    one = one.assign(abundance=one.abundance * 0 + 1, spectrum=one.spectrum / one.spectrum.sum("energy"))
    text = report_of(one, tmp_path, cube=small_cube)
    assert "One phase explains the" in text
    assert "more than the noise of the counts" in text  # three phases are there


def test_frames_are_summed_for_the_maps(tmp_path):
    two = edxdask.simulate(shape=(24, 24), counts=60, seed=5).load()
    frames = xr.concat([two[["counts"]], two[["counts"]]], "frame").transpose("frame", "y", "x", "energy")
    frames.attrs = two.attrs
    assert "What was measured" in report_of(frames, tmp_path)


def test_progress_is_reported_section_by_section(small_exact, tmp_path):
    events = []
    edxdask.report(small_exact, tmp_path / "r.html", progress=events.append)
    assert events[-1].done == events[-1].total == len(ORDER)


def test_what_no_report_can_be_made_of_is_refused(small_cube, small_exact, tmp_path):
    target = tmp_path / "r.html"
    with pytest.raises(ParameterError, match="expected a cube of counts, a result of a factorization"):
        edxdask.report(edxdask.pca(small_cube, components=2), target)
    with pytest.raises(ParameterError, match=r"a file that ends in \.html"):
        edxdask.report(small_cube, tmp_path / "r.pdf")
    with pytest.raises(ParameterError, match="cube='given': expected None"):
        edxdask.report(small_cube, target, cube=small_cube)
    with pytest.raises(ParameterError, match="channels"):
        edxdask.report(small_exact, target, cube=small_cube.isel(energy=slice(0, 100)))
    target.write_text("mine")
    with pytest.raises(StoreExistsError, match="overwrite"):
        edxdask.report(small_cube, target)
    assert target.read_text() == "mine"


@pytest.mark.parametrize("module", ["jinja2", "bokeh"])
def test_a_missing_package_is_one_clear_error(cube, tmp_path, monkeypatch, module):
    for name in [n for n in sys.modules if n.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edxdask\[report\]'"):
        edxdask.report(cube, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_the_history_becomes_commands_and_lines_that_run():
    history = [
        "ingested from a b.bcf by edxdask 0.1.0 (Bruker reader, detectors: sum)",
        "psnmf(phases=2, elements=Mg,Si, bin=4, smooth=1.2, absent={'Fp': ['Si', 'Ca'], 'A': 'Mg'})",
        "crop(x=0…5)\nrm -rf /",
    ]
    ingest, unmix, other = steps_of(history, cube="m.zarr", result="r.zarr", labels=["A", "Fp"])
    assert ingest.command == "edxdask ingest 'a b.bcf' -o m.zarr"
    typed = "--phases A,Fp --elements Mg,Si --bin 4 --smooth 1.2 --absent Fp:Si,Ca --absent A:Mg"
    assert unmix.command == f"edxdask psnmf m.zarr -o r.zarr {typed}"
    compile(unmix.python, "lines", "exec")
    assert "elements=['Mg', 'Si']" in unmix.python
    assert other.command == other.python == "# crop(x=0…5) rm -rf /"


def test_names_of_unlisted_lines_come_from_both_kinds_of_warnings():
    texts = [
        "Cu: not listed, but Cu_Ka at 8.04 keV is there (9 counts, 4 sigma). It has a separate column",
        "unknown at 2.24 keV: not explained by the elements listed (1300 counts, 5 sigma)",
        "quantify: Brg holds what is not listed: Ga (Ga_Ka, 9.24 keV, 17 counts), Cu (Cu_Ka, 8.04 keV, 3). "
        "The fit is bad there",
        "the film's thickness is not known",
    ]
    assert names_of_unlisted(texts) == ["Cu", "unknown at 2.24 keV", "Ga"]
