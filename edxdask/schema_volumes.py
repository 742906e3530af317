"""Words of tilt series and volumes: a part of the vocabulary, which ``schema`` takes in.

Other modules use them through ``schema``.
"""

from __future__ import annotations

Z = "z"  # along the beam at tilt 0
VOLUME, TRUTH_VOLUME = "volume", "truth_volume"
PHOTONS_PER_VOXEL = "photons_per_voxel"
ATOMS_PER_VOXEL = "atoms_per_voxel"
TILT_SHIFT_Y, TILT_SHIFT_X = "tilt_shift_y", "tilt_shift_x"
TILT_ROTATION, TILT_EXPOSURE = "tilt_rotation", "tilt_exposure"
TILT_PHOTONS, TILT_CHI2 = "tilt_photons", "tilt_chi2"
TILT_FITS, TILT_REASON = "tilt_fits", "tilt_reason"

TILT_MAP, TILT_DOSE = "tilt_map", "tilt_dose"
TRUTH_SHIFT_Y, TRUTH_SHIFT_X, TRUTH_ROTATION = "truth_shift_y", "truth_shift_x", "truth_rotation"
TRUTH_EXPOSURE, TRUTH_PHOTONS_PER_VOXEL = "truth_exposure", "truth_photons_per_voxel"
TRUTH_IN_VOXELS = (TRUTH_VOLUME, TRUTH_PHOTONS_PER_VOXEL, TRUTH_SHIFT_Y, TRUTH_SHIFT_X)

TILT_MISFIT, TILT_BRIGHTNESS = "tilt_misfit", "tilt_brightness"

TILT_AXIS, TILT_AXIS_DEG = "tilt_axis", "tilt_axis_deg"
ALIGNED_ON, ALIGNED_BY, FIELD_CUTS = "aligned_on", "aligned_by", "field_cuts"
VOLUME_KIND, VOLUME_PRIOR, VOLUME_STRENGTH = "volume_kind", "volume_prior", "volume_strength"
VOLUME_CONVERGED = "volume_converged"

_TILT, _PHASE = ("tilt",), ("phase",)
# of each phase and voxel (dimensions phase, z, y, x): name, units, meaning
VOXEL_WORDS: tuple[tuple[str, str, str], ...] = (
    (VOLUME, "1", "fraction of a voxel that a phase fills"),
    (TRUTH_VOLUME, "1", "fraction of a voxel in a simulation"),
)
# name, dimensions, kind, units, meaning; none has pixels
VOLUME_WORDS: tuple[tuple[str, tuple[str, ...], str, str, str], ...] = (
    (PHOTONS_PER_VOXEL, _PHASE, "f", "counts", "photons of a voxel full of a phase, exposure 1"),
    (TILT_SHIFT_Y, _TILT, "f", "px", "rows by which a projection lies below the volume"),
    (TILT_SHIFT_X, _TILT, "f", "px", "columns by which a projection lies right of the volume"),
    (TILT_ROTATION, _TILT, "f", "deg", "angle of the tilt axis to the rows' normal in a projection"),
    (TILT_EXPOSURE, _TILT, "f", "1", "dose times what detectors see, mean 1"),
    (TILT_PHOTONS, _TILT, "f", "counts", "photons of a projection"),
    (TILT_CHI2, _TILT, "f", "1", "chi-squared of a projection per degree of freedom"),
    (TILT_FITS, _TILT, "b", "1", "projections that the volume explains"),
    (TILT_REASON, _TILT, "U", "1", "why a projection does not fit; empty where it does"),
    (TILT_MAP, _TILT, "U", "1", "name of the map or file that a projection is"),
    (TILT_DOSE, _TILT, "f", "1", "dose of a projection as files say: live time times current, mean 1"),
    (
        TILT_MISFIT,
        _TILT,
        "f",
        "1",
        "squares that other tilts leave unexplained, over those of the median tilt",
    ),
    (TILT_BRIGHTNESS, _TILT, "f", "1", "brightness of an image beside what other tilts say, mean 1"),
    (TRUTH_SHIFT_Y, _TILT, "f", "px", "rows by which a simulated projection is moved"),
    (TRUTH_SHIFT_X, _TILT, "f", "px", "columns by which a simulated projection is moved"),
    (TRUTH_ROTATION, _TILT, "f", "deg", "angle by which a simulated projection is turned"),
    (TRUTH_EXPOSURE, _TILT, "f", "1", "dose times what detectors see in a simulation, mean 1"),
    (TRUTH_PHOTONS_PER_VOXEL, _PHASE, "f", "counts", "photons of a voxel of a phase in a simulation"),
)
VOLUME_ATTRIBUTES: tuple[tuple[str, type, str], ...] = (
    (TILT_AXIS, str, "dimension of the projections that the tilt axis is nearest to, y or x"),
    (TILT_AXIS_DEG, float, "angle of the tilt axis to that dimension"),
    (ALIGNED_ON, str, "image that tilts were aligned on"),
    (ALIGNED_BY, str, "steps that aligned them"),
    (FIELD_CUTS, list, "dimensions along which the field cuts the object"),
    (VOLUME_KIND, str, "fraction, or photons where yields are not known"),
    (VOLUME_PRIOR, str, "tv or none"),
    (VOLUME_STRENGTH, float, "strength of the prior"),
    (VOLUME_CONVERGED, int, "1 where every slab met the stop rule"),
)
