"""One run of nmf as a program of its own, to be killed: python long_run.py folder scheduler max_iter.

Reads ``folder/cube.zarr``, checkpoints to ``folder/checkpoint``, appends a line "iteration resumed" per
iteration to ``folder/log`` and saves ``folder/result.npz``.
"""

import sys
import time
from pathlib import Path

import numpy as np

import edxdask
from edxdask.cluster import client_for
from edxdask.factorize.nmf import nmf
from edxdask.progress import Progress

SECONDS = 0.004  # per iteration, so that a run lasts long enough to be killed in it


def main(folder: Path, scheduler: str, max_iter: int) -> None:
    with (folder / "log").open("a") as log:

        def note(progress: Progress) -> None:
            log.write(f"{progress.done:.0f} {progress.resumed:.0f}\n")
            log.flush()
            time.sleep(SECONDS)

        with client_for(scheduler, workers=2):
            result = nmf(
                edxdask.open(folder / "cube.zarr"),
                phases=3,
                max_iter=max_iter,
                tol=0,
                workers=2,
                checkpoint=folder / "checkpoint",
                progress=note,
            )
    np.savez(folder / "result.npz", spectrum=result.spectrum, objective=result.objective, total=result.total)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
