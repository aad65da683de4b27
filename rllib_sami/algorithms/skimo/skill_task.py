"""What algorithms share whose actions are skills that were learned from data, and that begin with their prior."""

import logging
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.algorithms.base.config import BaseConfig
from rllib_sami.algorithms.off_policy.algorithm import OffPolicyAlgorithm
from rllib_sami.algorithms.off_policy.config import OffPolicyConfig
from rllib_sami.algorithms.off_policy.learner import OffPolicyTorchLearner
from rllib_sami.algorithms.skimo.networks import SkillModel, SkillModelConfig
from rllib_sami.algorithms.tdmpc.tdmpc import EpisodeWindowConfig
from rllib_sami.checkpoints.files import manifest_of
from rllib_sami.config.rllib_settings import SKIMO
from rllib_sami.config.unused_settings import warn_once
from rllib_sami.core.env_values import are_different, name_of
from rllib_sami.core.faults import closing
from rllib_sami.core.schedules import Schedule
from rllib_sami.core.settings import ABOVE_0, LEARNING_RATE, setting

logger = logging.getLogger(__name__)
SKILL_ENV = "Skills/Control-v0"
SKILLS = "skills"  # of a checkpoint's manifest: the checksum of the skills that its agent chooses from
# Sizes that are those of the pre-trained networks.
INHERITED = tuple(field.name for field in fields(SkillModelConfig) if field.name != "num_skills")


@dataclass(frozen=True)
class SkillTaskSettings:
    """Settings of staying near the prior."""

    alpha_lr: Schedule = setting(3e-4, LEARNING_RATE, "Learning rate (or schedule) of the divergence's coefficient.")
    initial_alpha: float = setting(
        1.0, ABOVE_0, "Coefficient of the divergence from the prior at the start; with `tune_alpha: false` throughout."
    )


class SkillTaskConfig(EpisodeWindowConfig):
    """Base of the configs. Steps are those of the task, not skills."""

    parts: ClassVar[tuple[type, ...]] = (SkillTaskSettings,)
    groups: ClassVar[tuple[str, ...]] = (SKIMO,)

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class)
        self.timeout_is_terminal = True
        self.updates_per_env_step = 0.02  # 10 every 500 steps
        self.num_steps_sampled_before_learning_starts = 5_000
        self.rollout_fragment_length = 6
        # Sizes of the pre-trained networks, and the most steps of a skill, once they have been read.
        self._skill_model: dict[str, Any] | None = None
        self._steps_of_skill = 1

    @override(BaseConfig)
    def read_environment(self, env: Any) -> None:
        super().read_environment(env)
        model = env.get_wrapper_attr("skill_model") if env.has_wrapper_attr("skill_model") else None
        if model is None:
            raise ValueError(
                f"{type(self).__name__.removesuffix('Config')} acts with skills that SkiMoPretrain has learned: set "
                f"`env` to '{SKILL_ENV}' and its `env_config` to {{env: Maze/Large-v0, skills: CHECKPOINT}}, with your "
                "task and your checkpoint."
            )
        given = gym.spaces.flatdim(env.observation_space)
        if given != model.obs_dim:
            raise ValueError(
                f"`env_config` has skills that were learned from observations of {model.obs_dim} numbers, but the "
                f"task {self.env_config.get('env')!r} gives {given}. The networks of the skills, which learning begins "
                "with, read no more. Take the environment of the data, or an algorithm with networks of its own, such "
                "as PlainSAC."
            )
        trained_on, task = env.get_wrapper_attr("skills_trained_on"), self.env_config.get("env")
        if are_different(trained_on, task):
            message = (
                f"the skills were learned in {trained_on!r}, but the task is {name_of(task)!r}. That works only if "
                "bodies and observations are the same."
            )
            warn_once(type(self).__name__.removesuffix("Config"), message, message)
        # An algorithm's config is frozen.
        self.__dict__["_skill_model"] = {name: getattr(model.config, name) for name in INHERITED}
        self.__dict__["_steps_of_skill"] = env.get_wrapper_attr("steps")

    @override(AlgorithmConfig)
    def environment(self, *args, **kwargs) -> "SkillTaskConfig":
        self._skill_model = None
        return super().environment(*args, **kwargs)

    @property
    def skill_model(self) -> dict[str, Any]:
        """Sizes of the pre-trained networks."""
        if self._skill_model is None and self.env is not None:  # no algorithm has checked the environment yet
            with closing(compat.env_creator(self, worker_index=0, slot=0)(), name_of(self.env)) as env:
                self.read_environment(env)
        return self._skill_model or {}

    @property
    @override(OffPolicyConfig)
    def why_array_runner(self) -> str:
        return "count skills, not the steps of the task, which schedules, updates and stop criteria go by"

    @property
    @override(OffPolicyConfig)
    def counts_inner_steps(self) -> bool:
        return True

    @property
    def steps_of_skill(self) -> int:
        """The most steps that a skill lasts in the task."""
        return self._steps_of_skill

    @property
    @override(OffPolicyConfig)
    def makes_up_for_warm_up(self) -> bool:
        return True

    @property
    @override(AlgorithmConfig)
    def _model_config_auto_includes(self) -> dict[str, Any]:
        return super()._model_config_auto_includes | {"gamma": self.gamma, "initial_alpha": self.initial_alpha}

    @override(BaseConfig)
    def without_effect(self) -> dict[str, str]:
        reasons = super().without_effect()
        if not self.tune_alpha:
            reasons |= dict.fromkeys(("target_divergence", "alpha_lr"), "`tune_alpha` is False")
        return reasons


def other_skills(checkpoint: Path, skills: int) -> str | None:
    """Returns a warning if a checkpoint's agent has learned with other skills than those of a checksum."""
    learned_with = (manifest_of(checkpoint) or {}).get(SKILLS)
    if learned_with in (None, skills):
        return None
    return (
        f"{checkpoint}: this agent has learned with other skills than those in its `env_config`, so what it chooses "
        "means something else here. Give it the skills that it was trained with."
    )


class SkillTaskTorchLearner(OffPolicyTorchLearner):
    """Base of the learners."""

    def load_model(self, model: SkillModel) -> None:
        """Gives the networks what was learned from data."""
        raise NotImplementedError

    def set_log_alpha(self, value: float) -> None:
        """Sets the logarithm of the divergence's coefficient."""
        for module in self._module.values():
            module.learning.log_alpha.data.fill_(value)


class SkillTask(OffPolicyAlgorithm):
    """Base of the algorithms, whose learner is a :class:`SkillTaskTorchLearner`."""

    config_class: ClassVar[type[SkillTaskConfig]]

    @override(Algorithm)
    def setup(self, config: SkillTaskConfig) -> None:
        super().setup(config)
        with closing(compat.env_creator(self.config, worker_index=0, slot=0)(), SKILL_ENV) as env:
            model = env.get_wrapper_attr("skill_model")
        self._skills = model.checksum()
        compat.foreach_learner(self, lambda learner: learner.load_model(model))
        compat.sync_weights(self)

    @override(OffPolicyAlgorithm)
    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self._keep_alpha()

    @override(OffPolicyAlgorithm)
    def _read_checkpoint(self, folder: Path, *args, **kwargs) -> None:
        super()._read_checkpoint(folder, *args, **kwargs)
        if warning := other_skills(folder, self._skills):
            logger.warning("%s", warning)
        self._keep_alpha()

    @override(OffPolicyAlgorithm)
    def _facts(self) -> dict[str, Any]:
        return super()._facts() | {SKILLS: self._skills}

    def _keep_alpha(self) -> None:
        """Gives a coefficient that is not tuned its present setting, which may differ from the checkpoint's."""
        if not self.config.tune_alpha:
            alpha = float(np.log(self.config.initial_alpha))
            compat.foreach_learner(self, lambda learner: learner.set_log_alpha(alpha))

    @override(OffPolicyAlgorithm)
    def _acts_randomly(self) -> bool:
        return False  # before it has learned, the policy is the prior, or as untrained as a random one

    @override(OffPolicyAlgorithm)
    def _is_refilling(self) -> bool:
        steps = self.replay_buffer.num_steps_since_restore * self.config.steps_of_skill  # the buffer counts skills
        return steps < self.config.num_steps_sampled_before_learning_starts
