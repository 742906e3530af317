"""``edxdask aided``: masks of precipitates, and compositions from the sums of many maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from edxdask.cli.advice import after_result, say_next
from edxdask.cli.app import Settings, Verb
from edxdask.cli.factorize import factorizer_options, guided_options, print_result, run_and_save
from edxdask.cli.inputs import STORE_HELP, result_of
from edxdask.cli.values import AUTO, Number, OfPhase
from edxdask.errors import ParameterError

PICTURES = (".png", ".tif", ".tiff", ".npy")


@click.command("aided", cls=Verb, epilog=STORE_HELP)
@factorizer_options
@guided_options
@click.option("--matrix", required=True, metavar="PHASE", help="Phase around the others.")
@click.option(
    "--result", type=click.Path(), help="Store of a result of psnmf or nmf; left out: psnmf finds the phases."
)
@click.option(
    "--masks",
    type=OfPhase("METHOD", "Fp:otsu", for_all=True),
    multiple=True,
    help="potts, threshold, otsu, kmeans or grabcut; for all precipitates or for one; may be repeated.  "
    "[default: potts]",
)
@click.option(
    "--user-mask",
    type=OfPhase("FILE", "Fp:fp.png"),
    multiple=True,
    help="Your own mask of a precipitate, PNG, TIFF or .npy; of a collection a folder, with one file for "
    "each map, named like the map.",
)
@click.option(
    "--threshold",
    type=float,
    default=0.1,
    show_default=True,
    help="Abundance that --masks threshold looks for.",
)
@click.option(
    "--core",
    type=Number(int),
    default=AUTO,
    show_default=True,
    help="Pixels between masks and what is taken to be pure matrix.",
)
@click.option("--leave-out", is_flag=True, help="Do without maps that do not belong to the others.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of psnmf.")
@click.pass_obj
def aided_verb(
    settings: Settings,
    store: str,
    out: str,
    matrix: str,
    result: str | None,
    masks: Sequence[tuple[str | None, str]],
    user_mask: Sequence[tuple[str, str]],
    threshold: float,
    core: int | None,
    leave_out: bool,
    seed: int,
    elements: Any,
    absent: Sequence[Any],
    keep_axis: bool,
    **where: Any,
) -> None:
    """Unmix STORE (a cube or a collection) with masks of its precipitates."""
    from edxdask.unmix.aided import aided

    known = None if result is None else result_of(result, "aided", name="--result")

    def work(data: Any, **extra: Any) -> Any:
        return aided(
            data,
            matrix=int(matrix) if matrix.isdigit() else matrix,
            absent=dict(absent),
            result=known,
            elements=elements,
            masks=methods_of(masks),
            threshold=threshold,
            user_masks={phase: masks_at(path, data) for phase, path in user_mask},
            core=core,
            leave_out=leave_out,
            refine_axis=not keep_axis,
            seed=seed,
            **extra,
        )

    print_result(settings, out, run_and_save(settings, store, out, work=work, **where))
    say_next(settings, after_result(out))


def methods_of(masks: Sequence[tuple[str | None, str]]) -> Any:
    """Give the methods as ``aided`` takes them: one for all, or by phase; one for all fills no gaps.

    Examples
    --------
    >>> methods_of([]), methods_of([(None, "otsu")]), methods_of([("Fp", "otsu")])
    ('potts', 'otsu', {'Fp': 'otsu'})
    """
    if not masks:
        return "potts"
    if len(masks) == 1 and masks[0][0] is None:
        return masks[0][1]
    for phase, method in masks:
        if phase is None:
            raise ParameterError("masks", method, "one method for all, or one for each phase, as in Fp:otsu")
    return {str(phase): method for phase, method in masks}


def masks_at(path: str, data: Any) -> str | Mapping[str, str]:
    """Give the file of a mask, or the files in a folder by the names of the maps of a collection."""
    from edxdask.results.collections import cubes_in, is_collection

    if not (Path(path).is_dir() and is_collection(data)):
        return path
    found = {}
    for name in cubes_in(data):
        files = [file for suffix in PICTURES if (file := Path(path) / f"{name}{suffix}").is_file()]
        if len(files) != 1:
            expected = f"one file for the map {name}: {name}.png, .tif, .tiff or .npy; there are {len(files)}"
            raise ParameterError("user_masks", path, expected)
        found[name] = str(files[0])
    return found
