"""Ranges of RLlib's settings that RLlib checks nowhere, or only in its setters."""

import math
from collections.abc import Iterator

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from rllib_sami.core.settings import ABOVE_0, AT_LEAST_0, LEARNING_RATE, Allowed, integer, is_integer, is_number, number

_RANGES = {
    "seed": Allowed(
        "an integer from 0 to 4294967295, or None", lambda x: x is None or (is_integer(x) and 0 <= x < 2**32)
    ),
    "sample_timeout_s evaluation_sample_timeout_s grad_clip": ABOVE_0.or_none(),
    "gamma lambda_": number("a number in [0, 1]", lambda x: 0 <= x <= 1),
    "lr": LEARNING_RATE.or_none(),
    "entropy_coeff": LEARNING_RATE,
    "kl_coeff kl_target vf_loss_coeff": AT_LEAST_0,
    "clip_param": ABOVE_0,
    "vf_clip_param": Allowed(
        "a number above 0, or infinity", lambda x: x == math.inf or (is_number(x) and x > 0)
    ),
    "_train_batch_size_per_learner minibatch_size": integer(1).or_none(),
    "train_batch_size num_epochs num_envs_per_env_runner metrics_num_episodes_for_smoothing": integer(1),
    "rollout_fragment_length": integer(1).or_auto(),
    "num_env_runners evaluation_num_env_runners num_learners": integer(0),
    "num_cpus_per_env_runner num_gpus_per_env_runner num_gpus_per_learner num_cpus_for_main_process": AT_LEAST_0,
    "num_cpus_per_learner": AT_LEAST_0.or_auto(),
    "evaluation_interval min_time_s_per_iteration min_sample_timesteps_per_iteration min_train_timesteps_per_iteration":
        AT_LEAST_0.or_none(),
}  # fmt: skip


def rllib_values(config: AlgorithmConfig) -> Iterator[str]:
    """Messages about RLlib's own settings that are out of range."""
    overrides = config.evaluation_config if isinstance(config.evaluation_config, dict) else {}
    for place, settings in (("", vars(config)), ("evaluation_config.", overrides)):
        for keys, allowed in _RANGES.items():
            for key in keys.split():
                if key in settings and (message := allowed.refusal(f"{place}{key.lstrip('_')}", settings[key])):
                    yield message
