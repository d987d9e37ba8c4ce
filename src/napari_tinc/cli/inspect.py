"""The commands ``napari-tinc info``, ``verify`` and ``compare``, which read a file."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

import napari_tinc as tinc

from ..texts import promise_of
from .compress import figures_of, reading
from .output import print_result

if TYPE_CHECKING:
    from ..format.chunks import Chunk, ChunkEntry

# These are printed only for files with networks.
OF_NETWORKS = ("n_levels", "n_leaves", "n_scalars", "n_parameters", "widths", "weights", "calibration")


def run_info(args: argparse.Namespace) -> None:
    """Print what a file holds."""
    from ..decoding.network_box import NetworkBox
    from ..format.details import as_json
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
        "method": volume.method,
        "n_blocks": len(above) * math.prod(volume.shape[:-3]),
        "block_shape": (volume.parts.stop - volume.parts.start).max(axis=0).tolist(),
        "n_missing": volume.n_missing, "n_levels": max(widths, default=int(above.max())) + 1,
        "n_leaves": len(volume.leaves),
        "n_scalars": sum(int((networks.widths == SCALAR).sum()) for networks, _ in trees),
        "n_parameters": sum(int(parameter_counts(networks).sum()) for networks, _ in trees),
        "widths": [sorted(widths.get(level, ())) for level in range(max(widths, default=-1) + 1)],
        "weights": ", ".join(sorted({networks.weights_format.name.lower() for networks, _ in trees})),
        "calibration": ", ".join(sorted({networks.calibration.name.lower() for networks, _ in trees})),
        "provenance": {**written, "psnr": _number(written.get("psnr")), "ssim": _number(written.get("ssim"))},
    }  # fmt: skip
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
    named["method"] = _content_text(volume.method, result["n_blocks"])
    promise = [] if volume.error_bound is None or volume.n_missing else [promise_of(volume.error_bound)]
    print_result(args, result | tables, *promise, named, *filter(None, tables.values()))


def _content_text(method: str, n_blocks: int) -> str:
    """Say what a file consists of, in words."""
    if method == "predictive":
        return f"{n_blocks} block{'s'[: n_blocks > 1]} without networks (predictive coder)"
    return "an octree of networks" if n_blocks == 1 else f"{n_blocks} blocks, each an octree of networks"


def _number(value: Any) -> float:
    """Parse a number that PROVENANCE holds as text: inf for 9999, nan for anything that is not a number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return math.inf if number >= 9999 else number


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
    promise = "" if volume.error_bound is None else promise_of(volume.error_bound)
    if promise:
        result["error_bound"] = volume.error_bound
        text += f"\n{promise}; all values decode to what the encoder saw"
    if args.against is not None:  # an empty name is a mistake, not a wish to prove nothing
        from ..encoding.verify import verify_against
        from ..io.read import read_volumes

        wrong, largest = verify_against(volume, read_volumes(args.against, **reading(args)).array)
        if wrong:
            raise ValueError(
                f"{args.file}: {wrong} voxels differ from {args.against} by more than is promised ({promise})"
            )
        result |= {"against": args.against, "max_error": largest, "n_violations": 0}
        text += f"\nproved on all {volume.size:,} voxels of {args.against}: the worst is off by {largest:.6g}"
    print_result(args, result, text)


def run_compare(args: argparse.Namespace) -> None:
    """Print the quality of a file, measured against its original."""
    from ..decoding.values import MAX_EAGER_VOXELS
    from ..io.read import read_volumes

    volume = tinc.open(args.file)
    if volume.size > MAX_EAGER_VOXELS:
        raise ValueError(
            f"{args.file} has {volume.size} voxels, expected at most {MAX_EAGER_VOXELS}, as it is compared in memory; "
            "info tells the quality that was measured when it was written"
        )
    figures = figures_of(volume, tinc.compare(read_volumes(args.image, **reading(args)).array, volume), file=args.file)
    print_result(args, figures, [figures])
