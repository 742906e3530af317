"""Controls of the page, each made with its text, size and name, so that the page reads as a list of them."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field

from bokeh.models import (
    Button,
    CheckboxGroup,
    CustomJS,
    Div,
    Dropdown,
    FileInput,
    MultiChoice,
    PreText,
    RadioButtonGroup,
    Select,
    TextInput,
)

from edxdask.view.downloads import CHOICES, GIVE_FILE
from edxdask.view.layers import ShownLayer, layer_of
from edxdask.view.scene import Scene, described

NONE = ""
_STYLE = """
:host { font: 14px/1.45 system-ui, "Segoe UI", "Noto Sans", sans-serif; color: #1c2733; }
table { border-collapse: collapse; font-size: 13px; }
th, td { padding: 2px 12px 2px 0; text-align: right; white-space: nowrap; }
th { color: #5f6b75; font-weight: 600; border-bottom: 1px solid #d5dbe1; }
th:first-child, td:first-child, th:nth-child(4), td:nth-child(4) { text-align: left; }
h1 { font-size: 18px; margin: 0; display: inline; } h2 { font-size: 15px; margin: 6px 0 2px; }
.faint { color: #5f6b75; margin-left: 14px; } .error { color: #a3281f; }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin: 0 4px 0 12px; }
"""
_CODE_STYLE = (
    "pre { font-size: 12.5px; margin: 0; padding: 8px 10px; background: #f3f5f7; border-radius: 6px; "
    "white-space: pre-wrap; overflow-wrap: anywhere; }"
)
_COPY = "navigator.clipboard.writeText(text.text)"


def styled(text: str = "", **more: object) -> Div:
    """Make a piece of the page from HTML; whoever calls it escapes what others wrote."""
    return Div(text=text, stylesheets=[_STYLE], **more)


def heading_html(scene: Scene, status: str) -> str:
    """Name and size of a map, and what goes on."""
    facts = "".join(f'<span class="faint">{html.escape(text)}</span>' for text in described(scene))
    return f'<h1>{html.escape(scene.name)}</h1>{facts}<span class="faint">{html.escape(status)}</span>'


def swatches_html(names: Sequence[str], colours: Sequence[str]) -> str:
    """Names beside the colours that they have."""
    return "".join(
        f'<span class="swatch" style="background:{colour}"></span>{html.escape(name)}'
        for name, colour in zip(names, colours, strict=False)
    )


def options_of(layers: Sequence[ShownLayer]) -> list[tuple[str, str]]:
    """Layers as choices of a list."""
    return [(layer.key, layer.title) for layer in layers]


def blend_options(choices: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Choices by number, with their texts escaped: the script behind this list takes them for HTML."""
    return [(str(number), html.escape(title)) for number, (_, title) in enumerate(choices)]


@dataclass(eq=False)
class Controls:
    """All controls of a page for one map.

    Attributes
    ----------
    scene : the map
    """

    scene: Scene
    show: Select = field(init=False)
    line: TextInput = field(init=False)
    blend: MultiChoice = field(init=False)
    beside: Select = field(init=False)
    legend: Div = field(init=False)
    scale: RadioButtonGroup = field(init=False)
    peak: Select = field(init=False)
    phases: CheckboxGroup = field(init=False)
    elements: TextInput = field(init=False)
    clear: Button = field(init=False)
    mask: FileInput = field(init=False)
    save: Dropdown = field(init=False)
    region: Div = field(init=False)
    amounts: Div = field(init=False)
    message: Div = field(init=False)
    code: PreText = field(init=False)
    copy: Button = field(init=False)

    def __post_init__(self) -> None:
        choices = options_of(self.scene.layers)
        self.show = Select(title="Show", options=choices, value=choices[0][0], width=175, name="show")
        self.line = TextInput(
            title="Line, element or keV", placeholder="Fe, Nd_La, 6.2-6.6", width=165, name="line"
        )
        self.beside = Select(
            title="Beside it", options=[(NONE, "nothing"), *choices], value=NONE, width=175, name="beside"
        )
        self.blend = MultiChoice(
            title="Several in colours",
            options=blend_options(choices),
            width=540,
            name="blend",
            placeholder="choose layers",
        )
        self.legend = styled(width=540, visible=False, name="legend")
        self.scale = RadioButtonGroup(
            labels=["linear", "logarithmic"], active=0, width=180, name="scale", margin=(24, 5, 5, 5)
        )
        self.peak = Select(title="Peak (click one)", options=[], width=190, name="peak")
        self.phases = CheckboxGroup(
            labels=["expected of phases"], active=[], width=150, margin=(28, 5, 5, 5), name="phases"
        )
        self.phases.visible = bool(self.scene.phases)
        self.elements = TextInput(
            title="Elements that are quantified",
            value=", ".join(self.scene.elements),
            width=330,
            name="elements",
        )
        self.clear = Button(label="Whole map", width=100, margin=(24, 5, 5, 5), name="clear")
        self.mask = FileInput(
            accept=".png,.tif,.tiff,.npy", title="Region from a mask", width=230, name="mask"
        )
        self.save = Dropdown(label="Save", menu=list(CHOICES), width=90, margin=(24, 5, 5, 5), name="save")
        self.region, self.amounts = styled(name="region"), styled(name="amounts", sizing_mode="stretch_width")
        self.message = styled(name="message", sizing_mode="stretch_width", visible=False)
        self.code = PreText(text="", name="code", stylesheets=[_CODE_STYLE], sizing_mode="stretch_width")
        self.copy = Button(label="Copy the Python lines", width=170, name="copy")
        self.copy.js_on_click(CustomJS(args={"text": self.code}, code=_COPY))

    def add_layer(self, layer: ShownLayer) -> None:
        """Offer one more layer."""
        choice = (layer.key, layer.title)
        if choice not in self.show.options:
            self.show.options = [*self.show.options, choice]
            self.beside.options = [*self.beside.options, choice]
            self.blend.options = blend_options(self.show.options)

    def blended(self) -> list[ShownLayer]:
        """Layers that are chosen to be seen at once."""
        return [layer_of(self.show.options[int(number)][0]) for number in self.blend.value]

    def say(self, text: str) -> None:
        """Say what went wrong, or nothing."""
        self.message.text = f'<p class="error">{html.escape(text)}</p>'
        self.message.visible = bool(text)


def download_of() -> TextInput:
    """Make what hands files to the browser: its value is the file."""
    hidden = TextInput(visible=False, name="download")
    hidden.js_on_change("value", CustomJS(code=GIVE_FILE))
    return hidden
