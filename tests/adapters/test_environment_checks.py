"""What an environment must be, said before any worker starts; and what is taken as it is."""

import re
import sys

import gymnasium as gym
import numpy as np
import pytest
from ray.rllib.connectors.env_to_module import FlattenObservations
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from rllib_sami import (
    CCMConfig,
    NeuralProcessConfig,
    PlainSACConfig,
    RecurrentSACConfig,
    SaCCMConfig,
    SaPPOConfig,
    SaTESACConfig,
    TaskInferenceConfig,
    TESACConfig,
)
from rllib_sami.algorithms.base.environment_checks import check_environment
from rllib_sami.core.faults import EnvironmentFaultError
from rllib_sami.env_runners.agents import make_agent
from rllib_sami.env_runners.episodes import EpisodeSpec
from rllib_sami.env_runners.player import Player
from rllib_sami.exports.agents import load_exported
from rllib_sami.exports.writing import export_agent

from .envs import Point, Unbounded
from .parity import stored_episodes
from .tiny import refusal, runner_of, tiny

BOX = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
CONTRASTIVE = [CCMConfig, SaTESACConfig, SaCCMConfig]

# --- Task ids -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config_class", CONTRASTIVE)
def test_without_task_ids_the_contrastive_algorithms_say_what_to_add(config_class):
    message = refusal(tiny(config_class, env="test/Point", env_config={"task_id": "none"}))
    name = config_class.__name__.removesuffix("Config")
    assert f"'test/Point' gives no 'task_id' in its reset infos, which {name} needs" in message
    assert "return obs, {'task_id': k}" in message


@pytest.mark.usefixtures("ray_cluster")
def test_without_task_ids_tesac_trains():
    algo = tiny(
        TESACConfig, env="test/Point", env_config={"task_id": "none"}, num_steps_sampled_before_learning_starts=60
    ).build_algo()
    result = algo.train()
    assert np.isfinite(result["learners"]["default_policy"]["critic_loss"])
    assert result["replay_buffer"]["num_tasks_stored"] == 1
    algo.stop()


@pytest.mark.parametrize("config_class", [TESACConfig, SaCCMConfig])
def test_a_task_id_that_is_no_number_is_named(config_class):
    message = refusal(tiny(config_class, env="test/Point", env_config={"task_id": "text"}))
    assert re.search(r"'task_id' 'goal \d'.*must be an integer >= 0", message)


def test_ccm_refuses_a_single_task_and_satesac_takes_it(ray_cluster):
    assert "has only one meta-task" in refusal(tiny(CCMConfig, env_config={"mass": 1.0}))
    tiny(SaTESACConfig, env_config={"mass": 1.0}).build_algo().stop()


@pytest.mark.parametrize("config_class", [*CONTRASTIVE, TaskInferenceConfig, NeuralProcessConfig])
def test_tasks_that_change_within_episodes_are_for_evaluations(config_class):
    changing = {"env": "Reuse/Toy-v0", "env_config": {"task_steps": 60}}
    config = config_class().environment(**changing)
    assert "`task_steps` is 60 in the `env_config` of 'Reuse/Toy-v0'" in refusal(config)
    check_environment(config_class().environment("Reuse/Toy-v0").evaluation(evaluation_config=changing))
    for other in (TESACConfig, PlainSACConfig):
        check_environment(other().environment(**changing))


# --- Spaces and names -----------------------------------------------------------------------------------------------


class NotGymnasium:
    """Has nothing of an environment."""

    def __init__(self, config):
        pass

    def close(self):
        pass


class Given(gym.Env):
    """Keeps the actions that it is given; its action space is given, too."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, config):
        self.action_space, self.got = gym.spaces.Box(**config["space"]), []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {"task_id": 0}

    def step(self, action):
        self.got.append(action)
        self.steps += 1
        return np.zeros(2, np.float32), 0.0, False, self.steps == 20, {}


class WithoutActions(gym.Env):
    """Has half of its spaces."""

    observation_space = Point(None).observation_space

    def __init__(self, config):
        pass


class WithoutConstructor(gym.Env):
    """Has class attributes only."""


class WithoutArguments(Point):
    """Takes no `env_config`."""

    def __init__(self):
        super().__init__(None)


class NeedsKey(Point):
    """Reads its `env_config`."""

    def __init__(self, config):
        super().__init__({})
        self.map = config["map"]


class OldReset(Point):
    """Has the `reset` of the old API."""

    def reset(self):
        return super().reset()[0]


class Offline(Point):
    """Cannot be reset."""

    def reset(self, *, seed=None, options=None):
        raise RuntimeError("database\ngone")


class Leaves(Point):
    """Ends its process."""

    def __init__(self, config):
        sys.exit(0)


class First(gym.Env):
    """Gives a first observation that is given."""

    action_space = gym.spaces.Box(-1, 1, (2,))

    def __init__(self, config):
        self.observation_space, self.obs = config["space"], config["obs"]

    def reset(self, *, seed=None, options=None):
        return self.obs, {"task_id": 0}


MISTAKES = {
    "no action space": (WithoutActions, "'WithoutActions' has no `action_space`.*set `self.action_space`"),
    "no argument": (
        WithoutArguments,
        r"'WithoutArguments' failed \(when it was made\): TypeError: .*write `__init__\(self, env_config=None\)`",
    ),
    "no constructor": (
        WithoutConstructor,
        r"TypeError: WithoutConstructor\(\) takes no arguments. RLlib makes it",
    ),
    "missing key": (NeedsKey, r"'NeedsKey' failed \(when it was made\): KeyError: 'map'.*env_config={'map': ...}"),
    "old reset": (OldReset, r"'OldReset' failed \(reset\): TypeError: .*Write `reset\(self, \*, seed=None, options"),
    "reset that raises": (Offline, r"'Offline' failed \(reset\): RuntimeError: database gone$"),
    "exit": (Leaves, r"'Leaves' failed \(when it was made\): it called sys.exit\(0\)$"),
    "discrete actions": ("test/Discrete", r"Discrete\(2\), but only continuous actions.*Box.*RLlib's DQN"),
    "unbounded actions": ("test/Unbounded", r"Box\(-inf, inf.*must be bounded.*Box\(-1.0, 1.0, \(2,\)\)"),
    "images": ("test/Image", r"shape \[8, 8, 3\].*only flat ones.*FlattenObservation"),
    "unknown name": ("Nope-v0", "`env` is 'Nope-v0'.*register_env.*`rllib envs`"),
    "unknown module": ("nope.Env", "`env` is 'nope.Env'.*no class could be imported"),
    "no environment": (NotGymnasium, "'NotGymnasium' is a NotGymnasium, but must be a gymnasium.Env"),
}


@pytest.mark.parametrize(("env", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_an_environment_that_cannot_be_trained_on_says_why(env, expected):
    for config_class in (TESACConfig, SaCCMConfig):
        config = tiny(config_class).environment(env)
        with pytest.raises((ValueError, EnvironmentFaultError)) as error:
            config.build_algo()
        assert re.search(expected, str(error.value))


@pytest.mark.parametrize(
    ("space", "obs", "expected"),
    [
        (BOX, np.array([np.nan, 0]), r"failed \(reset\): it gave an observation whose number 0 of 2 is nan in float32"),
        (BOX, np.array([0, 1e300]), "whose number 1 of 2 is inf in float32, but must be finite"),
        (gym.spaces.Dict({"x": BOX, "y": gym.spaces.Dict()}), None, r"the empty observation space\['y'\] Dict\(\)"),
    ],
    ids=["NaN", "too large", "empty Dict"],
)
@pytest.mark.filterwarnings("error")
def test_a_first_observation_that_cannot_be_read_is_refused(space, obs, expected):
    message = refusal(tiny().environment(First, env_config={"space": space, "obs": obs}))
    assert re.search(f"The environment 'First' .*{expected}", message)


def test_the_advice_on_unbounded_actions_works():
    env = gym.wrappers.TransformAction(Unbounded(), lambda action: 2 * action, gym.spaces.Box(-1.0, 1.0, (2,)))
    check_environment(tiny().environment(env=lambda config: env))


SPACES = {
    "unbounded integers": ({"low": -np.inf, "high": np.inf, "dtype": np.int32}, "actions must be bounded"),
    "large integers": ({"low": 0, "high": 2**60, "dtype": np.int64}, r"must be within ±2\^53.*Use a Box of float32"),
}
OF_RLLIB = SPACES | {
    "integers": ({"low": 0, "high": 255, "dtype": np.uint8}, "RLlib's own env runner scales.*TransformAction"),
    "halves": ({"low": -1, "high": 1, "dtype": np.float16}, "RLlib's own env runner scales"),
    "overflowing": ({"low": -3e38, "high": 3e38}, "bounds whose difference is finite"),
}
OF_PPO = OF_RLLIB | {"two dimensions": ({"low": -1, "high": 1, "shape": (2, 2)}, "PPO takes flat ones")}


@pytest.mark.parametrize(
    ("kind", "space", "expected"),
    [
        *(("SaCCM", *case) for case in SPACES.values()),
        *(("SaCCM on RLlib's runner", *case) for case in OF_RLLIB.values()),
        *(("SaPPO", *case) for case in OF_PPO.values()),
    ],
)
def test_actions_that_could_not_be_given_as_they_must_be_are_refused(kind, space, expected):
    config = SaPPOConfig() if kind == "SaPPO" else tiny()
    if kind == "SaCCM on RLlib's runner":
        config.env_runners(env_runner_cls=SingleAgentEnvRunner)
    space = {"shape": (1,), "dtype": np.float32} | space
    message = refusal(config.environment(Given, env_config={"space": space}))
    assert re.search(rf"The environment 'Given' has .*{expected}", message)


@pytest.mark.parametrize(
    "space",
    [
        {"low": -100, "high": 100, "shape": (2,), "dtype": np.int8},
        {"low": -0.3, "high": 0.7, "shape": (2, 3), "dtype": np.float64},
        {"low": -1, "high": 1, "shape": (), "dtype": np.float32},
    ],
    ids=str,
)
def test_actions_of_any_shape_and_dtype_arrive_in_training_evaluation_and_after_export(space, tmp_path):
    runner = runner_of(tiny(env=Given, env_config={"space": space}))
    for random_actions in (True, False):
        runner.sample(num_timesteps=150, random_actions=random_actions)
    export_agent(runner.module, tiny(), tmp_path / "agent", algorithm="SaCCM")
    loaded = load_exported(tmp_path / "agent").module()
    assert loaded.action_space == runner.module.action_space
    player = Player(lambda slot: Given({"space": space}))
    player.play(
        make_agent(loaded, None, explore=True), [EpisodeSpec("train", None, number, 0, 0) for number in range(3)]
    )
    envs = [*(env.unwrapped for env in runner.env.envs), *(slot.env for slot in player._slots)]
    assert all(len(env.got) >= 20 for env in envs)
    for env in envs:
        assert all(isinstance(action, np.ndarray) and env.action_space.contains(action) for action in env.got)
    state = {key: value[None] for key, value in loaded.get_initial_state().items()}
    out = loaded.forward_exploration({"obs": np.zeros((1, 2), np.float32), "state_in": state})
    assert loaded.action_space.contains(out["actions_for_env"][0].numpy())


def test_the_environments_own_complaints_come_through():
    assert "did you mean 'train'" in refusal(tiny(env_config={"split": "trian"})).lower()


def test_environments_are_found_by_name_class_path_and_gymnasium_id(ray_cluster):
    gym.register("AdaptersTest/Point-v0", entry_point=lambda **config: Point(config))
    names = ["test/Point", Point, "adapters.envs.Point", "AdaptersTest/Point-v0"]
    try:
        for env in names:
            algo = tiny(env=env).build_algo()
            assert algo.env_runner.env.envs[0].unwrapped.max_steps == 20
            assert "env_runners" in algo.train()
            algo.stop()
    finally:
        gym.registry.pop("AdaptersTest/Point-v0")


def test_each_slots_environment_knows_its_runner_and_slot():
    runner = runner_of(tiny(env="test/Point"), index=1)
    assert [env.runner_and_slot for env in runner.env.envs] == [(2, 0), (2, 1), (2, 2)]


# --- Dict observations ----------------------------------------------------------------------------------------------


def test_dict_observations_are_flattened_and_train(ray_cluster):
    algo = tiny(env="test/Point", env_config={"as_dict": True}).build_algo()
    before = {key: np.array(value) for key, value in algo.learner_group.get_weights()["default_policy"].items()}
    for _ in range(2):
        result = algo.train()
    assert np.isfinite(result["learners"]["default_policy"]["critic_loss"])
    after = algo.learner_group.get_weights()["default_policy"]
    assert any(not np.array_equal(before[key], after[key]) for key in before)
    assert algo.get_module().acting.obs_dim == 5
    for episode in stored_episodes(algo.replay_buffer.store):  # the clock comes first
        np.testing.assert_allclose(episode.obs[:, 0] * 10, np.arange(len(episode) + 1), atol=1e-5)
    algo.stop()


def test_dict_observations_in_rllibs_own_runner_say_what_to_add(ray_cluster):
    config = tiny(env="test/Point", env_config={"as_dict": True}, num_steps_sampled_before_learning_starts=60)
    config.env_runners(env_runner_cls="ray.rllib.env.single_agent_env_runner.SingleAgentEnvRunner")
    assert "add `FlattenObservations` to `env_runners(env_to_module_connector=...)`" in refusal(config.copy())
    config.env_runners(env_to_module_connector=lambda env, spaces, device: FlattenObservations())
    algo = config.build_algo()
    assert np.isfinite(algo.train()["learners"]["default_policy"]["critic_loss"])
    for episode in stored_episodes(algo.replay_buffer.store):
        np.testing.assert_allclose(episode.obs[:, 0] * 10, np.arange(len(episode) + 1), atol=1e-5)
    algo.stop()


# --- Rewards --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config_class", "settings", "warns"),
    [
        (TESACConfig, {}, True),
        (RecurrentSACConfig, {}, True),
        (RecurrentSACConfig, {"encoder_reward": True}, False),
        (PlainSACConfig, {}, False),  # knows no tasks
    ],
)
def test_a_memory_that_cannot_tell_tasks_apart_is_warned_of(config_class, settings, warns, caplog):
    check_environment(config_class().environment("SaMI/PointGoal-v0").training(**settings))
    assert ("Only the reward tells the tasks of 'SaMI/PointGoal-v0' apart" in caplog.text) is warns
