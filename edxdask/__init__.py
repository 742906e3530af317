"""edxdask: STEM-EDX spectrum images that are larger than memory; the cost follows the photons.

Every name below loads on first use, so ``import edxdask`` is fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edxdask._accessor_hook import register_accessors
from edxdask._lazy import load_on_first_use

if TYPE_CHECKING:
    from edxdask import figures
    from edxdask._version import __version__
    from edxdask.alignments import align_tilts
    from edxdask.cluster import client_for
    from edxdask.compositions import quantify
    from edxdask.errors import EdxdaskError
    from edxdask.factorize.estimator import PhotonNMF
    from edxdask.factorize.fcls import fcls
    from edxdask.factorize.nmf import nmf
    from edxdask.factorize.pca import pca
    from edxdask.factorize.psnmf import psnmf
    from edxdask.factorize.scores import cluster_pixels, ica
    from edxdask.factorize.uncertainty import with_uncertainty
    from edxdask.ingestion import ingest
    from edxdask.io import diagnose, from_array, save
    from edxdask.io.export.hyperspy import from_hyperspy, to_hyperspy
    from edxdask.io.export.sparse import to_sparse
    from edxdask.mosaic import align_frames
    from edxdask.mosaics import mosaic
    from edxdask.ops import (
        Ellipse,
        Polygon,
        Rectangle,
        bin_cube,
        calibrate_energy,
        combine_masks,
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
    from edxdask.public import collect, collect_tilts, open, simulate
    from edxdask.quantify.results import partition_coefficient
    from edxdask.report.export import export
    from edxdask.report.openness import identifiability
    from edxdask.reports import report
    from edxdask.results.reconstruct import reconstruct, residual
    from edxdask.results.score import score
    from edxdask.results.volume_statistics import volume_statistics
    from edxdask.tomo.atoms import atoms_per_voxel
    from edxdask.tomo.image_volumes import image_volume
    from edxdask.tomo.projections import projections
    from edxdask.tomographies import tomography
    from edxdask.unmix.aided import aided
    from edxdask.unmix.judge import judge
    from edxdask.unmix.profile import profile
    from edxdask.unmix.traces import traces
    from edxdask.view.viewer import view

_HOMES = {
    "EdxdaskError": "edxdask.errors",
    "Ellipse": "edxdask.ops",
    "PhotonNMF": "edxdask.factorize.estimator",
    "Polygon": "edxdask.ops",
    "Rectangle": "edxdask.ops",
    "__version__": "edxdask._version",
    "aided": "edxdask.unmix.aided",
    "align_frames": "edxdask.mosaic",
    "atoms_per_voxel": "edxdask.tomo.atoms",
    "align_tilts": "edxdask.alignments",
    "bin_cube": "edxdask.ops",
    "calibrate_energy": "edxdask.ops",
    "client_for": "edxdask.cluster",
    "cluster_pixels": "edxdask.factorize.scores",
    "collect": "edxdask.public",
    "collect_tilts": "edxdask.public",
    "combine_masks": "edxdask.ops",
    "crop_cube": "edxdask.ops",
    "diagnose": "edxdask.io",
    "export": "edxdask.report.export",
    "fcls": "edxdask.factorize.fcls",
    "figures": "edxdask.figures",
    "find_elements": "edxdask.ops",
    "from_array": "edxdask.io",
    "from_hyperspy": "edxdask.io.export.hyperspy",
    "ica": "edxdask.factorize.scores",
    "image_volume": "edxdask.tomo.image_volumes",
    "ingest": "edxdask.ingestion",
    "judge": "edxdask.unmix.judge",
    "line_map": "edxdask.ops",
    "maximum_pixel_spectrum": "edxdask.ops",
    "mosaic": "edxdask.mosaics",
    "nmf": "edxdask.factorize.nmf",
    "open": "edxdask.public",
    "partition_coefficient": "edxdask.quantify.results",
    "identifiability": "edxdask.report.openness",
    "pca": "edxdask.factorize.pca",
    "profile": "edxdask.unmix.profile",
    "projections": "edxdask.tomo.projections",
    "psnmf": "edxdask.factorize.psnmf",
    "quantify": "edxdask.compositions",
    "rebin_energy": "edxdask.ops",
    "reconstruct": "edxdask.results.reconstruct",
    "report": "edxdask.reports",
    "residual": "edxdask.results.reconstruct",
    "save": "edxdask.io",
    "score": "edxdask.results.score",
    "simulate": "edxdask.public",
    "sum_frames": "edxdask.ops",
    "sum_spectrum": "edxdask.ops",
    "to_hyperspy": "edxdask.io.export.hyperspy",
    "to_sparse": "edxdask.io.export.sparse",
    "tomography": "edxdask.tomographies",
    "total_map": "edxdask.ops",
    "traces": "edxdask.unmix.traces",
    "valid_mask": "edxdask.ops",
    "view": "edxdask.view.viewer",
    "volume_statistics": "edxdask.results.volume_statistics",
    "window_map": "edxdask.ops",
    "with_uncertainty": "edxdask.factorize.uncertainty",
}
__all__ = [
    "EdxdaskError",
    "Ellipse",
    "PhotonNMF",
    "Polygon",
    "Rectangle",
    "__version__",
    "aided",
    "align_frames",
    "align_tilts",
    "atoms_per_voxel",
    "bin_cube",
    "calibrate_energy",
    "client_for",
    "cluster_pixels",
    "collect",
    "collect_tilts",
    "combine_masks",
    "crop_cube",
    "diagnose",
    "export",
    "fcls",
    "figures",
    "find_elements",
    "from_array",
    "from_hyperspy",
    "ica",
    "identifiability",
    "image_volume",
    "ingest",
    "judge",
    "line_map",
    "maximum_pixel_spectrum",
    "mosaic",
    "nmf",
    "open",
    "partition_coefficient",
    "pca",
    "profile",
    "projections",
    "psnmf",
    "quantify",
    "rebin_energy",
    "reconstruct",
    "report",
    "residual",
    "save",
    "score",
    "simulate",
    "sum_frames",
    "sum_spectrum",
    "to_hyperspy",
    "to_sparse",
    "tomography",
    "total_map",
    "traces",
    "valid_mask",
    "view",
    "volume_statistics",
    "window_map",
    "with_uncertainty",
]


load_on_first_use(__name__, _HOMES)
register_accessors()
