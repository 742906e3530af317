"""One map as the viewer knows it: its cube, its result, their axes, and pictures of all that can be shown.

All browsers that look at a map share its scene; nothing in it depends on what one of them shows.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.io.export.target import Axis, axis_of
from edxdask.io.grid import ChunkGrid
from edxdask.io.lazy import StoredCounts, stamp
from edxdask.io.store import manifest_of, store_of
from edxdask.ops.maps import weighted_windows
from edxdask.physics.lines import element_symbols, lines_of
from edxdask.results.check import labels_of
from edxdask.results.kinds import Kind, kind_of
from edxdask.view.kept_folder import fingerprint_of, kept_folder
from edxdask.view.layers import LayerKind, ShownLayer, SteppedImage, main_lines, windows_of
from edxdask.view.photons_by_energy import PhotonsByEnergy
from edxdask.view.regions import MarkedRegion, parts_of
from edxdask.view.viewport import ChunkPlane, Viewport, whole

_FROM_END = 0.05  # keV, of a line from the end of the axis
_PICTURES = 24  # that are kept, of 4 MB at most


@dataclass(eq=False)
class Scene:
    """A map to look at.

    Attributes
    ----------
    name : what it is called on the page
    cube : counts, None where there is only a result
    result : of a factorization of this map, None where there is none
    opening : Python lines that give ``ds`` and ``result``
    plane : number of the image of a series
    shares : another image of the series, whose photons are those of the whole cube
    """

    name: str
    cube: xr.Dataset | None
    result: xr.Dataset | None
    opening: tuple[str, ...] = ()
    plane: int = 0
    shares: Scene | None = None
    _pictures: OrderedDict[tuple[str, Viewport, int], np.ndarray] = field(default_factory=OrderedDict)
    _images: dict[str, SteppedImage] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _making: threading.Lock = field(default_factory=threading.Lock)
    _photons: PhotonsByEnergy | None = None

    @property
    def data(self) -> xr.Dataset:
        """The cube, or the result where there is no cube."""
        found = self.cube if self.cube is not None else self.result
        assert found is not None
        return found

    @cached_property
    def axes(self) -> tuple[Axis, Axis]:
        """Axes y and x."""
        return axis_of(self.data, schema.Y), axis_of(self.data, schema.X)

    @cached_property
    def positions(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions of pixels along y and x, in equal steps; counted in pixels where a step differs."""
        y, x = (a.values if a.scale else np.arange(a.values.size, dtype=float) for a in self.axes)
        return y, x

    @cached_property
    def steps(self) -> tuple[float, float]:
        """Size of a pixel along y and x."""
        return abs(self.axes[0].scale or 1.0), abs(self.axes[1].scale or 1.0)

    @property
    def unit(self) -> str:
        """Unit of the axes."""
        return self.axes[0].unit if all(axis.scale for axis in self.axes) else schema.PIXEL_UNIT

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.data.sizes[schema.Y], self.data.sizes[schema.X]

    @cached_property
    def energy(self) -> np.ndarray:
        """Energies of the channels, keV."""
        return np.asarray(self.data[schema.ENERGY].values, dtype=float)

    @cached_property
    def elements(self) -> list[str]:
        """Elements that the data name, those with a line on the energy axis."""
        named = self.data.attrs.get(schema.ELEMENTS, [])
        names = [str(name) for name in ([named] if isinstance(named, str) else named)]
        low, high = float(self.energy[0]) + _FROM_END, float(self.energy[-1]) - _FROM_END
        return [name for name in names if name in element_symbols() and lines_of(name, low, high)]

    @cached_property
    def phases(self) -> list[str]:
        """Labels of the phases, none without a result."""
        return [] if self.result is None else labels_of(self.result)

    @cached_property
    def layers(self) -> list[ShownLayer]:
        """What can be shown from the start; more lines come as they are asked for."""
        found = [ShownLayer(LayerKind.TOTAL)]
        found += [ShownLayer(LayerKind.IMAGE, name) for name in self._image_names]
        found += [ShownLayer(LayerKind.PHASE, label) for label in self.phases]
        lines = main_lines(self.elements, self.energy)
        if self.cube is not None:
            found += [ShownLayer(LayerKind.LINE, line) for line in lines]
        if self.result is not None:
            found += [ShownLayer(LayerKind.EXPECTED, line) for line in lines]
        return found

    @property
    def _image_names(self) -> list[str]:
        images = [
            str(name)
            for data in (self.cube, self.result)
            if data is not None
            for name, array in data.data_vars.items()
            if set(array.dims) == {schema.Y, schema.X} and array.dtype.kind in "buif"
        ]
        return [name for name in dict.fromkeys(images) if name != schema.TOTAL]

    # Pictures.

    @property
    def photons(self) -> PhotonsByEnergy | None:
        """The cube's photons by energy, None without a cube."""
        if self.shares is not None:
            return self.shares.photons
        with self._making:  # several pages may ask at once
            if self._photons is None and self.cube is not None:
                self._photons = photons_of_cube(self.cube)
            return self._photons

    @property
    def fraction_indexed(self) -> float:
        """Fraction of the photons that are indexed; 1 where there are none."""
        if self.shares is not None:
            return self.shares.fraction_indexed
        if self._photons is None:
            return 0.0 if self.cube is not None else 1.0
        return self._photons.fraction_done

    @cached_property
    def chunks(self) -> ChunkPlane:
        """Chunks of the image that is shown."""
        assert self.photons is not None
        return ChunkPlane(self.photons.grid, self.plane)

    @property
    def whole(self) -> Viewport:
        """The viewport of the whole map."""
        return whole(self.shape)

    def picture(self, layer: ShownLayer, view: Viewport) -> tuple[np.ndarray, bool]:
        """Values of a layer in a viewport, and whether all are there; those that are not yet are NaN."""
        key = (layer.key, view, self.plane)
        with self._guard:
            if key in self._pictures:
                self._pictures.move_to_end(key)
                return self._pictures[key], True
        values, complete = self._made(layer, view)
        values = np.asarray(values, dtype=np.float32)
        if complete:
            with self._guard:
                self._pictures[key] = values
                while len(self._pictures) > _PICTURES:
                    self._pictures.popitem(last=False)
        return values, complete

    def _made(self, layer: ShownLayer, view: Viewport) -> tuple[np.ndarray, bool]:
        if layer.kind is LayerKind.IMAGE:
            return self._image(layer.name, layer.name).picture(view), True
        if layer.kind is LayerKind.PHASE:
            return self._of_phase(schema.ABUNDANCE, layer.name).picture(view), True
        if layer.kind is LayerKind.EXPECTED:
            return self._expected(layer, view), True
        if self.photons is None:
            if layer.kind is LayerKind.TOTAL:
                return self._image(schema.TOTAL, schema.TOTAL).picture(view), True
            raise ParameterError("layer", layer.title, "a layer of the result, as there are no counts")
        self.photons.start()
        windows = None
        if layer.kind is not LayerKind.TOTAL:
            windows = weighted_windows(self.data, windows_of(layer, self.data))
        values, complete = self.photons.image(self.chunks, view, windows)
        return values / self._exposure(view), complete

    def _exposure(self, view: Viewport) -> np.ndarray | float:
        """How often each pixel of a mosaic was measured, so that overlaps are not brighter."""
        assert self.cube is not None
        if not {schema.EXPOSURE, schema.TILE_POSITION} <= set(self.cube.variables):
            return 1.0
        times = self._image(schema.EXPOSURE, schema.EXPOSURE).picture(view)
        return np.where(times > 0, times, np.nan)

    def _image(self, key: str, name: str) -> SteppedImage:
        def make() -> xr.DataArray:
            sources = [one for one in (self.cube, self.result) if one is not None and name in one]
            return sources[0][name]

        return self._images.setdefault(key, SteppedImage(make))

    def _of_phase(self, name: str, label: str) -> SteppedImage:
        """Fractions of a phase; or, under the name of the total, its photons."""
        result = self.result
        assert result is not None

        def make() -> xr.DataArray:
            one = result[schema.ABUNDANCE].isel({schema.PHASE: self.phases.index(label)}, drop=True)
            return one if name == schema.ABUNDANCE else one * result[schema.TOTAL]

        return self._images.setdefault(f"{name} of {label}", SteppedImage(make))

    def photons_of_phases(self, view: Viewport) -> np.ndarray:
        """Photons per pixel that a result expects of each phase, (phases, rows, columns)."""
        return np.array([self._of_phase(schema.TOTAL, label).picture(view) for label in self.phases])

    @cached_property
    def spectra(self) -> np.ndarray:
        """Spectra of the phases, (phases, channels); each sums to 1."""
        assert self.result is not None
        return np.asarray(self.result[schema.SPECTRUM].transpose(schema.PHASE, schema.ENERGY).values)

    def _expected(self, layer: ShownLayer, view: Viewport) -> np.ndarray:
        """Net counts in a line as the result expects them: the map without its noise."""
        assert self.result is not None
        windows = weighted_windows(self.result, windows_of(layer, self.result))
        per_photon = sum(weight * self.spectra[:, a:b].sum(axis=1) for a, b, weight in windows)
        return np.asarray(np.tensordot(per_photon, self.photons_of_phases(view), axes=1))

    # Spectra.

    def sum_spectrum(self) -> np.ndarray:
        """Spectrum of the whole map; of a store without reading counts, of a result what it expects."""
        if self.cube is None:
            view = self.whole
            photons = np.nansum(self.photons_of_phases(view) * view.cells, axis=(1, 2))
            return np.asarray(photons @ self.spectra)
        folder = store_of(self.cube[schema.COUNTS])
        assert self.photons is not None
        if folder is not None and self.photons.grid.bands == self.chunks.blocks[0]:
            return np.asarray(manifest_of(folder).sum_spectrum, dtype=np.int64)
        return self.photons.spectrum(
            [(self.chunks.band(r), c, None) for r, c in np.ndindex(*self.chunks.blocks)]
        )

    def region_spectrum(self, region: MarkedRegion) -> tuple[np.ndarray, int]:
        """Spectrum of a region, exact, and its number of pixels; of a result what it expects there."""
        if self.photons is None:
            photons, pixels = self.region_photons(region)
            return photons @ self.spectra, pixels
        parts, pixels = parts_of(region, self.chunks, *self.positions)
        return self.photons.spectrum(parts), pixels

    def region_photons(self, region: MarkedRegion | None) -> tuple[np.ndarray, int]:
        """Photons that the result expects of each phase in a region, and its number of pixels.

        In the steps of the whole map's picture, so exact up to 512 pixels across.
        """
        view = self.whole
        y, x = self.positions
        middles = [
            np.minimum(np.arange(n) * view.step + view.step // 2, a.size - 1)
            for n, a in zip(view.shape, (y, x), strict=True)
        ]
        inside = np.ones(view.shape, dtype=bool)
        if region is not None and region.mask is not None:
            inside = region.mask[np.ix_(*middles)]
        elif region is not None:
            inside = region.inside(y[middles[0]], x[middles[1]], slice(None), slice(None))
        weight = np.where(inside, view.cells, 0)
        photons = np.nansum(self.photons_of_phases(view) * weight, axis=(1, 2))
        return photons, int(weight.sum())

    def close(self) -> None:
        """Stop what goes on in the background."""
        if self._photons is not None:
            self._photons.close()


def photons_of_cube(cube: xr.Dataset) -> PhotonsByEnergy:
    """Photons by energy of a cube; what is made of a store is kept, of others it is in a temporary folder."""
    counts = cube[schema.COUNTS]
    grid = ChunkGrid(counts.shape[:-1], counts.shape[-1])
    folder = store_of(counts)
    if folder is None:
        return PhotonsByEnergy(_LazyCounts(counts), grid)
    manifest = manifest_of(folder)
    mark = stamp(folder)
    fingerprint = fingerprint_of(folder, grid, manifest)
    tables = grid.bands * grid.columns * (8 * grid.channels + 4 * 4096)
    kept = kept_folder(folder, fingerprint, 2 * int(manifest.nonzeros.sum()) + tables)
    source = StoredCounts(str(folder), counts.shape, counts.dtype, mark)
    return PhotonsByEnergy(
        source,
        grid,
        folder=kept,
        fingerprint=fingerprint,
        unchanged=lambda: stamp(folder) == mark,
        known_photons=manifest.photons,
    )


class _LazyCounts:
    """Counts of a cube that is no store, read part by part."""

    def __init__(self, counts: xr.DataArray) -> None:
        self._data: Any = counts.data

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        part = self._data[index]
        return np.asarray(part.compute(scheduler="threads") if hasattr(part, "compute") else part)


def check_shown(data: xr.Dataset, name: str) -> None:
    """Refuse what the viewer cannot draw.

    Raises
    ------
    ParameterError
        Saying what it is, and what was expected.
    """
    kind = kind_of(data)
    if kind not in (Kind.CUBE, Kind.PHASES) or not {schema.Y, schema.X} <= set(data.sizes):
        raise ParameterError(
            name,
            f"{kind.value} over {', '.join(map(str, data.sizes))}",
            "a cube or a result of phases over y and x",
            "edxdask.psnmf(ds) makes a result of a cube.",
        )


def described(scene: Scene) -> Sequence[str]:
    """Size, photons and beam of a map, in short texts."""
    rows, columns = scene.shape
    texts = [f"{columns} × {rows} px"]
    if scene.axes[1].scale and scene.unit != schema.PIXEL_UNIT:
        texts.append(f"{scene.steps[1]:.3g} {scene.unit} per pixel")
    texts.append(f"{scene.energy.size} channels, {scene.energy[0]:.2f} to {scene.energy[-1]:.2f} keV")
    beam = scene.data.attrs.get(schema.BEAM_ENERGY)
    return [*texts, f"{beam:g} keV beam"] if beam else texts


def store_folder(data: xr.Dataset) -> Path | None:
    """Folder of the store that a cube is, None where it is none."""
    return store_of(data[schema.COUNTS]) if schema.COUNTS in data else None
