"""Names for the files that layers are saved to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

IMPOSSIBLE = '<>:"/\\|?*'  # Characters that some system does not allow in the name of a file.


def file_name(name: str) -> str:
    """Return a name for a file that every system allows."""
    return (
        "".join(" " if each in IMPOSSIBLE or not each.isprintable() else each for each in name).strip(" .") or "image"
    )


def free_path(folder: Path, stem: str, taken: Iterable[Path] = ()) -> Path:
    """Return a path in a folder that nothing has yet: NAME.tinc, NAME 2.tinc, ..."""
    path, number = folder / f"{stem}.tinc", 1
    while path.exists() or path in taken:
        number += 1
        path = folder / f"{stem} {number}.tinc"
    return path
