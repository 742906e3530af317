"""The public function `mosaic`: neighbouring maps on one canvas."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.mosaic.assembly import AXES, Tiles, canvas_of, joint_attrs, placement_of, tiles_at
from edxdask.mosaic.images import PIXELS, is_scan, on_map, require_pixels
from edxdask.mosaic.pairs import PlacedPairs, candidates, place_by_images
from edxdask.mosaic.starts import Order, Positions, by_name, pixel_size_of, start_positions
from edxdask.ops import line_map, total_map
from edxdask.physics.lines import parse_line
from edxdask.results.collections import ROOT_MAP, Data, check_same_axis, cubes_in, nodes_of, shared_part
from edxdask.results.kinds import Kind, kind_of, said

logger = logging.getLogger(__name__)

__all__ = ["mosaic"]

NAMED = 8  # maps or pairs that a warning names


def mosaic(
    data: xr.Dataset | xr.DataTree,
    *,
    image: str | None = "haadf",
    prior_px: float = 3.0,
    grid: tuple[int, int] | str | None = None,
    overlap: float | tuple[float, float] | None = None,
    order: Order = "rows",
    positions: Positions | None = None,
    placement: xr.Dataset | None = None,
) -> xr.Dataset:
    """Put neighbouring maps on one canvas, where their images say that they lie.

    Every pair of maps that overlaps is registered: a correlation finds the shift to a pixel, least squares to
    a tenth. Positions are those that all pairs agree on; a pair that contradicts the others is left out.
    Counts move by whole pixels and are never interpolated: in overlaps counts add, and ``exposure`` says how
    often, or how long, each pixel was measured, so that counts over exposure, ``made.edx.line_map("Fe_Ka") /
    made.exposure``, are even.

    Parameters
    ----------
    data : DataTree or Dataset
        Collection of cubes, or a result of one: its abundances go on the canvas.
    image : str, optional
        What maps are registered on: an image that the maps carry ("haadf"), "total", a line ("Fe_Ka"), of
        results "abundance" (all phases) or one phase. Totals of an even film carry nothing. None: maps stay
        where they are said to begin.
    prior_px : float
        How far such a position may be off along each axis, px.
    grid : (int, int) or str, optional
        Rows and columns of maps, ``(2, 4)`` or "2x4", in the order of their names (numbers taken as numbers).
    overlap : float or (float, float), optional
        Fraction of a map that neighbours on a grid have in common, along y and x; default 0.1.
    order : {"rows", "columns", "snake"}
        In which order names fill the grid; "snake" turns at the end of each row.
    positions : mapping, optional
        First pixel (y, x) of each map by its name, in nm (in pixels where maps have no calibration). Without
        a grid and positions, stage positions of the maps (``stage_y_nm``, ``stage_x_nm``) are taken, else the
        coordinates of their axes.
    placement : Dataset, optional
        Mosaic of the same maps, to take the positions from.

    Returns
    -------
    Dataset
        A cube, or a result, over the whole canvas, lazy, with ``exposure``, and where the maps lie:
        ``tile_position`` and ``tile_position_std`` (tile, axis), and for each pair ``pair_shift``,
        ``pair_residual`` and ``pair_used``. ``save`` writes it chunk by chunk.

    Raises
    ------
    ParameterError
        If no two maps overlap, no map has the image, or nothing says where the maps lie.
    SchemaError
        If pixel sizes or energy axes differ.

    Notes
    -----
    *Chunks.* Any. **This operation computes** the images that maps are registered on, all in memory: of lines
    and totals, one read of the counts. The canvas is lazy, in chunks of 64 × 64 pixels; each takes those
    chunks of the maps that it covers.

    Examples
    --------
    >>> import edxdask
    >>> whole = edxdask.simulate(shape=(40, 60), counts=60, grain=8)
    >>> maps = edxdask.collect({"left": whole.isel(x=slice(0, 36)), "right": whole.isel(x=slice(24, 60))})
    >>> made = mosaic(maps, image="truth_abundance", grid=(1, 2), overlap=0.3)
    >>> made.tile_position.round(1).values.tolist(), made.counts.shape
    ([[0.0, 0.0], [0.0, 24.0]], (40, 60, 970))
    """
    maps = _maps(data)
    y, x, unit = pixel_size_of(maps)
    if schema.COUNTS in next(iter(maps.values())):
        check_same_axis(
            maps,
            "a mosaic of counts needs one axis: edxdask.rebin_energy(maps) or `edxdask rebin` moves whole "
            "photons to one",
        )
    if not (isinstance(prior_px, int | float) and np.isfinite(prior_px) and prior_px > 0):
        raise ParameterError("prior_px", prior_px, "how far a map may be off, px, above 0", "prior_px=3.0")
    found: PlacedPairs | None = None
    if placement is not None:
        start = _placed_before(maps, placement)
        places = start
    else:
        starts = start_positions(maps, grid=grid, overlap=overlap, order=order, positions=positions)
        start = starts[0]
        if image is not None:
            start, found = _registered(maps, starts, image, prior_px)
        places = start if found is None else found.placement.positions
    tiles = tiles_at(maps, places)
    made = canvas_of(tiles, step=(y, x), unit=unit).assign(placement_of(tiles, start, found))
    made = made.assign_coords({schema.TILE: list(maps), schema.AXIS: list(AXES)})
    made = _with_shared(made, data, maps)
    return _labelled(data, made, tiles, found, image)


def _maps(data: Data) -> dict[str, xr.Dataset]:
    """Give the maps of a collection of cubes or of a result, each over y and x."""
    kind = kind_of(data)
    if kind is Kind.CUBE:
        maps = {name or ROOT_MAP: schema.validate_cube(one) for name, one in cubes_in(data).items()}
    elif kind is Kind.PHASES:
        maps = {name or ROOT_MAP: one for name, one in nodes_of(data)[1]}
    else:
        raise ParameterError("data", said(data), "a collection of cubes, or the result of one")
    for name, one in maps.items():
        require_pixels(name, one)
    return {name: maps[name] for name in sorted(maps, key=by_name)}  # a mosaic does not depend on their order


def _with_shared(made: xr.Dataset, data: Data, maps: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Add what all maps share: energies and phases, spectra and compositions of a result."""
    shared = shared_part(data)
    first = next(iter(maps.values()))
    coords = {**first.coords, **shared.coords}
    kept = {name: one.variable for name, one in coords.items() if not set(one.dims) & set(PIXELS)}
    variables = {
        name: one
        for name, one in shared.data_vars.items()
        if name not in made and not set(one.dims) & set(PIXELS)
    }
    return made.assign_coords({n: c for n, c in kept.items() if n not in made.coords}).assign(variables)


def _placed_before(maps: Mapping[str, xr.Dataset], placement: xr.Dataset) -> np.ndarray:
    """Positions of the maps in another mosaic."""
    if schema.TILE_POSITION not in placement:
        raise ParameterError(
            "placement", said(placement), "a mosaic of the same maps, as edxdask.mosaic gives it"
        )
    names = [str(name) for name in placement[schema.TILE].values]
    if sorted(names) != sorted(maps):
        raise ParameterError("placement", names, f"a mosaic of the maps {', '.join(maps)}")
    return np.asarray(placement[schema.TILE_POSITION].sel({schema.TILE: list(maps)}).values, dtype=float)


def _registered(
    maps: Mapping[str, xr.Dataset], starts: Sequence[np.ndarray], image: str, prior_px: float
) -> tuple[np.ndarray, PlacedPairs]:
    """Register all pairs from the start that fits best, or raise the error that says why none can be."""
    sizes = np.array([[one.sizes[dim] for dim in PIXELS] for one in maps.values()])
    possible = [start for start in starts if len(candidates(start, sizes, 2 * prior_px))]
    if len(maps) > 1 and not possible:
        raise ParameterError(
            "prior_px",
            prior_px,
            f"maps that overlap: where they are said to begin, no two of the {len(maps)} maps do, even if "
            f"each is off by {prior_px:g} px",
            "Check the positions, or place them as they are: image=None.",
            typed_fix="Check --grid, --overlap and the pixel size, or place them as they are: --image none",
        )
    images = {name: _image(one, image) for name, one in maps.items()}
    if all(found is None for found in images.values()):
        raise ParameterError("image", image, _offered(next(iter(maps.values()))))
    stacks, constraints = list(images.values()), int(image == schema.ABUNDANCE)
    tried = [
        (start, place_by_images(stacks, start, sizes, prior_px, constraints=constraints))
        for start in possible or starts[:1]
    ]
    return max(tried, key=lambda one: float(np.sum(one[1].correlation[one[1].placement.used])))


def _image(one: xr.Dataset, image: str) -> np.ndarray | None:
    """Image of a map as (channel, y, x); None where it has none of that name."""
    if image in one and is_scan(one[image], one):
        return on_map(one[image], one)
    if (
        schema.PHASE in one.coords
        and schema.ABUNDANCE in one
        and image in one[schema.PHASE].values.astype(str)
    ):
        return on_map(one[schema.ABUNDANCE].sel({schema.PHASE: image}), one)
    if schema.COUNTS not in one:
        return None
    if image == schema.TOTAL:
        return on_map(total_map(one).compute(), one)
    return on_map(line_map(one, image).compute(), one) if _is_line(image) else None


def _is_line(image: str) -> bool:
    try:
        parse_line(image)
    except ParameterError:
        return False
    return True


def _offered(one: xr.Dataset) -> str:
    """Images that a map has, in words."""
    names = [str(name) for name in one.data_vars if is_scan(one[name], one) and name != schema.COUNTS]
    if schema.PHASE in one.coords and schema.ABUNDANCE in one:
        names += [str(phase) for phase in one[schema.PHASE].values]
    if schema.COUNTS in one:
        names += [*([schema.TOTAL] if schema.TOTAL not in names else []), "a line such as Fe_Ka"]
    return f"an image that the maps have: {', '.join(names)}"


def _labelled(
    data: Data, made: xr.Dataset, tiles: Tiles, found: PlacedPairs | None, image: str | None
) -> xr.Dataset:
    """Add attributes, history and warnings; say the latter."""
    attrs: dict[Any, Any] = {**joint_attrs(tiles.maps), **_title(shared_part(data))}
    texts = [] if found is None else _warnings(list(tiles.maps), found, str(image))
    for text in texts:
        logger.warning("%s", text)
    if texts:
        attrs[schema.WARNINGS] = [*attrs.get(schema.WARNINGS, []), *texts]
    by = "as given" if found is None else f"on {image}"
    entry = f"mosaic of {len(tiles.maps)} maps, placed {by}"
    attrs = schema.with_history(attrs, entry) | {schema.PLACED_BY: "" if found is None else str(image)}
    made = made.assign_attrs(attrs)
    if schema.COUNTS in made:
        made[schema.COUNTS].attrs = schema.variable_attrs(schema.COUNTS)
        return schema.validate_cube(made)
    if schema.SPECTRUM not in made:
        raise SchemaError("the result has no spectra that all its maps share")
    return made


def _title(shared: xr.Dataset) -> dict[str, Any]:
    return {key: shared.attrs[key] for key in (schema.TITLE,) if key in shared.attrs}


def _warnings(names: list[str], found: PlacedPairs, image: str) -> list[str]:
    """Say what a person should know of a placement."""
    placed, pairs = found.placement, found.pairs
    if len(names) > 1 and not placed.used.any():
        return [
            f"none of the {len(placed.used)} pairs of maps that overlap could be registered: {image!r} shows "
            "nothing that says how they lie, as totals of an even film. All maps are where they were said to "
            "begin; register them on another image, such as haadf or abundances"
        ]
    texts = []
    sizes = np.bincount(placed.pieces)
    apart = [name for name, piece in zip(names, placed.pieces, strict=True) if piece != np.argmax(sizes)]
    if apart:
        texts.append(
            f"{len(apart)} of {len(names)} maps are tied to the others by no pair and are where they were "
            f"said to begin: {_listed(apart)}"
        )
    false = np.flatnonzero(pairs.measured & ~placed.used)
    if false.size:
        named = _listed([f"{names[pairs.first[k]]} and {names[pairs.second[k]]}" for k in false])
        texts.append(
            f"{false.size} of {len(placed.used)} pairs contradict the others and were left out: {named}"
        )
    return texts


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
