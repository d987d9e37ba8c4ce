"""Fits in a process of their own. Most are of files within a bound, whose child needs no torch and starts soon."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import psutil
import pytest
import tifffile
import zarr
from volumes import small_array

import napari_tinc as tinc
from napari_tinc.errors import ReadWarning
from napari_tinc.isolation import caller, messages
from napari_tinc.isolation.caller import fit_isolated

SLOW = 300.0  # seconds: longer than anybody waits


def children(process: psutil.Process | None = None) -> list[psutil.Process]:
    found = []
    for child in (process or psutil.Process()).children():
        with contextlib.suppress(psutil.Error):  # it has just ended
            if "napari_tinc.isolation.child" in child.cmdline():
                found.append(child)
    return found


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    yield
    assert not children() and not listening()


def listening() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tinc-child"]


class Hooked:
    """An array that does something when it is read."""

    def __init__(self, hook: Callable[[], object], array: np.ndarray | None = None) -> None:
        self.array, self.hook = small_array() if array is None else array, hook
        self.shape, self.dtype = self.array.shape, self.array.dtype

    def __getitem__(self, index: Any) -> np.ndarray:
        self.hook()
        return self.array[index]


def finished(events: Iterator[Any]) -> tinc.Finished:
    *_, last = events
    assert isinstance(last, tinc.Finished)
    return last


def test_the_same_events_and_bytes() -> None:
    array = small_array().astype("f4")
    array[3, 4:6, 5] = np.nan, -np.inf
    options = {"max_error": 0, "block": 16, "spacing": (2, 1, 1), "units": "mm", "seed": np.int64(3)}
    here, there = list(tinc.fit(array, **options)), list(fit_isolated(array, **options))
    assert [type(event) for event in there] == [type(event) for event in here]
    assert {type(event) for event in there} == {tinc.Planned, tinc.Progress, tinc.Finished}
    for one, other in zip(here, there, strict=True):
        if isinstance(one, tinc.Planned):
            assert (one.n_blocks, one.block_shape, one.method) == (other.n_blocks, other.block_shape, other.method)
        elif isinstance(one, tinc.Progress):
            # Blocks are coded side by side: the clock says which of them comes first, and with how many bytes.
            assert (one.phase, one.step, one.steps) == (other.phase, other.step, other.steps)
    assert there[-1].volume.parts.data() == here[-1].volume.parts.data()
    np.testing.assert_equal(there[-1].quality, here[-1].quality)  # of which some are nan
    np.testing.assert_array_equal(np.asarray(there[-1].volume), array)


def test_a_method_that_was_asked_for() -> None:
    options = {"ratio": 8, "method": "predictive"}
    planned, *_, there = fit_isolated(small_array(), **options)
    *_, here = tinc.fit(small_array(), **options)
    assert planned.method == there.method == "predictive" and there.reason == here.reason
    assert there.volume.parts.data() == here.volume.parts.data()
    with pytest.raises(ValueError, match="max_error=2 and method='networks' given, expected one"):
        list(fit_isolated(small_array(), max_error=2, method="networks"))


def test_networks_too_with_a_look_at_them() -> None:
    options = {"ratio": 12, "preset": "fast", "levels": 2}
    control = tinc.Control()
    control.look.set()
    *events, last = fit_isolated(small_array(), control=control, **options)
    (preview,) = [event for event in events if isinstance(event, tinc.Preview)]
    assert preview.values.shape == small_array().shape and preview.values.dtype == small_array().dtype
    expected = finished(tinc.fit(small_array(), **options))
    assert last.volume.parts.data() == expected.volume.parts.data() and last.quality == expected.quality


def test_stop_keeps_what_was_learnt() -> None:
    control, steps = tinc.Control(), []
    for event in fit_isolated(small_array(), control=control, ratio=12, preset="balanced", levels=2):
        if isinstance(event, tinc.Progress):
            steps.append(event.step)
            control.stop.set()
        last = event
    assert isinstance(last, tinc.Finished) and steps[-1] < 1250


def test_cancel_does_not_wait_for_a_slow_array() -> None:
    control = tinc.Control()
    go_on = threading.Event()

    def hook() -> None:
        control.cancel.set()
        go_on.wait(SLOW)

    began = time.monotonic()
    assert not any(
        isinstance(event, tinc.Finished) for event in fit_isolated(Hooked(hook), control=control, max_error=0)
    )
    assert not children() and time.monotonic() - began < SLOW / 5
    go_on.set()
    listening()[0].join(10)


def test_a_fit_that_is_dropped_ends() -> None:
    events = fit_isolated(small_array(), max_error=0)
    next(events)
    (child,) = children()
    if sys.platform == "linux":  # which is to end this one where memory runs out
        assert Path(f"/proc/{child.pid}/oom_score_adj").read_text() == "1000\n"
    events.close()
    assert not children()


@pytest.mark.parametrize(
    ("killed_by", "reason"),
    [
        ("SIGKILL", r"killed by the system \(SIGKILL\), most likely as memory ran out: it used \d\.\d GB or more"),
        ("SIGSEGV", r"the compression process crashed \(SIGSEGV\)"),
    ],
)
def test_a_child_that_dies_is_one_line(killed_by: str, reason: str) -> None:
    def kill() -> None:
        time.sleep(0.1)
        for child in children():
            child.send_signal(getattr(signal, killed_by))

    with pytest.raises(tinc.ChildError, match=reason) as caught:
        list(fit_isolated(Hooked(kill), max_error=0))
    assert "\n" not in str(caught.value) and not isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (-6, "the compression process crashed (SIGABRT)"),
        (-15, "the compression process was ended (SIGTERM)"),
        (
            -9,
            "compression was killed by the system (SIGKILL), most likely as memory ran out: it used 2.3 GB or more",
        ),
        (1, "the compression process ended without a result (exit code 1)"),
        (0xC0000005, "the compression process ended without a result (exit code 0xc0000005)"),
    ],
)
def test_causes(code: int, reason: str) -> None:
    assert caller.cause_of(code, 2.3e9) == reason


@pytest.mark.parametrize(
    "options",
    [{"axis_labels": "zz"}, {"max_error": 0, "channels": [{"name": "a"}]}],
)
def test_bad_arguments_are_the_same_errors(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)) as here:
        tinc.fit(small_array(), **options)
    with pytest.raises(here.type) as there:
        list(fit_isolated(small_array(), **options))
    assert str(there.value) == str(here.value)
    assert "Traceback" in there.value.__notes__[0]


@pytest.mark.parametrize("options", [{"ratio": -1}, {"max_error": 0, "size": 3}])
def test_bad_options_are_refused_before_a_process_is_started(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller, "_start", lambda _: pytest.fail("started"))
    with pytest.raises((ValueError, TypeError)) as here:
        tinc.fit(small_array(), **options)
    with pytest.raises(here.type) as there:
        fit_isolated(small_array(), **options)
    assert str(there.value) == str(here.value)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("6 GB"),
        tinc.TincError("bad"),
        ImportError("no h5py"),
        OSError(28, "No space left", "a"),
        UnicodeDecodeError("utf-8", b"", 0, 1, "bad"),
    ],
)
def test_errors_keep_their_kind(error: Exception) -> None:
    try:
        raise error
    except Exception as raised:
        said = json.loads(json.dumps(messages.pack_error(raised)))
    found = messages.unpack_error(said)
    assert isinstance(error, type(found)) and type(found) is not tinc.ChildError and str(found) == str(error)


def test_bad_arrays_need_no_child() -> None:
    for array in (np.zeros((3, 4)), np.zeros((3, 4, 5), complex), np.zeros((3, 4, 5), bool)):
        with pytest.raises((ValueError, TypeError)):
            fit_isolated(array)


def test_arguments_that_have_no_text() -> None:
    with pytest.raises(TypeError, match="a Event cannot be handed to another process"):
        list(fit_isolated(small_array(), scheduler=threading.Event()))


def test_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(caller.find_devices_isolated())[:2] == ["auto", "cpu"]
    (tmp_path / "torch.py").write_text("raise OSError('libfoo.so: wrong version')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError, match="PyTorch cannot be imported: libfoo.so: wrong version"):
        caller.find_devices_isolated()
    (tmp_path / "torch.py").write_text("import os; os.abort()")
    with pytest.raises(tinc.ChildError, match="PyTorch cannot be imported: .* crashed"):
        caller.find_devices_isolated()


def test_errors_of_files_and_arrays(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none.npy: there is no such file"):
        list(fit_isolated(tmp_path / "none.npy", max_error=0))
    (tmp_path / "f").write_text("")
    with pytest.raises(NotADirectoryError) as caught:
        list(fit_isolated(small_array(), max_error=0, resume=tmp_path / "f"))
    assert caught.value.filename == str(tmp_path / "f")

    def fail() -> None:
        raise KeyError("chunk 7")

    with pytest.raises(KeyError, match="chunk 7"):
        list(fit_isolated(Hooked(fail), max_error=0))


def test_other_errors_and_stray_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, warnings\n"
        "from napari_tinc.encoding import compress as codec\n"
        "def fit(*_, **options):\n"
        "    print('stray'); os.system('echo deeper'); warnings.warn('careful')\n"
        "    raise RuntimeError('shapes differ\\nat line 5')\n"
        "codec.fit = fit\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(tinc.ChildError, match="RuntimeError: shapes differ") as caught:
        list(fit_isolated(small_array(), max_error=0))
    assert str(caught.value) == "RuntimeError: shapes differ" and "at line 5" in caught.value.__notes__[0]
    out, err = capfd.readouterr()
    assert out == "" and all(text in err for text in ("stray", "deeper", "careful"))


def big_endian_and_not_contiguous(_: Path) -> np.ndarray:
    return np.asfortranarray(small_array().astype(">u2"))[::-1, 1::2]


def two_in_a_list(_: Path) -> Any:
    return np.stack([small_array()[:3] / 7, small_array()[3:6]]).tolist()


def mapped(folder: Path) -> Any:
    np.save(folder / "a.npy", small_array())
    return np.load(folder / "a.npy", mmap_mode="r")[2:]


def of_dask(_: Path) -> Any:
    return dask.array.from_array(small_array(), chunks=9) + 1


def of_zarr(folder: Path) -> Any:
    return zarr.create_array(str(folder / "a.zarr"), data=small_array(), chunks=(8, 8, 8))


def a_mask(_: Path) -> np.ndarray:
    return small_array() > 900


@pytest.mark.parametrize("make", [big_endian_and_not_contiguous, two_in_a_list, mapped, of_dask, of_zarr, a_mask])
def test_arrays_of_all_kinds(make: Callable[[Path], Any], tmp_path: Path) -> None:
    array = make(tmp_path)
    volume = finished(fit_isolated(array, max_error=0)).volume
    assert volume.parts.data() == finished(tinc.fit(array, max_error=0)).volume.parts.data()
    np.testing.assert_array_equal(np.asarray(volume), np.asarray(array))


def test_two_at_once() -> None:
    arrays = small_array(), small_array()[::-1].copy()
    pairs = zip(*(fit_isolated(array, max_error=0) for array in arrays), strict=True)
    *_, last = pairs
    for event, array in zip(last, arrays, strict=True):
        np.testing.assert_array_equal(np.asarray(event.volume), array)


def test_blocks_are_kept_until_the_caller_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    for last_one in (False, True):
        events = fit_isolated(small_array(), max_error=0, block=16, resume=folder)
        assert any(isinstance(event, tinc.Finished) for event in events)
        assert list(folder.glob("*.block"))
        if last_one:
            assert list(events) == [] and not folder.exists()
        else:
            events.close()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no signals")
def test_without_its_parent_the_child_ends() -> None:
    code = (
        "import time\nfrom test_isolation import Hooked, fit_isolated\n"
        "list(fit_isolated(Hooked(lambda: (print('reading', flush=True), time.sleep(300))), max_error=0))"
    )
    places = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": places}
    )  # not guarded by __main__, as a user's script
    with parent:
        assert parent.stdout.readline() == b"reading\n"
        (child,) = children(psutil.Process(parent.pid))
        parent.kill()
    child.wait(timeout=20)


def test_where_no_python_can_be_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/napari/napari")
    np.save(tmp_path / "a.npy", small_array())
    for source in (small_array(), tmp_path / "a.npy"):
        with pytest.warns(RuntimeWarning, match="napari is no Python that can be started"):
            events = fit_isolated(source, max_error=0)
        next(events)
        assert not children()
        np.testing.assert_array_equal(np.asarray(finished(events).volume), small_array())


def test_a_file_is_read_as_the_caller_says_and_what_is_doubtful_is_said_here(tmp_path: Path) -> None:
    for part in range(2):
        tifffile.imwrite(tmp_path / "v.tif", small_array() + part, append=True, photometric="minisblack", metadata={})
    with pytest.warns(ReadWarning, match="2 series are read as one stack"):
        *_, finished = fit_isolated(tmp_path / "v.tif", max_error=0)
    np.testing.assert_array_equal(finished.volume, np.concatenate([small_array(), small_array() + 1]))
    *_, finished = fit_isolated(tmp_path / "v.tif", read={"series": 1, "axes": "XZY"}, max_error=0)
    np.testing.assert_array_equal(finished.volume, (small_array() + 1).transpose(1, 2, 0))
