"""The judge of ``benchmarks/battery.py``: a warning counts only if its range holds the truth."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from battery import Case, Report
from judge import CRASH, OPEN, RIGHT, SAID, SILENT, Judgement, judge
from real_crops import PUBLISHED_71, Crop, chi2_of_parts, judge_crop, thinned
from sample_truth import Made, make
from samples import BY_NAME

import edxdask
from edxdask import schema

NAMES = ("Si", "SiO2")
WARNING = f"phase_1: Si between 0 and 40 at.% {OPEN}"


@pytest.fixture(scope="module")
def halves() -> Made:
    return make(BY_NAME["halves"], 0, None)


def result_of(
    made: Made,
    *,
    silicon: float = 1 / 3,
    taken: float = 0.0,
    low: float = 0.0,
    addable: float = 0.0,
    composition: bool = True,
    warnings: tuple[str, ...] = (),
) -> xr.Dataset:
    """A result whose second phase lacks ``taken`` of the first per photon, and holds ``silicon``."""
    spectra = made.spectra.copy()
    spectra[1] -= taken * spectra[0]
    spectra[1] = np.maximum(spectra[1], 0)
    spectra /= spectra.sum(axis=1, keepdims=True)
    table = np.array([[1.0, 0.0], [silicon, 1 - silicon]])
    two, elements = (schema.PHASE, schema.OTHER_PHASE), (schema.PHASE, schema.ELEMENT)
    variables = {
        schema.SPECTRUM: ((schema.PHASE, schema.ENERGY), spectra),
        schema.REMOVABLE: (two, np.zeros((2, 2))),
        schema.ADDABLE: (two, np.array([[0, 0], [addable, 0]])),
    }
    if composition:
        variables |= {
            schema.COMPOSITION: (elements, table),
            schema.COMPOSITION_LOW: (elements, np.array([[1.0, 0.0], [low, 0.6]])),
            schema.COMPOSITION_HIGH: (elements, np.array([[1.0, 0.0], [0.4, 1.0]])),
            schema.COMPOSITION_SPREAD: (elements, np.full((2, 2), 0.01)),
            schema.COMPOSITION + schema.STD_SUFFIX: (elements, np.full((2, 2), 0.01)),
        }
    coords = {schema.PHASE: ["phase_0", "phase_1"], schema.ELEMENT: ["Si", "O"]}
    return xr.Dataset(variables, coords=coords, attrs={schema.WARNINGS: list(warnings)})


def verdict(made: Made, result: xr.Dataset, *, hinted: bool = False) -> str:
    return judge(result, BY_NAME["halves"], made, hinted=hinted).verdict


def test_the_truth_itself_is_right(halves):
    found = judge(result_of(halves, warnings=(WARNING,)), BY_NAME["halves"], halves, hinted=False)
    assert (found.verdict, found.warned, found.wrong) == (RIGHT, 1, ())


def test_a_wrong_spectrum_without_a_warning_is_silent(halves):
    assert verdict(halves, result_of(halves, silicon=0.0, taken=0.3)) == SILENT


def test_a_warning_that_holds_the_true_composition_counts(halves):
    wrong = result_of(halves, silicon=0.0, taken=0.3, warnings=(WARNING,))
    assert verdict(halves, wrong) == SAID


def test_a_warning_about_another_phase_does_not_count(halves):
    other = WARNING.replace("phase_1", "phase_0")
    assert verdict(halves, result_of(halves, silicon=0.0, taken=0.3, warnings=(other,))) == SILENT


def test_a_range_that_misses_the_truth_does_not_count(halves):
    wrong = result_of(halves, silicon=0.0, taken=0.3, low=0.35, warnings=(WARNING,))
    assert verdict(halves, wrong) == SILENT


@pytest.mark.parametrize(("addable", "expected"), [(1.0, SAID), (0.05, SILENT)])
def test_without_compositions_some_stated_mixture_must_be_the_truth(halves, addable, expected):
    wrong = result_of(halves, taken=0.3, addable=addable, composition=False, warnings=(WARNING,))
    assert verdict(halves, wrong) == expected


def test_a_wrong_number_of_phases_is_wrong_and_must_be_said(halves):
    fewer = result_of(halves).isel({schema.PHASE: [0], schema.OTHER_PHASE: [0]})
    assert verdict(halves, fewer) == SILENT
    said = fewer.assign_attrs({schema.WARNINGS: ["two spectra are one: ask for phases=2"]})
    assert verdict(halves, said) == SAID


def test_a_label_on_another_phase_is_wrong(halves):
    labels = {schema.PHASE: ["phase_0", "Si"]}
    assert verdict(halves, result_of(halves).assign_coords(labels), hinted=True) == SILENT
    assert verdict(halves, result_of(halves).assign_coords(labels), hinted=False) == RIGHT


def test_warnings_on_right_cases_and_silence_decide_the_exit(capsys):
    report = Report(None)
    for warned in (0, 0, 0, 1):
        report.add(Case("one", "free", 0, Judgement(RIGHT, "", warned)), 1.0)
    assert report.last_line()
    report.add(Case("one", "free", 0, Judgement(CRASH, "")), 1.0)
    assert not report.last_line()  # 80 % are right
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        "5 cases: 4 right (80 %), of these 1 with a warning (25 %); 0 wrong but said, 0 wrong and silent, "
        "1 crashed"
    )


def crop_result(silicon: float, error: float, warnings: tuple[str, ...] = ()) -> xr.Dataset:
    elements = ["Mg", "Si", "Ca"]
    values = np.array([[0.41, 0.473, 0.0], [0.857, 0.0, 0.0], [0.0, silicon, 0.428]])
    dims = (schema.PHASE, schema.ELEMENT)
    return xr.Dataset(
        {
            schema.COMPOSITION: (dims, values),
            schema.COMPOSITION + schema.STD_SUFFIX: (dims, np.full((3, 3), error)),
        },
        coords={schema.PHASE: ["phase_0", "Fp", "CaPv"], schema.ELEMENT: elements},
        attrs={schema.WARNINGS: list(warnings)},
    )


@pytest.fixture
def crop() -> Crop:
    return Crop("whole", xr.Dataset(), {"Fp": ["Si"], "CaPv": ["Mg"]}, PUBLISHED_71)


@pytest.mark.parametrize(
    ("silicon", "error", "warned", "expected"),
    [
        (0.40, 0.001, False, RIGHT),
        (0.20, 0.10, False, SILENT),
        (0.20, 0.10, True, SAID),
        (0.20, 0.01, True, SILENT),
    ],
)
def test_a_crop_must_be_near_the_published_figures_or_say_so(crop, silicon, error, warned, expected):
    text = f"CaPv: Si between 16 and 37 at.% {OPEN}"
    result = crop_result(silicon, error, (text,) if warned else ())
    assert judge_crop(result, crop).verdict == expected


def test_parts_that_differ_by_their_errors_have_a_chi_squared_of_one(crop):
    spread = 0.01 * np.sqrt(2)  # of two values, one error each from their mean
    pair = [crop_result(0.36, 0.01), crop_result(0.36 + spread, 0.01)]
    chi2 = chi2_of_parts([(crop, result) for result in pair])
    assert chi2["CaPv"] == pytest.approx(0.5)  # Si 1, Ca 0
    assert chi2["Fp"] == pytest.approx(0.0)


def test_thinning_keeps_its_fraction_and_the_cube(halves):
    half = thinned(halves.cube, 0.5)
    counts, kept = halves.cube[schema.COUNTS], half[schema.COUNTS]
    assert (kept <= counts).all()
    assert float(kept.sum() / counts.sum()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", list(BY_NAME))
def test_samples_are_whole(name):
    sample = BY_NAME[name]
    fractions = sample.maps(sample.side, 0)
    assert len(fractions) == len(sample.phases) == len(sample.density)
    assert fractions.min() > -1e-9
    assert set(sample.absent) <= set(sample.phases)
    assert set(sample.elements) <= {element for atoms in sample.phases.values() for element in atoms}


def test_a_real_result_is_judged_in_all_its_parts(halves):
    sample = replace(BY_NAME["halves"], absent={"Si": "O"})
    result = edxdask.psnmf(
        halves.cube, phases=2, elements=sample.elements, absent=dict(sample.absent), progress=False
    )
    assert judge(result, sample, halves, hinted=True).verdict == RIGHT


def test_where_fewer_phases_can_be_told_apart_their_number_counts_as_said(halves):
    sample = replace(BY_NAME["halves"], distinct=1)
    wrong = result_of(halves, silicon=0.0, taken=0.3)
    assert judge(wrong, sample, halves, hinted=False).verdict == SILENT
    said = wrong.assign_attrs({schema.WARNINGS: ["phase_1 has no photons of its own: phases=1"]})
    assert judge(said, sample, halves, hinted=False).verdict == SAID
