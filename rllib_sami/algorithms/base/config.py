"""The config that all algorithms of this package share: settings declared once, mistakes refused early."""

import copy
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, ClassVar

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.algorithms.base.health import Health
from rllib_sami.algorithms.base.split_episodes import split_grids
from rllib_sami.config.family_settings import former_settings, is_of_others
from rllib_sami.config.mapped_settings import adopt, translate
from rllib_sami.config.names import check_arguments, check_keys, refuse
from rllib_sami.config.rllib_ranges import rllib_values
from rllib_sami.config.rllib_settings import OURS
from rllib_sami.config.unused_settings import refusals, warn_of_unused
from rllib_sami.core.env_values import TaskIdRule
from rllib_sami.core.settings import Setting, integer, setting, settings_of
from rllib_sami.env_runners.splits import SplitGrid


@dataclass(frozen=True)
class ProcessSettings:
    """Settings of every process."""

    num_torch_threads: int | None = setting(
        1,
        integer(1).or_none(),
        "Threads of torch and numpy in each process (env runner or learner); None keeps their defaults. Small networks "
        "are fastest with few threads.",
    )


@dataclass(frozen=True)
class EnvironmentNeeds:
    """Requirements that an algorithm has of its environment.

    Attributes:
        task_ids: Whether infos must have task ids.
        num_tasks: Least number of tasks; checked if the environment has ``num_tasks``.
        constant_task: Whether all steps of an episode must be of one task.
        reads_rewards: Whether the agent reads rewards, which some environments' tasks differ in; None if it cannot.
        flat_actions: Whether actions must have a single axis.
        scaled_by_rllib: Whether RLlib's connectors scale the actions.
        conv_filters: The convolutions that read images, see ``ImageEncoder``; None if observations must not be images.
    """

    task_ids: TaskIdRule = "ignored"
    num_tasks: int = 1
    constant_task: bool = False
    reads_rewards: bool | None = True
    flat_actions: bool = False
    scaled_by_rllib: bool = False
    conv_filters: list[list[int]] | None = None


class BaseConfig(AlgorithmConfig):
    """Base of all configs; a mixin that comes before RLlib's config of the algorithm, if there is one.

    A subclass lists the dataclasses that declare its settings in ``parts``, in addition to those of its bases. Each
    setting is a field of the config and an argument of :meth:`training`; its value is checked in :meth:`validate`.
    """

    parts: ClassVar[tuple[type, ...]] = (ProcessSettings,)
    settings: ClassVar[dict[str, Setting]]  # all settings by name
    groups: ClassVar[tuple[str, ...]] = (OURS,)  # rows of `config` tables that apply, in addition to those of bases
    former_defaults: ClassVar[dict[str, Any]] = {}  # values of settings that configs of earlier versions lack

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        parts = [part for base in reversed(cls.__mro__) for part in vars(base).get("parts", ())]
        cls.settings = settings_of(*parts)
        cls.training = _documented_training(cls)  # type: ignore[method-assign]

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class)
        for one in self.settings.values():
            setattr(self, one.name, copy.deepcopy(one.default))
        self._adopted: dict[str, Any] = {}  # settings whose values come from RLlib's own settings; see `adopt`
        self.evaluation(evaluation_config=AlgorithmConfig.overrides(explore=False))

    def __setattr__(self, name: str, value: Any) -> None:
        # A setting of another algorithm or version is handled as in `training`; RLlib would just ignore it.
        if is_of_others(self, name):
            self.training(**{name: value})
        else:
            super().__setattr__(name, value)

    def __setitem__(self, name: str, value: Any) -> None:
        if is_of_others(self, name):
            setattr(self, name, value)
        else:
            super().__setitem__(name, value)

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = self.migrate_state(state)
        if not state.keys() >= self.settings.keys():  # of an earlier version
            state = vars(type(self)()) | state
        self.__dict__.update(state)

    @override(AlgorithmConfig)
    def training(self, **kwargs):
        mapped, kwargs = translate(self, self.rename_former_settings(kwargs))
        own = {key: kwargs.pop(key) for key in [*kwargs] if key in self.settings_of("training")}
        check_arguments(self, "training", kwargs)
        super().training(**kwargs)
        for key, value in (mapped | own).items():
            if value is not NotProvided:
                setattr(self, key, value)
        return self

    @classmethod
    def settings_of(cls, method: str) -> dict[str, Setting]:
        """The settings that are arguments of a method of the config."""
        return {name: one for name, one in cls.settings.items() if one.method == method}

    @override(AlgorithmConfig)
    def update_from_dict(self, config_dict: dict[str, Any]) -> "BaseConfig":
        mapped, rest = translate(self, self.rename_former_settings(config_dict))
        check_keys(self, rest)
        return super().update_from_dict(mapped | rest)

    @override(AlgorithmConfig)
    def validate(self) -> None:
        mistakes = self.mistakes()
        if not any(rllib_values(self)):  # some values make RLlib's checks loop forever, such as fragments of 0 steps
            try:
                super().validate()
            except ValueError as error:
                mistakes.append(str(error))
        refuse(mistakes)
        refuse([*self.conflicts()])
        warn_of_unused(self)
        compat.pool_means(self)

    def mistakes(self) -> list[str]:
        """Messages about single settings that are invalid or have no effect; also adopts RLlib's own settings."""
        return [*adopt(self), *self.invalid_values(), *refusals(self)]

    def invalid_values(self) -> Iterator[str]:
        """Messages about invalid values of single settings."""
        for name, one in self.settings.items():
            if message := one.allowed.refusal(name, getattr(self, name)):
                yield message
        yield from rllib_values(self)
        if not (self.enable_rl_module_and_learner and self.enable_env_runner_and_connector_v2):
            yield "`api_stack(...)` selects RLlib's old API stack, but only the new one works: leave it as it is."
        if self.is_multi_agent:
            yield "Multi-agent environments are not supported: leave `policies` as it is."

    def conflicts(self) -> Iterator[str]:
        """Messages about settings that exclude each other, checked once every single one is valid."""
        yield from ()

    def without_effect(self) -> dict[str, str]:
        """Names of settings that change nothing in combination with the others, with the reason for each."""
        return {}

    @classmethod
    @override(AlgorithmConfig)
    def from_state(cls, state: dict[str, Any]) -> "BaseConfig":
        return super().from_state(cls.migrate_state(state))

    def rename_former_settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Replaces settings of earlier versions by today's, with a warning."""
        return dict(given)

    @classmethod
    def migrate_state(cls, state: dict[str, Any]) -> dict[str, Any]:
        """Replaces or drops settings of earlier versions in a saved config."""
        former = {name for group in cls.groups for name in former_settings(group)}
        return cls.former_defaults | {key: value for key, value in state.items() if key not in former}

    @override(AlgorithmConfig)
    def get_state(self) -> dict[str, Any]:
        # RLlib drops every value of -1, which marks its deprecated fields: a `target_entropy` of -1 would become
        # "auto", and fields for which -1 is a mistake would silently get their defaults.
        defaults = vars(type(self)())
        meant = {
            key: value
            for key, value in vars(self).items()
            if isinstance(value, int | float) and value == -1 and defaults.get(key) != -1
        }
        return super().get_state() | meant

    # --- What other parts read from a config ------------------------------------------------------------------------

    @property
    def setting_readers(self) -> frozenset[str]:
        """The groups of algorithms that this config belongs to, as named in ``rllib_settings``."""
        return frozenset(group for base in type(self).__mro__ for group in vars(base).get("groups", ()))

    def read_environment(self, env: Any) -> None:
        """Takes what the config needs to know of the environment, which has been made to check it."""

    @property
    def environment_needs(self) -> EnvironmentNeeds:
        """The algorithm's requirements of its environment."""
        return EnvironmentNeeds()

    @property
    def task_id_rule(self) -> TaskIdRule:
        """Whether the environment's infos must have task ids."""
        return self.environment_needs.task_ids

    @property
    def can_evaluate_splits(self) -> bool:
        """Whether evaluation can play the fixed episodes of splits; otherwise it is RLlib's own."""
        return False

    def evaluation_grids(self) -> list[SplitGrid]:
        """Returns the episodes that evaluation during training plays; none where RLlib's own takes place.

        Raises:
            ValueError: They are impossible with this environment.
        """
        return split_grids(self)

    @property
    def trains_memory(self) -> bool:
        """Whether a loss of actor or critics trains a recurrent encoder."""
        return False

    @property
    def learner_metrics(self) -> list[str]:
        """Names of the metrics that learners report in addition to RLlib's."""
        return []

    def make_health(self) -> Health:
        """Makes the object that watches whether the agent learns."""
        return Health()

    def encoder_updates(self, learned: Mapping[str, Any]) -> float:
        """Gradient updates of the context encoder so far, from the learner's metrics; 0 if they do not say."""
        return 0


_INDENT: Any = {"initial_indent": 4 * " ", "subsequent_indent": 8 * " ", "break_long_words": False}


def _documented_training(cls: type[BaseConfig]) -> Any:
    """A config's ``training`` with a signature and docstring made from its settings."""

    def training(self, **kwargs):
        return super(cls, self).training(**kwargs)

    method = vars(cls).get("training", training)  # that of a user's subclass may have further arguments
    arguments = dict(inspect.signature(method).parameters)
    if "training" in vars(cls) and all(one.kind != Parameter.VAR_KEYWORD for one in arguments.values()):
        return method  # it takes no other settings
    variable = [name for name, one in arguments.items() if one.kind == Parameter.VAR_KEYWORD]
    kwargs = arguments.pop(variable[0]) if variable else Parameter("kwargs", Parameter.VAR_KEYWORD)
    settings = cls.settings_of("training").values()
    for one in settings:
        annotated = Parameter(one.name, Parameter.KEYWORD_ONLY, default=NotProvided, annotation=one.type | None)
        arguments.setdefault(one.name, annotated)
    method.__signature__ = inspect.Signature([*arguments.values(), kwargs])
    method.__qualname__ = f"{cls.__qualname__}.training"
    listed = "\n".join(
        textwrap.fill(f"{one.name}: {one.meaning} Must be {one.allowed.words}.", 110, **_INDENT) for one in settings
    )
    method.__doc__ = method.__doc__ or (
        "Sets the training related configuration; settings that are not given keep their values.\n\n"
        "docs/settings.md lists all settings by topic, with the default of each algorithm. Attributes of the config\n"
        f"hold their present values: ``{cls.__name__}().num_torch_threads``.\n\n"
        f"Args:\n{listed}\n"
        "    **kwargs: Further arguments of RLlib's ``training``. docs/settings.md says what happens to RLlib's other\n"
        "        settings.\n\n"
        "Returns:\n    This config.\n"
    )
    return method
