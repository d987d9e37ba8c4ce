"""Networks on a GPU: the one that Chromium imitates. Its values are those of the processor, or it is given up."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from viewer.browser import CHROMIUM, Browser, Page
from viewer.test_browser import GOLDEN, SAMPLE, Shared

import napari_tinc as tinc

RECORDS = json.loads((GOLDEN / "golden.json").read_text())
NETWORKS = [name for name, record in RECORDS.items() if "crc32" not in record]
DECODED = """(async () => {
  const { open, bytesSource } = { ...await import('./reader/open.js'), ...await import('./reader/sources.js') };
  const { allowGpu, findGpu, gpuFacts } = await import('./reader/processors.js');
  const file = await open(bytesSource(Uint8Array.from(atob('DATA'), (one) => one.charCodeAt(0))));
  const all = [];
  BEFORE
  for (let volume = 0; volume < file.volumes; volume++)
    all.push(...await file.decode(volume, [0, 0, 0, ...file.shape]));
  return { values: all.map(Number), facts: gpuFacts() };
})()"""
ALLOWED = "allowGpu('any'); await findGpu();"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium with a GPU that a program imitates."""
    assert CHROMIUM, "Chromium is missing; make test installs it"
    with Browser(tmp_path_factory.mktemp("chromium"), flags="--enable-unsafe-webgpu") as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """The viewer with no file open."""
    with Shared("any.tinc", b"") as shared:
        page = browser.page(shared.link.partition("?")[0])
        yield page
        assert page.problems() == []
        page.close()


def decoded(page: Page, name: str, before: str) -> dict[str, Any]:
    data = base64.b64encode((GOLDEN / f"{name}.tinc").read_bytes()).decode()
    found = page.evaluate(DECODED.replace("BEFORE", before).replace("DATA", data))
    assert isinstance(found, dict)
    return found


def compare(name: str, values: list[float]) -> None:
    """Values within 1e-6 of the range, but for roundings to the dtype, of which few differ."""
    volume = tinc.open(GOLDEN / f"{name}.tinc")
    expected = np.asarray(volume).astype(np.float64).ravel()
    found = np.array(values)
    low, high = volume.value_range
    step = np.spacing(np.abs(np.asarray(volume))).astype(np.float64).ravel() if volume.dtype.kind == "f" else 1.0
    assert (np.abs(found - expected) <= 1e-6 * (high - low) + step).all()
    if volume.dtype.kind != "f" and high - low < 2**24:
        assert (found != expected).sum() <= 2 + found.size / 1000


def test_a_gpu_finds_what_the_processor_does(page: Page) -> None:
    pieces = 0
    for name in NETWORKS:
        found = decoded(page, name, ALLOWED if name == NETWORKS[0] else "")
        facts = found["facts"]
        assert facts["inUse"] and facts["trouble"] == "", name
        assert facts["pieces"] > pieces, name
        pieces = facts["pieces"]
        compare(name, found["values"])


@pytest.mark.parametrize(
    ("before", "trouble"),
    [
        (
            """const make = GPUDevice.prototype.createShaderModule;
            GPUDevice.prototype.createShaderModule = function ({ code }) {
              return make.call(this, { code: code.replace('3.140625', '3.14') });
            };"""
            + ALLOWED,
            "outputs are off by",
        ),
        (
            """const ask = GPUAdapter.prototype.requestDevice;
            GPUAdapter.prototype.requestDevice = async function () {
              const device = await ask.call(this);
              const submit = device.queue.submit;
              device.queue.submit = function (commands) { device.destroy(); return submit.call(this, commands); };
              return device;
            };"""
            + ALLOWED,
            "",
        ),
        ("GPUAdapter.prototype.requestDevice = async () => { throw new Error('none left'); };" + ALLOWED, "none left"),
    ],
    ids=["wrong sines", "a device that is lost", "no device"],
)
def test_a_gpu_that_fails_is_given_up(page: Page, before: str, trouble: str) -> None:
    found = decoded(page, "trained", before)
    assert not found["facts"]["inUse"] and found["facts"]["trouble"] and trouble in found["facts"]["trouble"]
    compare("trained", found["values"])


def test_an_imitated_gpu_is_not_used_unless_asked_for(page: Page) -> None:
    found = decoded(page, "trained", "allowGpu(''); await findGpu();")
    assert found["facts"] == {"inUse": False, "pieces": 0, "trouble": ""}


def test_the_page_decodes_with_it(browser: Browser) -> None:
    with Shared("any.tinc", SAMPLE.read_bytes()) as shared:
        page = browser.page(f"{shared.link}&gpu=any")
        page.wait("globalThis.tincViewer !== undefined && tincViewer.state().gpu.pieces > 0", 60)
        assert page.evaluate("tincViewer.state().gpu.trouble") == ""
        assert page.problems() == []
        page.close()
