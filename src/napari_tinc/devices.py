"""The devices that a fit can run on: CPU, CUDA, Apple's MPS."""

from __future__ import annotations

import ctypes
import os
import platform
import sys


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


def pick_device(device: str) -> str:
    """Return the name of a device that can be used. "auto" takes CUDA if there is any, then MPS, then the CPU.

    PyTorch is imported only if there may be a GPU.

    Raises
    ------
    ValueError
        If PyTorch cannot use the device.
    """
    if device.partition(":")[0] == "cpu" or (device == "auto" and not _may_have_gpu()):
        return "cpu"
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
    return str(torch.device(device))


def _may_have_gpu() -> bool:
    """Return whether the machine has what PyTorch needs for a GPU: an NVIDIA or AMD driver, or Apple's processor."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if os.path.exists("/dev/kfd"):  # AMD's driver on Linux
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def release_cached_memory(device: str) -> None:
    """Return the GPU memory that PyTorch has cached to the system."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device.startswith("mps"):
        torch.mps.empty_cache()
