"""Photon blocks and the kernels that walk them: arrays in, arrays out; no files, no dask, no xarray."""

from edxdask.photons.block import PhotonBlock, from_dense, to_dense
from edxdask.photons.kernels.contract import BlockArrays
from edxdask.photons.moments import grouped_spectra, pixel_totals, sum_spectrum
from edxdask.photons.rebin import bin_block, concat_blocks, take_rows
from edxdask.photons.sweep_block import (
    LEAST_DENSE_FILL,
    Block,
    SweepBlock,
    as_photons,
    for_sweeps,
    hold_dense,
)
from edxdask.photons.sweep_statistics import EPSILON, MAX_PHASES, FroSweep, Sweep
from edxdask.photons.sweeps import (
    back_project,
    entropy_term,
    extrapolate_ratios,
    frobenius_sweep,
    kl_sweep,
    likelihood_model,
    project,
    squares,
)
from edxdask.photons.thin import thin

__all__ = [
    "EPSILON",
    "LEAST_DENSE_FILL",
    "MAX_PHASES",
    "Block",
    "BlockArrays",
    "FroSweep",
    "PhotonBlock",
    "Sweep",
    "SweepBlock",
    "as_photons",
    "back_project",
    "bin_block",
    "concat_blocks",
    "entropy_term",
    "extrapolate_ratios",
    "for_sweeps",
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
