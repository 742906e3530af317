"""Velox files whose frames drift along a known path."""

from __future__ import annotations

import h5py
import numpy as np
from vendor_files.velox import write_velox

GATE = 0xFFFF


def write_drifting(path, counts, haadf):
    """Write (frame, y, x, energy) counts of one detector and HAADF frames into a Velox file."""
    frames, rows, columns, channels = counts.shape
    write_velox(
        path, shape=(rows, columns), channels=channels, photons_per_pixel=1, frames=frames, detectors=1
    )
    with h5py.File(path, "r+") as file:
        (stream,) = file["Data/SpectrumStream"].values()
        parts = [stream_of(frame) for frame in counts]
        stream["Data"].resize(sum(map(len, parts)), axis=0)
        stream["Data"][:, 0] = np.concatenate(parts)
        stream["FrameLocationTable"][:, 0] = np.cumsum([0, *map(len, parts[:-1])])
        (spectrum,) = file["Data/Spectrum"].values()
        spectrum["Data"][:, 0] = counts.sum(axis=(0, 1, 2))
        (image,) = file["Data/Image"].values()
        if haadf is None:  # as where only the last frame of the image was kept
            del image["Data"]
            image.create_dataset("Data", data=np.ones((rows, columns, 1), np.uint16))
        else:
            image["Data"][...] = np.moveaxis(haadf, 0, -1)
    return path


def stream_of(frame):
    """Write one frame as Velox does: channels of the photons of each pixel, then the mark."""
    flat = frame.reshape(-1, frame.shape[-1])
    out = []
    for pixel in flat:
        out += [np.repeat(np.arange(pixel.size), pixel), [GATE]]
    return np.concatenate(out).astype(np.uint16)
