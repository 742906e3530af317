"""Fixtures every test may use."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
# The file that compiles most of what others need starts first. Beside it run files that need few kernels, so
# that two processes seldom compile the same one; then those that need what is compiled by then.
FIRST = "tests/factorize/test_guidance.py"
BESIDE = ("tests/io/", "tests/physics/", "tests/ops/", "tests/quantify/", "tests/simulate/")

# How many random cases hypothesis draws where a test does not say. A busy machine is no error of a test.
for name, examples in (("quick", 12), ("thorough", 60)):
    settings.register_profile(
        name, max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )

# They stand on Linux itself: /proc, fork, signals, limits, full disks. Other systems run all others.
NEED_LINUX = [
    "cli/test_cli.py",
    "cli/test_results_cli.py",
    "engine/test_cluster_executor.py",
    "engine/test_resume.py",
    "io/export/test_export_disk.py",
    "io/test_child.py",
    "io/test_kill.py",
    "io/test_sandbox.py",
    "io/test_save.py",
    "slurm",
    "test_budget.py",
    "test_cluster.py",
]
collect_ignore = [] if sys.platform.startswith("linux") else NEED_LINUX


def _data_folder() -> Path | None:
    named = os.environ.get("EDXDASK_TEST_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def run() -> Callable[..., Any]:
    """Run ``edxdask`` with words; an exception that is no exit fails the test."""
    from click.testing import CliRunner

    from edxdask.cli import cli

    def invoke(*words: object) -> Any:
        result = CliRunner().invoke(cli, [str(word) for word in words])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of real files; tests that need it skip where it is absent."""
    folder = _data_folder()
    if folder is None:
        pytest.skip("real data not found: set EDXDASK_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def new_browser() -> Iterator[Callable[[], Any]]:
    """Open real browsers, which are closed at the end; tests that need one skip where it is absent."""
    webdriver = pytest.importorskip("selenium.webdriver")
    program, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no chromium and chromedriver: apt-get install chromium chromium-driver")
    opened = []

    def open_one() -> Any:
        options = webdriver.ChromeOptions()
        options.binary_location = program
        flags = ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "hide-scrollbars")
        for flag in (*flags, "window-size=1440,1040"):
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        opened.append(webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)))
        return opened[-1]

    yield open_one
    for one in opened:
        one.quit()


@pytest.fixture(scope="module")
def browser(new_browser: Callable[[], Any]) -> Iterator[Any]:
    """A browser of this file's own."""
    opened = new_browser()
    yield opened
    opened.quit()


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Wait until a condition holds; only a test that fails waits to the end, so busy machines have time."""

    def wait(condition: Callable[[], object], seconds: float = 120.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not so after {seconds:.0f} s"
            time.sleep(0.02)

    return wait


@pytest.fixture(autouse=True)
def _as_at_start() -> None:
    """Undo what the command line did to this process: the level and handlers of the library's log."""
    logger = logging.getLogger("edxdask")
    logger.setLevel(logging.NOTSET)
    logger.handlers = []
    logging.captureWarnings(False)
    if "distributed" in sys.modules:
        import dask

        from edxdask.engine.problem import active_client

        if active_client() is None:  # a Client that was closed in an odd order leaves this behind
            dask.config.set(scheduler=None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files into the order in which ``make test`` deals them out to its two processes."""

    def turn(item: pytest.Item) -> tuple[bool, bool]:
        path = item.nodeid.partition("::")[0]
        return path != FIRST, not path.startswith(BESIDE)

    items.sort(key=turn)  # what has the same turn stays in the order it had


def pytest_configure(config: pytest.Config) -> None:
    """Draw more cases where slow tests run, and let Ctrl-C reach the processes that tests start.

    A shell's background jobs ignore Ctrl-C from birth.
    """
    settings.load_profile("quick" if "not slow" in config.option.markexpr else "thorough")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
