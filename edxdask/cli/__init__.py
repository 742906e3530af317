"""The command ``edxdask``: parses, composes stages, turns errors into one line and an exit code.

One file per group of verbs; a verb's file is imported when the verb is called, so that ``--help`` is quick.
"""

from edxdask.cli.app import cli, main

__all__ = ["cli", "main"]
