"""Between a TincVolume and a napari image or labels layer: data, scale, units, axis labels, and if they still agree.

Works on layer data and plain dictionaries of layer arguments; knows nothing of viewers or Qt.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...decoding.lazy_array import LazyArray
from ...decoding.volume import CACHE_BYTES, TincVolume
from . import display, drawing
from .array_views import ColorsFirst, Narrowed, Part
from .display import Seen, brightness

VOLUME, CHECKSUM, PROMISE = "tinc", "tinc_crc32", "tinc_promise"  # keys in a layer's metadata
SOURCE = "tinc_source"  # key in the metadata of a compressed copy: a weak reference to the layer it was made from
# What compressing adds to a layer's name, and what napari adds to that where a layer has the same name.
COPY_SUFFIX = re.compile(r"(?: \(tinc[^()]*\)(?: \[\d+\])?)+$")
MOST_BLOCKS = 64  # of a file that is decoded at once: reading many small ones takes longer than their voxels
COLORS = ("cyan", "yellow", "magenta", "red", "green", "blue")  # of channels whose file does not say it
UNIT_SCALE = (1.0, 1.0, 1.0)
MOST_VOLUMES = 1000  # in one layer; more are a mistake
UNNAMED = "spqt"  # axes before z, y, x whose labels are not letters
RGB = {"R": "#ff0000", "G": "#00ff00", "B": "#0000ff", "A": "#ffffff"}


@dataclass(frozen=True, slots=True)
class Geometry:
    """Edges of a voxel along z, y, x in ``units`` (None for pixels), and one letter an axis, those before z too."""

    spacing: tuple[float, float, float]
    units: str | None
    axis_labels: str


def to_layers(
    volume: TincVolume, name: str, eager_voxels: int, cache_bytes: int = CACHE_BYTES
) -> list[tuple[Any, dict[str, Any]]]:  # fmt: skip
    """Data and arguments of the layers that show a volume: one a channel, whose name and colour they have.

    They are of the kind that :func:`kind` says. Labels are always a single layer.
    ``cache_bytes`` bounds what all of them together keep of what they have decoded.
    """
    labels = volume.axis_labels[:-3]
    if "c" not in labels or volume.labels:
        return [to_layer(volume, name, eager_voxels, cache_bytes)]
    axis = labels.index("c")
    count = volume.shape[axis]
    found = []
    for index in range(count):
        channel = volume.select(*(index if at == axis else None for at in range(len(labels))))
        said = volume.channels[index] if volume.channels else {}
        full_name = f"{name} {said.get('name') or f'channel {index}'}"
        data, arguments = to_layer(channel, full_name, eager_voxels, cache_bytes // count)
        arguments["contrast_limits"] = _limits(*brightness(channel))
        arguments["colormap"] = _colormap(said.get("color", ""), index, count)
        arguments["blending"] = "additive"
        found.append((data, arguments))
    return found


def to_layer(
    volume: TincVolume, name: str, eager_voxels: int, cache_bytes: int = CACHE_BYTES
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Data and arguments of the layer that shows a volume; axes before z, y, x become sliders.

    Data is an array, decoded here, for at most ``eager_voxels`` (or :data:`~.viewing.OVERVIEW_VOXELS`) in a file of
    few blocks, all of which can be read. Otherwise data is a list of lazy levels, finest first, or a single one.
    """
    unread = []

    def tell(reason: str) -> None:
        from napari.utils.notifications import show_error

        unread.append(reason)
        show_error(f"A part of {name} cannot be read, and is shown coarsely or grey: {reason}")

    metadata: dict[str, Any] = {VOLUME: volume}
    seen = Seen(volume, cache_bytes, tell)
    data: Any = seen.shown_levels if len(seen.shown_levels) > 1 else seen.shown_levels[0]
    if volume.size <= max(eager_voxels, display.OVERVIEW_VOXELS) and _n_blocks(volume) <= MOST_BLOCKS:
        decoded = drawing.while_drawing(lambda: np.asarray(seen))
        if not unread:
            data, metadata[CHECKSUM] = decoded, _checksum(decoded)
    drawing.install()
    leading = volume.ndim - 3
    arguments: dict[str, Any] = {
        "name": name,
        "scale": (1.0,) * leading + tuple(volume.spacing),
        "axis_labels": tuple(volume.axis_labels),
        "metadata": metadata,
    }
    if not volume.labels:
        arguments["contrast_limits"] = _limits(*volume.value_range)
    if (said := promise(volume)) and not unread:
        metadata[PROMISE] = said
    if units := _known_unit(volume.units):
        arguments["units"] = ("pixel",) * leading + (units,) * 3
    return data, arguments


def base_name(layer_name: str) -> str:
    """Strip what compressing adds to a layer's name: "brain" of "brain (tinc 64x)" and of "brain (tinc ±5) [1]"."""
    return COPY_SUFFIX.sub("", layer_name)


def source_of(layer: Any) -> Any:
    """Return the layer that a compressed copy was made from; None if there was none, or it no longer exists."""
    reference = layer.metadata.get(SOURCE)
    return None if reference is None else reference()


def is_copy(layer: Any, source: Any) -> bool:
    """Tell whether a layer shows a compressed copy of another: made from it, or of the same base name."""
    if layer is source or VOLUME not in layer.metadata:
        return False
    return source_of(layer) is source or base_name(layer.name) == base_name(source.name)


def kind(volume: TincVolume) -> str:
    """napari's name of the kind of layer that shows a volume."""
    return "labels" if volume.labels else "image"


def promise(volume: TincVolume) -> str:
    """How far its voxels may be from the original, in words; "" where nothing is promised, or a part is missing."""
    return "" if volume.error_bound is None or volume.n_missing else promise_of(volume.error_bound)


def promise_of(bound: float) -> str:
    """What a largest error means, in words."""
    return f"every voxel within {bound:g}" if bound else "every voxel bit for bit"


def _n_blocks(volume: TincVolume) -> int:
    return math.prod(volume.shape[:-3]) * len(volume.parts.start)


def _limits(low: float, high: float) -> tuple[float, float]:
    """Contrast limits that napari takes."""
    low, high = float(low), float(high)
    return (low, high) if low < high else (min(low, 0.0), max(high, 1.0))


def _colormap(color: str, index: int, count: int) -> Any:
    """From black to the colour that a file says ("#rrggbb"), or to one that differs from those of other channels."""
    if re.fullmatch("#[0-9a-fA-F]{6}", color):
        from napari.utils import Colormap

        rgb = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        return Colormap([[0, 0, 0, 1], [*rgb, 1]], name=color)
    return ("magenta", "green")[index] if count == 2 else COLORS[index % len(COLORS)]


def unchanged(data: Any, arguments: Mapping[str, Any]) -> TincVolume | None:
    """The volume that a layer's data was decoded from, if the data is still what was decoded."""
    metadata = arguments.get("metadata") or {}
    volume = metadata.get(VOLUME)
    if not isinstance(volume, TincVolume):
        return None
    finest = finest_of(data, arguments)
    if isinstance(finest, LazyArray):
        source, whole = finest.volume, volume.levels[0]
        seen = isinstance(source, Seen) and source.of is volume
        same = seen and (finest.factor, finest.axes) == (whole.factor, whole.axes)  # not flipped, for one
    else:
        same = (
            isinstance(data, np.ndarray)
            and (data.shape, data.dtype) == (volume.shape, volume.header.dtype)
            and _checksum(data) == metadata.get(CHECKSUM)
        )
    return volume if same else None


def finest(layer: Any) -> Any:
    """Data of a layer at full resolution."""
    return layer.data[0] if layer.multiscale else layer.data


def finest_of(data: Any, arguments: Mapping[str, Any]) -> Any:
    """The same of a layer's data and arguments."""
    return data[0] if arguments.get("multiscale") else data


def edited(layer: Any) -> str:
    """Why nothing is told of a layer whose data is no longer what its volume decodes to; "" where it is."""
    same = unchanged(*layer.as_layer_data_tuple()[:2]) is not None
    return "" if same else f"{layer.name} was changed since it was decoded: save it, and open that"


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Spacing, unit and labels of a layer's last three axes; of what napari allows, the part that a file can hold.

    Axes of different units are converted to that of x, or left without a unit where that cannot be done. A file
    knows labels of one letter; others become zyx.
    """
    scale = arguments.get("scale")
    sizes = [abs(float(size)) for size in (UNIT_SCALE if scale is None else scale)][-3:]
    units = list(arguments.get("units") or ())[-3:]
    name = _known_unit(units[-1]) if units else None
    if name is not None and len({str(unit) for unit in units}) > 1:
        sizes, name = _converted(sizes, units, name)
    labels = [str(label) for label in arguments.get("axis_labels") or ()][-3:]
    plain = len(labels) == 3 == len(set(labels)) and all(len(label) == 1 for label in labels)
    z, y, x = sizes
    return Geometry((z, y, x), name, "".join(labels) if plain else "zyx")


def with_geometry(volume: TincVolume, wanted: Geometry) -> TincVolume:
    """The same compressed volume with another spacing, unit or labels of z, y, x; itself if it has them."""
    labels = volume.axis_labels[:-3] + wanted.axis_labels[-3:]
    if len(set(labels)) < len(labels):
        labels = volume.axis_labels
    same = (
        np.allclose(volume.spacing, wanted.spacing, rtol=1e-9, atol=0)
        and _known_unit(volume.units) == wanted.units
        and volume.axis_labels == labels
    )
    if same:
        return volume
    spacing = None if wanted.spacing == UNIT_SCALE and wanted.units is None else wanted.spacing
    return volume.rewritten(spacing=spacing, units=wanted.units, axis_labels=labels)


def intensities(data: Any, arguments: Mapping[str, Any]) -> ArrayLike:
    """What of an image layer is to be compressed: its finest level.

    Raises
    ------
    ValueError
        If it is not one 3D volume; says what it is.
    """
    found = volumes_of(data, arguments)
    if len(found) > 1:
        name, shape = arguments.get("name", "the layer"), " x ".join(map(str, found[0][1].shape))
        raise ValueError(
            f"{name} holds {len(found)} volumes ({shape} each); compress it with the Compress widget, in one file or "
            "one each, and save what it makes"
        )
    return found[0][1]


def volumes_of(data: Any, arguments: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The 3D volumes in an image layer, lazily, each with what tells it from the others: channels, points in time.

    Raises
    ------
    ValueError
        If there is none, or too many to be meant.
    """
    name = arguments.get("name", "the layer")
    finest = finest_of(data, arguments)
    shape = " x ".join(map(str, finest.shape))
    if arguments.get("rgb"):
        if finest.ndim != 4:
            raise ValueError(f"{name} is an RGB image of {finest.ndim - 1} axes ({shape}); volumes have 3 (z, y, x)")
        return [(color, Part(finest, (), (index,))) for index, color in enumerate("RGBA"[: finest.shape[-1]])]
    if finest.ndim < 3:
        raise ValueError(f"{name} has {finest.ndim} axes ({shape}); only volumes of 3 (z, y, x) can be compressed")
    leading = finest.shape[:-3]
    count = math.prod(leading)
    if count > MOST_VOLUMES:
        raise ValueError(f"{name} holds {count} volumes ({shape}), expected at most {MOST_VOLUMES}")
    return [
        (", ".join(map(str, index)), Part(finest, index, ()) if index else finest) for index in np.ndindex(*leading)
    ]  # fmt: skip


def leading_letters(data: Any, arguments: Mapping[str, Any]) -> str:
    """Return the letters of the axes before z, y, x that a layer's axis labels name; "" where they do not."""
    labels = [str(label) for label in arguments.get("axis_labels") or ()]
    ndim = finest_of(data, arguments).ndim
    plain = len(labels) == ndim == len(set(labels)) and all(len(label) == 1 for label in labels)
    return "".join(labels[:-3]) if plain and not arguments.get("rgb") else ""


def together(
    data: Any, arguments: Mapping[str, Any], leading: str = "", channels: Sequence[Mapping[str, str]] = ()
) -> tuple[Any, str, list[dict[str, str]]]:
    """Return all volumes of a layer as one lazy array with axes (..., z, y, x), a letter an axis, and its channels.

    ``leading`` are the letters of the axes before z, y, x, for a layer whose labels do not name them; without, they
    are read as points in time. ``channels`` are names and colours for the axis "c".

    Raises
    ------
    ValueError
        If they are none.
    """
    volumes_of(data, arguments)
    finest = finest_of(data, arguments)
    last = geometry(arguments).axis_labels
    if arguments.get("rgb"):
        names = list(RGB)[: finest.shape[-1]]
        last = "zyx" if "c" in last else last
        return ColorsFirst(finest), "c" + last, [{"name": name, "color": RGB[name]} for name in names]
    count = finest.ndim - 3
    letters = leading_letters(data, arguments) or leading
    if set(letters) & set(last) or len(letters) != count:
        spare = [label for label in UNNAMED if label not in last]
        letters = "".join(spare[len(spare) - count :])  # sliders, as they are now
    named = "c" in letters and len(channels) == finest.shape[letters.index("c")]
    return finest, letters + last, [dict(channel) for channel in channels] if named else []


def as_it_is(data: Any) -> Any:
    """Labels that stay so while they are compressed, though the layer is painted on; as only arrays in memory are."""
    return data.copy() if isinstance(data, np.ndarray) else data


def names_of(data: Any) -> Any:
    """Labels of an array in a dtype that a file can hold: those of 64 bits in 32, checked where they are read."""
    dtype = np.dtype(data.dtype)
    return Narrowed(data, np.dtype(f"{dtype.kind}4")) if dtype.kind in "iu" and dtype.itemsize == 8 else data


def _checksum(array: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)


def _known_unit(unit: object) -> str | None:
    """pint's name of a unit of length; None for pixels and what pint does not know."""
    import pint

    if not unit:
        return None
    registry = pint.get_application_registry()
    try:
        parsed = registry.Unit(str(unit))
        return str(parsed) if parsed.is_compatible_with("meter") else None
    except Exception:  # pint's parser raises errors of many kinds, its tokenizer's among them
        return None


def _converted(sizes: Sequence[float], units: Sequence[object], name: str) -> tuple[list[float], str | None]:
    import pint

    registry = pint.get_application_registry()
    try:
        factors = [float(registry.Quantity(1, str(unit)).to(name).magnitude) for unit in units]
    except pint.errors.PintError:
        return list(sizes), None
    return [size * factor for size, factor in zip(sizes, factors, strict=True)], name
