"""A methods paragraph for a paper, with the references it cites."""

from __future__ import annotations

from collections.abc import Callable

from edxdask import schema
from edxdask._version import __version__
from edxdask.report.page.evidence import Evidence
from edxdask.report.page.words import listed, number_of
from edxdask.report.phase_spectra import elements_named
from edxdask.results.kinds import Kind

PSNMF = (
    "H. Chen, D. T. L. Alexander, C. Hébert, Leveraging machine learning for advanced nanoscale X-ray "
    "analysis: unmixing multicomponent signals and enhancing chemical quantification, Nano Letters 24 (2024) "
    "10177."
)
AIDED = (
    "H. Chen et al., Non-negative matrix factorization-aided phase unmixing and trace element quantification "
    "of STEM-EDXS data, Ultramicroscopy (2024) 113981."
)
GUIDED = (
    "A. Teurtrie et al., From STEM-EDXS data to phase separation and quantification using physics-guided "
    "NMF, Machine Learning: Science and Technology 5 (2024) 045050."
)
NMF = (
    "D. D. Lee, H. S. Seung, Learning the parts of objects by non-negative matrix factorization, Nature 401 "
    "(1999) 788."
)
CROSS_SECTIONS = (
    "D. Bote, F. Salvat, A. Jablonski, C. J. Powell, At. Data Nucl. Data Tables 95 (2009) 871 (ionisation)."
)
XRAYLIB = (
    "T. Schoonjans et al., The xraylib library for X-ray-matter interactions, Spectrochim. Acta B 66 (2011) "
    "776."
)
CLIFF_LORIMER = (
    "G. Cliff, G. W. Lorimer, The quantitative analysis of thin specimens, J. Microsc. 103 (1975) 203."
)
ZETA = "M. Watanabe, D. B. Williams, The quantitative analysis of thin specimens, J. Microsc. 221 (2006) 89."
SOFTWARE = f"edxdask {__version__}: STEM-EDX spectrum images larger than memory."

Cite = Callable[..., str]


def methods_of(evidence: Evidence) -> tuple[str, list[str]]:
    """Write the paragraph, its citations as numbers in brackets, and the list of references."""
    references: list[str] = []

    def cite(*texts: str) -> str:
        for text in texts:
            if text not in references:
                references.append(text)
        return "[" + ", ".join(str(references.index(text) + 1) for text in texts) + "]"

    parts = [f"Spectrum images were analysed with edxdask {__version__} {cite(SOFTWARE)}."]
    parts += _phases(evidence, cite)
    parts += _composition(evidence, cite)
    return " ".join(parts), [f"[{i}] {text}" for i, text in enumerate(references, start=1)]


def _method(evidence: Evidence) -> str:
    history = " ".join(map(str, evidence.root.attrs.get(schema.HISTORY, [])))
    return next((name for name in ("aided", "psnmf", "nmf", "fcls") if f"{name}(" in history), "")


def _phases(evidence: Evidence, cite: Cite) -> list[str]:
    if evidence.result is None:
        return []
    method = _method(evidence)
    number = len(evidence.labels)
    count = f"{number_of(number, 'phase').capitalize()} {'was' if number == 1 else 'were'}"
    if method == "psnmf":
        texts = [_pan_sharpening(evidence, count, cite)]
    elif method == "aided":
        texts = [
            f"{count} separated by NMF-aided unmixing {cite(AIDED)}: masks of precipitates, the matrix "
            "pinned in its core, and a joint Poisson fit of groups of pixels over all maps."
        ]
    else:
        texts = [f"{count} separated by non-negative matrix factorization {cite(NMF)} of the counts."]
    if schema.LARGEST_CORRECTION in evidence.root.attrs:
        named = listed(list(elements_named(evidence.result)))
        texts.append(
            f"Spectra were mixtures of what the elements {named} emit and of continuum {cite(GUIDED)}, with "
            f"ionisation cross-sections {cite(CROSS_SECTIONS)} and atomic data {cite(XRAYLIB)}, calibrated "
            "on the summed counts."
        )
    return texts


def _pan_sharpening(evidence: Evidence, count: str, cite: Cite) -> str:
    attrs = evidence.root.attrs
    side, strength = attrs.get(schema.BIN), attrs.get(schema.SMOOTH)
    bins = "" if side is None else f" of bins of {int(side)} × {int(side)} pixels"
    prior = "" if strength is None else f" under a spatial prior of strength {float(strength):.3g}"
    return (
        f"{count} separated by pan-sharpening non-negative matrix factorization {cite(PSNMF)}, which "
        f"maximises the Poisson likelihood of the counts: spectra{bins}, then abundances of all pixels"
        f"{prior}."
    )


def _composition(evidence: Evidence, cite: Cite) -> list[str]:
    method = evidence.root.attrs.get(schema.QUANTIFICATION)
    limit = "the limit of detection is the amount at which the net peak is three times its background's noise"
    if evidence.kind is Kind.TRACES:
        phase = evidence.data.attrs.get(schema.PHASE, "a phase")
        return [
            f"Traces were fitted to the summed counts of the pure core of {phase} over all maps "
            f"{cite(AIDED)}; {limit}."
        ]
    if method is None:
        return []
    by = {
        "cliff-lorimer": ("the Cliff-Lorimer method", CLIFF_LORIMER),
        "zeta": ("the ζ-factor method", ZETA),
    }
    name, reference = by.get(str(method), ("the cross-section method", CROSS_SECTIONS))
    return [
        f"Compositions were quantified by {name} {cite(reference)} from lines and continuum fitted together "
        f"by Poisson likelihood; errors are one standard deviation, and {limit}."
    ]
