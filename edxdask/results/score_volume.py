"""How close a volume is to a known truth: errors and overlaps of its phases, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from scipy.optimize import linear_sum_assignment

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.results.collections import Data
from edxdask.results.volume_places import moved, moved_against
from edxdask.results.volumes import VOXELS, check_volume, is_fraction
from edxdask.results.voxels import layer_axis, pieces_of

HALF = 0.5


@dataclass(frozen=True)
class VolumeScore:
    """Figures of one volume against its truth, in the order of the true phases.

    Attributes
    ----------
    phases : names of the true phases
    matched : label of the volume's phase that was matched to each; "" where the volume has fewer
    rmse : (phases,) root mean square of the difference of fractions; without a match, of the phase
    dice : (phases,) twice the voxels in both over the voxels in either, at a threshold of half; 1 is perfect
    volume_error : (phases,) volume found over the true volume, less 1
    all_rmse : root of the sum of the squares of ``rmse``
    moved_px : by how many voxels the truth was moved to lie where the volume does, by dimension
    """

    phases: tuple[str, ...]
    matched: tuple[str, ...]
    rmse: np.ndarray
    dice: np.ndarray
    volume_error: np.ndarray
    all_rmse: float
    moved_px: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Table, one line per phase."""
        width = max(5, *(len(p) for p in self.phases))
        other = max(7, *(len(m) for m in self.matched))
        lines = [f"{'phase':<{width}}  {'matched':<{other}}  {'RMSE':>7}  {'Dice':>6}  {'volume':>8}"]
        for i, (phase, match) in enumerate(zip(self.phases, self.matched, strict=True)):
            change = f"{100 * self.volume_error[i]:+.1f} %"
            row = f"{self.rmse[i]:>7.4f}  {self.dice[i]:>6.3f}  {change:>8}"
            lines.append(f"{phase:<{width}}  {match or '-':<{other}}  {row}")
        lines.append(f"RMSE of all phases {self.all_rmse:.4f}")
        if any(abs(move) >= 0.05 for move in self.moved_px.values()):
            moves = ", ".join(f"{move:+.2f} along {dim}" for dim, move in self.moved_px.items())
            lines.append(f"the volume lies off the truth by voxels {moves}: taken into account")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text, as for JSON."""

        def plain(values: np.ndarray) -> list[float | None]:
            return [float(v) if np.isfinite(v) else None for v in values]

        return {
            "phases": list(self.phases),
            "matched": list(self.matched),
            "rmse": plain(self.rmse),
            "dice": plain(self.dice),
            "volume_error": plain(self.volume_error),
            "all_rmse": self.all_rmse,
            "moved_px": dict(self.moved_px),
        }


def score_volume(volume: Data, truth: Data | xr.DataArray | None) -> VolumeScore:
    """Compare a volume with the one that its tilt series was simulated from.

    Phases are matched first, so that the sum of squared differences is least. Where the moves of projections
    are known in both, the truth is moved to where the volume lies: where the object is along the tilt axis,
    and across it, no alignment can know, as projections are the same.

    Parameters
    ----------
    volume : Dataset
        Fractions, as ``tomography`` gives them.
    truth : Dataset or DataArray
        Simulated tilt series, which carries ``truth_volume``, another volume, or fractions
        (phase, z, y, x) themselves.

    Raises
    ------
    SchemaError, ParameterError
        If there is no truth, or it has other voxels.

    Notes
    -----
    *Chunks*: any; one layer of chunks of both is in memory.

    Examples
    --------
    >>> from edxdask.results.volumes import make_volume
    >>> values = np.random.default_rng(0).random((2, 4, 4, 4), dtype="f4") / 2
    >>> vol = make_volume(values, phases=["a", "b"], coords={}, entry="made")
    >>> score_volume(vol, vol.isel(phase=[1, 0])).matched
    ('b', 'a')
    """
    volume = check_volume(volume)
    if not is_fraction(volume):
        raise SchemaError(
            "a volume of photons has no true fractions to compare with: tomography(..., elements=…, "
            "densities=…) finds fractions"
        )
    found = volume[schema.VOLUME]
    true = _truth(truth, found)
    by = moved_against(volume, truth) if isinstance(truth, xr.Dataset) else {}
    true = moved(true, by)
    sums = _summed(found, true)
    size = found.size // found.sizes[schema.PHASE]
    differences = sums.true_squares[:, None] + sums.found_squares[None, :] - 2 * sums.products
    rows, columns = linear_sum_assignment(differences)
    pairs = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    names = _labels(true)
    mine = _labels(found)
    count = len(names)
    rmse, dice, error = np.empty(count), np.zeros(count), np.full(count, -1.0)
    for i in range(count):
        j = pairs.get(i)
        rmse[i] = np.sqrt((sums.true_squares[i] if j is None else max(differences[i, j], 0.0)) / size)
        if j is not None:
            either = sums.true_inside[i] + sums.found_inside[j]
            dice[i] = 2 * sums.both_inside[i, j] / either if either else np.nan
            error[i] = sums.found_amount[j] / sums.true_amount[i] - 1 if sums.true_amount[i] else np.nan
    return VolumeScore(
        tuple(names),
        tuple(mine[pairs[i]] if i in pairs else "" for i in range(count)),
        rmse,
        dice,
        error,
        float(np.sqrt((rmse**2).sum())),
        by,
    )


@dataclass
class _Sums:
    """Sums over all voxels, of the truth, of what was found, and of both."""

    true_squares: np.ndarray
    found_squares: np.ndarray
    products: np.ndarray
    true_inside: np.ndarray
    found_inside: np.ndarray
    both_inside: np.ndarray
    true_amount: np.ndarray
    found_amount: np.ndarray


def _truth(truth: Any, found: xr.DataArray) -> xr.DataArray:
    """Give true fractions in the order of the dimensions of a volume."""
    if isinstance(truth, xr.Dataset):
        name = schema.TRUTH_VOLUME if schema.TRUTH_VOLUME in truth else schema.VOLUME
        if name not in truth:
            have = ", ".join(map(str, truth.data_vars)) or "nothing"
            raise SchemaError(
                f"truth carries no truth_volume (it has {have}): give the simulated tilt series itself"
            )
        truth = truth[name]
    if not isinstance(truth, xr.DataArray):
        raise ParameterError("truth", type(truth).__name__, "a simulated tilt series, or true fractions")
    if set(truth.dims) != {schema.PHASE, *VOXELS}:
        raise SchemaError(f"truth has dims {truth.dims}, expected {(schema.PHASE, *VOXELS)}")
    true = truth.transpose(schema.PHASE, *VOXELS)
    if true.shape[1:] != found.shape[1:]:
        sizes, mine = (dict(zip(VOXELS, a.shape[1:], strict=True)) for a in (true, found))
        fix = f"tomography(..., depth={true.shape[1]}) has the depth of the truth." if (
            true.shape[2:] == found.shape[2:]
        ) else ""  # fmt: skip
        raise ParameterError("truth", sizes, f"the voxels of the volume, {mine}", fix)
    return true


def _labels(array: xr.DataArray) -> list[str]:
    if schema.PHASE in array.coords:
        return [str(label) for label in array[schema.PHASE].values]
    return [f"phase_{i}" for i in range(array.sizes[schema.PHASE])]


def _summed(found: xr.DataArray, true: xr.DataArray) -> _Sums:
    k, n = true.sizes[schema.PHASE], found.sizes[schema.PHASE]
    sums = _Sums(*(np.zeros(s) for s in ((k,), (n,), (k, n), (k,), (n,), (k, n), (k,), (n,))))
    arrays = [*true, *found]
    for _, pieces in pieces_of(arrays, layer_axis(arrays)):
        t = np.stack([p.ravel() for p in pieces[:k]]).astype(np.float32)
        f = np.stack([p.ravel() for p in pieces[k:]]).astype(np.float32)
        t_in, f_in = ((one >= HALF).astype(np.float32) for one in (t, f))
        sums.true_squares += np.einsum("kv,kv->k", t, t, dtype=np.float64)
        sums.found_squares += np.einsum("nv,nv->n", f, f, dtype=np.float64)
        sums.products += np.einsum("kv,nv->kn", t, f, dtype=np.float64)
        sums.both_inside += np.einsum("kv,nv->kn", t_in, f_in, dtype=np.float64)
        sums.true_inside += t_in.sum(axis=1, dtype=np.float64)
        sums.found_inside += f_in.sum(axis=1, dtype=np.float64)
        sums.true_amount += t.sum(axis=1, dtype=np.float64)
        sums.found_amount += f.sum(axis=1, dtype=np.float64)
    return sums
