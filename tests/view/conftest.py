"""A real browser, and what a person does with it, by the names of controls and the units of axes."""

from __future__ import annotations

import time

import pytest

import edxdask

# The latest of that name: Bokeh's script keeps those of a map that was shown before.
FIND = (
    "const named = [...Bokeh.documents[0]._all_models.values()].filter((m) => m.name == arguments[0]);"
    "const m = named.at(-1); const v = Bokeh.index.find_one(m);"
)


class Page:
    """A page in a browser."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, url):
        self.driver.get(url)
        self.until(lambda: self.js("return Bokeh?.documents?.[0]?.is_idle ?? false"))
        return self

    def js(self, code, *values):
        return self.driver.execute_script(code, *values)

    def until(self, condition, seconds=25.0):
        end = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except Exception:
                if time.monotonic() > end:
                    raise
            assert time.monotonic() < end, self.text
            time.sleep(0.05)

    def value(self, name, attribute="value"):
        return self.js(f"{FIND} return m[arguments[1]]", name, attribute)

    def inside(self, name, selector):
        """Element within a control."""
        return self.js(f"{FIND} return v.shadow_el.querySelector(arguments[1])", name, selector)

    def choose(self, name, text):
        from selenium.webdriver.support.ui import Select

        Select(self.inside(name, "select")).select_by_visible_text(text)

    def type(self, name, text):
        field = self.inside(name, "input")
        field.clear()
        field.send_keys(text + "\n")

    def click(self, name):
        self.inside(name, "button").click()

    def place(self, name, x, y):
        """Pixel of the window where a figure has these coordinates."""
        return self.js(
            f"{FIND} const box = v.canvas_view.el.getBoundingClientRect(); const f = v.frame;"
            "return [box.x + f.x_scale.compute(arguments[1]), box.y + f.y_scale.compute(arguments[2])]",
            name, x, y,
        )  # fmt: skip

    def click_at(self, name, x, y):
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.actions.action_builder import ActionBuilder

        at = [round(n) for n in self.place(name, x, y)]
        actions = ActionBuilder(self.driver)
        actions.pointer_action.move_to_location(*at).click()
        actions.perform()
        ActionChains(self.driver).pause(0.05).perform()

    def drag(self, name, *points):
        """Press at the first point (x, y), move along the others, release."""
        from selenium.webdriver.common.actions.action_builder import ActionBuilder

        places = [[round(n) for n in self.place(name, *point)] for point in points]
        actions = ActionBuilder(self.driver, duration=40)
        pointer = actions.pointer_action.move_to_location(*places[0]).pointer_down()
        for place in places[1:]:
            pointer.move_to_location(*place)
        pointer.pointer_up()
        actions.perform()

    def tool(self, name, kind):
        """Make a tool of a figure the one that dragging uses, by a click on its button."""
        self.js(f"{FIND} v.model.toolbar.tools.find((t) => t.type == arguments[1]).active = true", name, kind)

    @property
    def text(self):
        return self.js(
            "const all = (node) => [...node.childNodes].map((n) => n.nodeType == 3 ? n.textContent : "
            "['STYLE', 'SCRIPT'].includes(n.nodeName) ? '' : all(n.shadowRoot ?? n)).join(' ');"
            "return all(document.body)"
        )

    def errors(self):
        """What the browser's console calls an error."""
        return [line for line in self.driver.get_log("browser") if line["level"] == "SEVERE"]


@pytest.fixture
def page(browser):
    browser.get_log("browser")
    yield Page(browser)
    browser.get("about:blank")


@pytest.fixture(scope="session")
def other_browser(new_browser):
    return new_browser()


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """A small store with grains of three phases."""
    path = tmp_path_factory.mktemp("view") / "map.zarr"
    edxdask.simulate(shape=(96, 130), counts=120, seed=4, out=path)
    return path


@pytest.fixture(scope="session")
def phases(store):
    """Result with the true maps of the store, as a factorization would give it."""
    ds = edxdask.open(store)
    return edxdask.fcls(ds, spectra=ds.truth_spectrum)
