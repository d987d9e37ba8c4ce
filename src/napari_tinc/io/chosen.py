"""Apply what a caller says of an image: the names of its axes, one channel of it, that its values are labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import AxesView, extremes
from .image import Content
from .read_options import ReadOptions, say

# Axes that a file calls otherwise: how a message says it.
_MEANINGS = {"C": "channels", "S": "samples of a colour", "T": "points in time"}


def with_axes(content: Content, axes: str) -> Content:
    """Return the content with other names of its axes, and the sizes of voxels where they belong then.

    ValueError if it has another number of axes.
    """
    shape = content.array.shape
    array, old = content.array, content.axes
    if len(axes) != len(old):
        kept = [axis for axis, length in enumerate(shape) if length != 1]
        if len(axes) != len(kept):
            lengths = " x ".join(map(str, shape))
            raise ValueError(f"--axes {axes} names {len(axes)} axes, but the image has {len(old)}: {old}, {lengths}")
        array, old = AxesView(array, kept, portable=getattr(array, "portable", False)), "".join(old[i] for i in kept)
    sizes = content.sizes
    if len(sizes) == 3:
        known = dict(zip("ZYX", sizes, strict=True))
        spare = [known[letter] for letter in "ZYX" if letter not in old]  # of an axis that the file calls otherwise
        moved = {
            new: known[was] if was in known else (spare or [(None, None)])[0]
            for new, was in zip(axes, old, strict=True)
        }
        sizes = [moved.get(letter, (None, None)) for letter in "ZYX"]
    placement = content.placement
    if placement is not None and [letter for letter in axes if letter in "ZYX"] != [c for c in old if c in "ZYX"]:
        say("the place of the volume in the world is not kept, as --axes gives its axes other names")
        placement = None
    return content._replace(array=array, axes=axes, sizes=sizes, placement=placement)


def one_channel(content: Content, channel: int | str) -> Content:
    """Return one channel of the content, given by its number from 0, or its name. ValueError if it has no such one."""
    axis = next((content.axes.index(letter) for letter in "CS" if letter in content.axes), None)
    if axis is None:
        raise ValueError(f"--channel {channel} given, but its axes are {content.axes}, without channels")
    names = [str(name) for name, _ in content.channels]
    count = content.array.shape[axis]
    number = _channel_number(str(channel), names, count)
    if number >= count:
        known = f": {', '.join(names)}" if any(name != "None" for name in names) else ""
        raise ValueError(f"--channel {channel} given, but it has {count} channels, 0 to {count - 1}{known}")
    order = [i for i in range(len(content.axes)) if i != axis]
    array = OneOf(content.array, axis, number)
    return content._replace(array=array, axes="".join(content.axes[i] for i in order), channels=())


def _channel_number(text: str, names: list[str], count: int) -> int:
    """Return the number of a channel that is given by number or name; ``count`` if there is none.

    ValueError if several channels have the name.
    """
    same = [number for number, name in enumerate(names) if name == text]
    if text.isdecimal() and int(text) < count:
        if same and same != [int(text)]:
            say(f"--channel {text} is taken as a number, though channel {same[0]} is called {text}, too")
        return int(text)
    if len(same) > 1:
        listed = ", ".join(map(str, same))
        raise ValueError(f"--channel {text} given, but channels {listed} are called so: give the number of one")
    return same[0] if same else count


class OneOf(AxesView):
    """A view of an array at one place along an axis."""

    def __init__(self, array: Any, axis: int, number: int) -> None:
        order = [i for i in range(len(array.shape)) if i != axis]
        super().__init__(array, order, portable=getattr(array, "portable", False))
        self.place[axis] = number


def as_labels(content: Content) -> Content:
    """Return the content as labels: whole numbers that a file has as floats become integers.

    ValueError if a number is not whole, or too large.
    """
    array = content.array
    if np.dtype(array.dtype).kind == "f":
        low, high = extremes(array)
        if not (np.isfinite([low, high]).all() and low >= -(2**31) and high < 2**31):
            raise ValueError(f"its values are {low:g} to {high:g}, expected labels: whole numbers of 32 bits")
        array = WholeNumbers(array, dtype=np.int32)
    elif np.dtype(array.dtype).kind == "b":
        array = AxesView(array, dtype=np.uint8)
    elif np.dtype(array.dtype).kind not in "iu":
        raise ValueError(f"its values are {array.dtype}, expected labels: whole numbers")
    return content._replace(array=array, labels=True)


class WholeNumbers(AxesView):
    """A view of an array of floats as integers. Reading one that is not whole raises ValueError."""

    def __getitem__(self, index: Any) -> Any:
        """Read a part."""
        values = np.asarray(self.array[index])
        whole = values.astype(self.dtype)
        if (whole != values).any():
            raise ValueError(f"a label is {values[whole != values].flat[0]}, expected whole numbers")
        return whole


def chosen(content: Content, options: ReadOptions) -> Content:
    """Return the content as the caller says it is to be read."""
    if options.axes is not None:
        content = with_axes(content, options.axes)
    if options.channel is not None:
        content = one_channel(content, options.channel)
    return as_labels(content) if options.labels else content


def how_to_name(axes: str, shape: tuple[int, ...]) -> str:
    """Say how to make volumes of an image whose axes are not z, y, x, maybe after others."""
    if axes.count("Q") == 1 and "S" in axes and "Z" not in axes:
        axes = axes.replace("Q", "Z")
    if "S" in axes and set("ZYX") <= set(axes):
        named = axes.replace("S", "C" if "C" not in axes else "T")
        return f"its voxels are colours: --axes {named} takes these for channels, --channel 0 the first of them"
    if axes == "YXS":
        return "it is a single picture in colours; give the folder that has all slices"
    if len(shape) < 3:
        return "it is a single slice; give the folder that has all slices" if len(shape) == 2 else "it is no image"
    other = _with_slices(axes)
    called = [_MEANINGS[letter] for letter in axes if letter in _MEANINGS and "Z" not in axes]
    meaning = f" ({called[0]})" if called else ""
    return f"if these{meaning} are slices, say so with --axes {other}, a letter an axis"


def _with_slices(axes: str) -> str:
    """Return letters for axes of which one is to be slices: the last one that is neither Y nor X, where it stands."""
    if not ("Y" in axes and "X" in axes):
        return f"{_spare(len(axes) - 3)}ZYX"
    others = [place for place, axis in enumerate(axes) if axis not in "YX"]
    letters = dict(zip(others, f"{_spare(len(axes) - 3)}Z", strict=True))
    return "".join(letters.get(place, axis) for place, axis in enumerate(axes))


def _spare(count: int) -> str:
    """Return letters for so many axes before z, y, x."""
    if not count:
        return ""
    return "QTC"[-count:] if count <= 3 else "PQRSTUVW"[:count]
