"""What a Dataset or DataTree is: a cube, phases, components, found elements, compositions."""

from __future__ import annotations

from enum import StrEnum

from edxdask import schema
from edxdask.results.collections import Data, is_collection


class Kind(StrEnum):
    """Kinds of data, in the words of an error message."""

    CUBE = "a cube of counts"
    PHASES = "a result of a factorization"
    CLUSTERS = "clusters of pixels"
    COMPONENTS = "a result of principal components"
    CANDIDATES = "a table of found elements"
    QUANTIFIED = "a quantified cube"
    TRACES = "traces of a phase"
    VERDICTS = "verdicts on maps"
    PROFILE = "a profile of compositions"
    VOLUME = "volumes of phases"
    OTHER = "neither a cube nor a result"


def kind_of(data: Data) -> Kind:
    """Find what ``data`` is from the variables that it, or the maps of a collection, hold.

    Examples
    --------
    >>> import xarray as xr
    >>> kind_of(xr.Dataset({"counts": ("energy", [1, 2])})).value
    'a cube of counts'
    """
    nodes = [node.to_dataset() for node in data.subtree] if is_collection(data) else [data]
    names = {str(name) for node in nodes for name in node.data_vars}
    for kind, needed in (
        (Kind.CUBE, {schema.COUNTS}),
        (Kind.VOLUME, {schema.VOLUME}),
        (Kind.COMPONENTS, {schema.LOADING}),
        (Kind.CLUSTERS, {schema.SPECTRUM, schema.LABEL}),
        (Kind.PHASES, {schema.SPECTRUM}),
        (Kind.CANDIDATES, {schema.CANDIDATE_KIND}),
        (Kind.QUANTIFIED, {schema.COMPOSITION}),
        (Kind.TRACES, {schema.ATOMIC_PPM}),
        (Kind.VERDICTS, {schema.MAP_BELONGS}),
        (Kind.PROFILE, {schema.PROFILE_COMPOSITION}),
    ):
        if needed <= names:
            return kind
    return Kind.OTHER


def said(data: Data) -> str:
    """Say what ``data`` is and what it holds, for an error message.

    Examples
    --------
    >>> import xarray as xr
    >>> said(xr.Dataset({"haadf": ("x", [1, 2])}))
    'neither a cube nor a result (it holds haadf)'
    """
    nodes = [node.to_dataset() for node in data.subtree] if is_collection(data) else [data]
    names = dict.fromkeys(str(name) for node in nodes for name in node.data_vars)
    many = f"a collection of {len(data.children)} maps, " if is_collection(data) else ""
    return f"{many}{kind_of(data).value} (it holds {', '.join(names) or 'nothing'})"
