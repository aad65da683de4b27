"""What would have no effect, or no meaning, is refused or warned of instead of being taken silently."""

import re

import pytest
from ray import tune
from ray.rllib.connectors.env_to_module import FlattenObservations
from ray.rllib.connectors.module_to_env import GetActions
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from rllib_sami import (
    CCMConfig,
    PlainSACConfig,
    RecurrentSACConfig,
    SaCCM,
    SaCCMConfig,
    SaMIConfig,
    SaPPOConfig,
    SaTESACConfig,
    TESACConfig,
)
from rllib_sami.config.unused_settings import refusals
from rllib_sami.replay_buffers.task_episode_replay_buffer import TaskEpisodeReplayBuffer

from .tiny import TRAINING, refusal, tiny


def nothing(*args, **kwargs):
    return None


# --- Settings of RLlib ----------------------------------------------------------------------------------------------

WITHOUT_EFFECT = {
    "batch_mode": (lambda c: c.env_runners(batch_mode="complete_episodes"), "'complete_episodes'.*leave it"),
    "minibatch_size": (lambda c: c.training(minibatch_size=64), "64.*`train_episodes`"),
    "num_epochs": (lambda c: c.training(num_epochs=2), "2.*`updates_per_env_step`"),
    "learner_connector": (lambda c: c.training(learner_connector=nothing), "subclass TaskEpisodeReplayBuffer"),
    "torch_compile_learner": (lambda c: c.framework(torch_compile_learner=True), "True.*`compile_update`"),
    "normalize_actions": (lambda c: c.environment(normalize_actions=False), "False.*needs normalised actions"),
}


@pytest.mark.parametrize("key", WITHOUT_EFFECT)
def test_settings_that_have_no_effect_are_refused(key):
    change, expected = WITHOUT_EFFECT[key]
    message = refusal(change(tiny()))
    assert message.startswith(f"`{key}` is ")
    assert "but has no effect here" in message
    assert re.search(expected, message)


def test_values_that_change_nothing_are_taken():
    config = tiny().env_runners(batch_mode="truncate_episodes").environment(normalize_actions=True)
    config.training(train_batch_size_per_learner=None, minibatch_size=None, num_epochs=1, learner_connector=None)
    config.validate()


def test_network_sizes_in_the_model_config_say_where_they_belong():
    message = refusal(tiny().rl_module(model_config={"context_dim": 4}))
    assert (
        message
        == "`model_config` has the key 'context_dim', which is a setting of its own: `training(context_dim=...)`."
    )
    tiny().rl_module(model_config={"mine": 4}).validate()


# --- What only RLlib's own runner calls -----------------------------------------------------------------------------


UNCALLED = {
    "env_to_module_connector": lambda c: c.env_runners(env_to_module_connector=lambda *_: FlattenObservations()),
    "module_to_env_connector": lambda c: c.env_runners(module_to_env_connector=lambda *_: GetActions()),
}


def test_rllibs_recording_is_refused_with_the_way_to_write_episodes():
    message = refusal(tiny().offline_data(output="somewhere", output_write_episodes=False))
    assert message.startswith("`output` is 'somewhere', but has no effect here. Write the replay buffer's episodes")


@pytest.mark.parametrize("key", UNCALLED)
def test_what_the_array_runner_does_not_call_is_refused_there_and_taken_elsewhere(key):
    message = refusal(UNCALLED[key](tiny()))
    assert f"`{key}` is " in message
    assert "set `env_runner_cls` to SingleAgentEnvRunner" in message
    UNCALLED[key](tiny()).env_runners(env_runner_cls=SingleAgentEnvRunner).validate()


# --- Settings of this package ---------------------------------------------------------------------------------------


@pytest.fixture
def warnings_of(monkeypatch, caplog):
    """What the check of a config warns of, as if for the first time."""
    monkeypatch.setattr("rllib_sami.config.unused_settings.log_once", lambda key: True)

    def messages(config_class, **training):
        caplog.clear()
        config = config_class().training(**training) if isinstance(config_class, type) else config_class
        config.environment("SaMI/Pendulum-v0").validate()
        return [record.getMessage() for record in caplog.records if record.name == "rllib_sami.config.unused_settings"]

    return messages


IN_VAIN = [
    (TESACConfig, {"skill_weight": 0.5}, "`skill_weight` is 0.5, but has no effect.*no contrast: `pairing` is None"),
    (TESACConfig, {"temperature": 1, "num_negatives": 7}, "`temperature` is 1, `num_negatives` is 7, but have no"),
    (TESACConfig, {"contrast_coeff": 0.5}, "`contrast_coeff` is 0.5"),
    (SaTESACConfig, {"skill_weight": 0.5}, "`skill_weight` is 0.5.*`pairing` is 'skill', not 'skill_task'"),
    (CCMConfig, {"positive_fraction": 0.3}, "`positive_fraction` is 0.3.*`pairing` is 'task'"),
    (CCMConfig, {"return_gap_weight": True}, "`return_gap_weight` is True.*`pairing` is 'task'"),
    (PlainSACConfig, {"encoder_hidden_dim": 32}, "`encoder_hidden_dim` is 32.*no context encoder"),
    (RecurrentSACConfig, {"key_encoder_tau": 0.1}, "`key_encoder_tau` is 0.1"),
    (SaCCMConfig, {"train_batch_size": 64}, "`train_batch_size` is 64.*set `train_episodes`, `loss_timesteps`"),
    (
        SaPPOConfig,
        {"contrast_coeff": 0, "encoder_ppo_gradient": True, "contrast_capacity": 9},
        "`contrast_capacity` is 9, but has no effect here. There is no contrast: `contrast_coeff` is 0",
    ),
]


@pytest.mark.parametrize(("config_class", "training", "expected"), IN_VAIN, ids=lambda value: str(value)[:40])
def test_settings_of_ours_that_have_no_effect_are_taken_with_a_warning(config_class, training, expected, warnings_of):
    [message] = warnings_of(config_class, **training)
    assert message.startswith(f"{config_class.__name__}: ")
    assert re.search(expected, message)


TAKEN = [
    *[(cls, {}) for cls in (SaMIConfig, TESACConfig, CCMConfig, SaTESACConfig, SaCCMConfig)],
    *[(cls, {}) for cls in (PlainSACConfig, RecurrentSACConfig, SaPPOConfig)],
    (TESACConfig, {"skill_weight": 1.0, "key_encoder_tau": 0.1, "contrast_coeff": 0}),
    (SaCCMConfig, {"skill_weight": 0.5, "positive_fraction": 0.3, "train_batch_size": 32}),
    (SaPPOConfig, {"train_batch_size": 64, "minibatch_size": 64, "skill_weight": 0.5}),
]


@pytest.mark.parametrize(("config_class", "training"), TAKEN, ids=lambda value: str(value)[:40])
def test_defaults_and_settings_that_have_an_effect_warn_of_nothing(config_class, training, warnings_of):
    assert warnings_of(config_class, **training) == []


def test_a_fragment_length_that_rllib_chooses_depends_on_the_batch_size(warnings_of):
    config = SaCCMConfig().training(train_batch_size=64)
    assert warnings_of(config.env_runners(rollout_fragment_length="auto")) == []


def test_what_rllib_sets_for_evaluation_warns_of_nothing(warnings_of):
    config = SaCCMConfig().training(train_batch_size=4001).env_runners(rollout_fragment_length="auto")
    config.evaluation(evaluation_interval=1).environment("SaMI/Pendulum-v0")
    of_evaluation = config.get_evaluation_config_object()
    of_evaluation.rollout_fragment_length = 25  # RLlib does so
    assert of_evaluation.in_evaluation
    assert warnings_of(config) == warnings_of(of_evaluation) == []


def test_a_warning_is_given_once_whatever_the_value(monkeypatch, caplog):
    given: set = set()
    monkeypatch.setattr("rllib_sami.config.unused_settings.log_once", lambda key: not (key in given or given.add(key)))
    for value in (0.123, 0.456):
        TESACConfig().environment("SaMI/Pendulum-v0").training(skill_weight=value).validate()
    [message] = [record.getMessage() for record in caplog.records if "`skill_weight`" in record.getMessage()]
    assert "0.123" in message


def test_a_private_setting_that_rllib_renames_is_no_error():
    config = tiny()
    del config._learner_connector
    assert not [*refusals(config)]


# --- Names ----------------------------------------------------------------------------------------------------------

UNKNOWN = {
    "gama": "; did you mean 'gamma'?",
    "context_dimm": "; did you mean 'context_dim'?",
    "num_env_runner": "; did you mean 'num_env_runners'?",
    "qwertz": ".",
    "training": "",  # a method
}


@pytest.mark.parametrize(("key", "advice"), UNKNOWN.items())
def test_a_dict_with_an_unknown_name_is_refused(key, advice):
    for take in (SaCCMConfig().update_from_dict, SaCCM, SaCCMConfig.from_dict):
        with pytest.raises(ValueError, match="no setting") as error:
            take({"env": "SaMI/Pendulum-v0", key: 0.5})
        assert str(error.value).startswith(f"SaCCMConfig has no setting '{key}'{advice}")


MISSPELT = {
    "skil_weight": "; did you mean 'skill_weight'?",  # of the contrast
    "critic_lrs": "; did you mean 'critic_lr'?",  # of soft actor-critic
    "gama": "; did you mean 'gamma'?",  # of RLlib
    "qwertz": ".",
}


@pytest.mark.parametrize(("key", "advice"), MISSPELT.items())
def test_an_unknown_argument_is_refused_with_the_nearest_one(key, advice):
    with pytest.raises(TypeError) as error:
        SaCCMConfig().training(**{key: 1})
    assert str(error.value) == f"SaCCMConfig.training() got an unexpected keyword argument '{key}'{advice}"


def test_unknown_arguments_elsewhere_have_a_hint_too():
    with pytest.raises(TypeError, match=r"^SaPPOConfig.training\(\).*did you mean 'clip_param'"):
        SaPPOConfig().training(clip_parm=0.1)
    with pytest.raises(TypeError, match=r"^TESACConfig.evaluation\(\).*did you mean 'evaluation_splits'"):
        TESACConfig().evaluation(evaluation_split=["train"])


class Mine(SaCCMConfig):
    def training(self, *, bonus=0.0, **kwargs):
        self.bonus = bonus
        return super().training(**kwargs)


def test_a_config_of_ones_own_takes_its_own_arguments():
    assert Mine().training(bonus=0.5, skill_weight=0.2).bonus == 0.5
    with pytest.raises(TypeError, match=r"^Mine.training\(\).*did you mean 'bonus'"):
        Mine().training(bonuss=0.5)


def test_names_in_the_evaluation_config_are_checked_too(ray_cluster):
    config = tiny().evaluation(evaluation_interval=1, evaluation_config={"explor": False})
    assert "has no setting 'explor'; did you mean 'explore'?" in refusal(config)


def test_a_configs_own_dict_and_what_tune_adds_are_taken():
    config = tiny().callbacks(on_episode_end=nothing).evaluation(evaluation_interval=1, evaluation_duration=3)
    taken = SaCCMConfig().update_from_dict(config.to_dict() | {"num_workers": 2, "__trial_info__": None})
    assert taken.num_env_runners == 2
    for one in (config, taken):
        one.validate()
    assert {key: getattr(taken, key) for key in TRAINING} == {key: getattr(config, key) for key in TRAINING}


def test_a_param_space_with_an_unknown_name_says_so(ray_cluster, tmp_path):
    space = TRAINING | {"env": "SaMI/Pendulum-v0", "gama": tune.grid_search([0.5])}
    tuner = tune.Tuner("SaCCM", param_space=space, run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0))
    with pytest.raises(ValueError, match="SaCCMConfig has no setting 'gama'; did you mean 'gamma'"):
        tuner.fit()


# --- The replay buffer's options ------------------------------------------------------------------------------------


class Passing(TaskEpisodeReplayBuffer):
    def __init__(self, *args, bonus=0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.bonus = bonus


class Naming(TaskEpisodeReplayBuffer):
    def __init__(self, obs_dim, action_dim, sampler, *, bonus=0.0, capacity=10, seed=None):
        super().__init__(obs_dim, action_dim, sampler, capacity=capacity, seed=seed)
        self.bonus = bonus


class Heir(Passing):
    """Has no ``__init__`` of its own."""


@pytest.mark.parametrize("buffer_class", [Passing, Naming, Heir])
def test_a_buffer_of_ones_own_takes_its_own_options_and_no_others(buffer_class, ray_cluster):
    options = {"type": buffer_class, "bonus": 0.5, "capacity": 777}
    algo = tiny(replay_buffer_config=options, seed=3).build_algo()
    buffer = algo.replay_buffer
    algo.stop()
    assert type(buffer) is buffer_class
    assert (buffer.bonus, buffer.store.capacity) == (0.5, 777)
    for wrong in ("bonuss", "args", "seed", "obs_dim"):
        message = refusal(tiny(replay_buffer_config=options | {wrong: 1}))
        assert f"has the key '{wrong}', but {buffer_class.__name__} takes ['bonus', 'capacity', 'type']" in message
