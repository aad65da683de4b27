"""What happens to RLlib's own settings: a table of those, old and new, that do not work just as in RLlib.

A test lists the others, so that no new field of RLlib's configs goes unnoticed.
"""

from functools import cache
from typing import Any, NamedTuple

# What happens to a setting.
USED = "used"  # works as in RLlib
MAPPED = "mapped"  # sets other settings, which the text names
RENAMED = "renamed"  # an error with today's name
REFUSED = "refused"  # an error if it is not RLlib's default: what it asks for would not happen
IDLE = "idle"  # a warning if it is not RLlib's default: it has no effect, but misleads nobody

# The algorithms that a row applies to. The first row that applies counts.
EVERY = "every algorithm on RLlib's new API stack"
OURS = "the algorithms of this package"
OFF_POLICY = "all but SaPPO"
ARRAY_RUNNER = "all but SaPPO, on ArrayEnvRunner"
SAPPO = "SaPPO"
# The groups of `family_settings`.
SAMI, RECURRENT_SAC, PLAIN_SAC = "SaMI", "RecurrentSAC", "PlainSAC"
SKILL_DISCOVERY = "skill discovery"
TASK_INFERENCE, NEURAL_PROCESS = "task inference", "NeuralProcess"
WINDOWS, TDMPC = "SkiMo, SkiMoPretrain, SPiRL, TDMPC", "TDMPC"
SKIMO, OF_SKILL_MODEL, SPIRL = "SkiMo, SkiMoPretrain, SPiRL", "SkiMo, SkiMoPretrain", "SPiRL"
FIXED_ENTROPY, TUNED_ENTROPY = "skill discovery, fixed entropy coefficient", "skill discovery, tuned coefficient"

_BATCHES = "An update reads whole episodes: set `train_episodes`, `loss_timesteps` and `updates_per_env_step`"
_TRANSITIONS = "An update reads single transitions: set `train_batch_size_per_learner` and `updates_per_env_step`"
_WINDOWS = "An update reads windows of transitions: set `train_batch_size_per_learner` and `updates_per_env_step`"
_SKILL_WINDOWS = "An update reads windows of skills: set `train_batch_size_per_learner` and `num_skills`"
_PLAN_WINDOWS = "An update reads windows of steps: set `train_batch_size_per_learner` and `plan_horizon`"
_OWN_RUNNER = (
    "ArrayEnvRunner calls no connectors. Wrap the environment, or set `env_runner_cls` to SingleAgentEnvRunner"
)
_NO_CONNECTORS = "The learner takes arrays from the replay buffer: subclass TaskEpisodeReplayBuffer"
_OFFLINE = "It learns from an environment. RLlib's BC, MARWIL and CQL learn from recorded episodes"
_NO_PREPROCESSING = "The new API stack filters and clips in connectors (`env_to_module_connector`) or environments"
_OLD = "Only RLlib's old API stack uses it"
_GONE = "It no longer exists in RLlib"
_IMPALA = "Only IMPALA and APPO use it"
_OF_PPO = "Only PPO uses it: take SaPPO"
_OF_SAC = "Only SAC or DQN use it: take SaCCM or PlainSAC"
_SIZES = "`actor_hidden` and `critic_hidden`"
NO_REWARDS = (
    "RLlib's own env runners, with which SaPPO samples, pass no rewards to the module: put the previous reward into "
    "the observation"
)


class Row(NamedTuple):
    """What happens to some settings.

    Attributes:
        fate: One of the above.
        of: The algorithms that this applies to, one of the above.
        names: Names of the settings, separated by spaces.
        text: The reason and what to set instead; for ``MAPPED`` the settings that are set, for ``RENAMED`` today's
            name.
        accepted: Values that ask for what happens anyway, a tuple also standing for a list. By default RLlib's default.
    """

    fate: str
    of: str
    names: str
    text: str = ""
    accepted: tuple[Any, ...] = ()


def _of_transitions(of: str, what: str) -> tuple[Row, ...]:
    """The rows of algorithms that learn from transitions, single ones or windows of them, as ``what`` says."""
    return (
        Row(IDLE, of, "train_batch_size", what),
        Row(REFUSED, of, "minibatch_size num_epochs shuffle_batch_per_epoch", what),
        Row(REFUSED, of, "sgd_minibatch_size num_sgd_iter", what, accepted=(None, -1)),
        Row(REFUSED, of, "training_intensity",
            "Set `updates_per_env_step`: training_intensity / train_batch_size_per_learner"),
    )  # fmt: skip


# fmt: off
TABLE = (
    # --- Settings that this package's algorithms read in another way, or not at all ---------------------------------
    *(row for of in (PLAIN_SAC, SKILL_DISCOVERY) for row in _of_transitions(of, _TRANSITIONS)),
    *_of_transitions(TASK_INFERENCE, _WINDOWS),
    *_of_transitions(SKIMO, _SKILL_WINDOWS),
    *_of_transitions(TDMPC, _PLAN_WINDOWS),
    Row(REFUSED, TDMPC, "lr", "Set `model_lr` and `actor_lr`, leave `lr` at None"),
    Row(REFUSED, SKIMO, "lr", "Set `model_lr`, `actor_lr` and `alpha_lr` (of SkiMoPretrain `model_lr` alone), leave "
        "`lr` at None"),
    Row(REFUSED, WINDOWS, "lr_schedule", "Each of its learning rates, such as `model_lr`, takes a schedule"),
    Row(REFUSED, SPIRL, "_torch_grad_scaler_class", "It computes in float32"),
    Row(REFUSED, SKIMO, "observation_filter",
        "The networks that were learned from data need their scale: wrap the environment, for example in "
        "gymnasium.wrappers.TransformObservation"),
    Row(REFUSED, WINDOWS, "policy_model_config policy_model q_model_config Q_model optimization",
        "Set `num_units`, `latent_state_dim`, `model_lr` and `actor_lr`"),
    Row(MAPPED, OFF_POLICY, "_train_batch_size_per_learner",
        "`loss_timesteps`; a setting of its own in PlainSAC, skill discovery and task inference"),
    Row(IDLE, OFF_POLICY, "train_batch_size", _BATCHES),
    Row(REFUSED, OFF_POLICY, "minibatch_size num_epochs shuffle_batch_per_epoch", _BATCHES),
    Row(REFUSED, OFF_POLICY, "sgd_minibatch_size num_sgd_iter", _BATCHES, accepted=(None, -1)),
    Row(REFUSED, SKILL_DISCOVERY, "lr",
        "Each network has its own rate: set `representation_lr`, `actor_lr` and `critic_lr` (and `alpha_lr` where the "
        "entropy coefficient is tuned), leave `lr` at None"),
    Row(REFUSED, SKILL_DISCOVERY, "lr_schedule",
        "Each network has its own rate: `representation_lr`, `actor_lr` and `critic_lr` (and `alpha_lr`) take "
        "schedules"),
    Row(REFUSED, SKILL_DISCOVERY, "grad_clip_by",
        "It must be 'global_norm': gradients are clipped by the norm over each of representation, critics and actor"),
    Row(REFUSED, SKILL_DISCOVERY, "_torch_grad_scaler_class", "Skill discovery computes in float32"),
    Row(REFUSED, OFF_POLICY, "lr",
        "Each network has its own rate: set `actor_lr`, `critic_lr` and `alpha_lr` (and `encoder_lr` where there is an "
        "encoder), leave `lr` at None"),
    Row(REFUSED, OFF_POLICY, "lr_schedule",
        "Each network has its own rate: `actor_lr`, `critic_lr` and `alpha_lr` (and `encoder_lr`) take schedules"),
    Row(REFUSED, OFF_POLICY, "grad_clip_by",
        "It must be 'global_norm': gradients are clipped by the norm over each of encoder, critics and actor"),
    Row(REFUSED, OFF_POLICY, "_learner_connector add_default_connectors_to_learner_pipeline", _NO_CONNECTORS),
    Row(REFUSED, OFF_POLICY, "batch_mode", "The replay buffer joins the pieces of episodes: leave it as it is"),
    Row(REFUSED, OFF_POLICY, "torch_compile_learner", "Set `compile_update`, which compiles the losses of an update"),
    Row(IDLE, OFF_POLICY, "torch_compile_learner_what_to_compile torch_compile_learner_dynamo_backend "
        "torch_compile_learner_dynamo_mode", "`compile_update` compiles the losses of an update"),
    Row(REFUSED, OFF_POLICY, "remote_worker_envs",
        "Environments are stepped in their runner's process: set `num_env_runners` for more processes"),
    Row(REFUSED, OFF_POLICY, "normalize_actions", "The actor's tanh needs normalised actions: leave it as it is"),
    Row(REFUSED, OFF_POLICY, "torch_skip_nan_gradients", "Training stops once learning has diverged: set `grad_clip`"),
    Row(REFUSED, OFF_POLICY, "_torch_grad_scaler_class", "Set `mixed_precision`"),
    Row(IDLE, OFF_POLICY, "log_gradients", "The results contain the losses"),
    Row(IDLE, OURS, "torch_ddp_kwargs", "The learners average gradients themselves"),
    Row(REFUSED, ARRAY_RUNNER, "_env_to_module_connector _module_to_env_connector "
        "add_default_connectors_to_env_to_module_pipeline add_default_connectors_to_module_to_env_pipeline",
        _OWN_RUNNER),
    Row(REFUSED, ARRAY_RUNNER, "output",
        "Write the replay buffer's episodes: `replay_buffers.offline.write_episodes(algo.replay_buffer, DIR)`"),
    Row(REFUSED, SKILL_DISCOVERY, "observation_filter",
        "Features of states need a fixed scale: wrap the environment, for example in "
        "gymnasium.wrappers.TransformObservation"),
    Row(REFUSED, TASK_INFERENCE, "observation_filter",
        "Encoder and decoders need a fixed scale: wrap the environment, for example in "
        "gymnasium.wrappers.TransformObservation"),
    Row(REFUSED, ARRAY_RUNNER, "observation_filter",
        "The encoder standardises what it reads (`normalize_inputs`). For actor and critics wrap the environment, "
        "for example in gymnasium.wrappers.NormalizeObservation"),
    Row(IDLE, ARRAY_RUNNER, "clip_actions", "Actions are always within their bounds"),
    Row(IDLE, ARRAY_RUNNER, "episode_lookback_horizon episodes_to_numpy merge_env_runner_states torch_compile_worker "
        "broadcast_env_runner_states torch_compile_worker_dynamo_backend torch_compile_worker_dynamo_mode "
        "output_compress_columns output_max_rows_per_file output_write_remaining_data output_write_method "
        "output_write_method_kwargs output_filesystem output_filesystem_kwargs output_write_episodes",
        "ArrayEnvRunner does not read it"),
    Row(REFUSED, OURS, "input_ offline_data_class offline_evaluation_interval", _OFFLINE),
    Row(IDLE, OURS, "input_read_method input_read_method_kwargs input_read_schema input_read_episodes "
        "input_read_sample_batches input_read_batch_size input_filesystem input_filesystem_kwargs "
        "input_compress_columns input_spaces_jsonable input_config materialize_data materialize_mapped_data "
        "map_batches_kwargs iter_batches_kwargs ignore_final_observation prelearner_class prelearner_buffer_class "
        "prelearner_buffer_kwargs prelearner_module_synch_period prelearner_use_recorded_module_states "
        "dataset_num_iters_per_learner dataset_num_iters_per_eval_runner actions_in_input_normalized "
        "postprocess_inputs shuffle_buffer_size offline_sampling offline_evaluation_type offline_eval_runner_class "
        "offline_loss_for_module_fn offline_evaluation_duration offline_evaluation_parallel_to_training "
        "offline_evaluation_timeout_s num_offline_eval_runners num_cpus_per_offline_eval_runner "
        "num_gpus_per_offline_eval_runner custom_resources_per_offline_eval_runner restart_failed_offline_eval_runners "
        "ignore_offline_eval_runner_failures max_num_offline_eval_runner_restarts "
        "offline_eval_runner_restore_timeout_s max_requests_in_flight_per_offline_eval_runner "
        "validate_offline_eval_runners_after_construction offline_eval_runner_health_probe_timeout_s "
        "offline_eval_rl_module_inference_only broadcast_offline_eval_runner_states "
        "offline_eval_batch_size_per_runner", _OFFLINE),
    Row(IDLE, OURS, "num_aggregator_actors_per_learner max_requests_in_flight_per_aggregator_actor "
        "max_requests_in_flight_per_learner use_env_runner_state_server env_runner_state_server_max_concurrency",
        _IMPALA),
    Row(MAPPED, OURS, "model", "what `model_config` sets"),
    # --- Further settings of RLlib's SAC, DQN and PPO; they are compared with the defaults there --------------------
    Row(MAPPED, OFF_POLICY, "policy_model_config policy_model", "`actor_hidden`"),
    Row(MAPPED, OFF_POLICY, "q_model_config Q_model", "`critic_hidden`"),
    Row(MAPPED, OFF_POLICY, "optimization", "`actor_lr`, `critic_lr` and `alpha_lr`"),
    Row(REFUSED, OFF_POLICY, "twin_q double_q", "There are always two critics, and targets use the smaller value"),
    Row(REFUSED, OFF_POLICY, "n_step", "Targets look one step ahead"),
    Row(REFUSED, OFF_POLICY, "target_network_update_freq",
        "Targets move at every update: set `tau`, and `updates_per_env_step`", accepted=(0, 1)),
    Row(REFUSED, OFF_POLICY, "training_intensity", "Set `updates_per_env_step`: training_intensity / loss_timesteps"),
    *(Row(REFUSED, of, "prioritized_replay prioritized_replay_alpha prioritized_replay_beta prioritized_replay_eps",
          "Transitions are drawn with equal probability", accepted=(False, -1))
      for of in (SKILL_DISCOVERY, TASK_INFERENCE)),
    Row(REFUSED, OFF_POLICY, "prioritized_replay prioritized_replay_alpha prioritized_replay_beta "
        "prioritized_replay_eps", "Episodes are drawn with equal probability",
        accepted=(False, -1)),  # -1 marks what RLlib no longer has
    Row(REFUSED, OFF_POLICY, "_deterministic_loss _use_beta_distribution", "The policy is a tanh-Gaussian"),
    Row(REFUSED, OFF_POLICY, "td_error_loss_fn before_learn_on_batch burn_in_len epsilon num_atoms v_min v_max "
        "sigma0 adam_epsilon categorical_distribution_temperature", "Only DQN uses it"),
    Row(REFUSED, OURS, "dueling hiddens noisy", "Only DQN uses it", accepted=(False, (), None)),
    Row(REFUSED, OFF_POLICY, "use_critic use_gae lambda_ use_kl_loss kl_coeff kl_target vf_loss_coeff entropy_coeff "
        "entropy_coeff_schedule clip_param vf_clip_param", _OF_PPO),
    Row(REFUSED, OURS, "vf_share_layers", "Actor and critics share no layers", accepted=(False, -1)),
    Row(REFUSED, SAPPO, "policy_model_config policy_model q_model_config Q_model optimization twin_q double_q n_step "
        "target_network_update_freq training_intensity _deterministic_loss _use_beta_distribution td_error_loss_fn "
        "before_learn_on_batch burn_in_len epsilon num_atoms v_min v_max sigma0 adam_epsilon "
        "categorical_distribution_temperature tau initial_alpha target_entropy actor_lr critic_lr alpha_lr "
        "replay_buffer_config store_buffer_in_checkpoints num_steps_sampled_before_learning_starts learning_starts "
        "buffer_size prioritized_replay_alpha prioritized_replay_beta prioritized_replay_eps replay_mode "
        "replay_batch_size worker_side_prioritization", _OF_SAC),
    Row(REFUSED, SAPPO, "prioritized_replay", _OF_SAC, accepted=(False, -1)),
    # --- Settings that are renamed, or have no effect in RLlib either -----------------------------------------------
    Row(RENAMED, EVERY, "num_workers num_rollout_workers", "num_env_runners"),
    Row(RENAMED, EVERY, "num_envs_per_worker", "num_envs_per_env_runner"),
    Row(RENAMED, EVERY, "num_cpus_per_worker", "num_cpus_per_env_runner"),
    Row(RENAMED, EVERY, "num_gpus_per_worker", "num_gpus_per_env_runner", accepted=(0,)),
    Row(RENAMED, EVERY, "custom_resources_per_worker", "custom_resources_per_env_runner"),
    Row(RENAMED, EVERY, "num_learner_workers", "num_learners"),
    Row(RENAMED, EVERY, "num_cpus_per_learner_worker", "num_cpus_per_learner"),
    Row(RENAMED, EVERY, "num_gpus num_gpus_per_learner_worker", "num_gpus_per_learner", accepted=(0,)),
    Row(RENAMED, EVERY, "num_cpus_for_local_worker", "num_cpus_for_main_process"),
    Row(RENAMED, EVERY, "worker_cls", "env_runner_cls"),
    Row(RENAMED, EVERY, "recreate_failed_workers", "restart_failed_env_runners"),
    Row(RENAMED, EVERY, "ignore_worker_failures", "ignore_env_runner_failures"),
    Row(RENAMED, EVERY, "num_consecutive_worker_failures_tolerance", "num_consecutive_env_runner_failures_tolerance"),
    Row(RENAMED, EVERY, "worker_health_probe_timeout_s", "env_runner_health_probe_timeout_s"),
    Row(RENAMED, EVERY, "worker_restore_timeout_s", "env_runner_restore_timeout_s"),
    Row(RENAMED, EVERY, "validate_workers_after_construction", "validate_env_runners_after_construction"),
    Row(RENAMED, EVERY, "max_requests_in_flight_per_sampler_worker", "max_requests_in_flight_per_env_runner"),
    Row(RENAMED, EVERY, "evaluation_num_workers", "evaluation_num_env_runners"),
    Row(RENAMED, EVERY, "evaluation_num_episodes", "evaluation_duration"),
    Row(RENAMED, EVERY, "enable_async_evaluation", "evaluation_parallel_to_training"),
    Row(RENAMED, EVERY, "timesteps_per_iteration min_sample_timesteps_per_reporting",
        "min_sample_timesteps_per_iteration"),
    Row(RENAMED, EVERY, "min_train_timesteps_per_reporting", "min_train_timesteps_per_iteration"),
    Row(RENAMED, EVERY, "min_time_s_per_reporting min_iter_time_s", "min_time_s_per_iteration"),
    Row(RENAMED, EVERY, "metrics_smoothing_episodes", "metrics_num_episodes_for_smoothing"),
    Row(RENAMED, EVERY, "sample_batch_size", "rollout_fragment_length"),
    Row(RENAMED, EVERY, "sgd_minibatch_size", "minibatch_size"),
    Row(RENAMED, EVERY, "num_sgd_iter", "num_epochs"),
    Row(RENAMED, EVERY, "lr_schedule", "lr"),
    Row(RENAMED, EVERY, "entropy_coeff_schedule", "entropy_coeff"),
    Row(RENAMED, EVERY, "grad_norm_clipping", "grad_clip"),
    Row(RENAMED, EVERY, "vf_share_layers", "model_config.vf_share_layers"),
    Row(RENAMED, EVERY, "learning_starts", "num_steps_sampled_before_learning_starts"),
    Row(RENAMED, EVERY, "buffer_size", "replay_buffer_config.capacity"),
    Row(RENAMED, EVERY, "prioritized_replay_alpha", "replay_buffer_config.alpha"),
    Row(RENAMED, EVERY, "prioritized_replay_beta", "replay_buffer_config.beta"),
    Row(REFUSED, EVERY, "prioritized_replay prioritized_replay_eps replay_mode replay_batch_size "
        "worker_side_prioritization", "Set `replay_buffer_config`"),
    Row(REFUSED, EVERY, "model policy_model_config policy_model q_model_config Q_model hiddens dueling_hiddens",
        "The new API stack uses `model_config`, for example {fcnet_hiddens: [64, 64]}"),
    Row(REFUSED, EVERY, "optimization", "The new API stack uses `actor_lr`, `critic_lr` and `alpha_lr`"),
    Row(REFUSED, EVERY, "optimizer", "Override `configure_optimizers_for_module` of the Learner"),
    Row(REFUSED, EVERY, "observation_filter",
        "Set `env_to_module_connector` to a ray.rllib.connectors.env_to_module.MeanStdFilter"),
    Row(REFUSED, EVERY, "clip_rewards", _NO_PREPROCESSING, accepted=(None, False)),
    Row(REFUSED, EVERY, "horizon", "Set the environment's `max_episode_steps`", accepted=(None,)),
    Row(REFUSED, EVERY, "soft_horizon no_done_at_end",
        "The environment says how an episode ends (`terminated`, `truncated`)", accepted=(False,)),
    Row(REFUSED, EVERY, "env_task_fn", "The environment draws its task in `reset`"),
    Row(REFUSED, EVERY, "custom_async_evaluation_function", "Set `custom_evaluation_function`"),
    Row(REFUSED, EVERY, "noisy sigma0 _deterministic_loss _use_beta_distribution before_learn_on_batch "
        "replay_sequence_length", _OLD),
    Row(REFUSED, EVERY, "remote_worker_envs", "Set `gym_env_vectorize_mode` to 'async' (or take more env runners)"),
    Row(REFUSED, EVERY, "enable_connectors monitor collect_metrics_timeout input_evaluation "
        "policy_map_cache synchronize_filters _enable_rl_module_api auto_wrap_old_gym_envs "
        "always_attach_evaluation_results _disable_execution_plan_api use_state_preprocessor", _GONE),
    Row(REFUSED, EVERY, "simple_optimizer", _GONE, accepted=(False, -1)),  # RLlib sets it itself
    Row(IDLE, EVERY, "eager_tracing eager_max_retraces tf_session_args local_tf_session_args enable_tf1_exec_eagerly "
        "_tf_policy_handles_more_than_one_loss render_env action_mask_key "
        "compress_observations remote_env_batch_wait_ms sample_collector preprocessor_pref update_worker_filter_stats "
        "use_worker_filter_stats sampler_perf_stats_ema_coef policy_map_capacity policy_states_are_swappable "
        "observation_fn off_policy_estimation_methods ope_split_batch_by_episode "
        "sync_filters_on_rollout_workers_timeout_s keep_per_episode_custom_metrics "
        "metrics_episode_collection_timeout_s export_native_model_files checkpoint_trainable_policies_only "
        "fake_sampler extra_python_environs_for_driver output_config output_max_file_size _is_atari "
        "_disable_preprocessor_api _disable_action_flattening _disable_initialize_loss_from_dummy_batch "
        "adam_epsilon categorical_distribution_temperature", _OLD),
)

# fmt: on

# Keys of `model_config` (DefaultModelConfig) and of the old `model`, for the networks of this package. RLModules of
# users may read any key.
_NO_SHAPES = "Observations are flat: flatten or embed images in your own module (`rl_module_spec`)"
_INITIAL = "Layers use torch's initialisation"
_OWN_MODULE = "Use your own module (`rl_module_spec`)"


def _without_memory(of: str) -> tuple[Row, ...]:
    """The rows of algorithms whose agents have no memory."""
    why = "There is no memory: take RecurrentSAC"
    return (
        Row(REFUSED, of, "lstm_use_prev_reward", why, accepted=(False,)),
        Row(IDLE, of, "lstm_use_prev_action", why),
        Row(IDLE, of, "max_seq_len", "Updates read single transitions"),
    )


# fmt: off
MODEL = (
    Row(MAPPED, OURS, "fcnet_hiddens", _SIZES),
    Row(MAPPED, OURS, "head_fcnet_hiddens post_fcnet_hiddens", f"further layers of {_SIZES}"),
    Row(MAPPED, OFF_POLICY, "fusionnet_hiddens", "`critic_hidden`"),
    Row(MAPPED, OURS, "use_lstm", "`encoder_type`, where actor and critics train the encoder (RecurrentSAC)"),
    Row(MAPPED, OURS, "lstm_cell_size", "`encoder_hidden_dim`, where actor and critics train the encoder"),
    *(row for of in (PLAIN_SAC, SKILL_DISCOVERY) for row in _without_memory(of)),
    Row(REFUSED, SAPPO, "lstm_use_prev_reward", NO_REWARDS),
    Row(MAPPED, OURS, "lstm_use_prev_reward", "`encoder_reward`"),
    Row(USED, SAPPO, "max_seq_len"),
    Row(IDLE, TASK_INFERENCE, "max_seq_len", "Set `window`, the transitions that the encoder reads"),
    Row(USED, NEURAL_PROCESS, "lstm_use_prev_action", "The encoder always reads it"),
    Row(IDLE, TASK_INFERENCE, "lstm_use_prev_action", "The encoder reads no actions"),
    Row(IDLE, OFF_POLICY, "max_seq_len", "Updates read whole episodes"),
    Row(USED, OURS, "lstm_use_prev_action", "The encoder always reads it"),
    Row(REFUSED, SKILL_DISCOVERY, "fcnet_activation head_fcnet_activation post_fcnet_activation",
        "Set `actor_activation`; hidden layers of other networks use ReLU", accepted=(None,)),
    Row(REFUSED, OURS, "fcnet_activation head_fcnet_activation post_fcnet_activation fusionnet_activation",
        "Hidden layers use ReLU", accepted=("relu", None)),
    Row(REFUSED, OURS, "vf_share_layers", "Actor and critics share no layers", accepted=(False,)),
    Row(REFUSED, OURS, "fcnet_use_layernorm head_fcnet_use_layernorm fusionnet_hiddens no_final_linear "
        "encoder_latent_dim use_attention", _OWN_MODULE),
    Row(REFUSED, SKILL_DISCOVERY, "free_log_std log_std_clip_param custom_action_dist", "The actor's last layer gives "
        "mean and standard deviation, which is kept between 1e-6 and e^2"),
    Row(REFUSED, OURS, "free_log_std log_std_clip_param custom_action_dist", "The actor's last layer gives mean and "
        "standard deviation, whose logarithm is kept in [-20, 2]"),
    Row(MAPPED, SKILL_DISCOVERY, "conv_filters", "`conv_filters`"),
    Row(REFUSED, OURS, "conv_filters", _NO_SHAPES),
    Row(REFUSED, SKILL_DISCOVERY, "conv_activation", "Convolutions use ELU", accepted=("elu", None)),
    Row(REFUSED, OURS, "custom_model custom_model_config custom_preprocessor", _OWN_MODULE),
    Row(IDLE, SKILL_DISCOVERY, "conv_kernel_initializer conv_kernel_initializer_kwargs "
        "conv_kernel_initializer_config conv_bias_initializer conv_bias_initializer_kwargs "
        "conv_bias_initializer_config", _INITIAL),
    Row(IDLE, SKILL_DISCOVERY, "framestack dim grayscale zero_mean",
        "Images are read as the environment gives them: use gymnasium.wrappers"),
    Row(IDLE, OURS, "conv_activation conv_kernel_initializer conv_kernel_initializer_kwargs "
        "conv_kernel_initializer_config conv_bias_initializer conv_bias_initializer_kwargs "
        "conv_bias_initializer_config conv_transpose_kernel_initializer conv_transpose_kernel_initializer_config "
        "conv_transpose_bias_initializer conv_transpose_bias_initializer_config framestack dim grayscale zero_mean",
        _NO_SHAPES),
    Row(IDLE, OURS, "fcnet_kernel_initializer fcnet_kernel_initializer_kwargs fcnet_bias_initializer "
        "fcnet_bias_initializer_kwargs fcnet_weights_initializer fcnet_weights_initializer_config "
        "fcnet_bias_initializer_config head_fcnet_kernel_initializer head_fcnet_kernel_initializer_kwargs "
        "head_fcnet_bias_initializer head_fcnet_bias_initializer_kwargs post_fcnet_weights_initializer "
        "post_fcnet_weights_initializer_config post_fcnet_bias_initializer post_fcnet_bias_initializer_config "
        "lstm_kernel_initializer lstm_kernel_initializer_kwargs lstm_bias_initializer lstm_bias_initializer_kwargs "
        "lstm_weights_initializer lstm_weights_initializer_config lstm_bias_initializer_config "
        "fusionnet_kernel_initializer fusionnet_kernel_initializer_kwargs fusionnet_bias_initializer "
        "fusionnet_bias_initializer_kwargs", _INITIAL),
    Row(IDLE, OURS, "_time_major attention_num_transformer_units attention_dim attention_num_heads attention_head_dim "
        "attention_memory_inference attention_memory_training attention_position_wise_mlp_dim "
        "attention_init_gru_gate_bias attention_use_n_prev_actions attention_use_n_prev_rewards always_check_shapes "
        "lstm_use_prev_action_reward _use_default_native_models _disable_preprocessor_api _disable_action_flattening",
        _OLD),
)
# fmt: on


@cache
def rows(table: tuple[Row, ...], of: frozenset[str]) -> dict[str, Row]:
    """The row of each setting, by name, for algorithms that belong to all groups in ``of``."""
    found: dict[str, Row] = {}
    for row in table:
        if row.of in of:
            for name in row.names.split():
                found.setdefault(name, row)
    return found


def refusal(row: Row | None, name: str, value: Any, default: Any) -> str | None:
    """The message that refuses a value of a setting; None if it is allowed."""
    if row is None or row.fate in (USED, IDLE, MAPPED) or (row.fate == RENAMED and value is None):
        return None
    if (tuple(value) if row.accepted and isinstance(value, list) else value) in (row.accepted or (default,)):
        return None
    if row.fate == RENAMED:
        return f"`{name}` is now called `{row.text}`."
    return no_effect(name, value, row.text)


def no_effect(name: str, value: Any, why: str) -> str:
    """The message about a setting that has no effect."""
    return f"`{name.lstrip('_')}` is {value!r}, but has no effect here. {why}."
