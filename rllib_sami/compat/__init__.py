"""Every internal of RLlib that may move between Ray releases is touched here, by theme (written for Ray 2.60).

The rest of the package, its tests and its benchmarks take these names from here, as ``compat.name``. What a test
replaces here is replaced for them, not for the modules beside this file, which import from one another.
"""

from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    EVALUATION_RESULTS,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    TIMERS,
)

from .callbacks import EPISODE_CALLBACKS, call_on_environment_created, call_on_episode, listens_to, listens_to_episodes
from .checkpoints import (
    MODULE_IN_CHECKPOINT,
    absolute_path,
    checkpoint_constructor,
    component_state,
    says_what_cannot_be_read,
)
from .cluster import apart_from_signals, available_memory, hear_warnings, listen_on_loopback, mark_warnings
from .configs import (
    SPECIAL_CONFIG_KEYS,
    changed_model,
    default_of,
    has_default_module,
    load_class,
    model_defaults,
    present_name,
    user_model_config,
)
from .environments import (
    class_path,
    env_creator,
    is_registered,
    may_be_made,
    register_class_path,
    registered_creator,
    runner_spaces,
)
from .evaluation import call_on_runners, freeze_statistics
from .learners import (
    acting_weights,
    force_weights,
    prepend_learner_connector,
    restore_optimizer_settings,
    says_which_learner_was_lost,
    set_learning_rates,
    sync_weights,
    update_learners,
)
from .metrics import (
    env_steps_sampled,
    episode_statistics,
    evaluated_episodes,
    log_episodes,
    log_evaluation,
    log_steps_trained,
    newest_episodes,
    nothing_trained,
    pool_means,
    progress,
)
from .sampling import (
    SAMPLING,
    begin_new_episodes,
    begin_sampling,
    episode_from_arrays,
    finish_sampling,
    new_episode_id,
    num_lost_runners,
    sample_locally,
)

__all__ = [
    "DEFAULT_MODULE_ID",
    "ENV_RUNNER_RESULTS",
    "EPISODE_CALLBACKS",
    "EVALUATION_RESULTS",
    "LEARNER_RESULTS",
    "MODULE_IN_CHECKPOINT",
    "NUM_ENV_STEPS_SAMPLED_LIFETIME",
    "SAMPLING",
    "SPECIAL_CONFIG_KEYS",
    "TIMERS",
    "absolute_path",
    "acting_weights",
    "apart_from_signals",
    "available_memory",
    "begin_new_episodes",
    "begin_sampling",
    "call_on_environment_created",
    "call_on_episode",
    "call_on_runners",
    "changed_model",
    "checkpoint_constructor",
    "class_path",
    "component_state",
    "default_of",
    "env_creator",
    "env_steps_sampled",
    "episode_from_arrays",
    "episode_statistics",
    "evaluated_episodes",
    "finish_sampling",
    "force_weights",
    "freeze_statistics",
    "has_default_module",
    "hear_warnings",
    "is_registered",
    "listen_on_loopback",
    "listens_to",
    "listens_to_episodes",
    "load_class",
    "log_episodes",
    "log_evaluation",
    "log_steps_trained",
    "mark_warnings",
    "may_be_made",
    "model_defaults",
    "new_episode_id",
    "newest_episodes",
    "nothing_trained",
    "num_lost_runners",
    "pool_means",
    "prepend_learner_connector",
    "present_name",
    "progress",
    "register_class_path",
    "registered_creator",
    "restore_optimizer_settings",
    "runner_spaces",
    "sample_locally",
    "says_what_cannot_be_read",
    "says_which_learner_was_lost",
    "set_learning_rates",
    "sync_weights",
    "update_learners",
    "user_model_config",
]
