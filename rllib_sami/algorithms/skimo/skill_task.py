"""What algorithms share whose actions are skills that were learned from data, and that begin with their prior."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.algorithms.base.config import BaseConfig
from rllib_sami.algorithms.off_policy.algorithm import OffPolicyAlgorithm
from rllib_sami.algorithms.off_policy.config import OffPolicyConfig
from rllib_sami.algorithms.skimo.networks import SkillModelConfig
from rllib_sami.algorithms.tdmpc.tdmpc import WindowLearningSettings
from rllib_sami.config.rllib_settings import SKIMO, WINDOWS
from rllib_sami.core.env_values import name_of
from rllib_sami.core.faults import closing
from rllib_sami.core.schedules import Schedule
from rllib_sami.core.settings import ABOVE_0, LEARNING_RATE, setting

SKILL_ENV = "Skills/Control-v0"
# Sizes that are those of the pre-trained networks.
INHERITED = tuple(field.name for field in fields(SkillModelConfig) if field.name != "num_skills")


@dataclass(frozen=True)
class SkillTaskSettings:
    """Settings of staying near the prior."""

    alpha_lr: Schedule = setting(3e-4, LEARNING_RATE, "Learning rate (or schedule) of the divergence's coefficient.")
    initial_alpha: float = setting(
        1.0, ABOVE_0, "Coefficient of the divergence from the prior at the start; with `tune_alpha: false` throughout."
    )


class SkillTaskConfig(OffPolicyConfig):
    """Base of the configs. Steps are those of the task, not skills."""

    parts: ClassVar[tuple[type, ...]] = (WindowLearningSettings, SkillTaskSettings)
    groups: ClassVar[tuple[str, ...]] = (WINDOWS, SKIMO)

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class)
        self.timeout_is_terminal = True
        self.updates_per_env_step = 0.02  # 10 every 500 steps
        self.num_steps_sampled_before_learning_starts = 5_000
        self.rollout_fragment_length = 6
        self._skill_model: dict[str, Any] | None = None  # sizes of the pre-trained networks, once it has been read

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
        # An algorithm's config is frozen.
        self.__dict__["_skill_model"] = {name: getattr(model.config, name) for name in INHERITED}

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
    def counts_inner_steps(self) -> bool:
        return True

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


class SkillTask(OffPolicyAlgorithm):
    """Base of the algorithms. Its learner has ``load_model(state)``, which takes what was learned from data."""

    config_class: ClassVar[type[SkillTaskConfig]]

    @override(Algorithm)
    def setup(self, config: SkillTaskConfig) -> None:
        super().setup(config)
        with closing(compat.env_creator(self.config, worker_index=0, slot=0)(), SKILL_ENV) as env:
            state = env.get_wrapper_attr("skill_model").state_dict()
        self.learner_group.foreach_learner(lambda learner: learner.load_model(state))
        compat.sync_weights(self)

    @override(OffPolicyAlgorithm)
    def _acts_randomly(self) -> bool:
        return False  # before it has learned, the policy is the prior

    @override(OffPolicyAlgorithm)
    def _is_refilling(self) -> bool:
        return False  # the sampler draws nothing until an episode has ended
