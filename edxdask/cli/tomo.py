"""``edxdask tomo``: volumes of phases from a tilt series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from edxdask.cli.advice import after_result, say_next
from edxdask.cli.app import Settings, Verb
from edxdask.cli.factorize import PHASES_HELP, factorizer_options
from edxdask.cli.files import again
from edxdask.cli.inputs import conditions, cubes_of, result_of, with_conditions
from edxdask.cli.output import print_json, print_matrix, print_notes, print_table
from edxdask.cli.progress import shown
from edxdask.cli.targets import check_target
from edxdask.cli.tomo_images import Asked, without_phases
from edxdask.cli.values import (
    AUTO,
    AbsentElements,
    Elements,
    Number,
    OfPhase,
    PhasesOption,
    Quantity,
    Span,
    TiltAngles,
    TiltAxis,
    Value,
)
from edxdask.errors import ParameterError
from edxdask.schema import TILT_AXIS

SERIES_HELP = "STORE holds a cube of counts (tilt, y, x, energy), or a collection of maps of one tilt each."
NONE = "none"


class Shadows(Value):
    """What the holder hides from each detector."""

    name = "BEGINS:FULL|none,…"
    example = "10:50,none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text into a list of (begins, full) or None."""
        if not isinstance(value, str):
            return value
        try:
            return [None if one == NONE else _two_tilts(one) for one in value.split(",")]
        except ValueError:
            self.fail(
                f"{value!r}: expected {self.name}, one for each detector, as in {self.example}", param, ctx
            )

    def typed(self, value: Any) -> str:
        """Give shadows as they are typed."""
        if isinstance(value, str):
            return value
        return ",".join(NONE if one is None else f"{one[0]:g}:{one[1]:g}" for one in value)


def _two_tilts(text: str) -> tuple[float, float]:
    begins, full = map(float, text.split(":"))
    return begins, full


@click.command("tomo", cls=Verb, epilog=SERIES_HELP)
@factorizer_options
@click.option(
    "--result", type=click.Path(), help="Store of a result of psnmf or nmf; left out: psnmf finds the phases."
)
@click.option("--phases", type=PhasesOption(findable=True), default=3, show_default=True, help=PHASES_HELP)
@click.option("--elements", type=Elements(), help="Elements of the sample: volumes then are fractions.")
@click.option(
    "--absent",
    type=AbsentElements(),
    multiple=True,
    help="Elements that a phase cannot hold, by label or number; may be repeated.",
)
@click.option(
    "--density",
    "densities",
    type=OfPhase("G/CM3", "Brg:4.1"),
    multiple=True,
    help="Density of a phase; may be repeated.",
)
@click.option(
    "--absorption",
    is_flag=True,
    help="Fold what the object absorbs into yields, and into spectra of a --result of thin matter; needs "
    "--density of each phase.",
)
@click.option(
    "--shadows",
    type=Shadows(),
    help="Tilts at which the holder's shadow on each detector begins and is full, or none. Needed where the "
    "field cuts the object; elsewhere the photons say what detectors see.",
)
@click.option(
    "--image",
    metavar="NAME|LINE,…",
    help="Volumes of this instead of phases: an image of every tilt (haadf), total, or lines: Se_La,Zn_Ka.",
)
@click.option("--method", type=click.Choice(["sirt", "fbp"]), help="Of volumes of --image.  [default: sirt]")
@click.option(
    "--align-only",
    is_flag=True,
    help="Only find how projections moved, on --image (left out: haadf, or total), for --alignment.",
)
@click.option("--axis", TILT_AXIS, type=TiltAxis(), help="Tilt axis; left out: as the store says, or y.")
@click.option("--tilts", "tilts_deg", type=TiltAngles(), help="Tilts, if the store does not say them.")
@click.option(
    "--alignment",
    default=AUTO,
    show_default=True,
    metavar=f"{AUTO}|{NONE}|STORE",
    help="How projections moved: found, not at all, or as a store of align_tilts says.",
)
@click.option("--depth", type=Quantity("NM", 100.0), help="Thickness of the volume; left out: its width.")
@click.option("--rows", type=Span(int, "0:16"), help="Rows along the tilt axis, for a try; B not included.")
@click.option(
    "--prior", type=click.Choice(["tv", NONE]), default="tv", show_default=True, help="Kind of prior."
)
@click.option("--strength", type=Number(float), default=AUTO, show_default=True, help="Of the prior.")
@click.option("--no-cap", is_flag=True, help="Phases may fill more than a voxel.")
@click.option("--half", is_flag=True, help="Store the volume in half precision.")
@click.option("--slab-rows", type=int, metavar="N", help="Rows of a slab; left out: as memory allows.")
@click.option("--max-iter", type=int, help="Most passes over the projections; of --image, all that are made.")
@click.option("--tol", type=float, help="Relative change still to come at which a slab has converged.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of psnmf and of the count splitting.")
@click.option("--resume", is_flag=True, help="Continue a run that was interrupted.")
@conditions
@click.pass_obj
def tomo_verb(
    settings: Settings,
    store: str,
    out: str,
    result: str | None,
    image: str | None,
    method: str | None,
    align_only: bool,
    absent: Sequence[Any],
    densities: Sequence[tuple[str, str]],
    alignment: str,
    rows: tuple[int | None, int | None] | None,
    no_cap: bool,
    half: bool,
    max_iter: int | None,
    tol: float | None,
    resume: bool,
    overwrite: bool,
    scheduler: str,
    workers: int | None,
    worker_memory: str | None,
    memory_limit: str | None,
    wait: float,
    beam_energy: float | None,
    elevation: list[float] | None,
    efficiency: str | None,
    **how: Any,
) -> None:
    """Reconstruct volumes of phases, or of images, from the tilt series STORE."""
    from edxdask.cluster import client_for
    from edxdask.io.save import continued_by
    from edxdask.tomographies import tomography

    if image is not None or align_only:
        asked = Asked(store, out, image, align_only, how[TILT_AXIS], how["tilts_deg"], workers, overwrite)
        made = without_phases(settings, asked, _alignment(alignment), method, how["depth"], max_iter)
        if made is not None:
            _print(settings, made, out)
        return
    if method is not None:
        raise ParameterError("--method", method, "an image beside it", typed_fix="As in --image haadf.")
    check_target(out, store, overwrite=overwrite or resume)
    known: dict[str, Any] = {"beam_energy": beam_energy, "elevation": elevation, "efficiency": efficiency}
    data: Any = with_conditions(cubes_of(store, "tomo"), **known)
    given = {"max_iter": max_iter, "tol": tol}
    how |= {name: value for name, value in given.items() if value is not None}
    settings.resume = again()
    with (
        client_for(scheduler, workers=workers, memory=worker_memory, wait_s=wait),
        shown(settings) as progress,
        continued_by(settings.resume),
    ):
        made = tomography(
            data,
            result=None if result is None else result_of(result, "tomo", name="--result"),
            absent=dict(absent) or None,
            densities={phase: _density(phase, text) for phase, text in densities} or None,
            alignment=_alignment(alignment),
            rows=rows,
            cap=not no_cap,
            dtype="float16" if half else "float32",
            out=out,
            resume=resume,
            overwrite=overwrite,
            workers=workers,
            memory_limit=memory_limit,
            progress=progress,
            **how,
        )
    settings.resume = None
    _print(settings, made, out)


def _density(phase: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ParameterError("--density", f"{phase}:{text}", "g/cm³ of a phase, as in Brg:4.1") from None


def _alignment(word: str) -> Any:
    """Give the option as ``tomography`` takes it."""
    from edxdask.io import open_store

    return {AUTO: True, NONE: False}.get(word) if word in (AUTO, NONE) else open_store(word)


def _print(settings: Settings, made: Any, out: str) -> None:
    """Print what was found, for a person or a program."""
    from edxdask.report.summary import warnings_of
    from edxdask.report.volume_summary import volume_figures, volume_lines, volume_table

    figures = volume_figures(made)
    if settings.json:
        print_json({"out": out, **figures})
        return
    print_matrix(*volume_table(figures))
    click.echo()
    print_table(volume_lines(figures))
    print_notes(settings, warnings_of(made))
    click.echo(out)
    say_next(settings, after_result(out))
