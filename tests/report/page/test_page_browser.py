"""The report in a real browser: zoom, hover and toggle; without scripts; narrow, dark and printed."""

from __future__ import annotations

import base64
import re
import time

import pytest

import edxdask

pytestmark = pytest.mark.browser
WIDTHS = (1440, 400)
# elements that reach beyond the window; what is inside a drawing is clipped by it
BEYOND = """return [...document.querySelectorAll('body *')].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width > 0 && box.right > innerWidth + 1 && !e.closest('svg');
}).map(e => e.tagName + ' ' + e.className)"""
TOOLTIPS = """const found = [];
const walk = node => { for (const e of node.querySelectorAll('*')) {
  if (e.className && String(e.className).includes('bk-Tooltip')) found.push(e);
  if (e.shadowRoot) walk(e.shadowRoot);
} };
walk(document);
return found.filter(e => getComputedStyle(e).display !== 'none').map(e => (e.shadowRoot || e).textContent)"""
RANGE = """for (const root of Bokeh.documents[0].roots()) {
  const range = root.x_range;
  if (range && root.y_scale && root.y_scale.type === 'LogScale') return [range.start, range.end];
}"""


@pytest.fixture(scope="module")
def address(cube, quantified, tmp_path_factory):
    path = tmp_path_factory.mktemp("browser") / "report.html"
    return edxdask.report(quantified, path, cube=cube).as_uri()


def show(browser, address, *, width=1440, scheme="light", scripts=True):
    """Open the page and wait until its panels are drawn."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get(address)
    if not scripts:
        return
    until(
        lambda: browser.execute_script(
            "return window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle"
        )
    )


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "the page did not answer in time"
        time.sleep(0.1)
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_reaches_beyond_the_window_and_the_console_is_silent(browser, address, width, scheme):
    show(browser, address, width=width, scheme=scheme)
    assert browser.execute_script(BEYOND) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert [e["message"] for e in browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")] == []


def test_the_dark_page_is_dark_and_its_text_light(browser, address):
    def lightness(script):
        return [int(n) for n in re.findall(r"\d+", browser.execute_script(script))[:3]]

    seen = {}
    for scheme in ("light", "dark"):
        show(browser, address, scheme=scheme)
        seen[scheme] = [
            sum(lightness(f"return getComputedStyle(document.body).{name}"))
            for name in ("backgroundColor", "color")
        ]
    assert seen["light"][0] > 700 > 200 > seen["light"][1]
    assert seen["dark"][0] < 150 < 600 < seen["dark"][1]


def test_a_box_drawn_over_a_spectrum_zooms_it(browser, address):
    action = pytest.importorskip("selenium.webdriver").ActionChains
    show(browser, address)
    low, high = browser.execute_script(RANGE)
    panel = browser.find_element("css selector", "#spectra .live > div")
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center'})", panel.find_element("xpath", "..")
    )
    shown = browser.find_element("css selector", "#spectra .live")
    action(browser).move_to_element_with_offset(shown, -150, 0).click_and_hold().move_by_offset(
        200, 60
    ).release().perform()
    until(lambda: browser.execute_script(RANGE) != [low, high])
    near, far = browser.execute_script(RANGE)
    assert low < near < far < high


def test_the_pointer_over_a_map_names_the_fractions_of_all_phases(browser, address):
    action = pytest.importorskip("selenium.webdriver").ActionChains
    show(browser, address)
    panel = browser.find_element("css selector", "#map-0-0 .live")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", panel)
    action(browser).move_to_element(panel).move_by_offset(5, 5).perform()
    (text,) = until(lambda: browser.execute_script(TOOLTIPS))
    assert all(name in text for name in ("Brg", "Fp", "CaPv"))
    fractions = [float(n) for n in re.findall(r"[01]\.\d{3}", text)]
    assert abs(sum(fractions[-3:]) - 1) < 0.01


def test_the_toggle_shows_either_map_of_each_pair_or_both(browser, address):
    show(browser, address)

    def visible():
        return [
            sum(e.is_displayed() for e in browser.find_elements("css selector", f".flicker .{kind}"))
            for kind in ("raw", "denoised")
        ]

    def press(name):
        button = browser.find_element("css selector", f'.switch [data-show="{name}"]')
        browser.execute_script("arguments[0].click()", button)

    pairs = len(browser.find_elements("css selector", ".pair"))
    assert pairs > 3
    assert visible() == [pairs, pairs]
    press("raw")
    assert visible() == [pairs, 0]
    press("denoised")
    assert visible() == [0, pairs]
    press("flicker")
    first = visible()
    until(lambda: visible() != first)
    press("both")
    assert visible() == [pairs, pairs]


def test_without_scripts_every_picture_is_seen(browser, address):
    show(browser, address, scripts=False)
    pictures = browser.find_elements("css selector", "figure .static")
    assert len(pictures) > 15
    assert all(one.is_displayed() and one.size["height"] > 40 for one in pictures)
    assert not any(one.is_displayed() for one in browser.find_elements("css selector", ".live, .switch"))


def test_it_prints_on_a4(browser, address):
    show(browser, address)
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})
    data = base64.b64decode(printed["data"])
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", data)
    assert data.startswith(b"%PDF")
    assert 4 < len(boxes) < 40
    assert all(abs(float(w) - 595) < 2 and abs(float(h) - 842) < 2 for w, h in boxes)
