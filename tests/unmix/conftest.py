"""Maps that several files of tests use."""

import pytest
from blurred_maps import blurred_map, truth_as_result


@pytest.fixture(scope="session")
def blurred():
    """One map of 96 × 96 pixels with edges of 1 px."""
    return blurred_map(5, (96, 96))


@pytest.fixture(scope="session")
def phases(blurred):
    """Its phases, as a perfect factorization would find them."""
    return truth_as_result(blurred)
