"""Lone spectra as maps of one pixel, and their values as counts.

One row and one column, and not a cube without pixel dimensions: so every stage works on a spectrum as on a
map. Files of spectra often hold numbers with a decimal point. Whole numbers are counts; counts per second
with a live time are converted to counts; all else is refused, since errors and limits of detection follow
from the number of photons, which cannot be known from values that were scaled or smoothed.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from edxdask import schema
from edxdask.io.vendor.convert import kev_per, whole_counts
from edxdask.io.vendor.hyperspy_dict import Signal, attributes, lookup

_PER_SECOND = re.compile(r"/\s*s|per\s*s|\bcps\b|s\s*\^?\s*-1|\bhz\b", re.IGNORECASE)
# Of a count, and of the counts: what few digits, or a division and a multiplication, may change.
_ROUNDING, _RELATIVE, _OF_ALL = 1e-3, 1e-6, 1e-3


def is_spectrum(signal: Signal) -> bool:
    """Whether a signal is one EDX spectrum: it says so, or says nothing and has its axis in keV."""
    data, axes = signal["data"], signal["axes"]
    if data.ndim != 1 or len(axes) != 1 or data.dtype.kind not in "buif" or data.size < 2:
        return False
    kind = str(lookup(signal.get("metadata", {}), "Signal.signal_type") or "")
    return kind.startswith("EDS") or (not kind and kev_per(axes[0].get("units")) == 1.0)


def of_one_pixel(signal: Signal) -> tuple[Signal, str]:
    """Spectrum as a signal of one row and one column, and what the user must know about its counts.

    Raises
    ------
    ValueError
        If its values are not counts.
    """
    values = signal["data"]
    if hasattr(values, "compute"):
        values = values.compute(scheduler="synchronous")  # this process is one worker already
    counts, remark = _counts(np.asarray(values), signal)
    pixel: dict[str, Any] = {"size": 1, "navigate": True}
    axes = [{"name": schema.Y, **pixel}, {"name": schema.X, **pixel}, signal["axes"][0]]
    return {**signal, "data": counts[None, None], "axes": axes}, remark


def _counts(values: np.ndarray, signal: Signal) -> tuple[np.ndarray, str]:
    if values.dtype.kind != "f" or not np.isfinite(values).all() or values.min() < 0:
        return whole_counts(values), ""  # which refuses what is no count
    quantity = str(lookup(signal.get("metadata", {}), "Signal.quantity") or "")
    rate = _PER_SECOND.search(quantity) is not None
    live_time = attributes(signal).get(schema.LIVE_TIME)
    photons = values * live_time if rate and live_time else values.astype(np.float64)
    whole = np.rint(photons)
    off = np.abs(photons - whole)
    near = (off <= _ROUNDING + _RELATIVE * whole).all() and off.sum() <= _OF_ALL * photons.sum()
    if not near or (rate and not live_time):
        raise ValueError(_no_counts(values, rate, live_time))
    if rate:
        return whole_counts(whole), (
            f"the file holds counts per second; they were multiplied by its live time of {live_time:g} s and "
            "are whole numbers then"
        )
    remark = f"values were rounded to whole counts, by up to {off.max():.1g}"
    return whole_counts(whole), remark if off.any() else ""


def _no_counts(values: np.ndarray, rate: bool, live_time: float | None) -> str:
    """Say why the values are not accepted as counts, and what to do."""
    channel = int(np.argmax(values != np.rint(values)))
    text = f"its values are not whole numbers ({values[channel]:.6g} in channel {channel})"
    if rate and live_time:
        text = f"its values are counts per second; times its live time ({live_time:g} s) they are not whole"
    elif rate:
        text = "its values are counts per second, and it gives no live time to convert them to counts"
    return (
        f"{text}: they were scaled, smoothed or divided, and errors and limits of detection follow from the "
        "number of photons. Export the counts themselves from the program that wrote it (as an .msa file: "
        "#YUNITS: Counts), with the live time (#LIVETIME)"
    )
