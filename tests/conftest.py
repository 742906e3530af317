"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _data_folder() -> Path | None:
    named = os.environ.get("EDXDASK_TEST_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of real files; tests that need it skip where it is absent."""
    folder = _data_folder()
    if folder is None:
        pytest.skip("real data not found: set EDXDASK_TEST_DATA to its folder")
    return folder
