"""The devices that a fit can run on: CPU, CUDA, Apple's MPS."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def find_devices() -> dict[str, str]:
    """List the devices that a fit can use, each with its free memory in words. Imports PyTorch, which takes seconds.

    Returns
    -------
    "auto", "cpu", and "cuda" and "mps" where PyTorch finds them, with a description each.

    Raises
    ------
    ImportError
        If PyTorch cannot be imported.
    """
    import psutil

    try:
        import torch
    except Exception as error:  # a broken installation raises any error
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ImportError(f"PyTorch cannot be imported: {reason}") from error
    devices = {"cpu": f"{cpu_count()} cores, {psutil.virtual_memory().available / 1e9:.1f} GB free"}
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        devices["cuda"] = f"{torch.cuda.get_device_name()}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU, memory shared with the CPU"
    best = next(name for name in ("cuda", "mps", "cpu") if name in devices)
    return {"auto": f"{best}: {devices[best]}", **devices}


def cpu_count() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def pick_device(device: str) -> torch.device:
    """Return the PyTorch device of a name. "auto" takes CUDA if there is any, then MPS, then the CPU.

    Raises
    ------
    ValueError
        If PyTorch cannot use the device.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
    return torch.device(device)


def release_cached_memory(device: torch.device) -> None:
    """Return the GPU memory that PyTorch has cached to the system."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
