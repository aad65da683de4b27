"""Skills as actions: a higher level chooses one, and a trained policy plays it for some steps."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from ray.rllib.algorithms.ppo import PPOConfig

import rllib_sami
from rllib_sami import PlainSACConfig

from .skill_agents import CONTROL, POINT, by_hand


class Rewarding(gym.Env):
    """The point's observation and one number more; step n has reward n; it ends after 60, or before."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (9,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (8,), np.float32)

    def __init__(self, config=None):
        self.ends, self.told = (config or {}).get("ends", 10**6), (config or {}).get("told", 7.0)

    def reset(self, *, seed=None, options=None):
        self.place, self.steps = np.zeros(8), 0
        return self._obs(), {}

    def step(self, action):
        self.place, self.steps = self.place + 0.1 * np.asarray(action, np.float64), self.steps + 1
        return self._obs(), float(self.steps), self.steps >= self.ends, self.steps >= 60, {"at": self.steps}

    def _obs(self):
        return np.append(self.place, self.told).astype(np.float32)


@pytest.fixture
def checked(monkeypatch):
    """What Gymnasium's checks find wrong with an environment, of which it only warns, is an error."""
    monkeypatch.setattr(gym.logger, "warn", lambda *given: pytest.fail(str(given)))


def control(folder, name, env=POINT, **settings):
    return gym.make(CONTROL, env=env, skills=str(folder / name), **settings)


@pytest.mark.parametrize(
    ("name", "action", "skill"),
    [
        ("sphere", [3.0, 0.0, 4.0], [0.6, 0.0, 0.8]),
        ("sphere", [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
        ("one_hot", 2, [0.0, 0.0, 1.0]),
        ("diayn", 0, [1.0, 0.0, 0.0]),
        ("gaussian", [0.4, -1.0, 0.0], [0.6, -1.5, 0.0]),
        ("uniform", [0.4, -1.0, 0.0], [0.4, -1.0, 0.0]),
    ],
)
def test_an_action_is_a_skill_that_is_played_for_25_steps(checked, folder, name, action, skill):
    env, body = control(folder, name), gym.make(POINT)
    module = rllib_sami.load(folder / name).module
    discrete = name in ("one_hot", "diayn")
    space = gym.spaces.Discrete(3) if discrete else gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    assert env.action_space == space
    assert env.observation_space == body.observation_space
    start, _ = env.reset(seed=0)
    obs, _ = body.reset(seed=0)
    np.testing.assert_array_equal(start, obs)
    for number in range(2):
        given = action if discrete else np.asarray(action, np.float32)
        ours, _, terminated, truncated, info = env.step(given)
        for _ in range(25):
            obs, _, _, body_truncated, _ = body.step(by_hand(module, obs, np.asarray(skill, np.float32)))
        np.testing.assert_allclose(ours, obs, atol=1e-5)
        assert info["env_steps"] == 25
        assert (terminated, truncated, body_truncated) == (False, number == 1, number == 1)
    with pytest.raises(ResetNeeded):
        env.step(given)


@pytest.mark.parametrize(("ends", "last"), [(10**6, 10), (42, 17), (50, 25)])
def test_the_reward_is_the_sum_of_its_steps_and_an_episode_ends_within_them(folder, ends, last):
    env = control(folder, "sphere", env=f"{__name__}.Rewarding", env_config={"ends": ends})
    env.reset()
    taken, action = 0, np.ones(3, np.float32)
    for steps in (25, 25, 10)[: 2 + (ends > 60)]:
        steps = last if taken + steps >= min(ends, 60) else steps
        _, reward, terminated, truncated, info = env.step(action)
        assert reward == sum(range(taken + 1, taken + steps + 1))
        taken += steps
        assert (info["env_steps"], info["at"]) == (steps, taken)
    assert (terminated, truncated) == (ends < 60, ends > 60)


def test_what_the_task_appends_is_for_the_higher_level_only(folder):
    last = []
    for told in (7.0, -500.0):
        env = control(folder, "sphere", env=Rewarding, env_config={"told": told}, steps=3)
        env.reset()
        obs, reward, *_ = env.step(np.ones(3, np.float32))
        assert env.observation_space == Rewarding.observation_space
        assert (obs[8], reward) == (told, 6.0)
        last.append(obs[:8])
    np.testing.assert_array_equal(*last)
    assert np.abs(last[0]).max() > 0.05


def test_a_robots_task_has_eight_actions_of_its_skills(checked, folder):
    env = control(folder, "cheetah", env="Skills/HalfCheetahGoal-v0")
    obs, _ = env.reset(seed=0)
    assert obs.shape == (19,)
    ends = []
    while not any(ends):
        obs, _, terminated, truncated, info = env.step(np.ones(3, np.float32))
        ends.append(terminated or truncated)
    assert (len(ends), terminated) == (8, False)
    assert obs.shape == (19,)
    assert "is_success" in info


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("SaCCM", {}, "SaCCM'.*it has no skills. Give a checkpoint of SkiMoPretrain, or of CSF, METRA or another"),
        ("PlainSAC", {}, "PlainSAC'.*it has no skills"),
        ("ant", {"env": "Skills/HalfCheetahGoal-v0"}, "ant'.* observations of 29 numbers, .* gives 18"),
        ("sphere", {"env": "Pendulum-v1"}, "observations of 8 numbers, but 'Pendulum-v1' gives 3"),
        ("cheetah", {"env": "Skills/AntMultiGoal-v0"}, "observations of 18 numbers, .* gives 29"),
        ("nothing", {}, "nothing': no such folder"),
        ("", {"env": "Skills/PosturePont-v0", "name": "sphere"}, "'Skills/PosturePont-v0'"),
        ("sphere", {"steps": 0}, "steps=0: expected an integer >= 1"),
        ("sphere", {"env_config": {"maxsteps": 3}}, "maxsteps"),
    ],
)
def test_what_cannot_be_controlled(folder, name, settings, message):
    name = settings.pop("name", name)
    with pytest.raises(ValueError, match=message):
        control(folder, name, **settings)


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("name", ["sphere", "one_hot"])
def test_ppo_of_rllib_trains_on_skills(folder, name):
    config = PPOConfig().environment(CONTROL, env_config={"env": POINT, "skills": str(folder / name), "steps": 10})
    config.env_runners(num_env_runners=0).debugging(log_level="ERROR", seed=0)
    config.training(train_batch_size_per_learner=32, minibatch_size=16, num_epochs=1).rl_module(
        model_config={"fcnet_hiddens": [8]}
    )
    algo = config.build_algo()
    result = algo.train()
    discrete = isinstance(algo.get_module().action_space, gym.spaces.Discrete)
    algo.stop()
    assert discrete == (name == "one_hot")
    assert result["num_env_steps_sampled_lifetime"] == 32
    assert result["env_runners"]["episode_len_mean"] == 5  # 50 steps of the body
    assert np.isfinite(result["learners"]["default_policy"]["total_loss"])


def sac_on(path):
    config = PlainSACConfig().environment(CONTROL, env_config={"env": POINT, "skills": str(path)})
    config.training(actor_hidden=[8], critic_hidden=[8], train_batch_size_per_learner=8, updates_per_env_step=0.5)
    config.training(num_steps_sampled_before_learning_starts=10, replay_buffer_config={"capacity": 500})
    config.env_runners(num_envs_per_env_runner=2, rollout_fragment_length=2)
    return config.reporting(min_sample_timesteps_per_iteration=20).debugging(log_level="ERROR", seed=0)


@pytest.mark.usefixtures("ray_cluster")
def test_plain_sac_trains_on_skills_that_are_directions_and_refuses_one_hot_ones(folder):
    algo = sac_on(folder / "sphere").build_algo()
    result = algo.train()
    algo.stop()
    assert result["env_runners"]["episode_len_mean"] == 2
    assert np.isfinite(result["learners"]["default_policy"]["critic_loss"])
    with pytest.raises(ValueError, match=r"has the action space Discrete\(3\), but only continuous actions"):
        sac_on(folder / "one_hot").build_algo()
