"""Compiled code computes what the definition says, the same on any machine and with any number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import constriction
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_tinc import compiled
from napari_tinc.bounded import box as bounded_box
from napari_tinc.bounded import fit_weights, kernels
from napari_tinc.bounded.entropy import POWERS, Reader, Tables, Writer, categorical
from napari_tinc.bounded.prediction import edges_of
from napari_tinc.bounded.workers import LEAST_BOX, LEAST_VOXELS, in_threads, side_by_side

few = settings(max_examples=40, deadline=None, derandomize=True)


@given(st.data())
@few
def test_a_stack_of_symbols_is_that_of_constriction(data: st.DataObject) -> None:
    """The bytes are those of files that were made with constriction, and are read back."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    writer, peer, runs = Writer(), constriction.stream.stack.AnsCoder(), []
    for _ in range(data.draw(st.integers(0, 5))):
        count = data.draw(st.integers(1, 40))
        if data.draw(st.booleans()):
            costs = rng.integers(0, data.draw(st.sampled_from([1, 30, 128])), data.draw(st.integers(2, 159)))
            symbols = rng.integers(0, len(costs), count).astype(np.int32)
            writer.put(symbols, categorical(costs))
            runs.append((symbols, costs))
        else:
            n_bits = data.draw(st.integers(1, 40))
            values = rng.integers(0, 2**n_bits, count)
            writer.bits(values, n_bits)
            runs.append((values, n_bits))
    for symbols, model in reversed(runs):
        if isinstance(model, int):
            for low in reversed(range(0, model, 16)):
                part = symbols >> low & (2 ** min(16, model - low) - 1)
                peer.encode_reverse(part.astype(np.int32), constriction.stream.model.Uniform(2 ** min(16, model - low)))
        else:
            peer.encode_reverse(symbols, constriction.stream.model.Categorical(POWERS[model], perfect=False))
    written = writer.to_bytes()
    assert written == peer.get_compressed().astype("<u4").tobytes()
    reader = Reader(written)
    for symbols, model in runs:
        same = (
            reader.bits(model, len(symbols)) if isinstance(model, int) else reader.get(categorical(model), len(symbols))
        )
        assert (same == symbols).all()
    reader.end()


def test_tokens_of_likely_and_rare_symbols_are_those_of_single_symbols() -> None:
    """Division by multiplication is exact, for the smallest and the largest shares, too."""
    rng = np.random.default_rng(0)
    costs = np.concatenate([[0, 1, 2], rng.integers(3, 128, 150)])
    models = Tables([1], [costs]).models()
    symbols = np.concatenate([rng.integers(0, len(costs), 5000), np.zeros(5000, np.int64)]).astype(np.int32)
    rng.shuffle(symbols)
    one, other = Writer(), Writer()
    one.tokens(models, np.zeros(len(symbols), np.uint8), symbols)
    other.put(symbols, categorical(costs))
    assert one.to_bytes() == other.to_bytes()
    assert (Reader(one.to_bytes()).tokens(models, np.zeros(len(symbols), np.uint8)) == symbols).all()


def waves(shape: tuple[int, int, int], dtype: str) -> NDArray[Any]:
    z, y, x = np.indices(shape) / 5
    noise = np.random.default_rng(0).normal(0, 9, shape)
    return (900 + 400 * np.sin(z + 0.3 * y) * np.cos(x) + noise).astype(dtype)


@pytest.mark.parametrize(("dtype", "bound", "dead_zone"), [("u2", 0, 0), ("f4", 0.5, 0), ("f4", 0, 0), ("u2", 6, 0.1)])
def test_threads_make_the_same_bytes(dtype: str, bound: float, dead_zone: float) -> None:
    volume = waves((90, 80, 75), dtype)
    assert volume.size > LEAST_BOX and volume.size // 8 > LEAST_VOXELS  # so that the finest stages are shared
    made = []
    for threads in (1, 2, 3):
        with in_threads(threads):
            data = bounded_box.encode_box(volume, bound, 2, dead_zone)
            made.append((data, bounded_box.decode_box(data, volume.shape, volume.dtype).tobytes()))
    assert made[0] == made[1] == made[2]


def test_an_error_in_one_of_several_threads_is_raised() -> None:
    def work(number: int) -> int:
        if number == 2:
            raise ValueError("the third")
        return number

    assert side_by_side(2, work) == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        side_by_side(4, work)


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.0**39])
@pytest.mark.parametrize("spread", [0.0, 1e-9, 2.0**39])
def test_fits_of_any_terms_give_numbers(scale: float, spread: float) -> None:
    rng = np.random.default_rng(0)
    for terms in (scale * rng.normal(size=(5, 10)), np.full((7, 300), scale), scale * np.eye(6, 12)):
        terms, weights = terms.astype(np.float32), np.zeros(len(terms))
        target = rng.choice(np.array([-1, 1], np.float32), terms.shape[1]) * np.float32(2.0**39)
        around = np.where(rng.random(len(target)) < 0.5, 0.0, spread).astype(np.float32)
        assert fit_weights.fit_prediction(terms, target, around, np.ones(len(target), bool), 8.0, 3, 0.0, weights)
        assert np.isfinite(weights).all()
        fit_weights.fit_activity(np.abs(terms), np.abs(target), 8.0, 3, weights)
        assert np.isfinite(weights).all() and (weights >= 0).all()


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("step", [1, 3, 999, 2**17 + 1, 2**25 + 1])
def test_a_class_counts_the_edges_up_to_an_activity(step: int, dtype: Any) -> None:
    rng, most = np.random.default_rng(0), int(np.iinfo(dtype).max)
    table = edges_of(step, most)
    edges = table.edge_in[table.edge_in < np.iinfo(np.int64).max]
    every = [step * 128, step * 181]
    assert edges[:2].tolist() == [edge for edge in every if edge <= most] and (np.diff(edges) > 0).all()
    drawn = (2.0 ** rng.uniform(0, np.log2(float(most)) - 0.01, 4000)).astype(np.int64)
    activities = np.concatenate([[0, 1, most - 1], edges - 1, edges, drawn]).astype(dtype)
    n, classes = len(activities), np.empty(len(activities), np.uint8)
    kernels.classify(np.zeros(n, dtype), activities, (0, n, n), (1, 1, n), table[:], False, classes)
    assert (classes == 2 * np.searchsorted(edges, activities, side="right")).all()


SHOW_CODE = """
import numpy as np
from napari_tinc.bounded import box, kernels, stage_kernels
rng = np.random.default_rng(0)
for dtype in ("u2", "f4"):
    values = rng.integers(0, 500, (9, 9, 9)).astype(dtype)
    box.decode_box(box.encode_box(values, 0), values.shape, values.dtype)
    box.decode_box(box.encode_box(values, 2), values.shape, values.dtype)
for name, function in [*vars(kernels).items(), *vars(stage_kernels).items()]:
    if hasattr(function, "overloads"):
        assert not function.targetoptions["fastmath"]
        for code in function.inspect_llvm().values():
            print("%", name)
            print(code)
"""


def test_no_product_and_sum_are_fused(tmp_path: Path) -> None:
    """What LLVM is given to compile for decoding lets it neither fuse nor reorder: IEEE 754 on every machine."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}  # code that was kept can not be looked at
    done = subprocess.run(
        [sys.executable, "-c", SHOW_CODE], check=True, capture_output=True, text=True, env=environment, timeout=110
    )
    assert {"% predict", "% activity", "% classify", "% place", "% foresee"} <= set(done.stdout.split("\n"))
    lines = [line for line in done.stdout.split("\n") if " fmul " in line or " fadd " in line or "@llvm.f" in line]
    assert len(lines) > 10
    assert not [
        line for line in lines if any(flag in line for flag in (" fast ", "contract", "reassoc", "fma", "fmul fast"))
    ]


def test_without_a_folder_for_a_cache_functions_are_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    original, asked = numba.njit, []

    def njit(*functions: Any, **options: Any) -> Any:
        if functions:  # numba's own
            return original(*functions, **options)
        asked.append(options.get("cache", False))
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return original(**options)

    monkeypatch.setattr(numba, "njit", njit)

    def doubled(x: int) -> int:
        return 2 * x

    assert compiled.compiled(doubled)(4) == 8 and asked[:2] == [True, False]


def printed(folder: Path, script: str) -> str:
    """What a script prints in a process of its own that can import some_kernels, whose code is kept in the folder."""
    module = folder / "some_kernels.py"
    if not module.exists():
        module.write_text(
            "from napari_tinc.compiled import compiled\n@compiled\ndef twice(x: int) -> int:\n    return 2 * x\n"
        )
    paths = os.pathsep.join([str(folder), *sys.path])
    environment = os.environ | {"PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(folder / "kept")}
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=60)
    return run.stdout.strip()


@pytest.mark.parametrize("damage", ["index", "code", "full"])
def test_a_damaged_cache_and_a_full_disk_are_left_aside(damage: str, tmp_path: Path) -> None:
    """The code is compiled anew, and kept again where that is possible."""
    script = "{}import some_kernels as m; assert m.twice(4) == 8; print(sum(m.twice.stats.cache_hits.values()))"
    fail = (
        "from numba.core import caching as c; "
        "c.IndexDataCacheFile._save_data = lambda *a: (_ for _ in ()).throw(OSError(28, 'full')); "
    )

    def run(before: str = "") -> str:
        return printed(tmp_path, script.format(before))

    assert run(fail if damage == "full" else "") == "0"
    if damage == "full":
        assert run() == "0" and run() == "1"
        return
    for path in (tmp_path / "kept").rglob("*.nbi" if damage == "index" else "*.nbc"):
        path.write_bytes(path.read_bytes()[:40])
    assert [run() for _ in range(2)] == ["0", "1"]


def test_code_that_was_compiled_of_another_text_is_not_kept(tmp_path: Path) -> None:
    script = "import some_kernels as m; from napari_tinc.compiled import is_kept; print(is_kept(m.twice)); m.twice(4)"
    assert [printed(tmp_path, script) for _ in range(2)] == ["False", "True"]
    module = tmp_path / "some_kernels.py"
    module.write_text(module.read_text() + "# An upgrade.\n")
    assert [printed(tmp_path, script) for _ in range(2)] == ["False", "True"]


def test_code_is_compiled_anew_once_a_function_in_it_has_changed(tmp_path: Path) -> None:
    """A box would be encoded by old code, and decoded by new."""
    toy = tmp_path / "toy"
    toy.mkdir()
    compile_it = "from napari_tinc.compiled import compiled\n"
    (toy / "__init__.py").write_text("")
    (toy / "outer.py").write_text(
        f"{compile_it}from .inner import some\n\n@compiled\ndef value() -> int:\n    return some()\n"
    )
    values = []
    for number in (1, 1, 12345):
        inner = f"{compile_it}\n@compiled\ndef some() -> int:\n    return {number}\n"
        if not (toy / "inner.py").exists() or (toy / "inner.py").read_text() != inner:
            (toy / "inner.py").write_text(inner)
        script = "import toy.outer as m; print(m.value(), sum(m.value.stats.cache_hits.values()))"
        values.append(printed(tmp_path, script))
    assert values == ["1 0", "1 1", "12345 0"]
