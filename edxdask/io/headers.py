"""Checks what a vendor reader sends: a header that cannot be true, a block that is not valid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edxdask.io.vendor.base import MapHeader
from edxdask.io.wire import Message
from edxdask.photons import PhotonBlock
from edxdask.photons.block import MAX_CHANNELS
from edxdask.schema import ATTRIBUTES, BEAM_ENERGY, VARIABLES

MAX_PIXELS = 1 << 31
_MAX_SCALE = 1.0  # keV per channel; more is eV taken for keV


def header_of(message: Message) -> MapHeader:
    """Header from a message; ``ValueError`` says what cannot be true."""
    fields = message.fields
    try:
        shape = (int(fields["shape"][0]), int(fields["shape"][1]))
        size = fields["pixel_size"]
        total = fields["expected_total"]
        header = MapHeader(
            name=str(fields["name"]),
            shape=shape,
            channels=int(fields["channels"]),
            energy_offset=float(fields["energy_offset"]),
            energy_scale=float(fields["energy_scale"]),
            pixel_size=None if size is None else (float(size[0]), float(size[1])),
            attrs=_attrs(fields["attrs"]),
            images=dict(zip(fields["images"], message.arrays, strict=True)),
            vendor_metadata=dict(fields["vendor_metadata"]),
            expected_total=None if total is None else int(total),
            total_is_exact=bool(fields["total_is_exact"]),
            unverified=str(fields["unverified"]),
            remarks=tuple(map(str, fields["remarks"])),
            frames=int(fields["frames"]),
            frame_images=tuple(map(str, fields["frame_images"])),
            dtype_max=int(fields["dtype_max"]),
        )
    except (KeyError, TypeError, IndexError, OverflowError) as error:
        raise ValueError(f"the header is not complete ({type(error).__name__}: {error})") from error
    _check(header)
    return header


def _check(header: MapHeader) -> None:
    rows, columns = header.shape
    if rows < 1 or columns < 1 or rows * columns > MAX_PIXELS:
        raise ValueError(f"the map is said to have {rows} × {columns} pixels")
    if not 1 <= header.channels <= MAX_CHANNELS:
        raise ValueError(
            f"the spectra are said to have {header.channels} channels; 1 to {MAX_CHANNELS} can be"
        )
    if not (0 < header.energy_scale <= _MAX_SCALE and math.isfinite(header.energy_offset)):
        raise ValueError(
            f"the energy axis is said to start at {header.energy_offset} keV and rise by "
            f"{header.energy_scale} keV per channel"
        )
    if header.pixel_size is not None and not all(0 < s < math.inf for s in header.pixel_size):
        raise ValueError(f"the pixels are said to measure {header.pixel_size} nm")
    if header.expected_total is not None and header.expected_total < 0:
        raise ValueError(f"the map is said to hold {header.expected_total} photons")
    if header.frames < 0 or not set(header.frame_images) <= set(header.images):
        raise ValueError(f"it is said to have {header.frames} frames of the images {header.frame_images}")
    for name, image in header.images.items():
        if image.ndim != 2 or 0 in image.shape or name in VARIABLES or not name.isidentifier():
            raise ValueError(
                f"image {name!r} has shape {image.shape}; expected two dimensions and a free name"
            )


def _attrs(attrs: dict[str, Any]) -> dict[str, Any]:
    """Attributes as the schema types them; a value that is not finite is unknown and left out."""
    typed: dict[str, Any] = {}
    for key, value in attrs.items():
        if key not in ATTRIBUTES:
            raise ValueError(f"attribute {key!r} is not in the schema")
        if value is None:
            continue
        kind = ATTRIBUTES[key].type
        values = [v for v in np.atleast_1d(np.asarray(value, dtype=object)).tolist() if v is not None]
        if any(isinstance(v, float) and not math.isfinite(v) for v in values):
            continue
        typed[key] = values if kind is list else kind(value)
    if not 0 < typed.get(BEAM_ENERGY, 1.0) <= 1000:
        raise ValueError(f"the beam energy is said to be {typed[BEAM_ENERGY]} keV")
    return typed


def block_of(message: Message, header: MapHeader, pixels: int) -> PhotonBlock:
    """Photons of ``pixels`` pixels from a message; ``ValueError`` where they are not a photon block."""
    if len(message.arrays) != 3 or message.fields.get("channels") != header.channels:
        raise ValueError("it sent no photons")
    indptr, channel, count = message.arrays
    if indptr.dtype != np.int64 or indptr.shape != (pixels + 1,) or indptr[0] != 0:
        raise ValueError(f"it sent {indptr.size - 1} pixels where {pixels} belong")
    if channel.dtype != np.uint16 or count.dtype.kind != "u" or count.dtype.itemsize > 4:
        raise ValueError(f"it sent channels as {channel.dtype} and counts as {count.dtype}")
    if (np.diff(indptr) < 0).any() or not indptr[-1] == channel.size == count.size or channel.ndim != 1:
        raise ValueError("its photons do not add up to its pixels")
    if channel.size:
        if int(channel.max()) >= header.channels or not count.min():
            raise ValueError(f"it sent channel {channel.max()} of {header.channels}, or an empty entry")
        starts = np.zeros(channel.size + 1, dtype=bool)
        starts[indptr] = True
        if not (starts[1:-1] | (channel[1:] > channel[:-1])).all():
            raise ValueError("the channels of a pixel do not rise")
    return PhotonBlock(indptr, channel, count, header.channels)
