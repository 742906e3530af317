"""The backend with inner loops over vectors of sixteen lanes, written as LLVM IR: as fast as a processor can.

Read in this order: ``registers`` (vectors in numba), ``logarithms``, ``lanes`` (what is done with
sixteen counts at a time), ``dense_channels`` and ``strips`` (where these come from), ``scratch`` (memory),
``batches`` (of pixels), ``updates`` and ``products`` (the functions of the contract).
"""

from edxdask.photons.kernels.vector.extrapolation import extrapolate
from edxdask.photons.kernels.vector.nonzeros import count_nonzeros, fill_nonzeros
from edxdask.photons.kernels.vector.products import back_project, likelihood_model, project
from edxdask.photons.kernels.vector.updates import likelihood_sweep, squares_sweep

__all__ = [
    "back_project",
    "count_nonzeros",
    "extrapolate",
    "fill_nonzeros",
    "likelihood_model",
    "likelihood_sweep",
    "project",
    "squares_sweep",
]
