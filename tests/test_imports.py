"""What is imported when: the core neither torch nor Qt before it needs them, and never the plugin."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from short_fits import short_fits

import napari_tinc as tinc

HEAVY = {
    "numba",
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
NETWORKS = Path(__file__).parent / "golden" / "trained.tinc"
CORE = sorted(path for path in PACKAGE.rglob("*.py") if "plugin" not in path.relative_to(PACKAGE).parts)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("imports") / "v.tinc"
    with short_fits():
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
        "from napari_tinc.cli.main import main; main(['info', path, '--leaves'])",
        "from napari_tinc.cli.main import main; main(['verify', path, '--json'])",
        "from napari_tinc.cli.main import main; import numpy as np; np.save(path + '.npy', np.ones((3, 4, 5))); "
        "assert main(['compress', path + '.npy', path, '--isolate', '--max-error', '0']) == 0",
    ],
)
def test_reading_a_file_imports_nothing_heavy(file: Path, code: str) -> None:
    check = f"import sys; path = sys.argv[1]; {code}; sys.exit(', '.join({HEAVY} & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", check, str(file)], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_a_fit_on_a_cpu_imports_no_torch(device: str, tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np, napari_tinc as tinc; from napari_tinc import devices; "
        "devices._may_have_gpu = lambda: False; from napari_tinc.training import task; "
        "task.LEAST_STEPS, task.STEPS['fast'], task.BATCH['fast'] = 20, 1, 512; "
        "volume = np.random.default_rng(0).normal(size=(24, 24, 24)); "
        "tinc.compress(volume, ratio=16, preset='fast', method='networks', device=sys.argv[1]).save(sys.argv[2]); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, device, str(tmp_path / "v.tinc")], check=True, timeout=110)


def test_a_slice_of_networks_imports_nothing_that_it_does_not_need() -> None:
    code = "import sys, napari_tinc as tinc, numpy as np; np.asarray(tinc.open(sys.argv[1])[3]); "
    # Metadata, filters and the predictive coder; what saving needs; numpy.ma, which np.unique imports.
    others = ("napari_tinc.bounded", "napari_tinc.filtering", "napari_tinc.format.details", "shutil", "numpy.ma.")
    check = f"sys.exit(', '.join(module for module in sys.modules if module.startswith({others})) or 0)"
    subprocess.run([sys.executable, "-c", code + check, str(NETWORKS)], check=True, timeout=60)


@pytest.mark.parametrize("module", ["napari_tinc", "napari_tinc.cli.main"])
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


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_the_core_imports_no_gui(path: Path) -> None:
    found = [module for module, _ in imported(ast.parse(path.read_text(encoding="utf-8"))) if is_gui(module)]
    assert found == (["napari"] if path == PACKAGE / "cli" / "demo.py" else [])


def test_the_only_import_of_napari_is_inside_what_shows_the_demo() -> None:
    functions = [
        node for node in ast.parse((PACKAGE / "cli/demo.py").read_text()).body if isinstance(node, ast.FunctionDef)
    ]
    assert [f.name for f in functions if any(is_gui(module) for module, _ in imported(f))] == ["_show"]


def test_the_check_above_would_find_one() -> None:
    code = "import napari.layers\nfrom .plugin import reader\nfrom . import plugin\nfrom qtpy.QtCore import Qt\n"
    assert len([module for module, _ in imported(ast.parse(code)) if is_gui(module)]) == 6
    assert not is_gui("napari_tinc.decoding.volume")


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_torch_is_imported_inside_functions_only(path: Path) -> None:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    at_import = [node for node in body if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.If)]
    assert not [m for node in at_import for m, _ in imported(node) if m.split(".")[0] in ("torch", "skimage")]


# --- rooms ------------------------------------------------------------------------------------------------------------

# Lowest first. A room, or a file beside the rooms, imports only what stands on a line above its own.
ORDER = (
    (
        "array_like",
        "errors",
        "octree",
        "devices",
        "texts",
        "compiled",
    ),
    (
        "differences",
        "similarity",
    ),
    (
        "control",
        "format",
    ),
    ("storage",),
    (
        "io",
        "bounded",
        "networks",
        "metrics",
        "correlation",
    ),
    ("filtering",),
    (
        "decoding",
        "region_quality",
        "samples",
    ),
    ("events",),
    ("training",),
    ("encoding",),
    (
        "isolation",
        "sharing",
        "zarr_codec",
    ),
    (
        "plugin",
        "cli",
    ),
)
FLOOR = {room: number for number, rooms in enumerate(ORDER) for room in rooms}
# Beside the rooms lies only what several of them need.
GROUND_FLOOR = {
    "array_like", "compiled", "control", "correlation", "devices", "differences", "errors", "events", "metrics",
    "octree", "region_quality", "samples", "similarity", "texts",
}  # fmt: skip
MOST_LINES = 400
MOST_FILES = 20  # of a room, without those of its panels

MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def modules_imported(module: str, code: str) -> Iterator[str]:
    """What a module imports of this package, in functions and for types, too; named from the package down."""
    package = module.split(".") if MODULES.get(module, Path()).name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[2] for name in node.names if name.name.startswith("napari_tinc."))
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            absolute = [*start, *(node.module or "").split(".")] if node.module else start
            if not node.level:
                if absolute[0] != "napari_tinc":
                    continue
                absolute = absolute[1:]
            for name in node.names:
                inner = ".".join([*absolute, name.name])
                target = inner if inner in MODULES else ".".join(absolute)
                if target:
                    yield target


def against_the_order(module: str, code: str) -> list[str]:
    room = module.split(".")[0]
    others = [target for target in modules_imported(module, code) if target.split(".")[0] != room]
    return [target for target in others if FLOOR[target.split(".")[0]] >= FLOOR[room]]


@pytest.mark.parametrize("module", [module for module in MODULES if module != "__init__"])
def test_a_room_imports_only_what_stands_before_it(module: str) -> None:
    assert against_the_order(module, MODULES[module].read_text(encoding="utf-8")) == []


def test_wrong_imports_would_be_found() -> None:
    assert against_the_order("format.head", "from ..decoding import volume\n") == ["decoding.volume"]
    assert against_the_order("format.head", "def f():\n    from ..decoding.volume import open\n") == ["decoding.volume"]
    assert against_the_order("errors", "from .encoding.compress import fit\n") == ["encoding.compress"]
    assert against_the_order("bounded.box", "from napari_tinc.networks.weights import StoredNetwork\n") == [
        "networks.weights"
    ]
    assert against_the_order("plugin.compress.widget", "from ...cli import tables\n") == ["cli.tables"]
    assert against_the_order("cli.compress", "from ..io.read import read_image\nfrom .paths import x\n") == []


def test_imports_go_in_no_circle() -> None:
    imports = {
        module: set(modules_imported(module, path.read_text(encoding="utf-8"))) & set(MODULES) - {module}
        for module, path in MODULES.items()
        if module != "__init__"
    }
    while leaves := [module for module, targets in imports.items() if not targets & set(imports)]:
        for module in leaves:
            del imports[module]
    assert imports == {}


def test_beside_the_rooms_lies_only_the_ground_floor() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == GROUND_FLOOR | {"__init__"}


def test_files_and_rooms_are_small() -> None:
    lines = {path.relative_to(PACKAGE).as_posix(): len(path.read_text().splitlines()) for path in MODULES.values()}
    assert {name for name, count in lines.items() if count > MOST_LINES} == set()
    rooms = {path.parent for path in MODULES.values() if path.parent != PACKAGE}
    assert all(len(list(room.glob("*.py"))) <= MOST_FILES for room in rooms)


def test_files_of_tests_are_small() -> None:
    lines = {
        path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in Path(__file__).parent.rglob("*.py")
    }
    assert {name for name, count in lines.items() if count > MOST_LINES} == set()
