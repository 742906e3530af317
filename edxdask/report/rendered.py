"""A volume as a picture in perspective: shaded surfaces of its phases, large ones like glass."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, FigureBase
from matplotlib.patches import Patch
from scipy.ndimage import gaussian_filter

from edxdask.report.kernels.surface_rays import first_surface, values_at
from edxdask.report.labels import plain, scale_bar
from edxdask.report.phase_colors import phase_colors
from edxdask.report.style import COLUMN, FAINT, INK, MM, NORMAL, SMALL, new_figure
from edxdask.report.volume_overview import VolumeOverview
from edxdask.results.voxels import VoxelGrid

HALF = 0.5
PIXELS = 560  # along each side of the picture
BLUR = 0.6  # voxels: surfaces without the steps and the noise of single voxels
CLOSEST = 0.6  # of a voxel: steps along a ray
AMBIENT, DIFFUSE, GLOSS, SHININESS = 0.45, 0.62, 0.18, 24
GLASS, SOLID = 0.13, 1.0  # opacity of the largest phase and of the smallest, seen from the front
FADES = 0.15  # of the colour that the far end loses
AZIMUTH_DEG, ELEVATION_DEG = 32.0, 24.0


@dataclass(frozen=True, eq=False)
class Camera:
    """A view from far away: unit vectors along z, y, x of what is right, up and forward in the picture.

    Attributes
    ----------
    right, up, forward : (3,)
    """

    right: np.ndarray
    up: np.ndarray
    forward: np.ndarray

    @classmethod
    def at(cls, azimuth_deg: float, elevation_deg: float) -> Camera:
        """Look at the middle from this direction; the beam, along z, is upright.

        Examples
        --------
        >>> abs(Camera.at(0.0, 0.0).forward).round(3).tolist()
        [0.0, 1.0, 0.0]
        """
        a, e = math.radians(azimuth_deg), math.radians(elevation_deg)
        toward = np.array([math.sin(e), math.cos(e) * math.cos(a), math.cos(e) * math.sin(a)])
        right = np.array([0.0, -math.sin(a), math.cos(a)])
        up = np.array([math.cos(e), -math.sin(e) * math.cos(a), -math.sin(e) * math.sin(a)])
        return cls(right, up, -toward)

    def seen(self, points: np.ndarray) -> np.ndarray:
        """Give places in the picture, to the right and up, and their depth: (…, 3)."""
        return np.stack([points @ self.right, points @ self.up, points @ self.forward], axis=-1)


@dataclass(frozen=True, eq=False)
class _Hits:
    """Surface of one phase as seen: where there is none, depth is infinite."""

    depth: np.ndarray
    color: np.ndarray  # (pixel, 3)
    alpha: np.ndarray


def rendered_figure(overview: VolumeOverview, *, title: str | None = None) -> Figure:
    """Draw surfaces of all phases, each in its colour, with the box of the volume and a scale bar.

    Surfaces are where a phase fills half of a voxel. Of several phases the largest are like glass, so that
    what they enclose is seen.

    Parameters
    ----------
    overview : VolumeOverview
        Of the volume.
    title : str, optional
        Text above.
    """
    figure = new_figure(1.3 * COLUMN, 1.3 * COLUMN + 8 * MM)
    axes = figure.add_subplot()
    draw_rendered(figure, axes, overview)
    if title:
        axes.set_title(plain(title), fontsize=NORMAL + 1, color=INK, loc="left")
    colors = phase_colors(overview.labels)
    figure.legend(
        handles=[Patch(facecolor=color, label=plain(name)) for name, color in colors.items()],
        loc="outside lower left",
        fontsize=SMALL,
        frameon=False,
        labelcolor=INK,
        ncols=min(len(colors), 4),
    )
    return figure


def draw_rendered(
    figure: FigureBase,
    axes: Axes,
    overview: VolumeOverview,
    *,
    camera: Camera | None = None,
) -> None:
    """Fill axes with the picture; the box that lies behind is faint, that before is not drawn."""
    view = Camera.at(AZIMUTH_DEG, ELEVATION_DEG) if camera is None else camera
    corners, reach = _box(overview.grid, view)
    picture = render(overview, view, reach, PIXELS)
    for one, other in _edges():
        ends = view.seen(corners[[one, other]])
        behind = min(_order(corners, view).index(i) for i in (one, other)) == 0
        axes.plot(
            *ends.T[:2], color=FAINT, linewidth=0.7 if not behind else 0.5,
            alpha=0.9 if not behind else 0.45, zorder=1, solid_capstyle="round",
        )  # fmt: skip
    axes.imshow(picture, extent=(-reach, reach, -reach, reach), zorder=2, interpolation="auto")
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal")
    axes.set_axis_off()
    _name_axes(axes, corners, view)
    _draw_bar(axes, reach, overview.grid.unit)


def render(overview: VolumeOverview, camera: Camera, reach: float, pixels: int = PIXELS) -> np.ndarray:
    """Draw the surfaces on nothing: (row, column, 4), straight colours and opacity.

    Parameters
    ----------
    overview : VolumeOverview
        Of the volume.
    camera : Camera
        Where it is seen from.
    reach : float
        Half of the side of the picture, in the unit of the grid.
    pixels : int
        Along each side.
    """
    across = (np.arange(pixels) + 0.5) / pixels * 2 * reach - reach
    right, up = np.meshgrid(across, across[::-1])
    plane = right.reshape(-1, 1) * camera.right + up.reshape(-1, 1) * camera.up - reach * camera.forward
    amounts = overview.values.sum(axis=(1, 2, 3))
    opacity = _opacities(amounts)
    hits = [
        _surface(values, overview.grid, camera, plane, reach, color, opacity[number])
        for number, (values, color) in enumerate(
            zip(overview.values, phase_colors(overview.labels).values(), strict=True)
        )
        if (values >= HALF).any()
    ]
    picture = np.zeros((pixels * pixels, 4))
    if hits:
        _blend(hits, picture)
    return picture.reshape(pixels, pixels, 4)


def _opacities(amounts: np.ndarray) -> np.ndarray:
    """Solid for the smallest phase, glass for the largest; a lone phase is solid."""
    present = np.flatnonzero(amounts > 0)
    opacity = np.full(len(amounts), SOLID)
    if len(present) > 1:
        order = present[np.argsort(-amounts[present])]
        opacity[order] = np.geomspace(GLASS, SOLID, len(order))
    return opacity


def _surface(
    values: np.ndarray,
    grid: VoxelGrid,
    camera: Camera,
    plane: np.ndarray,
    reach: float,
    color: str,
    opacity: float,
) -> _Hits:
    smooth = gaussian_filter(values, BLUR, mode="constant", output=np.float32)
    sides = np.array(grid.sides)
    middle = (np.array(grid.shape) - 1) / 2
    length = CLOSEST * float(sides.min())
    steps = math.ceil(2 * reach / length)
    starts = plane / sides + middle
    depth = np.empty(len(plane), np.float32)
    least = min(HALF, 0.5 * float(smooth.max()))  # blur takes from what is smaller than it
    first_surface(smooth, starts, camera.forward * length / sides, steps, least, depth)
    seen = depth >= 0
    places = starts[seen] + depth[seen, None] * (camera.forward * length / sides)
    normals = _normals(smooth, places, sides)
    facing = np.clip(-(normals @ camera.forward), 0.0, 1.0)
    fade = FADES * np.clip(depth[seen] * length / (2 * reach) * 2 - 0.5, 0.0, 1.0)
    shaded = np.zeros((len(plane), 3))
    shaded[seen] = _shaded(np.array(to_rgb(color)), normals, facing, camera, fade)
    alpha = np.zeros(len(plane))
    alpha[seen] = opacity + (1 - opacity) * 0.75 * (1 - facing) ** 2  # glass is seen at its rim
    return _Hits(np.where(seen, depth, np.inf), shaded, alpha)


def _normals(values: np.ndarray, places: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Give unit vectors out of the surface, from differences over a voxel."""
    slopes = np.empty((len(places), 3))
    ahead, behind = (np.empty(len(places), np.float32) for _ in range(2))
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1.0
        values_at(values, places + step, ahead)
        values_at(values, places - step, behind)
        slopes[:, axis] = (behind - ahead) / sides[axis]
    length = np.linalg.norm(slopes, axis=1, keepdims=True)
    normals: np.ndarray = slopes / np.where(length > 0, length, 1.0)
    return normals


def _shaded(
    color: np.ndarray, normals: np.ndarray, facing: np.ndarray, camera: Camera, fade: np.ndarray
) -> np.ndarray:
    """Colours under one light from the upper left, with a highlight; farther ones are paler."""
    light = -camera.forward - 0.55 * camera.right + 0.8 * camera.up
    light /= np.linalg.norm(light)
    lit = np.clip(normals @ light, 0.0, 1.0)
    halfway = light - camera.forward
    halfway /= np.linalg.norm(halfway)
    gloss = GLOSS * np.clip(normals @ halfway, 0.0, 1.0) ** SHININESS
    shade = AMBIENT + DIFFUSE * lit
    shaded = color * shade[:, None] + gloss[:, None]
    found: np.ndarray = np.clip(shaded + fade[:, None] * (1 - shaded), 0.0, 1.0)
    return found


def _blend(hits: list[_Hits], picture: np.ndarray) -> None:
    """Lay surfaces over one another, the nearest last."""
    depth = np.stack([one.depth for one in hits])
    order = np.argsort(-depth, axis=0)
    colors, alphas = np.stack([one.color for one in hits]), np.stack([one.alpha for one in hits])
    every = np.arange(depth.shape[1])
    for layer in order:
        alpha = alphas[layer, every][:, None]
        under = picture[:, 3:] * (1 - alpha)
        whole = alpha + under
        mixed = alpha * colors[layer, every] + under * picture[:, :3]
        picture[:, :3] = np.divide(mixed, whole, out=np.zeros_like(mixed), where=whole > 0)
        picture[:, 3:] = whole


def _box(grid: VoxelGrid, camera: Camera) -> tuple[np.ndarray, float]:
    """Corners of the volume around its middle, and half of the side of a picture that holds them."""
    halves = np.array(grid.shape) * np.array(grid.sides) / 2
    corners = np.array(list(itertools.product((-1, 1), repeat=3))) * halves
    seen = camera.seen(corners)
    return corners, 1.1 * float(np.abs(seen[:, :2]).max())


def _edges() -> list[tuple[int, int]]:
    """Pairs of corners that differ in one coordinate."""
    return [(i, i | bit) for bit in (1, 2, 4) for i in range(8) if not i & bit]


def _order(corners: np.ndarray, camera: Camera) -> list[int]:
    """Corners from the farthest to the nearest."""
    return [int(i) for i in np.argsort(-camera.seen(corners)[:, 2])]


def _name_axes(axes: Axes, corners: np.ndarray, camera: Camera) -> None:
    """Name the three edges at the lowest corner that is near the viewer."""
    seen = camera.seen(corners)
    lowest = int(np.argmin(seen[:, 1]))
    for bit, name in ((4, "z"), (2, "y"), (1, "x")):
        ends = seen[[lowest, lowest ^ bit]]
        if name == "z":  # the upright edge at the left is free of the picture
            left = int(np.argmin(seen[:, 0]))
            ends = seen[[left, left ^ bit]]
        middle, outward = ends.mean(axis=0)[:2], ends.mean(axis=0)[:2]
        outward = outward / max(float(np.linalg.norm(outward)), 1e-9)
        axes.annotate(
            name, middle, xytext=tuple(6 * outward), textcoords="offset points", fontsize=SMALL,
            color=FAINT, ha="center", va="center", style="italic",
        )  # fmt: skip


def _draw_bar(axes: Axes, reach: float, unit: str) -> None:
    length, text = scale_bar(2 * reach, unit, fraction=0.2)
    left, low = -0.98 * reach, -0.97 * reach
    axes.plot([left, left + length], [low, low], color=INK, linewidth=2.2, solid_capstyle="butt", zorder=3)
    axes.annotate(
        text, (left, low), xytext=(0, 3.5), textcoords="offset points", fontsize=SMALL, color=INK, zorder=3
    )
