"""Rounding that is trained: steps keep still, are what a file can hold, and go on from a state."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_tinc.networks.architecture import Architecture
from napari_tinc.networks.rounding import to_bfloat16
from napari_tinc.octree import Octree
from napari_tinc.training.learned_rounding import STEP_REST, STEP_SLACK, LearnedRounding


@pytest.fixture
def architecture() -> Architecture:
    tree = Octree.full((8, 8, 8), 1)
    return Architecture(tree, np.array([8, 4])[tree.level], 2, 4.0)


@pytest.fixture
def vector(architecture: Architecture, rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.normal(size=architecture.n_parameters).astype(np.float32)


def begun(architecture: Architecture, vector: NDArray[np.float32]) -> LearnedRounding:
    rounding = LearnedRounding(architecture)
    rounding.begin(vector, np.ones_like(vector), 5.0 * len(vector), 1.0, 1000)
    return rounding


@pytest.mark.parametrize("low", [1.0, 1.5, 1.9921875])  # the numbers around them are 0.8 to 0.4 % apart
def test_a_step_between_two_numbers_keeps_still(
    architecture: Architecture, vector: NDArray[np.float32], low: float
) -> None:
    """It had changed at every update, and all of its parameters were rounded anew: 0.3 to 0.5 dB of some fits."""
    rounding = begun(architecture, vector)
    half_way = np.log((low + 2.0**-8) / 64)
    rounding.log_steps[:] = half_way
    first = rounding.apply(vector).copy()
    for nudge in (-1e-4, 1e-4, -5e-4, 5e-4):
        rounding.log_steps[:] = half_way + nudge
        np.testing.assert_array_equal(rounding.apply(vector), first)


def test_steps_follow_and_are_what_a_file_can_hold(
    architecture: Architecture, vector: NDArray[np.float32], rng: np.random.Generator
) -> None:
    rounding = begun(architecture, vector)
    for _ in range(200):
        rounding.log_steps += rng.normal(scale=0.01, size=len(rounding.log_steps))
        rounding.apply(vector)
        wanted = np.exp(rounding.log_steps)
        np.testing.assert_allclose(rounding.step, wanted, rtol=STEP_SLACK / (1 - STEP_SLACK))
        np.testing.assert_array_equal(rounding.step, to_bfloat16(rounding.step.astype(np.float64)))
        np.testing.assert_array_equal(rounding.steps(), rounding.step)


def test_steps_rest_at_the_end(
    architecture: Architecture, vector: NDArray[np.float32], rng: np.random.Generator
) -> None:
    """One that changed after 98 % of a schedule cost the fit 0.3 dB."""
    rounding = begun(architecture, vector)
    for rate, moves in ((1.0, True), (1.01 * STEP_REST, True), (0.99 * STEP_REST, False), (0.0, False)):
        before = rounding.log_steps.copy()
        rounding.apply(vector)
        rounding.update(rng.normal(size=len(vector)).astype(np.float32), 2.0 * len(vector), rate)
        assert (rounding.log_steps != before).any() == moves


def test_a_state_has_the_steps_that_kept_still(architecture: Architecture, vector: NDArray[np.float32]) -> None:
    rounding = begun(architecture, vector)
    half_way = np.log((1 + 2.0**-8) / 64)
    for nudge in (5e-4, -5e-4):  # the steps are those above, and would be those below without it
        rounding.log_steps[:] = half_way + nudge
        rounded = rounding.apply(vector).copy()
    again = LearnedRounding(architecture)
    again.restore(rounding.state())
    np.testing.assert_array_equal(again.apply(vector), rounded)


def test_a_state_of_an_earlier_version_has_no_steps(architecture: Architecture, vector: NDArray[np.float32]) -> None:
    """Kept at the last step, it was packed with steps of 1 and lost 2 dB."""
    rounding = begun(architecture, vector)
    state = rounding.state()
    del state["step"]
    again = LearnedRounding(architecture)
    again.restore(state)
    np.testing.assert_array_equal(again.steps(), to_bfloat16(np.exp(rounding.log_steps)))
