"""Photons of a chunk sorted by channel, in entries of 16 bits: 12 for the pixel, 4 for its counts less one.

A chunk has 4096 pixels at most. Counts above 16 take several entries.
"""

from edxdask.photons.kernels.jit import kernel


@kernel
def count_entries(channel, count, per_channel):
    """Add the number of entries of each channel."""
    for j in range(channel.size):
        per_channel[channel[j]] += (count[j] + 15) >> 4


@kernel
def fill_entries(indptr, channel, count, place, entries):
    """Write all entries; ``place`` is where the next entry of a channel goes, and is moved on."""
    for i in range(indptr.size - 1):
        for j in range(indptr[i], indptr[i + 1]):
            c = channel[j]
            left = int(count[j])
            while left > 0:
                some = min(left, 16)
                entries[place[c]] = (i << 4) | (some - 1)
                place[c] += 1
                left -= some


@kernel
def add_entries(entries, target, weight, image):
    """Add ``weight`` per photon to the place of its pixel in a flat image; below 0 it is outside."""
    for j in range(entries.size):
        entry = entries[j]
        place = target[entry >> 4]
        if place >= 0:
            image[place] += weight * ((entry & 15) + 1)


@kernel
def add_values(values, target, image):
    """Add one value per pixel to the place of the pixel in a flat image; below 0 it is outside."""
    for i in range(values.size):
        if target[i] >= 0:
            image[target[i]] += values[i]


@kernel
def add_spectrum(entries, starts, inside, spectrum):
    """Add the photons of pixels that are inside to a spectrum."""
    for c in range(starts.size - 1):
        photons = 0
        for j in range(starts[c], starts[c + 1]):
            entry = entries[j]
            if inside[entry >> 4]:
                photons += (entry & 15) + 1
        spectrum[c] += photons
