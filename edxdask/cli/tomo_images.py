"""``edxdask tomo --image`` and ``--align-only``: volumes of images, and moves of the projections alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import click
from click.core import ParameterSource
from dask.system import CPU_COUNT

from edxdask.cli.advice import say_next
from edxdask.cli.app import Settings
from edxdask.cli.inputs import cubes_of
from edxdask.cli.output import print_columns, print_json, print_table
from edxdask.cli.targets import check_target
from edxdask.errors import ParameterError
from edxdask.schema import TILT, TILT_AXIS, TILT_ROTATION

VOLUME = "volume.zarr"
EVERY = frozenset({"store", "out", "tilts_deg", TILT_AXIS, "workers", "overwrite"})
OF_ALIGNMENT = EVERY | {"align_only", "image"}
OF_IMAGES = EVERY | {"image", "method", "alignment", "depth", "max_iter"}


def _refuse_others(word: str, allowed: Collection[str]) -> None:
    """Refuse options that mean nothing beside ``word``, rather than leave them unused in silence.

    Raises
    ------
    ParameterError
        That names the first of them.
    """
    context = click.get_current_context()
    for option in context.command.params:
        name = str(option.name)
        if (
            name in allowed
            or not option.expose_value
            or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE
        ):
            continue
        said = option.opts[0]
        raise ParameterError(said, "given", f"nothing of this beside {word}", typed_fix=f"Leave out {said}.")


@dataclass(frozen=True)
class Asked:
    """What was typed, of what volumes of images and alignments need.

    Attributes
    ----------
    store, out : paths
    image : what to reconstruct or to align on
    align_only : whether only moves are wanted
    axis : tilt axis
    tilts_deg : of the projections
    workers : threads
    overwrite : whether ``out`` may be replaced
    """

    store: str
    out: str
    image: str | None
    align_only: bool
    axis: str | float | None
    tilts_deg: list[float] | None
    workers: int | None
    overwrite: bool


def without_phases(
    settings: Settings,
    asked: Asked,
    alignment: Any,
    method: str | None,
    depth: float | None,
    passes: int | None,
) -> Any:
    """Make and store volumes of images, and return them; or find, store and print moves alone."""
    word = "--align-only" if asked.align_only else "--image"
    _refuse_others(word, OF_ALIGNMENT if asked.align_only else OF_IMAGES)
    check_target(asked.out, asked.store, overwrite=asked.overwrite)
    data = cubes_of(asked.store, "tomo")
    if asked.align_only:
        _store_moves(settings, data, asked)
        return None
    return _volume(data, asked, alignment, method, depth, passes)


def _moves(data: Any, asked: Asked, image: str | None) -> Any:
    from edxdask.alignments import align_tilts
    from edxdask.tomographies.series import axis_of

    axis, lean = (None, None) if asked.axis is None else axis_of(asked.axis)
    threads = asked.workers or CPU_COUNT
    return align_tilts(
        data, image=image, tilts_deg=asked.tilts_deg, tilt_axis=axis, rotation_deg=lean, threads=threads
    )


def _store_moves(settings: Settings, data: Any, asked: Asked) -> None:
    from edxdask.io import save
    from edxdask.report.alignment_summary import alignment_figures, alignment_lines, alignment_rows

    found = _moves(data, asked, asked.image)
    save(found, asked.out, overwrite=asked.overwrite, progress=False)
    figures = alignment_figures(found)
    if settings.json:
        print_json({"out": asked.out, **figures})
        return
    print_columns(*alignment_rows(figures))
    click.echo()
    print_table(alignment_lines(figures))
    click.echo(asked.out)
    say_next(settings, ["tomo", asked.store, "-o", VOLUME, "--alignment", asked.out])


def _volume(
    data: Any, asked: Asked, alignment: Any, method: str | None, depth: float | None, passes: int | None
) -> Any:
    from edxdask.alignments import SCANNED, tilt_images
    from edxdask.io import save
    from edxdask.tomo.image_volumes import image_volume
    from edxdask.tomographies.series import axis_of

    names = [name.strip() for name in str(asked.image).split(",")]
    images = tilt_images(data, names, tilts_deg=asked.tilts_deg)
    axis, lean = (None, None) if asked.axis is None else axis_of(asked.axis)
    if alignment is True:
        alignment = _moves(data, asked, SCANNED if names == [SCANNED] else None)
    elif alignment is False:
        alignment = (
            None
            if not lean
            else images.coords.to_dataset().assign({TILT_ROTATION: (TILT, [lean] * images.sizes[TILT])})
        )
    rest: dict[str, Any] = {} if passes is None else {"iterations": passes}
    made = image_volume(
        images,
        method="fbp" if method == "fbp" else "sirt",
        alignment=alignment,
        tilt_axis="x" if axis == "x" else "y" if axis == "y" else None,
        depth=depth,
        threads=asked.workers or CPU_COUNT,
        **rest,
    )
    return save(made, asked.out, overwrite=asked.overwrite, progress=False)
