"""Starts the viewer: scenes of what is to be seen, and a server in the background."""

from __future__ import annotations

import html
import sys
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.optional import require
from edxdask.results.collections import ALONE, cubes_in, is_collection, nodes_of
from edxdask.results.kinds import Kind, kind_of
from edxdask.view.scene import Scene, check_shown, store_folder

_GIVEN = {"ds": "the cube", "result": "the result"}
_LARGEST_PORT = 65535
_NOTEBOOK_HEIGHT = 1000  # px


class Viewer:
    """A viewer that runs in the background until it is stopped.

    Parameters
    ----------
    scenes : list of Scene
        What it shows.
    port : int
        Where it listens; 0 takes a free port.

    Attributes
    ----------
    url : address of the page, with the random word that opens it
    port : where it listens
    """

    def __init__(self, scenes: list[Scene], *, port: int = 0) -> None:
        from edxdask.view.application import ViewerApplication
        from edxdask.view.server import PageServer

        self._scenes = scenes
        for scene in scenes[:1]:
            _ = scene.photons  # the first page then needs no more than pictures
        self._application = ViewerApplication(scenes)
        self._server = PageServer(self._application, port=port)
        self.url, self.port = self._server.url, self._server.port

    def wait(self) -> None:
        """Return when the viewer was stopped; Ctrl-C ends the wait, and the viewer with it."""
        try:
            while self._server.running:
                self._server.join(0.5)
        finally:
            self.stop()

    def stop(self) -> None:
        """Close the page's server and all that goes on in the background."""
        self._server.stop()
        self._application.close()
        for scene in self._scenes:
            scene.close()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        names = ", ".join(scene.name for scene in self._scenes[:4])
        return f"Viewer of {names} at {self.url}; .stop() ends it"

    def _repr_html_(self) -> str:
        """Show the page within a notebook; the browser must run on this machine."""
        source = html.escape(self.url, quote=True)
        style = f"width:100%;height:{_NOTEBOOK_HEIGHT}px;border:1px solid #d5dbe1"
        return f'<iframe src="{source}" style="{style}" title="edxdask viewer"></iframe>'


def view(
    data: xr.Dataset | xr.DataTree,
    *,
    result: xr.Dataset | xr.DataTree | None = None,
    port: int = 0,
    browser: bool | None = None,
) -> Viewer:
    """Show a cube, a result, a collection or a mosaic of any size in a browser on this machine.

    Maps of lines by a click on a peak, the spectrum of any region with amounts and limits of detection,
    phases, raw beside denoised maps, and the Python lines that make what is seen. What makes maps of large
    stores fast is made in the background and kept in ``NAME.zarr.view`` beside the store, 2 bytes per count.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube or result, or a collection of either.
    result : Dataset or DataTree, optional
        Result of a factorization of ``data``, with the same maps: its phases lie on the same page.
    port : int
        Port of 127.0.0.1 that the page is served at; 0 takes a free one.
    browser : bool, optional
        Open the page in the user's browser; None does so but in notebooks, where the page is shown in place.

    Returns
    -------
    Viewer
        With ``url``, ``stop()`` and ``wait()``; in a notebook it shows itself.

    Raises
    ------
    ParameterError
        If ``data`` is nothing that can be drawn, ``result`` does not belong to it, or the port is not free.
    MissingDependencyError
        If Bokeh is not installed.

    Notes
    -----
    *Chunks.* Any. Reads what is in view; memory stays under 1 GB for cubes of any size.

    Examples
    --------
    >>> import edxdask
    >>> with view(edxdask.simulate(shape=(16, 16), counts=50), browser=False) as viewer:
    ...     viewer.url.startswith("http://127.0.0.1:")
    True
    """
    require("bokeh.server.server", extra="report", purpose="the viewer")
    require("jinja2", extra="report", purpose="the viewer")
    if not isinstance(port, int) or not 0 <= port <= _LARGEST_PORT:
        raise ParameterError("port", port, f"a whole number from 0 to {_LARGEST_PORT}, 0 for any free port")
    viewer = Viewer(list(scenes_of(data, result)), port=port)
    if browser or (browser is None and not _in_notebook()):
        webbrowser.open(viewer.url)
    return viewer


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules


def scenes_of(data: xr.Dataset | xr.DataTree, result: xr.Dataset | xr.DataTree | None) -> Iterator[Scene]:
    """Give one scene for each map, or each image of a series."""
    known = isinstance(data, xr.Dataset) or is_collection(data)
    kind = kind_of(data) if known else Kind.OTHER
    if kind is Kind.PHASES and result is None:
        cubes: dict[str, xr.Dataset] = {}
        results = dict(nodes_of(data)[1])
    elif kind is Kind.CUBE:
        cubes = cubes_in(data)
        results = {} if result is None else _results_for(list(cubes), result)
    else:
        expected = "a cube of counts, or a result of nmf, psnmf or aided"
        given = kind.value if known else type(data).__name__
        raise ParameterError("data", given, expected, "edxdask.open(path) gives what is in a store.")
    for name in cubes or results:
        cube, own = cubes.get(name), results.get(name)
        for one, label in ((cube, "data"), (own, "result")):
            if one is not None:
                check_shown(one, label)
        if cube is not None and own is not None:
            _check_same_map(cube, own, name)
        yield from _images_of(name, cube, own)


def _results_for(maps: list[str], result: xr.Dataset | xr.DataTree) -> dict[str, xr.Dataset]:
    """Give the result of each map.

    Raises
    ------
    ParameterError
        If there is not one for each.
    """
    if kind_of(result) is not Kind.PHASES:
        raise ParameterError("result", kind_of(result).value, "a result of nmf, psnmf or aided")
    found = dict(nodes_of(result)[1])
    if set(found) != set(maps):
        raise ParameterError("result", list(found), f"a result of the same maps, {maps}")
    return found


def _check_same_map(cube: xr.Dataset, result: xr.Dataset, name: str) -> None:
    for dim in (schema.Y, schema.X):
        if cube.sizes[dim] != result.sizes.get(dim):
            where = f" of {name!r}" if name != ALONE else ""
            raise ParameterError(
                "result",
                f"{dim}: {result.sizes.get(dim)}{where}",
                f"{dim}: {cube.sizes[dim]}, as the cube has",
            )


def _images_of(name: str, cube: xr.Dataset | None, result: xr.Dataset | None) -> Iterator[Scene]:
    """Give a scene of a map; of a series of images one each, which share the cube's photons."""
    one = cube if cube is not None else result
    assert one is not None
    array = one[schema.COUNTS] if cube is not None else one[schema.TOTAL]
    lead = [str(dim) for dim in array.dims if dim not in (schema.Y, schema.X, schema.ENERGY)]
    opening = (_opening(cube, result),)
    title = name if name != ALONE else _title(one)
    if not lead:
        yield Scene(title, cube, result, opening)
        return
    first: Scene | None = None
    for plane, at in enumerate(np.ndindex(*(array.sizes[dim] for dim in lead))):
        where = dict(zip(lead, at, strict=True))
        own = None if result is None else result.isel({d: i for d, i in where.items() if d in result.dims})
        label = ", ".join(f"{dim} {number}" for dim, number in where.items())
        scene = Scene(f"{title} {label}", cube, own, opening, plane, shares=first)
        first = first or scene
        yield scene


def _title(data: xr.Dataset) -> str:
    folder = _folder(data)
    return folder.name if folder is not None else str(data.attrs.get(schema.TITLE) or "map")


def _folder(data: xr.Dataset) -> Path | None:
    found = store_folder(data)
    if found is None and data.encoding.get("source"):
        found = Path(data.encoding["source"])
    return found


def _opening(cube: xr.Dataset | None, result: xr.Dataset | None) -> str:
    lines = []
    for variable, data in (("ds", cube), ("result", result)):
        folder = None if data is None else _folder(data)
        if folder is not None:
            lines.append(f"{variable} = edxdask.open({str(folder)!r})")
        elif data is not None:
            lines.append(f"# {variable}: {_GIVEN[variable]}, as it was given to edxdask.view")
    return "\n".join(lines)
