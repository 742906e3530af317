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
from edxdask.results.collections import cubes_in, is_collection

__all__ = ["collect", "open", "quantify", "simulate"]


def open(path: str | Path) -> xr.Dataset | xr.DataTree:
    """Open a store: a cube or result as a Dataset, a collection as a DataTree. Reads no counts.

    Parameters
    ----------
    path : str or Path
        Folder of the store.

    Returns
    -------
    Dataset or DataTree
        What was saved, lazy.

    Raises
    ------
    ForeignStoreError, IncompleteStoreError, NewerSchemaError, CorruptStoreError
        Each says what the path is and what to do about it.

    Notes
    -----
    *Chunks*: those of the store, 64 × 64 pixels with all channels.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = simulate(shape=(4, 5), counts=9, out=folder + "/map.zarr")
    ...     dict(open(folder + "/map.zarr").sizes)["x"]
    5
    """
    from edxdask.io import open_store

    return open_store(path)


def collect(data: Mapping[str, xr.Dataset | str | Path]) -> xr.DataTree:
    """Make a collection of maps from cubes and stores, by name.

    Every operation, factorization and export takes the collection as it takes one cube; ``save`` writes it to
    one store.

    Parameters
    ----------
    data : mapping of str to Dataset, str or Path
        Cubes, or paths of stores of one map each, by the name each map is to have.

    Returns
    -------
    DataTree
        One node for each map, in the order given; counts stay where they are and lazy.

    Raises
    ------
    ParameterError
        If a name is empty or holds a slash, or a path is a vendor file or a collection itself.
    SchemaError
        If something is no valid cube.

    Examples
    --------
    >>> tree = collect({"left": simulate(shape=(4, 4), seed=1), "right": simulate(shape=(4, 6), seed=2)})
    >>> list(tree.children), tree.edx.bin(2)["right"].counts.shape
    (['left', 'right'], (2, 3, 970))
    """
    if not isinstance(data, Mapping) or not data:
        raise ParameterError("data", data, "one map or more by name", "collect({'a': ds, 'b': 'b.zarr'})")
    for name in data:
        if not isinstance(name, str) or not name.strip() or "/" in name or name in (".", ".."):
            raise ParameterError("data", name, "names of maps: text that is not empty and has no slash")
    return xr.DataTree.from_dict({f"/{name}": _one_cube(name, given) for name, given in data.items()})


def _one_cube(name: str, given: Any) -> xr.Dataset:
    """Give the cube itself, or that of a store of one map."""
    if isinstance(given, str | Path):
        path = Path(given)
        if path.is_file():
            store = path.with_suffix(".zarr")
            raise ParameterError(
                f"data[{name!r}]",
                str(given),
                "a cube or a store; this is a file of another program",
                f"Ingest it first: edxdask.ingest({str(path)!r}, {str(store)!r})",
            )
        opened = open(path)
        if is_collection(opened):
            raise ParameterError(
                f"data[{name!r}]",
                str(given),
                "a store of one map",
                f"This one is a collection: edxdask.open({str(path)!r})['name'].to_dataset(), with one of "
                f"{', '.join(opened.children)}",
            )
        given = opened
    return schema.validate_cube(given, name=f"data[{name!r}]")


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
    recipe : {"mantle", "nanoparticles"}
        "mantle": three phases, two of them never pure; "nanoparticles": four phases, total varies.
    shape : (int, int)
        Rows and columns.
    counts : float
        Expected photons per pixel, mean over the map.
    seed : int
        0 or more; another seed is another map and other photons.
    out : str or Path, optional
        Store to write; a store is written chunk by chunk and may be larger than memory.
    channels : int, optional
        Number of channels; None: the recipe's own.
    energy_offset : float, optional
        Energy of the first channel, keV; None: the recipe's own.
    energy_scale : float
        Step between channels, keV.
    beam_energy : float
        Energy of the beam's electrons, 60 to 300 keV.
    fwhm_mn_ka_ev : float
        Width of the detector at Mn Kα, eV.
    elevation_deg : float or sequence of float
        Elevation of the detector, or of each of an array.
    pixel_size : float, optional
        Step between pixels, nm; None: the recipe's own.
    grain : float, optional
        Typical diameter of a grain in pixels; None: the recipe's own.
    chunks : int or (int, int)
        Pixels along y and x of a chunk.
    overwrite : bool
        Replace the store at ``out``.
    resume : bool
        Continue an unfinished store at ``out``.
    progress : callable, optional
        Called with a ``Progress`` while the store is written.

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
    refine_axis: bool = True,
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
    refine_axis : find energy axis, width and rates that do not hold from the data; a guided result keeps the
        axis and width that its own fit has found

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
    from edxdask.physics.energy_axis import EnergyAxis
    from edxdask.quantify import recipe as recipes

    given = {"cliff-lorimer": k_factors, "zeta": zeta_factors, "cross-section": cross_sections}
    for name, own in given.items():
        if own is not None and name != method:
            raise ParameterError("method", method, f"{name!r}, which the factors given belong to")

    def recipe_for(one: xr.Dataset, axis: EnergyAxis | None = None) -> recipes.Recipe:
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
            refine_axis=refine_axis,
            axis=axis,
        )

    known = None if standard is None else _standard(*standard)
    if is_collection(data) and schema.SPECTRUM not in data:
        maps = cubes_in(data)
        return xr.DataTree.from_dict(
            {f"/{path}": _quantify_cube(one, recipe_for(one), per, known) for path, one in maps.items()}
        )
    if isinstance(data, xr.Dataset) and schema.COUNTS in data:
        return _quantify_cube(data, recipe_for(data), per, known)
    from edxdask.quantify.results import axis_of, quantify_result, root_of

    if not (isinstance(per, str) and per == "sum"):
        raise ParameterError("per", per, "'sum' for a result: its phases are what is quantified")
    root = root_of(data)
    return quantify_result(data, recipe_for(root, axis_of(root)), standard=known)


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
