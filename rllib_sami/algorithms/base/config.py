"""The config that all algorithms of this package share: settings from one table, mistakes refused early."""

import copy
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, ClassVar

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.algorithms.base.health import Health
from rllib_sami.config.mapped_settings import adopt, in_our_terms
from rllib_sami.config.names import check_arguments, check_keys, nearest, refuse
from rllib_sami.config.rllib_ranges import rllib_values
from rllib_sami.config.rllib_settings import OURS
from rllib_sami.config.unused_settings import refusals, warn_of_unused
from rllib_sami.core.env_values import TaskIdRule
from rllib_sami.core.settings import Setting, integer, setting, settings_of


@dataclass(frozen=True)
class ProcessSettings:
    """Settings of every process."""

    num_torch_threads: int | None = setting(
        1,
        integer(1).or_none(),
        "Threads of torch and numpy in each process (env runner or learner); None leaves their defaults. Small "
        "networks are fastest with few.",
    )


@dataclass(frozen=True)
class EnvironmentNeeds:
    """What an algorithm needs of its environment.

    Attributes:
        task_ids: What the infos must tell of tasks.
        num_tasks: How many tasks there must be, where the environment says how many it has.
        reads_rewards: Whether the agent reads rewards where only these tell tasks apart; None where it could not.
        flat_actions: Whether actions must have one axis.
        scaled_by_rllib: Whether RLlib's connectors scale the actions.
    """

    task_ids: TaskIdRule = "ignored"
    num_tasks: int = 1
    reads_rewards: bool | None = True
    flat_actions: bool = False
    scaled_by_rllib: bool = False


class BaseConfig(AlgorithmConfig):
    """Mixed into an algorithm's own config, before it.

    A subclass lists the dataclasses whose fields are its settings in ``parts``; those of its bases are added. Each is a
    field of the config and an argument of :meth:`training`, and its value is checked in :meth:`validate`.
    """

    parts: ClassVar[tuple[type, ...]] = (ProcessSettings,)
    settings: ClassVar[dict[str, Setting]]  # all of them, by name
    former_defaults: ClassVar[dict[str, Any]] = {}  # what settings mean that an older config lacks

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        parts = [part for base in reversed(cls.__mro__) for part in vars(base).get("parts", ())]
        cls.settings = settings_of(*parts)
        cls.training = _documented_training(cls)  # type: ignore[method-assign]

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class)
        for one in self.settings.values():
            setattr(self, one.name, copy.deepcopy(one.default))
        self._adopted: dict[str, Any] = {}  # what RLlib's own settings have set here, which newer ones may change
        self.evaluation(evaluation_config=AlgorithmConfig.overrides(explore=False))

    @override(AlgorithmConfig)
    def training(self, **kwargs):
        mapped, kwargs = in_our_terms(self, self.in_todays_terms(kwargs))
        own = {key: kwargs.pop(key) for key in [*kwargs] if key in self.settings_of("training")}
        check_arguments(self, "training", kwargs)
        super().training(**kwargs)
        self._set(mapped | own)
        return self

    @classmethod
    def settings_of(cls, method: str) -> dict[str, Setting]:
        """The settings that a method of the config sets."""
        return {name: one for name, one in cls.settings.items() if one.method == method}

    def _set(self, given: Mapping[str, Any]) -> None:
        """Sets the settings that were given."""
        for key, value in given.items():
            if value is not NotProvided:
                setattr(self, key, value)

    @override(AlgorithmConfig)
    def update_from_dict(self, config_dict: dict[str, Any]) -> "BaseConfig":
        mapped, rest = in_our_terms(self, self.in_todays_terms(config_dict))
        check_keys(self, rest)
        return super().update_from_dict(mapped | rest)

    @override(AlgorithmConfig)
    def validate(self) -> None:
        mistakes = self.mistakes()
        if not any(rllib_values(self)):  # RLlib's checks never end with some of them, such as fragments of no step
            try:
                super().validate()
            except ValueError as error:
                mistakes.append(str(error))
        refuse(mistakes)
        refuse([*self.wrong_together()])
        warn_of_unused(self)
        compat.pool_means(self)

    def mistakes(self) -> list[str]:
        """Messages about all single settings that are wrong or without effect; takes RLlib's over in its own terms."""
        return [*adopt(self), *self.wrong_values(), *refusals(self)]

    def wrong_values(self) -> Iterator[str]:
        """Messages about single settings that are wrong."""
        for name, one in self.settings.items():
            value = getattr(self, name)
            if (message := one.allowed.refusal(name, value)) is not None:
                choices = one.allowed.choices
                yield message.removesuffix(".") + nearest(value, choices) if choices else message
        yield from rllib_values(self)
        if not (self.enable_rl_module_and_learner and self.enable_env_runner_and_connector_v2):
            yield "`api_stack(...)` selects RLlib's old API stack, but must be left as it is: only the new works."
        if self.is_multi_agent:
            yield "Multi-agent environments are not supported: `policies` must be left as it is."

    def wrong_together(self) -> Iterator[str]:
        """Messages about settings that do not go together, looked at when each one is right."""
        yield from ()

    def without_effect(self) -> dict[str, str]:
        """Names of the settings that change nothing with the others as they are, with the reason for each."""
        return {}

    @classmethod
    @override(AlgorithmConfig)
    def from_state(cls, state: dict[str, Any]) -> "BaseConfig":
        return super().from_state(cls.migrated(state))

    def in_todays_terms(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Settings under today's names; a warning says once what has become of a former one."""
        return dict(given)

    @classmethod
    def migrated(cls, state: dict[str, Any]) -> dict[str, Any]:
        """The state of a config that an earlier version saved, in today's terms."""
        return cls.former_defaults | state

    @override(AlgorithmConfig)
    def get_state(self) -> dict[str, Any]:
        # RLlib leaves out every -1, its mark of deprecated fields: a `target_entropy` of -1 would become "auto", and
        # other fields, where it is a mistake, would silently get their default.
        defaults = vars(type(self)())
        meant = {
            key: value
            for key, value in vars(self).items()
            if isinstance(value, int | float) and value == -1 and defaults.get(key) != -1
        }
        return super().get_state() | meant

    # --- What other parts ask of a config ---------------------------------------------------------------------------

    @property
    def setting_readers(self) -> frozenset[str]:
        """To whom this config belongs of those that ``rllib_settings`` names."""
        return frozenset({OURS})

    @property
    def environment_needs(self) -> EnvironmentNeeds:
        """What the algorithm needs of its environment."""
        return EnvironmentNeeds()

    @property
    def task_id_rule(self) -> TaskIdRule:
        """What the environment's infos must tell of tasks."""
        return self.environment_needs.task_ids

    @property
    def can_evaluate_splits(self) -> bool:
        """Whether evaluation may play the fixed episodes of splits; else it is RLlib's own."""
        return False

    @property
    def trains_memory(self) -> bool:
        """Whether a loss of actor or critics trains a recurrent encoder."""
        return False

    @property
    def learner_metrics(self) -> list[str]:
        """Names of what learners report, beside what RLlib's own report."""
        return []

    def make_health(self) -> Health:
        """What is looked at to tell whether the agent learns."""
        return Health()

    def encoder_updates(self, learned: Mapping[str, Any]) -> float:
        """Gradient updates of the context encoder so far, by the learner's metrics; 0 where they do not tell."""
        return 0


def _documented_training(cls: type[BaseConfig]) -> Any:
    """``training`` of a config, with the signature and the documentation that its settings give it."""

    def training(self, **kwargs):
        return super(cls, self).training(**kwargs)

    method = vars(cls).get("training", training)  # a user's own may have arguments of its own
    arguments = dict(inspect.signature(method).parameters)
    kwargs = arguments.pop("kwargs", Parameter("kwargs", Parameter.VAR_KEYWORD))
    settings = cls.settings_of("training").values()
    for one in settings:
        annotated = Parameter(one.name, Parameter.KEYWORD_ONLY, default=NotProvided, annotation=one.type | None)
        arguments.setdefault(one.name, annotated)
    method.__signature__ = inspect.Signature([*arguments.values(), kwargs])
    method.__qualname__ = f"{cls.__qualname__}.training"
    listed = "\n".join(f"    {one.name}: {one.meaning} Must be {one.allowed.words}." for one in settings)
    method.__doc__ = method.__doc__ or (
        "Sets the training related configuration; what is not given stays as it is.\n\n"
        "docs/settings.md lists all settings by theme, with the default of each algorithm. An attribute of the config\n"
        f"has the present value: ``{cls.__name__}().num_torch_threads``.\n\n"
        f"Args:\n{listed}\n"
        "    **kwargs: Further arguments of RLlib's ``training``. What becomes of RLlib's other settings is in\n"
        "        docs/settings.md.\n\n"
        "Returns:\n    This config.\n"
    )
    return method
