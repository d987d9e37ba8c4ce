"""Checks of file names, made before the work begins: whether an output can be written, or is its own input."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path


def is_same_file(path: str, other: str) -> bool:
    """Tell whether two paths lead to the same file, through links of any kind."""
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)


def is_inside(path: str, folder: str) -> bool:
    """Tell whether a path lies in a folder, through links of any kind."""
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents


def check_output(path: str, suffixes: Sequence[str]) -> None:
    """Raise ValueError if a file cannot be written, or its suffix is none of ``suffixes``."""
    folder, problem = os.path.dirname(os.path.realpath(path)), None
    if not Path(path).name.lower().endswith(tuple(suffixes)):
        problem = f"its suffix must be {' or '.join(suffixes)}"
    elif not os.path.isdir(folder):
        problem = f"there is no folder {folder}"
    elif Path(path).suffix.lower() == ".zarr":
        from ..io.ome_zarr import is_replaceable_zarr

        problem = None if is_replaceable_zarr(Path(path)) else "it is there, and is no Zarr folder"
    elif os.path.exists(path) and not os.path.isfile(path):
        problem = "it is not a regular file"
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.stat(path)  # a name may be too long, or a link to itself
        if not problem:
            tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        problem = error.strerror
    if problem:
        raise ValueError(f"cannot write {path}: {problem}")
