"""Pan-sharpening NMF on worker processes gives what threads give."""

import numpy as np
import pytest

import edxdask
from edxdask.cluster import client_for


@pytest.mark.cluster
def test_worker_processes_give_what_threads_give(tmp_path):
    cube = edxdask.simulate("mantle", shape=(150, 70), counts=100, seed=3, out=tmp_path / "map.zarr")
    options = {"phases": 3, "bin": 5, "smooth": 1.0, "max_iter": 20, "tol": 0.0}
    threads = edxdask.psnmf(cube, **options)
    with client_for("local", workers=2, memory="1.5GiB"):
        workers = edxdask.psnmf(cube, **options)
        chosen = edxdask.psnmf(cube, phases=3, max_iter=20)
    # single precision: the spectra hold 1e-6 of their largest channel, maps what twenty rounds make of it
    scale = float(threads.spectrum.max())
    np.testing.assert_allclose(workers.spectrum, threads.spectrum, atol=1e-6 * scale)
    np.testing.assert_allclose(workers.abundance, threads.abundance, atol=2e-4)
    assert chosen.attrs["bin"] > 1


@pytest.mark.cluster
def test_worker_processes_leave_out_hot_voxels_and_fill_empty_pixels():
    cube = edxdask.simulate("mantle", shape=(60, 50), counts=3, seed=3).compute()
    counts = cube["counts"].values.copy()
    counts[7, 9, 300] = counts[51, 40, 700] = 2000
    counts[30] = 0
    cube = cube.assign({"counts": (cube["counts"].dims, counts)}).chunk({"y": 20, "x": 50})
    options = {"phases": 2, "bin": 5, "smooth": 1.0, "max_iter": 20, "tol": 0.0}
    threads = edxdask.psnmf(cube, **options)
    with client_for("local", workers=2, memory="1.5GiB"):
        workers = edxdask.psnmf(cube, **options)
        found = edxdask.find_elements(cube, known=["Mg"])
    assert workers.attrs["warnings"] == threads.attrs["warnings"]
    assert "2 voxels were left out" in workers.attrs["warnings"][0]
    assert found.attrs["warnings"] == workers.attrs["warnings"][:1]
    np.testing.assert_allclose(workers.abundance, threads.abundance, atol=2e-4)
    np.testing.assert_allclose(workers.abundance.sum("phase"), 1.0, atol=1e-5)
