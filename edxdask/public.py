"""Public functions that join several stages; everything else is public where it stands.

``edxdask.__init__`` hands these out on first use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.progress import Progress, ProgressHook, ProgressOption, shown

__all__ = ["export", "open", "quantify", "simulate"]

PICTURES = ("png", "pdf", "svg")


def open(path: str | Path) -> xr.Dataset | xr.DataTree:
    """Open a store: a cube or result as a Dataset, a collection as a DataTree. Reads no counts.

    Raises
    ------
    ForeignStoreError, IncompleteStoreError, NewerSchemaError, CorruptStoreError
        Each says what the path is and what to do about it.

    Notes
    -----
    *Chunks*: those of the store, 64 × 64 pixels with all channels.
    """
    from edxdask.io import open_store

    return open_store(path)


def simulate(
    recipe: str = "mantle",
    *,
    shape: tuple[int, int] = (180, 180),
    counts: float = 147.0,
    seed: int = 0,
    out: str | Path | None = None,
    channels: int | None = None,
    energy_offset: float | None = None,
    energy_scale: float = 0.01,
    beam_energy: float = 200.0,
    fwhm_mn_ka_ev: float = 130.0,
    elevation_deg: float | Sequence[float] = 22.0,
    pixel_size: float | None = None,
    grain: float | None = None,
    chunks: int | tuple[int, int] = 64,
    overwrite: bool = False,
    resume: bool = False,
    progress: ProgressOption = None,
) -> xr.Dataset:
    """Simulate a spectrum image with known truth; with ``out``, write it to a store and open that.

    Parameters
    ----------
    recipe : "mantle" (three phases, two of them never pure) or "nanoparticles" (four phases, total varies)
    shape : rows and columns
    counts : expected photons per pixel, mean over the map
    seed : 0 or more; another seed is another map and other photons
    out : store to write; a store is written chunk by chunk and may be larger than memory
    channels, energy_offset, energy_scale : energy axis, keV; None: the recipe's own
    beam_energy : keV, 60 to 300
    fwhm_mn_ka_ev : width of the detector at Mn Kα, eV
    elevation_deg : of the detector, or of each of an array
    pixel_size : nm; None: the recipe's own
    grain : typical diameter of a grain in pixels
    chunks : pixels along y and x of a chunk
    overwrite, resume, progress : of the writing, as in ``save``

    Returns
    -------
    Dataset
        ``counts``, lazy, with ``truth_abundance``, ``truth_total``, ``truth_spectrum`` and
        ``truth_composition``.

    Examples
    --------
    >>> simulate(shape=(8, 8), counts=10).counts.shape
    (8, 8, 970)
    """
    from edxdask.io import save
    from edxdask.simulate import simulate as draw

    ds = draw(
        recipe,
        shape=shape,
        counts=counts,
        seed=seed,
        channels=channels,
        energy_offset=energy_offset,
        energy_scale=energy_scale,
        beam_energy=beam_energy,
        fwhm_mn_ka_ev=fwhm_mn_ka_ev,
        elevation_deg=elevation_deg,
        pixel_size=pixel_size,
        grain=grain,
        chunks=chunks,
    )
    if out is None:
        if overwrite or resume or progress:
            raise ParameterError("out", None, "a store to write when overwrite, resume or progress is given")
        return ds
    label = f"simulate {Path(out).name}"
    with shown(progress, label) as hook:
        renamed = None if hook is None else _renamed(hook, label)
        written = save(ds, out, overwrite=overwrite, resume=resume, progress=renamed)
    if not isinstance(written, xr.Dataset):
        raise TypeError("a saved Dataset must open as a Dataset")
    return written


def _renamed(progress: ProgressHook, label: str) -> ProgressHook:
    """Drawing happens while the store is written, so the writing's progress is that of the simulation."""

    def hook(event: Progress) -> None:
        progress(replace(event, label=label))

    return hook


def export(
    obj: xr.Dataset | xr.DataArray,
    path: str | Path,
    *,
    format: str | None = None,
    overwrite: bool = False,
    progress: ProgressOption = None,
) -> Path:
    """Write a cube, a spectrum or a map in the format its suffix names, whole or not at all.

    Cubes go to ``.hspy`` (default) and ``.rpl``; spectra to ``.msa`` and ``.csv``; maps to ``.tiff`` and
    ``.csv``; spectra, maps and stacks of maps to ``.png``, ``.pdf`` and ``.svg`` with labelled lines or a
    scale bar. Asked for a spectrum's format, a cube gives its sum spectrum.

    Parameters
    ----------
    obj : cube, spectrum ``(energy)``, map ``(y, x)`` or stack of maps ``(any, y, x)``
    path : target
    format : suffix to go by where ``path`` has another
    overwrite : replace an existing file
    progress : a bar in a terminal and in a notebook, unless False; a function is called after every block

    Returns
    -------
    pathlib.Path
        The file written.

    Notes
    -----
    *Chunks*: a cube is read chunk by chunk, each once, one in memory at a time.
    """
    from edxdask.io.export import export as write
    from edxdask.io.export import format_of

    target = Path(path)
    suffix = (format or target.suffix).lower().removeprefix(".")
    attrs = obj.attrs
    if isinstance(obj, xr.Dataset) and suffix in ("msa", "emsa", "csv", *PICTURES):
        from edxdask.ops import sum_spectrum

        obj = sum_spectrum(obj)
    if suffix not in PICTURES:
        try:
            format_of(target, format)
        except ParameterError as error:
            pictures = ", ".join(f".{name}" for name in PICTURES)
            known = f"{error.expected}, or {pictures} for a picture"
            raise ParameterError(error.parameter, error.value, known) from None
    else:
        return _picture(obj, target, attrs, overwrite=overwrite)
    return write(obj, target, format=format, attrs=attrs, overwrite=overwrite, progress=progress)


def quantify(
    data: xr.Dataset | xr.DataTree,
    *,
    elements: Sequence[str] | None = None,
    method: str = "cliff-lorimer",
    lines: Sequence[str] | None = None,
    k_factors: Mapping[str, Any] | None = None,
    standard: tuple[xr.Dataset | xr.DataArray, Mapping[str, float]] | None = None,
    thickness: float | None = None,
    density: float | None = None,
    oxygen: str | Mapping[str, float] | None = None,
    foreign: Sequence[str] = (),
    per: Any = "sum",
    zeta_factors: Mapping[str, Any] | None = None,
    cross_sections: Mapping[str, Any] | None = None,
    dose: float | None = None,
    solid_angle: float | None = None,
    beam_energy: float | None = None,
    detector: Any = None,
    refine: bool = True,
) -> xr.Dataset | xr.DataTree:
    """Compositions with errors: of the phases of a result, or of a cube's sum, regions or pixels.

    Lines and continuum are fitted together by maximum Poisson likelihood, so that lines that overlap share
    their counts; the covariance of the fit is carried into every number.

    Parameters
    ----------
    data : result of a factorization (its phases get compositions), cube, or collection of either
    elements : all that show in the spectrum; None: those that the data name
    method : "cliff-lorimer" (ratios), "zeta" (also mass thickness) or "cross-section" (also atoms per area)
    lines : lines to go by, at most one per element ("Pt_La"); others are chosen by energy
    k_factors : by line, for mass fractions, to a common factor: {"Fe_Ka": 1.2, "Si_Ka": (1.0, 0.03)}, the
        second number a standard error; None: from the emission tables and the detector
    standard : film of known composition, (cube or spectrum, {"Mg": 1, "O": 1}), to take k-factors from; where
        absorption is corrected, the standard's thickness and density are taken from its attributes
    thickness, density : of the film, nm and g/cm³, for Cliff-Lorimer's absorption correction
    oxygen : "stoichiometry", or charges such as {"Fe": 3} that differ from the usual: oxygen then balances
        the charges of the others, whatever its line says
    foreign : elements that are fitted but no part of the sample: grid, holder, ion beam
    per : "sum", "pixel", a mask or region, or masks by name; of cubes
    zeta_factors, cross_sections : by line; kg/m², and barn as counted by the detector
    dose : electrons on the whole map, for the absolute methods; None: from beam current and live time
    solid_angle : of all detectors, sr, for the absolute methods without factors
    beam_energy : keV; None: as the data say
    detector : `edxdask.physics.geometry.Detector`; None: as the attributes say (``detector_window``, or a
        curve in ``efficiency_energy_kev`` and ``efficiency``; ``elevation_deg``), else windowless
    refine : find energy axis, width and rates that do not hold from the data

    Returns
    -------
    Dataset
        ``composition`` (atomic fractions), ``mass_fraction``, ``line_intensity``, each with ``_std``, ``snr``
        and ``lod`` by line, ``chi2_red``, and the fitted spectra. A result keeps what it holds. Where lines
        that nobody listed spoil a fit, the log and the attribute ``warnings`` name them.

    Notes
    -----
    *Guided phases.* Their spectra are a model's and have no noise: ``chi2_red`` is NaN, and no error is less
    than that of the guided fit, which knows the counts.

    *Chunks.* Sums and regions are read once, now. With ``per="pixel"`` maps are lazy, one task per chunk, and
    every chunk must hold whole spectra.

    Examples
    --------
    >>> ds = simulate(shape=(32, 32), counts=300, seed=1)
    >>> found = quantify(ds, elements=["O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "U", "Cu"])
    >>> x = found.composition.sel(element="Mg")
    >>> bool(abs(x - 0.19) < 0.02), bool(found.chi2_red < 1.2)
    (True, True)
    """
    from edxdask.quantify import recipe as recipes

    given = {"cliff-lorimer": k_factors, "zeta": zeta_factors, "cross-section": cross_sections}
    for name, own in given.items():
        if own is not None and name != method:
            raise ParameterError("method", method, f"{name!r}, which the factors given belong to")

    def recipe_for(one: xr.Dataset) -> recipes.Recipe:
        return recipes.make_recipe(
            one.attrs,
            one[schema.ENERGY].values,
            elements=elements,
            method=method,
            lines=lines,
            factors=given.get(method),
            thickness=thickness,
            density=density,
            oxygen=oxygen,
            foreign=foreign,
            beam_energy=beam_energy,
            dose=dose,
            solid_angle=solid_angle,
            detector=detector,
            refine=refine,
        )

    known = None if standard is None else _standard(*standard)
    if isinstance(data, xr.DataTree) and schema.SPECTRUM not in data:
        maps = {path: node.to_dataset() for path, node in data.subtree_with_keys if schema.COUNTS in node}
        if not maps:
            raise ParameterError(
                "data", "a collection without counts", "maps, or the result of a factorization"
            )
        return xr.DataTree.from_dict(
            {f"/{path}": _quantify_cube(one, recipe_for(one), per, known) for path, one in maps.items()}
        )
    if isinstance(data, xr.Dataset) and schema.COUNTS in data:
        return _quantify_cube(data, recipe_for(data), per, known)
    from edxdask.quantify.results import quantify_result, root_of

    if not (isinstance(per, str) and per == "sum"):
        raise ParameterError("per", per, "'sum' for a result: its phases are what is quantified")
    return quantify_result(data, recipe_for(root_of(data)), standard=known)


def _standard(data: xr.Dataset | xr.DataArray, composition: Mapping[str, float]) -> Any:
    from edxdask.ops import sum_spectrum
    from edxdask.quantify.spectra import Standard

    spectrum = sum_spectrum(data) if isinstance(data, xr.Dataset) else data
    if spectrum.dims != (schema.ENERGY,):
        raise ParameterError("standard", spectrum.dims, "a cube, or one spectrum over energy")
    known = {schema.THICKNESS, schema.DENSITY} <= set(data.attrs)
    mass_thickness = float(data.attrs[schema.THICKNESS] * data.attrs[schema.DENSITY]) if known else None
    return Standard(spectrum.values, spectrum[schema.ENERGY].values, dict(composition), mass_thickness)


def _quantify_cube(ds: xr.Dataset, recipe: Any, per: Any, standard: Any) -> xr.Dataset:
    """Quantify the sum of a cube, regions of it, or its pixels."""
    import numpy as np

    from edxdask.ops import sum_spectrum
    from edxdask.quantify.pixels import quantify_pixels
    from edxdask.quantify.spectra import quantify_spectra

    entry = f"quantify(method={recipe.method!r}, elements={list(recipe.elements)})"
    attrs = {**schema.with_history(ds.attrs, entry), schema.ELEMENTS: list(recipe.elements)}
    if isinstance(per, str) and per == "pixel":
        found = quantify_pixels(ds, sum_spectrum(ds).values, recipe, standard=standard)
        return found.assign_attrs({**attrs, **found.attrs})
    if isinstance(per, Mapping) and not per:
        raise ParameterError("per", per, "one mask or region, or more, by name")
    masks = per if isinstance(per, Mapping) else {"sum" if isinstance(per, str) else "region": per}
    spectra, shares = zip(*(_region(ds, mask) for mask in masks.values()), strict=True)
    found = quantify_spectra(
        np.array(spectra),
        ds[schema.ENERGY].values,
        recipe,
        dim=schema.REGION,
        labels=[str(name) for name in masks],
        dose_shares=np.array(shares),
        standard=standard,
    )
    if not isinstance(per, Mapping):
        found = found.isel({schema.REGION: 0}, drop=True)
    return found.assign_coords({schema.ENERGY: ds[schema.ENERGY]}).assign_attrs({**attrs, **found.attrs})


def _region(ds: xr.Dataset, mask: Any) -> tuple[Any, float]:
    """Spectrum of a region, or of all; and its share of the pixels."""
    from edxdask.ops import sum_spectrum
    from edxdask.ops.masks import as_mask

    if not isinstance(mask, str):
        return sum_spectrum(ds, mask=mask).values, float(as_mask(ds, mask).mean())
    if mask != "sum":
        raise ParameterError("per", mask, "'sum', 'pixel', a mask or region, or masks by name")
    return sum_spectrum(ds).values, 1.0


def _picture(array: Any, path: Path, attrs: Any, *, overwrite: bool) -> Path:
    from edxdask.report.figures import map_figure, maps_figure, sum_spectrum_figure
    from edxdask.report.labels import pretty_line
    from edxdask.report.lines import label_lines
    from edxdask.report.spectra import spectra_figure
    from edxdask.report.style import save_figure

    if schema.ENERGY in array.dims and array.ndim == 2:
        figure = spectra_figure(array, title=attrs.get(schema.TITLE))
    elif schema.ENERGY in array.dims:
        energy = array.coords[schema.ENERGY].values
        lines = label_lines(attrs.get(schema.ELEMENTS, ()), float(energy[0]), float(energy[-1]))
        figure = sum_spectrum_figure(array, lines=lines, title=attrs.get(schema.TITLE))
    elif array.ndim == 3:
        figure = maps_figure(array)
    else:
        figure = map_figure(array, title=pretty_line(str(array.name)) if array.name else None)
    return save_figure(figure, path, overwrite=overwrite)
