"""astra's SIRT and FBP on images from a file, slice by slice on the CPU; run in astra's environment.

PYTHON astra_classical.py IMAGES.npy ANGLES.npy RESULT.npz ITERATIONS

Images are (tilt, row, x), angles in radians; the result has ``sirt`` and ``fbp``, (z, row, x), and their
``sirt_seconds`` and ``fbp_seconds``. FBP takes the angles to be evenly spread over a half turn.
"""

import sys
import time

import astra
import numpy as np


def reconstruct(
    method: str, images: np.ndarray, angles: np.ndarray, iterations: int, options: dict
) -> np.ndarray:
    """Volume (z, row, x) with the method, one slice after the other."""
    _, rows, columns = images.shape
    sinogram_geometry = astra.create_proj_geom("parallel", 1.0, columns, angles)
    slice_geometry = astra.create_vol_geom(columns, columns)
    projector = astra.create_projector("linear", sinogram_geometry, slice_geometry)
    volume = np.empty((columns, rows, columns), np.float32)
    for row in range(rows):
        sinogram = astra.data2d.create("-sino", sinogram_geometry, np.ascontiguousarray(images[:, row]))
        found = astra.data2d.create("-vol", slice_geometry, 0.0)
        config = astra.astra_dict(method)
        config |= {"ProjectorId": projector, "ProjectionDataId": sinogram, "ReconstructionDataId": found}
        config["option"] = options
        algorithm = astra.algorithm.create(config)
        astra.algorithm.run(algorithm, iterations)
        volume[:, row] = astra.data2d.get(found)[::-1]  # astra's y points up
        astra.algorithm.delete(algorithm)
        astra.data2d.delete([sinogram, found])
    return volume


def main(source: str, angles: str, result: str, iterations: str) -> None:
    """Do both."""
    images, tilts = np.load(source).astype(np.float32), np.load(angles)
    found = {}
    for name, options in (("sirt", {"MinConstraint": 0.0}), ("fbp", {"FilterType": "Ram-Lak"})):
        begin = time.process_time()
        found[name] = reconstruct(name.upper(), images, tilts, int(iterations), options)
        found[f"{name}_seconds"] = time.process_time() - begin
    np.savez(result, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
