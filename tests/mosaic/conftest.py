"""A landscape and maps cut from it, made once."""

from __future__ import annotations

import pytest
from landscape import Landscape


@pytest.fixture(scope="session")
def landscape():
    return Landscape(rows=190, columns=350)


@pytest.fixture(scope="session")
def counted(landscape):
    """2 × 4 maps of 96² pixels, 40 counts per pixel, and where each really is."""
    return landscape.tiles(2, 4, side=96, overlap=18, counts=40, seed=1)
