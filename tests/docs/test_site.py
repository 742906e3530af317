"""The documentation site as ``make docs`` built it: whole, complete, without a need for the network."""

from __future__ import annotations

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import edxdask
from edxdask.cli.app import VERBS

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "out" / "docs" / "html"
PICTURES = {".png", ".svg", ".pdf", ".jpg", ".gif"}
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
WORKFLOWS = ("mineral_lamella", "nanoparticles", "neighbouring_maps")

needs_site = pytest.mark.skipif(not (SITE / "index.html").exists(), reason="no site: make docs builds it")


class Page(HTMLParser):
    """Links, loaded files, ids and pictures of one page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.ids = [], [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href") is not None:
            self.links.append(given["href"])
        if tag in LOADED and given.get(LOADED[tag]) and given.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(given[LOADED[tag]])


@pytest.fixture(scope="module")
def pages():
    return {path: Page(path) for path in sorted(SITE.rglob("*.html")) if "_static" not in path.parts}


def link_faults(path, page, pages):
    """Links of a page whose file or place is not there, and links elsewhere that cannot be addresses."""
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme:
            if not (parts.scheme == "https" and re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc)):
                yield link
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        ids = pages[target].ids if target in pages else {unquote(parts.fragment)}
        if not target.is_file() or (parts.fragment and unquote(parts.fragment) not in ids):
            yield link


@needs_site
def test_links_lead_to_pages_and_places_that_exist(pages):
    assert len(pages) > len(edxdask.__all__)
    faults = {path.name: list(link_faults(path, page, pages)) for path, page in pages.items()}
    # the top of a page, and what the theme's own scripts answer
    faults = {name: [x for x in found if x not in ("#", "#main-content")] for name, found in faults.items()}
    assert {name: found for name, found in faults.items() if found} == {}


def test_the_link_check_finds_what_it_is_for(tmp_path):
    (tmp_path / "b.html").write_text('<p id="here">', encoding="utf-8")
    path = tmp_path / "a.html"
    links = ["b.html#here", "b.html#there", "c.html", "https://zarr.dev", "http://x", "https://"]
    path.write_text("".join(f'<a href="{link}">x</a>' for link in links), encoding="utf-8")
    pages = {p: Page(p) for p in (path, tmp_path / "b.html")}
    assert list(link_faults(path, pages[path], pages)) == ["b.html#there", "c.html", "http://x", "https://"]


@needs_site
def test_no_page_loads_anything_from_the_network(pages):
    loaded = {source for page in pages.values() for source in page.loaded}
    assert loaded
    assert [source for source in loaded if urlsplit(source).scheme not in ("", "data")] == []
    assert not [source for source in loaded if source.startswith("//")]


@needs_site
@pytest.mark.parametrize("name", [name for name in edxdask.__all__ if not name.startswith("__")])
def test_every_public_name_has_a_page_with_an_example(name):
    page = (SITE / "generated" / "reference" / "names" / f"edxdask.{name}.html").read_text(encoding="utf-8")
    begin = re.search(rf'id="(module-)?edxdask\.{name}"', page)
    assert begin
    assert "&gt;&gt;&gt; " in page[begin.end() :]


@needs_site
def test_the_reference_lists_every_name_and_says_the_version():
    index = (SITE / "generated" / "reference" / "index.html").read_text(encoding="utf-8")
    missing = [name for name in edxdask.__all__ if f"edxdask.{name}" not in index]
    assert missing == []
    assert edxdask.__version__ in index
    assert "Further names" not in index, "a new room: give it a heading in docs/extensions/reference_pages.py"


@needs_site
def test_every_verb_has_its_options_on_a_page():
    page = Page(SITE / "generated" / "command_options.html")
    assert set(VERBS) <= page.ids


def test_the_page_on_the_command_line_lists_every_verb():
    table = [line for line in (ROOT / "docs" / "command_line.md").read_text().splitlines() if "|" in line]
    listed = {verb for line in table for verb in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert set(VERBS) <= listed


@needs_site
@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_were_run_and_show_pictures(name):
    text = (SITE / "workflows" / f"{name}.html").read_text(encoding="utf-8")
    assert text.count("<img ") >= 3
    assert "cell_output" in text
    assert "Traceback" not in text


@needs_site
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("[0-9]*.py")), ids=lambda path: path.stem)
def test_every_example_has_a_page_with_a_picture_and_no_path_of_the_machine(path):
    text = (SITE / "generated" / "gallery" / f"{path.stem}.html").read_text(encoding="utf-8")
    assert f"sphx_glr_{path.stem}_001" in text
    assert str(ROOT) not in text


@needs_site
def test_equations_are_mathml():
    page = (SITE / "how_it_works.html").read_text(encoding="utf-8")
    assert page.count("<math ") > 20
    assert "mathjax" not in page.lower()


def test_no_picture_of_the_site_is_checked_in():
    """They are made in the build; demo.png is README's, and a browser shows favicon.svg beside the title."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    listed = subprocess.run(
        ["git", "ls-files", "docs", "examples"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tracked = listed.stdout.split()
    assert "docs/conf.py" in tracked
    pictures = [name for name in tracked if Path(name).suffix in PICTURES]
    assert pictures == ["docs/demo.png", "docs/static/favicon.svg"]
