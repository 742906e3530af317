"""Bases of several maps: each on its own energy axis, an atom the same in all of them."""

import numpy as np
import pytest
from blurred_maps import ELEMENTS, blurred_map

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.factorize.guidance.request import physics_request
from edxdask.physics.conditions import Conditions
from edxdask.unmix.bases import SummedMap, guides_of, moved_counts, moved_photons


def summed(cube):
    counts = cube.counts.sum((schema.Y, schema.X)).values.astype(float)
    return SummedMap(counts, cube[schema.ENERGY].values, Conditions.of(cube.attrs))


def request():
    return physics_request(ELEMENTS, None, None, 3, True)


def test_each_map_gets_its_own_axis_and_all_the_same_strengths():
    moved = {"a": (0.0, 1.0), "b": (0.015, 1.002)}
    maps = {
        name: summed(blurred_map(seed, (48, 48), offset=offset, gain=gain))
        for seed, (name, (offset, gain)) in enumerate(moved.items())
    }
    guides = guides_of(maps, request())
    for name, (offset, gain) in moved.items():
        energy = guides[name].calibration.energy
        true = maps[name].energy * gain + offset
        for line in (1.254, 1.74, 6.404):  # Mg, Si, Fe
            at = np.searchsorted(true, line)
            assert abs(energy[at] - true[at]) < 2e-3  # keV, on a twentieth of the photons of a real map
    first = guides["a"].calibration
    assert all((one.calibration.strength == first.strength).all() for one in guides.values())
    assert all(one.column_elements == guides["a"].column_elements for one in guides.values())


def test_one_map_is_calibrated_as_psnmf_does_it():
    one = summed(blurred_map(3, (32, 32)))
    found = guides_of({"": one}, request())[""]
    alone = request().guide_of(one.counts, one.energy, one.conditions)
    assert (found.calibration.energy == alone.calibration.energy).all()
    assert (found.calibration.correction == alone.calibration.correction).all()


def test_a_map_with_too_few_photons_is_named():
    good = summed(blurred_map(0, (32, 32)))
    empty = SummedMap(np.zeros(970), good.energy, good.conditions)
    with pytest.raises(ParameterError, match="data='dark with 0 photons': expected at least 2000"):
        guides_of({"good": good, "dark": empty}, request())


def test_a_map_that_cannot_be_calibrated_is_named():
    good = summed(blurred_map(0, (32, 32)))
    other = SummedMap(good.counts, good.energy + 3.0, good.conditions)
    with pytest.raises(ParameterError, match=r"elements='O'.* on the axis of map 'moved'"):
        guides_of({"good": good, "moved": other}, request())


def test_whole_photons_move_without_bias_and_stay_whole():
    energy = np.arange(0.3, 5.0, 0.01)
    counts = np.random.default_rng(0).poisson(1000 * np.exp(-energy))
    to = energy * 1.002 + 0.004
    moved = moved_photons(counts, energy, to, seed=1)
    assert moved.dtype.kind == "i"
    expected = moved_counts(counts, energy, to)
    assert np.abs(np.cumsum(moved) - np.cumsum(expected)).max() < 0.02 * counts.sum()
    assert (np.abs(moved - expected) < 6 * np.sqrt(expected + 1)).all()
    assert counts.sum() - moved.sum() == pytest.approx(counts.sum() - expected.sum(), abs=50)
    assert (moved_photons(counts, energy, energy) == counts).all()
