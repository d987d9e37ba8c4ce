"""Which device a name stands for; without a driver of a GPU nobody asks PyTorch."""

from __future__ import annotations

import pytest
import torch

from napari_tinc import devices


@pytest.mark.parametrize("name", ["cpu", "cpu:0"])
def test_the_cpu_needs_no_driver(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_may_have_gpu", lambda: pytest.fail("asked for a GPU"))
    assert devices.pick_device(name) == "cpu"


def test_auto_takes_the_best_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_may_have_gpu", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    assert devices.pick_device("auto") == "cpu"
    monkeypatch.setattr(devices, "_may_have_gpu", lambda: True)
    assert devices.pick_device("auto") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert devices.pick_device("auto") == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.pick_device("auto") == "cpu"


@pytest.mark.parametrize(
    ("platform", "machine", "found"),
    [("darwin", "arm64", True), ("darwin", "x86_64", False), ("linux", "x86_64", None)],
)
def test_a_gpu_has_a_driver(platform: str, machine: str, found: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.sys, "platform", platform)
    monkeypatch.setattr(devices.platform, "machine", lambda: machine)
    if found is not None:
        assert devices._may_have_gpu() is found
        return
    for is_there in (True, False):
        monkeypatch.setattr(devices.os.path, "exists", lambda path, is_there=is_there: is_there)
        assert devices._may_have_gpu() or not is_there
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: name)
    assert devices._may_have_gpu()


def test_a_gpu_that_is_not_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="device 'cuda' cannot be used"):
        devices.pick_device("cuda")
