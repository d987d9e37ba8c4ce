"""What is published: a wheel of the package and nothing else, and an sdist that builds the same; how CI pins."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "napari_tinc"
DATA = {
    "__init__.pyi", "napari.yaml", "py.typed",
    "data/NOTICE-mni152.txt", "data/mri_mni152_crop.tif", "data/mri_mni152_crop.tinc",
    "plugin/guide/compress.md", "plugin/guide/leaves.md", "plugin/guide/compare.md",
}  # fmt: skip
IN_SDIST = {
    ".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "SECURITY.md", "constraints.txt", "docs",
    "napari.yaml", "pyproject.toml", "src", "tests",
}  # fmt: skip
UNPINNED = {"torch", "uv", "av", "imagecodecs"}  # alone; for `make lock`; for benchmarks

in_clone = pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="not in an sdist")


def build(kind: str, root: Path, folder: Path) -> Path:
    """A distribution, built as `make dist` does."""
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(folder)]
    subprocess.run(command, cwd=root, check=True, capture_output=True, timeout=100)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build("sdist", ROOT, folder)) as archive:
        (link,) = (member for member in archive if not member.isreg())
        assert (Path(link.name).name, link.linkname) == ("napari.yaml", "src/napari_tinc/napari.yaml")
        archive.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


def test_the_wheel_is_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    about = next(name for name in files if name.endswith("/METADATA")).rpartition("/")[0]
    modules = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    page = ["index.html", "style.css", "worker.js", "app/*.js", "reader/*.js"]
    viewer = ROOT / "docs" / "viewer"
    shared = {f"data/viewer/{path.relative_to(viewer).as_posix()}" for name in page for path in viewer.glob(name)}
    expected = {f"napari_tinc/{name}" for name in modules | DATA | shared}
    expected |= {f"{about}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    assert set(files) == expected
    assert re.search(b"^Root-Is-Purelib: true$", files[f"{about}/WHEEL"], re.M)
    assert wheel.name.endswith("-py3-none-any.whl")
    points = ConfigParser()
    points.read_string(files[f"{about}/entry_points.txt"].decode())
    assert {name: dict(points[name]) for name in points.sections()} == {
        "console_scripts": {"napari-tinc": "napari_tinc.cli.main:main"},
        "napari.manifest": {"napari-tinc": "napari_tinc:napari.yaml"},
        "zarr.codecs": {"tinc": "napari_tinc.zarr_codec:TincCodec"},
    }
    for name, data in files.items():
        assert str(ROOT).encode() not in data and str(Path.home()).encode() + b"/" not in data, name


def test_the_sdist_builds_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    assert {path.name for path in sdist.iterdir()} == IN_SDIST
    stray = [path for path in sdist.rglob("*") if path.name == "__pycache__" or path.suffix in (".pyc", ".so", ".pth")]
    assert stray == []
    assert build("wheel", sdist, tmp_path).read_bytes() == wheel.read_bytes()


def test_nothing_of_ours_runs_while_it_is_installed() -> None:
    assert not [name for name in ("setup.py", "setup.cfg", "hatch_build.py", "MANIFEST.in") if (ROOT / name).exists()]
    assert "hooks" not in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@in_clone
def test_everything_ci_installs_is_pinned_and_hashed() -> None:
    def pins(*names: str) -> dict[str, set[str]]:
        versions: dict[str, set[str]] = {}
        for text in ((ROOT / name).read_text(encoding="utf-8") for name in names):
            for package, version in re.findall(r"^([\w.-]+)==([\w.]+)", text, re.M):
                versions.setdefault(package.lower().replace("_", "-"), set()).add(version)
        return versions

    locks = ".ci/requirements.txt", ".ci/requirements-docs.txt"
    locked, chosen = pins(*locks), pins("constraints.txt")
    for package in set(chosen) - UNPINNED:
        assert locked[package] == chosen[package], f"{package}: make lock"
    shared = set(pins(locks[0])) & set(pins(locks[1]))
    assert shared and all(len(locked[package]) == 1 for package in shared)  # `make docs` changes no version
    blocks = [block for lock in locks for block in re.split(r"\n(?! )", (ROOT / lock).read_text().strip())]
    assert len(blocks) > 130
    for block in blocks:
        assert re.fullmatch(r"[\w.-]+==[\w.]+( ; [^\\\n]+)?( \\\n +--hash=sha256:[0-9a-f]{64})+", block), block[:80]


@in_clone
def test_actions_are_named_by_their_commits() -> None:
    for path in (ROOT / ".github" / "workflows").iterdir():
        text = path.read_text(encoding="utf-8")
        uses = re.findall(r"uses: (.*)", text)
        assert uses and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", action) for action in uses)
        assert "permissions:\n  contents: read\n" in text and text.count("persist-credentials: false") == 1
