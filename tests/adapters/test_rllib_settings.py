"""Every setting of RLlib is classified: what stock code says works where it means something, and is refused else."""

import re

import pytest
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.dreamerv3 import DreamerV3Config
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.algorithms.sac import SACConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from rllib_sami import (
    CSFConfig,
    DIAYNConfig,
    PlainSACConfig,
    RecurrentSACConfig,
    SaCCMConfig,
    SaMIConfig,
    SaPPOConfig,
)
from rllib_sami.compat.configs import MODEL_DEFAULTS
from rllib_sami.config.rllib_settings import (
    ARRAY_RUNNER,
    EVERY,
    MODEL,
    OFF_POLICY,
    OURS,
    REFUSED,
    RENAMED,
    SAPPO,
    SKILL_DISCOVERY,
    TABLE,
    rows,
)
from rllib_sami.config.unused_settings import refusals
from rllib_sami_cli.config_schema import ConfigSchema

from .tiny import refusal, tiny

FIELDS = set().union(*(vars(config()) for config in (AlgorithmConfig, PPOConfig, SACConfig, DQNConfig)))
MODEL_KEYS = DefaultModelConfig.__dataclass_fields__.keys() | MODEL_DEFAULTS.keys()
# Of before: `update_from_dict` and files may still hold them.
OLDER = (
    "num_workers num_rollout_workers num_envs_per_worker num_cpus_per_worker num_gpus_per_worker num_learner_workers "
    "custom_resources_per_worker num_cpus_per_learner_worker num_gpus_per_learner_worker num_cpus_for_local_worker "
    "recreate_failed_workers ignore_worker_failures num_consecutive_worker_failures_tolerance worker_restore_timeout_s "
    "worker_health_probe_timeout_s validate_workers_after_construction max_requests_in_flight_per_sampler_worker "
    "evaluation_num_workers sample_batch_size num_sgd_iter grad_norm_clipping horizon soft_horizon no_done_at_end "
    "policy_model Q_model dueling_hiddens"
)
OF_OLDER_RLLIB = set(OLDER.split())
# Names of today that no row of the table is about, so that they work as in RLlib: in every algorithm,
USED_BY_ALL = (
    "_dont_auto_sync_env_runner_states _fake_gpus _is_frozen _is_online _learner_class _model_config "
    "_per_module_overrides _prior_exploration_config _rl_module_spec _torch_lr_scheduler_classes "
    "_use_msgpack_checkpoints _validate_config action_space algo_class algorithm_config_overrides_per_module "
    "callbacks_class callbacks_on_algorithm_init callbacks_on_checkpoint_loaded callbacks_on_env_runners_recreated "
    "callbacks_on_environment_created callbacks_on_episode_created callbacks_on_episode_end callbacks_on_episode_start "
    "callbacks_on_episode_step callbacks_on_evaluate_end callbacks_on_evaluate_offline_end "
    "callbacks_on_evaluate_offline_start callbacks_on_evaluate_start callbacks_on_offline_eval_runners_recreated "
    "callbacks_on_sample_end callbacks_on_train_result count_steps_by create_env_on_local_worker "
    "create_local_env_runner custom_evaluation_function custom_resources_for_main_process "
    "custom_resources_per_env_runner custom_resources_per_learner delay_between_env_runner_restarts_s "
    "disable_env_checking enable_env_runner_and_connector_v2 enable_rl_module_and_learner env env_config "
    "env_runner_cls env_runner_health_probe_timeout_s env_runner_restore_timeout_s "
    "evaluation_auto_duration_max_env_steps_per_sample evaluation_auto_duration_min_env_steps_per_sample "
    "evaluation_config evaluation_duration evaluation_duration_unit evaluation_error_after_n_consecutive_skips "
    "evaluation_force_reset_envs_before_iteration evaluation_interval evaluation_num_env_runners "
    "evaluation_parallel_to_training evaluation_sample_timeout_s evaluation_unhealthy_workers_timeout_s "
    "exploration_config explore extra_python_environs_for_worker framework_str gamma grad_clip gym_env_vectorize_mode "
    "ignore_env_runner_failures in_evaluation learner_config_dict local_gpu_idx log_level log_sys_usage "
    "max_num_env_runner_restarts max_requests_in_flight_per_env_runner metrics_num_episodes_for_smoothing "
    "min_sample_timesteps_per_iteration min_time_s_per_iteration min_train_timesteps_per_iteration "
    "num_consecutive_env_runner_failures_tolerance num_cpus_for_main_process num_cpus_per_env_runner "
    "num_cpus_per_learner num_env_runners num_envs_per_env_runner num_gpus_per_env_runner num_gpus_per_learner "
    "num_learners observation_space placement_strategy policies policies_to_train policy_mapping_fn "
    "restart_failed_env_runners restart_failed_sub_environments rollout_fragment_length sample_timeout_s seed "
    "stats_cls_lookup validate_env_runners_after_construction"
)
# in RLlib's algorithms and SaPPO, and in the others unless they act with ArrayEnvRunner,
USED_WITHOUT_ARRAY_RUNNER = (
    "_env_to_module_connector _module_to_env_connector add_default_connectors_to_env_to_module_pipeline "
    "add_default_connectors_to_module_to_env_pipeline broadcast_env_runner_states clip_actions "
    "episode_lookback_horizon episodes_to_numpy merge_env_runner_states output output_compress_columns "
    "output_filesystem output_filesystem_kwargs output_max_rows_per_file output_write_episodes output_write_method "
    "output_write_method_kwargs output_write_remaining_data torch_compile_worker torch_compile_worker_dynamo_backend "
    "torch_compile_worker_dynamo_mode"
)
# in RLlib's algorithms and all of this package's but SaPPO,
USED_BY_OFF_POLICY = (
    "actor_lr alpha_lr critic_lr initial_alpha num_steps_sampled_before_learning_starts replay_buffer_config "
    "store_buffer_in_checkpoints target_entropy tau"
)
# in RLlib's algorithms and SaPPO,
USED_BY_SAPPO = (
    "_learner_connector _torch_grad_scaler_class _train_batch_size_per_learner "
    "add_default_connectors_to_learner_pipeline batch_mode clip_param entropy_coeff grad_clip_by kl_coeff kl_target "
    "lambda_ log_gradients lr minibatch_size normalize_actions num_epochs shuffle_batch_per_epoch "
    "torch_compile_learner torch_compile_learner_dynamo_backend torch_compile_learner_dynamo_mode "
    "torch_compile_learner_what_to_compile torch_skip_nan_gradients train_batch_size use_critic use_gae use_kl_loss "
    "vf_clip_param vf_loss_coeff"
)
# and in RLlib's algorithms alone.
USED_BY_RLLIBS_OWN = (
    "actions_in_input_normalized broadcast_offline_eval_runner_states burn_in_len "
    "custom_resources_per_offline_eval_runner dataset_num_iters_per_eval_runner dataset_num_iters_per_learner double_q "
    "dueling env_runner_state_server_max_concurrency epsilon ignore_final_observation "
    "ignore_offline_eval_runner_failures input_ input_compress_columns input_config input_filesystem "
    "input_filesystem_kwargs input_read_batch_size input_read_episodes input_read_method input_read_method_kwargs "
    "input_read_sample_batches input_read_schema input_spaces_jsonable iter_batches_kwargs map_batches_kwargs "
    "materialize_data materialize_mapped_data max_num_offline_eval_runner_restarts "
    "max_requests_in_flight_per_aggregator_actor max_requests_in_flight_per_learner "
    "max_requests_in_flight_per_offline_eval_runner n_step num_aggregator_actors_per_learner num_atoms "
    "num_cpus_per_offline_eval_runner num_gpus_per_offline_eval_runner num_offline_eval_runners offline_data_class "
    "offline_eval_batch_size_per_runner offline_eval_rl_module_inference_only offline_eval_runner_class "
    "offline_eval_runner_health_probe_timeout_s offline_eval_runner_restore_timeout_s offline_evaluation_duration "
    "offline_evaluation_interval offline_evaluation_parallel_to_training offline_evaluation_timeout_s "
    "offline_evaluation_type offline_loss_for_module_fn offline_sampling postprocess_inputs prelearner_buffer_class "
    "prelearner_buffer_kwargs prelearner_class prelearner_module_synch_period prelearner_use_recorded_module_states "
    "restart_failed_offline_eval_runners shuffle_buffer_size target_network_update_freq td_error_loss_fn "
    "torch_ddp_kwargs training_intensity twin_q use_env_runner_state_server v_max v_min "
    "validate_offline_eval_runners_after_construction"
)

BY_SAPPO = f"{USED_BY_ALL} {USED_WITHOUT_ARRAY_RUNNER} {USED_BY_SAPPO}"
BY_OFF_POLICY = f"{USED_BY_ALL} {USED_WITHOUT_ARRAY_RUNNER} {USED_BY_OFF_POLICY}"
GROUPS = [  # what the algorithms of each are, and the names that they use as RLlib does
    ({EVERY, OURS, SAPPO}, BY_SAPPO),
    ({EVERY, OURS, OFF_POLICY}, BY_OFF_POLICY),
    ({EVERY, OURS, OFF_POLICY, ARRAY_RUNNER}, f"{USED_BY_ALL} {USED_BY_OFF_POLICY}"),
    ({EVERY, OURS, OFF_POLICY, ARRAY_RUNNER, SKILL_DISCOVERY}, f"{USED_BY_ALL} {USED_BY_OFF_POLICY}"),
    ({EVERY}, f"{BY_SAPPO} {USED_BY_OFF_POLICY} {USED_BY_RLLIBS_OWN}"),
]
GROUPS = [(frozenset(of), set(used.split())) for of, used in GROUPS]
NAMES = ["SaPPO", "off-policy", "array runner", "skill discovery", "RLlib's own"]


# --- The table ------------------------------------------------------------------------------------------------------


def names_in(table):
    return {name for row in table for name in row.names.split()}


def test_every_name_in_the_tables_is_a_setting_of_rllib():
    assert not FIELDS & OF_OLDER_RLLIB
    assert names_in(TABLE) <= FIELDS | OF_OLDER_RLLIB
    assert names_in(MODEL) == MODEL_KEYS, "say in rllib_settings.py what becomes of it"


@pytest.mark.parametrize(("of", "used"), GROUPS, ids=NAMES)
def test_every_field_of_rllibs_configs_is_either_in_the_table_or_used_as_it_is(of, used):
    in_table = rows(TABLE, of).keys()
    assert in_table | used == FIELDS | OF_OLDER_RLLIB, "add it to rllib_settings.py, or to a list above"
    assert in_table & used == set(), "a row of rllib_settings.py says otherwise"
    assert OURS not in of or rows(MODEL, of).keys() == names_in(MODEL), "no row for some"


def test_every_name_of_today_is_one():
    assert {row.text.partition(".")[0] for row in TABLE if row.fate == RENAMED} <= FIELDS | {"model_config"}


@pytest.mark.parametrize(("of", "used"), GROUPS[:-1], ids=NAMES[:-1])
def test_no_name_of_today_is_refused_itself(of, used):
    table, model = rows(TABLE, of), rows(MODEL, of)
    for name, row in table.items():
        if row.fate == RENAMED:
            today, _, key = row.text.partition(".")
            if today not in used:
                now = model[key] if today == "model_config" else table[today]
                assert now.fate != REFUSED, f"{name} -> {row.text}"


@pytest.mark.parametrize(
    "config_class",
    [SaMIConfig, SaPPOConfig, CSFConfig, DIAYNConfig, PPOConfig, SACConfig, DQNConfig, DreamerV3Config],
)
def test_nothing_that_rllib_sets_itself_is_refused(config_class):
    config = config_class().environment("CartPole-v1" if config_class is DQNConfig else "Pendulum-v1")
    for _ in range(2):  # validating sets some of it
        config.validate()
        assert [*refusals(config)] == []


# --- What stock code says -------------------------------------------------------------------------------------------


def pendulum_sac(config):
    config.training(initial_alpha=1.001, actor_lr=2e-4, lr=None, n_step=1, twin_q=True, tau=0.005)
    config.training(train_batch_size_per_learner=128, target_network_update_freq=1)
    model = {"fcnet_hiddens": [32, 16], "fcnet_activation": "relu", "head_fcnet_hiddens": []}
    model |= {"head_fcnet_activation": None, "fusionnet_hiddens": [8], "fusionnet_activation": "relu"}
    return config.rl_module(model_config=DefaultModelConfig(**model))


def halfcheetah_sac(config):
    return config.update_from_dict(
        {
            "q_model_config": {"fcnet_activation": "relu", "fcnet_hiddens": [8]},
            "policy_model_config": {"fcnet_activation": "relu", "fcnet_hiddens": [32, 16]},
            "optimization": {"actor_learning_rate": 2e-4},
            "n_step": 1,
            "loss_timesteps": 128,
            "target_network_update_freq": 1,
            "num_gpus": 0,
            "framework": "torch",
            "clip_actions": False,
        }
    )


@pytest.mark.parametrize("stock", [pendulum_sac, halfcheetah_sac])
def test_what_stock_code_says_of_networks_and_batches_is_done(stock):
    config = stock(PlainSACConfig()).environment("SaMI/Pendulum-v0")
    config.validate()
    again = PlainSACConfig.from_state(config.get_state())
    again.validate()
    for one in (config, again):
        assert (one.actor_hidden, one.critic_hidden) == ([32, 16], [8])
        assert (one.train_batch_size_per_learner, one.actor_lr) == (128, 2e-4)


def taken(config, **model_config):
    config.environment("SaMI/Pendulum-v0").rl_module(model_config=model_config).validate()
    return config


def test_keys_of_a_model_set_what_they_mean_here():
    for way in (lambda c, keys: c.rl_module(model_config=keys), lambda c, keys: c.training(model=keys)):
        config = way(SaPPOConfig().environment("SaMI/Pendulum-v0"), {"fcnet_hiddens": [7]})
        config.validate()
        assert config.actor_hidden == config.critic_hidden == config.model_config["actor_hidden"] == [7]
    config = taken(SaCCMConfig(), head_fcnet_hiddens=[3], mine=4)
    assert config.critic_hidden == [256, 256, 3]
    assert config._model_config == {"mine": 4}
    with pytest.raises(
        ValueError, match=r"`model_config` has the key 'fcnet_hidens', .* did you mean 'fcnet_hiddens'\?"
    ):
        taken(SaCCMConfig(), fcnet_hidens=[3])
    config = taken(CSFConfig(), conv_filters=[[8, 4, 2]], conv_activation="elu")
    assert config.conv_filters == config.model_config["conv_filters"] == [[8, 4, 2]]
    config = taken(RecurrentSACConfig(), use_lstm=True, lstm_cell_size=16, lstm_use_prev_reward=True)
    assert (config.encoder_hidden_dim, config.encoder_type, config.encoder_reward) == (16, "lstm", True)


def test_keys_of_an_lstm_count_only_where_there_is_one():
    for config_class in (SaCCMConfig, RecurrentSACConfig, PlainSACConfig):
        config = taken(config_class(), use_lstm=False, lstm_cell_size=16, lstm_use_prev_reward=True)
        names = {"encoder_hidden_dim", "encoder_reward"} & config.settings.keys()
        assert [getattr(config, name) for name in names] == [getattr(config_class(), name) for name in names]


WITHOUT_MEANING = [
    (PlainSACConfig, {"use_lstm": True, "lstm_cell_size": 16}, "`model_config.use_lstm` is True.*RecurrentSAC.$"),
    (SaCCMConfig, {"lstm_cell_size": 16}, "`model_config.lstm_cell_size` is 16.*set `encoder_hidden_dim`"),
    (PlainSACConfig, {"fcnet_activation": "tanh"}, "`model_config.fcnet_activation` is 'tanh'.*ReLU"),
    (SaPPOConfig, {"vf_share_layers": True}, "`model_config.vf_share_layers` is True.*share no layers"),
    (PlainSACConfig, {"conv_filters": [[1]]}, "`model_config.conv_filters` is .*Observations are flat"),
    (CSFConfig, {"fcnet_activation": "relu"}, "`model_config.fcnet_activation` is 'relu'.*Set `actor_activation`"),
    (CSFConfig, {"conv_activation": "relu"}, "`model_config.conv_activation` is 'relu'.*ELU"),
    (CSFConfig, {"free_log_std": True}, "`model_config.free_log_std` is True.*between 1e-6"),
    (CSFConfig, {"lstm_use_prev_reward": True}, "`model_config.lstm_use_prev_reward` is True.*There is no memory"),
    (PlainSACConfig, {"lstm_use_prev_reward": True}, "`model_config.lstm_use_prev_reward` is True.*RecurrentSAC"),
    (SaPPOConfig, {"lstm_use_prev_reward": True}, "`model_config.lstm_use_prev_reward` is True.*into the observation"),
    (PlainSACConfig, {"fcnet_hiddens": 32}, "`actor_hidden` is 32, but must be a list of layer sizes"),
]


@pytest.mark.parametrize(("config_class", "keys", "expected"), WITHOUT_MEANING)
def test_keys_of_a_model_that_mean_nothing_here_are_refused(config_class, keys, expected):
    with pytest.raises(ValueError, match=expected):
        taken(config_class(), **keys)


SIZES_TWICE = "`model_config` asks for [32], but `actor_hidden` is [64]; set one of them."
STEPS_TWICE = "`train_batch_size_per_learner` asks for 128, but `loss_timesteps` is 512; set one of them."


@pytest.mark.parametrize(
    ("config_class", "training", "mistakes"),
    [
        (SaCCMConfig, {"loss_timesteps": 512}, [SIZES_TWICE, STEPS_TWICE]),
        (PlainSACConfig, {}, [SIZES_TWICE]),  # whose batch size has no other name
    ],
)
def test_two_values_for_one_field_are_refused_at_every_check(config_class, training, mistakes):
    config = config_class().environment("SaMI/Pendulum-v0").training(actor_hidden=[64], **training)
    config.training(train_batch_size_per_learner=128).rl_module(model_config={"fcnet_hiddens": [32]})
    for _ in range(2):
        with pytest.raises(ValueError) as error:  # noqa: PT011 (several messages)
            config.validate()
        assert str(error.value).splitlines() == mistakes


@pytest.mark.parametrize(
    ("config_class", "batch"),
    [
        (SaCCMConfig, "loss_timesteps"),
        (PlainSACConfig, "train_batch_size_per_learner"),
        (CSFConfig, "train_batch_size_per_learner"),
    ],
)
def test_a_validated_config_may_be_changed_in_rllibs_terms(config_class, batch):
    first = config_class().training(train_batch_size_per_learner=512)
    taken(first, fcnet_hiddens=[32], head_fcnet_hiddens=[8])
    for config in (first.copy(copy_frozen=False), config_class.from_state(first.get_state())):
        taken(config.training(train_batch_size_per_learner=128), fcnet_hiddens=[16])
        assert (getattr(config, batch), config.actor_hidden, config.critic_hidden) == (128, [16], [16])
        assert taken(config, head_fcnet_hiddens=[4]).actor_hidden == [256, 256, 4]


@pytest.mark.parametrize(("validated", "own"), [(True, 64), (False, 32), (False, None)])
def test_a_number_of_steps_that_the_user_has_set_is_not_changed_in_rllibs_terms(validated, own):
    config = SaCCMConfig()
    if validated:
        config = taken(config.training(train_batch_size_per_learner=512)).copy(copy_frozen=False)
    config.environment("SaMI/Pendulum-v0").training(loss_timesteps=own, train_batch_size_per_learner=128)
    with pytest.raises(ValueError, match=f"asks for 128, but `loss_timesteps` is {own}"):
        config.validate()


def test_a_module_of_ones_own_gets_its_model_config_as_it_is():
    config = SaPPOConfig().rl_module(rl_module_spec=RLModuleSpec(module_class=DefaultPPOTorchRLModule))
    assert taken(config, fcnet_hiddens=[16])._model_config == {"fcnet_hiddens": [16]}
    assert config.actor_hidden == [256, 256]
    assert "`model` is {'fcnet_hiddens': [9]}, but has no effect" in refusal(
        config.training(model={"fcnet_hiddens": [9]})
    )


# --- What means nothing here ----------------------------------------------------------------------------------------

FOREIGN = [
    (PlainSACConfig, {"n_step": 3}, "`n_step` is 3, but has no effect here. Targets look one step ahead."),
    (PlainSACConfig, {"twin_q": False}, "There are always two critics"),
    (PlainSACConfig, {"training_intensity": 4}, "`updates_per_env_step`"),
    (PlainSACConfig, {"clip_param": 0.1}, "take SaPPO"),
    (PlainSACConfig, {"_deterministic_loss": True}, "The policy is a tanh-Gaussian."),
    (PlainSACConfig, {"q_model_config": {"fcnet_activation": "tanh"}}, "`q_model_config.fcnet_activation` is 'tanh'"),
    (PlainSACConfig, {"optimization": {"actor_lr": 1}}, "`optimization` has the key 'actor_lr'"),
    (PlainSACConfig, {"num_sgd_iter": 3}, "An update reads single transitions: set `train_batch_size_per_learner`"),
    (CSFConfig, {"num_sgd_iter": 3}, "An update reads single transitions: set `train_batch_size_per_learner`"),
    (CSFConfig, {"lr_schedule": [[0, 1e-3]]}, "`representation_lr`, `actor_lr` and `critic_lr` (and `alpha_lr`) take"),
    (CSFConfig, {"training_intensity": 4}, "training_intensity / train_batch_size_per_learner"),
    (DIAYNConfig, {"optimization": {"entropy_learning_rate": 1}}, "takes ['actor_learning_rate', 'critic_learning_"),
    (SaPPOConfig, {"tau": 0.1}, "take SaCCM or PlainSAC"),
    (SaCCMConfig, {"lr_schedule": [[0, 1e-3]]}, "and `alpha_lr` (and `encoder_lr`) take schedules"),
    (SaCCMConfig, {"num_sgd_iter": 3}, "`num_sgd_iter` is 3, but has no effect here. An update reads whole episodes"),
    (SaCCMConfig, {"sgd_minibatch_size": 64}, "set `train_episodes`"),
    (SaCCMConfig, {"entropy_coeff_schedule": [[0, 0.1]]}, "take SaPPO"),
    (SaCCMConfig, {"num_rollout_workers": 2}, "`num_rollout_workers` is now called `num_env_runners`."),
    (SaCCMConfig, {"horizon": 9}, "`max_episode_steps`"),
]


@pytest.mark.parametrize(("config_class", "given", "expected"), FOREIGN, ids=lambda value: str(value)[:40])
def test_settings_of_other_algorithms_and_times_are_refused_with_what_to_set(config_class, given, expected):
    for take in (lambda c: c.update_from_dict(given), lambda c: c.training(**given)):
        with pytest.raises(ValueError, match=re.escape(expected)):
            take(config_class())


OLD_FIELDS = [
    (SaPPOConfig, {"buffer_size": 9}, "take SaCCM or PlainSAC"),
    (SaPPOConfig, {"lr_schedule": [[0, 1e-3]]}, "`lr_schedule` is now called `lr`."),
    (SaPPOConfig, {"vf_share_layers": True}, "Actor and critics share no layers."),
    (SaCCMConfig, {"remote_worker_envs": True}, "set `num_env_runners`"),
    (SaPPOConfig, {"prioritized_replay": True}, "take SaCCM or PlainSAC"),
    (PlainSACConfig, {"prioritized_replay": True}, "Episodes are drawn with equal probability."),
    (PlainSACConfig, {"observation_filter": "MeanStdFilter"}, "(`normalize_inputs`)"),
    (CSFConfig, {"observation_filter": "MeanStdFilter"}, "Features of states need a fixed scale"),
    (CSFConfig, {"prioritized_replay": True}, "Transitions are drawn with equal probability."),
    (CSFConfig, {"lr": 1e-3}, "set `representation_lr`, `actor_lr` and `critic_lr`"),
    (CSFConfig, {"grad_clip_by": "value"}, "over each of representation, critics and actor"),
    (PlainSACConfig, {"clip_rewards": True}, "The new API stack filters and clips in connectors"),
]


@pytest.mark.parametrize(("config_class", "given", "expected"), OLD_FIELDS, ids=lambda value: str(value)[:40])
def test_fields_of_rllibs_configs_that_it_reads_no_more_are_refused_with_what_to_set(config_class, given, expected):
    config = config_class().environment("SaMI/Pendulum-v0").update_from_dict(given)
    with pytest.raises(ValueError, match=re.escape(expected)):
        config.validate()


ASKS_FOR_NOTHING = {
    "dueling": False,
    "noisy": False,
    "hiddens": [],
    "clip_rewards": False,
    "grad_norm_clipping": None,
    "num_gpus_per_worker": 0,
    "num_gpus_per_learner_worker": 0,
    "num_gpus": 0,
    "num_sgd_iter": None,
}


def test_old_names_that_ask_for_nothing_do_not_reach_rllib():
    checked = ConfigSchema.of(PPO).check({"num_gpus_per_worker": 0, "num_workers": None, "lr": 1e-3}, "config")
    assert checked == {"lr": 1e-3}


@pytest.mark.parametrize("config_class", [SaCCMConfig, SaPPOConfig])
def test_values_that_ask_for_nothing_are_taken(config_class):
    config_class().environment("SaMI/Pendulum-v0").update_from_dict(ASKS_FOR_NOTHING).validate()
    for key, value in {"dueling": True, "hiddens": [64], "num_gpus_per_worker": 1}.items():
        with pytest.raises(ValueError, match=f"`{key}` is"):
            config_class().update_from_dict({key: value})


SILENT = {
    "observation_filter": "MeanStdFilter",
    "clip_rewards": True,
    "num_gpus": 1,
    "monitor": True,
    "buffer_size": 7,
    "torch_skip_nan_gradients": True,
    "optimizer": {"adam_epsilon": 1},
    "grad_clip_by": "value",
}


def test_all_mistakes_of_a_config_are_told_at_once():
    config = tiny(temperature=-1).update_from_dict(SILENT).rl_module(model_config={"free_log_std": True})
    lines = refusal(config).splitlines()
    for key in ("temperature", "model_config.free_log_std", *SILENT):
        assert sum(line.startswith(f"`{key}` is ") for line in lines) == 1
    assert len(lines) == len(SILENT) + 2
