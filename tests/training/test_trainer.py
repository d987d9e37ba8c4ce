"""Training lowers the loss, meets its bytes and is reproducible, with any number of threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
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
from napari_tinc.training import trainer
from napari_tinc.training.allocation import allocate
from napari_tinc.training.layout import whole_vectors
from napari_tinc.training.optimizer import NEWTON_SCHULZ, Optimizer
from napari_tinc.training.sampling import Sampler
from napari_tinc.training.shards import in_threads
from napari_tinc.training.torch_shard import TorchShards
from napari_tinc.training.trainer import Fitted, Schedule, train
from napari_tinc.training.updates import orthogonalize, work_of_muon


def run(seed: int = 0, **options: Any) -> tuple[list[Progress], Fitted]:
    z, y, x = np.meshgrid(*[np.linspace(0, 3, 20)] * 3, indexing="ij")
    volume = (np.sin(z + y) * np.cos(2 * x)).astype(np.float32)
    volume = (volume - volume.mean()) / volume.std()
    tree = Octree.full(volume.shape, 1)
    architecture = Architecture(tree, np.array([10, 6])[tree.level], 2, 4.0)
    nbytes, peak = options.pop("nbytes", 700.0), float(np.ptp(volume))
    schedule, control = Schedule(200, batch=1024), Control()
    training = train(
        volume, architecture, schedule, nbytes=nbytes, peak=peak, device="cpu", seed=seed, control=control, **options
    )
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
    """Integers above 2^24 had infinitely many bits; a report of them, early on a slow machine, failed."""
    monkeypatch.setattr(trainer, "REPORT_SECONDS", 0.0)
    progress, fitted = run(nbytes=1e6)
    rounded = [event.nbytes for event in progress if event.step > 60]
    assert rounded and all(nbytes is not None and nbytes > 0 for nbytes in rounded)
    assert np.isfinite(fitted.vector).all()


def test_same_seed_same_weights() -> None:
    first, again, other = run(3)[1], run(3)[1], run(4)[1]
    np.testing.assert_array_equal(first.vector, again.vector)
    assert not np.array_equal(first.vector, other.vector)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_change_the_weights(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "n_shards", lambda: 5)
    np.testing.assert_array_equal(run(threads=threads)[1].vector, run()[1].vector)


@pytest.mark.parametrize("busy", [True, False])
def test_shares_that_no_thread_has_begun_with_are_not_waited_for(busy: bool) -> None:
    """A window that was drawn on one of two processors had made the other wait at every step."""
    done_by: dict[int, int] = {}

    def work(share: Any) -> float:
        done_by[share] = threading.get_ident()
        return 10.0 * share

    released = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        if busy:
            pool.submit(released.wait)
        shares: Any = [1, 2, 3, 4, 5]
        assert list(in_threads(pool)(work, shares)) == [10.0, 20.0, 30.0, 40.0, 50.0]
        released.set()
    assert sorted(done_by) == [1, 2, 3, 4, 5]
    assert not busy or set(done_by.values()) == {threading.get_ident()}


def test_an_abandoned_generator_ends_its_threads() -> None:
    before = threading.active_count()
    volume = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    tree = Octree.full((8, 8, 8), 1)
    architecture = Architecture(tree, np.array([8, 4])[tree.level], 2, 4.0)
    events = train(
        volume, architecture, Schedule(100_000, batch=256), nbytes=500, peak=4.0, control=Control(), threads=2
    )
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize(("rows", "columns"), [(6, 9), (1, 1), (17, 40), (33, 33)])
def test_orthogonalize_brings_singular_values_near_one(rows: int, columns: int, rng: np.random.Generator) -> None:
    step = whole_vectors(columns)
    work = np.zeros(work_of_muon(rows, columns), np.float32)
    matrix = work[: rows * step].reshape(rows, step)
    matrix[:, :columns] = rng.normal(size=(rows, columns)) * 1e-6
    orthogonalize(rows, columns, work, 12, NEWTON_SCHULZ)
    values = np.linalg.svd(matrix[:, :columns], compute_uv=False)
    assert values.min() > 0.5 and values.max() < 1.3 and not matrix[:, columns:].any()


def test_a_step_of_the_optimizer_is_that_of_the_papers(rng: np.random.Generator) -> None:
    tree = Octree.full((8, 8, 8), 1)
    architecture = Architecture(tree, np.array([10, 3])[tree.level], 2, 4.0)
    optimizer, vector = Optimizer(architecture, 0.03, 0.005), np.zeros(architecture.n_parameters, np.float32)
    momentum, square, expected = np.zeros((3, architecture.n_parameters))
    for step in range(1, 4):
        gradient = rng.normal(size=architecture.n_parameters).astype(np.float32)
        optimizer.update(vector, gradient, 0.5)
        square += 0.01 * (gradient.astype(float) ** 2 - square)
        for tensor in architecture.tensors:
            place = slice(tensor.offset, tensor.offset + tensor.size)
            is_matrix = tensor.kind == "feature" or tensor.kind.startswith("hidden")
            momentum[place] += (0.05 if is_matrix else 0.1) * (gradient[place] - momentum[place])
            if is_matrix:
                nesterov = (0.05 * gradient + 0.95 * momentum)[place].reshape(tensor.shape)
                for row, matrix in enumerate(nesterov):
                    x = matrix / np.linalg.norm(matrix)
                    for _ in range(3):
                        gram = x @ x.T
                        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
                    at = tensor.offset + row * x.size
                    expected[at : at + x.size] -= 0.015 * x.ravel()
            else:
                size = np.sqrt(square[place] / (1 - 0.99**step))
                expected[place] -= 0.0025 / (1 - 0.9**step) * momentum[place] / size
    np.testing.assert_allclose(vector, expected, rtol=1e-3, atol=2e-6)


@pytest.mark.parametrize("form", WeightsFormat)
@pytest.mark.parametrize("shape", [(128, 128, 128), (60, 256, 256), (1, 50, 50), (2, 2, 2)])
def test_allocation_spends_the_budget_and_no_more(shape: tuple[int, int, int], form: WeightsFormat) -> None:
    bits = {WeightsFormat.INT8: 8, WeightsFormat.FLOAT16: 16}.get(form, 5.2)
    for nbytes in (1000, 30_000, 200_000):
        tree, widths, layers = allocate(shape, nbytes, form)
        spent = count_parameters(tree, widths, layers).sum() * bits / 8
        assert spent <= nbytes
        assert spent > 0.7 * nbytes or widths.max() == 256 or tree.depth == 0 or nbytes == 1000
    assert allocate(shape, 1, form)[1].min() == 1


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_batch_that_does_not_fit_is_halved_twice(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    step, raised, sizes = torch.Tensor.backward, 0, []

    def short_of_memory(loss: Any) -> None:
        nonlocal raised
        sizes.append(made[-1])
        if len(sizes) > 20 and raised < times and sizes[-1] == sizes[0] // 2**raised:
            raised += 1
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")
        step(loss)  # type: ignore[no-untyped-call]

    made: list[int] = []

    def shards(sampler: Sampler, architecture: Architecture, batch: int, *of: Any) -> TorchShards:
        made.append(batch)
        return TorchShards(sampler, architecture, batch, *of)

    monkeypatch.setattr(trainer, "TorchShards", shards)
    monkeypatch.setattr(trainer, "pick_device", lambda device: "cpu:0")
    monkeypatch.setattr(torch.Tensor, "backward", short_of_memory)
    if times == 3:
        with pytest.raises(ValueError, match=r"^training needs more memory than cpu:0 has; use device='cpu', or"):
            run()
        return
    progress, fitted = run()
    assert sizes[-1] == sizes[0] // 2**times and progress[-1].step == 200
    assert progress[-1].loss < 0.15 and np.isfinite(fitted.vector).all()
