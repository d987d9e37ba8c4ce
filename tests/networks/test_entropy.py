"""Integers survive exactly, take about their entropy, and damaged streams are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_tinc.networks.entropy import MAX_MAGNITUDE, Geometric, decode, encode

streams = st.lists(
    st.lists(st.one_of(st.integers(-3, 3), st.integers(-MAX_MAGNITUDE, MAX_MAGNITUDE)), max_size=60), max_size=5
)


@given(streams)
def test_round_trip(values: list[list[int]]) -> None:
    arrays = [np.array(v, np.int32) for v in values]
    distributions = [Geometric.of(a) for a in arrays]
    data = encode(list(zip(arrays, distributions, strict=True)))
    back = decode(data, [(a.size, d) for a, d in zip(arrays, distributions, strict=True)])
    for array, other in zip(arrays, back, strict=True):
        np.testing.assert_array_equal(array, other)
    with pytest.raises(ValueError, match="not used up|zero word"):
        decode(data + b"\1\0\0\0", [(a.size, d) for a, d in zip(arrays, distributions, strict=True)])


@pytest.mark.parametrize("mean", [0.05, 0.7, 6, 300])
def test_size_is_the_entropy(rng: np.random.Generator, mean: float) -> None:
    p = 1 / (1 + mean)
    values = (rng.geometric(p, 20000) - rng.geometric(p, 20000)).astype(np.int32)
    counts = np.unique(values, return_counts=True)[1] / values.size
    entropy = -(counts * np.log2(counts)).sum() * values.size / 8
    size = len(encode([(values, Geometric.of(values))]))
    assert entropy * 0.99 - 8 < size < entropy * 1.06 + 16


def test_what_is_all_zero_costs_nothing() -> None:
    zeros = np.zeros(1000, np.int32)
    assert encode([(zeros, Geometric.of(zeros))]) == b""
    assert decode(b"", [(1000, Geometric.of(zeros))])[0].tolist() == zeros.tolist()


def test_bytes_are_the_same_everywhere() -> None:
    """Golden bytes: the table is made with IEEE operations that every machine rounds alike."""
    values = (np.arange(64, dtype=np.int32) * 37 % 23) - 11
    assert Geometric.of(values) == Geometric.from_decay(55096, 11)
    assert encode([(values, Geometric.of(values))]).hex() == GOLDEN


GOLDEN = "2026775b8b761f9fb627fdf9f4b9d1309f9707446e42eaaf26599e21dfbcf69c7815bf66e18101d704000000"


@pytest.mark.parametrize("data", [b"abc", b"\0\0\0\0", b"abcd\0\0\0\0"])
def test_damaged_streams_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="entropy-coded data"):
        decode(data, [(10, Geometric.from_decay(30000, 5))])
