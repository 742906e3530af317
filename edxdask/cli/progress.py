"""Progress of verbs: as in the library; lines now and then in a file, none with ``-q``."""

from __future__ import annotations

from contextlib import AbstractContextManager

import click

from edxdask import progress
from edxdask.cli.app import PROGRAM, Settings
from edxdask.progress import ProgressHook


def shown(settings: Settings) -> AbstractContextManager[ProgressHook | None]:
    """Show what the work in this block reports; calls in it need no ``progress``."""
    verb = click.get_current_context(silent=True)
    return progress.shown(not settings.quiet, PROGRAM if verb is None else verb.info_name or PROGRAM)
