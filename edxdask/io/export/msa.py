"""EMSA/MAS spectra (.msa), the format every EDX program reads.

rosettasciio writes values with six decimals, which leaves few digits of a spectrum that sums to 1;
so the lines are ours, with every digit, and rosettasciio's reader is the oracle.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.io.export.metadata import to_metadata
from edxdask.io.export.target import axis_of, require_dims, writing


def write(spectrum: xr.DataArray, path: Path, *, overwrite: bool, attrs: Mapping[Any, Any]) -> None:
    """Write one spectrum; ``attrs`` of the schema become the header's microscope lines."""
    require_dims(spectrum, (1,), "one spectrum", ".msa")
    values = np.asarray(spectrum.values, dtype=float)
    header = "\r\n".join(f"#{key:<12}: {value}" for key, value in _header(spectrum, attrs))
    body = "\r\n".join(f"{value:.12g}," for value in values)
    end = f"#{'ENDOFDATA':<12}: "
    with writing(path, overwrite=overwrite) as partial:
        partial.write_bytes(f"{header}\r\n{body}\r\n{end}\r\n".encode("latin-1", "replace"))


def _header(spectrum: xr.DataArray, attrs: Mapping[Any, Any]) -> list[tuple[str, object]]:
    energy = axis_of(spectrum, schema.ENERGY)
    title = str(attrs.get(schema.TITLE) or spectrum.name or "spectrum")
    keys: list[tuple[str, object]] = [
        ("FORMAT", "EMSA/MAS Spectral Data File"),
        ("VERSION", "1.0"),
        ("TITLE", " ".join(title.split())[:64]),
        ("DATE", ""),
        ("TIME", ""),
        ("OWNER", ""),
        ("NPOINTS", energy.values.size),
        ("NCOLUMNS", 1),
        ("XUNITS", energy.unit),
        ("YUNITS", "Counts" if spectrum.attrs.get("units", "counts") == "counts" else "Intensity"),
        ("DATATYPE", "Y"),
        ("XPERCHAN", f"{energy.scale:.12g}"),
        ("OFFSET", f"{energy.offset:.12g}"),
        ("SIGNALTYPE", "EDS"),
        ("XLABEL", "Energy"),
        ("YLABEL", "X-rays"),
    ]
    tree = to_metadata(attrs)
    microscope = tree.get("Acquisition_instrument", {}).get("TEM", {})
    detector = microscope.get("Detector", {}).get("EDS", {})
    optional = {
        "BEAMKV": microscope.get("beam_energy"),
        "PROBECUR": microscope.get("beam_current"),
        "XTILTSTGE": microscope.get("Stage", {}).get("tilt_alpha"),
        "ELEVANGLE": detector.get("elevation_angle"),
        "AZIMANGLE": detector.get("azimuth_angle"),
        "LIVETIME": detector.get("live_time"),
        "REALTIME": detector.get("real_time"),
        "FWHMMNKA": detector.get("energy_resolution_MnKa"),
    }
    keys += [(key, f"{value:.12g}") for key, value in optional.items() if value is not None]
    return [*keys, ("SPECTRUM", "Spectral Data Starts Here")]
