"""Normalised actions become actions of the space, whatever its bounds, dtype and shape."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib_sami.core.action_scale import ActionScale

F32 = np.float32
HUGE = float(np.finfo(F32).max)
SPACES = {
    "float32": gym.spaces.Box(np.array([-1, 0.1], F32), np.array([3, 0.7], F32)),
    "float32, all of it": gym.spaces.Box(-HUGE, HUGE, (2,), F32),
    "float32, huge and tiny": gym.spaces.Box(np.array([-1e38, 1e-30], F32), np.array([3.4e38, 1e-6], F32)),
    "float32, three numbers": gym.spaces.Box(1e-45, 3e-45, (2,), F32),
    "one number": gym.spaces.Box(np.array([0.3, -2], F32), np.array([0.3, 2], F32)),
    "float64": gym.spaces.Box(-0.3, 0.7, (2,), np.float64),
    "float64, overflowing": gym.spaces.Box(-1.7e308, 1.7e308, (2,), np.float64),
    "float16": gym.spaces.Box(-0.1, 0.3, (2,), np.float16),
    "int8": gym.spaces.Box(-100, 100, (2,), np.int8),
    "uint8": gym.spaces.Box(0, 255, (2,), np.uint8),
    "uint32": gym.spaces.Box(0, 2**32 - 1, (2,), np.uint32),
    "int32, one number": gym.spaces.Box(5, 5, (1,), np.int32),
    "int64": gym.spaces.Box(-(2**53), 2**53, (2,), np.int64),
    "bool": gym.spaces.Box(0, 1, (2,), np.bool_),
    "two dimensions": gym.spaces.Box(-2, 2, (2, 3), F32),
    "no dimension": gym.spaces.Box(-2, 2, (), F32),
    "integer without dimension": gym.spaces.Box(-3, 9, (), np.int16),
}


def scale_of(space):
    return ActionScale(space.low, space.high)


def normalised(space, number=2_000):
    """Uniform actions, saturated ones, and those just outside of what a tanh gives."""
    rng, size = np.random.default_rng(0), gym.spaces.flatdim(space)
    drawn = [rng.uniform(-1, 1, (number, size)), np.tanh(rng.normal(0, 5, (number, size)))]
    edges = [np.full((1, size), value) for value in (-1, 0, 1, np.nextafter(F32(1), F32(2)))]
    return np.concatenate([*drawn, *edges]).astype(F32)


@pytest.mark.filterwarnings("ignore:overflow")  # of the last edge, in the largest spaces
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_actions_are_in_the_space_and_fill_it(space):
    actions = normalised(space)
    for_env = scale_of(space).of_array(actions)
    assert all(
        isinstance(for_env[at, ...], np.ndarray) and space.contains(for_env[at, ...]) for at in range(len(actions))
    )
    np.testing.assert_array_equal(scale_of(space)(torch.from_numpy(actions)).numpy(), for_env)
    low, high, bottom, middle, top = (x.astype(np.float64) for x in (space.low, space.high, *for_env[-4:-1]))
    is_float = space.dtype.kind == "f"
    ulp = np.spacing(np.abs(space.high)).astype(np.float64) if is_float else 0
    assert (np.abs(bottom - low) <= 2 * ulp).all()
    assert (np.abs(top - high) <= 2 * ulp).all()
    assert (np.abs(middle - (low / 2 + high / 2)) <= (2 * ulp if is_float else 1)).all()


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_integers_are_reached_evenly(kind):
    space = gym.spaces.Box(-2 if kind == "int8" else 1, 4, (1,), np.dtype(kind).type)
    grid = np.linspace(-1, 1, 70_000, endpoint=False, dtype=F32)[:, None] + F32(1e-5)
    numbers, counts = np.unique(scale_of(space).of_array(grid), return_counts=True)
    assert numbers.tolist() == list(range(int(space.low[0]), 5))
    np.testing.assert_allclose(counts / len(grid), 1 / len(numbers), rtol=1e-3)


def test_an_environment_that_writes_into_its_action_changes_nothing_else():
    actions = np.full((3, 2), 0.25, F32)
    scale_of(gym.spaces.Box(-1, 1, (2,), F32)).of_array(actions)[:] = 7
    assert (actions == 0.25).all()


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (gym.spaces.Box(-np.inf, 1, (1,), F32), "actions must be bounded"),
        (gym.spaces.Box(0, 2**53 + 2, (1,), np.int64), r"integer actions must be within ±2\^53"),
        (gym.spaces.Box(-1, 1, (1,), np.longdouble), "not supported. Use a Box of float32"),
    ],
)
def test_a_space_that_cannot_be_filled_is_refused(space, message):
    with pytest.raises(ValueError, match=message):
        scale_of(space)
