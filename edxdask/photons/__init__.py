"""Photon blocks and the kernels that walk them: arrays in, arrays out; no files, no dask, no xarray."""

from edxdask.photons.block import PhotonBlock, from_dense, to_dense

__all__ = ["PhotonBlock", "from_dense", "to_dense"]
