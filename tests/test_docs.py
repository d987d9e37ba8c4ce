"""The documentation: every page can be reached, every link leads somewhere, and its code runs as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from short_fits import shorten

import napari_tinc as tinc
from napari_tinc import samples

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_tools"))

import links  # noqa: E402

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md") if "node_modules" not in path.parts)
WITH_CODE = ["README.md", *(page for page in PAGES if re.match("docs/(index|tutorials|how-to)", page))]
EDGE = 48  # voxels of the sample's corner on which the code runs, with few steps: seconds instead of minutes
SMALLER = {
    "size = 192": "size = 96",
    "--block 96": "--block 48",
    "300x512x512": "16x48x48",
}  # of the volume that is larger than memory
NOT_RUN = (
    "pip install", "make ", "napari ", "napari\n", "napari-tinc demo",  # tests of their own
    "--scheduler", "part.tinc",  # a cluster; a file that was cut off
)  # fmt: skip

in_clone = pytest.mark.skipif(not (ROOT / "mkdocs.yml").exists(), reason="not in an sdist")


def headings(path: Path) -> set[str]:
    """Anchors of a page's headings, as Markdown's table of contents makes them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    titles = [re.sub(r"[^\w\s-]", "", title).strip().lower() for title in re.findall(r"^#+ (.+)$", text, re.M)]
    return {re.sub(r"[-\s]+", "-", title) for title in titles}


@in_clone
def test_the_navigation_lists_every_page_once() -> None:
    yaml = pytest.importorskip("yaml")

    def pages(entry: Any) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        for inside in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
            yield from pages(inside)

    listed = sorted(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    written = [page.removeprefix("docs/") for page in PAGES]
    assert listed == sorted([*written, *links.INCLUDED.values(), *links.MADE])


@in_clone
@pytest.mark.parametrize("page", ["README.md", *links.INCLUDED, *PAGES])
def test_every_link_leads_somewhere(page: str) -> None:
    for target in links.targets((ROOT / page).read_text(encoding="utf-8")):
        if links.is_elsewhere(target):
            continue
        path = ROOT / page if target.startswith("#") else ROOT / links.in_repository(target, page)
        made = path.is_relative_to(DOCS) and path.relative_to(DOCS).as_posix() in links.MADE
        included = path.is_relative_to(DOCS) and path.relative_to(DOCS).as_posix() in links.INCLUDED.values()
        assert path.exists() or made or included, f"{page}: {target}"
        heading = target.partition("#")[2]
        if heading and path.suffix == ".md" and path.exists() and not heading.startswith("napari_tinc."):
            assert heading in headings(path), f"{page}: {target}"


@in_clone
@pytest.mark.parametrize("page", [*links.INCLUDED, *PAGES])
def test_lists_inside_of_lists_are_indented_for_the_site(page: str) -> None:
    """By four columns: GitHub and Qt take fewer, too, the site does not."""
    assert re.findall(r"^ {1,3}(?:[-*]|\d+\.) .*", (ROOT / page).read_text(encoding="utf-8"), re.M) == []


@in_clone
@pytest.mark.parametrize("page", ["README.md", *links.INCLUDED, *PAGES])
def test_commands_of_the_repository_exist(page: str) -> None:
    """``make`` and ``python -m benchmarks``, which are too slow to be run here."""
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert [name for name in re.findall(r"(?:^|`|\()make ([a-z]+)", text, re.M) if name not in targets] == []
    for module, arguments in re.findall(r"python -m (benchmarks[\w.]+)([^`#\n]*)", text):
        script = ROOT / f"{module.replace('.', '/')}.py"
        source = script.read_text(encoding="utf-8")
        assert [option for option in re.findall(r"--[a-z-]+", arguments) if f'"{option}"' not in source] == [], module


@in_clone
def test_every_benchmark_is_listed() -> None:
    scripts = {
        f"{path.parent.name}.{path.stem}"
        for path in (ROOT / "benchmarks").glob("*/*.py")
        if "__main__" in path.read_text(encoding="utf-8")
    }
    listed = re.findall(r"^\| `([\w.]+)` \|", (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8"), re.M)
    assert sorted(scripts) == sorted(listed)


def test_pictures_are_used() -> None:
    used = {links.in_repository(target, page) for page in [*PAGES, "README.md"]
            for target in links.targets((ROOT / page).read_text(encoding="utf-8"))}  # fmt: skip
    pictures = [path for path in DOCS.rglob("images/*") if path.is_file()]
    assert [path.name for path in pictures if path.relative_to(ROOT).as_posix() not in used] == []


@in_clone
def test_the_published_readme_has_absolute_links_only() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    published = links.absolute(text, "README.md")
    assert all(links.is_elsewhere(target) or target.startswith("#") for target in links.targets(published))
    assert f"({links.source_url()}/raw/main/docs/images/compare.png)" in published
    assert links.source_url() not in text  # it stands in pyproject.toml only


def test_links_are_rewritten_outside_of_code() -> None:
    text = "[![a](b.png)](c.md#d) `[x](y)`\n\n```\n[x](y)\n```\n\n[e](https://f.org) [g](#h)"
    assert links.targets(text) == ["b.png", "c.md#d", "https://f.org", "#h"]
    site = links.for_site("[a](../reader.py) [b](../../LICENSE) [c](../../SECURITY.md)", "docs/concepts/limits.md")
    assert site == f"[a](../reader.py) [b]({links.source_url()}/blob/main/LICENSE) [c](../developing/security.md)"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


@pytest.fixture(scope="module")
def corner() -> NDArray[np.uint8]:
    """A corner of the sample."""
    return np.ascontiguousarray(np.asarray(samples.mri().array)[:EDGE, :EDGE, :EDGE])


@pytest.fixture(scope="module")
def files(corner: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages name."""
    folder = tmp_path_factory.mktemp("files")
    tifffile.imwrite(folder / "brain.tif", corner)
    tifffile.imwrite(folder / "tissue.tif", (corner > 60).astype(np.uint8) + (corner > 150))
    tifffile.imwrite(folder / "ct.tif", corner.astype(np.int16))
    mask = np.zeros(corner.shape, np.uint8)
    mask[4:9, 4:9, 4:9] = 1
    tifffile.imwrite(folder / "tumour.tif", mask)
    tifffile.imwrite(folder / "weights.tif", 1 + 9 * mask.astype(np.float32))
    (folder / "slices").mkdir()
    for number, plane in enumerate(corner[:8]):
        tifffile.imwrite(folder / "slices" / f"ch0_{number}.tif", plane)
    corner[:16].astype(np.uint16).tofile(folder / "scan.vol")
    nibabel = pytest.importorskip("nibabel")
    for name in ("scan.nii.gz", "parts.nii.gz"):
        nibabel.Nifti1Image(corner[:16].T, np.eye(4)).to_filename(folder / name)
    tifffile.imwrite(folder / "cells.ome.tif", np.stack([corner, corner]), metadata={"axes": "CZYX"})
    tinc.compress(corner, max_error=20).save(folder / "brain.tinc")
    tinc.compress(corner.astype(np.int16), max_error=20).save(folder / "ct.tinc")
    return folder


@pytest.fixture
def workplace(files: Path, corner: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the code runs: those files are there, the sample is small, and training is short."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    sample = samples.mri()
    monkeypatch.setattr(samples, "mri", lambda: replace(sample, array=corner))
    shorten(monkeypatch)
    monkeypatch.chdir(tmp_path)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", WITH_CODE)
def test_the_code_of_a_page_runs(page: str, workplace: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Python in one namespace a page; of the shell, our own command."""
    from napari_tinc.cli.main import main

    text = (ROOT / page).read_text(encoding="utf-8")
    for old, new in SMALLER.items():
        text = text.replace(old, new)
    space: dict[str, Any] = {}
    for indent, language, block in re.findall(r"^( *)```(python|sh)\n(.*?)^ *```", text, re.M | re.S):
        lines = [line.removeprefix(indent) for line in block.splitlines()]
        if language == "python":
            exec(compile("\n".join(lines), page, "exec"), space)
            continue
        for line in lines:
            words = shlex.split(line, comments=True)
            if words[:1] != ["napari-tinc"] or any(part in f"{line}\n" for part in NOT_RUN):
                continue
            if "large.zarr" in words and not Path("large.zarr").exists():
                continue  # made on another page
            assert main(words[1:]) == 0, (line, capsys.readouterr().err)
