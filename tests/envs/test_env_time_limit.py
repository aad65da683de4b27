"""How long an episode is: by the environment's own cap or Gymnasium's, and what its spec says."""

import copy
import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import PassiveEnvChecker, RecordEpisodeStatistics, TimeAwareObservation, TimeLimit

from rllib_sami import envs
from rllib_sami.algorithms.sami.presets import SaCCMConfig
from rllib_sami.compat import env_creator
from rllib_sami.env_runners.episodes import max_episode_steps

IDS = envs.list_environments()
PENDULUM = "SaMI/Pendulum-v0"


def lengths(env, episodes=1, at_most=3000):
    """Steps until each episode's end; that none of them is truncated twice, its steps after the end would show."""
    found = []
    for _ in range(episodes):
        env.reset(seed=0)
        for step in range(1, at_most):
            *_, terminated, truncated, info = env.step(np.zeros(env.action_space.shape, np.float32))
            if terminated or truncated:
                assert "task" in info  # the environment knows that this step is the last
                found.append(step)
                break
    return found


@pytest.mark.parametrize("env_id", IDS)
def test_a_limit_above_the_default_length_applies_and_is_in_the_spec(env_id):
    usual = envs.ENVIRONMENTS[env_id].default_max_steps
    env = gymnasium.make(env_id, max_episode_steps=usual + 3)
    assert env.spec.max_episode_steps == usual + 3
    # To the step before the limit without the physics, which for the longest takes a second.
    env.reset(seed=0)
    assert env.unwrapped._steps_left == usual + 3
    env.close()
    plain = gymnasium.make(env_id)
    assert plain.spec.max_episode_steps == usual
    plain.reset(seed=0)
    assert plain.unwrapped._steps_left == usual
    assert TimeAwareObservation(plain).max_timesteps == usual
    plain.close()


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ({}, 200),
        ({"max_episode_steps": 210}, 210),
        ({"max_episode_steps": 7}, 7),
        ({"max_steps": 210}, 210),
        ({"max_steps": 9, "max_episode_steps": 210}, 9),
        ({"max_steps": 210, "max_episode_steps": 9}, 9),
        ({"max_episode_steps": -1}, 200),  # in Gymnasium: no TimeLimit
    ],
)
def test_every_way_of_making_gives_the_same_length(arguments, steps):
    limit = arguments.get("max_episode_steps")
    made = gymnasium.make(PENDULUM, **arguments)
    assert lengths(made, 2) == [steps, steps]
    assert lengths(gymnasium.make(made.spec)) == [steps]  # made again from what it says of itself
    assert lengths(pickle.loads(pickle.dumps(made))) == lengths(copy.deepcopy(made)) == [steps]
    if steps != 9:  # a shorter `max_steps` is known to the environment alone, the wrapper tells its own limit
        assert made.spec.max_episode_steps == max_episode_steps(made) == steps
    if limit != -1:
        config = SaCCMConfig().environment(PENDULUM, env_config=arguments)
        ours = [
            envs.make(PENDULUM, **arguments),
            env_creator(config, worker_index=0, slot=0)(),
            envs.Pendulum(**arguments),
        ]
        for env in ours:
            assert lengths(env) == [steps]
            assert max_episode_steps(env) == steps
        assert ours[0].spec.max_episode_steps == ours[1].spec.max_episode_steps == steps
        assert TimeAwareObservation(ours[0]).max_timesteps == steps
        many = gymnasium.make_vec(PENDULUM, num_envs=2, **arguments)
        assert many.spec.max_episode_steps == steps
        many.reset(seed=0)
        ended = [bool(many.step(np.zeros((2, 1), np.float32))[3].all()) for _ in range(steps)]
        assert ended == [False] * (steps - 1) + [True]
        assert gymnasium.make_vec(many.spec).envs[0].max_steps == steps


def test_a_manual_time_limit_applies_only_while_it_wraps_the_environment():
    env = envs.make(PENDULUM)
    assert lengths(RecordEpisodeStatistics(TimeLimit(PassiveEnvChecker(env), 230))) == [230]
    assert lengths(TimeLimit(TimeLimit(env, 230), 220)) == lengths(TimeLimit(TimeLimit(env, 220), 230)) == [220]
    assert lengths(env) == [200]
    assert lengths(TimeLimit(envs.Pendulum(max_steps=20), 230)) == [20]

    class Own(envs.Pendulum):
        def reset(self, **kwargs):
            return super().reset(**kwargs)

    assert lengths(TimeLimit(Own(), 230)) == [230]
    # The limit of an environment that resets another one in its own reset is not that of the other.
    other = envs.Pendulum()

    class Beside(gymnasium.Wrapper):
        def reset(self, **kwargs):
            other.reset(seed=0)
            return super().reset(**kwargs)

    TimeLimit(Beside(envs.Pendulum()), 230).reset(seed=0)
    assert other._steps_left == 200


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_gymnasiums_own_vector_environments_play_as_long(mode):
    many = gymnasium.make_vec(PENDULUM, num_envs=2, vectorization_mode=mode, max_episode_steps=205)
    many.reset(seed=0)
    ended = [bool(many.step(np.zeros((2, 1), np.float32))[3].all()) for _ in range(205)]
    many.close()
    assert ended == [False] * 204 + [True]
