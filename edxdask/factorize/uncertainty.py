"""Errors of spectra and abundances from the Fisher information of Poisson counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.engine.partition import Partition
from edxdask.engine.problem import Demand, maps_of, photons_of
from edxdask.engine.states import PixelStates
from edxdask.engine.step import Halo, State, Stats
from edxdask.errors import ParameterError, SchemaError
from edxdask.factorize.iteration.gather import gather_abundance
from edxdask.factorize.iteration.pieces import photon_pieces
from edxdask.factorize.iteration.starts import GivenState
from edxdask.factorize.iteration.sweep_step import ABUNDANCE
from edxdask.factorize.kernels.information import add_spectra_information, fraction_errors
from edxdask.progress import Progress, ProgressHook
from edxdask.results.collections import OneOrMany
from edxdask.results.reconstruct import Factors, check_same_pixels, factors_of

SPECTRUM_STD = schema.SPECTRUM + schema.STD_SUFFIX
ABUNDANCE_STD = schema.ABUNDANCE + schema.STD_SUFFIX
SINGULAR = 1e-10  # smallest over largest eigenvalue of the information, scaled to a unit diagonal


def with_uncertainty(
    data: OneOrMany,
    result: OneOrMany,
    *,
    abundance: bool = False,
    workers: int | None = None,
    memory_limit: str | float | None = None,
    cache: str | Path | None = None,
    progress: ProgressHook | None = None,
) -> OneOrMany:
    """Add ``spectrum_std`` and, on request, ``abundance_std`` to a result.

    Spectra: in each channel the (phase × phase) information Σ y A_k A_l / ŷ² over the photons is inverted,
    and the errors are converted to spectra of unit sum. Abundances: in each pixel Σ S_k S_l / ŷ over channels
    is inverted, and converted to fractions.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube or collection that was factorized.
    result : Dataset or DataTree
        Of ``nmf``, ``psnmf`` or ``fcls``.
    abundance : bool
        Also ``abundance_std``; its cost follows pixels × channels, not photons.
    workers : int, optional
        Threads; None takes one per processor that this program may use. A cluster has its own number.
    memory_limit : str or float, optional
        Such as "6GiB"; photons that do not fit go to a cache on local disk.
    cache : path, optional
        Folder of that cache.
    progress : callable, optional
        Gets a ``Progress`` after every pass over the photons.

    Returns
    -------
    Dataset or DataTree
        The result with the errors beside its values; NaN where the counts say nothing, as in channels with
        fewer photons than phases and in pixels without any.

    Notes
    -----
    These errors leave some things out. Errors of spectra take the abundances as known, and errors of
    abundances the spectra, so errors that both have in common are missing. Phases that never occur pure have
    many solutions of equal likelihood, which no curvature shows. A prior (``smooth``) makes abundances
    better than these errors say. An entry held at zero has the error that it would have if it were free.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate("mantle", shape=(16, 16), counts=100)
    >>> result = edxdask.nmf(cube, phases=3, max_iter=30)
    >>> edxdask.with_uncertainty(cube, result)["spectrum_std"].dims
    ('phase', 'energy')
    """
    factors, views = factors_of(result), maps_of(data)
    _check_phases(result, factors)
    pieces = {piece.name: piece for piece in factors.maps}
    for view in views:
        if view.name not in pieces or len(views) != len(pieces):
            raise ParameterError("result", list(pieces), f"the maps of data, {[v.name for v in views]}")
        check_same_pixels(view.cube[schema.COUNTS], pieces[view.name], factors)
    k, channels = factors.spectra.shape
    amounts = np.concatenate(
        [np.asarray(pieces[v.name].amounts.values, dtype=np.float64).reshape(k, -1).T for v in views]
    )
    demand = Demand(4 * k * 8, 3 * channels * k * k * 8)
    with photons_of(
        data, step="uncertainty", demand=demand, workers=workers, memory_limit=memory_limit, cache=cache
    ) as problem:
        states = PixelStates.made(problem, GivenState(amounts))
        passes = 1 + abundance
        spectrum_std, states = _spectra_errors(states, factors.spectra)
        if progress:
            progress(Progress("errors", 1, passes, "pass"))
        fraction_std = _fraction_errors(states, factors.spectra) if abundance else None
        if progress and abundance:
            progress(Progress("errors", passes, passes, "pass"))
    return cast(OneOrMany, _beside(result, factors, spectrum_std, fraction_std, [v.name for v in views]))


def _check_phases(result: Any, factors: Factors) -> None:
    if any(schema.ABUNDANCE not in piece.dataset for piece in factors.maps):
        raise SchemaError(
            "errors follow from the Poisson model of phases; a PCA has none: factorize with nmf(...) first"
        )
    values = factors.spectra
    if not np.isfinite(values).all() or (values < 0).any():
        raise SchemaError("spectra of the result hold negative or not finite values; expected at least 0")


def _spectra_errors(states: PixelStates, spectra: np.ndarray) -> tuple[np.ndarray, PixelStates]:
    """Errors of the spectra, and the states, which stay as they are."""
    states.check()
    columns = np.ascontiguousarray(spectra.T)
    lower = states.problem.executor.advance(InformationStep(), columns)["information"]
    variances = inverse_diagonals(lower).T
    known = np.nan_to_num(variances, nan=0.0)
    # t → t / Σt: ds_e = dt_e - s_e Σ dt
    carried = variances * (1 - 2 * spectra) + spectra**2 * known.sum(axis=1, keepdims=True)
    return np.sqrt(np.maximum(carried, 0)), PixelStates.now(states.problem)


def inverse_diagonals(lower: np.ndarray) -> np.ndarray:
    """Diagonals of the inverses of ``(E, k, k)`` matrices given by their lower triangles; NaN if singular.

    Examples
    --------
    >>> inverse_diagonals(np.array([[[4.0, 0.0], [0.0, 4.0]], [[1.0, 0.0], [1.0, 1.0]]])).tolist()
    [[0.25, 0.25], [nan, nan]]
    """
    symmetric = lower + np.tril(lower, -1).transpose(0, 2, 1)
    diagonal = np.einsum("ekk->ek", symmetric)
    out = np.full(diagonal.shape, np.nan)
    seen = (diagonal > 0).all(axis=1)
    root = np.sqrt(diagonal[seen])
    scaled = symmetric[seen] / (root[:, :, None] * root[:, None, :])
    regular = np.linalg.eigvalsh(scaled)[:, 0] > SINGULAR
    seen[seen] = regular
    out[seen] = np.einsum("ekk->ek", np.linalg.inv(scaled[regular])) / diagonal[seen]
    return out


@dataclass(frozen=True)
class InformationStep:
    """Observed information about the spectra; its expectation is Σ A_k A_l / ŷ, its cost follows photons."""

    halo_rows: int = 0
    halo_names: tuple[str, ...] = ()

    def run(self, partition: Partition, state: State, shared: np.ndarray, halo: Halo) -> Stats:
        """``shared`` are the spectra by channel, (E, k)."""
        information = np.zeros((*shared.shape, shared.shape[1]))
        for where, block in partition.blocks():
            abundance = state[ABUNDANCE][where]
            for rows, piece in photon_pieces(block):
                add_spectra_information(
                    piece.indptr, piece.channel, piece.count, abundance[rows], shared, information
                )
        return {"information": information}


@dataclass(frozen=True, eq=False)
class FractionErrors:
    """State with standard errors of the fractions in place of the abundances; ``spectra`` are (k, E)."""

    spectra: np.ndarray

    def __call__(self, partition: Partition, state: State) -> State:
        """Convert one partition's state."""
        errors = np.empty_like(state[ABUNDANCE])
        fraction_errors(self.spectra, state[ABUNDANCE], errors)
        return {ABUNDANCE: errors}


def _fraction_errors(states: PixelStates, spectra: np.ndarray) -> np.ndarray:
    return gather_abundance(states.changed(FractionErrors(np.ascontiguousarray(spectra))))


def _beside(
    result: xr.Dataset | xr.DataTree,
    factors: Factors,
    spectrum_std: np.ndarray,
    fraction_std: np.ndarray | None,
    order: list[str],
) -> xr.Dataset | xr.DataTree:
    entry = f"with_uncertainty(abundance={fraction_std is not None})"
    shared = {SPECTRUM_STD: ((schema.PHASE, schema.ENERGY), spectrum_std, _attrs(schema.SPECTRUM))}
    own = {} if fraction_std is None else _maps_of_errors(factors, fraction_std, order)
    if isinstance(result, xr.Dataset):
        attrs = schema.with_history(result.attrs, entry)
        return result.assign({**shared, **own.get("", {})}).assign_attrs(attrs)
    nodes = {node.path: node.to_dataset(inherit=False) for node in result.subtree}
    nodes["/"] = nodes["/"].assign(shared).assign_attrs(schema.with_history(result.attrs, entry))
    for name, variables in own.items():
        nodes["/" + name] = nodes["/" + name].assign(variables)
    return xr.DataTree.from_dict(nodes, name=result.name)


def _maps_of_errors(factors: Factors, errors: np.ndarray, order: list[str]) -> dict[str, dict[str, Any]]:
    """``abundance_std`` of every map, cut from the errors of all pixels, which are in ``order``."""
    pieces = {piece.name: piece for piece in factors.maps}
    out, first = {}, 0
    for name in order:
        amounts = pieces[name].amounts
        pixels = int(np.prod(amounts.shape[1:]))
        values = np.ascontiguousarray(errors[first : first + pixels].T).reshape(amounts.shape)
        out[name] = {ABUNDANCE_STD: (amounts.dims, values.astype(np.float32), _attrs(schema.ABUNDANCE))}
        first += pixels
    return out


def _attrs(name: str) -> dict[str, str]:
    attrs = schema.variable_attrs(name)
    return {**attrs, "long_name": f"standard error of: {attrs['long_name']}"}
