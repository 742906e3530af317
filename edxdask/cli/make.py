"""``edxdask simulate`` and ``demo``: maps with known truth."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import click

from edxdask.cli.advice import after_store, say_next
from edxdask.cli.app import Settings, Verb
from edxdask.cli.files import OVERWRITE_HELP, again, print_store
from edxdask.cli.output import print_json
from edxdask.cli.progress import shown
from edxdask.cli.values import Shape, TiltAngles
from edxdask.errors import MissingDependencyError, ParameterError, StoreWriteError

logger = logging.getLogger(__name__)

DEMO_SHAPE = (180, 180)
DEMO_LINES = ("Mg_Ka", "Al_Ka", "Si_Ka", "Ca_Ka", "Fe_Ka", "Nd_La")
DEMO_FILES = (
    "mantle.zarr",
    "sum_spectrum.png",
    "line_maps.png",
    "phases.zarr",
    "phases.png",
    "report.html",
)
DEMO_PHASES = ["Brg", "Fp", "CaPv"]
DEMO_ABSENT: Mapping[str | int, str] = {
    "Fp": "Si",
    "CaPv": "Mg",
}  # ferropericlase holds no silicon, Ca-perovskite no magnesium


@click.command("simulate", cls=Verb)
@click.argument("recipe", default="mantle")
@click.option("-o", "--out", required=True, type=click.Path(), help="Store to make.")
@click.option(
    "--shape",
    type=Shape(planes=True),
    default="180x180",
    show_default=True,
    help="Rows and columns; of a tilt series also planes, rows and columns.",
)
@click.option("--channels", type=int, help="Length of the energy axis; default the recipe's.")
@click.option(
    "--counts",
    type=float,
    default=147.0,
    show_default=True,
    help="Photons per pixel, mean over the map; of a tilt series over the thick part.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Each seed gives another map.")
@click.option("--beam-energy", type=float, default=200.0, show_default=True, help="keV.")
@click.option("--tilts", type=TiltAngles(), help="Of a tilt series: its angles; default -70:70:5.")
@click.option(
    "--misaligned", is_flag=True, help="Of a tilt series: shift projections, turn and move the axis."
)
@click.option("--shadows", is_flag=True, help="Of a tilt series: the holder shades two of four detectors.")
@click.option(
    "--dose-drift",
    type=float,
    metavar="FRACTION",
    help="Of a tilt series: change of the beam from first to last tilt, as in -0.3.",
)
@click.option("--absorption", is_flag=True, help="Of a tilt series: the object absorbs its own photons.")
@click.option("--resume", is_flag=True, help="Continue a simulation that was interrupted.")
@click.option("--overwrite", is_flag=True, help=OVERWRITE_HELP)
@click.pass_obj
def simulate_verb(
    settings: Settings,
    recipe: str,
    out: str,
    shape: tuple[int, ...],
    channels: int | None,
    counts: float,
    seed: int,
    beam_energy: float,
    tilts: list[float] | None,
    misaligned: bool,
    shadows: bool,
    dose_drift: float | None,
    absorption: bool,
    resume: bool,
    overwrite: bool,
) -> None:
    """Simulate a map (RECIPE mantle or nanoparticles) or a tilt series (tomography or core-shell)."""
    from edxdask.io.save import continued_by
    from edxdask.public import simulate

    settings.resume = again()
    with shown(settings) as progress, continued_by(settings.resume):
        simulate(
            recipe,
            shape=shape,
            channels=channels,
            counts=counts,
            seed=seed,
            beam_energy=beam_energy,
            tilts=tilts,
            misaligned=misaligned,
            shadows=shadows,
            dose_drift=dose_drift,
            absorption=absorption,
            out=out,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
    settings.resume = None
    say_next(settings, after_store(out, print_store(settings, out)))


def _folder(out: str) -> Path:
    """Make the folder of the demo."""
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise ParameterError("--out", out, "a folder; this is a file", "Name another folder with -o.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreWriteError(
            f"{out}: the folder cannot be made: {error.strerror or error}. Name another with -o."
        ) from error
    return folder


@click.command("demo", cls=Verb)
@click.option(
    "-o", "--out", type=click.Path(), default="edxdask-demo", show_default=True, help="Folder to write to."
)
@click.pass_obj
def demo_verb(settings: Settings, out: str) -> None:
    """Simulate the mantle map, store it, unmix and quantify it, draw it, and write its report."""
    import xarray as xr

    from edxdask import schema
    from edxdask.cli.factorize import print_result
    from edxdask.factorize.psnmf import psnmf
    from edxdask.io import save
    from edxdask.io.save import continued_by
    from edxdask.public import simulate
    from edxdask.report.export import export
    from edxdask.reports import report_with_paths

    folder = _folder(out)
    store, spectrum, maps, result, phases, page = (folder / name for name in DEMO_FILES)
    with shown(settings) as progress, continued_by(again(option=None)):  # a demo always starts again
        ds = simulate(shape=DEMO_SHAPE, out=store, overwrite=True, progress=progress)
        elements = ds.attrs[schema.ELEMENTS]
        found = psnmf(ds, phases=DEMO_PHASES, elements=elements, absent=DEMO_ABSENT, progress=progress)
        save(found, result, overwrite=True)
        made, no_page = [spectrum, maps, phases], ""
        paths = {"data_path": str(result), "cube_path": str(store)}
        try:
            report_with_paths(found, page, cube=ds, overwrite=True, progress=progress, **paths)
            made.append(page)
        except MissingDependencyError as error:
            no_page = str(error)
    export(ds, spectrum, overwrite=True)
    export(ds.edx.line_map(list(DEMO_LINES)).compute(), maps, overwrite=True)
    if isinstance(found, xr.Dataset):  # one map, so no collection
        export(found[schema.ABUNDANCE], phases, overwrite=True)
    if no_page:
        logger.warning("no report was made: %s", no_page)
    if settings.json:
        names = ("store", "spectrum", "maps", "result", "phases", "report")
        files = (store, spectrum, maps, result, phases, None if no_page else page)
        print_json({name: file and str(file) for name, file in zip(names, files, strict=True)})
        return
    print_store(settings, store)
    print_result(settings, str(result), found)
    for path in made:
        click.echo(str(path))
