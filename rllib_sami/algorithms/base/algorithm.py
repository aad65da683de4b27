"""What this package's algorithms share, whatever they build on: settings of the contrast, mistakes refused early."""

import logging
import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.algorithms.base.environment_checks import check_environment
from rllib_sami.algorithms.sami.contrast import BOUNDS_OF_BOTH, CONTRAST_METRICS
from rllib_sami.algorithms.sami.health import HEALTH, Health, symptoms, warning
from rllib_sami.checkpoints import files as checkpoint_files
from rllib_sami.checkpoints.compatibility import check_checkpoint
from rllib_sami.config.checks import context_values, rllib_values
from rllib_sami.config.mapped_settings import adopt, in_our_terms
from rllib_sami.config.names import check_arguments, check_keys, refuse
from rllib_sami.config.unused_settings import refusals, warn_of_unused
from rllib_sami.core.env_values import TaskIdRule

logger = logging.getLogger(__name__)
LAST_EPISODES = "last_episodes"


class ContextConfig(AlgorithmConfig):
    """Settings of context encoder and contrast; mixed into an algorithm's own config, before it."""

    encoder_reward = False  # a setting where the env runner hands rewards on
    flat_actions = False  # whether the losses take no others
    former_defaults: ClassVar[dict[str, Any]] = {"skill_weight": 1.0}  # what settings mean that a saved config lacks

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class)

        # Networks.
        self.context_dim = 6
        self.encoder_hidden_dim = 128
        self.encoder_type = "lstm"
        self.normalize_context = False
        self.actor_hidden = [256, 256]
        self.critic_hidden = [256, 256]

        # Contrast.
        self.pairing: str | None = None
        self.contrast_coeff = 0.1
        self.skill_weight = 1.0
        self.return_gap_weight = False
        self.objective = "sance"
        self.temperature = 0.1
        self.similarity = "cosine"
        self.contrast_episodes = 16
        self.contrast_timesteps = 16
        self.num_negatives = 127
        self.positive_fraction = 0.5
        self.key_encoder_tau = 0.05

        self.num_torch_threads: int | None = 1
        self._adopted: dict[str, Any] = {}  # what RLlib's own settings have set here, which newer ones may change
        self.evaluation(evaluation_config=AlgorithmConfig.overrides(explore=False))

    @override(AlgorithmConfig)
    def training(
        self,
        *,
        context_dim: int | None = NotProvided,
        encoder_hidden_dim: int | None = NotProvided,
        encoder_type: str | None = NotProvided,
        normalize_context: bool | None = NotProvided,
        actor_hidden: list[int] | None = NotProvided,
        critic_hidden: list[int] | None = NotProvided,
        pairing: str | None = NotProvided,
        contrast_coeff: float | None = NotProvided,
        skill_weight: float | None = NotProvided,
        return_gap_weight: bool | None = NotProvided,
        objective: str | None = NotProvided,
        temperature: float | None = NotProvided,
        similarity: str | None = NotProvided,
        contrast_episodes: int | None = NotProvided,
        contrast_timesteps: int | None = NotProvided,
        num_negatives: int | None = NotProvided,
        positive_fraction: float | None = NotProvided,
        key_encoder_tau: float | None = NotProvided,
        num_torch_threads: int | None = NotProvided,
        **kwargs,
    ) -> "ContextConfig":
        """Sets the configuration of context encoder and contrast; what is not given stays as it is.

        docs/settings.md has the default of each algorithm and the values that each setting takes; the ranges here are
        those worth trying.

        Args:
            context_dim: Width of the context. 2 to 20; the paper uses 6. SaMI takes 0 too: no encoder, no memory.
            encoder_hidden_dim: Hidden units of the context encoder. 32 to 256.
            encoder_type: Recurrent layer of the encoder, ``"lstm"`` or ``"gru"``.
            normalize_context: Whether contexts are put on the unit sphere.
            actor_hidden: Hidden layer sizes of the actor.
            critic_hidden: Hidden layer sizes of each critic (or value function).
            pairing: Which episodes are contrasted: ``"task"`` (CCM), ``"skill"`` (SaTESAC), ``"skill_task"`` (SaCCM)
                or None (no contrast, TESAC); see ``algorithms/sami/pairing.py``.
            contrast_coeff: Weight of the contrastive loss against the others. 0.01 to 1. Adam makes it matter only
                where another loss trains the encoder too.
            skill_weight: Weight of the contrast between skills beside that between tasks, which has 1; for
                ``"skill_task"``, which has both, and whose ``sance_bound`` is the weighted mean of ``skill_bound`` and
                ``task_bound``. What is a high return changes as the policy learns, and contexts with it: a large
                weight disturbs actor and critics. 0.05 to 1.
            return_gap_weight: Multiply ``contrast_coeff`` by the gap in mean reward between high- and low-return
                episodes and clip to [0, 1], as the authors' code does.
            objective: ``"sance"``, the K-sample softmax bound, or ``"binary_nce"``, independent logistic terms.
            temperature: What the contrast's scores are divided by. 0.05 to 1.
            similarity: ``"cosine"`` or ``"bilinear"`` (a trained matrix between query and key).
            contrast_episodes: Episodes contrasted in one update; with too few, contexts of all tasks stay equal for
                long. Shared out among tasks, at least four to each (two with ``"task"``); with more tasks than that,
                every update takes some of them.
            contrast_timesteps: Queries from each episode.
            num_negatives: Negative keys to each query, ``K - 1``: the bound cannot pass ``log K``. ``"skill_task"`` has
                so many of either kind.
            positive_fraction: Share of a task's episodes that counts as high return. 0.2 to 0.8.
            key_encoder_tau: Rate of the key encoder's moving average. 0.005 to 0.1.
            num_torch_threads: Threads of torch and numpy in each process (env runner or learner); None leaves their
                defaults. Small networks are fastest with few.
            **kwargs: Further arguments of the algorithm's ``training``.

        Returns:
            This config.
        """
        own = {key: value for key, value in locals().items() if key not in ("self", "kwargs", "__class__")}
        mapped, kwargs = in_our_terms(self, kwargs)
        check_arguments(self, "training", kwargs)
        super().training(**kwargs)
        self._set(mapped)
        self._set(own)
        return self

    def _set(self, given: dict[str, Any]) -> None:
        """Sets the fields that were given."""
        for key, value in given.items():
            if value is not NotProvided:
                setattr(self, key, value)

    @override(AlgorithmConfig)
    def update_from_dict(self, config_dict: dict[str, Any]) -> "ContextConfig":
        mapped, rest = in_our_terms(self, config_dict)
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
        """Messages about settings that are wrong, one for each."""
        yield from context_values(self)
        yield from rllib_values(self)

    def wrong_together(self) -> Iterator[str]:
        """Messages about settings that do not go together, looked at when each one is right."""
        yield from ()

    @classmethod
    @override(AlgorithmConfig)
    def from_state(cls, state: dict[str, Any]) -> "ContextConfig":
        return super().from_state(cls.former_defaults | state)

    @override(AlgorithmConfig)
    def get_state(self) -> dict[str, Any]:
        # RLlib leaves out every -1, its mark of deprecated fields: a `target_entropy` of -1 would become "auto", and
        # other fields, where it is a mistake, their default without a word.
        defaults = vars(type(self)())
        meant = {
            key: value
            for key, value in vars(self).items()
            if isinstance(value, int | float) and value == -1 and defaults.get(key) != -1
        }
        return super().get_state() | meant

    tells_context_std: ClassVar[bool] = True  # whether its learner does

    def reads_task_ids(self) -> bool:
        """Whether the environment's ``task_id`` means anything to the algorithm, so that a wrong one is an error."""
        return True

    @property
    def can_evaluate_splits(self) -> bool:
        """Whether evaluation may play the fixed episodes of splits; else it is RLlib's own."""
        return False

    @property
    def has_contrast(self) -> bool:
        """Whether there is a contrastive loss."""
        return self.pairing is not None and self.contrast_coeff > 0

    @property
    def trains_memory(self) -> bool:
        """Whether a loss of actor or critics trains the recurrent encoder."""
        return False

    @property
    def task_id_rule(self) -> TaskIdRule:
        """What the environment's infos must tell of tasks."""
        if self.has_contrast:
            return "each reset"
        return "each reset or none" if self.reads_task_ids() else "ignored"

    @property
    def contrast_metrics(self) -> list[str]:
        """Names of what learners report of the contrast."""
        both = self.pairing == "skill_task"  # only then each has a bound of its own
        return [name for name in CONTRAST_METRICS if self.has_contrast and (both or name not in BOUNDS_OF_BOTH)]

    def encoder_updates(self, learned: Mapping[str, Any]) -> float:
        """Gradient updates of the context encoder so far, by the learner's metrics; 0 where they do not tell."""
        return 0


class CheckedAlgorithm(Algorithm):
    """Looks at environment and checkpoints first; mixed into an algorithm, before it."""

    def __repr__(self) -> str:
        # RLlib's needs a config and so hides, in a Ray actor, the message of one that was refused.
        return type(self).__name__ if self.config is None else super().__repr__()

    @override(Algorithm)
    def setup(self, config: ContextConfig) -> None:
        check_environment(config)  # before any worker starts
        self._last_episodes = compat.episode_statistics([], [])
        super().setup(config)
        config = self.config
        pairing = config.pairing if config.has_contrast else None
        self._health = Health(pairing, config.context_dim, config.normalize_context, config.tells_context_std)
        self._warned: set[str] = set()

    @override(Algorithm)
    def step(self) -> dict[str, Any]:
        # Tune ends a whole search with an error where a result lacks the metric that it looks at.
        results = merged(self._metrics_to_come(), super().step())
        # Where no episode has ended, RLlib's own env runner reports NaN: those before it stand.
        self._last_episodes = compat.newest_episodes(results, self._last_episodes)
        results[compat.ENV_RUNNER_RESULTS].update(self._last_episodes)
        return results | self._look_after_health(results[compat.LEARNER_RESULTS][compat.DEFAULT_MODULE_ID])

    def _look_after_health(self, learned: Mapping[str, Any]) -> dict[str, dict[str, int]]:
        """Warns once of each symptom that has lasted for long; returns what the result says of them."""
        counts = self._health.look(learned, self.config.encoder_updates(learned))
        for name in symptoms(counts):
            if name not in self._warned:
                self._warned.add(name)
                logger.warning("%s", warning(name, counts[name], learned))
        return {HEALTH: counts} if counts else {}

    def _metrics_to_come(self) -> dict[str, Any]:
        """What results have until there is something to report."""
        learned = dict.fromkeys(self.config.contrast_metrics, math.nan)
        return {compat.ENV_RUNNER_RESULTS: {}, compat.LEARNER_RESULTS: {compat.DEFAULT_MODULE_ID: learned}}

    @override(Algorithm)
    def get_state(self, components=None, *, not_components=None, **kwargs) -> dict[str, Any]:
        state = super().get_state(components, not_components=not_components, **kwargs)
        health = {"since": self._health.get_state(), "warned": sorted(self._warned)}
        return state | {HEALTH: health, LAST_EPISODES: dict(self._last_episodes)}

    @override(Algorithm)
    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        if HEALTH in state:
            self._health.set_state(state[HEALTH]["since"])
            self._warned = set(state[HEALTH]["warned"])
        self._last_episodes = self._last_episodes | state.get(LAST_EPISODES, {})

    @override(Algorithm)
    def save_to_path(self, path=None, *, state=None, filesystem=None, use_msgpack=False) -> str:
        path = Path(tempfile.mkdtemp()) if path is None else path
        with checkpoint_files.written_aside(path, filesystem, compat.progress(self)) as folder:
            self._write_checkpoint(folder, state, use_msgpack)
        return str(path)

    @override(Algorithm)
    def restore_from_path(self, path, *args, component=None, filesystem=None, **kwargs) -> None:
        if component is not None:
            path = compat.absolute_path(path)
            super().restore_from_path(path, *args, component=component, filesystem=filesystem, **kwargs)
            return
        with checkpoint_files.as_local(path, filesystem) as folder:
            if folder.is_dir():  # else RLlib says so; checked before anything is loaded
                checkpoint_files.check_files(folder)
                check_checkpoint(self, folder)
            self._read_checkpoint(folder, *args, **kwargs)

    def _write_checkpoint(self, folder: Path, state: dict[str, Any] | None, use_msgpack: bool) -> None:
        """Writes all of a checkpoint into a local folder; ``state`` is what to write, None for what there is."""
        super().save_to_path(folder, state=state, use_msgpack=use_msgpack)

    def _read_checkpoint(self, folder: Path, *args, **kwargs) -> None:
        """Takes over a checkpoint from a local folder."""
        with compat.says_what_cannot_be_read(folder):
            super().restore_from_path(str(folder), *args, **kwargs)


def merged(defaults: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """Nested results, with defaults where they have nothing."""
    both = {key: merged(defaults[key], results[key]) for key in defaults if isinstance(results.get(key), Mapping)}
    return {**defaults, **results, **both}
