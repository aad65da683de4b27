"""A toy's agent on another body, with agents that nothing has trained: environments from checkpoints, and training."""

import re

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.tune.registry import register_env

import rllib_sami
from rllib_sami import NeuralProcessConfig, PlainSACConfig, SaCCMConfig, TaskInferenceConfig, envs, evaluation
from rllib_sami.exports import transfer_parts
from rllib_sami.exports.agents import load_exported
from rllib_sami.exports.task_transfer import HIGH_LEVEL, LOW_LEVEL, STRIDING

from .skill_agents import exported
from .tiny import differences, snapshot

POINT, TOY = "Reuse/PointMass-v0", "Reuse/Toy-v0"
SMALL = {"actor_hidden": [8], "critic_hidden": [8]}


def low_level_config(body=POINT, **settings):
    return PlainSACConfig().environment(LOW_LEVEL, env_config={"body": body, **settings}).training(**SMALL)


@pytest.fixture(scope="module")
def agents(tmp_path_factory):
    """Exported agents that nobody trained."""
    root = tmp_path_factory.mktemp("agents")
    sizes = {**SMALL, "encoder_hidden_dim": 8, "window": 4}
    toy = TaskInferenceConfig().environment(TOY).training(**sizes, latent_dim=3)
    exported(root / "toy", toy, obs_dim=2, action_dim=1)
    multi = TaskInferenceConfig().environment("Reuse/ToyMulti-v0").training(**sizes)
    exported(root / "multi", multi, obs_dim=6, action_dim=3)
    exported(root / "low_level", low_level_config(), obs_dim=3, action_dim=1)
    slow = low_level_config(ranges={"goal": [0.0, 0.01], "velocity": [0.0, 0.02]})
    exported(root / "slow", slow, obs_dim=3, action_dim=1)
    exported(root / "cheetah", low_level_config("Reuse/HalfCheetah-v0"), obs_dim=19, action_dim=6)
    exported(root / "striding", PlainSACConfig().environment(STRIDING).training(**SMALL), obs_dim=3, action_dim=1)
    high_level = {"toy": str(root / "toy"), "fixed_stride": 5, "low_level": str(root / "low_level")}
    high_level = PlainSACConfig().environment(HIGH_LEVEL, env_config=high_level).training(**SMALL)
    exported(root / "high_level", high_level, obs_dim=2 + 3, action_dim=2)
    exported(root / "wide", PlainSACConfig().environment(STRIDING).training(**SMALL), obs_dim=19, action_dim=1)
    heedless = PlainSACConfig().environment(TOY).training(**SMALL)
    exported(root / "heedless", heedless, obs_dim=2, action_dim=1)
    contrast = SaCCMConfig().environment(TOY).training(**SMALL, encoder_hidden_dim=8)
    exported(root / "contrast", contrast, obs_dim=2, action_dim=1)
    process = NeuralProcessConfig().environment("Reuse/ToyGoal-v0").training(**sizes)
    exported(root / "process", process, obs_dim=1, action_dim=1)
    masked = {"toy": str(root / "toy"), "fixed_stride": 5, "masked": True, "low_level": str(root / "slow")}
    masked = PlainSACConfig().environment(HIGH_LEVEL, env_config=masked).training(**SMALL)
    exported(root / "blind", masked, obs_dim=2 + 3, action_dim=2)
    exported(root / "sac", PlainSACConfig().environment(POINT).training(**SMALL), obs_dim=2, action_dim=1)
    return root


def make(env_id, folder, **settings):
    """An environment; settings that name agents are their folders."""
    found = {key: str(folder / value) if (folder / str(value)).is_dir() else value for key, value in settings.items()}
    return gym.make(env_id, **{key: value for key, value in found.items() if value is not None})


def test_the_body_is_that_of_the_low_level_and_its_settings_are_passed_on(agents):
    env = make(STRIDING, agents, toy="toy", low_level="cheetah", fixed_stride=3, split="grid", max_steps=9)
    assert type(env.unwrapped) is envs.reuse.HalfCheetah
    assert env.get_wrapper_attr("num_tasks") == 12
    assert env.observation_space.shape == (17 + 2,)
    env.reset(seed=0, options={"task_id": 3})
    assert [env.step(np.zeros(1, np.float32))[3] for _ in range(3)] == [False, False, True]


def test_the_toy_s_agent_acts_and_infers_as_when_it_is_loaded(agents):
    env = make(STRIDING, agents, toy="toy", low_level="low_level", fixed_stride=4, latent_noise=0.0)
    agent = rllib_sami.load(agents / "toy")
    env.reset(seed=0)
    agent.reset()
    reward = None
    inference, toy = env.get_wrapper_attr("inference"), env.get_wrapper_attr("toy")
    quantity = env.get_wrapper_attr("quantity")
    rewards = []
    body = env.unwrapped
    advance = body.advance
    body.advance = lambda action: (rewards.append(result := advance(action)), result)[1]
    for _ in range(7):  # more than the window
        action = agent.act(toy.observe_body(quantity), reward)
        np.testing.assert_allclose(inference.latent, agent.context, atol=1e-6)
        scores = agent.module.acting.family_logits(
            torch.as_tensor(toy.observe_body(quantity))[None], torch.as_tensor(agent.context)[None]
        )
        family = agent.module.acting.config.families[int(scores.argmax())]
        command = env.get_wrapper_attr("command")
        assert command.quantity == family.rstrip("+-")
        expected, here = toy.command_of(quantity, action, command.quantity), quantity("goal")
        farther = here + 3.0 * (expected - here)
        assert command.value == pytest.approx(farther if command.quantity == "goal" else np.clip(expected, -3, 3))
        env.step(np.zeros(1, np.float32))
        reward = rewards[-1][0]


def test_commands_are_within_the_ranges_that_the_low_level_was_trained_with(agents):
    env = make(STRIDING, agents, toy="toy", low_level="slow", fixed_stride=2, guide="random")
    env.reset(seed=0)
    sizes = []
    for _ in range(20):
        command = env.get_wrapper_attr("command")
        here = env.get_wrapper_attr("quantity")("goal") if command.quantity == "goal" else 0.0
        sizes.append((command.quantity, round(abs(command.value - here), 6)))
        env.step(np.zeros(1, np.float32))
    assert {("goal", 0.01), ("velocity", 0.02)} <= {*sizes}
    assert all(size <= {"goal": 0.01, "velocity": 0.02}[name] for name, size in sizes)


def test_without_its_latent_the_agent_reads_zeros(agents):
    env = make(STRIDING, agents, toy="toy", low_level="low_level", fixed_stride=4, guide="masked")
    env.reset(seed=0)
    inference = env.get_wrapper_attr("inference")
    networks = rllib_sami.load(agents / "toy").module.acting
    for _ in range(3):
        obs = env.get_wrapper_attr("toy").observe_body(env.get_wrapper_attr("quantity"))
        action = networks.actor.mode(torch.as_tensor(obs)[None], torch.zeros(1, 3))[0].detach().numpy()
        np.testing.assert_allclose(env.get_wrapper_attr("_toy_action"), action, rtol=1e-5)
        assert not inference.latent.any()
        env.step(np.zeros(1, np.float32))


def transfer_config(env_id, agents, seed=0, **settings):
    parts = {"toy": str(agents / "toy"), "low_level": str(agents / "low_level")}
    env_config = ({"body": POINT, "max_steps": 40} if env_id == LOW_LEVEL else parts | {"max_steps": 40}) | settings
    return (
        PlainSACConfig()
        .environment(env_id, env_config=env_config)
        .env_runners(num_envs_per_env_runner=3, rollout_fragment_length=5)
        .training(
            **SMALL,
            train_batch_size_per_learner=16,
            num_steps_sampled_before_learning_starts=30,
            updates_per_env_step=0.2,
            replay_buffer_config={"capacity": 2_000},
        )
        .reporting(min_sample_timesteps_per_iteration=60)
        .debugging(seed=seed, log_level="ERROR")
    )


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(
    ("env_id", "settings"),
    [(STRIDING, {}), (HIGH_LEVEL, {"striding": "striding"}), (LOW_LEVEL, {"high_level": "high_level"})],
)
def test_stages_train_alike_with_a_seed_and_leave_the_frozen_agents_as_they_are(agents, env_id, settings):
    settings = {key: str(agents / value) if isinstance(value, str) else value for key, value in settings.items()}
    frozen = {path: path.read_bytes() for path in agents.glob("*/*") if path.is_file()}
    ends = []
    for seed in (0, 0):
        algo = transfer_config(env_id, agents, seed, **settings).build_algo()
        result = [algo.train() for _ in range(2)][-1]
        assert np.isfinite(result["learners"]["default_policy"]["critic_loss"])
        ends.append(snapshot(algo)["state"])
        env = algo.env_runner.env.envs[0]
        frozen_policy = env.get_wrapper_attr("high_level" if env_id == LOW_LEVEL else "policy")
        parts = [env.get_wrapper_attr("inference")._networks, frozen_policy._policy._networks]
        names = ("toy", "high_level" if env_id == LOW_LEVEL else "low_level")
        loaded = [rllib_sami.load(agents / name).module.acting for name in names]
        for part, original in zip(parts, loaded, strict=True):
            kept, expected = part.state_dict(), original.state_dict()
            assert all(torch.equal(kept[name], expected[name]) for name in expected)
        algo.stop()
    assert [name for name in differences(ends[0], ends[1]) if "time" not in name] == []
    assert {path: path.read_bytes() for path in frozen} == frozen


class NoBody(gym.Env):
    """A body that tells nothing of itself."""

    observation_space = action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, config=None):
        pass

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, False, False, {}


register_env("no_body", NoBody)


class Short(NoBody):
    """A body with episodes of 30 steps."""

    proprioception, max_steps = np.zeros(1, np.float32), 30

    def quantity(self, name):
        return 0.0


@pytest.mark.parametrize(
    ("env_id", "settings", "words"),
    [
        (LOW_LEVEL, {"body": None}, ["needs 'body'", "Reuse/HalfCheetah-v0"]),
        (LOW_LEVEL, {"body": "no_body"}, ["'no_body' has no `proprioception`", "quantity(name)"]),
        (LOW_LEVEL, {"quantities": ["goal", "stand"]}, ["PointMass", "no quantity 'stand'", "leave it out"]),
        (LOW_LEVEL, {"quantities": "goal"}, ["quantities='goal'", "list of different names"]),
        (LOW_LEVEL, {"quantities": ["goal", "goal"]}, ["list of different names"]),
        (LOW_LEVEL, {"ranges": {"velocity": [2, 1]}}, ["ranges['velocity']=[2, 1]", "smaller one first"]),
        (LOW_LEVEL, {"ranges": {"velocit": [0, 1]}}, ["'velocit'", "Did you mean 'velocity'"]),
        (LOW_LEVEL, {"scales": {"goal": 0}}, ["scales['goal']=0", "above 0"]),
        (LOW_LEVEL, {"command_steps": [0, 5]}, ["command_steps=[0, 5]", "two integers >= 1"]),
        (LOW_LEVEL, {"max_steps": 0}, ["max_steps=0"]),
        (LOW_LEVEL, {"high_level": "striding"}, ["must be of Reuse/HighLevel-v0"]),
        (
            LOW_LEVEL,
            {"high_level": "high_level", "quantities": ["goal"]},
            ["quantities=('goal',)", "trained with ('goal', 'velocity')", "Leave it"],
        ),
        (LOW_LEVEL, {"high_level": "high_level", "ranges": {"goal": [0, 1]}}, ["ranges={'goal': (0, 1)", "Leave it"]),
        (LOW_LEVEL, {"high_level": "high_level", "body": "Reuse/HalfCheetah-v0"}, ["reads 5 numbers", "have 21"]),
        (LOW_LEVEL, {"body": 5}, ["body=5", "an environment's id"]),
        (LOW_LEVEL, {"scales": 3}, ["scales=3", "for each quantity"]),
        (LOW_LEVEL, {"ranges": ["goal"]}, ["ranges=['goal']", "for each quantity"]),
        (LOW_LEVEL, {"body": "Pendulum-v1", "max_steps": 300}, ["'Pendulum-v1' has no `proprioception`"]),
        (STRIDING, {"toy": "heedless"}, ["the agent infers no task", "TaskInference"]),
        (STRIDING, {"toy": "contrast"}, ["cannot tell the families velocity+", "TaskInference"]),
        (STRIDING, {"toy": "process"}, ["tasks are also about 'velocity'", "are about goal alone"]),
        (STRIDING, {"toy": "process", "tasks": [{"goal": 2.0}]}, ["relative errors", "relative_reward: false"]),
        (STRIDING, {"relative_reward": False}, ["The body's rewards are distances", "relative_reward: true"]),
        (STRIDING, {"task_reward": "no"}, ["task_reward='no'", "True or False"]),
        (HIGH_LEVEL, {"fixed_stride": 5, "masked": "false"}, ["masked='false'", "True or False"]),
        (HIGH_LEVEL, {"fixed_stride": 5, "action_cost": "a"}, ["action_cost='a'", ">= 0"]),
        (
            HIGH_LEVEL,
            {"fixed_stride": 5, "toy": "process", "tasks": [{"goal": 2.0}], "relative_reward": False},
            ["reads the agent's own actions", "Reuse/Striding-v0"],
        ),
        (STRIDING, {"toy": None}, ["needs 'toy'", "CHECKPOINT"]),
        (STRIDING, {"low_level": "/nowhere"}, ["/nowhere", "no such folder"]),
        (STRIDING, {"toy": "sac"}, ["sac", "no method `observe_body`", "Reuse/Toy-v0"]),
        (STRIDING, {"low_level": "toy"}, ["trained on 'Reuse/Toy-v0'", "must be of Reuse/LowLevel-v0"]),
        (STRIDING, {"low_level": "cheetah", "body": POINT}, ["reads 19 numbers", "has 3", "leave `body` out"]),
        (STRIDING, {"toy": "multi"}, ["no quantity 'height'"]),
        (STRIDING, {"toy": "multi", "low_level": "cheetah"}, ["about 'jump'", "Train it with quantities"]),
        (STRIDING, {"fixed_stride": 0}, ["fixed_stride=0", "integer >= 1"]),
        (STRIDING, {"place_gain": -1}, ["place_gain=-1", ">= 0"]),
        (STRIDING, {"guide": "oracel"}, ["guide='oracel'", "Did you mean 'oracle'"]),
        (STRIDING, {"splitt": "grid"}, ["splitt", "Did you mean 'split'"]),
        (HIGH_LEVEL, {}, ["needs `striding`", "`fixed_stride`"]),
        (HIGH_LEVEL, {"striding": "striding", "fixed_stride": 5}, ["not both"]),
        (HIGH_LEVEL, {"striding": "wide"}, ["reads 19 numbers", "have 3"]),
        (HIGH_LEVEL, {"striding": "low_level"}, ["must be of Reuse/Striding-v0"]),
    ],
)
def test_mistakes_are_named(agents, env_id, settings, words):
    usual = {"body": POINT} if env_id == LOW_LEVEL else {"toy": "toy", "low_level": "low_level"}
    with pytest.raises(ValueError, match=r"(?s)" + ".*".join(re.escape(word) for word in words)):
        make(env_id, agents, **usual | settings)


def test_results_tell_bodies_apart(agents):
    class Own(envs.reuse.PointMass):
        def __init__(self, config):
            super().__init__(**config)

    register_env("my/own-v2", Own)
    parts = {"toy": str(agents / "toy"), "low_level": str(agents / "low_level"), "fixed_stride": 5, "max_steps": 5}
    for body, name in ((None, "PointMass"), (Own, "Own"), ("my/own-v2", "my/own-v2")):
        settings = parts if body is None else parts | {"body": body}
        results = evaluation.evaluate(agents / "striding", "grid", episodes=1, env=STRIDING, env_config=settings)
        assert set(results.episodes["environment"]) == {f"{STRIDING} ({name})"}
        [played] = results.provenance["checkpoints"]
        assert played["toy"] == str(agents / "toy")


def test_an_export_has_the_agents_of_its_environment(agents, tmp_path):
    parts = {"toy": str(agents / "toy"), "low_level": str(agents / "low_level")}
    config = PlainSACConfig().environment(STRIDING, env_config=parts | {"max_steps": 5}).training(**SMALL)
    exported(tmp_path / "agent", config, obs_dim=3, action_dim=1)
    (tmp_path / "agent").rename(tmp_path / "elsewhere")
    [toy, low_level] = [str(tmp_path / "elsewhere" / name) for name in parts]
    given = load_exported(tmp_path / "elsewhere").config.env_config
    assert given == {"toy": toy, "low_level": low_level, "max_steps": 5}
    assert str(agents) not in "".join(file.read_text("utf-8") for file in tmp_path.glob("elsewhere/*.[jm][sd]*"))
    assert len(evaluation.evaluate(tmp_path / "elsewhere", "grid", episodes=1, progress=False).episodes)
    config = config.copy().environment(env_config={**parts, "low_level": str(tmp_path / "none")})
    with pytest.raises(ValueError, match=r"low_level='.*none' of the agent's `env_config` cannot be exported with it"):
        exported(tmp_path / "agent", config, obs_dim=3, action_dim=1)
    assert not (tmp_path / "agent").exists()


def test_agents_of_rllib_s_own_algorithms_cannot_be_frozen(agents, monkeypatch):
    for name, advice in (("toy", "TaskInference"), ("low_level", "PlainSAC"), ("striding", "PlainSAC")):

        class OfRLlib:
            algorithm = rllib_sami.PlainSAC

            def __init__(self, path):
                self.config = rllib_sami.exports.checkpoints.load(path).config

            def module(self):
                return object()

        def load(path, name=name, other=OfRLlib):
            return other(path) if path.endswith(name) else rllib_sami.exports.checkpoints.load(path)

        monkeypatch.setattr(transfer_parts, "load", load)
        with pytest.raises(ValueError, match=rf"{name}=.*cannot act inside an environment. Train {advice} instead"):
            make(HIGH_LEVEL, agents, toy="toy", low_level="low_level", striding="striding")


def test_an_oracle_needs_to_be_told_the_task_of_a_user_s_body(agents):
    class Untracked(gym.Wrapper):
        def has_wrapper_attr(self, name):
            return name != "tracked_quantity" and super().has_wrapper_attr(name)

    register_env("untracked", lambda config: Untracked(envs.make(POINT, **config)))
    with pytest.raises(ValueError, match="guide='oracle': the body has no method"):
        make(STRIDING, agents, toy="toy", low_level="low_level", body="untracked", guide="oracle")
    make(STRIDING, agents, toy="toy", low_level="low_level", body="untracked")


def test_episodes_of_a_low_level_may_be_longer_than_the_body_s_own():
    env = gym.make(LOW_LEVEL, body=POINT, max_steps=600)
    env.reset(seed=0)
    steps = 1
    while not env.step(env.action_space.sample())[3]:
        steps += 1
    assert steps == 600
    register_env("short", lambda config: Short())
    with pytest.raises(ValueError, match="max_steps=50: episodes of 'short' have 30 steps at most"):
        gym.make(LOW_LEVEL, body="short", max_steps=50)


def test_a_steered_low_level_has_the_commands_of_the_high_level_that_it_loads(agents):
    env = make(LOW_LEVEL, agents, body=POINT, high_level="blind").unwrapped
    env.reset(seed=0)
    assert env.inference.masked
    assert env.ranges == {"goal": (0.0, 0.01), "velocity": (0.0, 0.02)}
    assert abs(env.command.value - (env.command.quantity == "goal") * env.body.unwrapped.quantity("goal")) <= 0.02
