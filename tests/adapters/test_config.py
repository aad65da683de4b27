"""Every mistake in a configuration or an environment has one message: what, which value, what was expected."""

import inspect
import math
import re

import numpy as np
import pytest

from rllib_sami import CCMConfig, SaCCMConfig, SaMIConfig, SaPPOConfig, SaTESACConfig, TESACConfig
from rllib_sami.config.rllib_ranges import rllib_values
from rllib_sami.env_runners.array_env_runner import ArrayEnvRunner
from rllib_sami.registration import ALGORITHMS
from rllib_sami.replay_buffers.task_episode_replay_buffer import TaskEpisodeReplayBuffer

from .tiny import TRAINING, recorded_constants, refusal, tiny, trained_until

CONFIGS = [SaMIConfig, TESACConfig, CCMConfig, SaTESACConfig, SaCCMConfig]


# --- Values ---------------------------------------------------------------------------------------------------------

WHOLE, RATE, SIZES = (
    "an integer >= 1",
    r"at least 0, or a schedule of \[environment steps, value\]",
    "layer",
)
NAN, INF = math.nan, math.inf
MISTAKES = [
    *[
        (key, value, WHOLE)
        for key in ("updates_per_batch", "encoder_hidden_dim", "contrast_timesteps", "num_negatives", "train_episodes")
        for value in (0, -1, 1.5, "6", True, None)
    ],
    *[("contrast_episodes", value, "an integer >= 4") for value in (3, -1, 8.5, "16")],
    *[(key, value, WHOLE + ", or None") for key in ("loss_timesteps", "num_torch_threads") for value in (0, -1, 0.5)],
    *[
        (key, value, "a number above 0")
        for key in ("temperature", "initial_alpha", "updates_per_env_step")
        for value in (0, -1, -0.1, "1", None, float("nan"), float("inf"), True)
    ],
    ("contrast_coeff", -0.1, "a number of at least 0"),
    ("contrast_coeff", -1, "a number of at least 0"),
    ("num_steps_sampled_before_learning_starts", -5, "a number of at least 0"),
    *[(key, value, r"a number in \(0, 1\]") for key in ("tau", "key_encoder_tau") for value in (0, -1, 1.1, None)],
    *[("gamma", value, r"a number in \[0, 1\]") for value in (-1, 1.01, "0.9")],
    *[("positive_fraction", value, "a number between 0 and 1") for value in (0, 1, -1, None)],
    *[(key, value, SIZES) for key in ("actor_hidden", "critic_hidden") for value in ([], [0], 256, [16.5], None, "16")],
    *[
        (key, value, RATE)
        for key in ("actor_lr", "critic_lr", "alpha_lr", "encoder_lr")
        for value in (-1, -1e-3, None, "fast", [], [[0, 1e-3]], [[5, 1e-3], [9, 1e-4]], [[0, 1e-3], [9, -1e-4]], [1, 2])
    ],
    *[("actor_lr", value, RATE) for value in (NAN, INF, [[0, NAN], [9, 0]], [[0, 1e-3], [9, NAN]], [[0, 1], [NAN, 0]])],
    *[
        ("updates_per_env_step", value, r"above 0, or a schedule .* pairs whose steps begin at 0 and rise")
        for value in (
            [[0, 0.5], [20_000, 0.25], [10_000, 0.1]],
            [[0, 0.5], [9, 0.5], [9, 0.1]],
            [[0, 0], [9, 0.1]],
            [[0, 0.5], [9, 0], [20, 0.1]],
            [[0, 0], [9, 0]],
        )
    ],
    *[
        (key, value, "True or False")
        for key in (
            "encoder_reward",
            "normalize_context",
            "normalize_inputs",
            "return_gap_weight",
            "store_buffer_in_checkpoints",
            "compile_update",
            "mixed_precision",
        )
        for value in ("yes", 1, -1, None)
    ],
    *[
        ("target_entropy", value, "a number, or a schedule .*, or 'auto'")
        for value in ("automatic", None, float("nan"), [[0, -1]], [[1, -1], [2, -2]], [[0, None], [1, -2]])
    ],
    *[("grad_clip", value, "a number above 0, or None") for value in (0, -1, float("nan"))],
    ("grad_clip_by", "value", "'global_norm'"),
    ("grad_clip_by", "norm", "'global_norm'"),
    ("encoder_type", "lstmm", r"one of \['lstm', 'gru'\]; did you mean 'lstm'\?"),
    ("encoder_type", None, r"one of \['lstm', 'gru'\]"),
    ("objective", "infonce", r"one of \['sance', 'binary_nce'\]"),
    ("similarity", "cosin", "did you mean 'cosine'?"),
    ("pairing", "skil", "did you mean 'skill'?"),
    ("encoder_loss", "critics", "did you mean 'critic'?"),
    ("acting_encoder", "averaged", "did you mean 'average'?"),
    ("acting_encoder", None, r"one of \['online', 'average'\]"),
    ("pairing", 3, r"one of \['task', 'skill', 'skill_task', None\]\."),
    ("lr", 1e-3, "`actor_lr`, `critic_lr` and `alpha_lr`"),
    ("replay_buffer_config", 5, "a dict such as"),
    ("replay_buffer_config", None, "a dict such as"),
]


@pytest.mark.parametrize(("key", "value", "expected"), MISTAKES, ids=lambda value: repr(value)[:25])
def test_a_wrong_value_is_named_with_what_was_expected(key, value, expected):
    message = refusal(tiny().training(**{key: value}))
    assert message.startswith(f"`{key}`")
    assert str(value) in message
    assert re.search(expected, message)


@pytest.mark.parametrize("algorithm", ALGORITHMS.values())
def test_no_setting_is_infinite_or_not_a_number(algorithm):
    known = algorithm.get_default_config().settings.values()
    settings = [one for one in known if one.allowed.holds]
    assert len(settings) > 10
    for value in (NAN, INF, [[0, NAN], [9, 0]]):
        assert [one.name for one in settings if one.allowed.refusal(one.name, value) is None] == []


OF_RLLIB = {
    "an integer from 0 to 4294967295, or None": {"seed": (-1, 2**32, 1.5, "a", True)},
    "a number above 0, or None": {"sample_timeout_s": (-1, 0, float("inf")), "evaluation_sample_timeout_s": (-1, 0)},
    "an integer >= 1": {"num_envs_per_env_runner": (0, -1, None), "metrics_num_episodes_for_smoothing": (0,)},
    "an integer >= 1, or 'auto'": {"rollout_fragment_length": (0, -5, "long")},
    "an integer >= 0": {"num_env_runners": (-1,), "evaluation_num_env_runners": (-1, 0.5), "num_learners": (-1,)},
    "a number of at least 0": {"num_cpus_per_env_runner": (float("nan"), -1), "num_gpus_per_learner": (-1,)},
    "a number of at least 0, or 'auto'": {"num_cpus_per_learner": (-1, "all")},
    "a number of at least 0, or None": {"evaluation_interval": (-1,), "min_time_s_per_iteration": (float("inf"), -1)},
}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [(key, value, text) for text, keys in OF_RLLIB.items() for key, values in keys.items() for value in values],
    ids=lambda value: repr(value)[:25],
)
def test_so_is_one_of_rllibs_own_settings(key, value, expected):
    for config in (tiny(), SaPPOConfig().environment("SaMI/Pendulum-v0")):
        with pytest.raises(ValueError, match=f"`{key}`") as error:
            config.update_from_dict({key: value, "evaluation_config": {key: value}}).validate()
        for name in (key, f"evaluation_config.{key}"):
            assert f"`{name}` is {value!r}, but must be {expected}." in str(error.value)


@pytest.mark.parametrize("key", ["groups", "parts", "settings", "has_contrast", "can_evaluate_splits"])
def test_what_a_class_says_of_itself_is_no_setting(key):
    with pytest.raises(ValueError, match=f"has no setting '{key}'"):
        SaCCMConfig().update_from_dict({key: None})


def test_all_that_rllib_can_use_is_taken():
    for values in (
        {"seed": None, "sample_timeout_s": None, "rollout_fragment_length": "auto", "num_cpus_per_learner": 0.5},
        {"seed": 2**32 - 1, "evaluation_interval": 0, "min_time_s_per_iteration": 0.5, "num_gpus_per_env_runner": 0.1},
        {"seed": np.int64(0), "evaluation_interval": None, "min_sample_timesteps_per_iteration": 1e3},
    ):
        assert list(rllib_values(SaPPOConfig().update_from_dict(values))) == []


def test_a_schedule_may_end_at_0():
    tiny(updates_per_env_step=[[0, 0.5], [1_000, 0.5], [1_001, 0]], actor_lr=[[0, 1e-3], [9, 0]]).validate()


BUFFER_MISTAKES = [
    ({"capacityy": 5_000}, "'capacityy'.*did you mean 'capacity'"),
    ({"capacity": 50}, r"'capacity'\]` is 50.*num_steps_sampled_before_learning_starts` \(100\)"),
    ({"capacity": 1e4}, r"'capacity'\]` is 10000.0.*integer"),
    ({"type": "EpisodeReplayBuffer"}, "'EpisodeReplayBuffer'.*It must be 'TaskEpisodeReplayBuffer'"),
    (
        {"type": "rllib_sami.replay_buffers.task_episode_replay_buffer.Nope"},
        "rllib_sami.replay_buffers.task_episode_replay_buffer.Nope.*no class could be imported",
    ),
    (
        {"type": "rllib_sami.algorithms.sami.sami.SaMITorchRLModule"},
        "must be 'TaskEpisodeReplayBuffer' or a subclass",
    ),
    ({"type": dict}, "must be 'TaskEpisodeReplayBuffer' or a subclass"),
]


@pytest.mark.parametrize(("options", "expected"), BUFFER_MISTAKES, ids=lambda value: str(value)[:30])
def test_a_wrong_replay_buffer_is_named(options, expected):
    message = refusal(tiny(replay_buffer_config=options))
    assert message.startswith("`replay_buffer_config")
    assert re.search(expected, message)


def no_agents(*args, **kwargs):
    return "a"


OTHER_MISTAKES = {
    "multi-agent": (lambda c: c.multi_agent(policies={"a"}, policy_mapping_fn=no_agents), "Multi-agent.*`policies`"),
    "async vector": (
        lambda c: c.env_runners(gym_env_vectorize_mode="async"),
        "gym_env_vectorize_mode` is 'async'.*sync",
    ),
    "runner class": (lambda c: c.env_runners(env_runner_cls=int), "env_runner_cls.*int.*a SingleAgentEnvRunner"),
    "runner path": (
        lambda c: c.env_runners(env_runner_cls="a.B"),
        "env_runner_cls` is 'a.B'.*no class could be imported",
    ),
    "old stack": (lambda c: c.api_stack(False, False), "old API stack"),
    "no environment": (lambda c: c.environment(env=None), "`env` is not set.*SaMI/Ant-v0"),
    "context width": (lambda c: c.training(context_dim=-1), "`context_dim` is -1, but must be an integer >= 1"),
    "no context": (lambda c: c.training(context_dim=0), "`context_dim` is 0, but must be an integer >= 1"),
    "contrast interval": (
        lambda c: c.training(updates_per_batch=4, contrast_interval=3),
        "`contrast_interval` is 3, but must divide `updates_per_batch`, which is 4.*or `contrast_interval` to 1",
    ),
    "batches with critics": (
        lambda c: c.training(updates_per_batch=2, encoder_loss="both"),
        "`updates_per_batch` is 2, but `encoder_loss` is 'both'.*Set",
    ),
    "contrast interval with critics": (
        lambda c: c.training(updates_per_batch=1, contrast_interval=4, encoder_loss="both"),
        "`contrast_interval` is 4, but `encoder_loss` is 'both'.*Set `updates_per_batch` and",
    ),
    "batches of all steps": (
        lambda c: c.training(updates_per_batch=2, loss_timesteps=None),
        "`updates_per_batch` is 2, but `loss_timesteps` is None.*Set",
    ),
    "nothing trains the encoder": (
        lambda c: c.training(contrast_coeff=0),
        "`encoder_loss` is 'contrast' and there is no contrast.*nothing would train the context encoder.*to 'critic'",
    ),
    "average of an encoder that the critics train": (
        lambda c: c.training(acting_encoder="average", encoder_loss="both", pairing="skill"),
        "`acting_encoder` is 'average', which needs an encoder.*`encoder_loss` is 'both'. Set `acting_encoder` to",
    ),
    "average of an encoder without contrast": (
        lambda c: c.training(acting_encoder="average", encoder_loss=None, pairing=None),
        "`acting_encoder` is 'average', which needs an encoder.*`encoder_loss` is None.*Set `acting_encoder` to",
    ),
    "both losses without a contrast": (
        lambda c: c.training(acting_encoder="online", encoder_loss="both", pairing=None),
        "`encoder_loss` is 'both', but there is no contrast: `pairing` is None",
    ),
}


@pytest.mark.parametrize(("change", "expected"), OTHER_MISTAKES.values(), ids=OTHER_MISTAKES)
def test_other_mistakes_say_what_to_do(change, expected):
    assert re.search(expected, refusal(change(tiny())))


@pytest.mark.parametrize("config_class", CONFIGS)
def test_defaults_are_valid_and_good_values_pass(config_class):
    config_class().environment("SaMI/Pendulum-v0").validate()
    good = {
        "loss_timesteps": None,
        "num_torch_threads": None,
        "target_entropy": -1,
        "actor_lr": [[0, 1e-3], [100, 1e-4]],
        "critic_lr": ((0, 0), (10, 1)),
        "grad_clip": 0.5,
        "contrast_coeff": np.float32(0.5),
        "context_dim": np.int64(2),
        "gamma": 1,
        "encoder_loss": "both" if config_class().pairing else "critic",
        "acting_encoder": "online",
        "normalize_inputs": False,
        "encoder_obs_delta": False,
        "updates_per_env_step": [[0, 1.0], [1_000, 0.1]],
        "skill_weight": 0,
    }
    config = tiny(config_class).training(**good)
    config.validate()
    config.validate()  # classes are resolved by now


# --- Setting them ---------------------------------------------------------------------------------------------------


def test_training_sets_what_it_is_given_returns_the_config_and_refuses_the_unknown():
    config = SaCCMConfig()
    assert config.training(**TRAINING, gamma=0.9) is config
    for key, value in TRAINING.items():
        assert key == "replay_buffer_config" or getattr(config, key) == value
    assert config.gamma == 0.9
    assert config.replay_buffer_config == {"type": "TaskEpisodeReplayBuffer", "capacity": 5_000}
    with pytest.raises(TypeError, match="context_dimm"):
        config.training(context_dimm=3)
    before = dict(vars(config))
    config.training()
    assert vars(config) == before


@pytest.mark.parametrize("config_class", [SaCCMConfig, SaPPOConfig])
def test_help_names_every_setting_with_where_it_is_described(config_class):
    text = inspect.getdoc(config_class.training)
    assert "docs/settings.md" in text
    assert {"contrast_coeff", "num_torch_threads"} < config_class.settings.keys()
    assert inspect.signature(config_class.training).parameters.keys() == config_class.settings_of("training").keys() | {
        "self",
        "kwargs",
    }
    for key in config_class.settings_of("training"):
        assert f"\n    {key}: " in text


def test_a_subclass_may_have_arguments_of_its_own():
    class Further(SaCCMConfig):
        def training(self, *, mine=1, **others):
            return super().training(**others)

    class Only(SaCCMConfig):
        def training(self, *, mine=1):
            return self

    parameters = [*inspect.signature(Further.training).parameters]
    assert (parameters[:2], parameters[-1], parameters.count("others")) == (["self", "mine"], "others", 1)
    assert Further().training(mine=2, temperature=0.2).temperature == 0.2
    assert [*inspect.signature(Only.training).parameters] == ["self", "mine"]


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(
    ("as_state", "target_entropy", "of_update"), [(False, -1.0, -1.0), (True, -1.0, -1.0), (False, "auto", -2.0)]
)
def test_every_field_reaches_the_algorithm_and_its_updates(as_state, target_entropy, of_update, monkeypatch):
    """RLlib copies a config into its algorithm, and takes -1 for the mark of a deprecated field."""
    updates = recorded_constants(monkeypatch)
    of_training = {"gamma": 0.9, "tau": 0.02, "temperature": 0.3, "contrast_coeff": 0.7, "key_encoder_tau": 0.05}
    config = tiny(target_entropy=target_entropy, env="test/Point", **of_training)
    if as_state:
        config = SaCCMConfig.from_state(config.get_state())
    algo = config.build_algo()
    for key in TRAINING.keys() - {"replay_buffer_config"}:
        assert getattr(algo.config, key) == TRAINING[key]
    assert algo.config.replay_buffer_config == {"type": TaskEpisodeReplayBuffer, "capacity": 5_000}
    assert algo.replay_buffer.store.capacity == 5_000
    trained_until(algo, lambda _: updates)
    expected = of_training | {"updates_per_batch": 1, "contrast_interval": 1, "target_entropy": of_update}
    for constants in updates:
        assert {name: getattr(constants, name) for name in expected} == expected
    module = algo.get_module()
    assert module.acting.encoder.hidden_dim == module.network_config.encoder_hidden_dim == 16
    algo.stop()


@pytest.mark.usefixtures("ray_cluster")
def test_the_target_entropy_follows_its_schedule_also_after_a_restore(monkeypatch, tmp_path):
    updates = recorded_constants(monkeypatch)
    config = tiny(target_entropy=[[0, -1.0], [1_000, -3.0]], env="test/Point")
    algo = config.build_algo()
    trained_until(algo, lambda _: updates)
    algo.save_to_path(tmp_path / "saved")
    for _ in range(3):
        updates.clear()
        steps = algo.train()["num_env_steps_sampled_lifetime"]
        assert updates[-1].target_entropy == pytest.approx(-1 - 2 * min(steps, 1_000) / 1_000)
        algo.restore_from_path(tmp_path / "saved")
    algo.stop()


@pytest.mark.usefixtures("ray_cluster")
def test_a_plain_dict_configures_everything():
    options = TRAINING | {
        "env": "test/Walker",
        "env_config": {"max_steps": 10},
        "env_runner_cls": "rllib_sami.env_runners.array_env_runner.ArrayEnvRunner",
        "replay_buffer_config": {
            "type": "rllib_sami.replay_buffers.task_episode_replay_buffer.TaskEpisodeReplayBuffer",
            "capacity": 777,
        },
        "num_envs_per_env_runner": 2,
        "min_sample_timesteps_per_iteration": 120,
    }
    config = SaCCMConfig().update_from_dict(options)
    algo = config.build_algo()
    result = algo.train()
    assert algo.config.env_runner_cls is ArrayEnvRunner
    assert algo.replay_buffer.store.capacity == 777
    assert result["env_runners"]["episode_len_mean"] == 10
    assert "critic_loss" in algo.train()["learners"]["default_policy"]
    algo.stop()
