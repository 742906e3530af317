"""A plain factorization loads nothing of the guided ones, and of physics no more than the detector."""

import subprocess
import sys

PROGRAM = """
import sys
import numpy as np
import edxdask
counts = np.random.default_rng(0).poisson(0.5, (24, 24, 30)).astype(np.uint16)
edxdask.nmf(edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.01), phases=2, max_iter=3)
guided = ("edxdask.factorize.guidance", "edxdask.factorize.pansharpening", "edxdask.factorize.priors")
guided += ("edxdask.factorize.spectra.elemental",)
guided += tuple(f"edxdask.physics.{name}" for name in ("basis", "calibration", "emission", "find", "library"))
found = [m for m in sys.modules if m.startswith(guided)]
print(sorted(found))
"""


def test_nmf_without_elements_loads_no_guided_fit():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
