"""Placement of 2 × 4 maps beside plain phase correlation, and the memory and size of a large canvas.

One line per figure: root mean square and worst error of positions on HAADF images, on abundances at 160 and
at 40 counts per pixel, ours and that of a peer (whole-pixel phase correlation of the overlaps, unweighted
least squares); then the peak memory of writing a canvas of 4 × 4 maps, which is one stored map sixteen times.

    python benchmarks/mosaic.py [--side 256] [--seeds 3] [--canvas 1024] [--channels 4096] [--tiny]

The exit code is 1 where HAADF errs by more than 0.1 px, 40 counts per pixel by more than 0.2 px, or the
canvas takes 2 GiB; --tiny checks only that everything runs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from measure import measure

FINE = 4  # cells along each side of a pixel
CASES = {"HAADF": None, "abundance, 160 counts/px": 160.0, "abundance, 40 counts/px": 40.0}
MOST = {"HAADF": 0.1, "abundance, 40 counts/px": 0.2}
MOST_BYTES = 2 * 2**30


def landscape(side: int, seed: int):
    """Abundances on cells of a quarter pixel, and spectra of three phases in 300 channels."""
    import edxdask

    shape = (FINE * (2 * side + 12), FINE * (4 * side + 12))
    drawn = edxdask.simulate(shape=shape, grain=FINE * side / 14, channels=300, energy_scale=0.03, seed=seed)
    return drawn.truth_abundance.values, drawn.truth_spectrum.values


def tiles(cells, spectra, side: int, overlap: int, counts: float | None, seed: int):
    """Maps that are off by up to 3 px, with HAADF images or photons, and where they are."""
    import numpy as np
    import xarray as xr

    import edxdask

    rng = np.random.default_rng(seed)
    maps, truth = {}, []
    for number, place in enumerate(np.ndindex(2, 4)):
        corner = FINE * (np.array(place) * (side - overlap) + 3) + rng.integers(-3 * FINE, 3 * FINE + 1, 2)
        y, x = corner
        cut = cells[:, y : y + FINE * side, x : x + FINE * side]
        abundance = cut.reshape(-1, side, FINE, side, FINE).mean(axis=(2, 4))
        expected = np.einsum("pyx,pe->yxe", abundance, spectra) * (counts or 0)
        photons = rng.poisson(expected if counts else np.ones((side, side, 2))).astype(np.uint16)
        ds = edxdask.from_array(photons, energy_offset=0.0, energy_scale=0.03, pixel_size=1.0)
        haadf = np.tensordot([0.4, 1.0, 2.2], abundance, axes=1)
        noise = 0.2 * haadf.std() * rng.normal(size=haadf.shape)
        maps[f"t{number}"] = ds.assign(haadf=(("y", "x"), (haadf + noise).astype(np.float32)))
        truth.append(corner / FINE)
    return xr.DataTree.from_dict(maps), np.array(truth)


def errors(positions, truth):
    """Root mean square over maps and axes, and the worst."""
    import numpy as np

    off = positions - truth
    off -= off.mean(axis=0)
    return float(np.sqrt(np.mean(off**2))), float(np.abs(off).max())


def peer(images, made, overlap: int):
    """Positions by phase correlation of the overlaps that the grid predicts, and plain least squares."""
    import numpy as np

    start = made.tile_start.values
    names = [str(name) for name in made.tile.values]
    rows, wanted = [], []
    for one, other in zip(made.pair_first.values, made.pair_second.values, strict=True):
        i, j = names.index(str(one)), names.index(str(other))
        near = np.rint(start[j] - start[i]).astype(int)
        a, b = images[i], images[j]
        low, high = np.maximum(near, 0), np.minimum(near + a.shape, a.shape)
        if np.any(high - low < overlap // 2):
            continue
        first = a[low[0] : high[0], low[1] : high[1]]
        second = b[low[0] - near[0] : high[0] - near[0], low[1] - near[1] : high[1] - near[1]]
        waves = np.fft.rfft2(first - first.mean()) * np.conj(np.fft.rfft2(second - second.mean()))
        peak = np.fft.irfft2(waves / np.maximum(np.abs(waves), 1e-12), first.shape)
        shift = np.array(np.unravel_index(np.argmax(peak), peak.shape))
        shift = np.where(shift > np.array(first.shape) // 2, shift - first.shape, shift)
        row = np.zeros(len(names))
        row[[i, j]] = -1, 1
        rows.append(row)
        wanted.append(near + shift)
    return np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0]


def place(side: int, seeds: int, *, limits: bool) -> bool:
    """Print one line per kind of image."""
    import numpy as np

    import edxdask

    overlap, kept = side // 10, True
    for case, counts in CASES.items():
        ours, theirs, seconds = [], [], 0.0
        for seed in range(seeds):
            cells, spectra = landscape(side, seed)
            maps, truth = tiles(cells, spectra, side, overlap, counts, seed)
            data, image = (maps, "haadf") if counts is None else (_phases(maps), "abundance")
            begin = time.process_time()
            made = edxdask.mosaic(data, image=image, grid="2x4", overlap=overlap / side)
            seconds += time.process_time() - begin
            ours.append(errors(made.tile_position.values, truth))
            nodes = list(data.children.values())
            images = [n.haadf.values if counts is None else n.abundance.values[0] for n in nodes]
            theirs.append(errors(peer(images, made, overlap), truth))
        rms, worst = np.sqrt(np.mean([r**2 for r, _ in ours])), max(w for _, w in ours)
        good = not limits or rms <= MOST.get(case, np.inf)
        kept &= good
        peers = np.sqrt(np.mean([r**2 for r, _ in theirs]))
        print(
            f"{case:>26}: {rms:.3f} px rms, worst {worst:.2f} px; phase correlation "
            f"{peers:.2f} px rms, worst {max(w for _, w in theirs):.1f} px; "
            f"{seconds / seeds:.1f} s of processor time" + ("" if good else "  <- limit missed"),
            flush=True,
        )
    return kept


def _phases(maps):
    import edxdask

    return edxdask.nmf(maps, phases=3, max_iter=60)


def write_canvas(folder: str, side: int, channels: int) -> None:
    """Write a canvas of one stored map sixteen times; runs in a separate process."""
    import xarray as xr

    import edxdask

    tile = edxdask.open(f"{folder}/tile.zarr")
    maps = xr.DataTree.from_dict({f"t{i}": tile[["counts"]] for i in range(16)})
    made = edxdask.mosaic(maps, image=None, grid="4x4", overlap=0.1)
    begin = time.process_time()
    saved = edxdask.save(made, f"{folder}/mosaic.zarr", overwrite=True)
    info = edxdask.io.store_info(f"{folder}/mosaic.zarr")
    print(saved.counts.shape, info.photons, 16 * edxdask.io.store_info(f"{folder}/tile.zarr").photons)
    print(time.process_time() - begin)


def canvas(side: int, channels: int, *, limits: bool) -> bool:
    """Print the peak memory of writing a canvas."""
    import edxdask

    with tempfile.TemporaryDirectory() as folder:
        edxdask.simulate(
            shape=(side, side),
            counts=40,
            channels=channels,
            energy_scale=0.005,
            out=Path(folder) / "tile.zarr",
        )
        done = measure(
            [sys.executable, __file__, "--task", folder, "--canvas", str(side), "--channels", str(channels)]
        )
    first, seconds = done.output.splitlines()[-2:]
    shape, photons, expected = first.rsplit(" ", 2)
    good = photons == expected and (not limits or done.peak_bytes < MOST_BYTES)
    print(
        f"canvas of 16 maps of {side}² × {channels}: {shape}, {photons} photons of {expected}; peak "
        f"{done.peak_bytes / 2**30:.2f} GiB, {float(seconds):.0f} s of processor time"
        + ("" if good else "  <- limit missed")
    )
    return good


def main() -> int:
    """Parse and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=256, help="pixels along each side of a map to place")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--canvas", type=int, default=1024, help="pixels along each side of a map of the canvas"
    )
    parser.add_argument("--channels", type=int, default=4096)
    parser.add_argument("--only", choices=["placement", "canvas"])
    parser.add_argument("--tiny", action="store_true", help="small maps, once, no limits")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        write_canvas(args.task, args.canvas, args.channels)
        return 0
    if args.tiny:
        args.side, args.seeds, args.canvas, args.channels = 96, 1, 96, 300
    kept = True
    if args.only != "canvas":
        kept &= place(args.side, args.seeds, limits=not args.tiny)
    if args.only != "placement":
        kept &= canvas(args.canvas, args.channels, limits=not args.tiny)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
