"""Environments whose action is a latent: a point that a frozen policy moves by the latent, 1, 0 or -1, at each step."""

import pickle
from math import atanh

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from ray.tune.registry import register_env

import rllib_sami
from rllib_sami.core.acting import RecurrentPolicy
from rllib_sami.core.networks import ActorNetworks, NetworkConfig
from rllib_sami.hierarchy import FrozenPolicy, LatentActionEnv, unit_sphere

MOVES = gym.spaces.Box(-2.0, 2.0, (1,), np.float32)
MEMORY = {"context_dim": 3, "encoder_hidden_dim": 8, "actor_hidden": [8]}


class Point(gym.Env):
    """A point on a line that starts at 0 (or somewhere within ``spread``) and is paid its position.

    Observation ``[2]``: position and steps, always in the same array. Episodes terminate beyond ``end`` and are
    truncated after ``max_steps``.
    """

    observation_space = gym.spaces.Box(-100.0, 100.0, (2,), np.float32)
    action_space = MOVES

    def __init__(self, end=100.0, max_steps=20, spread=0.0):
        self.end, self.max_steps, self.spread = end, max_steps, spread
        self.obs = np.zeros(2, np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.obs[:] = self.np_random.uniform(-self.spread, self.spread), 0
        return self.obs, {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.obs += (action[0], 1)
        position, steps = self.obs.tolist()
        info = {"is_success": steps == 2, "steps": steps}
        return self.obs, position, position > self.end, steps >= self.max_steps, info


def networks_of(obs_dim=2, action_dim=1, kind=ActorNetworks, **config):
    torch.manual_seed(0)
    return kind(obs_dim, action_dim, NetworkConfig(**{"context_dim": 0, "actor_hidden": [8]} | config))


def mover(obs_dim=2, latent_dim=1):
    """Moves the point by the latent's first number."""
    networks = networks_of(obs_dim + latent_dim, actor_hidden=[])
    with torch.no_grad():
        networks.actor.net[0].weight.zero_()[0, obs_dim] = atanh(0.5)  # of 2, the largest move
        networks.actor.net[0].bias.zero_()
    return FrozenPolicy(networks, MOVES, latent_dim)


def steps_of(env, *actions):
    """Results of steps."""
    return [env.step(np.asarray(action, np.float32)) for action in actions]


@pytest.mark.parametrize(
    ("settings", "reward", "env_steps", "terminated", "truncated"),
    [
        ({}, 1 + 2 + 3, 3, False, False),
        ({"end": 1.5}, 1 + 2, 2, True, False),
        ({"max_steps": 2}, 1 + 2, 2, False, True),
        ({"max_steps": 3}, 1 + 2 + 3, 3, False, True),
        ({"end": 2.5, "max_steps": 3}, 1 + 2 + 3, 3, True, True),
    ],
)
def test_a_step_sums_rewards_until_its_last_inner_step(settings, reward, env_steps, terminated, truncated):
    env = LatentActionEnv(Point(**settings), mover(), steps=3)
    for _ in range(2):
        env.reset()
        obs, total, *ended, info = env.step(np.ones(1, np.float32))
        assert total == pytest.approx(reward)
        assert ended == [terminated, truncated]
        np.testing.assert_allclose(obs, [env_steps, env_steps], rtol=1e-6)
        assert info == {"env_steps": env_steps, "steps": env_steps, "is_success": env_steps == 2}
        if True in ended:
            with pytest.raises(ResetNeeded):
                env.step(np.ones(1, np.float32))
        else:
            assert env.step(-np.ones(1, np.float32))[1] == pytest.approx(2 + 1 + 0)


def test_it_needs_a_reset_first():
    with pytest.raises(ResetNeeded, match="Call reset"):
        LatentActionEnv(Point(), mover(), steps=3).step(np.zeros(1, np.float32))


def test_latents_may_depend_on_the_observation_and_the_policy_may_read_a_part_of_it():
    """The point goes back home, whatever it is told, with a policy that reads positions only."""
    seen = []

    def to_obs(obs):
        seen.append(float(obs[0]))
        return obs[:1]

    env = LatentActionEnv(
        Point(), mover(obs_dim=1), steps=2, to_latent=lambda action, obs: -np.sign(obs[:1]), to_obs=to_obs
    )
    env.reset()
    env.unwrapped.obs[0] = 5.0
    assert [reward for _, reward, *_ in steps_of(env, [0], [0])] == pytest.approx([4 + 3, 2 + 1])
    assert seen == pytest.approx([5, 4, 3, 2])


def test_actions_on_the_unit_sphere():
    env = LatentActionEnv(Point(), mover(latent_dim=2), steps=2, to_latent=unit_sphere)
    assert env.action_space == gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    env.reset()
    rewards = [reward for _, reward, *_ in steps_of(env, [0.3, 0], [-0.3, 0], [0, 0])]
    assert rewards == pytest.approx([1 + 2, 1 + 0, 0], abs=1e-6)
    np.testing.assert_allclose(unit_sphere(np.float32([-0.3, 0.4])), [-0.6, 0.8], rtol=1e-6)


def test_inner_steps_are_stored_on_request():
    env = LatentActionEnv(Point(), mover(), steps=2, store_steps=True)
    env.reset()
    (*_, first), (*_, second) = steps_of(env, [1], [-1])
    expected = [{"obs": [[0, 0], [1, 1], [2, 2]], "actions": [[0.5], [0.5]], "rewards": [1, 2]}]
    expected += [{"obs": [[2, 2], [1, 3], [0, 4]], "actions": [[-0.5], [-0.5]], "rewards": [1, 0]}]
    for info, arrays in zip((first, second), expected, strict=True):
        assert info["inner"].keys() == arrays.keys()
        for name, values in arrays.items():
            assert info["inner"][name].dtype == np.float32
            np.testing.assert_allclose(info["inner"][name], values, atol=1e-6)


def test_a_subclass_chooses_the_stride():
    class Striding(LatentActionEnv):
        def num_steps(self, action):
            return int(4 * action[1])

    env = Striding(Point(), mover(), steps=9, to_latent=lambda action, obs: action[:1])
    env.reset()
    strides = [info["env_steps"] for *_, info in steps_of(env, [1, 0.5], [1, 1], [1, 0])]
    assert strides == [2, 4, 1]


def test_the_latent_takes_the_place_of_the_context():
    networks = networks_of(obs_dim=2, encoder_reward=True, **MEMORY)
    policy = FrozenPolicy(networks, MOVES)
    assert (policy.obs_dim, policy.latent_dim) == (2, 3)
    rng = np.random.default_rng(0)
    for obs, latent in [(rng.normal(size=2), rng.normal(size=3)) for _ in range(3)]:
        action = policy.act(obs, latent)
        assert MOVES.contains(action)
        mode = networks.actor.mode(torch.tensor(obs).float(), torch.tensor(latent).float()).detach().numpy()
        np.testing.assert_allclose(policy.normalized_action, mode, atol=1e-6)
        np.testing.assert_allclose(action, 2 * mode, atol=1e-6)


class OwnNetworks(ActorNetworks):
    """Acts in torch, with gradients unless the weights want none."""

    act = ActorNetworks.act.__wrapped__


@pytest.mark.parametrize(("kind", "latent_dim"), [(ActorNetworks, None), (ActorNetworks, 1), (OwnNetworks, 1)])
def test_training_the_networks_leaves_the_policy_as_it_is(kind, latent_dim):
    networks = networks_of(kind=kind, **MEMORY)
    policy = FrozenPolicy(networks, MOVES, latent_dim)
    inputs = np.ones(policy.obs_dim, np.float32), np.ones(policy.latent_dim, np.float32)
    before = policy.act(*inputs)
    assert all(parameter.requires_grad for parameter in networks.parameters())
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter += 1.0
    policy.begin()
    np.testing.assert_array_equal(policy.act(*inputs), before)
    assert not np.allclose(FrozenPolicy(networks, MOVES, latent_dim).act(*inputs), before)


def test_the_policy_remembers_its_episode_across_steps_and_no_other():
    networks = networks_of(obs_dim=3, **MEMORY)
    policy = FrozenPolicy(networks, MOVES, latent_dim=1)
    one, other = (LatentActionEnv(Point(), policy, steps=2, store_steps=True) for _ in range(2))
    other.reset()
    for latents in ([1, -1, 0.5], [0.5, 1]):
        one.reset()
        reference, actions, expected = RecurrentPolicy(networks, 1), [], []
        for latent in latents:
            steps_of(other, [-latent])
            inner = steps_of(one, [latent])[0][-1]["inner"]
            actions += list(inner["actions"])
            expected += [reference.act(np.float32([[*obs, latent]]))[0] for obs in inner["obs"][:-1]]
        np.testing.assert_allclose(actions, expected, atol=1e-6)
        forgetful = RecurrentPolicy(networks, 1).act(np.float32([[*inner["obs"][-2], latents[-1]]]))
        assert abs(forgetful - actions[-1]) > 1e-4  # so memory counts


def test_seeds_are_the_inner_environments():
    env = LatentActionEnv(Point(spread=1.0), mover(), steps=2)
    starts = [float(env.reset(seed=seed)[0][0]) for seed in (3, 4, 3)]
    assert starts[0] == starts[2] != starts[1]
    assert starts[0] == Point(spread=1.0).reset(seed=3)[0][0]
    assert env.np_random is env.unwrapped.np_random


def test_meta_tasks_success_and_pictures_are_passed_on():
    inner = gym.make("SaMI/PointGoal-v0", render_mode="rgb_array")
    env = LatentActionEnv(inner, FrozenPolicy(networks_of(4, 2), inner.action_space, latent_dim=2), steps=10)
    assert env.observation_space == inner.observation_space
    assert env.get_wrapper_attr("num_tasks") == 7
    env.set_wrapper_attr("next_task_id", 4)
    _, info = env.reset(seed=0)
    assert info["task_id"] == env.get_wrapper_attr("task_id") == 4
    assert env.reset(options={"task_id": 2})[1]["task_id"] == 2
    infos = [info for *_, info in steps_of(env, [0, 0], [0, 0], [0, 0])]
    assert [info["env_steps"] for info in infos] == [10, 10, 5]
    assert ["is_success" in info for info in infos] == [False, False, True]
    np.testing.assert_array_equal(env.render(), inner.render())


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # that it is a wrapper, and of wide observation spaces
def test_gymnasium_finds_nothing_wrong():
    check_env(LatentActionEnv(Point(max_steps=5, spread=1.0), mover(), steps=2))
    inner = gym.make("SaMI/PointGoal-v0", render_mode="rgb_array")
    policy = FrozenPolicy(networks_of(**MEMORY, action_dim=2), inner.action_space)
    env = LatentActionEnv(inner, policy, steps=2, to_latent=unit_sphere, store_steps=True)
    check_env(env)
    same = gym.make(env.spec)
    for each in (env, same):
        each.reset(seed=0)
    (*_, info), (*_, same_info) = (each.step(np.float32([0.1, 0, 0])) for each in (env, same))
    np.testing.assert_array_equal(info["inner"]["obs"], same_info["inner"]["obs"])


def test_it_can_be_pickled_in_the_middle_of_an_episode():
    env = LatentActionEnv(Point(), FrozenPolicy(networks_of(3, **MEMORY), MOVES, 1), steps=2, to_latent=unit_sphere)
    env.reset()
    steps_of(env, [1])
    copy = pickle.loads(pickle.dumps(env))
    for (obs, *result), (same_obs, *same_result) in zip(steps_of(env, [-1]), steps_of(copy, [-1]), strict=True):
        np.testing.assert_array_equal(obs, same_obs)
        assert result == same_result


def begun(to_reward):
    env = LatentActionEnv(gym.wrappers.TransformReward(Point(), to_reward), mover(), steps=2)
    env.reset()
    return env


REFUSED = {
    "no context": (lambda: FrozenPolicy(networks_of(), MOVES), "no context whose place"),
    "networks of its own": (
        lambda: FrozenPolicy(networks_of(kind=OwnNetworks, **MEMORY), MOVES),
        "networks of its own",
    ),
    "no room": (lambda: FrozenPolicy(networks_of(2), MOVES, 2), "an integer, 1 to 1, as the policy observes 2"),
    "half a latent": (lambda: FrozenPolicy(networks_of(3), MOVES, 1.5), "latent_dim=1.5: expected an integer, 1 to 2"),
    "no latent": (lambda: FrozenPolicy(networks_of(2), MOVES, 0), "latent_dim=0: expected an integer, 1 to 1"),
    "other actions": (lambda: FrozenPolicy(networks_of(action_dim=2), MOVES, 1), "has 2 actions"),
    "rewards": (
        lambda: FrozenPolicy(networks_of(encoder_reward=True, **MEMORY), MOVES, 1),
        "encoder reads the rewards",
    ),
    "zero steps": (lambda: LatentActionEnv(Point(), mover(), steps=0), "steps=0: expected an integer >= 1"),
    "half a step": (lambda: LatentActionEnv(Point(), mover(), steps=1.5), "steps=1.5: expected"),
    "a switch": (lambda: LatentActionEnv(Point(), mover(), steps=True), "steps=True: expected"),
    "other observations": (lambda: LatentActionEnv(Point(), mover(1), steps=2), "of 1 numbers, .* gives 2. .*to_obs"),
    "other bounds": (
        lambda: LatentActionEnv(Point(), FrozenPolicy(networks_of(3), gym.spaces.Box(-1.0, 1.0, (1,)), 1), steps=1),
        r"policy acts in Box\(-1.* has Box\(-2",
    ),
    "a wide latent": (lambda: mover().act(np.zeros(2), np.zeros(3)), r"latent has shape \[3\], but .* reads \[1\]"),
    "a module": (lambda: FrozenPolicy(torch.nn.Linear(3, 1), MOVES, 1), "such as `module.acting` of .*Linear"),
    "discrete actions": (lambda: FrozenPolicy(networks_of(3), gym.spaces.Discrete(2), 1), r"not Discrete\(2\)"),
    "no number": (lambda: mover().act(np.zeros(2), np.full(1, np.nan)), r"latent is \[nan\], but must be finite"),
    "no reward": (lambda: begun(lambda reward: None).step(np.zeros(1)), "the reward None, but it must be a number"),
    "a narrow observation": (lambda: mover().act(np.zeros(1), np.zeros(1)), r"observation has shape \[1\]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.usefixtures("ray_cluster")
def test_plain_sac_trains_on_it_and_its_policy_is_the_next_lower_level(tmp_path):
    register_env("test/LatentActionPoint", lambda given: LatentActionEnv(Point(), **given))
    config = (
        rllib_sami.PlainSACConfig()
        .environment("test/LatentActionPoint", env_config={"policy": mover(), "steps": 6})
        .env_runners(num_envs_per_env_runner=2, rollout_fragment_length=8)
        .training(actor_hidden=[16], critic_hidden=[16], num_steps_sampled_before_learning_starts=16)
        .reporting(min_sample_timesteps_per_iteration=48)
        .debugging(seed=0, log_level="ERROR")
    )
    algo = config.build_algo()
    results = [algo.train() for _ in range(2)]
    assert results[-1]["env_runners"]["episode_len_mean"] == 4  # 20 inner steps, six to a step
    assert np.isfinite(results[-1]["learners"]["default_policy"]["critic_loss"])
    algo.save_to_path(tmp_path / "checkpoint")
    algo.stop()
    agent = rllib_sami.load(tmp_path / "checkpoint")
    obs = np.float32([1, 2])
    policy = FrozenPolicy(agent.module.acting, agent.module.action_space, latent_dim=1)
    np.testing.assert_allclose(policy.act(obs[:1], obs[1:]), agent.act(obs), atol=1e-6)
