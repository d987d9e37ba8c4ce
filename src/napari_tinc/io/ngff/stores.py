"""Open a Zarr that lies in a folder, in a zip file or on a server, and find out what is in it."""

from __future__ import annotations

import os
import posixpath
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..image import library

ZARR_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
ZIP_SUFFIXES = (".ozx", ".zip")  # ".zarr.zip" among them
MOST_LISTED = 8  # Messages name at most so many images.

_NODES = ("zarr.json", ".zgroup", ".zarray")


def zarr_root(path: Path) -> Path | None:
    """Return the outermost folder that is a Zarr array or group and holds a path; None if the path is in none.

    The name of the folder does not count.
    """
    root = None
    for folder in (path, *path.parents):
        if not any((folder / name).is_file() for name in _NODES):
            break
        root = folder
    return root


def split_url(url: str) -> tuple[str, str]:
    """Split the URL of an image into that of a Zarr and the path in it."""
    match = re.fullmatch(r"(.+?\.zarr)(?:/(.*))?", url.rstrip("/"), re.IGNORECASE)
    return (match[1], match[2] or "") if match else (url, "")


class Tree:
    """The groups and arrays of a Zarr, by their paths.

    Parameters
    ----------
    location : a folder, a zip file, or a URL.

    Attributes
    ----------
    location : as it was given.
    """

    def __init__(self, location: str | os.PathLike[str]) -> None:
        self.location = os.fspath(location)
        self._zarr = library("zarr")
        self._top = ""
        self._store: Any = self.location
        if self.remote:
            self._store = _remote_store(self._zarr, self.location)
        elif self.location.lower().endswith(ZIP_SUFFIXES) and os.path.isfile(self.location):
            self._top = _top_of_zip(self.location)
            self._store = self._zarr.storage.ZipStore(self.location, mode="r")

    @property
    def remote(self) -> bool:
        """Whether it lies on a server, where nothing can be listed."""
        return "://" in self.location

    def name(self, path: str) -> str:
        """Return how the command line names a group or an array."""
        return f"{self.location.rstrip('/')}/{path}" if path else self.location

    def open(self, path: str) -> Any:
        """Open a group or an array. FileNotFoundError or KeyError if there is none."""
        return self._zarr.open(self._store, path=posixpath.join(self._top, path), mode="r")

    def is_array(self, node: Any) -> bool:
        """Tell whether what :meth:`open` returned is an array, and not a group."""
        return isinstance(node, self._zarr.Array)

    def attributes(self, path: str) -> dict[str, Any]:
        """Return the OME-Zarr attributes of a group; empty if there is no group."""
        try:
            node = self.open(path)
        except Exception:  # every kind of store has its own
            return {}
        return {} if self.is_array(node) else attributes_of(node)

    def is_without_chunks(self, path: str) -> bool:
        """Tell whether an array in a folder has its metadata, but none of its values."""
        folder = Path(self.location, path)
        return (
            not self.remote
            and folder.is_dir()
            and not any(name not in ZARR_FILES for _, _, names in os.walk(folder) for name in names)
        )


def attributes_of(group: Any) -> dict[str, Any]:
    """Return the OME-Zarr attributes of a group: those in "ome" since version 0.5."""
    attributes: dict[str, Any] = group.attrs.asdict()
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def images_in(tree: Tree, path: str, group: Any) -> list[str]:
    """Return the paths of images or arrays in a group that is none itself: fields of a plate, series, labels, members.

    At most :data:`MOST_LISTED` of a plate are looked up.
    """
    attributes = attributes_of(group)
    for key, inner in (("plate", "wells"), ("well", "images")):
        entries = attributes.get(key, {}).get(inner) if isinstance(attributes.get(key), dict) else None
        paths = [posixpath.join(path, str(entry["path"])) for entry in entries or () if "path" in entry]
        if key == "well" and paths:
            return paths
        if paths:
            return list(_first_fields(tree, paths))
    labels = attributes.get("labels")
    if isinstance(labels, list):
        return [posixpath.join(path, str(name)) for name in labels]
    members = [] if tree.remote else sorted((name for name in group if name != "OME"), key=_natural)
    if "bioformats2raw.layout" in attributes:
        members = [name for name in members if name.isdigit()]
    return [posixpath.join(path, name) for name in members]


def _first_fields(tree: Tree, wells: list[str]) -> Iterator[str]:
    """Yield the fields of the first wells."""
    found = 0
    for well in wells:
        for entry in tree.attributes(well).get("well", {}).get("images", ()):
            yield posixpath.join(well, str(entry.get("path")))
            found += 1
        if found > MOST_LISTED:
            return


def _natural(name: str) -> tuple[bool, int, str]:
    """Return a key that sorts numbers by their value, before other names."""
    return (not name.isdigit(), int(name) if name.isdigit() else 0, name)


def _top_of_zip(file: str) -> str:
    """Return the path in a zip file at which its one Zarr begins.

    Raises
    ------
    ValueError
        If it has none, or several.
    """
    with zipfile.ZipFile(file) as archive:
        folders = {posixpath.dirname(name) for name in archive.namelist() if posixpath.basename(name) in _NODES}
    tops = [folder for folder in folders if not any(_is_above(other, folder) for other in folders)]
    if len(tops) != 1:
        listed = f": {', '.join(sorted(tops)[:MOST_LISTED])}" if tops else ""
        raise ValueError(f"the zip file holds {len(tops)} Zarr images, expected one{listed}; unpack it first")
    return tops[0]


def _is_above(folder: str, other: str) -> bool:
    """Tell whether a folder in a zip file is one of those that hold another."""
    return folder != other and (not folder or other.startswith(f"{folder}/"))


def _remote_store(zarr: Any, url: str) -> Any:
    """Return the store at a URL. ImportError says what to install."""
    try:
        import fsspec

        if url.lower().rstrip("/").endswith(ZIP_SUFFIXES):
            raise ValueError("a zip file on a server is not read: download it first")
        system, _ = fsspec.url_to_fs(url)
        if not system.async_impl:
            from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

            return zarr.storage.FsspecStore(AsyncFileSystemWrapper(system), path=system._strip_protocol(url))
        return zarr.storage.FsspecStore.from_url(url, read_only=True)
    except ImportError as error:
        raise ImportError(f'opening {url} needs more libraries: pip install "napari-tinc[remote]" ({error})') from error
