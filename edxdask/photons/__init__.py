"""Photon blocks and the kernels that walk them: arrays in, arrays out; no files, no dask, no xarray."""

from edxdask.photons.block import PhotonBlock, from_dense, to_dense
from edxdask.photons.factor import (
    back_project,
    entropy_term,
    frobenius_sweep,
    kl_sweep,
    likelihood_model,
    project,
    squares,
)
from edxdask.photons.moments import grouped_spectra, pixel_totals, sum_spectrum
from edxdask.photons.rebin import bin_block, concat_blocks, take_rows
from edxdask.photons.split import FULL_FILL, Block, SplitBlock, as_photons, choose, hold_dense
from edxdask.photons.sweep import EPSILON, MAX_PHASES, FroSweep, Sweep
from edxdask.photons.thin import thin

__all__ = [
    "EPSILON",
    "FULL_FILL",
    "MAX_PHASES",
    "Block",
    "FroSweep",
    "PhotonBlock",
    "SplitBlock",
    "Sweep",
    "as_photons",
    "back_project",
    "bin_block",
    "choose",
    "concat_blocks",
    "entropy_term",
    "frobenius_sweep",
    "from_dense",
    "grouped_spectra",
    "hold_dense",
    "kl_sweep",
    "likelihood_model",
    "pixel_totals",
    "project",
    "squares",
    "sum_spectrum",
    "take_rows",
    "thin",
    "to_dense",
]
