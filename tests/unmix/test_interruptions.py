"""Work over many maps that is interrupted: Ctrl-C leaves nothing behind, a killed worker changes nothing."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from blurred_maps import ABSENT as ABSENT_OF_BLURRED
from blurred_maps import ELEMENTS
from known_maps import ABSENT, collected, simulated

import edxdask
from edxdask.cluster import client_for
from edxdask.errors import EdxdaskError


@pytest.fixture(scope="module")
def maps():
    return collected({name: simulated(i, size=24, counts=600, channels=750) for i, name in enumerate("abc")})


class Stop:
    """Ctrl-C at the first report of a label."""

    def __init__(self, label):
        self.label, self.seen = label, []

    def __call__(self, report):
        self.seen.append(report.label)
        if report.label == self.label:
            raise KeyboardInterrupt


def test_ctrl_c_between_maps_leaves_no_photons_on_disk(maps, tmp_path):
    data, result = maps
    how = {"result": result, "absent": ABSENT, "cache": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        edxdask.judge(data, progress=Stop("reading"), **how)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt):
        edxdask.aided(data, matrix="Brg", masks="threshold", core=1, progress=Stop("masks and sums"), **how)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_aided_unmixing_that_was_interrupted_after_psnmf_goes_on_there(blurred, tmp_path):
    cube, folder = blurred.isel(x=slice(48), y=slice(48)), tmp_path / "kept"
    how = {"matrix": "Brg", "absent": ABSENT_OF_BLURRED, "elements": ELEMENTS, "masks": "threshold"}
    with pytest.raises(KeyboardInterrupt):
        edxdask.aided(cube, checkpoint=folder, progress=Stop("masks and sums"), **how)
    with pytest.raises(EdxdaskError, match="checkpoint is of another run \\(seed: 0 there, 1 here\\)"):
        edxdask.aided(cube, checkpoint=folder, seed=1, progress=False, **how)
    seen = []
    un = edxdask.aided(cube, checkpoint=folder, progress=lambda report: seen.append(report.label), **how)
    assert set(seen) == {"masks and sums", "abundances"}
    assert not folder.exists()
    brg = un.composition.sel(phase="Brg", element="Mg")
    assert float(brg) == pytest.approx(18.5 / 100, abs=0.01)


@pytest.mark.cluster
def test_a_worker_that_is_killed_between_two_maps_changes_nothing(maps):
    data, result = maps
    how = {"result": result, "absent": ABSENT}
    expected = edxdask.judge(data, progress=False, **how)
    with client_for("local", workers=2, memory="1.5GiB") as client:

        def kill(report):
            if report.label == "reading" and report.done == 1:
                os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

        found = edxdask.judge(data, progress=kill, **how)
    np.testing.assert_allclose(found.map_t1, expected.map_t1, rtol=1e-9)
    assert (found.map_belongs == expected.map_belongs).all()
