"""Photon blocks and the kernels that walk them: arrays in, arrays out; no files, no dask, no xarray."""

from edxdask.photons.block import PhotonBlock, from_dense, to_dense
from edxdask.photons.dense_factor import DenseBlock, choose
from edxdask.photons.factor import Block, back_project, entropy_term, frobenius_sweep, kl_sweep, project
from edxdask.photons.moments import gram, grouped_spectra, pixel_totals, sum_spectrum
from edxdask.photons.rebin import bin_block, bin_energy, concat_blocks, crop_channels, merge_blocks, take_rows
from edxdask.photons.sweep import EPSILON, MAX_PHASES, FroSweep, Sweep
from edxdask.photons.thin import thin

__all__ = [
    "EPSILON",
    "MAX_PHASES",
    "Block",
    "DenseBlock",
    "FroSweep",
    "PhotonBlock",
    "Sweep",
    "back_project",
    "bin_block",
    "bin_energy",
    "choose",
    "concat_blocks",
    "crop_channels",
    "entropy_term",
    "frobenius_sweep",
    "from_dense",
    "gram",
    "grouped_spectra",
    "kl_sweep",
    "merge_blocks",
    "pixel_totals",
    "project",
    "sum_spectrum",
    "take_rows",
    "thin",
    "to_dense",
]
