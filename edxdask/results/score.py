"""How close a result is to a known truth: spectral angles, errors of maps, angles of pixels, compositions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy.optimize import linear_sum_assignment

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.results.check import require_variables
from edxdask.results.collections import nodes_of
from edxdask.results.kinds import Kind, kind_of
from edxdask.results.reconstruct import Factors, MapFactors, check_same_energy, factors_of
from edxdask.results.score_volume import VolumeScore, score_volume

PIXELS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Score:
    """Figures of one result against its truth, in the order of the true phases.

    Attributes
    ----------
    phases : names of the true phases
    matched : row of the result that was matched to each; "" where the result has fewer, or is a PCA
    angles : (phases,) degrees between spectra
    mse : (phases,) mean squared difference of abundance maps
    map_angle : degrees between expected and noiseless spectra, mean over pixels
    composition_error : (phase, element) difference of atomic fractions, where both are known
    """

    phases: tuple[str, ...]
    matched: tuple[str, ...]
    angles: np.ndarray
    mse: np.ndarray | None
    map_angle: float | None
    composition_error: xr.DataArray | None = None

    def __repr__(self) -> str:
        """Table, one line per phase."""
        width = max(5, *(len(p) for p in self.phases))
        other = max(7, *(len(m) for m in self.matched))
        lines = [f"{'phase':<{width}}  {'matched':<{other}}  {'angle/deg':>9}  {'map MSE':>9}"]
        for i, (phase, match) in enumerate(zip(self.phases, self.matched, strict=True)):
            mse = "" if self.mse is None else f"{self.mse[i]:.3g}"
            lines.append(f"{phase:<{width}}  {match or '-':<{other}}  {self.angles[i]:>9.3f}  {mse:>9}")
        if self.map_angle is not None:
            lines.append(f"mean map angle {self.map_angle:.3f} deg")
        if self.composition_error is not None:
            worst = 100 * float(np.abs(self.composition_error).max())
            lines.append(f"largest error of composition {worst:.2f} at.%")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text, as for JSON; None where a figure is not known."""

        def plain(values: np.ndarray | None) -> list[float | None] | None:
            return None if values is None else [float(v) if np.isfinite(v) else None for v in values]

        return {
            "phases": list(self.phases),
            "matched": list(self.matched),
            "angles_deg": plain(self.angles),
            "mse": plain(self.mse),
            "map_angle_deg": self.map_angle,
            "composition_error": self._compositions(),
        }

    def _compositions(self) -> dict[str, dict[str, float]] | None:
        errors = self.composition_error
        if errors is None:
            return None
        elements = [str(e) for e in errors[schema.ELEMENT].values]
        return {
            str(phase): dict(zip(elements, row.tolist(), strict=True))
            for phase, row in zip(errors[schema.PHASE].values, errors.values, strict=True)
        }


def score(
    result: xr.Dataset | xr.DataTree,
    *,
    truth: xr.Dataset | xr.DataTree | None = None,
    truth_spectrum: xr.DataArray | np.ndarray | None = None,
    truth_abundance: xr.DataArray | np.ndarray | Mapping[str, Any] | None = None,
    truth_composition: xr.DataArray | None = None,
    truth_volume: xr.DataArray | None = None,
) -> Score | VolumeScore:
    """Compare a result with the truth of its simulated data.

    Phases are matched first, so that the sum of spectral angles is least (Hungarian method). The angle of a
    pixel between expected and noiseless spectrum follows from products of the spectra with one another, so
    no cube is made. Phases of volumes are matched by their voxels.

    Parameters
    ----------
    result : Dataset or DataTree
        What ``nmf``, ``psnmf``, ``fcls``, ``tomography`` or, for the map angle alone, ``pca`` gave.
    truth : Dataset or DataTree, optional
        Simulated cube or collection, which carries ``truth_*``; for a volume, another volume will do.
    truth_spectrum : DataArray or array, optional
        True spectra (phase, energy), where ``truth`` is not given.
    truth_abundance : DataArray, array or mapping, optional
        True fractions (phase, …); for a collection one array per map, by name.
    truth_composition : DataArray, optional
        True atomic fractions (phase, element), compared where the result has ``composition``.
    truth_volume : DataArray, optional
        True fractions of voxels (phase, z, y, x), for a volume.

    Returns
    -------
    Score or VolumeScore
        Its text is a table; ``to_dict()`` for programs.

    Examples
    --------
    >>> import edxdask
    >>> ds = edxdask.simulate(shape=(8, 8), counts=50, seed=1)
    >>> result = xr.Dataset(
    ...     {"spectrum": ds.truth_spectrum, "abundance": ds.truth_abundance, "total": ds.truth_total}
    ... )
    >>> found = score(result, truth=ds)
    >>> found.matched, float(abs(found.angles).max()) < 0.001
    (('Brg', 'Fp', 'CaPv'), True)
    """
    if kind_of(result) is Kind.VOLUME:
        return score_volume(result, truth if truth_volume is None else truth_volume)
    factors = factors_of(result)
    given = _given_truth(truth, truth_spectrum, truth_abundance, truth_composition)
    spectra, names = _true_spectra(given.spectrum, factors.energy)
    maps = [_true_map(given.abundance, piece, len(spectra)) for piece in factors.maps]
    known = [m for m in maps if m is not None]
    if known and len(known) < len(maps):
        raise ParameterError("truth_abundance", f"{len(known)} maps", f"one for each of {len(maps)}")
    phases = all(schema.ABUNDANCE in piece.dataset for piece in factors.maps)
    if not phases and not known:
        raise ParameterError("truth_abundance", None, "the true abundances", "A PCA has no phases to match.")
    pairs = match_phases(spectra, factors.spectra) if phases else {}
    angles = angles_between(spectra, factors.spectra)
    return Score(
        tuple(names),
        tuple(factors.labels[pairs[i]] if i in pairs else "" for i in range(len(names))),
        np.array([angles[i, pairs[i]] if i in pairs else np.nan for i in range(len(names))]),
        _map_errors(factors, known, pairs) if known and phases else None,
        _mean_map_angle(factors, known, spectra) if known else None,
        _composition_error(result, given.composition, names, pairs),
    )


@dataclass(frozen=True)
class Truth:
    """The known truth: spectra, abundances by map, compositions."""

    spectrum: Any
    abundance: Mapping[str, Any]
    composition: xr.DataArray | None


def _given_truth(truth: Any, spectrum: Any, abundance: Any, composition: Any) -> Truth:
    if truth is None:
        if spectrum is None:
            raise ParameterError(
                schema.TRUTH_SPECTRUM, None, "true spectra", "Or give truth=, a simulated cube."
            )
        by_name = abundance if isinstance(abundance, Mapping) else {"": abundance}
        return Truth(spectrum, by_name, composition)
    shared, maps = nodes_of(truth, name="truth")
    if schema.TRUTH_SPECTRUM not in shared and maps:
        shared = maps[0][1]  # a collection may carry them map by map
    if schema.TRUTH_SPECTRUM not in shared and spectrum is None:
        raise SchemaError(
            "truth carries no truth_spectrum: give the simulated cube itself, or truth_spectrum and "
            "truth_abundance"
        )
    own = {name: ds.get(schema.TRUTH_ABUNDANCE) for name, ds in maps}
    if abundance is not None:
        own = dict(abundance) if isinstance(abundance, Mapping) else {"": abundance}
    return Truth(
        spectrum if spectrum is not None else shared[schema.TRUTH_SPECTRUM],
        own,
        composition if composition is not None else shared.get(schema.TRUTH_COMPOSITION),
    )


def _true_spectra(spectrum: Any, energy: xr.DataArray) -> tuple[np.ndarray, list[str]]:
    names = None
    if isinstance(spectrum, xr.DataArray):
        if set(spectrum.dims) != {schema.PHASE, schema.ENERGY}:
            raise SchemaError(
                f"truth_spectrum has dims {spectrum.dims}, expected {(schema.PHASE, schema.ENERGY)}"
            )
        spectrum = spectrum.transpose(schema.PHASE, schema.ENERGY)
        check_same_energy(spectrum, energy, name=schema.TRUTH_SPECTRUM)
        if schema.PHASE in spectrum.coords:
            names = [str(p) for p in spectrum.coords[schema.PHASE].values]
    table = np.asarray(spectrum, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != energy.size:
        raise ParameterError(
            schema.TRUTH_SPECTRUM, f"shape {table.shape}", f"one row per phase, {energy.size} channels long"
        )
    if not np.isfinite(table).all() or not (table != 0).any(axis=1).all():
        raise ParameterError(
            schema.TRUTH_SPECTRUM, "NaN or rows of zeros", "finite rows that are not all zero"
        )
    return table, names or [f"phase_{i}" for i in range(len(table))]


def _true_map(abundance: Mapping[str, Any], piece: MapFactors, phases: int) -> np.ndarray | None:
    """Check true fractions of a map; (phases, pixels)."""
    if abundance.get(piece.name) is None:
        return None
    values = abundance[piece.name]
    if isinstance(values, xr.DataArray):
        if set(values.dims) != {schema.PHASE, *piece.pixel_dims}:
            raise SchemaError(
                f"truth_abundance has dims {values.dims}, expected {(schema.PHASE, *piece.pixel_dims)}"
            )
        values = values.transpose(schema.PHASE, *piece.pixel_dims).values
    table = np.asarray(values, dtype=np.float64)
    wanted = (phases, *piece.amounts.shape[1:])
    if table.shape != wanted:
        raise ParameterError(
            schema.TRUTH_ABUNDANCE, f"shape {table.shape}", f"{wanted}, phases first", "np.moveaxis(a, -1, 0)"
        )
    if not np.isfinite(table).all():
        raise ParameterError(schema.TRUTH_ABUNDANCE, "NaN", "finite fractions")
    return table.reshape(phases, -1)


def angles_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles in degrees between the rows of ``a`` and those of ``b``; 90 for a row of zeros.

    Examples
    --------
    >>> angles_between(np.array([[1.0, 0.0]]), np.array([[1.0, 1.0], [0.0, 2.0]])).round(6).tolist()
    [[45.0, 90.0]]
    """
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None, :]
    cosines = np.divide(a @ b.T, lengths, out=np.zeros(lengths.shape), where=lengths > 0)
    return np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def match_phases(truth: np.ndarray, found: np.ndarray) -> dict[int, int]:
    """Row of ``found`` for each row of ``truth``, at the least sum of angles.

    Examples
    --------
    >>> match_phases(np.eye(2), np.array([[0.1, 1.0], [1.0, 0.2]]))
    {0: 1, 1: 0}
    """
    rows, columns = linear_sum_assignment(angles_between(truth, found))
    return dict(zip(rows.tolist(), columns.tolist(), strict=True))


def _map_errors(factors: Factors, truths: list[np.ndarray], pairs: Mapping[int, int]) -> np.ndarray:
    squares, pixels = np.zeros(len(truths[0])), 0
    for piece, true in zip(factors.maps, truths, strict=True):
        maps = piece.dataset[schema.ABUNDANCE].transpose(schema.PHASE, *piece.pixel_dims).values
        found = maps.reshape(len(maps), -1)
        for i in range(len(true)):
            squares[i] += np.sum((found[pairs[i]] - true[i]) ** 2) if i in pairs else np.nan
        pixels += true.shape[1]
    return squares / pixels


def _mean_map_angle(factors: Factors, truths: list[np.ndarray], spectra: np.ndarray) -> float:
    """Mean over the pixels in which photons are expected by both."""
    total, pixels = 0.0, 0
    own, cross, true = (
        factors.spectra @ factors.spectra.T,
        factors.spectra @ spectra.T,
        spectra @ spectra.T,
    )
    for piece, fractions in zip(factors.maps, truths, strict=True):
        amounts = piece.amounts.values.reshape(len(factors.spectra), -1)
        for start in range(0, fractions.shape[1], PIXELS_AT_ONCE):
            a = amounts[:, start : start + PIXELS_AT_ONCE].astype(np.float64)
            t = fractions[:, start : start + PIXELS_AT_ONCE]
            # |Σ a s|² = aᵀ (S Sᵀ) a: k² numbers per pixel instead of E
            lengths = np.einsum("kp,kp->p", own @ a, a) * np.einsum("kp,kp->p", true @ t, t)
            good = lengths > 0
            cosines = np.einsum("kp,kp->p", cross.T @ a, t)[good] / np.sqrt(lengths[good])
            total += float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).sum())
            pixels += int(good.sum())
    return total / pixels if pixels else float("nan")


def _composition_error(
    result: xr.Dataset | xr.DataTree,
    truth: xr.DataArray | None,
    names: list[str],
    pairs: Mapping[int, int],
) -> xr.DataArray | None:
    shared = nodes_of(result)[0]
    if truth is None or schema.COMPOSITION not in shared or not pairs:
        return None
    require_variables(shared, (schema.COMPOSITION,), name="result")
    found = shared[schema.COMPOSITION].transpose(schema.PHASE, schema.ELEMENT)
    true = truth.transpose(schema.PHASE, schema.ELEMENT)
    elements = [str(e) for e in true[schema.ELEMENT].values if e in found[schema.ELEMENT].values]
    if not elements:
        raise SchemaError("composition of the result and its truth have no element in common")
    rows = [i for i in range(len(names)) if i in pairs]
    difference = (
        found.sel({schema.ELEMENT: elements}).values[[pairs[i] for i in rows]]
        - true.sel({schema.ELEMENT: elements}).values[rows]
    )
    coords = {schema.PHASE: [names[i] for i in rows], schema.ELEMENT: elements}
    return xr.DataArray(difference, coords=coords, dims=(schema.PHASE, schema.ELEMENT))
