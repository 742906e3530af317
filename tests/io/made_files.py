"""Files in the layout of vendors, written here from known counts, so that tests know what must come out.

Where no real file was at hand (.spd, .ser, .dm3, .h5oina, .edaxh5) these follow the published layouts; they
prove that a reader reads the layout, not that the vendor writes it so.
"""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import numpy as np


def counts_of(shape, *, seed=0, rate=0.3, dtype=np.uint16):
    """Sparse counts, each pixel and channel with its own chance, so that no transposition goes unseen."""
    rng = np.random.default_rng(seed)
    return rng.poisson(rate * rng.random(shape)).astype(dtype)


def write_hspy(path, counts, *, signals=(), units="keV", beam=200.0, chunks=True, **compression):
    """.hspy with the counts and other ``signals`` (name, data, signal type, axis units) beside them."""
    with h5py.File(path, "w") as file:
        file.attrs["file_format"], file.attrs["file_format_version"] = "HyperSpy", "3.3"
        group = file.create_group("Experiments")
        axes = [("y", 2.0, 0.0, "nm"), ("x", 3.0, 0.0, "nm"), ("Energy", 0.01, -0.1, units)]
        _experiment(group, "map", counts, "EDS_TEM", axes, beam, chunks, compression)
        for name, data, kind, axis_units in signals:
            own = [(f"axis {i}", 1.0, 0.0, unit) for i, unit in enumerate(axis_units)]
            _experiment(group, name, data, kind, own, beam, True, {})
    return path


def _experiment(parent, name, data, kind, axes, beam, chunks, compression):
    group = parent.create_group(name)
    group.create_dataset("data", data=data, chunks=chunks, **compression)
    for i, (label, scale, offset, units) in enumerate(axes):
        axis = group.create_group(f"axis-{i}")
        axis.attrs.update(name=label, scale=scale, offset=offset, units=units, size=data.shape[i])
        axis.attrs["navigate"] = label in "yx"
    metadata = group.create_group("metadata")
    metadata.create_group("General").attrs["title"] = name
    metadata.create_group("Signal").attrs["signal_type"] = kind
    instrument = metadata.create_group("Acquisition_instrument/TEM")
    instrument.attrs["beam_energy"] = beam
    instrument.create_group("Stage").attrs["tilt_alpha"] = 5.0
    detector = instrument.create_group("Detector/EDS")
    detector.attrs.update(
        elevation_angle=22.0, azimuth_angle=45.0, energy_resolution_MnKa=133.0, live_time=7.5
    )
    elements = metadata.create_group("Sample").create_group("_list_2_elements")
    elements.attrs.update({"0": "Fe", "1": "O"})
    group.create_group("original_metadata").attrs["maker"] = "made up"


def write_rpl(path, counts, *, record_by="vector", keys=("ev-per-chan\t10",)):
    """.rpl and .raw; ``record_by`` image stores the energy axis first."""
    height, width, depth = counts.shape
    lines = [
        "key\tvalue",
        f"width\t{width}",
        f"height\t{height}",
        f"depth\t{depth}",
        "offset\t0",
        f"data-length\t{counts.itemsize}",
        f"data-type\t{ {'u': 'unsigned', 'i': 'signed', 'f': 'float'}[counts.dtype.kind] }",
        f"byte-order\t{'dont-care' if counts.itemsize == 1 else 'little-endian'}",
        f"record-by\t{record_by}",
        *keys,
    ]
    path.write_text("\n".join(lines) + "\n")
    stored = counts if record_by == "vector" else np.moveaxis(counts, -1, 0)
    path.with_suffix(".raw").write_bytes(np.ascontiguousarray(stored).tobytes())
    return path


def write_spd(path, counts, *, calibrated=True):
    """.spd with the .spc (energies) and the .ipr (microns per pixel) beside it."""
    height, width, depth = counts.shape
    head = b"MAPSPECTRA_DATA\0"
    head += struct.pack("<8i", 3, height * width, width, height, depth, counts.itemsize, 1152, 1)
    head += f"{path.stem}_Img.bmp".encode().ljust(120, b"\0")
    path.write_bytes(head.ljust(1152, b"\0") + counts.tobytes())
    if calibrated:
        spc = bytearray(20740)
        struct.pack_into("<f", spc, 0, 0.61)
        struct.pack_into("<ih", spc, 28, 3840, depth)
        struct.pack_into("<i", spc, 384, 10)  # eV per channel
        struct.pack_into("<4f", spc, 448, 0.0, 40.0, 12.5, 3.0)  # start, end (keV), live time, tilt
        struct.pack_into("<f", spc, 472, 130.0)
        struct.pack_into("<2f", spc, 508, 45.0, 34.0)
        struct.pack_into("<f", spc, 532, 20.0)
        struct.pack_into("<h2H", spc, 638, 2, 26, 8)
        path.with_suffix(".spc").write_bytes(spc)
        ipr = bytearray(400)
        struct.pack_into("<H", ipr, 0, 333)
        struct.pack_into("<2f", ipr, 64, 0.25, 0.5)
        path.with_name(f"{path.stem}_Img.ipr").write_bytes(ipr)
    return path


def write_ser(path, counts):
    """TIA .ser: one record per pixel, energies in eV, positions that run down in y."""
    height, width, depth = counts.shape
    pixels, step = height * width, 2e-9
    dims = b""
    for size, delta in ((width, step), (height, -step)):
        dims += struct.pack("<IddII", size, 0.0, delta, 0, 8) + b"Position" + struct.pack("<I", 6) + b"meters"
    first = 30 + len(dims)
    code = {"uint16": 2, "uint32": 3, "int32": 6, "float32": 7}[counts.dtype.name]
    records, offsets = b"", []
    for i in range(pixels):
        offsets.append(first + len(records))
        y, x = divmod(i, width)
        records += struct.pack("<ddIHI", -100.0, 10.0, 0, code, depth) + counts[y, x].tobytes()
        records += struct.pack("<HHIdd", 16706, 0, 0, x * step, -y * step)
    head = struct.pack(
        "<HHHIIIIII", 0x4949, 0x0197, 528, 16672, 16706, pixels, pixels, first + len(records), 2
    )
    table = struct.pack(f"<{2 * pixels}I", *offsets, *offsets)
    path.write_bytes(head + dims + records + table)
    return path


def write_dm3(path, counts, *, units="keV", kind="X-ray"):
    """DigitalMicrograph 3: a tree of tags with the cube stored energy slowest, as the program does."""
    height, width, depth = counts.shape
    calibration = [(0.0, 0.5, "nm"), (0.0, 0.5, "nm"), (10.0, 0.01, units)]
    stored = np.ascontiguousarray(np.moveaxis(counts, -1, 0), "<i4")
    image = {
        "ImageData": {
            "Calibrations": {
                "Brightness": {"Origin": 0.0, "Scale": 1.0, "Units": "Counts"},
                "Dimension": [{"Origin": o, "Scale": s, "Units": u} for o, s, u in calibration],
            },
            "Data": stored,
            "DataType": 7,
            "Dimensions": [width, height, depth],
        },
        "ImageTags": {
            "Meta Data": {"Format": "Spectrum image", "Signal": kind},
            "Microscope Info": {"Voltage": 200000.0},
        },
        "Name": "EDS map",
    }
    body = _dm_group({"ImageList": [image]})
    path.write_bytes(struct.pack(">3I", 3, len(body), 1) + body)
    return path


def _dm_group(tree):
    items = tree.items() if isinstance(tree, dict) else [("", item) for item in tree]
    body = b"".join(_dm_tag(name, value) for name, value in items)
    return struct.pack(">BBI", 0, 0, len(tree)) + body


def _dm_tag(name, value):
    label = struct.pack(">H", len(name)) + name.encode()
    if isinstance(value, dict | list):
        return b"\x14" + label + _dm_group(value)
    if isinstance(value, np.ndarray):
        info, data = (20, 3, value.size), value.tobytes()
    elif isinstance(value, str):
        info, data = (20, 4, len(value)), value.encode("utf-16-le")
    elif isinstance(value, float):
        info, data = (6,), struct.pack("<f", value)
    else:
        info, data = (5,), struct.pack("<I", value)
    return b"\x15" + label + b"%%%%" + struct.pack(f">{1 + len(info)}I", len(info), *info) + data


def jeol_stream(frames, *, image=False):
    """Event words of ``frames`` (frame, y, x, channel)."""
    _, height, width, _ = frames.shape
    words = []
    for frame in frames:
        for y in range(height):
            words.append(0x9000 | y * (4096 // height))
            for x in range(width):
                words.append(0x8000 | x * (4096 // width))
                words += [0xA000 | (y + x)] if image else []
                words += [0xB000 | int(c) for c in np.repeat(np.arange(frame.shape[-1]), frame[y, x])]
    return np.array(words, "<u2")


def write_pts(path, frames, *, image=False, sweeps=None, cut=0, spectrum=None, dig_z=96):
    """JEOL .pts of ``frames`` (frame, y, x, channel); ``cut`` drops words off the end, unannounced."""
    _, height, width, channels = frames.shape
    words = jeol_stream(frames, image=image)
    words = words[: words.size - cut]
    summed = np.zeros(4096, np.int64)
    summed[:channels] = frames.sum((0, 1, 2))
    kept = summed[dig_z:][:2048] if spectrum is None else spectrum
    doc = {"CoefA": 0.01, "CoefB": 0.0, "DwellTime(msec)": 0.1, "LiveTime": 3.5, "RealTime": 4.0}
    doc["Sweep"] = len(frames) if sweeps is None else sweeps
    conditions = {"Pixels": f"{width}x{height}", "Tpl": "T4"}
    sem = {"ScanSize": 100.0, "DirAng": 90.0, "ElevAng": 22.3, "MnKaRES": 138.0, "DetT": "EX"}
    tree = {
        "PTTD Param": {
            "Params": {"PARAMPAGE0": ("SEM", sem), "PARAMPAGE1": ("EDXRF", {"Tpl": {"T4": {"DigZ": dig_z}}})}
        },
        "PTTD Data": {
            "AnalyzableMap MeasData": {
                "Doc": doc,
                "Meas Cond": conditions,
                "MeasCond": {"AccKV": 200.0, "Mag": 10000},
            }
        },
        "EDS Data": {"AnalyzableMap MeasData": {"Meas Cond": conditions, "Data": {"EDXRF": kept}}},
    }
    head = _jeol_group(tree) + b"\xff"
    first = -(-(320 + len(head)) // 16) * 16
    start = (
        struct.pack("<I", 304) + b"JED-2200" + struct.pack("<6I", 0, 0, 308, len(head), first, words.nbytes)
    )
    path.write_bytes((start.ljust(320, b"\0") + head).ljust(first, b"\0") + words.tobytes())
    return path


def _jeol_group(tree):
    out = b""
    for name, value in tree.items():
        children, kind = b"", 0
        if isinstance(value, tuple):  # a page: its name, and what stands on it
            value, children = value[0], _jeol_group(value[1])
        if isinstance(value, dict):
            data, children = b"", _jeol_group(value)
        elif isinstance(value, str):
            kind, data = 12, value.encode() + b"\0"
        elif isinstance(value, float):
            kind, data = 5, struct.pack("<d", value)
        else:
            kind, data = 3, np.atleast_1d(np.asarray(value, "<i4")).tobytes()
        key = name.encode() + b"\0"
        out += b"\x01" + struct.pack("<i", len(key)) + key + struct.pack("<2i", kind, len(data)) + data
        out += children + b"\xff"
    return out


def write_h5oina(path, detectors, *, index="1", append=False, step=(0.02, 0.03), labels=("Map Data 1",)):
    """Oxford .h5oina: one slice, ``detectors`` a list of cubes; EDS for one, EDS1, … for more."""
    with h5py.File(path, "a" if append else "w") as file:
        listed = [*(file["Index"][()].tolist() if append else []), index.encode()]
        if append:
            del file["Index"]
        else:
            file["Format Version"] = np.array([b"8.0"])
            file["Manufacturer"] = np.array([b"Oxford Instruments"])
        file["Index"] = np.array(listed)
        for i, counts in enumerate(detectors):
            name = "EDS" if len(detectors) == 1 else f"EDS{i + 1}"
            _h5oina_detector(file.create_group(f"{index}/{name}"), counts, step, labels[0])
        electrons = file.create_group(f"{index}/Electron Image")
        electrons["Data/SE/SE Image"] = np.arange(12, dtype=np.uint16)
        electrons["Header/X Cells"], electrons["Header/Y Cells"] = np.array([[4]]), np.array([[3]])
    return path


def _h5oina_detector(group, counts, step, label):
    height, width, channels = counts.shape
    flat = counts.reshape(-1, channels).astype(np.int32)
    rows = min(16, len(flat))
    group.create_dataset("Data/Spectrum", data=flat, chunks=(rows, channels), compression="lzf")
    group["Data/Live Time"] = np.full((len(flat), 1), 0.25, np.float32)
    group["Data/Window Integral/Fe Ka1"] = np.zeros(len(flat), np.float32)
    group["Data/Window Integral/O Ka1"] = np.zeros(len(flat), np.float32)
    scalars = {
        "X Cells": width,
        "Y Cells": height,
        "X Step": step[1],
        "Y Step": step[0],
        "Channel Width": 10.0,
        "Start Channel": -200.0,
        "Number Channels": channels,
        "Beam Voltage": 20.0,
        "Detector Elevation": np.pi / 6,
        "Detector Azimuth": np.pi / 4,
        "Tilt Angle": 0.0,
    }
    for name, value in scalars.items():
        group[f"Header/{name}"] = np.array([[value]], np.int32 if isinstance(value, int) else np.float32)
    group["Header/Analysis Label"] = np.array([label.encode()])


def write_edaxh5(path, maps, *, spc_channels=None, plane_of_arrays=True):
    """EDAX APEX .edaxh5: ``maps`` by the path of their group ("Project/Sample/Area 1/Live Map 1")."""
    with h5py.File(path, "w") as file:
        for name, counts in maps.items():
            height, width, channels = counts.shape
            group = file.create_group(name)
            dtype = np.dtype((np.int16, (channels,))) if plane_of_arrays else np.dtype(np.int16)
            shape = (height, width) if plane_of_arrays else counts.shape
            chunks = (min(4, height), min(4, width), channels)[: len(shape)]
            spectra = group.create_dataset("SPD", shape, dtype, chunks=chunks, compression="gzip")
            spectra[...] = counts.astype(np.int16)
            spectra.attrs.update(
                NumberOfLines=np.array([height]),
                NumberOfPoints=np.array([width]),
                NumberofChannels=np.array([channels]),
                MicronPerPixelX=np.array([0.004]),
                MicronPerPixelY=np.array([0.005]),
            )
            long = spc_channels or channels
            fields = [("eVOffset", "f4"), ("evPch", "f4"), ("NumberOfPoints", "i4"), ("kV", "f4")]
            record = np.zeros(1, [*fields, ("elevation", "f4"), ("SpectrumCounts", "u4", (long,))])
            record["eVOffset"], record["evPch"], record["NumberOfPoints"] = -50.0, 10.0, long
            record["kV"], record["elevation"] = 15.0, 35.0
            record["SpectrumCounts"][0, :channels] = counts.sum((0, 1))
            group["SPC"] = record
            image = group.parent.require_dataset("FOVIMAGE", (6,), np.uint8)
            image[...] = np.arange(6)
            image.attrs["PixelHeight"], image.attrs["PixelWidth"] = np.array([2]), np.array([3])
        next(iter(file.values())).attrs["Company"] = np.array([b"EDAX, LLC"])
    return path


def map_of(reader, path: Path, **options):
    """Header and dense counts of the only map."""
    found = maps_of(reader, path, **options)
    (only,) = found.values()
    return only


def maps_of(reader, path: Path, *, rows=4, skip=(), **options):
    """Header and dense counts of every map, by name."""
    from edxdask.io.vendor.base import ReadOptions
    from edxdask.photons import to_dense

    result = {}
    for item in reader.open(path, ReadOptions(**options)):
        header = item.header
        dense = np.zeros((*header.shape, header.channels), np.uint32)
        for first, block in item.bands(rows, skip):
            assert first % rows == 0
            band = dense[first : first + rows]
            band[...] = to_dense(block, np.uint32).reshape(band.shape)
        result[header.name] = (header, dense)
    return result
