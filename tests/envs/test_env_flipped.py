"""Flipped motors against the plain robot under actions with the opposite sign."""

import itertools
import re

import mujoco
import numpy as np
import pytest
from mujoco_models import assert_same_arrays, float_arrays

from rllib_sami import envs
from rllib_sami.envs.mujoco.base import ASSETS

PHYSICS = {"mass_scale": 1.25, "damping_scale": 0.75}
PATTERNS = {
    "train": [(), (2, 4, 5), (1, 3, 5), (1, 2, 3, 4), (0, 3, 4), (0, 2, 3, 5), (0, 1, 4, 5), (0, 1, 2)],
    "moderate": [(0,), (1, 2, 4, 5), (1, 2, 3, 5), (1, 2, 4), (0, 3), (0, 2, 3), (1, 4, 5), (0, 2)],
    "extreme": [(3, 4, 5), (2, 3), (1, 4), (1, 2, 5), (0, 5), (0, 2, 4), (0, 1, 3), (0, 1, 2, 3, 4, 5)],
}


@pytest.mark.parametrize("flipped", [(), (3,), (0, 2, 5), (0, 1, 2, 3, 4, 5)])
def test_an_action_moves_a_flipped_joint_the_other_way_to_the_last_bit(flipped):
    env, plain = envs.HalfCheetahFlipped(), envs.HalfCheetah()
    signs = np.ones(6, dtype=np.float32)
    signs[list(flipped)] = -1.0
    observation, _ = env.reset(seed=0, options={"task": PHYSICS | {"flipped": flipped}})
    expected, _ = plain.reset(seed=0, options={"task": PHYSICS})
    np.testing.assert_array_equal(observation, expected)
    rng = np.random.default_rng(0)
    for _ in range(200):
        action = rng.uniform(-1.5, 1.5, 6).astype(np.float32)
        observation, reward, *_ = env.step(action)
        expected, plain_reward, *_ = plain.step(signs * action)
        np.testing.assert_array_equal(observation, expected)
        assert reward == plain_reward
    np.testing.assert_array_equal(env.data.qpos, plain.data.qpos)
    np.testing.assert_array_equal(env.data.actuator_force, plain.data.actuator_force * signs)
    np.testing.assert_array_equal(env.data.qfrc_actuator, plain.data.qfrc_actuator)


def test_each_index_flips_the_joint_of_its_name():
    names = ("bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot")
    env = envs.HalfCheetahFlipped()
    torque = np.array([120.0, 90.0, 60.0, 120.0, 60.0, 30.0])  # of the XML's motors
    for index, name in enumerate(names):
        env.reset(seed=0, options={"task": {"flipped": index}})
        env.step(np.full(6, 0.5, dtype=np.float32))
        expected = np.array([0.5 if other != name else -0.5 for other in names]) * torque
        dofs = [env.model.joint(joint).dofadr[0] for joint in names]
        np.testing.assert_array_equal(env.data.qfrc_actuator[dofs], expected)


def test_the_model_equals_a_recompiled_one():
    env = envs.HalfCheetahFlipped(flipped=[(1, 4)])
    env.reset(seed=0)
    xml = (ASSETS / env.xml).read_text()
    for motor in ("bshin", "fshin"):
        xml, count = re.subn(rf'gear="(\d+)" joint="{motor}"', rf'gear="-\1" joint="{motor}"', xml)
        assert count == 1
    other = mujoco.MjModel.from_xml_string(xml)
    assert_same_arrays(env.model, other, float_arrays(other), rtol=1e-12, atol=1e-14)


def test_reward_observation_and_cap_are_half_cheetahs():
    env = envs.HalfCheetahFlipped(max_steps=10)
    assert envs.HalfCheetahFlipped.default_max_steps == 1000
    observation, info = env.reset(seed=0, options={"task_id": 1})
    assert observation.shape == (18,)
    assert info["task"] == {
        **{"mass_scale": 1.0, "damping_scale": 1.0, "flipped_0": 0.0, "flipped_1": 0.0, "flipped_2": 1.0},
        **{"flipped_3": 0.0, "flipped_4": 1.0, "flipped_5": 1.0},
    }
    action = np.linspace(-1.0, 1.0, 6, dtype=np.float32)
    x = env.data.qpos[0]
    observation, reward, *_ = env.step(action)
    velocity = (env.data.qpos[0] - x) / 0.05
    assert reward == pytest.approx(velocity - 0.1 * float(np.sum(action.astype(float) ** 2)))
    assert observation[0] == np.float32(velocity)


@pytest.mark.parametrize("split", PATTERNS)
def test_splits(split):
    assert set(envs.HalfCheetahFlipped.splits) == set(PATTERNS)
    tasks = envs.HalfCheetahFlipped(split=split).tasks
    assert [task.allowed for task in tasks] == [((1.0,), (1.0,), (pattern,)) for pattern in PATTERNS[split]]


def test_trained_patterns_balance_signs_and_pairs_of_signs():
    bits = {
        split: np.array([[joint in pattern for joint in range(6)] for pattern in patterns], dtype=int)
        for split, patterns in PATTERNS.items()
    }
    train = bits["train"]
    assert train.sum(axis=0).tolist() == [4] * 6
    for one, other in itertools.combinations(range(6), 2):
        assert np.bincount(2 * train[:, one] + train[:, other]).tolist() == [2, 2, 2, 2]

    def nearest(patterns):
        return (patterns[:, None, :] != train[None]).sum(axis=2).min(axis=1)

    between = [(one != other).sum() for one, other in itertools.combinations(train, 2)]
    assert min(between) == 3
    assert (nearest(bits["moderate"]) == 1).all()
    assert (nearest(bits["extreme"]) == 2).all()
    everything = np.array(list(itertools.product((0, 1), repeat=6)))
    assert np.bincount(nearest(everything)).tolist() == [8, 48, 8]  # so the extreme ones are all there are
