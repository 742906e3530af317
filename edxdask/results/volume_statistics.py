"""What a volume holds: how much of each phase, its surface, its particles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.progress import Progress, ProgressHook, ProgressOption, shown
from edxdask.results.particles import Particles, particles_of
from edxdask.results.volumes import check_volume, is_fraction
from edxdask.results.voxels import VoxelGrid, layer_axis, pieces_of, voxel_grid

if TYPE_CHECKING:
    import pandas as pd

HALF = 0.5
LEAST_VOXELS = 8  # of a particle: below, half a voxel's noise makes and unmakes them
BINS = 256  # of the histogram that separates photons inside from photons outside
FULL = 0.9  # of the voxels with photons of a phase: the others are taken to be full
LABEL = "measuring particles"


@dataclass(frozen=True, eq=False)
class PhaseStatistics:
    """One phase of a volume; lengths in ``VolumeStatistics.unit``.

    Attributes
    ----------
    phase : str
        Its label.
    volume : float
        Sum of its fractions, as a volume; of photons: of the voxels at or above the threshold.
    object_fraction : float
        Its fraction of the volume of all phases; NaN where photons, not fractions, are known.
    surface : float
        Surface where it crosses the threshold.
    threshold : float
        Least value inside.
    smaller : int
        Particles that are too small to be listed.
    sizes, surfaces, diameters, sphericities : ndarray
        Of each particle, the largest first: volume, surface, diameter of a ball of that volume, and surface
        of that ball over its own.
    centres : ndarray
        Mean place (particle, 3) in the coordinates z, y and x.
    cut : ndarray
        Whether a particle touches the edge of the volume, where its surface is not counted.
    """

    phase: str
    volume: float
    object_fraction: float
    surface: float
    threshold: float
    smaller: int
    sizes: np.ndarray
    surfaces: np.ndarray
    diameters: np.ndarray
    sphericities: np.ndarray
    centres: np.ndarray
    cut: np.ndarray


@dataclass(frozen=True, eq=False)
class VolumeStatistics:
    """What ``volume_statistics`` found.

    Attributes
    ----------
    phases : tuple of PhaseStatistics
        In the order of the volume.
    unit : str
        Of lengths: "nm", or "px" without calibration.
    object_volume : float
        Volume of all phases.
    """

    phases: tuple[PhaseStatistics, ...]
    unit: str
    object_volume: float

    def rows(self) -> list[dict[str, Any]]:
        """Give one row per phase, plain numbers with the unit in their names."""
        u = self.unit
        return [
            {
                "of": one.phase,
                f"volume_{u}3": one.volume,
                "object_fraction": one.object_fraction,
                f"surface_{u}2": one.surface,
                "particles": len(one.sizes),
                f"mean_diameter_{u}": float(one.diameters.mean()) if one.diameters.size else float("nan"),
                f"largest_diameter_{u}": float(one.diameters.max(initial=0.0)),
                "smaller": one.smaller,
                "threshold": one.threshold,
            }
            for one in self.phases
        ]

    def particle_rows(self) -> list[dict[str, Any]]:
        """Give one row per particle, the largest of each phase first."""
        u = self.unit
        return [
            {
                "of": one.phase,
                "particle": i,
                f"volume_{u}3": float(one.sizes[i]),
                f"surface_{u}2": float(one.surfaces[i]),
                f"diameter_{u}": float(one.diameters[i]),
                "sphericity": float(one.sphericities[i]),
                **{f"{dim}_{u}": float(one.centres[i, axis]) for axis, dim in enumerate("zyx")},
                "cut": bool(one.cut[i]),
            }
            for one in self.phases
            for i in range(len(one.sizes))
        ]

    def table(self) -> pd.DataFrame:
        """Give one line per phase."""
        return _frame(self.rows(), [schema.PHASE])

    def particles(self) -> pd.DataFrame:
        """Give one line per particle."""
        return _frame(self.particle_rows(), [schema.PHASE, "particle"])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text, as for JSON."""
        return {
            "unit": self.unit,
            "object_volume": self.object_volume,
            "phases": _without_nan(self.rows()),
            "particles": _without_nan(self.particle_rows()),
        }

    def __repr__(self) -> str:
        """Table, one line per phase."""
        u = self.unit
        heads = (
            "phase", f"volume/{u}³", "% of object", f"surface/{u}²", "particles", f"mean diameter/{u}",
        )  # fmt: skip
        lines = [heads]
        for row in self.rows():
            fraction = 100 * row["object_fraction"]
            mean = row[f"mean_diameter_{u}"]
            lines.append((
                row["of"], f"{row[f'volume_{u}3']:.4g}", f"{fraction:.2f}" if fraction == fraction else "-",
                f"{row[f'surface_{u}2']:.4g}", str(row["particles"]), f"{mean:.3g}" if mean == mean else "-",
            ))  # fmt: skip
        widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
        return "\n".join("  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in lines)


def volume_statistics(
    result: xr.Dataset,
    *,
    threshold: float | None = None,
    least_voxels: int = LEAST_VOXELS,
    progress: ProgressOption = None,
) -> VolumeStatistics:
    """Measure the phases of a volume: volume, surface, and the sizes of their connected particles.

    Parameters
    ----------
    result : Dataset
        Volume, as ``tomography`` gives it.
    threshold : float, optional
        Least value that counts as inside; None: half for fractions, and for photons halfway between the
        voxels without a phase and the full ones.
    least_voxels : int
        Particles with fewer voxels are counted, but not listed.
    progress : callable, bool or None
        None shows a bar in a terminal and in a notebook; False shows nothing; a callable is called now and
        then.

    Returns
    -------
    VolumeStatistics
        Its text is a table; ``table()`` and ``particles()`` are DataFrames, ``to_dict()`` is for programs.

    Notes
    -----
    Particles are voxels that share faces. Surfaces are counted along 13 directions, which makes those of a
    ball right to 2 % from 5 voxels radius on, and to 8 % at 2 to 3 voxels.

    *Chunks*: any; each is read once (of photons, three times), and one layer of chunks is in memory.

    Examples
    --------
    >>> from edxdask.results.volumes import make_volume
    >>> values = np.zeros((1, 8, 8, 8), "f4")
    >>> values[0, 2:6, 2:6, 2:6] = 1.0
    >>> found = volume_statistics(make_volume(values, phases=["core"], coords={}, entry="made"))
    >>> found.phases[0].volume, found.phases[0].sizes.tolist(), found.unit
    (64.0, [64.0], 'px')
    """
    volume = check_volume(result)
    fractions = is_fraction(volume)
    if threshold is not None and not (np.isfinite(threshold) and threshold > 0):
        raise ParameterError("threshold", threshold, "a number above 0")
    if threshold is not None and fractions and threshold > 1:
        raise ParameterError("threshold", threshold, "at most 1, as the volume holds fractions")
    if least_voxels < 1:
        raise ParameterError("least_voxels", least_voxels, "1 or more")
    grid = voxel_grid(volume)
    labels = [str(label) for label in volume[schema.PHASE].values]
    with shown(progress, LABEL) as hook:
        found = []
        for number in range(len(labels)):
            one = volume[schema.VOLUME][number]
            least = threshold or (HALF if fractions else _divide(one))
            report = _reporter(hook, number, one.size, len(labels))
            found.append((particles_of(one, grid, least, report=report), least))
    amounts = [p.amount if fractions else p.inside for p, _ in found]
    whole = float(sum(amounts))
    phases = tuple(
        _statistics(label, particles, grid, least, amount, whole if fractions else np.nan, least_voxels)
        for label, (particles, least), amount in zip(labels, found, amounts, strict=True)
    )
    return VolumeStatistics(phases, grid.unit, whole * grid.voxel)


def _statistics(
    label: str,
    particles: Particles,
    grid: VoxelGrid,
    threshold: float,
    amount: float,
    whole: float,
    least_voxels: int,
) -> PhaseStatistics:
    kept = particles.voxels >= least_voxels
    sizes = particles.voxels[kept] * grid.voxel
    surfaces = particles.surface[kept]
    diameters = np.cbrt(6 * sizes / np.pi)
    balls = np.pi * diameters**2
    return PhaseStatistics(
        label,
        amount * grid.voxel,
        amount / whole if whole > 0 else float("nan"),
        particles.total_surface,
        threshold,
        int((~kept).sum()),
        sizes,
        surfaces,
        diameters,
        np.divide(balls, surfaces, out=np.full_like(balls, np.nan), where=surfaces > 0),
        particles.centre[kept] * np.array(grid.sides) + np.array(grid.origin),
        particles.cut[kept],
    )


def _reporter(hook: ProgressHook | None, number: int, size: int, phases: int) -> Any:
    if hook is None:
        return None
    return lambda done: hook(Progress(LABEL, number * size + done, phases * size, "voxels"))


def _divide(one: xr.DataArray) -> float:
    """Value halfway between voxels without a phase and full ones.

    Two groups are found first, with the largest variance between them (Otsu). Full voxels are the brightest
    tenth of the upper one, as small particles are mostly edge.
    """
    axis = layer_axis([one])
    top = max(float(values.max()) for _, (values,) in pieces_of([one], axis))
    if top <= 0:
        return 1.0  # an empty phase has no voxels inside, whatever the threshold
    edges = np.linspace(0, top, BINS + 1)
    counts = np.zeros(BINS)
    for _, (values,) in pieces_of([one], axis):
        counts += np.histogram(values, edges)[0]
    middles = (edges[1:] + edges[:-1]) / 2
    below, sums = np.cumsum(counts)[:-1], np.cumsum(counts * middles)[:-1]
    above = counts.sum() - below
    empty = sums / np.maximum(below, 1)
    full = ((counts * middles).sum() - sums) / np.maximum(above, 1)
    split = int(np.argmax(below * above * (empty - full) ** 2))
    upper = np.cumsum(counts[split + 1 :])
    brightest = middles[split + 1 + int(np.searchsorted(upper, FULL * upper[-1]))]
    return float(empty[split] + brightest) / 2


def _frame(rows: list[dict[str, Any]], index: list[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows).rename(columns={"of": schema.PHASE}).set_index(index)


def _without_nan(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: None if value != value else value for key, value in row.items()} for row in rows]
