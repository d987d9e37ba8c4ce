"""What is imported when: the core neither torch nor Qt before it needs them, and never the plugin."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import napari_tinc as tinc
from napari_tinc import pipeline

HEAVY = {
    "torch",
    "skimage",
    "scipy",
    "napari",
    "npe2",
    "magicgui",
    "qtpy",
    "PyQt6",
    "PySide6",
    "tifffile",
    "zarr",
    "h5py",
}
GUI = {"napari", "npe2", "magicgui", "superqt", "qtpy", "PyQt6", "PySide6", "pyqtgraph", "vispy"}
PACKAGE = Path(tinc.__file__).parent
CORE = sorted(path for path in PACKAGE.glob("*.py"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("imports") / "v.tinc"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pipeline.STEPS, "fast", 1)
        tinc.compress(np.random.default_rng(0).normal(size=(24, 24, 24)), ratio=16, preset="fast").save(path)
    return path


@pytest.mark.parametrize(
    "code",
    [
        "import napari_tinc",
        "import napari_tinc as tinc; tinc.open(path).levels",
        "import napari_tinc as tinc, numpy as np; assert np.asarray(tinc.open(path)[3]).shape == (24, 24)",
        "import napari_tinc as tinc, numpy as np; np.asarray(tinc.open(path).levels[-1][:2, 3:, ::2])",
        "import napari_tinc as tinc; tinc.open(path).verify()",
        "from napari_tinc.cli import main; main(['info', path, '--leaves'])",
        "from napari_tinc.cli import main; main(['verify', path, '--json'])",
        "from napari_tinc.cli import main; import numpy as np; np.save(path + '.npy', np.ones((3, 4, 5))); "
        "assert main(['compress', path + '.npy', path, '--isolate', '--max-error', '0']) == 0",
    ],
)
def test_reading_a_file_imports_nothing_heavy(file: Path, code: str) -> None:
    check = f"import sys; path = sys.argv[1]; {code}; sys.exit(', '.join({HEAVY} & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", check, str(file)], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("module", ["napari_tinc", "napari_tinc.cli"])
def test_importing_alone_imports_not_even_numpy(module: str) -> None:
    code = f"import sys, {module}; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def imported(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Every module that code imports, relative ones with their dots, and where."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((name.name, node) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield module, node
            yield from ((f"{module}.{name.name}", node) for name in node.names)


def is_gui(module: str) -> bool:
    return module.split(".")[0] in GUI or "plugin" in module.replace("napari_tinc", "").split(".")


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_the_core_imports_no_gui(path: Path) -> None:
    found = [module for module, _ in imported(ast.parse(path.read_text(encoding="utf-8"))) if is_gui(module)]
    assert found == (["napari"] if path.stem == "cli" else [])


def test_the_only_import_of_napari_is_inside_what_shows_the_demo() -> None:
    functions = [node for node in ast.parse((PACKAGE / "cli.py").read_text()).body if isinstance(node, ast.FunctionDef)]
    assert [f.name for f in functions if any(is_gui(module) for module, _ in imported(f))] == ["_show"]


def test_the_check_above_would_find_one() -> None:
    code = "import napari.layers\nfrom .plugin import reader\nfrom . import plugin\nfrom qtpy.QtCore import Qt\n"
    assert len([module for module, _ in imported(ast.parse(code)) if is_gui(module)]) == 6
    assert not is_gui("napari_tinc.volume")


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_torch_is_imported_inside_functions_only(path: Path) -> None:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    at_import = [node for node in body if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.If)]
    assert not [m for node in at_import for m, _ in imported(node) if m.split(".")[0] in ("torch", "skimage")]
