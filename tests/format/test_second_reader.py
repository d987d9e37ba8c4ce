"""The second reader, docs/reader.py, which knows the specification only, reads what the package reads."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from drawn import generated
from fields import VERIFY, File

import napari_tinc as tinc
from napari_tinc.bounded import box as bounded_box
from napari_tinc.bounded import quantization
from napari_tinc.decoding.volume import TincVolume
from napari_tinc.format.limits import DTYPES

PATH = Path(__file__).parents[2] / "docs" / "reader.py"
GOLDEN = Path(__file__).parents[1] / "golden"
RECORDS: dict[str, dict[str, Any]] = json.loads((GOLDEN / "golden.json").read_text())


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("second_reader", PATH)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


reader = load()


def assert_alike(found: np.ndarray, volume: tinc.TincVolume, tolerance: float) -> None:
    """To ``tolerance`` and what rounding adds; to the bit if it is 0."""
    values = np.asarray(volume)
    values = values.view("u1") if values.dtype == bool else values
    assert (found.shape, found.dtype) == (values.shape, values.dtype)
    if not tolerance:
        assert found.tobytes() == values.tobytes()
        return
    rounding = max(0, 1 - tolerance) if found.dtype.kind in "iu" else np.spacing(np.abs(values)).astype(np.float64)
    differences = np.abs(found.astype(np.float64) - values.astype(np.float64))
    alike = (differences <= tolerance + rounding) | (found == values) | (np.isnan(found) & np.isnan(values))
    assert alike.all()


@pytest.mark.parametrize("name", RECORDS)
def test_golden_files(name: str) -> None:
    path = GOLDEN / f"{name}.tinc"
    volume = tinc.open(path)
    low, high = volume.value_range
    assert_alike(reader.read(path), volume, 0 if "crc32" in RECORDS[name] else 1e-6 * (high - low))


def readable_meta(volume: TincVolume) -> bool:
    """Not so of some that are generated."""
    try:
        return isinstance(volume.meta, dict)
    except tinc.TincError:
        return False


def test_generated_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees and blocks of all kinds. Random networks, of eight layers above all, make more of rounding."""
    spans = []

    def spy(nodes: Any, shape: Any, limits: np.ndarray, fractions: Any, lattice: Any) -> Any:
        spans.append(1e-3 * (float(limits[1]) - float(limits[0])))
        return evaluate(nodes, shape, limits, fractions, lattice)

    evaluate = reader._evaluate
    monkeypatch.setattr(reader, "_evaluate", spy)
    rng, n_networks, n_exact = random.Random(7), 0, 0
    for _ in range(60):
        volume = TincVolume(data := generated(rng))
        if volume.size <= 20_000 and readable_meta(volume):
            spans.clear()
            found = reader.decode(data)
            assert_alike(found, volume, max(spans, default=0.0))
            n_networks += bool(spans)
            n_exact += not spans
    assert n_networks > 20 and n_exact > 3


def random_box(rng: np.random.Generator, dtype: str) -> np.ndarray:
    """Of a shape, a noise and a kind drawn at random."""
    kind, shape = np.dtype(dtype), tuple(rng.choice([1, 2, 3, 5, 8, 13, 16], 3).tolist())
    z, y, x = (np.arange(n) for n in shape)
    wave = np.sin(0.3 * z)[:, None, None] * np.cos(0.2 * y)[:, None] + np.sin(0.25 * x)
    wave = wave + rng.normal(0, rng.choice([0, 0.01, 0.1, 1]), shape)
    if kind.kind == "f":
        with np.errstate(all="ignore"):
            box = (wave * rng.choice([1e-6, 1, 1e4, 1e30])).astype(kind)
    else:
        lowest, highest = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
        span = min(float(rng.choice([3, 200, 3000, 4e9])), highest - lowest)
        steps = (wave - wave.min()) / (np.ptp(wave) + 1e-9) * span
        box = np.rint(steps + rng.choice([lowest, 0])).clip(lowest, highest).astype(kind)
    what = rng.integers(8)
    if what == 0:  # planes that occur again
        box = box[rng.integers(0, shape[0], shape[0])]
    elif what == 1:  # few values, without order
        few = rng.choice(box.ravel(), 1 + rng.integers(40))
        box = few[rng.integers(0, len(few), shape)]
    elif what == 2:  # cubes of labels
        names = np.unique(rng.choice(box.ravel(), 30))
        cubes = names[rng.integers(0, len(names), [-(-n // 4) for n in shape])]
        box = cubes[np.ix_(*(np.arange(n) // 4 for n in shape))]
    elif what == 3:  # an empty region
        box = np.where(wave > rng.normal(), box, box.flat[0])
    elif what == 4 and kind.kind == "f":
        box.flat[rng.integers(0, box.size, 1 + box.size // 30)] = rng.choice([np.nan, np.inf, -np.inf, -0.0])
    elif what == 5 and kind.kind == "f":  # bits at the end that are 0
        with np.errstate(all="ignore"):
            box = (np.rint(wave * 8) / 8).astype(kind)
    elif what == 6 and kind.kind == "f":  # so many kinds of NaN that no labels are made of them
        at = rng.integers(0, box.size, box.size // 10)
        box.view(f"u{kind.itemsize}").flat[at] = np.array(np.nan, kind).view(f"u{kind.itemsize}") + 1 + at
    return np.ascontiguousarray(box)


def test_residuals() -> None:
    seen = set()
    for seed in range(9 * len(DTYPES)):
        rng, dtype = np.random.default_rng(seed), DTYPES[seed % len(DTYPES)]
        box = random_box(rng, dtype)
        finite = box[np.isfinite(box)].astype(np.float64)
        spread = min(float(np.ptp(finite)), 1e300) if finite.size else 1.0
        bound = float(rng.choice([0, 0, 0, 1, 5, 1e-3 * spread, 0.03 * spread]))
        with np.errstate(all="ignore"):
            data = bounded_box.encode_box(box, bound, int(rng.integers(5)), float(rng.choice([0, 0, 0.3])))
        found = reader.residual(data, box.shape, f"<{dtype}")
        values = bounded_box.decode_box(data, box.shape, dtype)
        assert (found.shape, found.dtype, found.tobytes()) == (values.shape, values.dtype, values.tobytes()), seed
        seen.add(f"kind {data[0]}")
        if data[0] in (quantization.BoxKind.ORDERED, quantization.BoxKind.GRID):
            _, taper, shift, low, _, _, bound, _, table, _, wrong = quantization.HEAD.unpack_from(data)
            parts = {"taper": taper and bound, "shift": shift, "low": low, "table": table, "corrections": wrong}
            seen |= {name for name, there in parts.items() if there}
    assert seen == {f"kind {kind}" for kind in range(6)} | {"taper", "shift", "low", "table", "corrections"}


def test_it_needs_numpy_only(tmp_path: Path) -> None:
    name = "blocks-of-both-kinds"
    code = """if True:
        import runpy, sys
        before = set(sys.modules)
        del sys.argv[0]
        runpy.run_path(sys.argv[0], run_name="__main__")
        found = {name.partition(".")[0] for name in set(sys.modules) - before}
        sys.exit(", ".join(found - sys.stdlib_module_names - {"numpy"}) or 0)
        """
    out = tmp_path / "out.npy"
    command = [sys.executable, "-I", "-c", code, str(PATH), str(GOLDEN / f"{name}.tinc"), str(out)]
    subprocess.run(command, check=True, timeout=60)
    np.testing.assert_array_equal(np.load(out), reader.read(GOLDEN / f"{name}.tinc"))


def test_damage_is_refused() -> None:
    data = (GOLDEN / "trained-blocks-channels.tinc").read_bytes()
    for bit in random.Random(1).sample(range(8 * len(data)), 200):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError):  # noqa: PT011 - whichever check comes first
            reader.decode(bytes(damaged))
    for length in range(0, len(data), 97):
        with pytest.raises(ValueError):  # noqa: PT011
            reader.decode(data[:length])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda file: (
                setattr(file, "features", file.features | 8),
                file.fields.update(flags=b"\2" + file.fields["flags"]),
            ),
            "features are 1000010001",
        ),
        (lambda file: setattr(file, "version", 0x20), "major version is 2"),
        (lambda file: setattr(file.rows[0], "code", 0x70), "chunks are not those"),
        (lambda file: file.rows.pop(), "VERIFY"),
        (lambda file: setattr(file.rows[-1], "payload", bytes(4)), "VERIFY"),
        (lambda file: setattr(file.rows[-2], "payload", b"\7"), "kind of a residual is 7"),
    ],
)
def test_what_it_does_not_know_is_refused(change: Any, message: str) -> None:
    file = File.parse((GOLDEN / "exact-u1.tinc").read_bytes())
    assert file.rows[-1].role == VERIFY
    change(file)
    with pytest.raises(ValueError, match=message):
        reader.decode(file.build())


@pytest.mark.parametrize("lattice", [b"\0\0\0", b"\7\0\0", b"\2\3\0", b"\2\1\2"])
def test_layers_on_lattices_are_checked(lattice: bytes) -> None:
    file = File.parse((GOLDEN / "lattice-u2.tinc").read_bytes())
    assert file.fields["widths"].endswith(b"\4\2\1") and file.features == reader.LATTICE
    file.fields["widths"] = file.fields["widths"][:-3] + lattice
    with pytest.raises(ValueError, match="layers on lattices are"):
        reader.decode(file.build())
    with pytest.raises(tinc.TincError, match="last layer on a lattice of stride"):
        TincVolume(file.build())


@pytest.mark.parametrize(("name", "bit", "feature"), [("lattice-blocks", 2, "LATTICE"), ("sorted-blocks", 8, "SORTED")])
def test_a_feature_of_a_block_is_refused_where_the_file_does_not_say_so(name: str, bit: int, feature: str) -> None:
    file = File.parse((GOLDEN / f"{name}.tinc").read_bytes())
    file.features &= ~bit
    file.fields.pop("further", None)
    with pytest.raises(ValueError, match="a block has features .*, expected the file to say so"):
        reader.decode(file.build())
    with pytest.raises(tinc.TincError, match=f"a block needs the feature {feature}, expected the file to say so"):
        np.asarray(TincVolume(file.build()))
