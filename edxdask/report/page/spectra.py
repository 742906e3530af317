"""Spectra: those of all phases over one another, and each with its lines, fit and residuals."""

from __future__ import annotations

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.quantify.results import parts_of
from edxdask.report.fit import CONTINUUM_COLOR, COUNTS_COLOR, FIT_COLOR, FitPanel
from edxdask.report.lines import label_lines
from edxdask.report.page.evidence import Evidence
from edxdask.report.page.live import GraphCurve, Panels
from edxdask.report.page.parts import Block, Note, Section
from edxdask.report.page.pictures import picture
from edxdask.report.phase_spectra import LEAST_SEEN, elements_named, phase_spectra_figure
from edxdask.report.quantified import fit_panel, quantified_figure
from edxdask.results.collections import shared_part

MOST_PANELS = 8  # phases with a moving panel of their fit


def spectra(evidence: Evidence, panels: Panels) -> Section | None:
    """Make the section; None where there are no phases."""
    if evidence.result is None:
        return None
    root = evidence.root
    energy = root[schema.ENERGY].values.astype(float)
    values = root[schema.SPECTRUM].transpose(schema.PHASE, schema.ENERGY).values.astype(float)
    curves = [
        GraphCurve(label, evidence.colors[label], energy, _seen(row))
        for label, row in zip(evidence.labels, values, strict=True)
    ]
    lines = label_lines(elements_named(evidence.result), float(energy[0]), float(energy[-1]))
    live = panels.add_spectra("spectra", curves, lines, y_label="Fraction of photons")
    blocks: list[Block] = [
        picture(
            "spectra",
            phase_spectra_figure(evidence.result),
            f"Spectra of {', '.join(evidence.labels)} with the names of their lines",
            caption="Spectra of the phases; the channels of each sum to 1.",
            code="edxdask.figures.phase_spectra(result)",
            live=live,
        )
    ]
    return Section("spectra", "Spectra", [*blocks, *_fits(evidence, panels)])


def _seen(spectrum: np.ndarray) -> np.ndarray:
    return np.where(spectrum < LEAST_SEEN * spectrum.max(initial=0.0), 0.0, spectrum)


def _fits(evidence: Evidence, panels: Panels) -> list[Block]:
    """Show what ``quantify`` fitted to each phase."""
    result = evidence.result
    if result is None or schema.FIT_COUNTS not in evidence.root:
        text = "Lines were not fitted, as no elements are known: quantify(result, elements=[...]) fits them."
        if schema.COMPOSITION in evidence.root:
            text = "Lines of single phases were not fitted: compositions are those of the fit of all pixels."
        return [Note(text)]
    blocks: list[Block] = []
    for i, (label, one) in enumerate(parts_of(result)):
        if schema.FIT_COUNTS not in one or not np.isfinite(one[schema.FIT_COUNTS].values).any():
            continue
        blocks.append(
            picture(
                f"fit-{i}",
                quantified_figure(_alone(result, label)),
                f"Spectrum of {label} with the fit of its lines, and the residuals in sigma",
                caption="Counts of the phase, the fit of lines and continuum, and the residuals in sigma.",
                code="edxdask.figures.fits(edxdask.quantify(result))",
                live=_live_fit(panels, f"fit-{i}", fit_panel(label, one)) if i < MOST_PANELS else None,
                title=label,
                color=evidence.colors.get(label),
            )
        )
    return blocks


def _alone(result: xr.Dataset | xr.DataTree, label: str) -> xr.Dataset:
    """Give what the result knows of one phase, as a result of one."""
    return shared_part(result).sel({schema.PHASE: [label]})


def _live_fit(panels: Panels, name: str, fit: FitPanel) -> str:
    curves = [
        GraphCurve("counts", COUNTS_COLOR, fit.energy, fit.counts),
        GraphCurve("fit", FIT_COLOR, fit.energy, fit.expected, step=False),
    ]
    if fit.continuum is not None:
        curves.append(GraphCurve("continuum", CONTINUUM_COLOR, fit.energy, fit.continuum, step=False))
    residual = (fit.counts - fit.expected) / np.sqrt(np.maximum(fit.expected, 1.0))
    return panels.add_fit(name, curves, residual, fit.lines)
