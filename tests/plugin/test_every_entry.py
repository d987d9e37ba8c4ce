"""Every menu entry, palette command and button of the plugin, through napari's own doors, from a fresh state each.

What there is to click is read from the manifest and from the docks themselves: the next entry is tested without anybody
remembering it. Nothing here calls the plugin.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clicks import Person
from napari.layers import Image
from napari.settings import get_plugin_settings
from napari.viewer import Viewer
from npe2 import PluginManager, PluginManifest
from npe2._command_registry import utils
from short_fits import shorten

import napari_tinc as tinc
from napari_tinc.plugin.proxies import is_unproxied

MANIFEST = PluginManifest.from_file(Path(tinc.__file__).with_name("napari.yaml"))
COMMANDS = {command.id: command for command in MANIFEST.contributions.commands}
WIDGETS = [widget.display_name for widget in MANIFEST.contributions.widgets]
WINDOW = (900, 700)  # pixels: without a GPU, a larger one takes longer to draw
GOLDEN = Path(__file__).parents[1] / "golden"
pytestmark = pytest.mark.timeout(400)  # each opens a file some thirty times: slow beside other work
FILES = {
    "networks": "trained.tinc",
    "blocks": "trained-blocks.tinc",
    "bounded": "bounded-u2.tinc",
    "labels": "exact-labels-i4.tinc",
    "channels": "trained-blocks-channels.tinc",
}


@pytest.fixture(autouse=True)
def _short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


@pytest.fixture
def person(make_napari_viewer: Any, plugin_settings: object, npe2pm: PluginManager) -> Iterator[Person]:
    npe2pm.register(PluginManifest.from_distribution("napari"))  # its table of features
    npe2pm.register(MANIFEST)
    settings = get_plugin_settings("napari-tinc").compressing
    settings.isolate, settings.ratio, settings.device = False, 12, "cpu"
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(*WINDOW)
    with Person(viewer) as person:
        yield person
        person.close_all()


def begin(person: Person, kind: str) -> None:
    """Open a file of a kind, with no dock open, its layer active, and an original that it can be compared with."""
    layer = person.start_afresh(GOLDEN / FILES[kind])
    if isinstance(layer, Image):
        values = np.asarray(layer.metadata["tinc"])
        person.viewer.add_image(values, name=layer.name, scale=layer.scale, units=layer.units)
        person.viewer.layers.move(1, 0)
    person.viewer.layers.selection.active = layer


def choose_each_entry(person: Person, kind: str, within: str) -> tuple[int, list[str]]:
    """Choose every menu entry whose path has some words, from a fresh state each; how many, and what went wrong."""
    paths = [path for path, _ in person.entries() if within in path]
    problems = []
    for path in paths:
        begin(person, kind)
        (action,) = [action for entry, action in person.entries() if entry == path]
        if action.isEnabled():
            action.trigger()
            person.settle()
        problems += person.report(f"{kind}: {path}")
    return len(paths), problems


def declared_entries() -> int:
    """How many menu entries the manifest asks for."""
    contributions = MANIFEST.contributions
    in_menus = sum(len(items) for items in contributions.menus.values())
    return in_menus + len(contributions.widgets) + len(contributions.sample_data)


def test_all_that_napari_calls_goes_through_the_door() -> None:
    for command in COMMANDS.values():
        assert is_unproxied(utils.import_python_name(command.python_name)), command.python_name


def test_every_menu_entry(person: Person) -> None:
    count, problems = choose_each_entry(person, "networks", within="TINC")
    assert count == declared_entries()
    assert problems == []


@pytest.mark.parametrize("kind", list(FILES)[1:])
def test_entries_for_a_layer_of_every_other_kind(person: Person, kind: str) -> None:
    count, problems = choose_each_entry(person, kind, within="Layers >")
    assert count == sum(len(items) for menu, items in MANIFEST.contributions.menus.items() if "/layers/" in menu)
    assert problems == []


def test_every_command_of_the_palette(person: Person) -> None:
    begin(person, "networks")
    titles = person.commands()
    assert len(titles) == len(COMMANDS)
    problems = []
    for title in titles:
        begin(person, "networks")
        person.run_command(title)
        problems += person.report(f"palette: {title}")
    assert problems == []


@pytest.mark.parametrize(("dock", "kind"), [(dock, "networks") for dock in WIDGETS] + [("Leaves", "bounded")])
def test_every_button_of_every_dock(person: Person, dock: str, kind: str) -> None:
    pressed, problems = [], []
    while True:
        begin(person, kind)
        person.choose(f"Plugins > TINC > {dock} (TINC)")
        for button in person.buttons():
            if button.text().startswith("▸"):
                person.press(button)  # what is folded away has buttons, too
        buttons = person.buttons()
        if len(pressed) == len(buttons):
            break
        button = buttons[len(pressed)]
        pressed.append(button.text())
        person.press(button)
        problems += person.report(f"{kind}: {dock}: {button.text()}")
    assert len(pressed) >= 2
    assert problems == []


def forgetful(viewer: Viewer) -> None:
    """A command that takes the viewer as napari hands it over, and keeps its layer as ours keep it."""
    kept = weakref.ref(viewer.layers.selection.active)
    assert kept() is not None


def test_a_command_that_forgets_the_door_is_found(person: Person, npe2pm: PluginManager) -> None:
    assert not is_unproxied(forgetful)
    name = f"{__name__}:forgetful"
    npe2pm.register(
        PluginManifest(
            name="planted",
            display_name="TINC planted",
            contributions={
                "commands": [{"id": "planted.forgetful", "title": "Forgetful", "python_name": name}],
                "menus": {"napari/layers/visualize": [{"command": "planted.forgetful"}]},
            },
        )
    )
    count, problems = choose_each_entry(person, "networks", within="TINC planted")
    assert count == len(problems) == 1 and "Forgetful (TINC planted): AssertionError" in problems[0]
