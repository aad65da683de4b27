"""Everything that touches internals of RLlib, which may change with any Ray release, by topic (written for Ray 2.60).

The rest of the package, its tests and its benchmarks use these names as ``compat.name``. A test that replaces one here
does not replace it for the modules beside this file, which import from one another.
"""

from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    EVALUATION_RESULTS,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    TIMERS,
)

from rllib_sami.compat.callbacks import call_on_environment_created, call_on_episode, listens_to_episodes
from rllib_sami.compat.checkpoints import (
    MODULE_IN_CHECKPOINT,
    check_run_state,
    checkpoint_constructor,
    component_state,
    forget_checkpoints,
    original_class,
    register_checkpoint,
    saved_checkpoint,
    unpickling_errors,
    write_original_class,
)
from rllib_sami.compat.cluster import (
    apart_from_signals,
    available_memory,
    hear_warnings,
    listen_on_loopback,
    mark_warnings,
)
from rllib_sami.compat.configs import (
    SPECIAL_CONFIG_KEYS,
    default_of,
    load_class,
    model_defaults,
    module_class,
    present_name,
    user_model_config,
)
from rllib_sami.compat.environments import (
    MAKING,
    class_path,
    env_creator,
    env_option,
    is_registered,
    may_be_made,
    register_class_path,
    registered_creator,
)
from rllib_sami.compat.evaluation import call_on_runners, freeze_statistics
from rllib_sami.compat.learners import (
    acting_weights,
    force_weights,
    foreach_learner,
    prepend_learner_connector,
    present_optimizers,
    restore_optimizer_settings,
    set_learning_rates,
    sync_weights,
    timestep,
    update_learners,
)
from rllib_sami.compat.metrics import (
    env_steps_sampled,
    episode_statistics,
    evaluated_episodes,
    log_episodes,
    log_evaluation,
    log_steps_trained,
    newest_episodes,
    no_steps_trained,
    pool_means,
    progress,
)
from rllib_sami.compat.sampling import (
    SAMPLING,
    begin_new_episodes,
    begin_sampling,
    episode_from_arrays,
    finish_sampling,
    num_lost_runners,
    sample_locally,
)
