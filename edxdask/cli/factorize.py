"""``edxdask pca``, ``nmf``, ``psnmf`` and ``score``: factorize stores, on this machine or a cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edxdask.cli.advice import after_result, say_next
from edxdask.cli.app import Settings, Verb
from edxdask.cli.files import OVERWRITE_HELP, again
from edxdask.cli.inputs import (
    STORE_HELP,
    conditions,
    cubes_of,
    film,
    result_of,
    store_argument,
    with_conditions,
)
from edxdask.cli.output import print_json, print_matrix, print_notes, print_table
from edxdask.cli.progress import shown
from edxdask.cli.targets import check_target, claimed
from edxdask.cli.values import AUTO, AbsentElements, Elements, Number, PhasesOption

PHASES_HELP = "Number of phases, or their names, biggest first."


def factorizer_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of all factorizations."""
    options = (
        store_argument,
        click.option("-o", "--out", required=True, type=click.Path(), help="Store of the result."),
        click.option(
            "--scheduler",
            default="threads",
            show_default=True,
            help="threads, local, slurm, pbs, or the address of a scheduler.",
        ),
        click.option("--workers", type=int, help="Threads, worker processes or jobs; default one per core."),
        click.option("--worker-memory", help="Memory of one worker process or job, such as 16GiB."),
        click.option(
            "--wait",
            type=float,
            default=600.0,
            show_default=True,
            help="Seconds to wait for the first workers.",
        ),
        click.option("--memory-limit", help="Memory this process may take, such as 6GiB (threads)."),
        click.option("--overwrite", is_flag=True, help=OVERWRITE_HELP),
    )
    for option in reversed(options):
        command = option(command)
    return command


def guided_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of physics-guided factorizations."""
    options = (
        click.option(
            "--elements", type=Elements(), help="Elements of the sample: spectra are made of their lines."
        ),
        click.option(
            "--absent",
            type=AbsentElements(),
            multiple=True,
            help="Elements that a phase cannot hold, by label or number; may be repeated.",
        ),
        click.option("--keep-axis", is_flag=True, help="Take the energy axis and the peaks' width as given."),
        film,
        conditions,
    )
    for option in reversed(options):
        command = option(command)
    return command


def run_and_save(
    settings: Settings,
    store: str,
    out: str,
    *,
    scheduler: str,
    workers: int | None,
    worker_memory: str | None,
    memory_limit: str | None,
    overwrite: bool,
    work: Callable[..., Any],
    checkpointed: bool = True,
    wait: float = 600.0,
    **known: Any,
) -> Any:
    """Open, factorize on the chosen scheduler, save; the same command resumes an interrupted run."""
    from edxdask.cluster import client_for
    from edxdask.io import save
    from edxdask.io.save import continued_by

    check_target(out, store, overwrite=overwrite)
    verb = click.get_current_context().info_name or "this verb"
    data = with_conditions(cubes_of(store, verb), **known)
    checkpoint = Path(f"{out}.checkpoint")
    extra: dict[str, Any] = {"memory_limit": memory_limit, "workers": workers}
    if checkpointed:
        extra["checkpoint"] = checkpoint
        settings.resume = again(option=None)
    with (
        claimed(out),
        client_for(scheduler, workers=workers, memory=worker_memory, wait_s=wait),
        shown(settings) as progress,
    ):
        result = work(data, progress=progress, **extra)
        settings.resume = None
        with continued_by(again(option=None)):
            save(result, out, overwrite=overwrite)
    return result


def print_result(settings: Settings, out: str, result: Any) -> None:
    """Print what a factorization or PCA found, for a person or a program."""
    from edxdask.report.summary import fit_figures, fit_lines, result_table, warnings_of

    figures = fit_figures(result)
    if settings.json:
        print_json({"out": out, **figures})
        return
    print_matrix(*result_table(result))
    click.echo()
    print_table(fit_lines(figures))
    print_notes(settings, warnings_of(result))
    click.echo(out)


@click.command("nmf", cls=Verb, epilog=STORE_HELP)
@factorizer_options
@guided_options
@click.option("--phases", type=PhasesOption(findable=False), default=3, show_default=True, help=PHASES_HELP)
@click.option(
    "--loss",
    type=click.Choice(["kl", "frobenius"]),
    default="kl",
    show_default=True,
    help="kl fits Poisson counts.",
)
@click.option(
    "--init",
    type=click.Choice(["nndsvda", "random"]),
    help="How factors start; left out: nndsvda, with zeros filled to suit many counts.",
)
@click.option("--max-iter", type=int, default=500, show_default=True, help="Most iterations.")
@click.option("--tol", type=float, default=1e-7, show_default=True, help="Relative gain at which to stop.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.pass_obj
def nmf_verb(
    settings: Settings,
    store: str,
    out: str,
    phases: Any,
    loss: Any,
    init: str | None,
    max_iter: int,
    tol: float,
    seed: int,
    elements: Any,
    absent: tuple[Any, ...],
    keep_axis: bool,
    **where: Any,
) -> None:
    """Factorize STORE (a cube or a collection) into phases."""
    from edxdask.factorize.nmf import nmf

    physics = {"elements": elements, "absent": dict(absent), "refine_axis": not keep_axis}

    def work(data: Any, **extra: Any) -> Any:
        return nmf(
            data,
            phases=phases,
            loss=loss,
            init=init,
            max_iter=max_iter,
            tol=tol,
            seed=seed,
            **physics,
            **extra,
        )

    print_result(settings, out, run_and_save(settings, store, out, work=work, **where))
    say_next(settings, after_result(out))


@click.command("psnmf", cls=Verb, epilog=STORE_HELP)
@factorizer_options
@guided_options
@click.option("--phases", type=PhasesOption(findable=True), default=3, show_default=True, help=PHASES_HELP)
@click.option("--bin", "factor", type=Number(int), default=AUTO, show_default=True, help="Pixels per side.")
@click.option(
    "--smooth", type=Number(float), default=AUTO, show_default=True, help="Strength of the spatial prior."
)
@click.option(
    "--prior",
    type=click.Choice(["tv", "laplacian"]),
    default="tv",
    show_default=True,
    help="Kind of spatial prior.",
)
@click.option(
    "--closure",
    type=click.Choice(["counts", "thickness"]),
    default="counts",
    show_default=True,
    help="counts: every pixel keeps its photons; thickness: all pixels are equally thick.",
)
@click.option("--max-iter", type=int, default=400, show_default=True, help="Most rounds of the first fit.")
@click.option("--tol", type=float, default=1e-5, show_default=True, help="Relative gain at which it stops.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.pass_obj
def psnmf_verb(
    settings: Settings,
    store: str,
    out: str,
    phases: Any,
    factor: int | None,
    smooth: float | None,
    prior: Any,
    closure: Any,
    max_iter: int,
    tol: float,
    seed: int,
    elements: Any,
    absent: tuple[Any, ...],
    keep_axis: bool,
    **where: Any,
) -> None:
    """Unmix STORE (a cube or a collection): spectra from bins, maps from all pixels."""
    from edxdask.factorize.psnmf import psnmf

    physics = {"elements": elements, "absent": dict(absent), "refine_axis": not keep_axis}

    def work(data: Any, **extra: Any) -> Any:
        return psnmf(
            data,
            phases=phases,
            bin=factor,
            smooth=smooth,
            prior=prior,
            closure=closure,
            max_iter=max_iter,
            tol=tol,
            seed=seed,
            **physics,
            **extra,
        )

    print_result(settings, out, run_and_save(settings, store, out, work=work, **where))
    say_next(settings, after_result(out))


@click.command("pca", cls=Verb, epilog=STORE_HELP)
@factorizer_options
@click.option("--components", type=int, default=3, show_default=True, help="Number of components.")
@click.option("--weighting", type=click.Choice(["poisson", "none"]), default="poisson", show_default=True)
@click.pass_obj
def pca_verb(settings: Settings, store: str, out: str, components: int, weighting: Any, **where: Any) -> None:
    """Principal components of STORE, weighted for Poisson noise."""
    from edxdask.factorize.pca import pca

    def work(data: Any, **extra: Any) -> Any:
        weights = None if weighting == "none" else weighting
        return pca(data, components=components, weighting=weights, **extra)

    result = run_and_save(settings, store, out, work=work, checkpointed=False, **where)
    print_result(settings, out, result)
    say_next(settings, after_result(out))


@click.command("score", cls=Verb)
@click.argument("result", type=click.Path())
@click.argument("truth", type=click.Path())
@click.pass_obj
def score_verb(settings: Settings, result: str, truth: str) -> None:
    """Compare RESULT with TRUTH, the simulated store, which holds what is true."""
    from edxdask.io import open_store
    from edxdask.results.score import score

    found = score(result_of(result, "score", volumes=True), truth=open_store(truth))
    if settings.json:
        print_json(found.to_dict())
    else:
        click.echo(repr(found))
        say_next(settings, after_result(result))
