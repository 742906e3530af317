"""``.edx`` on Datasets and DataTrees: the package's functions as methods of cubes, results and collections.

Each method is the public function of that name called with the object; which methods fit depends on what
the object is. The package registers the class when it is imported, and loads this module at its first use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from edxdask.errors import SchemaError
from edxdask.ops import (
    bin_cube,
    calibrate_energy,
    crop_cube,
    find_elements,
    line_map,
    maximum_pixel_spectrum,
    rebin_energy,
    sum_frames,
    sum_spectrum,
    total_map,
    valid_mask,
    window_map,
)
from edxdask.ops.bin import Boundary
from edxdask.ops.crop import Range
from edxdask.ops.maps import Window
from edxdask.ops.masks import MaskLike
from edxdask.results.collections import Data, on_each_map
from edxdask.results.kinds import Kind, kind_of, said
from edxdask.results.reconstruct import reconstruct, residual
from edxdask.results.score import Score, score
from edxdask.results.score_volume import VolumeScore
from edxdask.schema import TILT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from edxdask.results.volume_statistics import VolumeStatistics
    from edxdask.view.viewer import Viewer

__all__ = ["OFFERED", "Accessor"]

_ANY = ("table", "plot", "export")
_CUBE = (
    "bin",
    "crop",
    "rebin_energy",
    "calibrate",
    "find_elements",
    "frames",
    "sum_spectrum",
    "maximum_pixel_spectrum",
    "total_map",
    "window_map",
    "line_map",
    "valid_mask",
    "quantify",
    "to_hyperspy",
    "to_sparse",
)
_RESULT = ("reconstruct", "residual", "score", "to_hyperspy")
OFFERED: Mapping[Kind, tuple[str, ...]] = {
    Kind.CUBE: (*_ANY, "view", *_CUBE, "report"),
    Kind.PHASES: (*_ANY, "view", *_RESULT, "identifiability", "quantify", "report"),
    Kind.COMPONENTS: (*_ANY, *_RESULT),
    Kind.CLUSTERS: _ANY,
    Kind.CANDIDATES: _ANY,
    Kind.QUANTIFIED: _ANY,
    Kind.TRACES: (*_ANY, "report"),
    Kind.VERDICTS: _ANY,
    Kind.PROFILE: _ANY,
    Kind.VOLUME: (*_ANY, "score", "statistics", "atoms", "projections", "reconstruct", "residual", "report"),
    Kind.OTHER: (),
}


class Accessor:
    """``data.edx``: what can be done with a cube, a result, or a collection of either.

    Examples
    --------
    >>> import numpy as np
    >>> counts = (("y", "x", "energy"), np.ones((4, 4, 3), "u2"))
    >>> ds = xr.Dataset({"counts": counts}, {"energy": [0.0, 0.1, 0.2]})
    >>> ds.edx.bin(2).edx.sum_spectrum().values.tolist()
    [16, 16, 16]
    """

    def __init__(self, data: Data) -> None:
        self._data = data

    def __dir__(self) -> list[str]:
        """List the methods that fit the object."""
        return sorted((*OFFERED[kind_of(self._data)], "__class__", "__doc__"))

    def __repr__(self) -> str:
        """Say what the object is and what it offers."""
        return f".edx of {said(self._data)}: {', '.join(OFFERED[kind_of(self._data)]) or 'nothing'}"

    def _repr_html_(self) -> str:
        """Show small maps, spectra and the table in a notebook; nothing is computed that takes long."""
        from edxdask.report.notebook import html_of

        return html_of(self._data, OFFERED[kind_of(self._data)])

    def _for(self, method: str) -> Any:
        """Give the object, if ``method`` fits it.

        Raises
        ------
        SchemaError
            Saying what the object is, what the method is for, and what can be done.
        """
        offered = OFFERED[kind_of(self._data)]
        if method in offered:
            return self._data
        fitting = " or ".join(kind.value for kind, methods in OFFERED.items() if method in methods)
        instead = (
            f".edx offers {', '.join(f'{name}()' for name in offered)}"
            if offered
            else "edxdask.open(path) and edxdask.from_array(...) give cubes, edxdask.psnmf(ds) a result"
        )
        raise SchemaError(f".edx.{method}() is for {fitting}; this is {said(self._data)}. Instead, {instead}")

    # What every cube and every result answers.

    def table(self) -> pd.DataFrame:
        """Give its table: sizes and photons, phases, compositions with errors, or found elements."""
        from edxdask.report.tables import table

        return table(self._for("table"))

    def identifiability(self) -> pd.DataFrame:
        """Give the ranges that compositions may lie in; see ``edxdask.identifiability``."""
        from edxdask.report.openness import identifiability

        return identifiability(self._for("identifiability"))

    def plot(self, *, figure: str | None = None, title: str | None = None) -> Figure:
        """Draw it, or one of ``edxdask.report.plot.FIGURES``; see ``edxdask.report.plot.plot``."""
        from edxdask.report.plot import plot

        return plot(self._for("plot"), figure=figure, title=title)

    def export(self, path: str | Path, **options: Any) -> Path | list[Path]:
        """Write it to a file, by the suffix of ``path``; see ``edxdask.export``."""
        from edxdask.report.export import export

        return export(self._for("export"), path, **options)

    def report(self, path: str | Path = "report.html", **options: Any) -> Path:
        """Write one HTML page that shows all that is known; see ``edxdask.report``."""
        from edxdask.reports import report

        return report(self._for("report"), path, **options)

    def quantify(self, **options: Any) -> Any:
        """Give compositions with errors, of phases or of a cube; see ``edxdask.quantify``."""
        from edxdask.compositions import quantify

        return quantify(self._for("quantify"), **options)

    def view(self, **options: Any) -> Viewer:
        """Show it in a browser on this machine, or in place in a notebook; see ``edxdask.view``."""
        from edxdask.view.viewer import view

        return view(self._for("view"), **options)

    # What results answer.

    def reconstruct(self) -> Any:
        """Give the counts that the result, or a volume, expects; see ``edxdask.reconstruct``."""
        result: Any = self._for("reconstruct")
        return reconstruct(self.projections() if kind_of(result) is Kind.VOLUME else result)

    def residual(self, data: Data, *, normalise: bool = False) -> Any:
        """Subtract what the result expects from the counts of ``data``; see ``edxdask.residual``."""
        result: Any = self._for("residual")
        counts: Any = data
        if kind_of(result) is Kind.VOLUME:
            result = self.projections(series=counts)
            counts = counts.sel({TILT: result[TILT].values})  # volumes have tilts in order
        return residual(counts, result, normalise=normalise)

    def score(self, truth: Data | None = None, **known: Any) -> Score | VolumeScore:
        """Compare with a known truth, such as the simulated cube; see ``edxdask.score``."""
        return score(self._for("score"), truth=truth, **known)

    # What volumes answer.

    def statistics(self, **options: Any) -> VolumeStatistics:
        """Measure phases and their particles; see ``edxdask.volume_statistics``."""
        from edxdask.results.volume_statistics import volume_statistics

        return volume_statistics(self._for("statistics"), **options)

    def projections(self, *, series: xr.Dataset | None = None) -> xr.Dataset:
        """Project it as its tilt series saw it; see ``edxdask.projections``."""
        from edxdask.tomo.projections import projections

        return projections(self._for("projections"), series=series)

    def atoms(self, **options: Any) -> xr.DataArray:
        """Count the atoms of each element in every voxel; see ``edxdask.atoms_per_voxel``."""
        from edxdask.tomo.atoms import atoms_per_voxel

        return atoms_per_voxel(self._for("atoms"), **options)

    # What cubes answer, lazy but for ``calibrate`` and ``find_elements``.

    def bin(self, factor: int | None = None, *, boundary: Boundary = "trim", **factors: int) -> Any:
        """Sum neighbouring pixels or channels: ``bin(4)``, ``bin(y=4, x=2)``; see ``edxdask.bin_cube``."""
        return bin_cube(self._for("bin"), factor, boundary=boundary, **factors)

    def crop(self, *, energy: Range | None = None, **ranges: Range) -> Any:
        """Part of the map or axis: ``crop(y=slice(0, 50), energy=(0.3, 10))``; see ``edxdask.crop_cube``."""
        return crop_cube(self._for("crop"), energy=energy, **ranges)

    def rebin_energy(self, **options: Any) -> Any:
        """Put maps on one energy axis, photon by photon; see ``edxdask.rebin_energy``."""
        return rebin_energy(self._for("rebin_energy"), **options)

    def calibrate(
        self, lines: Sequence[str], *, spectrum: xr.DataArray | None = None, max_shift: float = 0.05
    ) -> Any:
        """Refine the energy axis on known lines; computes the sum spectrum; see ``calibrate_energy``."""
        return on_each_map(
            lambda ds: calibrate_energy(ds, lines, spectrum=spectrum, max_shift=max_shift),
            self._for("calibrate"),
        )

    def find_elements(self, **options: Any) -> Any:
        """Find elements, listed or not; computes the sum spectrum; see ``edxdask.find_elements``."""
        return find_elements(self._for("find_elements"), **options)

    def frames(self, first: int = 0, stop: int | None = None) -> Any:
        """Sum frames ``first`` to ``stop``, not included; see ``edxdask.sum_frames``."""
        return sum_frames(self._for("frames"), first, stop)

    def sum_spectrum(self, mask: MaskLike | Mapping[str, MaskLike] | xr.DataTree | None = None) -> Any:
        """Sum the spectra of all pixels or those of ``mask``; see ``edxdask.sum_spectrum``."""
        return sum_spectrum(self._for("sum_spectrum"), mask=mask)

    def maximum_pixel_spectrum(self) -> Any:
        """Largest count of any pixel, by channel; see ``edxdask.maximum_pixel_spectrum``."""
        return maximum_pixel_spectrum(self._for("maximum_pixel_spectrum"))

    def total_map(self) -> Any:
        """Count the photons of every pixel; see ``edxdask.total_map``."""
        return total_map(self._for("total_map"))

    def window_map(self, lo: float, hi: float, *, background: Sequence[Window] | None = None) -> Any:
        """Map the counts between two energies (keV); see ``edxdask.window_map``."""
        return window_map(self._for("window_map"), lo, hi, background=background)

    def line_map(
        self,
        line: str | Sequence[str],
        *,
        width: float | None = None,
        background: bool | Sequence[Window] = True,
    ) -> Any:
        """Map the counts in a line above the background beside it; see ``edxdask.line_map``."""
        return line_map(self._for("line_map"), line, width=width, background=background)

    def valid_mask(self, min_counts: int = 1) -> Any:
        """Find pixels with at least ``min_counts`` photons; see ``edxdask.valid_mask``."""
        return valid_mask(self._for("valid_mask"), min_counts=min_counts)

    def to_hyperspy(self, **options: Any) -> Any:
        """Give a HyperSpy signal, of a result with its decomposition; see ``edxdask.to_hyperspy``."""
        from edxdask.io.export.hyperspy import to_hyperspy  # HyperSpy and its exporter load on demand

        return to_hyperspy(self._for("to_hyperspy"), **options)

    def to_sparse(self, **options: Any) -> Any:
        """Photons as ``scipy.sparse.csr_array``, pixels × channels; see ``edxdask.to_sparse``."""
        from edxdask.io.export.sparse import to_sparse  # the engine loads on demand

        return to_sparse(self._for("to_sparse"), **options)
