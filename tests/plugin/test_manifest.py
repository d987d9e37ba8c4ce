"""The manifest is valid, says what the design fixes, and all it names exists."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from npe2 import PluginManager, PluginManifest
from npe2._command_registry import utils

import napari_tinc
from napari_tinc.plugin.preferences import Preferences, read_preferences

PACKAGED = Path(napari_tinc.__file__).with_name("napari.yaml")
TOP_LEVEL = Path(__file__).parents[2] / "napari.yaml"
COMMANDS = {
    "read", "write", "compress_widget", "leaves_widget", "compare", "show_leaves", "show_error",
    "toggle_calibration", "open_url", "open_in_browser", "save_web_page", "sample_mri", "sample_mri_tinc",
}  # fmt: skip


@pytest.fixture
def manifest() -> PluginManifest:
    return PluginManifest.from_file(PACKAGED)


def test_the_top_level_manifest_is_the_packaged_one() -> None:
    assert TOP_LEVEL.resolve() == PACKAGED.resolve()
    assert not TOP_LEVEL.readlink().is_absolute()


def test_the_installed_plugin_has_it(manifest: PluginManifest) -> None:
    assert PluginManifest.from_distribution("napari-tinc") == manifest


def test_commands_are_those_of_the_design_and_exist(manifest: PluginManifest) -> None:
    commands = {command.id: command for command in manifest.contributions.commands}
    assert set(commands) == {f"napari-tinc.{name}" for name in COMMANDS}
    for command in commands.values():
        assert callable(utils.import_python_name(command.python_name))


def test_one_reader_and_one_writer_for_layers_of_each_kind_that_can_be_compressed() -> None:
    contributions = PluginManifest.from_file(PACKAGED).contributions
    (reader,) = contributions.readers
    writers = contributions.writers
    assert (reader.filename_patterns, reader.accepts_directories) == (["*.tinc"], False)
    others = ["points*", "shapes*", "surface*", "tracks*", "vectors*", "graph*"]
    assert [writer.layer_types for writer in writers] == [["image+", "labels*", *others], ["labels+", *others]]
    assert all(writer.filename_extensions == [".tinc"] for writer in writers)


def test_menus_are_ones_that_napari_lets_plugins_add_to(manifest: PluginManifest) -> None:
    from napari._app_model.constants._menus import is_menu_contributable

    assert all(is_menu_contributable(menu) for menu in manifest.contributions.menus)


def test_defaults_without_the_manifest_are_those_in_it(manifest: PluginManifest) -> None:
    declared = {
        name: setting.default
        for group in manifest.contributions.configurations.values()
        for name, setting in group.properties.items()
    }
    assert asdict(Preferences()) == declared


def test_preferences_are_those_of_the_user(plugin_settings: object, npe2pm: PluginManager) -> None:
    from napari.settings import get_plugin_settings

    assert read_preferences() == Preferences()
    npe2pm.register(PluginManifest.from_file(PACKAGED))
    settings = get_plugin_settings("napari-tinc")
    settings.compressing.preset, settings.opening.eager_megavoxels = "fast", 3
    assert read_preferences() == Preferences(preset="fast", eager_megavoxels=3)
    with pytest.raises(ValueError, match="enum"):
        settings.compressing.preset = "slow"
