"""What a notebook shows of a cube, a result or a collection: small maps, spectra and a table.

Nothing is computed that takes long: of a large store only what its manifest says (photons of every chunk, the
sum spectrum), of a lazy cube that is not in a store nothing. Colours of text and lines are those of the page
around it, light or dark; all names are escaped; there is no script.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.io.grid import SIDE
from edxdask.io.store import manifest_of, store_of
from edxdask.ops import sum_spectrum, total_map
from edxdask.readable import plural, si
from edxdask.report.describe import attribute_lines, energy_text, pixels_of, size_text
from edxdask.report.lines import label_lines
from edxdask.report.pictures import DrawnSpectrum, small_map, spectra_svg
from edxdask.report.style import PALETTE
from edxdask.report.summary import result_table, warnings_of
from edxdask.report.tables import rows_of, text_cells
from edxdask.results.check import labels_of
from edxdask.results.collections import Data, cubes_in, is_collection, nodes_of, shared_part
from edxdask.results.kinds import Kind, kind_of, said

MOST_CHUNKS = 16  # of a store that are read for a map of its photons
MOST_VALUES = 2**24  # of a result's maps, or of an image, that are read
MOST_COUNTS = 2**27  # of a cube in memory that are summed
MOST_MAPS, MOST_ROWS, MOST_WARNINGS = 12, 60, 5
MAPS = {Kind.PHASES: schema.ABUNDANCE, Kind.COMPONENTS: schema.SCORE, Kind.CLUSTERS: schema.LABEL}
LINE = "rgba(128,128,128,0.35)"
CELL = f"padding:2px 10px 2px 0;border:0;border-bottom:1px solid {LINE};text-align:left;white-space:pre"


def html_of(data: Data, methods: Sequence[str]) -> str:
    """Give the HTML of a cube, a result or a collection.

    Parameters
    ----------
    data : Dataset or DataTree
        What is shown.
    methods : sequence of str
        What ``.edx`` offers for it.

    Examples
    --------
    >>> import edxdask
    >>> page = html_of(edxdask.simulate(shape=(8, 8), counts=20).load(), ["table"])
    >>> page.count("<svg"), "8 × 8 pixels" in page
    (1, True)
    """
    kind = kind_of(data)
    if kind is Kind.OTHER:
        body = f"<div>{html.escape(said(data))}</div>"
    elif kind is Kind.CUBE:
        body = _cubes(data) if is_collection(data) else _cube(data)
    elif kind in MAPS:
        body = _result(data, kind)
    elif kind is Kind.QUANTIFIED and _of_pixels(data):
        body = _per_pixel(data)
    else:
        body = _cells_table(*text_cells(rows_of(data)))
    many = (
        f"Collection of {len(nodes_of(data)[1])}: " if is_collection(data) and kind is not Kind.OTHER else ""
    )
    title = data.attrs.get(schema.TITLE)
    text = f"{many}{kind.value}{f' · {title}' if title else ''}"
    head = html.escape(text[0].upper() + text[1:])
    offered = html.escape(", ".join(f".edx.{name}()" for name in methods))
    return (
        f'<div style="color:inherit;background:transparent;max-width:56em">'
        f'<div style="font-weight:bold;margin:0 0 6px">{head}</div>{body}'
        f'<details style="margin-top:6px"><summary>what it offers</summary>'
        f'<div style="font-family:monospace">{offered}</div></details></div>'
    )


def _cube(cube: xr.Dataset) -> str:
    schema.validate_cube(cube)
    energy = cube[schema.ENERGY].values
    photons, image, spectrum = _known(cube)
    pictures = [] if image is None else [(schema.TOTAL, image)]
    pictures += [
        (str(name), array.values) for name, array in cube.data_vars.items() if _is_image(cube, array)
    ]
    parts = [_maps(pictures)]
    if spectrum is not None:
        lines = label_lines(cube.attrs.get(schema.ELEMENTS, ()), float(energy[0]), float(energy[-1]))
        parts.append(spectra_svg([DrawnSpectrum("sum spectrum", energy, spectrum)], lines=lines))
    else:
        parts.append("<div>lazy: its maps and spectra are made when you ask for them</div>")
    return "".join([*parts, _pairs(_facts(cube, photons))])


def _facts(cube: xr.Dataset, photons: int | None) -> list[tuple[str, str]]:
    offset, scale = schema.energy_axis(cube)
    axis = {"energy_offset_kev": offset, "energy_scale_kev": scale, "channels": cube.sizes[schema.ENERGY]}
    rows = [("size", size_text(pixels_of(cube)))]
    if photons is not None:
        pixels = cube[schema.COUNTS].size // cube.sizes[schema.ENERGY]
        rows.append(("photons", f"{photons / max(pixels, 1):.4g} per pixel, {si(photons).strip()} in all"))
    return [*rows, ("energy", energy_text(axis)), *attribute_lines(cube.attrs)]


def _known(cube: xr.Dataset) -> tuple[int | None, np.ndarray | None, np.ndarray | None]:
    """Photons, their map (where pixels are y and x) and the sum spectrum, as far as they cost little."""
    counts = cube[schema.COUNTS]
    flat = schema.pixel_dims(counts) == (schema.Y, schema.X)
    folder = store_of(counts)
    if folder is not None:
        manifest = manifest_of(folder)
        spectrum = manifest.sum_spectrum
        few = manifest.photons.size <= MOST_CHUNKS
        image = None
        if flat:
            image = total_map(cube).values if few else _by_chunk(manifest.photons, counts.shape[:2])
        return int(spectrum.sum()), image, spectrum
    if counts.chunks is not None or counts.size > MOST_COUNTS:
        return None, None, None
    spectrum = sum_spectrum(cube).values
    return int(spectrum.sum()), total_map(cube).values if flat else None, spectrum


def _by_chunk(photons: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Photons per pixel, one value for each chunk."""
    rows, columns = (np.diff([*range(0, size, SIDE), size]) for size in shape)
    return photons / np.outer(rows, columns)


def _is_image(cube: xr.Dataset, array: xr.DataArray) -> bool:
    fits = set(array.dims) == {schema.Y, schema.X} and array.size <= MOST_VALUES and array.dtype.kind in "uif"
    return fits and not str(array.name).startswith("truth")


def _cubes(tree: xr.DataTree) -> str:
    """One row for each map: photons, size, conditions."""
    cubes = cubes_in(tree)
    rows = []
    for name, cube in list(cubes.items())[:MOST_MAPS]:
        photons, image, _ = _known(cube)
        picture = "" if image is None else small_map(image, name)
        facts = "<br>".join(html.escape(f"{key}: {text}") for key, text in _facts(cube, photons)[:3])
        rows.append(f'<tr><td style="{CELL}"><b>{html.escape(name)}</b></td>'
                    f'<td style="{CELL}">{picture}</td><td style="{CELL}">{facts}</td></tr>')  # fmt: skip
    return _table("", rows) + _left_out(len(cubes), MOST_MAPS, "map")


def _result(data: Data, kind: Kind) -> str:
    labels, root = labels_of(data), shared_part(data)
    large = sum(one[MAPS[kind]].size for _, one in nodes_of(data)[1] if MAPS[kind] in one) > MOST_VALUES
    pictures = [] if large else list(_result_maps(data, kind, labels))
    parts = [
        _maps(pictures[:MOST_MAPS], from_zero=kind is Kind.PHASES),
        _left_out(len(pictures), MOST_MAPS, "map"),
    ]
    name = schema.LOADING if kind is Kind.COMPONENTS else schema.SPECTRUM
    spectra = root[name].transpose(..., schema.ENERGY)
    energy = spectra[schema.ENERGY].values
    rows = [
        DrawnSpectrum(label, energy, np.abs(spectra[i].values), _color(i)) for i, label in enumerate(labels)
    ]
    if rows:
        parts.append(_legend(labels, "absolute values" if kind is Kind.COMPONENTS else ""))
        parts.append(spectra_svg(rows[: len(PALETTE)]))
    if kind is Kind.CLUSTERS or large:
        parts.append("<div>its maps are large: .edx.plot() draws them</div>" if large else "")
        parts.append("" if large else _cells_table(*text_cells(rows_of(data))))
    else:
        parts.append(_cells_table(*result_table(data)))
    texts = warnings_of(data)
    notes = "".join(f"<li>{html.escape(text)}</li>" for text in texts[:MOST_WARNINGS])
    parts.append(f"<div><b>warnings</b><ul style='margin:0'>{notes}</ul></div>" if notes else "")
    return "".join([*parts, _left_out(len(texts), MOST_WARNINGS, "warning")])


def _of_pixels(data: Data) -> bool:
    """Whether compositions are those of every pixel."""
    nodes = [one for _, one in nodes_of(data)[1]]
    return any(schema.COMPOSITION in one and schema.Y in one[schema.COMPOSITION].dims for one in nodes)


def _per_pixel(data: Data) -> str:
    """Draw compositions of every pixel as maps, where they are there already."""
    found = None if is_collection(data) else data[schema.COMPOSITION]
    if found is None or found.chunks is not None or found.ndim != 3 or found.size > MOST_VALUES:
        return "<div>compositions of every pixel: .edx.plot() draws them</div>"
    stack = found.transpose(schema.ELEMENT, ...)
    names = [f"{element}, atomic fraction" for element in stack[schema.ELEMENT].values]
    pictures = list(zip(names, stack.values, strict=True))
    return _maps(pictures[:MOST_MAPS]) + _left_out(len(pictures), MOST_MAPS, "map")


def _result_maps(data: Data, kind: Kind, labels: Sequence[str]) -> Iterable[tuple[str, np.ndarray]]:
    for path, one in nodes_of(data)[1]:
        if MAPS[kind] not in one:
            continue
        array = one[MAPS[kind]]
        first = [d for d in (schema.PHASE, schema.COMPONENT) if d in array.dims]
        if array.ndim - len(first) != 2:
            continue
        stack = array.transpose(*first, ...).values
        names = labels if first else ["clusters"]
        for name, values in zip(names, stack if first else [stack], strict=True):
            yield f"{path}, {name}" if path else name, values


def _color(number: int) -> str:
    return PALETTE[number % len(PALETTE)]


def _legend(labels: Sequence[str], note: str) -> str:
    marks = (
        f'<span style="margin-right:14px;white-space:nowrap"><span style="color:{_color(i)}">■</span> '
        f"{html.escape(label)}</span>"
        for i, label in enumerate(labels[: len(PALETTE)])
    )
    return f'<div style="margin-top:6px">{"".join(marks)}{note}</div>'


def _maps(pictures: Iterable[tuple[str, np.ndarray]], *, from_zero: bool = False) -> str:
    cells = (
        f'<div style="margin:0 10px 6px 0">{small_map(values, name, from_zero=from_zero)}'
        f'<div style="font-size:smaller">{html.escape(name)}</div></div>'
        for name, values in pictures
    )
    return f'<div style="display:flex;flex-wrap:wrap">{"".join(cells)}</div>'


def _pairs(rows: Iterable[tuple[str, str]]) -> str:
    wraps = CELL.replace("white-space:pre", "white-space:normal")
    lines = [
        f'<tr><td style="{CELL}"><b>{html.escape(name)}</b></td>'
        f'<td style="{wraps}">{html.escape(value)}</td></tr>'
        for name, value in rows
    ]
    return _table("", lines)


def _cells_table(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    style = f"{CELL};font-family:monospace"
    head = "".join(f'<th style="{style}">{html.escape(text)}</th>' for text in heads)
    rows = [
        "<tr>" + "".join(f'<td style="{style}">{html.escape(text)}</td>' for text in row) + "</tr>"
        for row in cells[:MOST_ROWS]
    ]
    return _table(f"<tr>{head}</tr>", rows) + _left_out(len(cells), MOST_ROWS, "row")


def _table(head: str, rows: Sequence[str]) -> str:
    style = "border-collapse:collapse;color:inherit;background:transparent;margin:6px 0"
    return f'<table style="{style}">{head}{"".join(rows)}</table>' if rows else ""


def _left_out(count: int, most: int, word: str) -> str:
    rest = count - most
    return f"<div>and {rest} more {plural(word, rest)}</div>" if rest > 0 else ""
