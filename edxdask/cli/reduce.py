"""``edxdask bin``, ``crop`` and ``rebin``: a store of smaller or other maps from a store."""

from __future__ import annotations

from typing import Any

import click

from edxdask.cli.advice import after_store, say_next
from edxdask.cli.app import Settings, Verb
from edxdask.cli.files import OVERWRITE_HELP, again, print_store
from edxdask.cli.inputs import STORE_HELP, conditions, cubes_of, store_argument, with_conditions
from edxdask.cli.progress import shown
from edxdask.cli.targets import check_target
from edxdask.cli.values import Elements, Span
from edxdask.errors import ParameterError
from edxdask.schema import ENERGY, X, Y

Pixels = tuple[int | None, int | None]


@click.command("bin", cls=Verb, epilog=STORE_HELP)
@store_argument
@click.option("-o", "--out", required=True, type=click.Path(), help="Store to make.")
@click.option("-b", "--factor", type=int, help="Pixels to sum along y and x.")
@click.option("--energy", type=int, help="Channels to sum.")
@click.option("--resume", is_flag=True, help="Continue a binning that was interrupted.")
@click.option("--overwrite", is_flag=True, help=OVERWRITE_HELP)
@click.pass_obj
def bin_verb(
    settings: Settings,
    store: str,
    out: str,
    factor: int | None,
    energy: int | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """Sum neighbouring pixels (and channels) of STORE into a smaller one."""
    if factor is None and energy is None:
        raise click.UsageError("give the number of pixels or channels to sum: -b 4, or --energy 2")
    check_target(out, store, overwrite=overwrite or resume)
    binned = cubes_of(store, "bin").edx.bin(factor, **({} if energy is None else {ENERGY: energy}))
    _save(settings, binned, out, resume=resume, overwrite=overwrite)


@click.command("crop", cls=Verb, epilog=STORE_HELP)
@store_argument
@click.option("-o", "--out", required=True, type=click.Path(), help="Store to make.")
@click.option(
    "--energy",
    type=Span(float, "0.2:20"),
    help="First and last energy, keV; an end may be left out, as in 0.2:.",
)
@click.option("--y", "rows", type=Span(int, "0:100"), help="Rows, from 0 on; B is not included.")
@click.option("--x", "columns", type=Span(int, "0:100"), help="Columns, from 0 on; B is not included.")
@click.option("--resume", is_flag=True, help="Continue a crop that was interrupted.")
@click.option("--overwrite", is_flag=True, help=OVERWRITE_HELP)
@click.pass_obj
def crop_verb(
    settings: Settings,
    store: str,
    out: str,
    energy: tuple[float | None, float | None] | None,
    rows: Pixels | None,
    columns: Pixels | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """Cut a range of energies, rows or columns out of STORE, of every map of a collection."""
    from edxdask.results.collections import on_each_map

    if energy is None and rows is None and columns is None:
        raise click.UsageError("give a range to keep: --energy 0.2:20, --y 0:100 or --x 0:100")
    check_target(out, store, overwrite=overwrite or resume)

    def cropped(cube: Any) -> Any:
        given = {Y: rows, X: columns}
        ranges = {dim: _extent(cube, dim, span) for dim, span in given.items() if span is not None}
        return cube.edx.crop(energy=energy, **ranges)

    _save(settings, on_each_map(cropped, cubes_of(store, "crop")), out, resume=resume, overwrite=overwrite)


@click.command("rebin", cls=Verb, epilog=STORE_HELP)
@store_argument
@click.option("-o", "--out", required=True, type=click.Path(), help="Store to make.")
@click.option("--like", type=click.Path(), help="Store of one map with the axis to use.")
@click.option(
    "--elements", type=Elements(), help="Elements of the sample: refine each map's axis by their lines first."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random places.")
@conditions
@click.option("--resume", is_flag=True, help="Continue where it was interrupted.")
@click.option("--overwrite", is_flag=True, help=OVERWRITE_HELP)
@click.pass_obj
def rebin_verb(
    settings: Settings,
    store: str,
    out: str,
    like: str | None,
    elements: list[str] | None,
    seed: int,
    resume: bool,
    overwrite: bool,
    **known: Any,
) -> None:
    """Put the maps of STORE on one energy axis; whole photons move, each at random within its channel."""
    from edxdask.ops.rebin import rebin_energy

    check_target(out, store, overwrite=overwrite or resume)
    data = with_conditions(cubes_of(store, "rebin"), **known)
    axis = None if like is None else cubes_of(like, "rebin")
    rebinned = rebin_energy(data, like=axis, elements=elements, seed=seed)
    _save(settings, rebinned, out, resume=resume, overwrite=overwrite)


def _extent(cube: Any, dim: str, span: Pixels) -> tuple[float, float]:
    """Coordinates of the first and last pixel of a range that is numbered from 0."""
    if dim not in cube.sizes:
        raise ParameterError(f"--{dim}", span, f"no range of {dim}, which the map has not")
    size = cube.sizes[dim]
    first, stop = span[0] or 0, size if span[1] is None else span[1]
    if first >= size or stop > size:
        fix = f"Without an end it goes on to the last one: --{dim} {min(first, size - 1)}:"
        raise ParameterError(f"--{dim}", span, f"a range within 0:{size}, the size of the map", fix)
    ends = cube[dim].values[[first, stop - 1]]
    return float(ends.min()), float(ends.max())


def _save(settings: Settings, data: Any, out: str, *, resume: bool, overwrite: bool) -> None:
    """Write lazy cubes, chunk by chunk, and say what was written."""
    from edxdask.io.save import continued_by, save

    settings.resume = again()
    with shown(settings) as progress, continued_by(settings.resume):
        save(data, out, overwrite=overwrite, resume=resume, progress=progress)
    settings.resume = None
    say_next(settings, after_store(out, print_store(settings, out)))
