"""Fixtures every test may use."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

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


def pytest_configure() -> None:
    """Let Ctrl-C reach the processes that tests start: a shell's background jobs ignore it from birth."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
