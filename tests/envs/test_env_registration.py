"""Gymnasium's view: registration, its checker, no warnings from its wrappers, rendering."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rllib_sami import envs
from rllib_sami.envs.mujoco.base import MujocoTaskEnv

IDS = envs.list_environments()
# Not ours to change: robots have unbounded observations, the pendulum's torque goes to ±2, and a wrapped environment
# is checked on purpose.
EXPECTED_WARNINGS = ("minimum value is -infinity", "maximum value is infinity", "symmetric and normalized", "unwrapped")


NAMES = {
    *("Ant", "CrippledAnt", "HalfCheetah", "CrippledHalfCheetah", "Hopper", "CrippledHopper", "Walker"),
    *("CrippledWalker", "SlimHumanoid", "HumanoidStandup", "CartPole", "Pendulum", "PandaPush", "PandaPickAndPlace"),
    *("HalfCheetahDir", "HalfCheetahVel", "AntDir", "AntGoal", "HopperRandParams", "WalkerRandParams"),
    *("HalfCheetahFlipped", "PointGoal"),
}
SKILLS = {
    *("HalfCheetah", "Ant", "PosturePoint", "AntMultiGoal", "HalfCheetahGoal", "HalfCheetahHurdle"),
    *("Quadruped", "Humanoid", "QuadrupedPixels", "HumanoidPixels", "QuadrupedGoal", "HumanoidGoal"),
    *("Kitchen", "BinPicking"),
}
MAZE = {"UMaze", "Medium", "Large", "Paper"}
MANIPULATION = {"Scene"}
KITCHEN = {"Mixed", "Misaligned", "Light"}
REUSE = {"Toy", "ToyMulti", "ToyGoal", "PointMass", "HalfCheetah", "Walker", "Hopper"}


def test_all_environments_are_there():
    names = {"SaMI": NAMES, "Skills": SKILLS, "Reuse": REUSE, "Maze": MAZE, "Manipulation": MANIPULATION}
    names |= {"Kitchen": KITCHEN}
    assert set(IDS) == {f"{namespace}/{name}-v0" for namespace, of in names.items() for name in of}
    assert set(envs.ENVIRONMENTS) == set(IDS)
    assert set(IDS) <= set(gymnasium.registry)


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("bare", [True, False])
def test_gymnasiums_checker_warns_of_nothing(env_id, bare):
    env = envs.make(env_id) if bare else gymnasium.make(env_id)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env, skip_render_check=True)
    unexpected = [str(w.message) for w in caught if not any(words in str(w.message) for words in EXPECTED_WARNINGS)]
    assert not unexpected


@pytest.mark.parametrize("env_id", IDS)
def test_gymnasium_make_passes_arguments_and_warns_of_nothing(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split = [*envs.ENVIRONMENTS[env_id].splits][-1]
        env = gymnasium.make(env_id, split=split, max_steps=3)
        last = env.unwrapped.num_tasks - 1
        env.set_wrapper_attr("next_task_id", last)
        assert env.reset(seed=0)[1]["task_id"] == last
        assert env.get_wrapper_attr("next_task_id") == 0
        steps = 0
        truncated = False
        while not truncated:
            *_, truncated, _ = env.step(env.action_space.sample())
            steps += 1
        env.close()
    assert steps == 3
    assert type(env.unwrapped) is envs.ENVIRONMENTS[env_id]
    assert env.unwrapped.split == split


def test_registering_again_changes_nothing():
    before = dict(gymnasium.registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs.register()
    assert gymnasium.registry == before


class Pendulum(envs.Pendulum):
    """Another environment with the name of one of ours, in a namespace of its own."""

    default_max_steps = 7


def test_a_class_in_another_namespace_needs_one_entry_and_may_have_the_same_name(monkeypatch):
    monkeypatch.setitem(envs.ENVIRONMENTS, "Toy/Pendulum-v0", Pendulum)
    envs.register()
    try:
        for env_id, cls in (("Toy/Pendulum-v0", Pendulum), ("SaMI/Pendulum-v0", envs.Pendulum)):
            made = [envs.make(env_id), gymnasium.make(env_id).unwrapped, *gymnasium.make_vec(env_id, num_envs=2).envs]
            assert {type(env) for env in made} == {cls}
            assert made[0].spec.max_episode_steps == cls.default_max_steps
    finally:
        del gymnasium.registry["Toy/Pendulum-v0"]


def test_make_builds_the_bare_environment():
    env = envs.make("rllib_sami:SaMI/Pendulum-v0", length=0.5)
    assert type(env) is envs.Pendulum
    assert env.reset()[1]["task"]["length"] == 0.5
    with pytest.raises(ValueError, match=r"SaMI/HalfCheeta-v0.*Did you mean 'SaMI/HalfCheetah-v0'"):
        envs.make("SaMI/HalfCheeta-v0")


@pytest.mark.parametrize("env_id", IDS)
def test_rendering_shows_the_state(env_id, request):
    if issubclass(envs.ENVIRONMENTS[env_id], MujocoTaskEnv):
        request.getfixturevalue("opengl")
    env = gymnasium.make(env_id, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    for _ in range(10):
        env.step(env.action_space.high)
    after = env.render()
    assert before.dtype == np.uint8
    assert before.ndim == 3
    assert before.shape[2] == 3
    assert (before != after).any()
    env.close()


def test_rendering_without_a_mode_draws_nothing():
    env = envs.Pendulum()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None
