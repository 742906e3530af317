"""PCA, known spectra and errors on worker processes: the same numbers as on threads."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from edxdask import schema
from edxdask.cluster import client_for
from edxdask.factorize.fcls import fcls
from edxdask.factorize.pca import pca
from edxdask.factorize.uncertainty import with_uncertainty

CHANNELS = 60


def make_cube():
    rng = np.random.default_rng(0)
    spectra = rng.dirichlet(np.full(CHANNELS, 0.4), size=3)
    amounts = 50 * rng.dirichlet(np.full(3, 0.4), size=(24, 20))
    counts = rng.poisson(amounts @ spectra).astype(np.uint16)
    cube = xr.Dataset(
        {schema.COUNTS: (("y", "x", schema.ENERGY), counts)},
        coords={schema.ENERGY: schema.energy_coordinate(0.1, 0.01, CHANNELS)},
    )
    return cube.chunk({"y": 5, "x": 20}), spectra


@pytest.mark.cluster
def test_two_processes_give_the_answers_of_threads():
    cube, spectra = make_cube()

    def everything():
        known = fcls(cube, spectra, loss="kl")
        return {
            "gram": pca(cube, moments="gram"),
            "passes": pca(cube, moments="passes"),
            "errors": with_uncertainty(cube, known, abundance=True),
            "squares": fcls(cube, spectra),
        }

    threads = everything()
    with client_for("local", workers=2):
        processes = everything()
    for name, result in threads.items():
        xr.testing.assert_allclose(processes[name].drop_attrs(), result.drop_attrs(), rtol=1e-6)


def test_photons_in_a_cache_on_disk_give_the_same_answers(tmp_path):
    cube, spectra = make_cube()
    memory = fcls(cube, spectra, loss="kl")
    plain = pca(cube, moments="passes")
    from edxdask.budget import MemoryPlan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryPlan, "cached", property(lambda self: True))
        xr.testing.assert_allclose(fcls(cube, spectra, loss="kl", cache=tmp_path), memory)
        xr.testing.assert_allclose(pca(cube, moments="passes", cache=tmp_path), plain)
    assert list(tmp_path.iterdir()) == []
