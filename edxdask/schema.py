"""The one vocabulary: every dimension, variable and attribute, with units, binning rule and meaning.

No other module spells one of these names as a bare string. ``validate_cube`` guards entry and exit of
every public function.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edxdask.errors import ParameterError, SchemaError
from edxdask.schema_placement import *  # noqa: F403  words of mosaics and of the drift of frames
from edxdask.schema_placement import FIELD_WORDS, PLACEMENT_ATTRIBUTES, PLACEMENT_WORDS
from edxdask.schema_traces import *  # noqa: F403  words of traces, judged maps and profiles
from edxdask.schema_traces import TRACE_WORDS
from edxdask.schema_volumes import *  # noqa: F403  words of tilt series and volumes
from edxdask.schema_volumes import ATOMS_PER_VOXEL, VOLUME_ATTRIBUTES, VOLUME_WORDS, VOXEL_WORDS, Z

if TYPE_CHECKING:  # half a second and 45 MB that a vendor reader's process can do without
    import xarray as xr

SCHEMA_VERSION = 1

# Dimensions. Every dimension of ``counts`` but ENERGY is a pixel dimension.
ENERGY, Y, X, TILT, FRAME = "energy", "y", "x", "tilt", "frame"
PHASE, COMPONENT, ELEMENT, LINE, ITERATION = "phase", "component", "element", "line", "iteration"
RANK, CLUSTER, CANDIDATE, REGION = "rank", "cluster", "candidate", "region"

# Variables.
COUNTS, TOTAL, SPECTRUM, ABUNDANCE, OBJECTIVE = "counts", "total", "spectrum", "abundance", "objective"
COMPOSITION, VALID, SUM_SPECTRUM = "composition", "valid", "sum_spectrum"
ELEMENT_PHOTONS = "element_photons"
TRUTH_ABUNDANCE, TRUTH_SPECTRUM, TRUTH_COMPOSITION, TRUTH_TOTAL = (
    "truth_abundance",
    "truth_spectrum",
    "truth_composition",
    "truth_total",
)
LOADING, SCORE, CENTER_SPECTRUM, LABEL = "loading", "score", "center_spectrum", "label"
EXPLAINED_VARIANCE, EXPLAINED_VARIANCE_RATIO = "explained_variance", "explained_variance_ratio"
EXPECTED, RESIDUAL = "expected", "residual"
CANDIDATE_KIND, CANDIDATE_LINE, LINE_ENERGY = "candidate_kind", "candidate_line", "line_energy"
SIGNIFICANCE, EXPLAINED = "significance", "explained_counts"
FAMILIES, ALTERNATIVES, KNOWN, SIGNIFICANT = "line_families", "alternatives", "known", "significant"
FITTED_SPECTRUM, CONTINUUM_SPECTRUM = "fitted_spectrum", "continuum_spectrum"
MASS_FRACTION, LINE_INTENSITY, SNR, LOD = "mass_fraction", "line_intensity", "snr", "lod"
CHI2_RED, MASS_THICKNESS, AREAL_DENSITY = "chi2_red", "mass_thickness", "areal_density"
PARTITION_COEFFICIENT = "partition_coefficient"
FIT_COUNTS, FIT_EXPECTED, FIT_CONTINUUM = "fit_counts", "fit_expected", "fit_continuum"
STD_SUFFIX = "_std"
COMPOSITION_LOW, COMPOSITION_HIGH = "composition_low", "composition_high"
COMPOSITION_SPREAD, STABILITY = "composition_spread", "stability"
REMOVABLE, ADDABLE, OTHER_PHASE = "removable", "addable", "other_phase"
MASK, CORE, MASK_OVERLAP = "mask", "core", "mask_overlap"
COMPOSITION_SUBTRACTED, SPECTRUM_SUBTRACTED = "composition_subtracted", "spectrum_subtracted"
EXPOSURE = "exposure"

BinningRule = Literal["sum", "mean", "all", "keep"]


@dataclass(frozen=True)
class Variable:
    """What one variable is: its own dimensions beside the pixel ones, kind, units, and how it bins."""

    name: str
    dims: tuple[str, ...]
    pixels: bool
    kinds: str
    units: str
    binning: BinningRule
    doc: str


_VARIABLES = (
    Variable(COUNTS, (ENERGY,), True, "ui", "counts", "sum", "photons counted in a pixel and a channel"),
    Variable(TOTAL, (), True, "uif", "counts", "sum", "expected photons of a pixel"),
    Variable(SPECTRUM, (PHASE, ENERGY), False, "f", "1", "keep", "spectrum of a phase; each row sums to 1"),
    Variable(ABUNDANCE, (PHASE,), True, "f", "1", "mean", "fraction of a pixel's photons due to a phase"),
    Variable(OBJECTIVE, (ITERATION,), False, "f", "1", "keep", "loss at an iteration"),
    Variable(
        COMPOSITION, (PHASE, ELEMENT), False, "f", "1", "keep", "atomic fraction of an element in a phase"
    ),
    Variable(
        ELEMENT_PHOTONS, (PHASE, ELEMENT), False, "f", "1", "keep", "fraction of a phase's photons in lines"
    ),
    Variable(COMPOSITION_LOW, (PHASE, ELEMENT), False, "f", "1", "keep", "least that fits equally well"),
    Variable(COMPOSITION_HIGH, (PHASE, ELEMENT), False, "f", "1", "keep", "largest that fits equally well"),
    Variable(COMPOSITION_SPREAD, (PHASE, ELEMENT), False, "f", "1", "keep", "error that counts leave open"),
    Variable(
        STABILITY, (PHASE,), False, "f", "1", "keep", "photons that every equally good solution has alike"
    ),
    Variable(REMOVABLE, (PHASE, OTHER_PHASE), False, "f", "1", "keep", "of another phase that may be less"),
    Variable(ADDABLE, (PHASE, OTHER_PHASE), False, "f", "1", "keep", "of another phase that may be more"),
    Variable(MASK, (PHASE,), True, "b", "1", "all", "pixels that hold a precipitate; the matrix: all others"),
    Variable(CORE, (PHASE,), True, "b", "1", "all", "pixels of a mask that its blurred edge does not reach"),
    Variable(MASK_OVERLAP, (), True, "b", "1", "all", "pixels in the masks of several precipitates"),
    Variable(
        COMPOSITION_SUBTRACTED,
        (PHASE, ELEMENT),
        False,
        "f",
        "1",
        "keep",
        "atomic fraction after the matrix is subtracted from a mask's sum; noise may make it negative",
    ),
    Variable(
        SPECTRUM_SUBTRACTED,
        (PHASE, ENERGY),
        False,
        "f",
        "counts",
        "keep",
        "counts in a mask, over all maps, less those of the matrix",
    ),
    Variable(VALID, (), True, "b", "1", "all", "pixels that hold a measurement"),
    Variable(SUM_SPECTRUM, (ENERGY,), False, "uif", "counts", "keep", "counts summed over pixels"),
    Variable(TRUTH_ABUNDANCE, (PHASE,), True, "f", "1", "mean", "abundance a simulation was drawn from"),
    Variable(TRUTH_SPECTRUM, (PHASE, ENERGY), False, "f", "1", "keep", "spectra a simulation was drawn from"),
    Variable(TRUTH_COMPOSITION, (PHASE, ELEMENT), False, "f", "1", "keep", "atomic fraction in a simulation"),
    Variable(TRUTH_TOTAL, (), True, "f", "counts", "sum", "expected photons a simulation was drawn from"),
    Variable(LOADING, (COMPONENT, ENERGY), False, "f", "1", "keep", "spectrum of a component, any sign"),
    Variable(SCORE, (COMPONENT,), True, "f", "counts", "sum", "counts of a pixel are score · loading"),
    Variable(CENTER_SPECTRUM, (ENERGY,), False, "f", "1", "keep", "mean taken away before a PCA"),
    Variable(EXPLAINED_VARIANCE, (RANK,), False, "f", "1", "keep", "variance along a principal component"),
    Variable(EXPLAINED_VARIANCE_RATIO, (RANK,), False, "f", "1", "keep", "its fraction of all variance"),
    Variable(LABEL, (), True, "i", "1", "keep", "cluster of a pixel, -1 where it has no photons"),
    Variable(EXPECTED, (ENERGY,), True, "f", "counts", "sum", "counts a result expects"),
    Variable(ELEMENT, (CANDIDATE,), False, "U", "1", "keep", "element a candidate is, empty if it is none"),
    Variable(
        CANDIDATE_KIND, (CANDIDATE,), False, "U", "1", "keep", "element, or escape, sum or unknown peak"
    ),
    Variable(CANDIDATE_LINE, (CANDIDATE,), False, "U", "1", "keep", "line that says most"),
    Variable(LINE_ENERGY, (CANDIDATE,), False, "f", "keV", "keep", "where that line or peak is"),
    Variable(SIGNIFICANCE, (CANDIDATE,), False, "f", "1", "keep", "sigma, misfit of shapes included"),
    Variable(EXPLAINED, (CANDIDATE,), False, "f", "counts", "keep", "counts that a candidate explains"),
    Variable(FAMILIES, (CANDIDATE,), False, "U", "1", "keep", "measured over expected, by family of lines"),
    Variable(ALTERNATIVES, (CANDIDATE,), False, "U", "1", "keep", "elements that explain nearly as much"),
    Variable(KNOWN, (CANDIDATE,), False, "b", "1", "keep", "listed beforehand"),
    Variable(SIGNIFICANT, (CANDIDATE,), False, "b", "1", "keep", "above the threshold"),
    Variable(FITTED_SPECTRUM, (ENERGY,), False, "f", "counts", "keep", "counts that all candidates expect"),
    Variable(CONTINUUM_SPECTRUM, (ENERGY,), False, "f", "counts", "keep", "counts of continuum among them"),
    Variable(RESIDUAL, (ENERGY,), True, "f", "counts", "sum", "counts beyond what a result expects"),
    Variable(MASS_FRACTION, (PHASE, ELEMENT), False, "f", "1", "keep", "mass fraction of an element"),
    Variable(LINE_INTENSITY, (PHASE, LINE), False, "f", "counts", "keep", "photons counted in a line"),
    Variable(SNR, (PHASE, LINE), False, "f", "1", "keep", "net peak area over sigma of its background"),
    Variable(LOD, (PHASE, LINE), False, "f", "1", "keep", "atomic fraction at which the SNR is 3"),
    Variable(CHI2_RED, (PHASE,), False, "f", "1", "keep", "chi-squared of a fit over degrees of freedom"),
    Variable(MASS_THICKNESS, (PHASE,), False, "f", "1e-7 g/cm2", "keep", "density times thickness"),
    Variable(AREAL_DENSITY, (PHASE, ELEMENT), False, "f", "1/nm2", "keep", "atoms per area of the film"),
    Variable(PARTITION_COEFFICIENT, (), False, "f", "1", "keep", "ratio of Xa/Xb in two phases"),
    Variable(FIT_COUNTS, (PHASE, ENERGY), False, "f", "counts", "keep", "spectrum that was fitted"),
    Variable(FIT_EXPECTED, (PHASE, ENERGY), False, "f", "counts", "keep", "lines and continuum fitted to it"),
    Variable(EXPOSURE, (), True, "uif", "1", "sum", "how often, or how long, a pixel was measured"),
    Variable(FIT_CONTINUUM, (PHASE, ENERGY), False, "f", "counts", "keep", "continuum fitted to it"),
    Variable(ATOMS_PER_VOXEL, (ELEMENT,), True, "f", "1", "sum", "atoms of an element in a voxel"),
)
_WITHOUT_PIXELS = (
    Variable(n, dims, False, kind, units, "keep", doc)
    for n, dims, kind, units, doc in (*TRACE_WORDS, *PLACEMENT_WORDS, *VOLUME_WORDS)
)
_OF_FIELDS = (Variable(n, (), True, "u", units, "keep", doc) for n, units, doc in FIELD_WORDS)
_OF_VOXELS = (Variable(n, (PHASE,), True, "f", units, "mean", doc) for n, units, doc in VOXEL_WORDS)
VARIABLES: Mapping[str, Variable] = {
    v.name: v for v in (*_VARIABLES, *_WITHOUT_PIXELS, *_OF_FIELDS, *_OF_VOXELS)
}

COORDINATE_UNITS: Mapping[str, str] = {
    ENERGY: "keV",
    Z: "nm",
    Y: "nm",
    X: "nm",
    TILT: "deg",
    FRAME: "1",
}
PIXEL_UNIT = "px"  # of y and x where the file gives no calibration


@dataclass(frozen=True)
class Attribute:
    """What one attribute is: Python type and meaning; the unit is part of the name."""

    name: str
    type: type
    doc: str


BEAM_ENERGY, BEAM_CURRENT = "beam_energy_kev", "beam_current_na"
ELEVATION, AZIMUTH = "elevation_deg", "azimuth_deg"
TILT_ALPHA, TILT_BETA = "tilt_alpha_deg", "tilt_beta_deg"
FWHM, LIVE_TIME, REAL_TIME = "fwhm_mn_ka_ev", "live_time_s", "real_time_s"
WINDOW, EFFICIENCY_ENERGY, EFFICIENCY = "detector_window", "efficiency_energy_kev", "efficiency"
ELEMENTS, THICKNESS, DENSITY, DETECTOR = "elements", "thickness_nm", "density_g_cm3", "detector"
SOURCE_FILE, SOURCE_SHA256, HISTORY = "source_file", "source_sha256", "history"
SCHEMA_VERSION_KEY, EDXDASK_VERSION, SEED = "schema_version", "edxdask_version", "seed"
COMPLETE, VENDOR_METADATA, TITLE, RECIPE = "complete", "vendor_metadata", "title", "recipe"
BIN, SMOOTH = "bin", "smooth"
ENERGY_OFFSET_STEP, ENERGY_GAIN = "energy_offset_step_kev", "energy_gain"
CHI2_RED, LARGEST_CORRECTION, WARNINGS = "chi2_red", "largest_correction", "warnings"
FLAT_TOPS, SOLUTIONS = "flat_tops", "solutions"
CORE_WIDTH, CORE_CHOICE, MASK_METHODS = "core_width_px", "core_choice", "mask_methods"
FORMAT_KEY, FORMAT_NAME = "format", "edxdask"
QUANTIFICATION, FIT_SPLIT = "quantification", "fit_split"
ESCAPE_STRENGTH, LOWEST_ENERGY = "escape_strength", "lowest_energy_kev"
WEIGHTING, ENERGY_BENDS = "weighting", "energy_bends_kev"

_ATTRIBUTES = (
    Attribute(BEAM_ENERGY, float, "energy of the beam's electrons"),
    Attribute(BEAM_CURRENT, float, "probe current"),
    Attribute(ELEVATION, list, "detector elevation above the sample plane, one value per detector"),
    Attribute(AZIMUTH, list, "detector azimuth, one value per detector"),
    Attribute(TILT_ALPHA, float, "stage tilt about the holder's axis"),
    Attribute(TILT_BETA, float, "stage tilt across the holder's axis"),
    Attribute(FWHM, float, "detector width at Mn Ka"),
    Attribute(WINDOW, str, "window of the detector: none, polymer or beryllium"),
    Attribute(EFFICIENCY_ENERGY, list, "energies of the detector's efficiency, where that is known"),
    Attribute(EFFICIENCY, list, "fraction of photons that the detector counts, at these energies"),
    Attribute(LIVE_TIME, float, "live time of the whole map"),
    Attribute(REAL_TIME, float, "real time of the whole map"),
    Attribute(ELEMENTS, list, "element symbols named by the operator"),
    Attribute(THICKNESS, float, "thickness of the sample"),
    Attribute(DENSITY, float, "density of the sample"),
    Attribute(DETECTOR, str, "detector as the vendor names it"),
    Attribute(SOURCE_FILE, str, "file the counts came from"),
    Attribute(SOURCE_SHA256, str, "checksum of that file"),
    Attribute(HISTORY, list, "what was done to the cube, oldest first"),
    Attribute(SCHEMA_VERSION_KEY, int, "version of this vocabulary"),
    Attribute(EDXDASK_VERSION, str, "version of edxdask that wrote it"),
    Attribute(SEED, int, "seed of whatever was random"),
    Attribute(BIN, int, "pixels per bin of the first factorization"),
    Attribute(SMOOTH, float, "strength of the spatial prior"),
    Attribute(CHI2_RED, float, "reduced chi-squared of the summed fit"),
    Attribute(LARGEST_CORRECTION, float, "largest logarithm of the factor that made the basis fit"),
    Attribute(WARNINGS, list, "what a person should know before using a result"),
    Attribute(SOLUTIONS, int, "different sets of spectra found that explain the counts equally well"),
    Attribute(FLAT_TOPS, list, "phases taken to be pure where their maps have a flat top"),
    Attribute(CORE_WIDTH, int, "distance from all masks beyond which the matrix is taken to be pure"),
    Attribute(CORE_CHOICE, str, "how that distance was chosen"),
    Attribute(MASK_METHODS, list, "how the mask of each precipitate was made"),
    Attribute(TITLE, str, "what the map is called"),
    Attribute(RECIPE, str, "recipe of a simulation"),
    Attribute(ENERGY_OFFSET_STEP, float, "what a fit adds to the energy axis"),
    Attribute(ENERGY_GAIN, float, "what a fit multiplies the energy axis with"),
    Attribute(ENERGY_BENDS, list, "what a fit adds further at 1.5, 3.5, 6 and 8.5 keV, linear between"),
    Attribute(WEIGHTING, str, "how counts were scaled before a PCA"),
    Attribute(QUANTIFICATION, str, "method of quantification"),
    Attribute(ESCAPE_STRENGTH, float, "escape peaks as a fit found them, over theory's"),
    Attribute(LOWEST_ENERGY, float, "energy below which channels take part in nothing but totals"),
    Attribute(FIT_SPLIT, list, "families with lines that the fit did not tie by their rates"),
    Attribute(VENDOR_METADATA, str, "the vendor's own metadata, verbatim, as JSON text"),
    Attribute(COMPLETE, bool, "written last, when all counts are in"),
    Attribute(FORMAT_KEY, str, "marks a store as ours"),
)
_OF_STAGES = (Attribute(*words) for words in (*PLACEMENT_ATTRIBUTES, *VOLUME_ATTRIBUTES))
ATTRIBUTES: Mapping[str, Attribute] = {a.name: a for a in (*_ATTRIBUTES, *_OF_STAGES)}


def pixel_dims(cube: xr.Dataset | xr.DataArray) -> tuple[str, ...]:
    """Dimensions of ``counts`` that are not energy, in order.

    Examples
    --------
    >>> import xarray as xr
    >>> pixel_dims(xr.Dataset({"counts": (("y", "x", "energy"), np.zeros((2, 3, 4), "u2"))}))
    ('y', 'x')
    """
    import xarray as xr

    array = cube[COUNTS] if isinstance(cube, xr.Dataset) else cube
    return tuple(str(d) for d in array.dims if d != ENERGY)


def energy_values(offset: float, scale: float, channels: int) -> np.ndarray:
    """Channel centres in keV, exactly ``offset + i * scale``.

    Examples
    --------
    >>> energy_values(-0.1, 0.01, 3)
    array([-0.1 , -0.09, -0.08])
    """
    return offset + np.arange(channels, dtype=np.float64) * scale


def energy_coordinate(offset: float, scale: float, channels: int) -> xr.Variable:
    """``energy`` as a variable that carries its offset and scale."""
    import xarray as xr

    values = energy_values(offset, scale, channels)
    return xr.Variable((ENERGY,), values, {"units": "keV", "offset": float(offset), "scale": float(scale)})


def energy_axis(cube: xr.Dataset | xr.DataArray) -> tuple[float, float]:
    """Offset and scale (keV) of the energy axis as it is now, after any slicing.

    Raises
    ------
    SchemaError
        If the axis is missing or its steps are not equal.
    """
    if ENERGY not in cube.coords:
        raise SchemaError("the cube has no 'energy' coordinate: build it with edxdask.from_array(...)")
    values = np.asarray(cube.coords[ENERGY].values, dtype=np.float64)
    if values.size == 1:
        return float(values[0]), float(cube.coords[ENERGY].attrs.get("scale", np.nan))
    scale = float(values[-1] - values[0]) / (values.size - 1)
    stored = cube.coords[ENERGY].attrs.get("scale")
    if stored is not None and np.isclose(stored, scale, rtol=1e-9, atol=0.0):
        scale = float(stored)
    offset = float(values[0])
    if not scale > 0 or not np.allclose(
        values, energy_values(offset, scale, values.size), rtol=0, atol=1e-6 * scale
    ):
        raise SchemaError(f"the 'energy' axis must rise in equal steps; it starts {values[:3]} keV")
    return offset, scale


def validate_cube(cube: Any, *, name: str = "data") -> xr.Dataset:
    """Return ``cube`` if it is a valid cube, else raise ``SchemaError`` that says what to fix.

    Checks names, dimensions, kinds and the energy axis; reads no counts.
    """
    import xarray as xr

    if isinstance(cube, xr.DataTree):
        raise ParameterError(name, "DataTree", "one map (a Dataset)", "Pick one: tree['name'].to_dataset().")
    if not isinstance(cube, xr.Dataset):
        raise ParameterError(name, type(cube).__name__, "a Dataset", "Open one with edxdask.open(path).")
    if COUNTS not in cube:
        have = ", ".join(map(str, cube.data_vars)) or "nothing"
        raise SchemaError(f"{name} has no variable 'counts' (it has {have}): is it a result, not a cube?")
    counts = cube[COUNTS]
    if counts.ndim < 2 or counts.dims[-1] != ENERGY:
        raise SchemaError(
            f"counts has dims {counts.dims}; expected pixel dimensions first and 'energy' last: "
            "ds.transpose(..., 'energy')"
        )
    if counts.dtype.kind not in VARIABLES[COUNTS].kinds:
        raise SchemaError(
            f"counts has dtype {counts.dtype}; counts of photons are whole numbers. Where these are, "
            "edxdask.from_array(...) takes them; where they are not, go back to the raw counts"
        )
    if 0 in counts.shape:
        raise SchemaError(f"counts is empty: {dict(counts.sizes)}")
    energy_axis(cube)
    return cube


def dims_of(name: str, pixels: tuple[str, ...]) -> tuple[str, ...]:
    """Dimensions of variable ``name`` in a cube with the pixel dimensions ``pixels``.

    Examples
    --------
    >>> dims_of("abundance", ("y", "x"))
    ('phase', 'y', 'x')
    >>> dims_of("counts", ("tilt", "y", "x"))
    ('tilt', 'y', 'x', 'energy')
    """
    spec = VARIABLES[name]
    own = spec.dims
    if not spec.pixels:
        return own
    return (*pixels, *own) if own == (ENERGY,) else (*own, *pixels)


def variable_attrs(name: str) -> dict[str, str]:
    """Attributes (``units``, ``long_name``) of a variable of the schema."""
    spec = VARIABLES[name]
    return {"units": spec.units, "long_name": spec.doc}


def with_history(attrs: Mapping[Hashable, Any], entry: str) -> dict[Any, Any]:
    """Copy of ``attrs`` with one more line of history.

    Examples
    --------
    >>> with_history({"history": ["a"]}, "b")
    {'history': ['a', 'b']}
    """
    history = attrs.get(HISTORY, [])
    return {**attrs, HISTORY: [*([history] if isinstance(history, str) else history), entry]}


def as_json(value: Any) -> str:
    """Vendor metadata as JSON text: arrays become lists, bytes text, everything else its string."""

    def encode(item: Any) -> Any:
        if isinstance(item, np.ndarray | np.generic):
            return item.tolist()
        if isinstance(item, bytes):
            return item.decode("utf-8", "replace")
        return str(item)

    return json.dumps(value, default=encode)
