"""The command itself: its verbs by name, its options, and how errors end."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TextIO

import click

from edxdask.errors import EdxdaskError
from edxdask.readable import closest

PROGRAM = "edxdask"
OF_RESULTS = (  # loggers whose warnings results carry, too
    "edxdask.factorize.guidance",
    "edxdask.factorize.identifiability",
    "edxdask.quantify",
    "edxdask.tomographies",
    "edxdask.unmix.aided",
)
INTERRUPTED, PIPE_CLOSED = 130, 1  # 128 + SIGINT; and click's own code for a closed pipe

# verb: its module, and its line in --help, which must not import it
VERBS = {
    "ingest": ("edxdask.cli.files", "Turn vendor files into a store."),
    "info": ("edxdask.cli.info", "Say what a store or a vendor file holds."),
    "diagnose": ("edxdask.cli.diagnose", "Report on a vendor file, for an issue; no counts, no names."),
    "simulate": ("edxdask.cli.make", "Make a store of a simulated map with known truth."),
    "elements": ("edxdask.cli.elements", "Find the elements of a store, listed or not."),
    "bin": ("edxdask.cli.reduce", "Sum neighbouring pixels into a smaller store."),
    "crop": ("edxdask.cli.reduce", "Cut a range of energies, rows or columns into a new store."),
    "mosaic": ("edxdask.cli.mosaic", "Put neighbouring maps of a collection on one canvas."),
    "rebin": ("edxdask.cli.reduce", "Put maps on one energy axis, photon by photon."),
    "pca": ("edxdask.cli.factorize", "Principal components, weighted for Poisson noise."),
    "nmf": ("edxdask.cli.factorize", "Factorize a store into phases."),
    "psnmf": ("edxdask.cli.factorize", "Unmix a store: pan-sharpening NMF."),
    "aided": ("edxdask.cli.unmix", "Unmix with masks of precipitates, over many maps."),
    "tomo": ("edxdask.cli.tomo", "Reconstruct volumes of phases from a tilt series."),
    "quantify": ("edxdask.cli.quantify", "Compositions of a map or its phases, with errors."),
    "traces": ("edxdask.cli.traces", "Amounts of traces in a phase, over many maps, with errors and limits."),
    "judge": ("edxdask.cli.traces", "Maps of a collection that do not belong to the others, and why."),
    "profile": ("edxdask.cli.traces", "Compositions against the distance from a phase, or along a line."),
    "score": ("edxdask.cli.factorize", "Compare a result with a simulation's truth."),
    "report": ("edxdask.cli.report", "Write one HTML page that shows all that is known."),
    "view": ("edxdask.cli.view", "Look at a store of any size in a browser on this machine."),
    "export": ("edxdask.cli.files", "Write a cube, spectrum or map for other programs."),
    "demo": ("edxdask.cli.make", "Simulate a map, unmix it, draw it, and write its report."),
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
    verb : the verb that runs, with what was given to it
    held : warnings about the result, which wait until it is printed
    """

    json: bool = False
    quiet: bool = False
    verbose: int = 0
    resume: str | None = None
    verb: click.Context | None = None
    held: list[str] = field(default_factory=list)

    def warned(self, texts: Sequence[str]) -> None:
        """Forget warnings that were printed with the result."""
        self.held = [line for line in self.held if not any(text in line for text in texts)]

    def release(self) -> None:
        """Print the warnings that no result was printed with."""
        for line in self.held:
            click.echo(f"{PROGRAM}: WARNING: {self.worded(line)}", err=True)
        self.held = []

    def worded(self, text: str | EdxdaskError) -> str:
        """Give what the library says in the words of the verb that runs."""
        if self.verb is None:
            return str(text)
        from edxdask.cli.wording import Wording  # it needs the schema, which --help does without

        words = Wording(self.verb.command, self.verb.params)
        return words.translated(text) if isinstance(text, str) else words.of(text)


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

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; errors will be in its words."""
        ctx.ensure_object(Settings).verb = ctx
        return super().invoke(ctx)


class Verbs(click.Group):
    """The verbs, each imported when it is called; and the one place where errors end."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the verbs, in the order of the work."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a verb."""
        if cmd_name not in VERBS:
            meant = closest(cmd_name, VERBS)
            if meant is None:
                return None
            ctx.fail(f"No such command {cmd_name!r}. Did you mean {meant}?")
        verb: click.Command = getattr(importlib.import_module(VERBS[cmd_name][0]), f"{cmd_name}_verb")
        return verb

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        """Run a verb and exit with its code."""
        given = sys.argv[1:] if args is None else list(args)
        settings = Settings(json="--json" in given)  # known even where the words cannot be parsed
        extra |= {"prog_name": PROGRAM, "standalone_mode": False, "obj": settings}
        closed = sys.stdout is None
        if closed:  # as after >&-: without a stand-in, the next file opened would become stdout
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        try:
            try:
                code = super().main(args, *rest, **extra)
            finally:
                settings.release()
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
    if isinstance(error, click.MissingParameter):
        error = _with_example(error)
    if isinstance(error, click.ClickException):
        if settings.json:
            _say(error.format_message(), settings)
        else:
            error.show()
        return error.exit_code
    if not isinstance(error, Exception | KeyboardInterrupt):
        raise error
    if settings.verbose and not isinstance(error, click.Abort | KeyboardInterrupt):
        traceback.print_exception(error, file=sys.stderr)
    text, code = _described(error, settings)
    _say(text, settings)
    if isinstance(error, OSError) and error.strerror and not error.filename:
        _silence_stdout()  # a write failed, most likely that of the result
    return code


def _with_example(error: click.MissingParameter) -> click.MissingParameter:
    """Add what can be typed to the complaint that the store or file to write is missing."""
    endings = {"out": ".zarr", "target": ".png"}
    verb, missing = error.ctx and error.ctx.info_name, error.param and error.param.name
    if missing not in endings or verb not in VERBS:
        return error
    from edxdask.cli.advice import example_of  # it needs the library's words, which --help does without

    text = f"As in: {example_of(str(verb), sys.argv[1:], endings[missing])}"
    return click.MissingParameter(text, ctx=error.ctx, param=error.param)


def _described(error: BaseException, settings: Settings) -> tuple[str, int]:
    """Sentence and exit code of an error that is no matter of click."""
    if isinstance(error, click.Abort | KeyboardInterrupt):
        said = any("Continue with" in note for note in getattr(error.__cause__ or error, "__notes__", ()))
        resume = f" To resume: {settings.resume}" if settings.resume and not said else ""
        return f"interrupted.{resume}", INTERRUPTED
    if isinstance(error, EdxdaskError):
        return settings.worded(error), error.exit_code
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'output'}: {error.strerror}", 1
    if isinstance(error, MemoryError):
        advice = "Use a smaller map, or a machine with more memory."
        return f"there is not enough memory for this: {error}. {advice}", 1
    hint = "" if settings.verbose else "; -v shows where"
    return f"{type(error).__name__}: {error} (not an error that edxdask knows{hint})", 1


def _silence_stdout() -> None:
    """Discard what is still to be written: Python would try again, and complain, at exit."""
    with contextlib.suppress(io.UnsupportedOperation):  # a stand-in for stdout, as tests have it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str, settings: Settings) -> None:
    """Print one line, red where there are colours; for programs one JSON object, where they expect it."""
    line = " ".join(text.split())
    if settings.json:
        with contextlib.suppress(OSError):  # what cannot be written cannot be said there either
            click.echo(json.dumps({"error": line}, ensure_ascii=False))
            return
    click.secho(f"{PROGRAM}: {line}", fg="red", err=True)


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


class _InWordsOfTheVerb(logging.Formatter):
    """Lines of the log, with options for parameters."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(f"{PROGRAM}: %(levelname)s: %(message)s")
        self.settings = settings

    def format(self, record: logging.LogRecord) -> str:
        """Write one line."""
        return self.settings.worded(super().format(record))


class _Log(logging.StreamHandler[TextIO]):
    """Lines on stderr; warnings about a result are held back, since the verb prints them after its table."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(sys.stderr)
        self.settings = settings

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or hold it back."""
        if record.levelno == logging.WARNING and record.name.startswith(OF_RESULTS):
            self.settings.held.append(record.getMessage())
        else:
            super().emit(record)


def _listen(settings: Settings) -> None:
    """Send the library's log to stderr: warnings always, notes with -v."""
    levels = {0: logging.WARNING, 1: logging.INFO}
    handler = _Log(settings)
    handler.setFormatter(_InWordsOfTheVerb(settings))
    logger = logging.getLogger("edxdask")
    logger.handlers = [handler]
    logger.setLevel(levels.get(settings.verbose, logging.DEBUG))
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").handlers = [handler]


def main() -> NoReturn:
    """Entry point of the command."""
    cli.main()
