"""Read HDF5 files."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..format.placement import Placement
from .arrays import ArrayOfFile, AxesView
from .image import Content, default_axes, library
from .own_facts import KEY, with_own_facts
from .read_options import ReadOptions, say
from .scaled import scaled
from .units import UNITS

# Filters that HDF5 itself has not, by the numbers that the HDF Group gives out; hdf5plugin has them.
_FILTERS = {
    307: "bzip2", 32000: "LZF", 32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle", 32013: "ZFP", 32015: "Zstandard",
    32017: "SZ", 32018: "FCIDECOMP", 32024: "SZ3", 32026: "Blosc2", 32028: "SPERR",
}  # fmt: skip
# Attributes of netCDF that name a value which is no measurement.
_FILLS = ("_FillValue", "missing_value")


def read_hdf5(file: Path, inside: str, options: ReadOptions) -> Content:
    """Read the dataset at a path in the file, or the only 3D dataset."""
    h5py = library("h5py")
    source = h5py.File(file, "r")  # closes when the last dataset taken from it is gone
    dataset = source.get(inside) if inside else None
    if not isinstance(dataset, h5py.Dataset):
        items: list[Any] = []
        source.visititems(lambda _, item: items.append(item))
        shapes = [(item, item.shape or ()) for item in items if isinstance(item, h5py.Dataset)]
        volumes = [item for item, shape in shapes if 3 in (len(shape), sum(length != 1 for length in shape))]
        more_axes = [item for item, shape in shapes if len(shape) > 3]
        volumes = volumes or (more_axes if len(more_axes) == 1 else [])
        if inside or len(volumes) != 1:
            problem = f"it has no dataset /{inside}" if inside else f"it has {len(volumes)} 3D datasets, not one"
            names = [f"{file}:{volume.name} ({'x'.join(map(str, volume.shape))})" for volume in volumes]
            more = ", ..." if len(names) > 10 else ""
            raise ValueError(
                f"{problem}; 3D datasets: {', '.join(names[:10]) or 'none'}{more}{_broken_links(source, h5py)}"
            )
        dataset = volumes[0]
    if dataset.shape is None:
        raise ValueError(f"dataset /{inside} is empty")
    sizes, unit = np.ravel(dataset.attrs.get("element_size_um", ())), "um"  # z, y, x: what Fiji's HDF5 plugin writes
    if not sizes.size:
        sizes, unit = np.ravel(dataset.attrs.get("element_size", ())), ""
    array = measured(dataset, ArrayOfFile(dataset, file, portable=False), options)
    axes = "".join(str(dim.label) for dim in dataset.dims).upper()
    if len(axes) != dataset.ndim or len(set(axes)) < len(axes) or not set("ZYX") <= set(axes):
        axes = default_axes(dataset.shape)
    content = Content(
        array, axes, [(size, unit) for size in sizes], placement=_placement(dataset),
        fill=declared_fill(array.dtype, dataset.attrs),
    )  # fmt: skip
    return with_own_facts(content, dataset.attrs.get(KEY))


def _placement(dataset: Any) -> Placement | None:
    """Return where the voxels lie, as napari-tinc writes it; None if the dataset does not say.

    In micrometres, or, if it has no unit, in that of the spacing.
    """
    matrix, unit = dataset.attrs.get("affine"), str(dataset.attrs.get("unit", ""))
    metres = UNITS.get(unit, ("", 0.0))[1] if unit else UNITS["micrometer"][1]
    if matrix is None or np.shape(matrix) != (4, 4) or not metres > 0:
        return None
    space = str(dataset.attrs.get("space", ""))
    factors = [[metres / UNITS["micrometer"][1]]] * 3
    with contextlib.suppress(ValueError):
        return Placement(affine=(np.asarray(matrix, float)[:3] * factors).tolist(), space=space)
    return None


def unsigned(array: Any, attributes: Mapping[str, Any]) -> Any:
    """Return the values as unsigned if the file says that they are, though netCDF's classic types are signed.

    ValueError if they are scaled, too.
    """
    said = attributes.get("_Unsigned", b"")
    said = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    if said.lower() != "true" or np.dtype(array.dtype).kind == "u":
        return array
    if np.dtype(array.dtype).kind != "i" or any(name in attributes for name in ("scale_factor", "add_offset")):
        raise ValueError("its values are scaled and said to be _Unsigned, which is not read")
    return AxesView(array, dtype=f"u{np.dtype(array.dtype).itemsize}")


def measured(dataset: Any, array: Any, options: ReadOptions) -> Any:
    """Return the values of a dataset as other programs show them: scaled, and NaN where netCDF says that none is there.

    Parameters
    ----------
    array : the dataset, or a view of it that reads it.

    Raises
    ------
    ImportError
        If it is compressed with a filter that is not installed.
    ValueError
        If some of its values are in files that are not here.
    """
    _check_filters(dataset)
    _check_parts(dataset)
    return unsigned(decoded(array, dataset.attrs, options), dataset.attrs)


def decoded(array: Any, attributes: Mapping[str, Any], options: ReadOptions) -> Any:
    """Return stored values scaled, and as NaN where none is there, as the attributes of netCDF and HDF5 files say."""
    array_dtype = np.dtype(array.dtype)
    if array_dtype.kind not in "iuf":
        return array
    slope, intercept = _slope_and_intercept(attributes)
    fills = [value for name in _FILLS if (value := _number(attributes, name, None)) is not None]
    if array_dtype.kind == "f":
        fills = [value for value in fills if value == value]  # NaN is NaN already
    if not fills and (slope, intercept) == (1, 0):
        return array
    if fills and (array_dtype.kind == "f" or (slope, intercept) != (1, 0)):
        say(f"voxels that hold {fills[0]:g} (_FillValue) have no value, and become NaN")
        dtype = np.result_type(array_dtype, np.float32) if array_dtype.kind == "f" else np.float64
        return _Measured(array, slope, intercept, fills, np.float32 if not options.precise else dtype)
    if fills:
        say(f"{fills[0]:g} (_FillValue) stands for voxels without a value; it is kept as a number")
    return scaled(array, slope, intercept, single=not options.precise)


def declared_fill(dtype: Any, attributes: Mapping[str, Any]) -> list[float]:
    """Return the integers that stand for voxels without a value, which :func:`decoded` keeps as numbers."""
    if np.dtype(dtype).kind not in "iu" or _slope_and_intercept(attributes) != (1, 0):
        return []
    values = [_number(attributes, name, None) for name in _FILLS]
    return [value for value in values if value is not None]


def _slope_and_intercept(attributes: Mapping[str, Any]) -> tuple[float, float]:
    """Return scale_factor and add_offset, 1 and 0 where they are missing.

    ValueError if either is not one finite number, or the first is 0.
    """
    numbers = []
    for name, usual in (("scale_factor", 1.0), ("add_offset", 0.0)):
        value = attributes.get(name)
        number = usual if value is None else _number(attributes, name, None)
        if number is None or not np.isfinite(number) or (name == "scale_factor" and number == 0):
            text = " ".join(str(value).split())
            kind = "times" if name == "scale_factor" else "plus"
            raise ValueError(f"its values are stored as numbers {kind} {text[:40]} ({name}), which has no meaning")
        numbers.append(number)
    return numbers[0], numbers[1]


class _Measured(AxesView):
    """A view of scaled values, in which those that stand for none are NaN."""

    def __init__(self, array: Any, slope: float, intercept: float, fills: list[float], dtype: Any) -> None:
        super().__init__(array, dtype=dtype)
        self.slope, self.intercept, self.fills = slope, intercept, fills

    def __getitem__(self, index: Any) -> Any:
        """Read a part."""
        stored = np.asarray(self.array[index])
        values = stored if (self.slope, self.intercept) == (1, 0) else stored * np.float64(self.slope) + self.intercept
        is_fill = np.isin(stored, np.array(self.fills).astype(stored.dtype))
        return np.where(is_fill, np.nan, values).astype(self.dtype)


def _number(attributes: Mapping[str, Any], name: str, usual: Any) -> Any:
    """Return the number in an attribute; ``usual`` if there is no such attribute, or one of another kind."""
    value = np.ravel(attributes.get(name, ()))
    return value[0].item() if value.size == 1 and value.dtype.kind in "iuf" else usual


def _check_filters(dataset: Any) -> None:
    """Raise ImportError if the dataset is compressed with a filter that is not installed."""
    h5z = library("h5py").h5z
    properties = dataset.id.get_create_plist()
    codes = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    if all(map(h5z.filter_avail, codes)):
        return
    with contextlib.suppress(ImportError):
        library("hdf5plugin")  # its import makes its filters known
    for code in codes:
        if not h5z.filter_avail(code):
            name = f" ({_FILTERS[code]})" if code in _FILTERS else ""
            raise ImportError(
                f"reading {dataset.name} needs the HDF5 filter {code}{name}, which is not installed: "
                'pip install hdf5plugin, which is in "napari-tinc[io]"'
            )


def _check_parts(dataset: Any) -> None:
    """Raise ValueError if parts of a dataset are in files that are not here; HDF5 reads the fill value there.

    Chunks that were never written are said.
    """
    folder = Path(dataset.file.filename).parent
    others = [(part.file_name, part.dset_name) for part in dataset.virtual_sources()] if dataset.is_virtual else []
    missing = [f"{name}:{path}" for name, path in others if not _has_dataset(dataset.file, folder, name, path)]
    missing += [name for name, *_ in dataset.external or () if not (folder / name).exists()]
    if missing:
        listed = ", ".join(dict.fromkeys(missing[:3]))
        raise ValueError(f"some of {dataset.name} is in {len(missing)} places that are not here: {listed}")
    if dataset.chunks is None or dataset.is_virtual or 0 in dataset.shape:
        return
    count = int(np.prod([-(-n // edge) for n, edge in zip(dataset.shape, dataset.chunks, strict=True)]))
    if (written := dataset.id.get_num_chunks()) < count:
        say(f"{count - written} of {count} chunks of {dataset.name} were never written; they are {dataset.fillvalue}")


def _has_dataset(file: Any, folder: Path, name: str, path: str) -> bool:
    """Tell whether a source of a virtual dataset is there; for a pattern (%b), whether one of its files is."""
    if name == ".":
        return path in file
    if "%b" in name or "%b" in path:
        return any(folder.glob(name.replace("%b", "*"))) or (folder / name).exists()
    if not (folder / name).exists():
        return False
    with library("h5py").File(folder / name, "r") as other:
        return path in other


def _broken_links(source: Any, h5py: Any) -> str:
    """Say which links of a file lead nowhere; "" if none does."""
    broken: list[str] = []

    def look(name: str, link: Any) -> None:
        if isinstance(link, h5py.SoftLink | h5py.ExternalLink) and source.get(name) is None:
            broken.append(f"/{name} to {getattr(link, 'filename', '')}{link.path}")

    source.visititems_links(look)
    return f"; links that lead nowhere: {', '.join(broken[:5])}" if broken else ""
