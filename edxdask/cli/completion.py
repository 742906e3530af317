"""``edxdask completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from edxdask.cli.app import PROGRAM, Verb, cli

HELP = """Print the script that lets SHELL complete verbs, options and files.

\b
bash:  echo 'eval "$(edxdask completion bash)"' >> ~/.bashrc
zsh:   echo 'eval "$(edxdask completion zsh)"' >> ~/.zshrc
fish:  edxdask completion fish > ~/.config/fish/completions/edxdask.fish
"""


@click.command("completion", cls=Verb, help=HELP)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_verb(shell: str) -> None:
    """Print the completion script of a shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this click knows no completion for {shell}")
    click.echo(kind(cli, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source())
