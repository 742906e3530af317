"""Real tilt series: a quantum dot of a few thousand photons per tilt, a nanorod, a HAADF needle.

One line per figure, and pictures of slices to look at (--pictures FOLDER).

Quantum dot: masks of Se, S and Zn, 1 where at least one photon was detected. A pixel that expects λ photons
is 1 with probability 1 - exp(-λ): EM for that likelihood is EM for photons with ``d / (1 - exp(-λ))`` where
there was ``d / λ``, which is exact; after binning by b, λ is that of one of the b² masks. What each tilt
counts where nothing is, is added to what is expected. Angles are not published: -60° to 60° is assumed.
Beside it the package's own estimator with total variation, which knows neither masks nor backgrounds, and so
names the tilts at -60°, -50° and 60°, half or more of whose photons are background.

What these data do not support: the angles, and so the scale along z; more than where the elements are (Se in
the middle of two dots, S and Zn around it); a composition of any voxel, as a dot has some 100 photons of an
element in a tilt and thousands of voxels. Chi-squared below 1 says the same: voxels follow the noise.

    python benchmarks/tomography_real.py [--data DATA] [--needle FOLDER] [--pictures FOLDER] [--tiny]

DATA, without it the folder tomography beside the real maps, holds quantum_dot.npz and nanorod.npz. FOLDER
holds HAADF.mrc and HAADF_Aligned.hspy of etspy's wheel:
pip download --no-deps etspy==1.3.0, then unzip (etspy/tests/test_data).
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
from real_crops import data_folder
from scipy.ndimage import gaussian_filter
from verdict import Verdict

from edxdask.tomo.alignment import AlignedTilts, align_images
from edxdask.tomo.estimate import VolumeSettings, reconstruct_slab
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.projector import Projector
from edxdask.tomo.quality import TiltMisfit, reasons

BIN, COLUMNS, BORDER = (
    2,
    72,
    30,
)  # of the quantum dot, binned pixels; columns at the border that nothing is in
PASSES, DOT_PASSES = 25, 10
STRENGTH = 0.5  # of total variation, chosen by eye: masks cannot be split
BLOCK = 4  # binned pixels along each side of a block that chi-squared is taken of


def gauge_free(geometry: TiltGeometry, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is left of differences of moves when the volume may move as a whole."""
    angle = np.deg2rad(geometry.tilt_deg)
    free = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    ones = np.ones((len(y), 1))
    left = [d - basis @ np.linalg.lstsq(basis, d, rcond=None)[0] for d, basis in ((y, ones), (x, free))]
    return left[0], left[1]


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def binned(images: np.ndarray, factor: int) -> np.ndarray:
    tilts, rows, columns, *rest = images.shape
    shape = (tilts, rows // factor, factor, columns // factor, factor, *rest)
    return images.reshape(shape).sum(axis=(2, 4), dtype=np.float32)


# ---- quantum dot


def published(data, sign: float) -> tuple[np.ndarray, np.ndarray]:
    """The authors' moves: they turn each image by its angle, then shift it onto the others.

    A point at s from the middle is then at R s + shift; it is in one place where s = -Rᵀ shift.
    """
    angle = np.deg2rad(sign * data["rotation_deg"].astype(float))
    y, x = (data[name].astype(float) for name in ("shift_y", "shift_x"))
    return -(y * np.cos(angle) - x * np.sin(angle)), -(y * np.sin(angle) + x * np.cos(angle))


def check_published(verdict: Verdict, data, found: AlignedTilts, factor: int) -> None:
    """Compare moves; the sense of the authors' angles is not said, so both are tried, and none."""
    y, x = factor * found.geometry.shift_y, factor * found.geometry.shift_x
    best = np.inf
    for name, sign in (("angles ignored", 0.0), ("angles one way", 1.0), ("angles the other way", -1.0)):
        there = published(data, sign)
        left = gauge_free(found.geometry, y - there[0], x - there[1])
        spread = gauge_free(found.geometry, *there)
        print(
            f"  published moves, {name}: they move by {rms(spread[0]):.1f}, {rms(spread[1]):.1f} px rms "
            f"along y, x; they differ from ours by {rms(left[0]):.1f}, {rms(left[1]):.1f} px"
        )
        best = min(best, max(rms(left[0]), rms(left[1])))
    verdict.at_most("largest rms difference from the published moves, px of 256", best, 4.0)


def masks_to_volume(
    masks: np.ndarray, projector: Projector, background: np.ndarray, passes: int
) -> tuple[np.ndarray, np.ndarray]:
    """EM for masks summed over ``BIN²`` pixels: volume (z, x, element, y), and λ of a binned pixel."""
    exposure = projector.geometry.exposure.astype(np.float32)[:, None, None, None]
    seen = projector.back(np.broadcast_to(exposure, masks.shape).astype(np.float32))
    floor = background[:, None, :, None].astype(np.float32)
    volume = np.full(seen.shape, float(masks.mean()) / seen.shape[0], np.float32)
    known = seen > 1e-3 * seen.max()
    for _ in range(passes):
        expected = np.maximum(exposure * projector.forward(volume) + floor, 1e-6)
        each = expected / BIN**2
        ratio = masks / BIN**2 / -np.expm1(-each)  # photons over expected ones, given that one was seen
        volume *= np.where(known, projector.back(ratio * exposure) / np.where(known, seen, 1), 0)
    return volume, np.maximum(exposure * projector.forward(volume) + floor, 1e-6)


def chi_squared(masks: np.ndarray, expected: np.ndarray) -> TiltMisfit:
    """Of each tilt over blocks of pixels and elements, with the variance of masks."""
    seen = -np.expm1(-expected / BIN**2)
    mean, variance = BIN**2 * seen, BIN**2 * seen * (1 - seen)
    sums = []
    for array in (masks, mean, variance):
        tilts, columns, elements, rows = array.shape
        c, r = columns // BLOCK * BLOCK, rows // BLOCK * BLOCK
        cut = array[:, :c, :, :r].reshape(tilts, c // BLOCK, BLOCK, elements, r // BLOCK, BLOCK)
        sums.append(cut.sum(axis=(2, 5)))
    enough = sums[2] > 0.25
    left = np.where(enough, (sums[0] - sums[1]) ** 2 / np.where(enough, sums[2], 1), 0)
    return TiltMisfit(left.sum(axis=(1, 2, 3)), enough.sum(axis=(1, 2, 3)))


def say_misfit(name: str, misfit: TiltMisfit, tilts: np.ndarray) -> list[str]:
    values = " ".join(f"{tilt:+.0f}°:{value:.2f}" for tilt, value in zip(tilts, misfit.reduced, strict=True))
    print(f"  {name}, chi-squared of each tilt: {values}")
    said = reasons(misfit)
    bad = [f"{tilt:+.0f}° ({text})" for tilt, text in zip(tilts, said, strict=True) if text]
    print(f"  {name}, tilts that do not fit: {', '.join(bad) or 'none'}")
    return bad


def quantum_dot(verdict: Verdict, folder: Path, pictures: Path | None, tiny: bool) -> None:
    data = np.load(folder / "quantum_dot.npz")
    detected, elements = data["detected"], data["element"].tolist()
    tilts = (np.arange(len(detected)) - len(detected) // 2) * float(data["angle_step_deg"])
    print(f"quantum dot: {detected.sum()} pixels with photons in {len(tilts)} tilts, {', '.join(elements)}")
    small = binned(detected, BIN)
    sides = np.concatenate([small[:, :, :BORDER], small[:, :, -BORDER:]], axis=2)
    background = sides.mean(axis=(1, 2))  # of a binned pixel, (tilt, element)
    part = background.sum(axis=1) * small.shape[1] * small.shape[2] / small.sum(axis=(1, 2, 3))
    print(f"  part of the photons of a tilt that is background: {[round(float(one), 2) for one in part]}")
    occupied = max(
        float(gaussian_filter(d[..., e].astype(float), 4).max()) for d in detected for e in range(3)
    )
    lost = 1 - occupied / -np.log1p(-occupied)
    print(
        f"  most pixels with photons, over 4 px: {occupied:.2f}, where masks lose {lost:.0%} of the photons"
    )
    found = align_images(small.sum(axis=3), tilts)
    for note in found.notes:
        print(f"  alignment: {note}")
    errors = BIN * max(found.shift_y_std.max(), found.shift_x_std.max())
    axis = f"{found.geometry.rotation_deg[0]:.1f}° ± {found.rotation_std:.1f}°"
    print(f"  moves to {errors:.1f} px or better, axis at {axis}; {found.method}")
    check_published(verdict, data, found, BIN)

    first = (small.shape[2] - COLUMNS) // 2
    inside = small[:, :, first : first + COLUMNS]
    clean = inside.sum(axis=(1, 2, 3)) - background.sum(axis=1) * inside.shape[1] * inside.shape[2]
    geometry = replace(found.geometry, exposure=clean / clean.mean())
    print(f"  exposures, photons without background: {[round(float(one), 2) for one in geometry.exposure]}")
    projector = Projector(
        geometry,
        shape=(COLUMNS, COLUMNS),
        columns=COLUMNS,
        volume_rows=small.shape[1] + 16,
        image_rows=small.shape[1],
        detector_rows=(0, small.shape[1]),
    )
    masks = np.ascontiguousarray(inside.transpose(0, 2, 3, 1))
    volume, expected = masks_to_volume(masks, projector, background, 3 if tiny else DOT_PASSES)
    misfit = chi_squared(masks, expected)
    say_misfit("masks and background", misfit, tilts)
    verdict.at_most("masks and background, median chi-squared", float(np.median(misfit.reduced)), 1.3)
    settings = VolumeSettings(cap=False, strength=STRENGTH, max_iter=3 if tiny else 60)
    smooth = [gaussian_filter(volume[:, :, e].transpose(2, 0, 1), 1.5) for e in range(3)]
    full = np.eye(3) * max(float(one[BORDER:-BORDER].max()) for one in smooth)
    counts = np.ascontiguousarray(inside).astype(np.uint8)
    slab = reconstruct_slab(counts, projector, full, settings)
    say_misfit("total variation, no background", slab.misfit, tilts)
    dots_of(smooth, elements)
    if pictures is not None:
        denoised = [slab.volume[e].transpose(1, 0, 2) for e in range(3)]
        draw(pictures / "quantum_dot_masks.png", smooth, elements)
        draw(pictures / "quantum_dot_tv.png", denoised, elements)


def dots_of(volumes: list[np.ndarray], elements: list[str]) -> None:
    """Say where the elements are in each dot: radius of gyration, and how even they are."""
    together = sum(volumes)
    for name, volume in zip(elements, volumes, strict=True):
        along = volume.sum(axis=(1, 2))
        print(
            f"  {name}: photons {volume.sum():.0f}, half of them in {half_rows(along)} of {along.size} rows"
        )
    kept = together > 0.3 * together.max()
    for name, volume in zip(elements, volumes, strict=True):
        values = volume[kept]
        print(f"  {name} in the dots: scatter over mean {values.std() / values.mean():.2f}")


def half_rows(along: np.ndarray) -> int:
    return int(np.searchsorted(np.cumsum(np.sort(along)[::-1]), 0.5 * along.sum()) + 1)


# ---- nanorod


def plain_em(images: np.ndarray, projector: Projector, passes: int) -> np.ndarray:
    """Volume (y, z, x) of one kind of image (tilt, y, x)."""
    values = np.ascontiguousarray(images.transpose(0, 2, 1)[:, :, None, :], dtype=np.float32)
    seen = projector.back(np.ones_like(values))
    volume = np.ones(seen.shape, np.float32)
    for _ in range(passes):
        expected = projector.forward(volume)
        ratio = projector.back(values / np.maximum(expected, 1e-4 * values.max()))
        volume *= ratio / np.maximum(seen, 1e-6)
    return volume[:, :, 0].transpose(2, 0, 1)


def likeness(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Correlation of two volumes (y, z, x) at the best turn by half or quarter circles, and the best move."""
    best = -1.0
    for turned, flip in itertools.product(range(4), (False, True)):
        moved = np.rot90(ours[::-1] if flip else ours, turned, axes=(1, 2))
        product = np.fft.irfftn(np.fft.rfftn(theirs) * np.conj(np.fft.rfftn(moved)), theirs.shape, (0, 1, 2))
        at = np.unravel_index(product.argmax(), product.shape)
        best = max(best, float(np.corrcoef(np.roll(moved, at, (0, 1, 2)).ravel(), theirs.ravel())[0, 1]))
    return best


def nanorod(verdict: Verdict, folder: Path, pictures: Path | None, tiny: bool) -> None:
    data = np.load(folder / "nanorod.npz")
    images = binned(data["projections"], 2)
    tilts = (np.arange(len(images)) - len(images) // 2) * float(data["angle_step_deg"])
    print("nanorod: photons that its authors prepared, beside its HAADF volume")
    found = align_images(images, tilts)
    for note in found.notes:
        print(f"  alignment: {note}")
    y, x = gauge_free(found.geometry, found.geometry.shift_y, found.geometry.shift_x)
    print(f"  moves that their preparation left: {2 * rms(y):.2f}, {2 * rms(x):.2f} px rms of 256 along y, x")
    theirs = [
        data[name].astype(np.float32).transpose(2, 0, 1) for name in ("haadf_volume", "published_volume")
    ]
    projector = Projector(found.geometry, shape=(128, 128), columns=128, volume_rows=128)
    volume = gaussian_filter(plain_em(images, projector, 2 if tiny else PASSES), 1.0)
    ours, published_one = likeness(volume, theirs[0]), likeness(theirs[1], theirs[0])
    print(f"  correlation of the authors' volume with the HAADF volume: {published_one:.3f}")
    verdict.at_least("correlation of our volume with the HAADF volume", ours, 0.9)
    if pictures is not None:
        draw(pictures / "nanorod.png", [volume, *theirs], ["ours", "HAADF", "published"])


# ---- HAADF needle


def read_mrc(path: Path) -> np.ndarray:
    """Images of an FEI stack of 16 bits."""
    raw = path.read_bytes()
    columns, rows, tilts, kind = np.frombuffer(raw[:16], "<i4")
    if kind != 1:
        raise SystemExit(f"{path}: numbers of kind {kind}, expected 16 bits")
    first = 1024 + int(np.frombuffer(raw[92:96], "<i4")[0])
    count = tilts * rows * columns
    return (
        np.frombuffer(raw[first : first + 2 * count], "<i2").reshape(tilts, rows, columns).astype(np.float32)
    )


def needle(verdict: Verdict, folder: Path, tiny: bool) -> None:
    import h5py

    raw = read_mrc(folder / "HAADF.mrc").transpose(0, 2, 1)  # its axis is along x
    with h5py.File(folder / "HAADF_Aligned.hspy") as file:
        one = next(iter(file["Experiments"].values()))
        aligned, moves = one["data"][()].transpose(0, 2, 1), one["metadata/Tomography/_sig_shifts/data"][()]
        theirs = dict(one["metadata/Tomography"].attrs)
    tilts = -76.0 + 2.0 * np.arange(len(raw))
    step = 4 if tiny else 1
    raw, aligned, moves, tilts = raw[::step], aligned[::step], moves[::step], tilts[::step]
    print(f"HAADF needle of etspy: {len(raw)} tilts of {raw.shape[1:]}")
    found = align_images(raw, tilts)
    for note in found.notes:
        print(f"  alignment: {note}")
    angle = found.geometry.rotation_deg[0]
    print(f"  axis at {angle:.2f}° ± {found.rotation_std:.2f}°; etspy has {float(theirs['tiltaxis']):.2f}°")
    verdict.at_most("angle from etspy's, degrees", abs(abs(angle) - abs(float(theirs["tiltaxis"]))), 0.5)
    along, across = -moves[:, 1], -moves[:, 0]
    left = gauge_free(found.geometry, found.geometry.shift_y - along, found.geometry.shift_x - across)
    size = gauge_free(found.geometry, along, across)
    print(f"  their moves: {rms(size[0]):.2f}, {rms(size[1]):.2f} px rms along, across the axis")
    verdict.at_most("our moves of the raw images from theirs, along the axis, px rms", rms(left[0]), 1.0)
    verdict.at_most("our moves of the raw images from theirs, across the axis, px rms", rms(left[1]), 1.0)
    again = align_images(aligned, tilts)
    rest = gauge_free(again.geometry, again.geometry.shift_y, again.geometry.shift_x)
    print(
        f"  what we find left in their aligned images: {rms(rest[0]):.2f}, {rms(rest[1]):.2f} px rms, "
        f"axis at {again.geometry.rotation_deg[0]:.2f}°"
    )
    verdict.at_most("moves left in etspy's aligned images, px rms", max(map(rms, rest)), 0.5)


def draw(path: Path, volumes: list[np.ndarray], names: list[str]) -> None:
    """Slices through the brightest point inside, and sums along z and x, of volumes (y, z, x)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 3.2 * len(volumes)))
    axes = figure.subplots(len(volumes), 5, squeeze=False)
    inside = sum(gaussian_filter(one / one.max(), 2) for one in volumes)
    for axis in range(3):
        edges = [i for i in range(inside.shape[axis]) if not 0.2 < i / inside.shape[axis] < 0.8]
        inside[(slice(None),) * axis + (edges,)] = 0
    y, z, x = (int(i) for i in np.unravel_index(inside.argmax(), inside.shape))
    for row, volume, name in zip(axes, volumes, names, strict=True):
        shown = (volume[y], volume[:, z], volume[:, :, x], volume.sum(axis=1), volume.sum(axis=2))
        titles = (f"{name}: z, x at row {y}", f"y, x at z {z}", f"y, z at x {x}", "sum over z", "sum over x")
        for ax, image, title in zip(row, shown, titles, strict=True):
            ax.imshow(image, cmap="magma", vmin=0)
            ax.set_title(title, fontsize=8)
            ax.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70)
    print(f"  picture: {path}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder() / "tomography")
    parser.add_argument("--needle", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    if not (given.data / "quantum_dot.npz").is_file():
        print(f"nothing done: there is no quantum_dot.npz in {given.data}; name its folder with --data")
        return 0
    verdict = Verdict(limits=not given.tiny)
    quantum_dot(verdict, given.data, given.pictures, given.tiny)
    nanorod(verdict, given.data, given.pictures, given.tiny)
    if given.needle is not None:
        needle(verdict, given.needle, given.tiny)
    return verdict.exit_code()


if __name__ == "__main__":
    raise SystemExit(main())
