"""A report on a vendor file that its owner may send: what is in it and where reading stops.

No counts, no names of people or samples, no text that a user wrote: ``allowed.py`` says what may pass.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edxdask import schema
from edxdask.errors import NO_READER, EdxdaskError, ParameterError, StoreExistsError, VendorFileError
from edxdask.io.allowed import shown_message, shown_suffix
from edxdask.io.probes import REPORT, cut, indented, magic_of, names_of, redacted
from edxdask.io.remote import RemoteReader
from edxdask.io.source import companions
from edxdask.io.vendor.base import MapHeader, ReadOptions

_LIBRARIES = (
    "numpy",
    "scipy",
    "numba",
    "llvmlite",
    "dask",
    "distributed",
    "xarray",
    "zarr",
    "numcodecs",
    "h5py",
    "rosettasciio",
    "imagecodecs",
    "xraylib",
)
_HEAD = (
    "A report by edxdask diagnose. It holds sizes, types, settings of the instrument and names that readers",
    "know. It holds no counts, no names of people or samples, no text that a user wrote. Read it before you",
    "send it.",
)
# numbers of the instrument; nothing that a user wrote
_SHOWN_ATTRS = (
    schema.BEAM_ENERGY,
    schema.BEAM_CURRENT,
    schema.ELEVATION,
    schema.AZIMUTH,
    schema.FWHM,
    schema.TILT_ALPHA,
    schema.TILT_BETA,
    schema.LIVE_TIME,
    schema.REAL_TIME,
)
_FIRST_BYTES = 16
_ROWS = 64


def diagnose(path: str | Path, *, out: str | Path | None = None, overwrite: bool = False) -> str:
    """Report on a vendor file: container, headers, versions, and how far it can be read.

    For a file that cannot be read, or is read wrongly: the report can be sent with an issue. It holds no
    counts, no names of people or samples and no text that a user wrote; names of groups and keys, and words
    of errors, are in it only where the code of a reader knows them.

    Parameters
    ----------
    path : str or Path
        The file, of any format, whole or damaged.
    out : str or Path, optional
        Text file to write the report to, too.
    overwrite : bool
        Whether ``out`` may exist.

    Returns
    -------
    str
        The report.

    Raises
    ------
    ParameterError
        If there is no such file, or it is a folder.
    StoreExistsError
        If ``out`` exists.

    Notes
    -----
    The file is read to its end in child processes with limits of time and memory, as ``ingest`` does, and
    nothing of it is kept.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "a.bcf")
    >>> _ = file.write_bytes(b"AAMVHFSS")
    >>> "SFS container (Bruker)" in diagnose(file)
    True
    """
    source = _file_at(Path(path))
    target = None if out is None else _target(Path(out), source, overwrite=overwrite)
    sections = {
        "versions": _versions(),
        "file": _file(source),
        "structure": _probed(source, "STRUCTURE"),
        "edxdask's reader": _read(source),
        "rosettasciio": _probed(source, "ROSETTASCIIO"),
    }
    lines = list(_HEAD)
    for title, found in sections.items():
        lines += ["", f"== {title}", *found]
    text = "\n".join(lines) + "\n"
    if target is not None:
        target.write_text(text, encoding="utf-8")
    return text


def _file_at(path: Path) -> Path:
    if not path.exists():
        raise ParameterError("path", str(path), "a vendor file; there is no such file")
    if not path.is_file():
        fix = "Give the files inside one by one; of a store, `edxdask info` says what it holds."
        raise ParameterError("path", str(path), "a file; this is a folder", fix)
    return path


def _target(out: Path, source: Path, *, overwrite: bool) -> Path:
    if out.resolve() == source.resolve():
        raise ParameterError("out", str(out), "another path than that of the file, which would be lost")
    if not out.absolute().parent.is_dir():
        raise ParameterError(
            "out", str(out), "a path in a folder that exists", f"mkdir -p {str(out.absolute().parent)!r}"
        )
    if out.exists() and not overwrite:
        raise StoreExistsError(f"{out} exists: give another name, or overwrite=True (--overwrite)")
    return out


def _versions() -> list[str]:
    machine = f"{platform.system()} {platform.machine()}"
    lines = [f"edxdask {version('edxdask')}, Python {platform.python_version()}, {machine}"]
    for name in _LIBRARIES:
        try:
            lines.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name} not installed")
    return lines


def _file(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        start = file.read(64)
    yield f"suffix {shown_suffix(path) or 'none'}, {path.stat().st_size} bytes"
    yield f"kind by its first bytes: {magic_of(start) or 'unknown'}"
    yield f"first bytes: {_first_bytes(start[:_FIRST_BYTES]) or 'none'}"
    for other in companions(path):
        yield f"file beside it: {shown_suffix(other)}, {other.stat().st_size} bytes"


def _first_bytes(start: bytes) -> str:
    """Bytes as hex digits; letters and digits of an unknown format could be a user's, and show as "··"."""
    known = bool(magic_of(start))
    plain = [f"{b:02x}" if known or not (chr(b).isalnum() or b > 0x7F) else "··" for b in start]
    return " ".join(plain)


def _probed(path: Path, probe: str) -> list[str]:
    """Lines of a probe, or how it ended."""
    try:
        with RemoteReader(path, ReadOptions(), reader=f"edxdask.io.probes:{probe}") as remote:
            (header,) = remote.headers
    except VendorFileError as error:
        return [f"stopped while {error.stage}: {_shown_reason(error, path)}"]
    return cut(indented(redacted(header.vendor_metadata[REPORT], path)))


def _shown_reason(error: VendorFileError, path: Path) -> str:
    reason = error.reason.split(". Known formats:")[0]
    return shown_message(reason, *names_of(path))


def _read(path: Path) -> list[str]:
    """Stages of our own reader, each with its result."""
    lines: list[str] = []
    try:
        with RemoteReader(path, ReadOptions()) as remote:
            lines.append(f"opening: done by the {remote.reader} reader, {len(remote.headers)} maps")
            for number, header in enumerate(remote.headers):
                lines += [f"map {number + 1}: {line}" for line in _header(header)]
                lines.append(_decoded(remote, number, header))
    except VendorFileError as error:
        where = "no reader takes it" if error.reader == NO_READER else f"stopped in the {error.reader} reader"
        lines.append(f"{where} while {error.stage}: {_shown_reason(error, path)}")
    except EdxdaskError as error:
        lines.append(f"stopped: {shown_message(str(error), str(path))}")
    return lines


def _header(header: MapHeader) -> Iterator[str]:
    yield f"{header.shape[0]} × {header.shape[1]} pixels, {header.channels} channels"
    yield f"energy from {header.energy_offset:.6g} keV, {header.energy_scale:.6g} keV per channel"
    size = header.pixel_size
    yield "no pixel size" if size is None else f"pixels of {size[0]:.6g} × {size[1]:.6g} nm"
    for name in _SHOWN_ATTRS:
        value = header.attrs.get(name)
        if value is not None:
            numbers = [
                v for v in (value if isinstance(value, list) else [value]) if isinstance(v, int | float)
            ]
            yield f"{name}: {', '.join(f'{v:.6g}' for v in numbers) or 'no number'}"
    yield f"{len(header.images)} images: {', '.join(str(i.shape) for i in header.images.values()) or 'none'}"
    if header.unverified:
        yield f"not verified: {shown_message(header.unverified)}"


def _decoded(remote: RemoteReader, number: int, header: MapHeader) -> str:
    """Decode all bands; say how many, and whether their sum is the file's own total."""
    total, bands = 0, 0
    for _, block in remote.bands(number, _ROWS):
        total, bands = total + block.total, bands + 1
    verdict = "the file states no total"
    if header.expected_total is not None:
        alike = "agrees with" if total == header.expected_total else "differs from"
        verdict = f"the sum {alike} the total that the file states"
        verdict += "" if header.total_is_exact else ", which may count otherwise"
    return f"map {number + 1}: decoding: done, {bands} bands of {_ROWS} rows; {verdict}"
