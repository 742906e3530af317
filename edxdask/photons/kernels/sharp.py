"""Counts that are sharper than a detector's peak: one pass over the non-zeros of a block."""

from math import log

from edxdask.photons.kernels.jit import helper, kernel

LEAST_COUNT = 16  # fewer in one channel are never beyond chance
BESIDE = 4  # times the fuller of the two channels beside it
CHANCE = 40.0  # natural logarithm of how rarely chance does it: never, on any number of photons


@helper
def _beside(channel, count, j, start, stop, reach):
    """Return the counts of the fuller side within ``reach`` channels, and of the fuller channel beside."""
    e = int(channel[j])
    left, right, next_left, next_right = 0.0, 0.0, 0.0, 0.0
    i = j - 1
    while i >= start and int(channel[i]) >= e - reach:
        left += count[i]
        if int(channel[i]) == e - 1:
            next_left = float(count[i])
        i -= 1
    i = j + 1
    while i < stop and int(channel[i]) <= e + reach:
        right += count[i]
        if int(channel[i]) == e + 1:
            next_right = float(count[i])
        i += 1
    return max(left, right), max(next_left, next_right)


@kernel
def find_sharp(indptr, channel, count, most_share, reach, first, out):
    """Write the places of entries that no peak of the detector's width can make; returns their number.

    Of the counts in a channel and on the fuller side of it, at most ``most_share`` are expected in the
    channel, whatever the spectrum. Chernoff's bound says how likely as many as these are.
    """
    found = 0
    for pixel in range(indptr.size - 1):
        start, stop = indptr[pixel], indptr[pixel + 1]
        for j in range(start, stop):
            e = int(channel[j])
            if count[j] >= LEAST_COUNT and e >= first:
                here = float(count[j])
                side, nearest = _beside(channel, count, j, start, stop, reach[e])
                part, share = here / (here + side), most_share[e]
                if here > BESIDE * nearest and part > share:
                    away = part * log(part / share)
                    if part < 1.0:
                        away += (1.0 - part) * log((1.0 - part) / (1.0 - share))
                    if (here + side) * away > CHANCE:
                        if found < out.size:
                            out[found] = j
                        found += 1
    return found
