"""What a fit can run on."""

from __future__ import annotations

from .networks.evaluate import cpu_count


def find_devices() -> dict[str, str]:
    """ "auto", "cpu" and the accelerators that torch finds, each with the memory that is free.

    Imports torch, for seconds.

    Raises
    ------
    ImportError
        If it cannot be imported.
    """
    import psutil

    try:
        import torch
    except Exception as error:  # a broken one raises anything
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ImportError(f"PyTorch cannot be imported: {reason}") from error
    found = {"cpu": f"{cpu_count()} cores, {psutil.virtual_memory().available / 1e9:.1f} GB free"}
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        found["cuda"] = f"{torch.cuda.get_device_name()}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU, memory shared with the CPU"
    best = next(name for name in ("cuda", "mps", "cpu") if name in found)
    return {"auto": f"{best}: {found[best]}", **found}
