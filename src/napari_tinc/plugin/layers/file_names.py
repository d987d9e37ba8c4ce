"""Names for the files that layers are saved to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

IMPOSSIBLE = '<>:"/\\|?*'  # Some system does not allow these characters in the name of a file.


def file_name(name: str) -> str:
    """Return a name for a file in which what some system does not allow is replaced by spaces."""
    return (
        "".join(" " if each in IMPOSSIBLE or not each.isprintable() else each for each in name).strip(" .") or "image"
    )


def free_path(folder: Path, stem: str, taken: Iterable[Path] = ()) -> Path:
    """Return the first path in a folder that is neither there nor ``taken``: NAME.tinc, NAME 2.tinc, ..."""
    path, number = folder / f"{stem}.tinc", 1
    while path.exists() or path in taken:
        number += 1
        path = folder / f"{stem} {number}.tinc"
    return path
