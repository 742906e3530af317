"""The viewer on large stores, used through a real browser: seconds until something is seen, and memory.

One line per figure, for a store that is opened for the first time and once more when its index is made: first
paint, line maps never shown before, pan and zoom at the resolution of the screen, the spectrum of 512 × 512
pixels; then the memory of the server. Beside them the same line map by a plain pass over the counts, which is
what a viewer without an index does.

    python benchmarks/view.py --store /scratch/big.zarr [--shape 4096x2048] [--channels 4096] [--keep]
        [--tiny]

A store that does not exist is simulated: 4096 × 2048 × 4096, 68 GB dense, 0.5 GB on disk, its index 0.8.
The exit code is 1 where the first paint takes over 2 s, a pan or a line map over 1 s, a region over 2 s or
memory over 1 GB; --tiny checks only that everything runs. Chromium and chromedriver must be installed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from verdict import Verdict, load_average

NAMED = "[...Bokeh.documents[0]._all_models.values()].filter((m) => m.name == '{}').at(-1)"
IMAGES = (
    NAMED.format("map") + ".renderers.filter((r) => r.glyph.type == 'Image').map((r) => r.data_source.data)"
)
SHOWN = f"return ({IMAGES})?.[0].image.length ?? 0"
PART = f"const d = ({IMAGES})[1]; return [d.x[0] ?? null, d.y[0] ?? null, d.dw[0] ?? null]"
# of all pixels: one alone may have the same counts in two lines
WHOLE = (
    f"const d = ({IMAGES})[0].image[0];"
    "if (!d) return null; let sum = 0;"
    "for (let i = 0; i < d.length; i++) sum += (1 + i % 97) * (d[i] || 0); return sum"
)
MOVE = (
    NAMED.format("map") + ".x_range.setv({{start: {0}, end: {1}}});"
    + NAMED.format("map") + ".y_range.setv({{start: {2}, end: {3}}});"
)  # fmt: skip
FIRST, MAP, REGION, MEMORY = 2.0, 1.0, 2.0, 1e9
SIDE = 512


def driver():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1440,1040"):
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


class Watched:
    """A browser with a clock, and the processor time of the server behind it."""

    def __init__(self, browser, server: psutil.Process):
        self.browser, self.server = browser, server

    def cpu(self) -> float:
        """Processor seconds that the server has used."""
        return sum(self.server.cpu_times()[:2])

    def js(self, code):
        return self.browser.execute_script(code)

    def until(self, code, good, most=300.0):
        """Seconds until ``good`` is true of what the code gives."""
        begin = time.perf_counter()
        while True:
            try:
                if good(self.js(code)):
                    return time.perf_counter() - begin
            except Exception:
                pass  # the page is not there yet
            if time.perf_counter() - begin > most:
                raise TimeoutError(code)
            time.sleep(0.01)


def first_paint(page: Watched, url: str) -> float:
    begin = time.perf_counter()
    page.browser.get(url)
    page.until(SHOWN, bool)
    page.until("return Bokeh.documents[0].is_idle", bool)
    return time.perf_counter() - begin


def line_map(page: Watched, line: str) -> float:
    """Seconds until the map of a line is there, whole and at the resolution of the screen."""
    before = page.js(WHOLE)
    page.js(f"{NAMED.format('line')}.value = '{line}'")
    return page.until(WHOLE, lambda value: value is not None and value != before)


def moved(page: Watched, x: float, y: float, wide: float) -> float:
    """Seconds until a part of the map, ``wide`` nm across, is drawn."""

    def shown(now):
        return now[0] is not None and now[0] <= x and now[1] <= y and x + wide <= now[0] + now[2]

    page.js(MOVE.format(x, x + wide, y + wide, y))
    return page.until(PART, shown)


def region(page: Watched, side: float) -> float:
    """Seconds until the spectrum of a square is drawn, marked as the box tool does it."""
    before = page.js(f"return {NAMED.format('region')}.text")
    begin = time.perf_counter()
    page.js(
        f"const m = {NAMED.format('map')}; const v = Bokeh.index.find_one(m);"
        "const t = m.toolbar.tools.find((t) => t.type == 'BoxSelectTool');"
        "const r = v.frame; const g = {type: 'rect', sx0: r.x_scale.compute(%g), sx1: r.x_scale.compute(%g),"
        "sy0: r.y_scale.compute(%g), sy1: r.y_scale.compute(%g)};"
        "v.tool_views.get(t)._do_select([g.sx0, g.sx1], [g.sy0, g.sy1], true, 'replace')"
        % (40, 40 + side, 40, 40 + side)
    )
    page.until(f"return {NAMED.format('region')}.text", lambda text: text != before)
    return time.perf_counter() - begin


def timed(page: Watched, verdict: Verdict, text: str, most: float, act) -> None:
    """Print the seconds of an action, and what of them the server's processor worked."""
    before = page.cpu()
    seconds = act()
    time.sleep(0.3)
    verdict.at_most(f"{text} (processor {page.cpu() - before:.2f} s)", seconds, most)


def measured(
    page: Watched, url: str, pixel: float, rows: int, verdict: Verdict, when: str, lines: list[str]
) -> None:
    timed(page, verdict, f"{when}: first paint, s", FIRST, lambda: first_paint(page, url))
    for line in lines:
        timed(page, verdict, f"{when}: map of {line}, s", MAP, lambda line=line: line_map(page, line))
    far = rows * pixel
    for x, y, wide in (
        [(0.05, 0.1, 0.35), (0.1, 0.2, 0.17), (0.2, 0.5, 0.17), (0.0, 0.4, 0.4)] if rows > SIDE else []
    ):
        part = f"{when}: pan and zoom to {wide * rows:.0f} px across, s"
        timed(page, verdict, part, MAP, lambda x=x, y=y, wide=wide: moved(page, x * far, y * far, wide * far))
    side = min(SIDE, rows // 2)
    page.js(MOVE.format(0, far, far, 0))
    timed(
        page,
        verdict,
        f"{when}: spectrum of {side} × {side} px, s",
        REGION,
        lambda: region(page, side * pixel),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path)
    parser.add_argument("--shape", default="4096x2048")
    parser.add_argument("--channels", type=int, default=4096)
    parser.add_argument("--keep", action="store_true", help="use the index that is there")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    if shutil.which("chromedriver") is None:
        print("no chromedriver: apt-get install chromium chromium-driver")
        return 0
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background jobs ignore Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    verdict = Verdict(limits=not options.tiny)
    print(load_average())
    with tempfile.TemporaryDirectory() as folder:
        store = options.store or Path(folder) / "map.zarr"
        shape = (256, 192) if options.tiny else tuple(map(int, options.shape.split("x")))
        look(store, shape, 970 if options.tiny else options.channels, verdict, keep=options.keep)
    return verdict.exit_code()


def look(store: Path, shape: tuple[int, int], channels: int, verdict: Verdict, *, keep: bool) -> None:
    import edxdask

    if not store.exists():
        edxdask.simulate("mantle", shape=shape, channels=channels, counts=60, out=store, resume=True)
    ds = edxdask.open(store)
    pixel, rows = float(ds.x[1] - ds.x[0]), ds.sizes["y"]
    if not keep:
        shutil.rmtree(store.with_name(f"{store.name}.view"), ignore_errors=True)
    command = [sys.executable, "-m", "edxdask", "view", str(store), "--no-browser", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    browser = driver()
    try:
        url = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")["url"]
        page = Watched(browser, psutil.Process(process.pid))
        if not keep:
            timed(page, verdict, "no index yet: first paint, s", FIRST, lambda: first_paint(page, url))
            begin, cpu = time.perf_counter(), page.cpu()
            heading = f"return {NAMED.format('heading')}.text"
            page.until(heading, lambda text: "preparing" not in text, most=3000)
            seconds, worked = time.perf_counter() - begin, page.cpu() - cpu
            print(f"  the index: {seconds:.1f} s, {worked:.1f} s of processor time")
        measured(page, url, pixel, rows, verdict, "index made", ["Fe", "Nd_La", "3.2-3.5"])
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
        verdict.at_most("memory of the server, bytes", peak, MEMORY)
    finally:
        browser.quit()
        process.send_signal(signal.SIGINT)
        verdict.holds("Ctrl-C ends it with 0", process.wait(60) == 0)
    part = ds.isel(y=slice(0, SIDE), x=slice(0, SIDE))
    begin = time.perf_counter()
    part.edx.line_map("Fe_Ka").compute()
    per_pixel = (time.perf_counter() - begin) / (part.sizes["y"] * part.sizes["x"])
    whole = per_pixel * ds.sizes["y"] * ds.sizes["x"]
    print(f"  a pass over the counts for one line map: {whole:.1f} s (from {part.sizes['y']} rows)")


if __name__ == "__main__":
    sys.exit(main())
