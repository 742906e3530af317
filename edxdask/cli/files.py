"""``edxdask ingest``, ``bin`` and ``export``: files in, files out."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any, Literal

import click

from edxdask.cli.app import PROGRAM, Settings, Verb
from edxdask.cli.output import print_json, print_table
from edxdask.cli.progress import shown
from edxdask.errors import ParameterError

OVERWRITE_HELP = "Replace what is there."


class FrameRange(click.ParamType):
    """Frames as A:B, the last not included."""

    name = "A:B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into a pair."""
        if isinstance(value, tuple):
            return value
        first, colon, last = str(value).partition(":")
        if not colon or not first.isdigit() or not last.isdigit() or int(first) >= int(last):
            self.fail(f"{value!r} is no range of frames: write A:B with A < B, as in 0:10", param, ctx)
        return int(first), int(last)


@click.command("ingest", cls=Verb)
@click.argument("src", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--out", required=True, type=click.Path(), help="Store to make.")
@click.option("--frames", type=FrameRange(), help="Sum only these frames, B not included.")
@click.option(
    "--detectors",
    type=click.Choice(["sum", "separate"]),
    default="sum",
    show_default=True,
    help="One map of all detectors, or one map each.",
)
@click.option("--resume", is_flag=True, help="Continue an ingest that was interrupted.")
@click.option("--overwrite", is_flag=True, help=OVERWRITE_HELP)
@click.pass_obj
def ingest_verb(
    settings: Settings,
    src: tuple[str, ...],
    out: str,
    frames: tuple[int, int] | None,
    detectors: Literal["sum", "separate"],
    resume: bool,
    overwrite: bool,
) -> None:
    """Turn vendor files SRC into a store, several files into a collection.

    Reads Bruker .bcf, Velox .emd, JEOL .pts, Oxford .h5oina, EDAX .edaxh5 and .spd, TIA .emi, Phenom .elid,
    DigitalMicrograph .dm3 and .dm4, HyperSpy .hspy and Ripple .rpl.
    """
    from edxdask.io import ingest

    settings.resume = again()
    with shown(settings) as progress:
        ingest(
            src[0] if len(src) == 1 else list(src),
            out,
            frames=frames,
            detectors=detectors,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
    settings.resume = None
    print_store(settings, out)


def again(option: str | None = "--resume") -> str:
    """Return the command line that continues this one; ``option`` is what it needs for that."""
    given = [w for w in sys.argv[1:] if option is None or w not in ("--resume", "--overwrite")]
    return " ".join(map(shlex.quote, [PROGRAM, *given, *([option] if option else [])]))


def print_store(settings: Settings, path: str | Path) -> None:
    """Say which store was written and what it holds."""
    from edxdask.cli.info import described_store, summary_rows

    found = described_store(Path(path))
    if settings.json:
        print_json(found)
        return
    for each in found["maps"]:
        print_table(summary_rows(each)[:4], title=each["name"] or None)
    click.echo(str(path))


@click.command("bin", cls=Verb)
@click.argument("store", type=click.Path())
@click.option("-o", "--out", required=True, type=click.Path(), help="Store to make.")
@click.option("-b", "--factor", type=int, help="Pixels to sum along y and x.")
@click.option("--energy", type=int, help="Channels to sum.")
@click.option("--overwrite", is_flag=True, help=OVERWRITE_HELP)
@click.pass_obj
def bin_verb(
    settings: Settings, store: str, out: str, factor: int | None, energy: int | None, overwrite: bool
) -> None:
    """Sum neighbouring pixels (and channels) of STORE into a smaller one."""
    from edxdask.io import save
    from edxdask.public import open as open_store
    from edxdask.schema import ENERGY

    if factor is None and energy is None:
        raise click.UsageError("say how much to bin: -b 4, or --energy 2")
    ds = open_store(store)
    binned = ds.edx.bin(factor, **({} if energy is None else {ENERGY: energy}))
    with shown(settings) as progress:
        save(binned, out, overwrite=overwrite, progress=progress)
    print_store(settings, out)


@click.command("export", cls=Verb)
@click.argument("store", type=click.Path())
@click.argument("target", type=click.Path())
@click.option(
    "--map", "lines", multiple=True, metavar="LINE", help="Map of a line, as in Mg_Ka; may be repeated."
)
@click.option("--spectrum", is_flag=True, help="The sum spectrum.")
@click.option("--name", help="Which map of a collection.")
@click.option("--overwrite", is_flag=True, help=OVERWRITE_HELP)
@click.pass_obj
def export_verb(
    settings: Settings,
    store: str,
    target: str,
    lines: tuple[str, ...],
    spectrum: bool,
    name: str | None,
    overwrite: bool,
) -> None:
    """Write STORE to TARGET: .hspy or .rpl for the cube, .msa .csv .tiff .png for spectra and maps."""
    from edxdask.public import export

    if lines and spectrum:
        raise click.UsageError("either --map or --spectrum, one file holds one of them")
    ds = one_map(store, name)
    chosen: Any = ds
    if lines:
        chosen = ds.edx.line_map(lines[0] if len(lines) == 1 else list(lines)).compute()
    elif spectrum:
        chosen = ds.edx.sum_spectrum().compute().assign_attrs(ds.attrs)
    with shown(settings) as progress:
        path = export(chosen, target, overwrite=overwrite, progress=progress)
    if settings.json:
        print_json({"path": str(path), "bytes": path.stat().st_size})
    else:
        click.echo(str(path))


def one_map(store: str, name: str | None) -> Any:
    """Dataset of a store, or of one map of a collection."""
    import xarray as xr

    from edxdask.public import open as open_store

    data = open_store(store)
    if isinstance(data, xr.Dataset):
        if name is not None:
            raise ParameterError("--name", name, "nothing, as the store holds one map only")
        return data
    if name is None or name not in data.children:
        raise ParameterError("--name", name, "a map of the collection", f"It has {', '.join(data.children)}.")
    return data[name].to_dataset()
