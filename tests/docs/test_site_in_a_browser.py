"""The site in a real browser: a search leads to the right page, no error, nothing wider than the screen."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "out" / "docs" / "html"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (SITE / "index.html").exists(), reason="no site: make docs builds it"),
]

# what a reader types: where one of the first two answers must lead
SEARCHES = {
    "trace element": "workflows/neighbouring_maps.html",
    "trace elements": "workflows/neighbouring_maps.html",
    "traces": "generated/reference/names/edxdask.traces.html",
    "bin": "generated/reference/names/edxdask.bin_cube.html",
    "memory": "memory.html",
    "install": "start.html",
    "denoise": "generated/reference/names/edxdask.reconstruct.html",
    "detection limit": "how_it_works.html",
    "cluster": "cluster.html",
    "slurm": "cluster.html",
    "hyperspy": "hyperspy.html",
    "quantify": "generated/reference/names/edxdask.quantify.html",
    "drift": "generated/reference/names/edxdask.align_frames.html",
    "k-factors": "k_factors.html",
}
PAGES = (
    "index",
    "start",
    "hyperspy",
    "methods",
    "workflows/mineral_lamella",
    "workflows/neighbouring_maps",
    "how_it_works",
    "file_layout",
    "generated/command_options",
    "generated/gallery/index",
    "generated/gallery/09_aided",
    "generated/reference/index",
    "generated/reference/names/edxdask.psnmf",
)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address():
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def answers(browser, address, words, eventually):
    """Pages that a search gives, best first."""
    browser.get(f"{address}/search.html?q={words.replace(' ', '+')}")
    done = "return document.querySelectorAll('#search-results ul.search li a').length"
    eventually(lambda: browser.execute_script(done) >= 2, seconds=30)
    links = browser.execute_script(
        "return [...document.querySelectorAll('#search-results ul.search li > a')].map(a => a.pathname)"
    )
    return [link.lstrip("/") for link in links]


@pytest.mark.parametrize(("words", "page"), SEARCHES.items())
def test_a_search_leads_to_the_right_page(browser, address, eventually, words, page):
    assert page in answers(browser, address, words, eventually)[:2]


@pytest.mark.parametrize("width", [1440, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_the_screen_and_report_no_error(browser, address, width, scheme):
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wanted = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
    for page in PAGES:
        browser.get(f"{address}/{page}.html")
        assert browser.execute_script("return document.documentElement.dataset.theme") == scheme, page
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, page
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
