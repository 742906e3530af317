"""Equations as MathML, made during the build: browsers draw them without a script and without the network."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx


def in_line(self: Any, node: nodes.math) -> None:
    """Write an equation within a sentence."""
    self.body.append(f'<span class="math">{tex2mathml(node.astext())}</span>')
    raise nodes.SkipNode


def displayed(self: Any, node: nodes.math_block) -> None:
    """Write an equation on lines of its own."""
    self.body.append(f'<div class="math" tabindex="0">{tex2mathml(node.astext(), as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (in_line, None), (displayed, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
