"""Reductions of dense blocks, for work that touches every count once.

Plain adds over whole rows are what the compiler turns into full-width vector instructions: 24 to 38 GB/s per
core on a 64 × 64 × 4096 uint16 chunk at any fill. The eight-byte skip that makes photon blocks cheap gave 27
GB/s at 10 counts per pixel, 10 at 100 and 6 at 400, so these kernels do not branch on the data. A row of sums
(4096 channels in uint32 are 16 KiB) stays in the first-level cache while the pixels of its group are read.
"""

from numba import njit


@njit(cache=True, nogil=True)
def group_sums(flat, order, starts, out):
    """Add to ``out[g]`` the rows ``order[starts[g]:starts[g + 1]]`` of ``flat``."""
    channels = flat.shape[1]
    for g in range(out.shape[0]):
        total = out[g]
        for k in range(starts[g], starts[g + 1]):
            row = flat[order[k]]
            for e in range(channels):
                total[e] += row[e]


@njit(cache=True, nogil=True)
def group_sums_folded(flat, order, starts, edges, scratch, out):
    """``group_sums``, and then channels ``edges[j]`` to ``edges[j + 1]`` of a group go to ``out[g, j]``."""
    channels = flat.shape[1]
    for g in range(out.shape[0]):
        scratch[:] = 0
        for k in range(starts[g], starts[g + 1]):
            row = flat[order[k]]
            for e in range(channels):
                scratch[e] += row[e]
        total = out[g]
        for j in range(total.size):
            for e in range(edges[j], edges[j + 1]):
                total[j] += scratch[e]


@njit(cache=True, nogil=True)
def window_sums(flat, first, stop, out):
    """Write to ``out[p, w]`` the sum of channels ``first[w]`` to ``stop[w]`` of row ``p``."""
    zero = out.dtype.type(0)
    for p in range(flat.shape[0]):
        row = flat[p]
        for w in range(first.size):
            total = zero
            for e in range(first[w], stop[w]):
                total += row[e]
            out[p, w] = total
