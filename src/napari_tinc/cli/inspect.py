"""The commands ``napari-tinc info``, ``verify`` and ``compare``, which read a file."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import napari_tinc as tinc

from ..texts import promise_of_file
from .compress import figures_of, number_of, reading
from .output import print_result
from .tables import Part

if TYPE_CHECKING:
    from ..format.chunks import Chunk, ChunkEntry

# These are printed only for files with networks.
OF_NETWORKS = ("n_levels", "n_leaves", "n_scalars", "n_parameters", "widths", "weights", "calibration")


def run_info(args: argparse.Namespace) -> None:
    """Print what a file holds."""
    from ..decoding.network_box import NetworkBox
    from ..decoding.smooth_share import smooth_share
    from ..format.details import as_json
    from ..format.metadata import QUALITY_KEYS
    from ..format.networks_file import parameter_counts
    from ..format.widths import SCALAR

    volume = tinc.open(args.file, partial=args.partial)
    header, written = volume.header, volume.provenance
    above = volume.parts.levels_above()
    present = [(box, part) for _, box, part in volume.boxes() if part is not None]
    trees = [(part.header, int(above[box])) for box, part in present if isinstance(part, NetworkBox)]
    widths: dict[int, set[int]] = {}
    for networks, start in trees:
        for level in range(networks.tree.depth + 1):
            used = networks.widths[(networks.tree.level == level) & (networks.widths > 0)]
            widths.setdefault(start + level, set()).update(used.tolist())
    result = {
        "file": args.file, "shape": volume.shape, "axes": volume.axis_labels, "dtype": str(volume.dtype),
        "channels": volume.channels, "spacing": header.spacing, "units": volume.units,
        **as_json(volume.placement, volume.details),
        "value_range": volume.value_range, "error_bound": None if volume.n_missing else volume.error_bound,
        "bytes": volume.nbytes_compressed, "ratio": volume.ratio,
        "bits_per_voxel": 8 * volume.nbytes_compressed / volume.size,
        "method": volume.method, "n_network_blocks": len(trees), "background": smooth_share(volume),
        "n_blocks": len(above) * math.prod(volume.shape[:-3]),
        "block_shape": (volume.parts.stop - volume.parts.start).max(axis=0).tolist(),
        "n_missing": volume.n_missing, "n_levels": max(widths, default=int(above.max())) + 1,
        "n_leaves": len(volume.leaves),
        "n_scalars": sum(int((networks.widths == SCALAR).sum()) for networks, _ in trees),
        "n_parameters": sum(int(parameter_counts(networks).sum()) for networks, _ in trees),
        "widths": [sorted(widths.get(level, ())) for level in range(max(widths, default=-1) + 1)],
        "weights": ", ".join(sorted({networks.weights_format.label for networks, _ in trees})),
        "calibration": ", ".join(sorted({networks.calibration.name.lower() for networks, _ in trees})),
        "provenance": written | {
            key: number_of(written.get(key)) for key in QUALITY_KEYS if key in written or key in ("psnr", "ssim")
        },
    }  # fmt: skip
    if volume.parts.filter is not None:
        result["filter"] = volume.parts.filter.describe(written.get("filter"))
    if volume.n_exact:
        result |= {"exact_voxels": volume.n_exact, "exact_max_error": volume.regions.bound}
    result |= _fill_of(volume)
    groups: dict[tuple[str, int], list[Chunk | ChunkEntry]] = {}
    for chunk in volume.parts.entries():
        kind = f"unknown ({chunk.kind})" if chunk.role is None else chunk.role.name
        groups.setdefault((kind, chunk.level), []).append(chunk)
    tables = {"chunks": [
        {"kind": kind, "level": level, "chunks": len(group), "nodes": sum(chunk.n_nodes for chunk in group),
         "bytes": sum(chunk.length for chunk in group)} for (kind, level), group in groups.items()
    ]}  # fmt: skip
    if args.leaves and present:
        names = volume.leaves.dtype.names or ()
        tables["leaves"] = [{name: row[name].tolist() for name in names} for row in volume.leaves]
    named = {key: value for key, value in result.items() if volume.method == "networks" or key not in OF_NETWORKS}
    named["channels"] = [" ".join(channel.values()) for channel in volume.channels] or None
    named["method"] = _content_text(len(trees), len(present))
    del named["n_network_blocks"]
    share = named.pop("background")
    if share:
        named["background"] = f"{share:.1%} of the voxels"
    named = {key: value for key, value in named.items() if key not in ("fill", "fill_voxels")}
    promise = "" if volume.n_missing else _promise(volume)
    not_measured = volume.fill.describe(volume.header.dtype, volume.size)
    print_result(args, result | tables, *filter(None, [promise, not_measured]), named, *filter(None, tables.values()))


def _promise(volume: tinc.TincVolume) -> str:
    """Say in words what a file promises of its voxels; "" if nothing."""
    n_exact = volume.n_exact
    return promise_of_file(volume.error_bound, volume.regions.bound if n_exact else None, n_exact)


def _fill_of(volume: tinc.TincVolume) -> dict[str, Any]:
    """Return what a file says about voxels that are no measurements; empty if all are."""
    fill = volume.fill
    return {"fill": list(fill.values), "fill_voxels": fill.n_voxels} if fill.as_meta() else {}


def _content_text(n_networks: int, n_blocks: int) -> str:
    """Say what a file consists of, in words."""
    if not n_networks:
        return f"{n_blocks} block{'s'[: n_blocks > 1]} without networks (predictive coder)"
    if n_networks < n_blocks:
        rest = n_blocks - n_networks
        return f"{n_blocks} blocks: {n_networks} of networks, {rest} without (predictive coder)"
    return "an octree of networks" if n_blocks == 1 else f"{n_blocks} blocks, each an octree of networks"


def run_verify(args: argparse.Namespace) -> None:
    """Check a file, and with ``--against`` prove its bound on every voxel of the original."""
    from ..decoding.network_box import NetworkBox
    from ..format.networks_file import parameter_counts

    volume = tinc.open(args.file)
    volume.verify()
    trees = [part for _, _, part in volume.boxes() if isinstance(part, NetworkBox)]
    result: dict[str, Any] = {
        "file": args.file, "ok": True, "bytes": volume.nbytes_compressed, "n_chunks": len(volume.parts.entries()),
        "n_leaves": len(volume.leaves),
        "n_parameters": sum(int(parameter_counts(tree.header).sum()) for tree in trees),
    }  # fmt: skip
    text = "ok: {bytes:,} bytes, header and {n_chunks} chunks have their checksums, {n_parameters:,} parameters decoded"
    text = text.format(**result)
    if promise := _promise(volume):
        result["error_bound"] = volume.error_bound
        text += f"\n{promise}; all these values decode to what the encoder saw"
        if volume.n_exact:
            result |= {"exact_voxels": volume.n_exact, "exact_max_error": volume.regions.bound}
    result |= _fill_of(volume)
    if not_measured := volume.fill.describe(volume.header.dtype, volume.size):
        text += f"\n{not_measured}"
    if args.against is not None:  # an empty name is a mistake, not a wish to prove nothing
        from ..encoding.verify import verify_against
        from ..io.read import read_volumes

        proof = verify_against(volume, read_volumes(args.against, **reading(args)).array)
        if proof.violations:
            raise ValueError(
                f"{args.file}: {proof.violations} voxels differ from {args.against} by more than is promised "
                f"({promise})"
            )
        result |= {"against": args.against, "max_error": proof.max_error, "n_violations": 0}
        which = "all" if volume.error_bound is not None else "the"
        text += f"\nproved on {which} {proof.n_voxels:,} voxels of {args.against}: "
        text += f"the worst is off by {proof.max_error:.6g}"
    print_result(args, result, text)


def run_compare(args: argparse.Namespace) -> None:
    """Print the quality of a file, measured against its original: of all, and of the regions of a label image."""
    import numpy as np

    from ..correlation import fourier_shell_correlation, unit_of
    from ..decoding.comparing import quality_of
    from ..decoding.values import MAX_EAGER_VOXELS
    from ..encoding.verify import psnr_of_regions
    from ..io.read import read_volumes
    from ..metrics import without_fill
    from ..region_quality import measure_regions

    volume = tinc.open(args.file)
    if volume.size > MAX_EAGER_VOXELS:
        raise ValueError(
            f"{args.file} has {volume.size} voxels, expected at most {MAX_EAGER_VOXELS}, as it is compared in memory; "
            "info tells the quality that was measured when it was written"
        )
    original, values = np.asarray(read_volumes(args.image, **reading(args)).array), np.asarray(volume)
    figures = figures_of(volume, quality_of(original, values, volume), file=args.file)
    figures |= psnr_of_regions(original, values, volume)
    original, values = without_fill(original, values, volume.fill.values)
    unit = unit_of(volume.header.spacing, volume.units)
    correlation = fourier_shell_correlation(original, values, volume.spacing, unit)
    parts: list[Part] = [[figures], correlation.describe()]
    if boxes := correlation.describe_boxes():
        parts.append(boxes)
    result = figures | {"fsc": correlation.as_dict()}
    if args.regions is not None:  # an empty name is a mistake, not a wish for none
        try:
            rows = measure_regions(original, values, _read_labels(args.regions))
        except ValueError as error:
            raise ValueError(f"--regions {args.regions}: {error}") from error
        result["regions"] = [asdict(row) for row in rows]
        parts.append(result["regions"])
    print_result(args, result, *parts)


def _read_labels(path: str) -> Any:
    """Read a label image of any supported format, or from a lossless ``.tinc`` file.

    Raises
    ------
    ValueError
        If it is a ``.tinc`` file that is not lossless: its labels would be others.
    """
    from ..io.read import read_image

    if not path.lower().endswith(".tinc"):
        return read_image(path).array
    volume = tinc.open(path)
    if volume.error_bound != 0:
        raise ValueError("the file is not lossless, expected labels that are kept bit for bit (--max-error 0)")
    return volume
