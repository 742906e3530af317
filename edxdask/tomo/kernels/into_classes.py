"""Photons to counts by class of channel."""

from edxdask.photons.kernels.jit import kernel


@kernel
def into_classes(indptr, channel, count, class_of, out):
    """Add the photons of pixel ``i`` to ``out[i, class_of[channel]]``."""
    for i in range(indptr.size - 1):
        row = out[i]
        for j in range(indptr[i], indptr[i + 1]):
            row[class_of[channel[j]]] += count[j]
