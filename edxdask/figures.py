"""Figures for papers: each a matplotlib ``Figure`` with units, scale bars and fonts in print millimetres.

Every figure of the report is here alone, and what has been published of the methods in one call each. Of the
paper on pan-sharpening NMF: line maps as counted beside denoised ones (``denoised``), and phases beside a
truth (``against_truth``). Of the thesis on traces: masks (``masks``), spectra (``phase_spectra``), the SNR
against pixels (``traces``), limits of detection (``limits``), and fits with their chi-squared (``fits``).

``save(figure, "name.pdf")`` writes PDF, SVG or PNG, whole or not at all.

Examples
--------
>>> import tempfile, edxdask
>>> found = edxdask.nmf(edxdask.simulate(shape=(16, 16), counts=50), phases=2, max_iter=5)
>>> with tempfile.TemporaryDirectory() as folder:
...     edxdask.figures.save(edxdask.figures.phases(found), folder + "/phases.svg").name
'phases.svg'
"""

from __future__ import annotations

from edxdask.report.against_truth import against_truth_figure as against_truth
from edxdask.report.alignment import alignment_figure as alignment
from edxdask.report.choices import choices_figure as choices
from edxdask.report.denoised import denoised_figure as denoised
from edxdask.report.denoised import line_maps_figure as line_maps
from edxdask.report.drift import drift_figure as drift
from edxdask.report.elements import elements_figure as found_elements
from edxdask.report.figures import sum_spectrum_figure as sum_spectrum
from edxdask.report.limits import limits_figure as limits
from edxdask.report.maps import map_figure as map
from edxdask.report.maps import maps_figure as maps
from edxdask.report.masks import masks_figure as masks
from edxdask.report.misfit import misfit_figure as misfit
from edxdask.report.misfit import summed_fit_figure as summed_fit
from edxdask.report.openness import openness_figure as ranges
from edxdask.report.particle_sizes import sizes_figure as particle_sizes
from edxdask.report.phase_maps import composite_figure as composite
from edxdask.report.phase_maps import phases_figure as phases
from edxdask.report.phase_spectra import phase_spectra_figure as phase_spectra
from edxdask.report.placement_figure import placement_figure as placement
from edxdask.report.plot import plot
from edxdask.report.quantified import quantified_figure as fits
from edxdask.report.spectra import spectra_figure as spectra
from edxdask.report.style import save_figure as save
from edxdask.report.tilts import tilts_figure as tilts
from edxdask.report.traces import profile_figure as profile
from edxdask.report.traces import traces_figure as traces
from edxdask.report.volume_figures import rendered
from edxdask.report.volumes import planes_figure as planes
from edxdask.report.volumes import slices_figure as slices

__all__ = [
    "against_truth",
    "alignment",
    "choices",
    "composite",
    "denoised",
    "drift",
    "fits",
    "found_elements",
    "limits",
    "line_maps",
    "map",
    "maps",
    "masks",
    "misfit",
    "particle_sizes",
    "phase_spectra",
    "phases",
    "placement",
    "planes",
    "plot",
    "profile",
    "ranges",
    "rendered",
    "save",
    "slices",
    "spectra",
    "sum_spectrum",
    "summed_fit",
    "tilts",
    "traces",
]
