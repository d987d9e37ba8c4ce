"""A training step beside its bare arithmetic: python -m benchmarks.speed.step_time CORPUS

The arithmetic is that of the same shapes on as many threads: the matrix products forward and back, a sine and a cosine
for every neuron and point, the products of Muon, into arrays that are there already. What is left is sampling, routing
between levels, biases, Adam, rounding and waiting. Medians; needs an idle machine; takes half a minute.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import load, machine, markdown
from napari_tinc.format.networks_file import WeightsFormat
from napari_tinc.networks.architecture import Architecture
from napari_tinc.training import task
from napari_tinc.training.allocation import allocate
from napari_tinc.training.optimizer import orthogonalize
from napari_tinc.training.trainer import Fitted, Schedule, _Trainer, learning_rate

STEPS = 150


def median_ms(work: Callable[[], Any]) -> float:
    for _ in range(20):
        work()
    times = []
    for _ in range(STEPS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)


def bare(architecture: Architecture, batch: int) -> Callable[[], None]:
    """One thread's matrix products, sines and cosines of a step."""
    products: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    waves: list[np.ndarray] = []

    def matmul(n: int, rows: int, inner: int, columns: int) -> None:
        products.append((torch.rand(n, rows, inner), torch.rand(n, inner, columns), torch.empty(n, rows, columns)))

    for group in architecture.groups:
        n, width = len(group.nodes), group.width
        points = batch // n
        for inner in [4, *[group.fan_in] * (group.fan_in > 0), *[width] * (architecture.layers - 1)]:
            matmul(n, points, inner, width)  # forward
            matmul(n, inner, points, width)  # gradient of the weights
            if inner != 4:
                matmul(n, points, width, inner)  # gradient of what came in
        waves += [np.random.default_rng(0).random((n, points, width), np.float32)] * architecture.layers
        if len(group.head_rows):
            matmul(n, points, width, 1)
            matmul(n, width, points, 1)
    out = {wave.shape: np.empty_like(wave) for wave in waves}

    def work() -> None:
        for left, right, into in products:
            torch.matmul(left, right, out=into)
        for wave in waves:
            np.cos(wave, out=out[wave.shape])
            np.sin(wave, out=out[wave.shape])

    return work


def row(volume: np.ndarray, ratio: float, preset: str) -> list[str]:
    tree, widths, layers = allocate(volume.shape, volume.nbytes / ratio, WeightsFormat.ENTROPY)
    architecture = Architecture(tree, widths, layers, 8.0)
    batch = task.BATCH[preset]
    start = Fitted.initial(architecture, 0)
    normalised = ((volume - volume.mean()) / volume.std()).astype(np.float32)
    with _Trainer(normalised, architecture, Schedule(10_000, batch), 1e9, 5.0, torch.device("cpu"), 0, start, 0.0) as t:
        began = [0]

        def step() -> None:
            rate = learning_rate(0.5, began[0])
            began[0] += 1
            gradient, _ = t.gradient(True)
            t.optimizer.update(t.vector, t.rounding.update(gradient, volume.nbytes / ratio * 8, rate), rate)

        t.gradient(False)
        t.rounding.begin(t.vector, torch.rand_like(t.vector), volume.nbytes / ratio * 8, 1.0, 10_000)
        whole = median_ms(step)
        gradient = median_ms(lambda: t.gradient(True))
        shares = [bare(architecture, batch // t.shards) for _ in range(t.shards)]
        with ThreadPoolExecutor(t.shards, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            arithmetic = median_ms(lambda: list(pool.map(lambda share: share(), shares)))
        views = architecture.views(t.vector)
        stacks = [v for view in views for k, v in view.items() if k == "feature" or k.startswith("hidden")]
        flat = [v.transpose(1, 2) if v.shape[1] > v.shape[2] else v for v in stacks]
        muon = median_ms(lambda: [orthogonalize(v) for v in flat])
    shape = "/".join(str(int(widths[tree.level == level][0])) for level in range(tree.depth + 1))
    times = [f"{value:.2f}" for value in (whole, gradient, arithmetic, muon)]
    return [f"{ratio:g}", preset, shape, str(batch), *times, f"{100 * (arithmetic + muon) / whole:.0f} %"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder of mri_mni152.tif")
    volume = load(parser.parse_args().corpus, "mri_mni152_crop")
    head = [
        "ratio",
        "preset",
        "widths",
        "batch",
        "step (ms)",
        "its gradient",
        "bare products and sines",
        "Muon",
        "share",
    ]
    rows = [row(volume, ratio, preset) for ratio in (64, 256, 1024) for preset in ("balanced", "best")]
    print(f"{markdown(head, rows)}\n\n{machine()}.")


if __name__ == "__main__":
    main()
