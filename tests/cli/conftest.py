"""How tests call the command line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from edxdask.cli import cli


@pytest.fixture(scope="session")
def run() -> Callable[..., Result]:
    """Run ``edxdask`` with words; an exception that is no exit fails the test."""

    def invoke(*words: object) -> Result:
        result = CliRunner().invoke(cli, [str(word) for word in words])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke
