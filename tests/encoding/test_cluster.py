"""A cluster does what one process does, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from block_volumes import OPTIONS, smooth
from short_fits import shorten

import napari_tinc as tinc
from napari_tinc.encoding import cluster

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")


@pytest.fixture(autouse=True)
def _short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers in threads of this process: what is sent is pickled all the same."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp"
        ) as made,
        distributed.Client(made, set_as_default=False) as client,
    ):
        yield client


@pytest.mark.parametrize("kind", ["numpy", "zarr", "dask"])
def test_the_same_bytes(client: Any, kind: str, tmp_path: Path) -> None:
    volume = smooth()
    array: Any = volume
    if kind == "zarr":
        array = pytest.importorskip("zarr").create_array(tmp_path / "v.zarr", data=volume, chunks=(16, 16, 16))
    elif kind == "dask":
        array = pytest.importorskip("dask.array").from_array(volume, chunks=20)
    found = tinc.compress(array, **OPTIONS, scheduler=client)
    assert found.parts.data() == tinc.compress(volume, **OPTIONS).parts.data()


def test_a_method_that_was_asked_for(client: Any) -> None:
    """Blocks of networks go to the cluster; the search for a bound is made here."""
    for method in ("networks", "predictive"):
        found = tinc.compress(smooth(), **OPTIONS, method=method, scheduler=client)
        assert found.method == method
        assert found.parts.data() == tinc.compress(smooth(), **OPTIONS, method=method).parts.data()


def test_an_address_will_do(client: Any) -> None:
    found = tinc.compress(smooth(), **OPTIONS, scheduler=client.scheduler.address)
    assert found.ratio >= 8


def test_a_fit_that_is_given_up_leaves_the_cluster_alone(client: Any) -> None:
    control = tinc.Control()
    for event in tinc.fit(smooth(), **OPTIONS, scheduler=client, control=control):
        assert not isinstance(event, tinc.Finished)
        if isinstance(event, tinc.Progress) and event.phase == "blocks":
            control.cancel.set()
    assert client.submit(int, 3).result(timeout=20) == 3


def test_a_failure_on_a_worker_is_told(client: Any) -> None:
    volume = smooth().astype("f8")
    volume[3, 3, 3], volume[3, 3, 4] = 1.7e308, -1.7e308
    with pytest.raises(ValueError, match="spans more than"):
        tinc.compress(volume, **OPTIONS, scheduler=client)


def test_no_scheduler_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 1)
    with pytest.raises(ValueError, match=r"no scheduler answers at tcp://127.0.0.1:9"):
        tinc.compress(smooth(), **OPTIONS, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ValueError, match="scheduler is 'foo', expected an address"):
        tinc.compress(smooth(), **OPTIONS, scheduler="foo")


@pytest.mark.parametrize("dtype", ["bool", ">i2", ">f4"])
def test_dask_arrays_of_other_dtypes(client: Any, dtype: str) -> None:
    """They reached the workers as they were, neither checked nor in native byte order."""
    volume = (smooth() > 1000 if dtype == "bool" else smooth()).astype(dtype)
    found = tinc.compress(
        pytest.importorskip("dask.array").from_array(volume, chunks=20), max_error=0, block=24, scheduler=client
    )
    assert found.parts.data() == tinc.compress(volume, max_error=0, block=24).parts.data()


def test_a_block_that_kills_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "fit_block", lambda *_: os._exit(9))
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as made,
        pytest.raises(tinc.ChildError, match="the cluster gave up a block: Attempted to run task"),
    ):
        tinc.compress(smooth(), **OPTIONS, scheduler=made.scheduler_address)


def test_a_scheduler_that_goes(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> None:
        raise OSError("Timed out trying to connect to it")

    monkeypatch.setattr(client, "nthreads", gone)
    with pytest.raises(tinc.ChildError, match="the scheduler is gone: Timed out"):
        tinc.compress(smooth(), **OPTIONS, scheduler=client)
