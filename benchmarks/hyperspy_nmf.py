"""HyperSpy's own NMF on counts from a file; run by ``accuracy.py`` in HyperSpy's environment.

PYTHON hyperspy_nmf.py COUNTS.npy RESULT.npz PHASES
"""

import sys
import time

import hyperspy.api as hs
import numpy as np


def main(counts: str, result: str, phases: str) -> None:
    """Decompose as HyperSpy's guide does for EDX: scaled for Poisson noise, then NMF."""
    signal = hs.signals.Signal1D(np.load(counts).astype(np.float32))
    begin = time.process_time()
    signal.decomposition(True, algorithm="NMF", output_dimension=int(phases), print_info=False)
    seconds = time.process_time() - begin
    spectra = signal.get_decomposition_factors().data
    maps = signal.get_decomposition_loadings().data
    np.savez(result, spectra=spectra, maps=maps, seconds=seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
