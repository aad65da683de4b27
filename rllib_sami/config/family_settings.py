"""Settings that only some of this package's algorithms have, and settings of earlier versions.

Experiment files are shared by algorithms that do not have the same settings. So a setting of another algorithm is
accepted where its value asks for what happens anyway. Others are refused if ignoring them would mislead, and otherwise
ignored with a warning.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from rllib_sami.config.rllib_settings import (
    FIXED_ENTROPY,
    IDLE,
    MAPPED,
    NEURAL_PROCESS,
    NO_REWARDS,
    OF_SKILL_MODEL,
    PLAIN_SAC,
    RECURRENT_SAC,
    REFUSED,
    SAMI,
    SAPPO,
    SKILL_DISCOVERY,
    SKIMO,
    SPIRL,
    TASK_INFERENCE,
    TDMPC,
    TUNED_ENTROPY,
    WINDOWS,
    Row,
    rows,
)
from rllib_sami.config.unused_settings import readers

_NO_ENCODER = "PlainSAC has no context encoder: take RecurrentSAC for a memory, TESAC or SaCCM for contexts of tasks"
_NO_CONTRAST = "RecurrentSAC has no contrast: take SaCCM, SaTESAC or CCM"
_CONTRAST = (
    "contrast_coeff skill_weight return_gap_weight objective temperature similarity contrast_episodes "
    "contrast_timesteps positive_fraction key_encoder_tau contrast_interval updates_per_batch"
)
_NO_INFERENCE = "Skills are drawn, not inferred: take SaCCM, SaTESAC, CCM or TESAC for contexts of tasks"
_NO_TASKS = "It infers nothing of tasks: take SaCCM, SaTESAC, CCM or TESAC for contexts of tasks"
_PREDICTS = "Its encoder learns to predict: take SaCCM, SaTESAC or CCM for a contrast"
# Settings that only some methods of skill discovery have.
SKILL_METHODS = {
    "CSF": "xi num_negatives information_bottleneck representation_type critic_type",
    "METRA": "xi num_negatives information_bottleneck skill_prior representation_objective initial_dual dual_slack "
    "dual_lr",
    "DIAYN": "",
    "VISR": "normalize_features",
    "CIC": "cic_temperature neighbours distance_clip",
    "DADS": "num_alternatives",
}

# Distributions of skills of the methods that have no choice.
_PRIORS = {"CSF": "sphere", "DIAYN": "one_hot", "VISR": "sphere", "CIC": "gaussian", "DADS": "uniform"}


def _settings_of_other_methods(method: str) -> Iterator[Row]:
    """The settings that a method of skill discovery lacks and others have."""
    owners: dict[str, list[str]] = {}
    for other, names in SKILL_METHODS.items():
        for name in names.split():
            owners.setdefault(name, []).append(other)
    for name, having in owners.items():
        if name == "skill_prior" and method in _PRIORS:
            why = f"{method} has its own distribution of skills: take METRA for a choice"
            yield Row(REFUSED, method, name, why, accepted=(_PRIORS[method],))
        elif method not in having:
            use = "use" if len(having) > 1 else "uses"
            yield Row(IDLE, method, name, f"In skill discovery, only {' and '.join(having)} {use} it")


# fmt: off
FAMILY = (
    Row(REFUSED, PLAIN_SAC, "pairing encoder_loss", _NO_ENCODER, accepted=(None,)),
    Row(REFUSED, PLAIN_SAC, "acting_encoder", _NO_ENCODER, accepted=(None, "online")),
    Row(REFUSED, PLAIN_SAC, "context_dim", _NO_ENCODER, accepted=(0,)),
    Row(REFUSED, PLAIN_SAC, "encoder_reward normalize_inputs encoder_obs_delta key_encoder encoder_critic_gradient "
        "averaged_context", _NO_ENCODER, accepted=(False,)),
    Row(MAPPED, PLAIN_SAC, "loss_timesteps", "`train_batch_size_per_learner`"),
    Row(IDLE, PLAIN_SAC, f"encoder_hidden_dim encoder_type encoder_lr normalize_context train_episodes {_CONTRAST} "
        "num_negatives", "PlainSAC has no context encoder, and its batches are single transitions"),
    Row(REFUSED, RECURRENT_SAC, "pairing", _NO_CONTRAST, accepted=(None,)),
    Row(REFUSED, RECURRENT_SAC, "encoder_loss", _NO_CONTRAST, accepted=(None, "critic")),
    Row(REFUSED, RECURRENT_SAC, "acting_encoder", "RecurrentSAC has no average of its encoder: take TESAC",
        accepted=(None, "online")),
    Row(REFUSED, RECURRENT_SAC, "encoder_critic_gradient", "Critics train the memory of RecurrentSAC",
        accepted=(True,)),
    Row(REFUSED, RECURRENT_SAC, "key_encoder averaged_context", "RecurrentSAC has no key encoder: take TESAC",
        accepted=(False,)),
    Row(IDLE, RECURRENT_SAC, f"{_CONTRAST} num_negatives", "RecurrentSAC has no contrast"),
    Row(REFUSED, SAPPO, "encoder_reward", NO_REWARDS, accepted=(False,)),
    Row(REFUSED, SKILL_DISCOVERY, "pairing encoder_loss", _NO_INFERENCE, accepted=(None,)),
    Row(REFUSED, SKILL_DISCOVERY, "acting_encoder", _NO_INFERENCE, accepted=(None, "online")),
    Row(REFUSED, SKILL_DISCOVERY, "context_dim", _NO_INFERENCE, accepted=(0,)),
    Row(REFUSED, SKILL_DISCOVERY, "encoder_reward normalize_inputs encoder_obs_delta key_encoder "
        "encoder_critic_gradient averaged_context", _NO_INFERENCE, accepted=(False,)),
    Row(REFUSED, SKILL_DISCOVERY, "mixed_precision", "Skill discovery computes in float32", accepted=(False,)),
    Row(IDLE, SKILL_DISCOVERY, "encoder_hidden_dim encoder_type encoder_lr normalize_context train_episodes "
        f"loss_timesteps {_CONTRAST}", "Skills are drawn, not inferred, and batches are single transitions"),
    Row(REFUSED, TASK_INFERENCE, "pairing encoder_loss", _PREDICTS, accepted=(None,)),
    Row(REFUSED, TASK_INFERENCE, "acting_encoder", "There is no average of its encoder", accepted=(None, "online")),
    Row(REFUSED, TASK_INFERENCE, "context_dim", "Its context is a latent: set `latent_dim`"),
    Row(REFUSED, NEURAL_PROCESS, "encoder_type", "Its encoder is a GRU", accepted=(None, "gru")),
    Row(REFUSED, TASK_INFERENCE, "encoder_type", "Set `window_encoder`", accepted=(None,)),
    Row(REFUSED, TASK_INFERENCE, "encoder_reward", "Its encoder always reads rewards", accepted=(True,)),
    Row(REFUSED, TASK_INFERENCE, "normalize_inputs encoder_obs_delta key_encoder encoder_critic_gradient "
        "averaged_context", "Its encoder reads transitions as they are", accepted=(False,)),
    Row(IDLE, TASK_INFERENCE, f"normalize_context train_episodes loss_timesteps num_negatives {_CONTRAST}",
        "Its encoder reads windows of transitions and learns to predict, without a contrast"),
    Row(REFUSED, WINDOWS, "pairing encoder_loss", _NO_TASKS, accepted=(None,)),
    Row(REFUSED, WINDOWS, "acting_encoder", _NO_TASKS, accepted=(None, "online")),
    Row(REFUSED, WINDOWS, "context_dim", _NO_TASKS, accepted=(0,)),
    Row(REFUSED, WINDOWS, "encoder_reward normalize_inputs encoder_obs_delta key_encoder encoder_critic_gradient "
        "averaged_context", _NO_TASKS, accepted=(False,)),
    Row(IDLE, SPIRL, "mixed_precision", "It computes in float32"),
    Row(REFUSED, SKIMO, "actor_hidden", "Its policy has the sizes of SkiMoPretrain, `num_units` and "
        "`latent_state_dim`", accepted=(None,)),
    Row(REFUSED, OF_SKILL_MODEL, "critic_hidden", "Its values have the sizes of SkiMoPretrain, `num_units` and "
        "`latent_state_dim`", accepted=(None,)),
    Row(IDLE, OF_SKILL_MODEL, "critic_lr", "Set `model_lr`, which is the rate of values, too"),
    Row(IDLE, SPIRL, "planner initial_plan num_plan_iterations num_plan_samples num_plan_policy_samples "
        "num_plan_elites plan_momentum plan_temperature plan_horizon_steps plan_std_steps initial_plan_std "
        "final_plan_std num_skills model_from_data model_lr consistency_coeff consistency_decay reward_coeff "
        "value_coeff actor_states prior_reg_critic", "SPiRL learns no model of what skills lead to, and plans nothing"),
    Row(IDLE, SKIMO, "target_entropy", "Its policy is kept near the prior: set `target_divergence`"),
    Row(REFUSED, TDMPC, "actor_hidden critic_hidden", "Its networks have `num_units` units and a "
        "`latent_state_dim`", accepted=(None,)),
    Row(IDLE, TDMPC, "critic_lr", "Set `model_lr`, which is the rate of values, too"),
    Row(IDLE, TDMPC, "target_entropy", "Its policy has a noise of its own: set `final_plan_std`"),
    Row(IDLE, TDMPC, "alpha_lr initial_alpha tune_alpha target_divergence prior_reg_critic actor_states "
        "model_from_data",
        "It has no prior"),
    Row(REFUSED, TDMPC, "num_skills", "Its windows have `plan_horizon` steps"),
    Row(REFUSED, SKIMO, "plan_horizon", "Its windows and plans have `num_skills` skills"),
    Row(IDLE, WINDOWS, "encoder_hidden_dim encoder_type encoder_lr normalize_context train_episodes loss_timesteps "
        f"num_negatives {_CONTRAST}", "It has no context encoder, and its batches are windows of steps"),
    Row(IDLE, FIXED_ENTROPY, "initial_alpha alpha_lr", "Its entropy coefficient is fixed: set `fixed_alpha`"),
    Row(IDLE, TUNED_ENTROPY, "fixed_alpha", "Its entropy coefficient is tuned: set `initial_alpha` and `alpha_lr`"),
    *(row for method in SKILL_METHODS for row in _settings_of_other_methods(method)),
    Row(MAPPED, SAMI, "encoder_critic_gradient", "`encoder_loss`"),
    Row(MAPPED, SAMI, "averaged_context key_encoder", "`acting_encoder`"),
)
# fmt: on
_NAMES = frozenset(name for row in FAMILY for name in row.names.split())


def former_settings(algorithm: str) -> list[str]:
    """Names of settings that saved configs of ``algorithm`` may have and that it lacks today."""
    return [name for row in FAMILY if row.of == algorithm for name in row.names.split()]


def is_of_others(config: Any, name: str) -> bool:
    """Whether ``name`` is a setting that ``config`` lacks, and that it translates or refuses."""
    row = None if name not in _NAMES or name in vars(config) else rows(FAMILY, readers(config)).get(name)
    return row is not None and row.fate in (MAPPED, REFUSED)


def todays_sami_settings(former: Mapping[str, Any]) -> dict[str, Any]:
    """SaMI's settings of today that stand for those of earlier versions."""
    todays: dict[str, Any] = {}
    if "encoder_critic_gradient" in former:
        todays["encoder_loss"] = None if former["encoder_critic_gradient"] else "contrast"
    if "averaged_context" in former:
        todays["acting_encoder"] = "average" if former["averaged_context"] else "online"
    return todays
