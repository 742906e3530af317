"""A second start from the commonest composition, and the choice among solutions that are equally good."""

from __future__ import annotations

import numpy as np

from edxdask.factorize.iteration.phases import Phases
from edxdask.factorize.iteration.simplest import is_simpler, purity_of, simplest
from edxdask.factorize.pansharpening.matrix_start import from_matrix
from edxdask.factorize.spectra.free import FreeSpectra

CHANNELS = 120


def angle(a, b):
    return float(np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))))


def map_of(seed=0, bins=400, photons=2e4):
    """Three spectra in blocks of channels: the matrix has two lines, each other phase lacks one of them."""
    lines = np.zeros((4, CHANNELS))
    for row in range(4):
        lines[row, 30 * row : 30 * row + 20] = 1 / 20
    pure = np.array([[0.5, 0.5, 0.0, 0.0], [0.9, 0.0, 0.1, 0.0], [0.0, 0.45, 0.0, 0.55]])
    draw = np.random.default_rng(seed)
    fractions = np.zeros((bins, 3))
    fractions[:, 1] = np.where(np.arange(bins) % 4 == 1, draw.uniform(0.2, 0.7, bins), 0)
    fractions[:, 2] = np.where(np.arange(bins) % 9 == 2, draw.uniform(0.2, 0.6, bins), 0)
    fractions[:, 0] = 1 - fractions.sum(axis=1)
    return pure @ lines, fractions * photons


def test_the_matrix_is_the_commonest_composition_and_the_others_lie_outwards():
    true, abundance = map_of()
    # a wrong solution: the matrix is split among all three
    turn = np.array([[0.55, 0.40, 0.05], [0.9, 0.0, 0.1], [0.0, 0.5, 0.5]])
    wrong = np.linalg.inv(turn) @ true
    split = np.maximum(abundance @ turn, 0)
    start = from_matrix(Phases(wrong, split, np.array([1.0])), FreeSpectra())
    assert start is not None
    best = [min(angle(row, spectrum) for row in start.spectra) for spectrum in true]
    assert best[0] < 1.0
    # a phase that never occurs pure stays a mixture with the matrix where nothing of it is gone
    assert sorted(best)[1] < 1.0
    assert min(angle(wrong[0], spectrum) for spectrum in true) > 5.0
    assert purity_of(start.abundance) > purity_of(split) + 0.1


def test_one_phase_and_bins_without_photons_have_no_such_start():
    true, abundance = map_of()
    model = FreeSpectra()
    assert from_matrix(Phases(true[:1], abundance[:, :1], np.array([1.0])), model) is None
    assert from_matrix(Phases(true, np.zeros_like(abundance), np.array([1.0])), model) is None


def test_a_purer_solution_is_taken_only_within_the_misfit():
    assert simplest(np.array([0.0, -5e-4, -2e-3]), np.array([0.6, 0.8, 0.95])) == 1
    assert simplest(np.array([0.0, -5e-4, -2e-3]), np.array([0.6, 0.64, 0.95])) == 0
    assert is_simpler((0.0, 2e-3), (0.9, 0.5))
    assert is_simpler((0.0, 2e-4), (0.7, 0.73))
    assert not is_simpler((0.0, 2e-5), (0.7, 0.73))
    assert not is_simpler((0.0, -2e-3), (0.6, 0.9))
