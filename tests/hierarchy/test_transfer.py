"""Commands to a body, and an agent of a toy that steers one: a point mass with hand-written policies."""

import types

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rllib_sami import envs
from rllib_sami.core.inferred_tasks import InferredTask
from rllib_sami.hierarchy.commands import Command, CommandEnv, command_within
from rllib_sami.hierarchy.transfer import (
    HighLevelEnv,
    SteeredEnv,
    StrideChooser,
    StridingEnv,
    TransferEnv,
    command_of,
    stride_of,
)

POINT = "Reuse/PointMass-v0"


class Follower:
    """A low level that pushes the point mass towards its command."""

    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    obs_dim, latent_dim = 1, 2

    def __init__(self):
        self.seen = []

    def begin(self):
        self.seen = []

    def act(self, obs, latent):
        self.seen.append((obs.copy(), latent.copy()))
        place, velocity = latent
        wanted = velocity if velocity else 4.0 * place
        self.normalized_action = np.clip([wanted - obs[0] + 0.2 * wanted], -1, 1).astype(np.float32)
        return self.normalized_action


class Inference:
    """An agent of the toy that knows the task."""

    latent_dim, masked, reads_actions = 4, False, False

    def __init__(self, family="velocity+", action=0.4):
        self.latent, self.family, self.action, self.calls = np.arange(4, dtype=np.float32), family, action, []
        self.quantity = family.rstrip("+-") if family else "goal"
        self.quantities = ("goal", "velocity")

    @property
    def inferred(self):
        return InferredTask(self.family, None if self.masked else self.latent)

    def begin(self, seed=None):
        self.calls, self.seed = [], seed

    def act(self, obs, reward=None):
        self.calls.append((obs.copy(), reward))
        return np.array([self.action])


def striding(inference=None, task=None, **settings):
    body = envs.make(POINT, **(task or {"velocity": 2.0}), max_steps=settings.pop("max_steps", 50))
    return StridingEnv(
        body, Follower(), ("goal", "velocity"), envs.make("Reuse/Toy-v0"), inference or Inference(), **settings
    )


# --- The environment of the low level -------------------------------------------------------------------------------


def test_a_command_is_read_in_its_slot_and_paid_by_its_distance():
    env = CommandEnv(envs.make(POINT), scales={"velocity": 2.0}, command_steps=(200, 200))
    env.reset(seed=0)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(12):
        obs, _ = env.reset()
        quantity, value = env.command.quantity, env.command.value
        seen.add((quantity, np.sign(obs[1:].sum())))
        for _ in range(5):
            obs, reward, *_ = env.step(rng.uniform(-1, 1, 1))
            place, velocity = env.body.quantity("goal"), env.body.quantity("velocity")
            assert obs[0] == np.float32(velocity)
            if quantity == "goal":
                np.testing.assert_allclose(obs[1:], [value - place, 0.0], rtol=1e-5, atol=1e-6)
                assert reward == pytest.approx(-abs(value - place))
            else:
                np.testing.assert_allclose(obs[1:], [0.0, value], rtol=1e-6)
                assert reward == pytest.approx(-abs(value - velocity) / 2.0)
    assert len(seen) == 4


def test_commands_are_within_their_ranges_and_last_as_long_as_was_said():
    env = CommandEnv(
        envs.make(POINT), quantities=["velocity"], ranges={"velocity": (1.0, 2.0)}, command_steps=(3, 5), max_steps=400
    )
    env.reset(seed=1)
    commands = []
    for step in range(400):
        commands.append(env.command)
        truncated = env.step(np.zeros(1, np.float32))[3]
        assert truncated == (step == 399)
    changes = [k for k in range(1, 400) if commands[k] is not commands[k - 1]]
    assert set(np.diff(changes)) == {3, 4, 5}
    values = np.array([command.value for command in commands])
    assert ((np.abs(values) >= 1.0) & (np.abs(values) <= 2.0)).all()
    assert 0.3 < (values > 0).mean() < 0.7


def test_a_place_that_is_reached_makes_room_for_another_command():
    env = CommandEnv(envs.make(POINT), quantities=["goal"], command_steps=(1000, 1000), max_steps=2000)
    env.reset(seed=0)
    durations, first = [], 0
    for step in range(300):
        command = env.command = Command("goal", env.body.quantity("goal") + 0.01) if step == first else env.command
        env.step(np.zeros(1, np.float32))
        if env.command is not command:
            durations.append(step - first + 1)
            first = step + 1
    assert 3.0 < np.mean(durations) < 8.0  # 5 with probability 0.2


class Falling(gym.Wrapper):
    """A body that has fallen once it is beyond 0.5 m."""

    @property
    def is_healthy(self):
        return abs(self.env.unwrapped.quantity("goal")) < 0.5


def test_bodies_that_can_fall_are_paid_for_standing_until_they_fall():
    env = CommandEnv(Falling(envs.make(POINT)))
    env.reset(seed=0)
    terminated = False
    while not terminated:
        command = env.command
        _, reward, terminated, truncated, _ = env.step(np.ones(1, np.float32))
        assert reward == pytest.approx(1.0 - command.error(env.body))
        assert not truncated
    assert env.body.env.unwrapped.quantity("goal") >= 0.5


def test_the_same_seed_gives_the_same_commands_and_the_environment_keeps_gymnasium_s_contract():
    env = CommandEnv(envs.make(POINT), command_steps=(2, 4))
    runs = []
    for seed in (3, 3, 4):
        obs = [env.reset(seed=seed)[0]] + [env.step(np.ones(1, np.float32))[0] for _ in range(30)]
        runs.append(np.stack(obs))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()
    check_env(env, skip_render_check=True)


# --- The toy's agent on a body --------------------------------------------------------------------------------------


def test_a_stride_is_a_step_of_the_toy_and_its_last_reward_is_what_the_agent_reads():
    inference = Inference()
    env = striding(inference, fixed_stride=5, task_reward=True)
    env.reset(seed=0)
    assert inference.calls[0][1] is None
    body = env.unwrapped
    for _ in range(10):
        rewards = []
        advance = body.advance
        body.advance = lambda action, advance=advance, rewards=rewards: (rewards.append(r := advance(action)), r)[1]
        _, total, terminated, truncated, info = env.step(np.zeros(1))
        del body.advance
        assert info["env_steps"] == 5
        assert total == pytest.approx(sum(r[0] for r in rewards), rel=1e-5)
        obs, reward = inference.calls[-1]
        np.testing.assert_allclose(obs, [body.quantity("goal") / 10.0, body.quantity("velocity")], rtol=1e-5)
        assert reward == pytest.approx(rewards[-1][0], rel=1e-5)
        assert not terminated
    assert truncated


def test_commands_go_by_the_name_of_the_family_and_places_stay_where_they_are_within_a_stride():
    for family, quantity in (("velocity-", "velocity"), ("goal+", "goal"), (None, "goal")):
        env = striding(Inference(family, action=0.9), fixed_stride=4)
        env.reset(seed=0)
        here, command = env.quantity("goal"), env.command
        assert command.quantity == quantity
        assert command.value == pytest.approx(here + 1.35 if quantity == "goal" else 3.0)  # 4.5 m/s are too fast
        env.policy.seen.clear()
        env.step(np.zeros(1))
        slots = np.array([latent for _, latent in env.policy.seen])
        assert len(slots) == 4
        if quantity == "goal":
            assert not slots[:, 1].any()
            assert (np.diff(slots[:, 0]) < 0).all()  # nearer at each step
        else:
            np.testing.assert_array_equal(slots, [[0.0, 3.0]] * 4)


def test_places_are_commanded_no_farther_away_than_a_low_level_knows():
    for gain, action, distance in ((1.0, 0.9, 0.45), (2.0, -0.9, -0.9), (9.0, 0.9, 1.5), (9.0, -0.9, -1.5)):
        env = striding(Inference("goal+", action), place_gain=gain)
        env.reset(seed=0)
        assert env.command.value - env.quantity("goal") == pytest.approx(distance)


def test_strides_are_paid_for_the_command_and_cost_their_steps():
    env = striding(step_cost=0.05)
    obs, _ = env.reset(seed=0)
    for action in (-1.0, -0.4, 0.0, 1.0):
        command = env.command
        obs, reward, *_, info = env.step(np.array([action]))
        assert info["env_steps"] == stride_of(action)
        error = abs(command.value - env.quantity("velocity")) / abs(command.value)
        assert reward == pytest.approx(np.clip(-error - 0.05 * info["env_steps"], -2.0, 1.0))
        np.testing.assert_allclose(obs, [env.quantity("velocity"), 0.0, env.command.value], rtol=1e-6)
    goal = striding(Inference("goal+", 0.5), step_cost=0.0, place_gain=1.0)
    goal.reset(seed=0)
    command, norm = goal.command, 0.25
    reward = goal.step(np.array([-1.0]))[1]
    assert reward == pytest.approx(-abs(command.value - goal.quantity("goal")) / norm)


def test_every_stride_has_the_same_share_of_actions_and_ends_with_the_episode():
    counts = np.bincount([stride_of(action) for action in np.linspace(-1, 1, 20_001)])
    assert len(counts) == 21
    assert counts[0] == 0
    assert counts[1:].max() - counts[1:].min() <= 2
    env = striding(max_steps=12)
    env.reset(seed=0)
    *_, truncated, info = env.step(np.ones(1))
    assert truncated
    assert info["env_steps"] == 12
    assert "tracking_error" in info


def test_references_command_what_the_task_says_nothing_or_anything():
    oracle = striding(Inference("goal-"), guide="oracle", task={"velocity": -1.5})
    oracle.reset(seed=0)
    assert (oracle.command.quantity, oracle.command.value) == ("velocity", -1.5)
    far = striding(guide="oracle", task={"goal": -8.0})
    far.reset(seed=0)
    assert far.command.value == pytest.approx(far.quantity("goal") - 1.5)
    still = striding(guide="still")
    still.reset(seed=0)
    np.testing.assert_array_equal(still.latent(None, None), [0.0, 0.0])
    for quantities in (("goal", "velocity"), ("velocity",)):  # never what the toy knows nothing of
        inference = Inference()
        inference.quantities = quantities
        anything = striding(inference, guide="random", fixed_stride=2)
        anything.reset(seed=0)
        assert {(anything.step(np.zeros(1)), anything.command.quantity)[1] for _ in range(8)} == {*quantities}


def test_standing_still_is_a_command_that_every_low_level_knows():
    parts = (envs.make(POINT, goal=5.0), Follower(), ("goal",), envs.make("Reuse/Toy-v0"), Inference("goal+"))
    env = StridingEnv(*parts, guide="still", fixed_stride=3)
    env.reset(seed=0)
    assert (env.command.quantity, env.command.value) == ("goal", env.quantity("goal"))
    np.testing.assert_array_equal(env.latent(None, None), [0.0])


@pytest.mark.parametrize(
    ("task", "quantities", "words"),
    [({"velocity": 1.0}, ("goal",), "about velocity, but the oracle can command one of goal. Play other"),
     ({"velocity": 1.0, "goal": 2.0}, ("goal", "velocity"), "about several quantities, or none, but"),
     ({"velocity": 0.0}, ("goal", "velocity"), "about several quantities, or none, but")],
)  # fmt: skip
def test_an_oracle_says_what_it_cannot_command(task, quantities, words):
    body = envs.make(POINT, tasks=[task])
    env = StridingEnv(body, Follower(), quantities, envs.make("Reuse/Toy-v0"), Inference(), guide="oracle")
    with pytest.raises(ValueError, match=words):
        env.reset(seed=0)


def test_commands_are_within_what_the_low_level_has_learned():
    ranges = {"goal": (0.0, 0.6), "velocity": (0.5, 1.2)}
    for family, guide, value in (("velocity+", "toy", 1.2), ("goal+", "toy", 0.6), ("goal-", "oracle", -0.6)):
        body, toy = envs.make(POINT, goal=-8.0), envs.make("Reuse/Toy-v0")
        env = StridingEnv(body, Follower(), ("goal", "velocity"), toy, Inference(family, 0.9), ranges, guide=guide)
        env.reset(seed=0)
        here = env.quantity("goal") if env.command.quantity == "goal" else 0.0
        assert env.command.value - here == pytest.approx(value)


def test_noise_of_latents_follows_the_seed_of_the_reset():
    env = striding()
    seeds = [env.reset(seed=seed) and env.inference.seed for seed in (0, 1, 0)] + [env.reset() and env.inference.seed]
    assert seeds[0] == seeds[2] != seeds[1]
    assert len({*seeds}) == 3


def test_the_high_level_commands_by_its_largest_action():
    inference = Inference()
    body = envs.make(POINT, velocity=2.0, max_steps=60)
    toy = envs.make("Reuse/Toy-v0")
    parts = (body, Follower(), ("goal", "velocity"), toy, inference)
    env = HighLevelEnv(*parts, choose_stride=StrideChooser(3), action_cost=0.1)
    obs, _ = env.reset(seed=0)
    assert env.action_space.shape == (2,)
    np.testing.assert_allclose(obs[2:], inference.latent)
    for action, quantity, value in (([0.2, -0.5], "velocity", -1.5), ([-0.7, 0.5], "goal", -1.05)):
        here = env.quantity("goal")
        obs, reward, *_, info = env.step(np.array(action))
        assert env.command.quantity == quantity
        assert env.command.value == pytest.approx(value + (here if quantity == "goal" else 0.0))
        assert info["env_steps"] == 3
        assert obs[0] == pytest.approx(env.quantity("goal") / 10.0, rel=1e-5)
        mean = np.mean([-error for error in body._errors[-3:]])
        assert reward == pytest.approx(mean - 0.1 * np.abs(action).sum(), rel=1e-5)
        assert inference.calls[-1][1] == pytest.approx(-body._errors[-1], rel=1e-5)  # without the cost of actions


def test_the_high_level_s_strides_may_be_another_policy_s():
    read = []

    def act(obs, latent):
        read.append((obs.copy(), latent.copy()))
        return np.array([-0.65])

    body, toy = envs.make(POINT, velocity=2.0), envs.make("Reuse/Toy-v0")
    begun = []
    choose = StrideChooser(None, types.SimpleNamespace(act=act, begin=lambda: begun.append(True)))
    env = HighLevelEnv(body, Follower(), ("goal", "velocity"), toy, Inference(), choose_stride=choose)
    env.reset(seed=0)
    velocity = env.quantity("velocity")
    assert begun == [True]
    assert env.step(np.array([0.0, 0.3]))[4]["env_steps"] == 4
    np.testing.assert_allclose(read[0][0], [velocity])
    np.testing.assert_allclose(read[0][1], [0.0, 0.9])


def test_a_low_level_is_trained_further_under_the_commands_of_a_high_level():
    class HighLevel:
        """Commands velocities 0.6 m/s, then places, in turn."""

        def begin(self):
            self.seen = []

        def act(self, obs, latent):
            self.seen.append((obs.copy(), latent.copy()))
            return np.array([0.0, 0.2] if len(self.seen) % 2 else [0.5, 0.0], np.float32)

    inference, high = Inference(), HighLevel()
    body = envs.make(POINT, tasks=[{"velocity": 2.0}], max_steps=20)
    begun = []
    policy = types.SimpleNamespace(act=lambda obs, latent: np.array([-0.65]), begin=lambda: begun.append(True))
    choose = StrideChooser(None, policy)  # four steps
    env = SteeredEnv(body, ("goal", "velocity"), envs.make("Reuse/Toy-v0"), inference, high, choose)
    _, info = env.reset(seed=0)
    assert info["task_id"] == 0
    assert begun == [True]
    truncated, steps, commands, rewards = False, 0, [], []
    while not truncated:
        place = body.quantity("goal")
        if steps % 4 == 0:
            assert len(high.seen) == steps // 4 + 1
            np.testing.assert_allclose(high.seen[-1][1], inference.latent)
            assert high.seen[-1][0][0] == pytest.approx(place / 10.0, rel=1e-5)
            assert inference.calls[-1][1] == (pytest.approx(rewards[-1]) if rewards else None)
            commands.append(env.command)
            velocity = len(commands) % 2 == 1
            assert env.command.value == pytest.approx(0.6 if velocity else place + 0.75)
        assert env.command is commands[-1]
        _, reward, _, truncated, _ = env.step(np.array([0.3]))
        rewards.append(body._reward())
        body._errors.pop()
        assert reward == pytest.approx(-commands[-1].error(body))
        steps += 1
    assert steps == 20
    env.reset()
    assert inference.calls == [(pytest.approx(inference.calls[0][0]), None)]


def test_tasks_of_a_steered_body_are_those_of_the_body():
    body = envs.make(POINT, split="grid")
    high = types.SimpleNamespace(act=lambda obs, latent: np.ones(2), begin=lambda: None)
    parts = (body, ("goal", "velocity"), envs.make("Reuse/Toy-v0"), Inference(), high, StrideChooser(3))
    env = SteeredEnv(*parts, ranges={"goal": (0.0, 0.2), "velocity": (0.0, 2.0)})
    assert env.reset(seed=0, options={"task_id": 7})[1]["task_id"] == 7
    assert env.command.value == pytest.approx(body.quantity("goal") + 0.2)
    assert sorted(env.reset()[1]["task_id"] for _ in range(12)) == [*range(12)]  # all are visited


def test_commands_are_no_smaller_and_no_larger_than_a_low_level_has_learned():
    ranges = {"goal": (0.5, 1.5), "stand": (0.5, 1.5), "jump": (1.5, 3.0)}
    for name, value, expected in (
        ("stand", -0.1, -0.5), ("stand", 2.0, 1.5), ("jump", -2.0, 2.0), ("jump", 0.2, 1.5), ("goal", 4.1, 4.1),
        ("goal", 9.0, 5.5), ("goal", -9.0, 2.5),
    ):  # fmt: skip
        assert command_within(name, value, ranges, lambda name: 4.0) == Command(name, pytest.approx(expected))
    quantities = tuple(ranges)
    for action, command in (
        ([0.0, -0.5, 0.2], Command("stand", -1.0)), ([0.1, 0.0, -1.0], Command("jump", 3.0)),
        ([-1.0, 0.0, 0.2], Command("goal", 2.5)),
    ):  # fmt: skip
        assert command_of(np.array(action), quantities, ranges, lambda name: 4.0) == command


def test_environments_of_the_chain_keep_gymnasium_s_contract():
    body, toy = envs.make(POINT), envs.make("Reuse/Toy-v0")
    parts = (body, Follower(), ("goal", "velocity"), toy, Inference())
    for env in (StridingEnv(*parts), HighLevelEnv(*parts, choose_stride=StrideChooser(3))):
        assert env.spec == body.spec
        check_env(env, skip_render_check=True)


def test_an_encoder_that_reads_actions_infers_nothing_where_others_command():
    for guide, has_latent in (("toy", True), ("masked", True), ("oracle", False), ("random", False), ("still", False)):
        inference = Inference()
        inference.reads_actions = True
        env = striding(inference, guide=guide)
        env.reset(seed=0)
        assert (env.inferred_task().latent is not None) == has_latent
    env = striding(guide="oracle")
    env.reset(seed=0)
    assert env.inferred_task().latent is not None


def test_tasks_of_the_body_are_those_of_the_environment():
    assert issubclass(StridingEnv, TransferEnv)
    env = StridingEnv(
        envs.make(POINT, split="grid"), Follower(), ("goal", "velocity"), envs.make("Reuse/Toy-v0"), Inference()
    )
    assert env.get_wrapper_attr("num_tasks") == 12
    _, info = env.reset(seed=0, options={"task_id": 7})
    assert info["task"]["goal"] == 5.5
