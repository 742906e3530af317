"""``edxdask ingest`` and ``export``: files in, files out."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any, Literal

import click

from edxdask.cli.advice import after_store, say_next
from edxdask.cli.app import PROGRAM, Settings, Verb
from edxdask.cli.inputs import STORE_HELP, store_argument, typed_out
from edxdask.cli.output import print_columns, print_json, print_table
from edxdask.cli.progress import shown
from edxdask.cli.values import FrameRange, TiltsOfFiles
from edxdask.errors import ParameterError
from edxdask.io.vendor import known_formats
from edxdask.readable import closest
from edxdask.schema import COUNTS, ENERGY

OVERWRITE_HELP = "Replace what is there."
TAKES_STORES = (
    "info",
    "elements",
    "bin",
    "crop",
    "rebin",
    "pca",
    "nmf",
    "psnmf",
    "mosaic",
    "quantify",
    "export",
)
INGEST_HELP = f"""Turn vendor files SRC into a store, several files into a collection.

Reads {known_formats()}. A file of one spectrum becomes a map of one pixel.
With --align, SRC may also be a store of a cube of frames.
"""
FIGURES = (
    *("maps", "spectra", "fit", "masks", "placement", "drift"),
    *("slices", "rendered", "sizes", "tilts"),
)
SPECTRA_APART = (".msa", ".emsa")  # one spectrum per file, so a result always goes to several


@click.command("ingest", cls=Verb, help=INGEST_HELP)
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
@click.option("--align", is_flag=True, help="Correct the drift between frames by whole pixels.")
@click.option("--image", metavar="NAME", help="With --align: register frames on this image, or on photons.")
@click.option("--group", type=int, help="With --align: frames registered together.")
@click.option("--max-step-px", type=float, help="With --align: largest move between groups.")
@click.option("--drop-bad-frames", is_flag=True, help="With --align: leave out frames that do not fit.")
@click.option(
    "--tilts",
    type=TiltsOfFiles(),
    help="Of a tilt series, one file per tilt: check and order the files by tilt, as they say or as given.",
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
    align: bool,
    image: str | None,
    group: int | None,
    max_step_px: float | None,
    drop_bad_frames: bool,
    tilts: list[float] | bool | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """Make a store of vendor files."""
    from edxdask.ingestion import ingest
    from edxdask.io.save import continued_by

    for path in src:
        _check_source(path, align=align and len(src) == 1)
    settings.resume = again()
    with shown(settings) as progress, continued_by(settings.resume):
        ingest(
            src[0] if len(src) == 1 else list(src),
            out,
            frames=frames,
            detectors=detectors,
            align=align,
            image=image,
            group=group,
            max_step_px=max_step_px,
            drop_bad_frames=drop_bad_frames,
            tilts=False if tilts is None else tilts,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
    settings.resume = None
    say_next(settings, after_store(out, print_store(settings, out)))


def _check_source(path: str, *, align: bool) -> None:
    """Refuse what is no file, and say of a store what takes it; one of frames may be aligned."""
    from edxdask.io.target import is_ours

    if not Path(path).exists():
        raise ParameterError("SRC", path, "a vendor file; there is no such file")
    if is_ours(Path(path)) and not align:
        expected = f"a vendor file; this is a store already, and {', '.join(TAKES_STORES)} take it"
        raise ParameterError(
            "SRC", path, expected, typed_fix=f"To see what is in it: {typed_out('info', path)}"
        )


def again(option: str | None = "--resume") -> str:
    """Return the command line that continues this one, with ``option`` added."""
    given = [w for w in sys.argv[1:] if option is None or w not in ("--resume", "--overwrite")]
    return " ".join(map(shlex.quote, [PROGRAM, *given, *([option] if option else [])]))


def print_store(settings: Settings, path: str | Path) -> dict[str, Any]:
    """Say which store was written and what it holds; give what was said."""
    from edxdask.report.describe import describe_store, map_lines

    found = describe_store(Path(path))
    if settings.json:
        print_json(found)
        return found
    if "tilts" in found:
        print_series(found)
    for each in found["maps"] if "tilts" not in found else []:
        print_table(map_lines(each)[: 6 if "tilts" in each else 4], title=each["name"] or None)
    click.echo(str(path))
    return found


def print_series(found: dict[str, Any]) -> None:
    """Say what a collection of maps of one tilt each holds: its tilts, then each map in one row."""
    from edxdask.report.describe import map_lines
    from edxdask.report.tilt_lines import tilt_lines, tilt_rows

    common = [row for row in map_lines(found["maps"][0]) if row[0] in ("size", "energy", "elements", "beam")]
    print_table([*tilt_lines(found["tilts"]), *common])
    print_columns(*tilt_rows(found["tilts"]))


@click.command("export", cls=Verb, epilog=STORE_HELP)
@store_argument
@click.argument("target", type=click.Path())
@click.option(
    "--map",
    "lines",
    multiple=True,
    metavar="LINE",
    help="Map of a line, as in Mg_Ka; may be repeated. Of a mosaic, counts per exposure.",
)
@click.option(
    "--figure",
    type=click.Choice(FIGURES),
    help="Which figure a picture holds; default: maps above spectra, of a cube the sum spectrum, of a volume "
    "slices.",
)
@click.option("--spectrum", is_flag=True, help="The sum spectrum, or those of a result.")
@click.option("--name", help="Which map of a collection.")
@click.option("--overwrite", is_flag=True, help=OVERWRITE_HELP)
@click.pass_obj
def export_verb(
    settings: Settings,
    store: str,
    target: str,
    lines: tuple[str, ...],
    figure: str | None,
    spectrum: bool,
    name: str | None,
    overwrite: bool,
) -> None:
    """Write STORE to TARGET: .hspy or .rpl for the cube, .msa .csv .tiff .png for spectra and maps.

    .ome.tiff and .ome.zarr hold all images of a map, a result or a mosaic, for viewers of large images.
    A volume goes to .mrc (a file for each phase), .ome.tiff or .ome.zarr; .csv has its particles,
    .json particles and phases.

    Of a result, .png .pdf .svg hold its maps and spectra, .csv .json .txt its table, .tiff the maps, .msa the
    spectra, .hspy the counts it expects with its decomposition; --spectrum writes the spectra alone.
    """
    from edxdask.report.export import export, spectra_of

    if bool(lines) + spectrum + (figure is not None) > 1:
        raise click.UsageError("either --map or --spectrum or --figure: one file holds one of them")
    data = one_map(store, name, target)
    cube = COUNTS in data
    if figure is not None:
        _check_figure(data, figure, store)
    if lines:
        data = _line_maps(data, lines)
    elif spectrum and cube:
        data = data.edx.sum_spectrum().compute().assign_attrs(data.attrs)
    elif spectrum and Path(target).suffix.lower() not in SPECTRA_APART:
        data = spectra_of(data)
    with shown(settings) as progress:
        written = export(data, target, figure=figure, overwrite=overwrite, progress=progress)
    paths = written if isinstance(written, list) else [written]
    if settings.json:
        files = [{"path": str(path), "bytes": _bytes_of(path)} for path in paths]
        print_json(files[0] if len(files) == 1 else {"files": files})
    else:
        click.echo("\n".join(map(str, paths)))


def _bytes_of(path: Path) -> int:
    """Size of a file, or of all files in a folder."""
    return sum(one.stat().st_size for one in (path, *path.rglob("*")) if one.is_file())


def _check_figure(data: Any, figure: str, store: str) -> None:
    """Refuse a figure that the data do not have; phases get their fit from ``quantify``."""
    from edxdask.report.plot import figures_of
    from edxdask.results.kinds import Kind, kind_of

    have = figures_of(data)
    if figure in have or not have:
        return
    fitted = typed_out("quantify", store, "-o", f"{Path(store).stem}-fitted.zarr")
    phases = kind_of(data) is Kind.PHASES
    fix = f"To fit the phases: {fitted}" if phases else f"Or: --figure {have[0]}"
    expected = f"{' or '.join(have)}, which {store} has"
    raise ParameterError("--figure", figure, expected, typed_fix=fix)


def _line_maps(ds: Any, lines: tuple[str, ...]) -> Any:
    """Map of one line, or stack of several; an error names a line off the energy axis."""
    from edxdask.physics.lines import line_centroid

    for line in lines:
        try:
            ds.edx.line_map(line)  # lazy: this only places its windows
        except ParameterError as error:
            if error.parameter != "window":
                raise _named_line(line) or error from error
            low, high = (float(ds[ENERGY][i]) for i in (0, -1))
            raise ParameterError(
                "--map",
                line,
                f"a line that is, with its background, on the axis of {low:g} to {high:g} keV",
                f"This one is at {line_centroid(line):.4g} keV.",
            ) from error
    from edxdask.report.layers import over_exposure

    return over_exposure(ds.edx.line_map(lines[0] if len(lines) == 1 else list(lines)), ds).compute()


def _named_line(word: str) -> ParameterError | None:
    """Explain that an element has lines, where one was given in the place of a line."""
    from edxdask.physics.lines import element_symbols, lines_of

    if word not in element_symbols():
        return None
    names = {line.siegbahn for line in lines_of(word, 0.15, 20.0)}
    main = next((name for name in ("Ka", "La", "Ma") if name in names), "Ka")
    return ParameterError("--map", word, "a line of the element", typed_fix=f"As in: --map {word}_{main}")


def one_map(store: str, name: str | None, target: str) -> Any:
    """Open a store: a cube, a result, all of a result of several maps, or one map of a collection."""
    from edxdask.public import open as open_store
    from edxdask.results.collections import is_collection
    from edxdask.results.kinds import Kind, kind_of

    data = open_store(store)
    if not is_collection(data):
        if name is not None:
            raise ParameterError("--name", name, "no name, as the store holds one map only")
        return data
    if name is None and kind_of(data) is not Kind.CUBE:
        return data
    if name is None or name not in data.children:
        one = f"{store}/{closest(name, data.children) or next(iter(data.children))}"
        fix = f"It has {', '.join(data.children)}. For one of them: {typed_out('export', one, target)}"
        raise ParameterError("--name", name, "a map of the collection", typed_fix=fix)
    return data[name].to_dataset()
