"""What a result leaves unexplained: residuals of the summed spectrum, and a map of chi-squared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.ops import bin_cube
from edxdask.ops.usable import usable_spectrum
from edxdask.physics.energy_axis import EnergyAxis
from edxdask.report.fit import FitPanel, draw_fits
from edxdask.report.labels import plain
from edxdask.report.lines import label_lines
from edxdask.report.maps import map_figure
from edxdask.report.phase_spectra import elements_named
from edxdask.report.style import COLUMN, FAINT, MM, PAGE, PALETTE, new_figure
from edxdask.results.collections import Data, cubes_in, nodes_of, shared_part

MISFIT = "χ² per degree of freedom"
MOST_SIDE = 128  # of the map of chi-squared: its bins need counts more than pixels
WINDOW_KEV = 0.05  # about half a peak, so that a missing line is some windows strong
LEAST_EXPECTED = 0.2  # counts of a bin and window; chi-squared of fewer is noise of its own
LEAST_SUMMED = 5.0  # counts of a channel of the sum, for chi-squared
UNLISTED_COLORS = tuple(c for c in PALETTE if c not in ("#d55e00", "#0072b2"))


@dataclass(frozen=True, eq=False)
class SummedFit:
    """Counts of all maps and pixels, and what a result expects of them.

    Attributes
    ----------
    energy : (E,) keV, of the result
    counts, expected : (E,)
    above : (E,) channels that took part in the fit
    """

    energy: np.ndarray
    counts: np.ndarray
    expected: np.ndarray
    above: np.ndarray

    @property
    def chi2(self) -> float:
        """Chi-squared over the number of channels with at least some counts expected."""
        used = self.above & (self.expected >= LEAST_SUMMED)
        pull = (self.counts - self.expected)[used] ** 2 / self.expected[used]
        return float(pull.mean()) if used.any() else float("nan")


def expected_spectrum(result: Data) -> np.ndarray:
    """Give the counts per channel that a result expects of all its maps together, (E,).

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate(shape=(16, 16), counts=100)
    >>> found = edxdask.nmf(cube, phases=2, max_iter=5)
    >>> bool(np.isclose(expected_spectrum(found).sum(), float(cube.counts.sum()), rtol=0.01))
    True
    """
    root, nodes = nodes_of(result)
    spectra = root[schema.SPECTRUM].transpose(schema.PHASE, schema.ENERGY).values.astype(float)
    photons = np.zeros(len(spectra))
    for _, one in nodes:
        if schema.ABUNDANCE in one and schema.TOTAL in one:
            total = one[schema.TOTAL]
            of_phases = (one[schema.ABUNDANCE] * total).sum(total.dims).transpose(schema.PHASE)
            photons += np.asarray(of_phases.values, dtype=float)
    return photons @ spectra


def summed_fit(cube: Data, result: Data) -> SummedFit:
    """Sum the counts of all maps, and what a result expects of them; reads all counts once."""
    root, cubes = shared_part(result), cubes_in(cube)
    counts = np.sum([usable_spectrum(one).counts for one in cubes.values()], axis=0).astype(float)
    expected = expected_spectrum(result)
    if counts.shape != expected.shape:
        wanted = f"the cube that was factorized, of {expected.size} channels"
        raise ParameterError("cube", f"{counts.size} channels", wanted)
    energy = root[schema.ENERGY].values
    return SummedFit(energy, counts, expected, energy >= root.attrs.get(schema.LOWEST_ENERGY, -np.inf))


def summed_fit_figure(
    cube: Data, result: Data, *, unlisted: Mapping[str, float] | None = None, title: str | None = None
) -> Figure:
    """Draw the summed counts, what a result expects of them, and the residuals in sigma below.

    Parameters
    ----------
    cube : Dataset or DataTree
        Counts that were factorized.
    result : Dataset or DataTree
        Result of a factorization.
    unlisted : mapping, optional
        Energies (keV) by name of lines that nobody listed, named in colours; the others are grey.
    title : str, optional
        Text above the graph.

    Returns
    -------
    matplotlib.figure.Figure
        To show, change or save.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate(shape=(16, 16), counts=100)
    >>> found = edxdask.nmf(cube, phases=2, max_iter=5)
    >>> [axes.get_ylabel() for axes in summed_fit_figure(cube, found).axes]
    ['Counts', 'Residual (σ)']
    """
    return draw_summed_fit(summed_fit(cube, result), result, unlisted=unlisted, title=title)


def draw_summed_fit(
    fit: SummedFit, result: Data, *, unlisted: Mapping[str, float] | None = None, title: str | None = None
) -> Figure:
    """Draw what ``summed_fit`` gave; the axis is that of the fit where the result has one."""
    axis = EnergyAxis.of(shared_part(result).attrs)
    energy = (axis.energy(fit.energy) if axis else fit.energy)[fit.above]
    elements = elements_named(result)
    extra = dict(unlisted or {})
    colors = dict.fromkeys(elements, FAINT)
    for i, name in enumerate(extra):
        colors[name.partition("_")[0]] = UNLISTED_COLORS[i % len(UNLISTED_COLORS)]
    lines = label_lines(elements, float(energy[0]), float(energy[-1])) | extra
    panel = FitPanel(
        energy, fit.counts[fit.above], fit.expected[fit.above], None, lines, colors, plain(title or "")
    )
    figure = new_figure(PAGE, 112 * MM)
    draw_fits(figure, [panel])
    return figure


def misfit_map(cube: xr.Dataset, result: xr.Dataset) -> xr.DataArray:
    """Map chi-squared per degree of freedom of a result, over bins of pixels and windows of energy.

    About 1 where the result explains all but the noise of the counts. Reads all counts once.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate(shape=(16, 16), counts=100)
    >>> truth = {"spectrum": "truth_spectrum", "abundance": "truth_abundance", "total": "truth_total"}
    >>> exact = xr.Dataset({name: cube[source] for name, source in truth.items()})
    >>> exact = exact.assign(spectrum=exact.spectrum / exact.spectrum.sum("energy"))
    >>> 0.8 < float(misfit_map(cube, exact).mean()) < 1.2
    True
    """
    found = result[schema.ABUNDANCE].transpose(schema.PHASE, ...)
    if found.dims[1:] != (schema.Y, schema.X) or schema.pixel_dims(cube) != (schema.Y, schema.X):
        raise ParameterError("cube", dict(cube.sizes), "pixels over y and x, for a map")
    low = result.attrs.get(schema.LOWEST_ENERGY, -np.inf)
    first = int(np.searchsorted(cube[schema.ENERGY].values, low))
    _, step = schema.energy_axis(cube)
    channels = cube.sizes[schema.ENERGY] - first
    window = max(min(round(WINDOW_KEV / step), channels), 1)
    side = max(-(-max(cube.sizes[d] for d in (schema.Y, schema.X)) // MOST_SIDE), _bin_for_counts(result))
    side = min(side, cube.sizes[schema.Y], cube.sizes[schema.X])
    cut = cube[[schema.COUNTS]].isel({schema.ENERGY: slice(first, None)})
    factors = {schema.Y: side, schema.X: side, schema.ENERGY: window}
    coarse = bin_cube(cut, None, boundary="trim", **factors)[schema.COUNTS]
    counts = np.asarray(coarse.values, dtype=float)
    amounts = _summed(np.asarray((found * result[schema.TOTAL]).values, dtype=float), side)
    spectra = result[schema.SPECTRUM].transpose(schema.PHASE, schema.ENERGY).values[:, first:].astype(float)
    whole = channels // window * window
    spectra = spectra[:, :whole].reshape(len(spectra), -1, window).sum(axis=2)
    expected = np.tensordot(amounts, spectra, axes=(0, 0))
    used = expected >= LEAST_EXPECTED
    pull = np.where(used, (counts - expected) ** 2 / np.where(used, expected, 1.0), 0.0)
    number = used.sum(axis=-1)
    chi2 = np.where(number > 0, pull.sum(axis=-1) / np.maximum(number, 1), np.nan)
    coords = {d: coarse[d] for d in (schema.Y, schema.X) if d in coarse.coords}
    return xr.DataArray(chi2, dims=(schema.Y, schema.X), coords=coords, name=MISFIT, attrs={"units": "1"})


def _bin_for_counts(result: xr.Dataset) -> int:
    """Pixels per side of a bin with some hundred photons."""
    mean = float(result[schema.TOTAL].mean())
    return max(round(np.sqrt(500.0 / mean)), 1) if mean > 0 else 1


def _summed(maps: np.ndarray, side: int) -> np.ndarray:
    """Sum maps (k, y, x) over bins of pixels; rows and columns that fill none are left out."""
    rows, columns = (n // side * side for n in maps.shape[1:])
    cut = maps[:, :rows, :columns]
    return cut.reshape(len(maps), rows // side, side, columns // side, side).sum(axis=(2, 4))


def misfit_figure(cube: xr.Dataset, result: xr.Dataset, *, title: str | None = None) -> Figure:
    """Draw where a result does not explain the counts: chi-squared per degree of freedom, 1 for noise alone.

    Parameters
    ----------
    cube : Dataset
        Counts of one map.
    result : Dataset
        Result of these counts.
    title : str, optional
        Text above the map.

    Returns
    -------
    matplotlib.figure.Figure
        To show, change or save.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate(shape=(16, 16), counts=100)
    >>> found = edxdask.nmf(cube, phases=2, max_iter=5)
    >>> type(misfit_figure(cube, found)).__name__
    'Figure'
    """
    return draw_misfit(misfit_map(cube, result), title=title)


def draw_misfit(chi2: xr.DataArray, *, title: str | None = None, width: float = COLUMN) -> Figure:
    """Draw what ``misfit_map`` gave, from 0.5 to at least 1.5, so that noise looks alike everywhere."""
    high = max(1.5, float(np.nanpercentile(chi2.values, 99.8)))
    return map_figure(
        chi2, title=title or MISFIT, label=MISFIT, colors="cividis", limits=(0.5, high), width=width
    )
