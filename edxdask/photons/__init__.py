"""Photon blocks and the kernels that walk them: arrays in, arrays out; no files, no dask, no xarray."""

from edxdask.photons.block import PhotonBlock, from_dense, to_dense
from edxdask.photons.dense_factor import DenseBlock, choose
from edxdask.photons.factor import Block, back_project, entropy_term, frobenius_sweep, kl_sweep, project
from edxdask.photons.sweep import EPSILON, MAX_PHASES, FroSweep, Sweep

__all__ = [
    "EPSILON",
    "MAX_PHASES",
    "Block",
    "DenseBlock",
    "FroSweep",
    "PhotonBlock",
    "Sweep",
    "back_project",
    "choose",
    "entropy_term",
    "frobenius_sweep",
    "from_dense",
    "kl_sweep",
    "project",
    "to_dense",
]
