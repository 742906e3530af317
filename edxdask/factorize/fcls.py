"""Abundances for known spectra: least squares on the simplex, or maximum Poisson likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.engine.partition import Partition
from edxdask.engine.problem import Demand, Problem, maps_of, photons_of
from edxdask.engine.states import PixelStates
from edxdask.engine.step import BlockStep, Halo, State, Stats
from edxdask.errors import EdxdaskError, ParameterError, SchemaError
from edxdask.factorize.iteration.gather import gather_abundance
from edxdask.factorize.iteration.pieces import photon_pieces
from edxdask.factorize.iteration.starts import ZeroState
from edxdask.factorize.iteration.sweep_step import ABUNDANCE, Loss
from edxdask.factorize.kernels.likelihood import likelihood_rows
from edxdask.factorize.kernels.simplex import simplex_rows
from edxdask.factorize.spectra.free import FreeSpectra
from edxdask.photons import EPSILON, MAX_PHASES, entropy_term, pixel_totals, project, squares
from edxdask.progress import Progress, ProgressOption, shown
from edxdask.results.build import make_result
from edxdask.results.check import require_variables
from edxdask.results.collections import OneOrMany, is_collection, nodes_of
from edxdask.results.reconstruct import check_same_energy

MOST_CONDITION = 1e10  # of the spectra's Gram matrix, scaled to a unit diagonal


def fcls(
    data: OneOrMany,
    spectra: xr.Dataset | xr.DataTree | xr.DataArray | np.ndarray,
    *,
    loss: Loss = "frobenius",
    precision: Literal["single", "double"] = "double",
    workers: int | None = None,
    memory_limit: str | float | None = None,
    cache: str | Path | None = None,
    progress: ProgressOption = None,
) -> OneOrMany:
    """Find abundances of known spectra in a cube or collection: at least 0, with a sum of exactly 1.

    Runs on the active dask Client if there is one, else on threads.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, or collection of cubes on one energy axis.
    spectra : Dataset, DataTree, DataArray or array
        (phase, energy) of any positive scale: a result, a DataArray or an array. Labels are kept.
    loss : {"frobenius", "kl"}
        "frobenius" minimises the squared difference of each pixel from its photons divided among the spectra
        (an active-set method, exact after a few steps); "kl" maximises the Poisson likelihood (Newton's
        method with bounds), which keeps the photons of every pixel. Photons in channels where all
        spectra are zero say nothing to it and are not in its ``total``.
    precision : {"double", "single"}
        Of the abundances.
    workers : int, optional
        Threads; None takes one per processor that this program may use. A cluster has its own number.
    memory_limit : str or float, optional
        Such as "6GiB"; photons that do not fit go to a cache on local disk.
    cache : path, optional
        Folder of that cache.
    progress : callable, bool or None
        None shows a bar in a terminal and in a notebook; False shows nothing; a callable gets every report.

    Returns
    -------
    Dataset or DataTree
        ``spectrum`` as given but of unit sum, ``abundance``, ``total``, ``objective``; for a collection a
        DataTree.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate("mantle", shape=(16, 16), counts=100)
    >>> result = edxdask.fcls(cube, cube["truth_spectrum"])
    >>> result["phase"].values.tolist()
    ['Brg', 'Fp', 'CaPv']
    """
    if loss not in ("frobenius", "kl"):
        raise ParameterError("loss", loss, "'frobenius' or 'kl'")
    if precision not in ("single", "double"):
        raise ParameterError("precision", precision, "'single' or 'double'")
    views = maps_of(data)
    table, labels = known_spectra(spectra, views[0].cube)
    rank = len(table)
    dtype = np.dtype(np.float32 if precision == "single" else np.float64)
    demand = Demand(rank * dtype.itemsize * 2, 4 * rank * table.shape[1] * 8)
    with (
        shown(progress, "fcls") as hook,
        photons_of(
            data, step="fcls", demand=demand, workers=workers, memory_limit=memory_limit, cache=cache
        ) as problem,
    ):
        table = FreeSpectra(below=problem.below, first=problem.floor.first).spectra(table)
        table = table / table.sum(axis=1, keepdims=True)
        step: BlockStep = LikelihoodStep() if loss == "kl" else SimplexStep()
        states, objective = _solved(problem, step, table, dtype)
        if hook:
            hook(Progress("fcls", 1, 1, "pass"))
        abundance, entry = gather_abundance(states), f"fcls(loss={loss!r})"
        made = make_result(
            problem.maps, table, abundance, np.array([objective]), phases=labels,
            attrs=problem.lowest_energy, entry=entry,
            warnings=problem.warnings,
        )  # fmt: skip
        return cast(OneOrMany, made)


def known_spectra(spectra: Any, cube: xr.Dataset) -> tuple[np.ndarray, list[str]]:
    """Rows of unit sum and their labels, checked against the cube's energy axis.

    Raises
    ------
    ParameterError, SchemaError
        If they cannot be spectra of this cube, or cannot be distinguished.
    """
    energy = cube.coords[schema.ENERGY]
    if isinstance(spectra, xr.Dataset) or is_collection(spectra):
        shared = nodes_of(spectra, name="spectra")[0]
        require_variables(shared, (schema.SPECTRUM,), name="spectra")
        spectra = shared[schema.SPECTRUM]
    labels: Sequence[str] | None = None
    if isinstance(spectra, xr.DataArray):
        if set(spectra.dims) != {schema.PHASE, schema.ENERGY}:
            raise SchemaError(
                f"spectra has dims {spectra.dims}, expected {(schema.PHASE, schema.ENERGY)}: rename them"
            )
        check_same_energy(spectra, energy, name="spectra")
        spectra = spectra.transpose(schema.PHASE, schema.ENERGY)
        if schema.PHASE in spectra.coords:
            labels = [str(label) for label in spectra.coords[schema.PHASE].values]
    table = np.array(spectra, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != energy.size or len(table) == 0:
        raise ParameterError(
            "spectra", f"shape {table.shape}", f"one row per phase, {energy.size} channels long"
        )
    if len(table) > MAX_PHASES:
        raise ParameterError("spectra", f"{len(table)} rows", f"at most {MAX_PHASES}")
    if not np.isfinite(table).all() or (table < 0).any():
        raise ParameterError("spectra", "negative or not finite values", "finite values of at least 0")
    sums = table.sum(axis=1, keepdims=True)
    if (sums == 0).any():
        raise ParameterError(
            "spectra", f"row {int(np.argmin(sums))} is all zeros", "a positive sum in each row"
        )
    table /= sums
    labels = labels or [f"phase_{i}" for i in range(len(table))]
    _check_distinct(table, labels)
    return table, list(labels)


def _check_distinct(table: np.ndarray, labels: Sequence[str]) -> None:
    """Refuse spectra if one is a mixture of others: their abundances would be arbitrary."""
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    cosines = unit @ unit.T
    if np.linalg.cond(cosines) < MOST_CONDITION:
        return
    i, j = divmod(int(np.argmax(cosines - 2 * np.eye(len(unit)))), len(unit))
    raise ParameterError(
        "spectra",
        list(labels),
        "spectra where none is a mixture of others",
        f"The closest are {labels[i]!r} and {labels[j]!r}: leave one out.",
    )


@dataclass(frozen=True)
class SimplexStep:
    """Least squares of every pixel on the simplex, from its products with the spectra."""

    halo_rows: int = 0
    halo_names: tuple[str, ...] = ()

    def run(self, partition: Partition, state: State, shared: np.ndarray, halo: Halo) -> Stats:
        """``shared`` are the spectra (k, E), of unit sum; writes ``abundance`` in counts."""
        gram = shared @ shared.T
        failed, loss = 0, 0.0
        for where, block in partition.blocks():
            products = project(block, np.ascontiguousarray(shared.T))
            amounts = np.empty_like(products)
            failed += simplex_rows(products, pixel_totals(block).astype(np.float64), gram, amounts)
            loss += 0.5 * (squares(block) + float(np.sum((amounts @ gram - 2 * products) * amounts)))
            state[ABUNDANCE][where] = amounts
        return {"failed": failed, "loss": loss}


@dataclass(frozen=True)
class LikelihoodStep:
    """Most likely abundances of every pixel."""

    halo_rows: int = 0
    halo_names: tuple[str, ...] = ()

    def run(self, partition: Partition, state: State, shared: np.ndarray, halo: Halo) -> Stats:
        """``shared`` are the spectra (k, E), of unit sum; writes ``abundance`` in counts."""
        columns = np.ascontiguousarray(shared.T)
        failed, loss = 0, 0.0
        for where, block in partition.blocks():
            loss += entropy_term(block)
            amounts = np.empty((block.pixels, len(shared)))
            for rows, piece in photon_pieces(block):
                value, missed = likelihood_rows(
                    piece.indptr, piece.channel, piece.count, columns, EPSILON, amounts[rows]
                )
                loss, failed = loss + value, failed + missed
            state[ABUNDANCE][where] = amounts
        return {"failed": failed, "loss": loss}


def _solved(
    problem: Problem, step: BlockStep, spectra: np.ndarray, dtype: np.dtype
) -> tuple[PixelStates, float]:
    """Run the step over all pixels: where the abundances are, and the objective."""
    problem.executor.start(ZeroState(len(spectra), dtype))
    stats = problem.executor.advance(step, spectra)
    if stats["failed"]:
        raise EdxdaskError(
            f"fcls: no solution found in {int(stats['failed'])} pixels; are two spectra nearly the same?"
        )
    return PixelStates.now(problem), float(stats["loss"])
