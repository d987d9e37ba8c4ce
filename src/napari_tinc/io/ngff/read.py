"""Read a Zarr array, or the finest level of an OME-Zarr image."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..arrays import ArrayOfFile
from ..chosen import as_labels
from ..hdf5 import declared_fill, decoded
from ..image import Content, default_axes
from ..read_options import ReadOptions, say
from .labels import objects_of
from .metadata import (
    Placement,
    channels_of_omero,
    letters_of,
    level_paths,
    multiscales_of,
    placement_of,
    windows_of_omero,
)
from .place import details_of, world_of
from .stores import MOST_LISTED, Tree, attributes_of, images_in


def read_zarr(location: str | os.PathLike[str], inside: str, options: ReadOptions) -> Content:
    """Read what lies at a path in a Zarr folder, a zip file of one, or a Zarr on a server.

    An array that is a level of an OME-Zarr image has the axes and the spacing that the image states.

    Raises
    ------
    ValueError
        If there is no image at this path, or more than one; the message lists those that are there.
    """
    tree, path = Tree(location), inside.strip("/")
    node = _opened(tree, path)
    if tree.is_array(node):
        group_path, level = posixpath.split(path)
        attributes = tree.attributes(group_path) if path else {}
        image = _image_with_level(attributes, level)
        return (
            _plain_array(tree, path, node, options)
            if image is None
            else _level(tree, group_path, attributes, image, node)
        )
    attributes = attributes_of(node)
    images = multiscales_of(attributes)
    if not images:
        members = images_in(tree, path, node)
        if len(members) == 1 and members[0] != path and "bioformats2raw.layout" in attributes:
            return read_zarr(location, members[0], options)
        raise ValueError(_not_an_image(tree, attributes, members))
    return _level(tree, path, attributes, _chosen(images, options.series))


def _chosen(images: list[dict[str, Any]], series: int | None) -> dict[str, Any]:
    """Return the image of a group that --series names; the first one, and say so, if there are several."""
    if series is not None and series >= len(images):
        raise ValueError(f"--series is {series}, expected 0 to {len(images) - 1}: so many images are in it")
    if series is None and len(images) > 1:
        names = ", ".join(str(image.get("name") or level_paths(image)[0]) for image in images)
        say(f"the first of {len(images)} images is read ({names}); --series chooses another")
    return images[series or 0]


def _opened(tree: Tree, path: str) -> Any:
    """Open a group or an array. ValueError if there is none, or its metadata are damaged."""
    try:
        return tree.open(path)
    except (ImportError, MemoryError):
        raise
    except (FileNotFoundError, KeyError) as error:
        raise ValueError(f"there is no Zarr array or group at {tree.name(path)}") from error


def _image_with_level(attributes: Mapping[str, Any], level: str) -> dict[str, Any] | None:
    """Return the image of a group that an array is a level of; None if there is none."""
    images = multiscales_of(attributes)
    return next((image for image in images if level in level_paths(image)), None)


def _plain_array(tree: Tree, path: str, node: Any, options: ReadOptions) -> Content:
    """Read an array that no OME-Zarr image describes; as xarray shows it, if it is scaled."""
    # xarray stores them in the second place in Zarr version 2.
    names = getattr(node.metadata, "dimension_names", None) or node.attrs.get("_ARRAY_DIMENSIONS") or ()
    axes = letters_of([name for name in names if name]) if len(names) == node.ndim and all(names) else ""
    array = decoded(_array(tree, path, node), node.attrs, options)
    fill = declared_fill(array.dtype, node.attrs)
    return Content(array, axes if axes.strip("Q") else default_axes(node.shape), fill=fill)


def _level(
    tree: Tree, path: str, attributes: Mapping[str, Any], image: Mapping[str, Any], node: Any = None
) -> Content:  # fmt: skip
    """Read one level of an image: the one that is given, or the finest."""
    level = _finest(tree, path, image) if node is None else posixpath.basename(node.path)
    node = _opened(tree, posixpath.join(path, level)) if node is None else node
    if not tree.is_array(node):
        raise ValueError(f"level {level} of the image is a group, expected an array")
    placement = placement_of(image, level, node.ndim)
    channels, windows = channels_of_omero(attributes), windows_of_omero(attributes)
    details = details_of(placement, channels, windows)
    content = Content(
        _array(tree, posixpath.join(path, level), node), placement.axes, _sizes(placement), channels,
        windows=windows, placement=world_of(placement), details=details,
    )  # fmt: skip
    if not _are_labels(tree, path, attributes):
        return content
    return as_labels(content._replace(details=replace(details, objects=objects_of(attributes))))


def _finest(tree: Tree, path: str, image: Mapping[str, Any]) -> str:
    """Return the path of the level with the most voxels, which should be the first one."""
    first, *others = level_paths(image)
    sizes = {first: getattr(_opened(tree, posixpath.join(path, first)), "size", 0)}
    for level in [] if tree.remote else others:
        try:
            sizes[level] = getattr(tree.open(posixpath.join(path, level)), "size", 0)
        except Exception:  # a coarser level that is damaged is not needed
            continue
    finest = max(sizes, key=lambda level: sizes[level])
    if finest != first:
        say(f"the first level, {first}, is not the finest one: {finest} is read")
    return finest


def _sizes(placement: Placement) -> list[tuple[Any, Any]]:
    """Return size and unit along z, y, x."""
    return [placement.sizes.get(axis, (None, None)) for axis in "ZYX"]


def _are_labels(tree: Tree, path: str, attributes: Mapping[str, Any]) -> bool:
    """Tell whether an image is one of labels: it says so, or the group "labels" that it lies in does."""
    if "image-label" in attributes:
        return True
    parent, name = posixpath.split(path)
    return posixpath.basename(parent) == "labels" and name in (tree.attributes(parent).get("labels") or ())


def _array(tree: Tree, path: str, node: Any) -> ArrayOfFile:
    """Return the array, still unread. If none of its values are there, a warning says so."""
    if node.size and tree.is_without_chunks(path):
        say(f"{tree.name(path)} holds no values: every voxel is its fill value {node.fill_value}")
    return ArrayOfFile(node, Path(tree.name(path)), portable=True)


def _not_an_image(tree: Tree, attributes: Mapping[str, Any], members: list[str]) -> str:
    """Say what a group holds instead of an image, and what to give."""
    kind = "a plate" if "plate" in attributes else "a well" if "well" in attributes else "a Zarr group"
    if isinstance(attributes.get("labels"), list):
        kind = "a group of label images"
    listed = ", ".join(tree.name(member) for member in members[:MOST_LISTED]) or "none"
    more = ", ..." if len(members) > MOST_LISTED else ""
    what = "a field of it" if kind in ("a plate", "a well") else "an array or image in it"
    return f"it is {kind}, not an OME-Zarr image; give {what}: {listed}{more}"
