"""Training lowers the loss, meets its bytes, is reproducible and leaves torch's settings as they were."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

from napari_tinc.control import Control
from napari_tinc.events import Progress
from napari_tinc.format.networks_file import WeightsFormat
from napari_tinc.format.widths import count_parameters
from napari_tinc.networks.architecture import Architecture
from napari_tinc.octree import Octree
from napari_tinc.training import shards, trainer
from napari_tinc.training.allocation import allocate
from napari_tinc.training.optimizer import orthogonalize
from napari_tinc.training.trainer import Fitted, Schedule, train


def run(seed: int = 0, **options: Any) -> tuple[list[Progress], Fitted]:
    z, y, x = np.meshgrid(*[np.linspace(0, 3, 20)] * 3, indexing="ij")
    volume = (np.sin(z + y) * np.cos(2 * x)).astype(np.float32)
    volume = (volume - volume.mean()) / volume.std()
    tree = Octree.full(volume.shape, 1)
    architecture = Architecture(tree, np.array([10, 6])[tree.level], 2, 4.0)
    nbytes, peak = options.pop("nbytes", 700.0), float(np.ptp(volume))
    schedule, control = Schedule(200, batch=1024), Control()
    training = train(volume, architecture, schedule, nbytes=nbytes, peak=peak, device="cpu", seed=seed, control=control)
    events = list(training)
    assert isinstance(events[-1], Fitted)
    return [e for e in events if isinstance(e, Progress)], events[-1]


def test_loss_falls_and_bytes_are_met() -> None:
    progress, fitted = run()
    last = progress[-1]
    assert last.step == last.steps == 200
    assert last.loss < 0.1 and last.psnr > 15
    assert last.nbytes == pytest.approx(700, rel=0.05)
    assert np.isfinite(fitted.vector).all() and (fitted.steps > 0).all()


def test_rounding_that_begins_with_steps_far_too_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Integers above 2^24 have infinitely many bits in float32; a report of them, early on a slow machine, failed."""
    monkeypatch.setattr(trainer, "REPORT_SECONDS", 0.0)
    progress, fitted = run(nbytes=1e6)
    rounded = [event.nbytes for event in progress if event.step > 60]
    assert rounded and all(nbytes is None or nbytes > 0 for nbytes in rounded) and None in rounded
    assert np.isfinite(fitted.vector).all()


def test_same_seed_same_weights() -> None:
    first, again, other = run(3)[1], run(3)[1], run(4)[1]
    np.testing.assert_array_equal(first.vector, again.vector)
    assert not np.array_equal(first.vector, other.vector)


def test_torch_keeps_its_threads_and_random_state() -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    run()
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_an_abandoned_generator_ends_its_threads() -> None:
    before = threading.active_count()
    volume = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    tree = Octree.full((8, 8, 8), 1)
    architecture = Architecture(tree, np.array([8, 4])[tree.level], 2, 4.0)
    events = train(
        volume, architecture, Schedule(100_000, batch=256), nbytes=500, peak=4.0, device="cpu", control=Control()
    )
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_orthogonalize_brings_singular_values_near_one(rng: np.random.Generator) -> None:
    matrices = torch.from_numpy(rng.normal(size=(5, 6, 9)).astype(np.float32)) * 1e-6
    values = torch.linalg.svdvals(orthogonalize(matrices, 5))
    assert values.min() > 0.5 and values.max() < 1.3


@pytest.mark.parametrize("form", WeightsFormat)
@pytest.mark.parametrize("shape", [(128, 128, 128), (60, 256, 256), (1, 50, 50), (2, 2, 2)])
def test_allocation_spends_the_budget_and_no_more(shape: tuple[int, int, int], form: WeightsFormat) -> None:
    bits = {WeightsFormat.ENTROPY: 5.2, WeightsFormat.INT8: 8, WeightsFormat.FLOAT16: 16}[form]
    for nbytes in (1000, 30_000, 200_000):
        tree, widths, layers = allocate(shape, nbytes, form)
        spent = count_parameters(tree, widths, layers).sum() * bits / 8
        assert spent <= nbytes
        assert spent > 0.7 * nbytes or widths.max() == 256 or tree.depth == 0 or nbytes == 1000
    assert allocate(shape, 1, form)[1].min() == 1


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_batch_that_does_not_fit_is_halved_twice(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    step, raised, sizes = shards.Shard.step, 0, []

    def short_of_memory(shard: Any, weights: Any) -> float:
        nonlocal raised
        sizes.append(len(shard.errors))
        if len(sizes) > 20 and raised < times and sizes[-1] == sizes[0] // 2**raised:
            raised += 1
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")
        return step(shard, weights)

    monkeypatch.setattr(trainer, "n_shards", lambda: 1)
    monkeypatch.setattr(shards.Shard, "step", short_of_memory)
    if times == 3:
        with pytest.raises(ValueError, match=r"^training needs more memory than cpu has; use device='cpu', or smaller"):
            run()
        return
    progress, fitted = run()
    assert sizes[-1] == sizes[0] // 2**times and progress[-1].step == 200
    assert progress[-1].loss < 0.15 and np.isfinite(fitted.vector).all()
