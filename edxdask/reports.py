"""The public function `report`: one HTML page of a cube, a result, traces, volumes or a collection."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from edxdask import schema
from edxdask.errors import EdxdaskError, ParameterError
from edxdask.progress import Progress, ProgressOption, shown
from edxdask.quiet import quiet
from edxdask.report.summary import warnings_of
from edxdask.report.unlisted_names import names_of_unlisted
from edxdask.results.collections import Data, shared_part, with_shared
from edxdask.results.kinds import Kind, kind_of, said

KINDS = (Kind.CUBE, Kind.PHASES, Kind.TRACES, Kind.VOLUME)
MEASURED = (
    schema.LINE_INTENSITY,
    schema.LINE_INTENSITY + schema.STD_SUFFIX,
    schema.SNR,
    schema.LOD,
    schema.CHI2_RED,
    schema.FIT_COUNTS,
    schema.FIT_EXPECTED,
    schema.FIT_CONTINUUM,
)
LABEL = "reading what the report shows"


def report(
    data: xr.Dataset | xr.DataTree,
    path: str | Path = "report.html",
    *,
    cube: xr.Dataset | xr.DataTree | None = None,
    overwrite: bool = False,
    progress: ProgressOption = None,
) -> Path:
    """Write one HTML page that shows all that is known of a cube, a result, traces, volumes or a collection.

    The page holds everything itself: no network, no server. It begins with a verdict in two sentences, then
    phases, spectra, compositions, how good they are, line maps as counted and denoised, what was measured,
    and what was done, with the lines that repeat it. It can be read without scripts, and printed.

    Phases that were not quantified are, for SNR and limits of detection, where their elements are known.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, result of a factorization, what ``traces`` or ``tomography`` gave, or a collection of cubes or
        results.
    path : str or Path
        HTML file to write.
    cube : Dataset or DataTree, optional
        Counts that a result was made from: with them, the report shows residuals and line maps as well.
    overwrite : bool
        Replace an existing file.
    progress : callable, bool or None
        None shows a bar in a terminal and in a notebook; False shows nothing; a callable is called now and
        then.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ParameterError
        If ``data`` is something else, or ``cube`` is not what the result was made from.
    MissingDependencyError
        If the packages of the extra ``report`` are not installed.

    Notes
    -----
    Reads all counts, some times, chunk by chunk.

    Examples
    --------
    >>> import tempfile, edxdask
    >>> cube = edxdask.simulate(shape=(16, 16), counts=100)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     edxdask.report(cube, folder + "/report.html").name
    'report.html'
    """
    return report_with_paths(data, path, cube=cube, overwrite=overwrite, progress=progress)


def report_with_paths(
    data: Data,
    path: str | Path,
    *,
    cube: Data | None = None,
    overwrite: bool = False,
    progress: ProgressOption = None,
    data_path: str | None = None,
    cube_path: str | None = None,
) -> Path:
    """Write the report; its commands name the stores at ``data_path`` and ``cube_path``, where known."""
    from edxdask.optional import require
    from edxdask.report.page.evidence import Origin, gather
    from edxdask.report.page.live import EXTRA, PURPOSE
    from edxdask.report.page.volume import gather_volume
    from edxdask.report.page.write import write_page, write_volume_page

    target = Path(path)
    _check(data, cube, target, overwrite=overwrite)
    for module in ("jinja2", "bokeh"):
        require(module, extra=EXTRA, purpose=PURPOSE)
    with shown(progress, LABEL) as hook:
        notes: list[str] = []
        if hook is not None:
            hook(Progress(LABEL, 0, 1, "steps"))
        if kind_of(data) is Kind.VOLUME:
            seen = gather_volume(shared_part(data), Origin(data_path, cube_path), hook)
            return write_volume_page(seen, target, overwrite=overwrite, hook=hook)
        counts = data if kind_of(data) is Kind.CUBE else cube
        result = _quantified(data, notes) if kind_of(data) is Kind.PHASES else None
        found = None if counts is None else _elements(counts, result, notes)
        evidence = gather(
            data, result=result, cube=counts, found=found, origin=Origin(data_path, cube_path), notes=notes
        )
        return write_page(evidence, target, overwrite=overwrite, hook=hook)


def _check(data: Data, cube: Data | None, target: Path, *, overwrite: bool) -> None:
    """Refuse what no report can be made of, before anything is read."""
    from edxdask.io.export.target import refuse_existing

    kind = kind_of(data)
    if kind not in KINDS:
        raise ParameterError("data", said(data), f"{', '.join(one.value for one in KINDS)}, or a collection")
    if target.suffix.lower() not in (".html", ".htm"):
        fix = f"As in {str(target.with_suffix('.html'))!r}."
        raise ParameterError("path", str(target), "a file that ends in .html", fix)
    refuse_existing(target, overwrite=overwrite)
    if cube is None:
        return
    if kind is not Kind.PHASES:
        raise ParameterError("cube", "given", f"None, as data is {kind.value}", "Counts go with a result.")
    if kind_of(cube) is not Kind.CUBE:
        raise ParameterError("cube", said(cube), "the counts that the result was made from")


def _quantified(result: Data, notes: list[str]) -> Data:
    """Give the result with SNR, limits of detection and fits of lines, where compositions are known.

    Compositions stay those of the result: its fit knows more than a fit of one phase's spectrum.
    Elements that it found and that nobody listed take part in the fit of lines.
    """
    from edxdask.compositions import quantify
    from edxdask.physics.lines import element_symbols

    root = shared_part(result)
    if schema.SNR in root or schema.COMPOSITION not in root or schema.SPECTRUM_SUBTRACTED in root:
        return result  # measured already, or of masks: amounts over many maps
    elements = [str(e) for e in root[schema.ELEMENT].values]
    new = [name.partition(" ")[0] for name in names_of_unlisted(warnings_of(result))]
    foreign = [name for name in new if name in element_symbols() and name not in elements]
    try:
        with quiet("edxdask.quantify"):  # the report shows what is wrong
            found = shared_part(quantify(result, elements=[*elements, *foreign], foreign=foreign))
    except EdxdaskError as error:
        notes.append(f"SNR and limits of detection are missing, as the lines could not be fitted: {error}")
        return result
    added = {name: found[name] for name in MEASURED if name in found}
    return with_shared(result, added)


def _elements(counts: Data, result: Data | None, notes: list[str]) -> xr.Dataset | None:
    """Search the counts for elements, listed or not; of a result, in what it left unexplained."""
    from edxdask.ops import find_elements
    from edxdask.report.phase_spectra import elements_named

    try:
        known = list(elements_named(result)) if result is not None else []
        apart = result is not None and schema.SPECTRUM_SUBTRACTED in shared_part(result)
        # what masks gave was fitted on an axis of each map, which the spectra do not have
        return find_elements(counts, result=None if apart else result, known=known or None)
    except EdxdaskError as error:
        notes.append(f"Lines that nobody listed were not searched for: {error}")
        return None
