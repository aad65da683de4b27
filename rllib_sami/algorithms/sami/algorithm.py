"""``SaMIConfig`` and ``SaMI``: the whole family as an RLlib algorithm."""

import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override
from ray.rllib.utils.typing import LearningRateOrSchedule
from ray.util.debug import log_once

from rllib_sami import compat
from rllib_sami.algorithms.base.algorithm import CheckedAlgorithm, ContextConfig, merged
from rllib_sami.algorithms.base.split_evaluation import EvaluatesSplits
from rllib_sami.algorithms.sami.health import LONG_EPISODE, episodes_do_not_end, nothing_to_contrast
from rllib_sami.algorithms.sami.learner import LEARNING_RATE_OF, NUM_UPDATES_LIFETIME, SaMITorchLearner
from rllib_sami.algorithms.sami.rl_module import SaMITorchRLModule
from rllib_sami.algorithms.sami.sampling import SamplingConfig
from rllib_sami.algorithms.sami.update import UPDATE_METRICS, UpdateConfig
from rllib_sami.checkpoints import arrays as array_files
from rllib_sami.checkpoints import files as checkpoint_files
from rllib_sami.config.checks import check_machine, sami_together, sami_values
from rllib_sami.config.names import check_arguments
from rllib_sami.core.env_values import TASK_ID, TaskIds
from rllib_sami.core.faults import Patience, warned_if_late
from rllib_sami.core.networks import NetworkConfig
from rllib_sami.core.schedules import Schedule, value_at
from rllib_sami.env_runners.array_env_runner import SaMIEnvRunner
from rllib_sami.env_runners.recent_episodes import FINISHED_EPISODES, RecentEpisodes

logger = logging.getLogger(__name__)
REPLAY_BUFFER = "replay_buffer"
RECENT_EPISODES = "recent_episodes"
UPDATE_CREDIT = "update_credit"


class SaMIConfig(ContextConfig):
    """Configuration of the whole family: soft actor-critic with a context encoder and a contrastive objective.

    .. code-block:: python

        from rllib_sami import SaCCMConfig

        config = (
            SaCCMConfig()
            .environment("SaMI/Ant-v0", env_config={"split": "train"})
            .env_runners(num_env_runners=1, num_envs_per_env_runner=8)
            .training(context_dim=6, num_negatives=127)
        )
        algo = config.build_algo()
        algo.train()

    The presets ``CCMConfig``, ``SaTESACConfig`` and ``SaCCMConfig`` differ only in ``pairing``. In ``TESACConfig`` the
    critics train the encoder (``encoder_critic_gradient``), at every update, and contexts are not on the sphere;
    ``RecurrentSACConfig`` does without tasks and key encoder, ``PlainSACConfig`` without encoder.
    """

    former_defaults: ClassVar[dict[str, Any]] = ContextConfig.former_defaults | {
        "updates_per_batch": 1,
        "contrast_interval": 1,
        "normalize_inputs": False,
        "encoder_obs_delta": False,
        "averaged_context": False,
    }

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or SaMI)

        # Networks.
        self.encoder_hidden_dim = 64
        self.encoder_reward = False
        self.normalize_inputs = True
        self.encoder_obs_delta = True

        # Contrast.
        self.contrast_interval = 1
        self.encoder_critic_gradient = True
        self.key_encoder = True
        self.averaged_context = False

        # Soft actor-critic.
        self.gamma = 0.99
        self.tau = 0.01
        self.actor_lr: LearningRateOrSchedule = 1e-3
        self.critic_lr: LearningRateOrSchedule = 1e-3
        self.alpha_lr: LearningRateOrSchedule = 1e-3
        self.encoder_lr: LearningRateOrSchedule = 1e-3
        self.lr = None  # each group of parameters has its own
        self.initial_alpha = 0.1
        self.target_entropy: str | float = "auto"
        self.grad_clip = None

        # Batches and schedule.
        self.train_episodes = 6
        self.loss_timesteps: int | None = 256
        # Many while episodes are few, so that learning starts soon; later steps cost time rather than teach more.
        self.updates_per_env_step: Schedule = [[0, 0.5], [10_000, 0.5], [20_000, 0.25], [60_000, 0.1]]
        self.updates_per_batch = 1
        self.overlap_sampling = True
        self.num_steps_sampled_before_learning_starts = 1_000
        self.replay_buffer_config = {"type": "TaskEpisodeReplayBuffer", "capacity": 400_000}
        self.store_buffer_in_checkpoints = True

        # Sampling, evaluation and reporting.
        self.evaluation_splits: list[str] | None = None
        self.evaluation(evaluation_duration=5)
        self.env_runner_cls = SaMIEnvRunner
        self.num_envs_per_env_runner = 8
        self.rollout_fragment_length = 25
        self.compile_update = False
        self.mixed_precision = False
        self.min_time_s_per_iteration = None  # iterations count steps, so that a seed gives the same run
        self.min_sample_timesteps_per_iteration = 1_000

    @override(AlgorithmConfig)
    def training(
        self,
        *,
        encoder_reward: bool | None = NotProvided,
        normalize_inputs: bool | None = NotProvided,
        encoder_obs_delta: bool | None = NotProvided,
        contrast_interval: int | None = NotProvided,
        encoder_critic_gradient: bool | None = NotProvided,
        key_encoder: bool | None = NotProvided,
        averaged_context: bool | None = NotProvided,
        tau: float | None = NotProvided,
        actor_lr: LearningRateOrSchedule | None = NotProvided,
        critic_lr: LearningRateOrSchedule | None = NotProvided,
        alpha_lr: LearningRateOrSchedule | None = NotProvided,
        encoder_lr: LearningRateOrSchedule | None = NotProvided,
        initial_alpha: float | None = NotProvided,
        target_entropy: str | float | None = NotProvided,
        train_episodes: int | None = NotProvided,
        loss_timesteps: int | None = NotProvided,
        updates_per_env_step: Schedule | None = NotProvided,
        updates_per_batch: int | None = NotProvided,
        overlap_sampling: bool | None = NotProvided,
        num_steps_sampled_before_learning_starts: int | None = NotProvided,
        replay_buffer_config: dict[str, Any] | None = NotProvided,
        store_buffer_in_checkpoints: bool | None = NotProvided,
        compile_update: bool | None = NotProvided,
        mixed_precision: bool | None = NotProvided,
        **kwargs,
    ) -> "SaMIConfig":
        """Sets the training related configuration; what is not given stays as it is.

        docs/settings.md lists all settings by theme, with the default of each algorithm and the values that each takes.
        Those of context encoder and contrast are described at ``help(ContextConfig.training)``. An attribute of the
        config has the present value: ``SaCCMConfig().skill_weight``.

        Args:
            encoder_reward: Whether the encoder reads the previous reward too; for tasks that only it tells apart.
            normalize_inputs: Whether the encoder standardises what it reads, by mean and standard deviation of the
                steps that were learned from. Contexts tell tasks apart several times sooner.
            encoder_obs_delta: Whether the encoder reads the change of the observation, ``o_t - o_{t-1}``, beside the
                observation. What an action did is then there to be read, which matters most where observations lack
                velocities.
            contrast_interval: Updates of actor and critics for each one of the encoder; above 1 only where the contrast
                alone trains it. Divides ``updates_per_batch``. 1 to 8.
            encoder_critic_gradient: Whether the critics' loss trains the encoder too.
            key_encoder: Whether there is a key encoder, a moving average of the encoder: the contrast's keys and the
                target critics' contexts come from it. Without one the target critics read the encoder's own.
            averaged_context: Whether actor and critics read the contexts of the key encoder rather than those of the
                encoder that is trained, which drift faster than they could follow. For an encoder that the contrast
                alone trains; ``key_encoder_tau`` says how slow.
            tau: Rate of the target critics' moving average.
            actor_lr: Learning rate (or schedule) of the actor.
            critic_lr: Learning rate (or schedule) of the critics.
            alpha_lr: Learning rate (or schedule) of the entropy coefficient.
            encoder_lr: Learning rate (or schedule) of the context encoder. Where the contrast alone trains it, Adam
                takes AMSGrad's steps, which get smaller as contexts tell tasks apart.
            initial_alpha: Entropy coefficient at the start.
            target_entropy: Entropy that the coefficient is tuned for; ``"auto"`` is minus the action dimension.
            train_episodes: Whole episodes in a batch (for each learner). Lower it where episodes have thousands of
                steps: a batch is held in memory as a whole.
            loss_timesteps: How many of their steps, drawn at random, enter the losses of an update; None takes all.
                Contexts come from whole episodes all the same.
            updates_per_env_step: Gradient updates of actor and critics for each environment step, whatever the number
                of env runners; a number or a schedule. 0.1 is one update every ten steps. A schedule that ends at 0
                stops learning there.
            updates_per_batch: Updates of actor and critics that share one batch of ``train_episodes``, encoded once:
                each then learns from steps of many more episodes, for less. They are made together, once for every
                ``updates_per_batch / updates_per_env_step`` steps. Above 1 only where the contrast alone trains the
                encoder.
            overlap_sampling: Whether remote env runners go on sampling while the learners update. They act with weights
                that are one round older then; the ratio of updates to steps stays exact. Without remote env runners
                it changes nothing.
            num_steps_sampled_before_learning_starts: Environment steps with random actions before the first update.
            replay_buffer_config: ``type`` (``"TaskEpisodeReplayBuffer"``, a subclass or its path, whose own arguments
                may stand beside it) and ``capacity`` in environment steps (each episode takes one more).
            store_buffer_in_checkpoints: Whether checkpoints hold the replay buffer. Without it a restored run first
                fills its buffer again.
            compile_update: Whether the losses of an update run through ``torch.compile``, on a GPU with CUDA graphs.
                Needs a C++ compiler; the first update takes up to a minute more. For GPUs: on a CPU it saves nothing.
            mixed_precision: Whether hidden layers of actor and critics compute in bfloat16. Their last layers, the
                encoder, the contrast, log-probabilities and all weights stay in float32. For processors that are fast
                at it: GPUs, and CPUs with AVX512-BF16 or AMX.
            **kwargs: Settings of encoder and contrast (``ContextConfig.training``): ``context_dim``,
                ``encoder_hidden_dim``, ``encoder_type``, ``normalize_context``, ``actor_hidden``, ``critic_hidden``,
                ``pairing``, ``contrast_coeff``, ``skill_weight``, ``return_gap_weight``, ``objective``,
                ``temperature``, ``similarity``, ``contrast_episodes``, ``contrast_timesteps``, ``num_negatives``,
                ``positive_fraction``, ``key_encoder_tau`` and ``num_torch_threads``. And of
                ``AlgorithmConfig.training`` ``gamma``, ``grad_clip`` and ``train_batch_size_per_learner``, which is
                another name of ``loss_timesteps``. What becomes of RLlib's other settings is in docs/settings.md.

        Returns:
            This config.
        """
        own = {key: value for key, value in locals().items() if key not in ("self", "kwargs", "__class__")}
        super().training(**kwargs)
        if isinstance(own["replay_buffer_config"], dict):
            own["replay_buffer_config"] = {**self.replay_buffer_config, **own["replay_buffer_config"]}
        self._set(own)
        return self

    @override(AlgorithmConfig)
    def evaluation(self, *, evaluation_splits: list[str] | None = NotProvided, **kwargs) -> "SaMIConfig":
        """Sets the configuration of evaluation during training.

        Of each split the same episodes are played every time, those of ``rllib evaluate``: ``evaluation_duration`` of
        each meta-task (5), with seeds that depend on nothing but split, meta-task and number of the episode (and on
        ``seed`` in ``evaluation_config``). Every result has ``evaluation/<split>/return_mean``, ``success_rate`` and
        ``return_by_task/<id>``: those of the newest evaluation, NaN before the first one.

        Args:
            evaluation_splits: Names of splits of the environment; ``"own"`` is for the meta-tasks that its
                ``env_config`` says. None is all of train, moderate and extreme that an environment of this package
                has, or the tasks that its ``env_config`` lists; with others, with a ``custom_evaluation_function`` and
                with another ``env_runner_cls``, it is RLlib's own evaluation, as [] is always: ``evaluation_duration``
                episodes of whatever the environment gives, under ``evaluation/env_runners``.
            **kwargs: Arguments of ``AlgorithmConfig.evaluation``, such as ``evaluation_interval``,
                ``evaluation_num_env_runners`` and ``evaluation_parallel_to_training``.

        Returns:
            This config.
        """
        check_arguments(self, "evaluation", kwargs)
        super().evaluation(**kwargs)
        if evaluation_splits is not NotProvided:
            self.evaluation_splits = evaluation_splits
        return self

    @override(ContextConfig)
    def wrong_values(self) -> Iterator[str]:
        yield from super().wrong_values()
        yield from sami_values(self)

    @override(ContextConfig)
    def wrong_together(self) -> Iterator[str]:
        yield from sami_together(self)

    @property
    @override(ContextConfig)
    def trains_memory(self) -> bool:
        return bool(self.context_dim and self.encoder_critic_gradient)

    @override(AlgorithmConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=SaMITorchRLModule)

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[SaMITorchLearner]:
        return SaMITorchLearner

    @property
    @override(AlgorithmConfig)
    def _model_config_auto_includes(self) -> dict[str, Any]:
        return super()._model_config_auto_includes | {
            key: getattr(self, key) for key in NetworkConfig.__dataclass_fields__
        }

    @override(ContextConfig)
    def encoder_updates(self, learned: Mapping[str, Any]) -> float:
        return learned.get(NUM_UPDATES_LIFETIME, 0) / self.contrast_interval

    @property
    def can_evaluate_splits(self) -> bool:
        """Whether evaluation is neither the user's own nor that of another env runner."""
        return self.has_array_runner and self.custom_evaluation_function is None

    @property
    def has_array_runner(self) -> bool:
        """Whether this package's env runner samples, not RLlib's or another one."""
        return isinstance(self.env_runner_cls, type) and issubclass(self.env_runner_cls, SaMIEnvRunner)

    def get_update_config(self, action_dim: int) -> UpdateConfig:
        """Constants of one gradient update for ``action_dim`` actions."""
        own = {key: getattr(self, key) for key in UpdateConfig.__dataclass_fields__ if hasattr(self, key)}
        return UpdateConfig(
            **own | {"target_entropy": -float(action_dim) if self.target_entropy == "auto" else self.target_entropy}
        )

    def get_sampling_config(self) -> SamplingConfig:
        """What one gradient update draws from the replay buffer."""
        own = {key: getattr(self, key) for key in SamplingConfig.__dataclass_fields__.keys() - {"whole_episodes"}}
        pairing = self.pairing if self.has_contrast else None
        return SamplingConfig(**own | {"pairing": pairing}, whole_episodes=self.context_dim > 0)


class SaMI(CheckedAlgorithm, EvaluatesSplits):
    """Skill-aware mutual information on soft actor-critic: sample, store, learn, synchronise."""

    @classmethod
    @override(Algorithm)
    def get_default_config(cls) -> SaMIConfig:
        return SaMIConfig()

    @override(Algorithm)
    def setup(self, config: SaMIConfig) -> None:
        check_machine(config)
        super().setup(config)
        obs_space, action_space = self.spaces[compat.DEFAULT_MODULE_ID]
        options = dict(self.config.replay_buffer_config)
        buffer_class = options.pop("type")
        self.replay_buffer = buffer_class(
            obs_space.shape[0],
            int(np.prod(action_space.shape)),
            self.config.get_sampling_config(),
            seed=self.config.seed,
            **options,
        )
        self.replay_buffer.task_ids = TaskIds(self.config.task_id_rule)
        self._update_credit = 0.0
        self._recent_episodes = RecentEpisodes(self.config.metrics_num_episodes_for_smoothing)
        self._patience = Patience(self.config.sample_timeout_s)

    @override(Algorithm)
    def _create_local_replay_buffer_if_necessary(self, config) -> None:
        # RLlib would make it here, before the spaces are known and from a closed list of types.
        return None

    @override(CheckedAlgorithm)
    def step(self) -> dict[str, Any]:
        results = super().step()
        results[REPLAY_BUFFER] = self.replay_buffer.get_metrics()
        sampled = results[compat.ENV_RUNNER_RESULTS]
        finished = sampled.pop(FINISHED_EPISODES, [])
        if self.config.has_array_runner:  # else RLlib's own numbers stand
            finished = finished if isinstance(finished, list) else [finished]  # RLlib unpacks a list of one
            sampled.update(self._recent_episodes.report(finished))
        return results

    @override(CheckedAlgorithm)
    def _metrics_to_come(self) -> dict[str, Any]:
        names = [name for name in UPDATE_METRICS if name != "context_std" or self.config.context_dim]
        names += [f"{optimizer}_learning_rate" for optimizer in LEARNING_RATE_OF]
        learned = {compat.DEFAULT_MODULE_ID: {**dict.fromkeys(names, math.nan), NUM_UPDATES_LIFETIME: 0}}
        learned = merged(learned, compat.nothing_trained(compat.DEFAULT_MODULE_ID))
        return merged(super()._metrics_to_come(), {compat.LEARNER_RESULTS: learned})

    @override(Algorithm)
    def training_step(self) -> None:
        config = self.config
        warming_up = self._is_warming_up()
        remote = config.num_env_runners > 0
        overlaps = config.overlap_sampling and remote
        with self.metrics.log_time((compat.TIMERS, "sample")):
            if remote:
                compat.begin_sampling(self, random_actions=self._acts_randomly())  # unless begun in the last call
                episodes = compat.finish_sampling(self)
                self._patience.note(sum(len(episode) for episode in episodes), compat.num_lost_runners(self))
            else:
                with warned_if_late(config.sample_timeout_s):
                    episodes = compat.sample_locally(self, random_actions=self._acts_randomly())
        if config.has_array_runner:
            self._recent_episodes.begin(episode.custom_data[TASK_ID] for episode in episodes)
        with self.metrics.log_time((compat.TIMERS, "buffer_add")):
            self.replay_buffer.add(episodes)
        if overlaps:
            # The env runners go on while the learners update; what they send is learned from in the next call. Their
            # weights come before, while they wait.
            self._sync_weights()
            compat.begin_sampling(self, random_actions=self._acts_randomly())
        if warming_up or self.replay_buffer.num_steps_since_restore < config.num_steps_sampled_before_learning_starts:
            return  # the second case: restored without the buffer, or with little in it, which has to fill first

        # A credit keeps the ratio of updates to environment steps the same for any number of runners.
        rate = value_at(config.updates_per_env_step, compat.env_steps_sampled(self))
        self._update_credit += rate * sum(len(episode) for episode in episodes)
        num_updates = int(self._update_credit / config.updates_per_batch)
        if num_updates == 0:
            return
        self._update_credit -= num_updates * config.updates_per_batch
        with self.metrics.log_time((compat.TIMERS, "buffer_sample")):
            samples = [self.replay_buffer.sample(num_updates) for _ in range(max(1, config.num_learners))]
        self._warn_of_episodes(samples[0])
        with self.metrics.log_time((compat.TIMERS, "learner_update")):
            compat.update_learners(self, samples)
        if not overlaps:
            self._sync_weights()

    def _sync_weights(self) -> None:
        with self.metrics.log_time((compat.TIMERS, "sync_weights")):
            compat.sync_weights(self)

    def _is_warming_up(self) -> bool:
        return compat.env_steps_sampled(self) < self.config.num_steps_sampled_before_learning_starts

    def _acts_randomly(self) -> bool:
        # RLlib's own runner stores random actions as the environment takes them, not normalised, and does not show them
        # to the encoder; there the untrained policy explores instead.
        return self._is_warming_up() and self.config.has_array_runner

    def _warn_of_episodes(self, sample: dict[str, np.ndarray]) -> None:
        """Says once that episodes do not end, or that none of them can be contrasted."""
        config, num_episodes = self.config, len(self.replay_buffer.store.finished)
        slots = max(1, config.num_env_runners) * config.num_envs_per_env_runner
        steps = compat.env_steps_sampled(self) // slots
        if config.context_dim and num_episodes == 0 and steps > LONG_EPISODE and log_once(f"{self.trial_id}-endless"):
            logger.warning("%s", episodes_do_not_end(steps, config.has_contrast))
        without = config.has_contrast and "contrast_rows" not in sample
        if without and num_episodes >= 100 and log_once(f"{self.trial_id}-no-contrast"):
            logger.warning("%s", nothing_to_contrast(num_episodes, config.pairing))

    # --- Checkpoints ------------------------------------------------------------------------------------------------

    @override(Algorithm)
    def get_state(self, components=None, *, not_components=None, **kwargs) -> dict[str, Any]:
        state = super().get_state(components, not_components=not_components, **kwargs)
        state[UPDATE_CREDIT] = self._update_credit
        state[RECENT_EPISODES] = self._recent_episodes.get_state()
        if self.config.store_buffer_in_checkpoints and self._check_component(REPLAY_BUFFER, components, not_components):
            state[REPLAY_BUFFER] = self.replay_buffer.get_state()
        return state

    @override(CheckedAlgorithm)
    def _write_checkpoint(self, folder: Path, state: dict[str, Any] | None, use_msgpack: bool) -> None:
        if state is None:
            state = self.get_state(not_components=REPLAY_BUFFER)
            # Written from where it lies: a large buffer's copy might not find room in memory.
            buffer = self.replay_buffer.get_state(copy=False) if self.config.store_buffer_in_checkpoints else None
        else:
            state = dict(state)
            buffer = state.pop(REPLAY_BUFFER, None)
        super()._write_checkpoint(folder, state, use_msgpack)
        if buffer is not None:
            array_files.write_state(folder / REPLAY_BUFFER, buffer)

    @override(CheckedAlgorithm)
    def _read_checkpoint(self, folder: Path, *args, **kwargs) -> None:
        super()._read_checkpoint(folder, *args, **kwargs)
        manifest = checkpoint_files.manifest_of(folder)
        # Of an earlier checkpoint in the same place there may be one that is none of this one's files.
        listed = manifest is None or any(name.startswith(f"{REPLAY_BUFFER}/") for name in manifest["files"])
        if listed and (folder / REPLAY_BUFFER).is_dir():
            self._restore_buffer(array_files.read_state(folder / REPLAY_BUFFER))

    @override(Algorithm)
    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self._update_credit = state.get(UPDATE_CREDIT, self._update_credit)
        if RECENT_EPISODES in state:
            self._recent_episodes.set_state(state[RECENT_EPISODES])
        if REPLAY_BUFFER in state:  # also of a checkpoint from before buffers had files of their own
            self._restore_buffer(state[REPLAY_BUFFER])

    def _restore_buffer(self, state: dict[str, Any]) -> None:
        self.replay_buffer.set_state(state)
        # Episodes in progress are not part of a buffer's state: what goes on with them could not be stored.
        compat.begin_new_episodes(self)
