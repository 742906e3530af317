"""The command itself: its verbs by name, its options, and how errors end."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from edxdask.errors import EdxdaskError

PROGRAM = "edxdask"
INTERRUPTED, PIPE_CLOSED = 130, 1  # 128 + SIGINT; and click's own code for a closed pipe

# verb: its module, and its line in --help, which must not import it
VERBS = {
    "ingest": ("edxdask.cli.files", "Turn vendor files into a store."),
    "info": ("edxdask.cli.info", "Say what a store or a vendor file holds."),
    "diagnose": ("edxdask.cli.diagnose", "Report on a vendor file, for an issue; no counts, no names."),
    "simulate": ("edxdask.cli.make", "Make a store of a simulated map with known truth."),
    "elements": ("edxdask.cli.elements", "Find the elements of a store, listed or not."),
    "bin": ("edxdask.cli.files", "Sum neighbouring pixels into a smaller store."),
    "pca": ("edxdask.cli.factorize", "Principal components, weighted for Poisson noise."),
    "nmf": ("edxdask.cli.factorize", "Factorize a store into phases."),
    "psnmf": ("edxdask.cli.factorize", "Unmix a store: pan-sharpening NMF."),
    "quantify": ("edxdask.cli.quantify", "Compositions of a map or its phases, with errors."),
    "score": ("edxdask.cli.factorize", "Compare a result with a simulation's truth."),
    "export": ("edxdask.cli.files", "Write a cube, spectrum or map for other programs."),
    "demo": ("edxdask.cli.make", "Simulate a map, unmix it, draw spectrum, lines and phases."),
    "completion": ("edxdask.cli.completion", "Print the script that lets a shell complete commands."),
}


@dataclass
class Settings:
    """Values of the options that every verb has.

    Attributes
    ----------
    json : print one JSON object to stdout, and nothing else
    quiet : no progress
    verbose : 1 for tracebacks and what the library notes, 2 for everything
    resume : the command that continues this one, once there is something to continue
    """

    json: bool = False
    quiet: bool = False
    verbose: int = 0
    resume: str | None = None


def _set(name: str) -> Any:
    def callback(context: click.Context, _: click.Parameter, value: Any) -> None:
        settings = context.ensure_object(Settings)
        if value:  # given before the verb or after it, one is enough
            setattr(settings, name, value)

    return callback


def _shared_options() -> list[click.Option]:
    return [
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            callback=_set("json"),
            help="Print one JSON object, for programs.",
        ),
        click.Option(
            ["-q", "--quiet"], is_flag=True, expose_value=False, callback=_set("quiet"), help="No progress."
        ),
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            callback=_set("verbose"),
            help="Tracebacks and notes; twice for more.",
        ),
    ]


class Verb(click.Command):
    """A verb; also takes the options that all verbs have."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.params += _shared_options()


class Verbs(click.Group):
    """The verbs, each imported when it is called; and the one place where errors end."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the verbs, in the order of the work."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a verb."""
        if cmd_name not in VERBS:
            return None
        verb: click.Command = getattr(importlib.import_module(VERBS[cmd_name][0]), f"{cmd_name}_verb")
        return verb

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        """Run a verb and exit with its code."""
        settings = Settings()
        extra |= {"prog_name": PROGRAM, "standalone_mode": False, "obj": settings}
        closed = sys.stdout is None
        if closed:  # as after >&-: without a stand-in, the next file opened would become stdout
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        try:
            code = super().main(args, *rest, **extra)
            sys.stdout.flush()
            if closed:
                raise OSError(errno.EBADF, "it is closed, so the result could not be printed", "stdout")
        except BaseException as error:
            code = _report(error, settings)
        sys.exit(code if isinstance(code, int) else 0)


def _report(error: BaseException, settings: Settings) -> int:
    """Say in one line what went wrong; return the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, BrokenPipeError):
        # who read our output has closed it, which is allowed; Python would complain again at exit
        _silence_stdout()
        return PIPE_CLOSED
    if isinstance(error, click.Abort | KeyboardInterrupt):
        said = any("Continue with" in note for note in getattr(error.__cause__ or error, "__notes__", ()))
        _say("interrupted." + (f" To resume: {settings.resume}" if settings.resume and not said else ""))
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if settings.verbose:
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, EdxdaskError):
        _say(str(error))
        return error.exit_code
    if isinstance(error, OSError) and error.strerror:
        _say(f"{error.filename or 'output'}: {error.strerror}")
        if not error.filename:  # a write failed, most likely that of the result
            _silence_stdout()
        return 1
    if isinstance(error, MemoryError):
        _say(
            f"there is not enough memory for this: {error}. Use a smaller map, or a machine with more memory."
        )
        return 1
    if not isinstance(error, Exception):
        raise error
    hint = "" if settings.verbose else "; -v shows where"
    _say(f"{type(error).__name__}: {error} (not an error that edxdask knows{hint})")
    return 1


def _silence_stdout() -> None:
    """Discard what is still to be written: Python would try again, and complain, at exit."""
    with contextlib.suppress(io.UnsupportedOperation):  # a stand-in for stdout, as tests have it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str) -> None:
    """Print one line, red where there are colours."""
    click.secho(f"{PROGRAM}: {' '.join(text.split())}", fg="red", err=True)


# \b keeps click from reflowing what follows; a raw docstring cannot hold that character
HELP = """Work with STEM-EDX spectrum images that are larger than memory.

\b
edxdask ingest map.emd -o map.zarr      vendor file to store
edxdask info map.zarr                   what is in it
edxdask export map.zarr map.hspy        to HyperSpy and others
"""


@click.group(
    cls=Verbs, help=HELP, context_settings={"help_option_names": ["-h", "--help"]}, params=_shared_options()
)
@click.version_option(None, "--version", package_name="edxdask", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Set the verbs to work."""
    _listen(context.ensure_object(Settings))


def _listen(settings: Settings) -> None:
    """Send the library's log to stderr: warnings always, notes with -v."""
    levels = {0: logging.WARNING, 1: logging.INFO}
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"{PROGRAM}: %(levelname)s: %(message)s"))
    logger = logging.getLogger("edxdask")
    logger.handlers = [handler]
    logger.setLevel(levels.get(settings.verbose, logging.DEBUG))
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").handlers = [handler]


def main() -> NoReturn:
    """Entry point of the command."""
    cli.main()
