"""Words of traces, judged maps and profiles: a part of the vocabulary, which ``schema`` takes in.

Other modules use them through ``schema``.
"""

from __future__ import annotations

MAP, GROWTH_STEP, DISTANCE = "map", "growth_step", "distance"
ATOMIC_PPM, ATOMIC_PPM_SPREAD, MEASURE_LONGER = "atomic_ppm", "atomic_ppm_spread", "measure_longer"
TRACE_SIGNIFICANCE, TRACE_SNR, TRACE_LOD = "trace_significance", "trace_snr", "trace_lod_ppm"
TRACE_LINE, TRACE_PIXELS, TRACE_PHOTONS = "trace_line", "trace_pixels", "trace_photons"
GROWTH_PIXELS, GROWTH_MAPS = "growth_pixels", "growth_maps"
GROWTH_SNR, GROWTH_PPM = "growth_snr", "growth_ppm"
SNR_PER_ROOT_PIXEL, SNR_EXPONENT = "snr_per_root_pixel", "snr_exponent"
MAP_T1, MAP_T2, MAP_EXCESS = "map_t1", "map_t2", "map_excess_per_photon"
MAP_SIGMA, MAP_FRACTION = "map_sigma", "map_fraction"
MAP_BELONGS, MAP_REASON = "map_belongs", "map_reason"
PROFILE_COMPOSITION, PROFILE_PIXELS = "profile_composition", "profile_pixels"

_ELEMENT = "element"
_EACH, _STEP, _MAP, _OF = (MAP, _ELEMENT), (GROWTH_STEP, _ELEMENT), (MAP,), (_ELEMENT,)
# name, dimensions, kind, units, meaning; none has pixels
TRACE_WORDS: tuple[tuple[str, tuple[str, ...], str, str, str], ...] = (
    (ATOMIC_PPM, _EACH, "f", "1e-6", "atoms of an element per million"),
    (ATOMIC_PPM_SPREAD, _OF, "f", "1e-6", "error that more photons leave as it is"),
    (TRACE_SIGNIFICANCE, _EACH, "f", "1", "amount over its standard error"),
    (TRACE_SNR, _EACH, "f", "1", "net peak over sigma of its background"),
    (TRACE_LOD, _EACH, "f", "1e-6", "atoms per million at which the SNR is 3"),
    (MEASURE_LONGER, _EACH, "f", "1", "times the photons that 3 sigma would take"),
    (TRACE_LINE, _OF, "U", "1", "line with the lowest limit of detection"),
    (TRACE_PIXELS, _MAP, "f", "1", "pixels whose counts SNR and limits are of"),
    (TRACE_PHOTONS, _MAP, "f", "counts", "photons in these pixels"),
    (GROWTH_PIXELS, (GROWTH_STEP,), "f", "1", "pixels summed"),
    (GROWTH_MAPS, (GROWTH_STEP,), "f", "1", "maps summed, 1 for parts of one"),
    (GROWTH_SNR, _STEP, "f", "1", "SNR of so many pixels"),
    (GROWTH_PPM, _STEP, "f", "1e-6", "atoms per million in these"),
    (SNR_PER_ROOT_PIXEL, _OF, "f", "1", "SNR over the root of the pixels"),
    (SNR_EXPONENT, _OF, "f", "1", "power of the pixels with which the SNR grows"),
    (MAP_T1, _MAP, "f", "1", "distance of a composition from that of other maps"),
    (MAP_SIGMA, _MAP, "f", "1", "largest difference of one fraction, in standard errors"),
    (MAP_FRACTION, _MAP, "U", "1", "fraction that differs most from other maps"),
    (MAP_T2, _MAP, "f", "1", "chi-squared per channel of a map's own fit"),
    (MAP_EXCESS, _MAP, "f", "1", "chi-squared beyond the channels, per photon"),
    (MAP_BELONGS, _MAP, "b", "1", "maps that belong to their collection"),
    (MAP_REASON, _MAP, "U", "1", "why a map does not belong; empty where it does"),
    (PROFILE_COMPOSITION, (DISTANCE, _ELEMENT), "f", "1", "atomic fraction at a distance"),
    (PROFILE_PIXELS, (DISTANCE,), "f", "1", "pixels at a distance"),
)
