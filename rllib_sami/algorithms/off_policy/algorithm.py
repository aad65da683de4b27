"""The off-policy loop as an RLlib algorithm."""

import logging
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.annotations import override

from rllib_sami import compat
from rllib_sami.algorithms.base.algorithm import CheckedAlgorithm
from rllib_sami.algorithms.off_policy.config import OffPolicyConfig
from rllib_sami.algorithms.off_policy.updating import UpdatingAlgorithm
from rllib_sami.checkpoints import arrays as array_files
from rllib_sami.checkpoints import files as checkpoint_files
from rllib_sami.core.env_values import TASK_ID, TaskIds
from rllib_sami.core.faults import Patience, warn_if_late
from rllib_sami.core.images import image_shape
from rllib_sami.core.metric_names import FINISHED_EPISODES
from rllib_sami.core.schedules import value_at
from rllib_sami.env_runners.recent_episodes import RecentEpisodes

logger = logging.getLogger(__name__)
REPLAY_BUFFER = "replay_buffer"
RECENT_EPISODES = "recent_episodes"
UPDATE_CREDIT = "update_credit"


class OffPolicyAlgorithm(UpdatingAlgorithm):
    """Sample, store, learn, synchronise. The learner says what an update is."""

    config_class: ClassVar[type[OffPolicyConfig]]

    @override(Algorithm)
    def setup(self, config: OffPolicyConfig) -> None:
        super().setup(config)
        obs_space, action_space = self.spaces[compat.DEFAULT_MODULE_ID]
        options = dict(self.config.replay_buffer_config)
        buffer_class = options.pop("type")
        if self.config.episode_fields:
            options["fields"] = self.config.episode_fields
        if images := image_shape(obs_space):
            options["images"] = images
        self.replay_buffer = buffer_class(
            int(np.prod(obs_space.shape)),
            int(np.prod(action_space.shape)),
            self.config.make_sampler(),
            seed=self.config.seed,
            **options,
        )
        self._updates_per_draw = self.config.updates_per_draw(obs_space, action_space)
        self.replay_buffer.task_ids = TaskIds(self.config.task_id_rule)
        self._update_credit = 0.0
        self._recent_episodes = RecentEpisodes(self.config.metrics_num_episodes_for_smoothing)
        self._patience = Patience(self.config.sample_timeout_s)

    @override(Algorithm)
    def _create_local_replay_buffer_if_necessary(self, config) -> None:
        return None  # RLlib would make one of its own types here, before the spaces are known

    @override(CheckedAlgorithm)
    def step(self) -> dict[str, Any]:
        results = super().step()
        results[REPLAY_BUFFER] = self.replay_buffer.get_metrics()
        sampled = results[compat.ENV_RUNNER_RESULTS]
        finished = sampled.pop(FINISHED_EPISODES, [])
        if self.config.has_array_runner:  # otherwise RLlib's own numbers are kept
            finished = finished if isinstance(finished, list) else [finished]  # RLlib unpacks lists of one
            sampled.update(self._recent_episodes.report(finished))
        return results

    @override(UpdatingAlgorithm)
    def learn_once(self) -> None:
        config = self.config
        warming_up, steps_before = self._is_warming_up(), compat.env_steps_sampled(self)
        remote = config.num_env_runners > 0
        overlaps = config.overlap_sampling and remote
        with self.metrics.log_time((compat.TIMERS, "sample")):
            if remote:
                compat.begin_sampling(self, random_actions=self._acts_randomly())  # unless the last call did
                episodes = compat.finish_sampling(self)
                self._patience.note(sum(len(episode) for episode in episodes), compat.num_lost_runners(self))
            else:
                with warn_if_late(config.sample_timeout_s):
                    episodes = compat.sample_locally(self, random_actions=self._acts_randomly())
        if config.has_array_runner:
            self._recent_episodes.begin(episode.custom_data[TASK_ID] for episode in episodes)
        with self.metrics.log_time((compat.TIMERS, "buffer_add")):
            self.replay_buffer.add(episodes)
            if not config.has_array_runner and not remote:
                # A local runner returns every episode in progress, unless an evaluation has ended it.
                self.replay_buffer.drop_all_but(episodes)
        if overlaps:
            # The env runners sample while the learners update, with weights from before the update. The next call
            # learns from these episodes.
            self._sync_weights()
            compat.begin_sampling(self, random_actions=self._acts_randomly())
        # The credit keeps the ratio of updates to environment steps the same for any number of runners.
        steps_now = compat.env_steps_sampled(self)
        num_steps = steps_now - steps_before if config.counts_inner_steps else sum(len(one) for one in episodes)
        credit = value_at(config.updates_per_env_step, steps_now) * num_steps
        if warming_up or self._is_refilling():
            self._update_credit += credit if warming_up and config.makes_up_for_warm_up else 0.0
            return
        self._update_credit += credit
        num_batches = int(self._update_credit / config.num_updates_per_batch)
        if num_batches == 0:
            return
        for begun in range(0, num_batches, self._updates_per_draw):
            size = min(self._updates_per_draw, num_batches - begun)
            with self.metrics.log_time((compat.TIMERS, "buffer_sample")):
                samples = [self.replay_buffer.sample(size) for _ in range(max(1, config.num_learners))]
            if samples[0] is None:
                return  # no episode has ended yet
            self._warn_of_sample(samples[0])
            with self.metrics.log_time((compat.TIMERS, "learner_update")):
                compat.update_learners(self, samples)
            self._update_credit -= size * config.num_updates_per_batch
            del samples  # before the next ones are drawn
        if not overlaps:
            self._sync_weights()

    def _sync_weights(self) -> None:
        with self.metrics.log_time((compat.TIMERS, "sync_weights")):
            compat.sync_weights(self)

    def _is_warming_up(self) -> bool:
        return compat.env_steps_sampled(self) < self.config.num_steps_sampled_before_learning_starts

    def _is_refilling(self) -> bool:
        """Whether the buffer has to fill again: restored without its episodes, or with few."""
        return self.replay_buffer.num_steps_since_restore < self.config.num_steps_sampled_before_learning_starts

    def _acts_randomly(self) -> bool:
        # RLlib's own runner would store random actions unnormalised and hide them from the encoder, so there the
        # untrained policy explores instead.
        return self._is_warming_up() and self.config.has_array_runner

    def _warn_of_sample(self, sample: dict[str, np.ndarray]) -> None:
        """Warns once of problems with the stored episodes that a sample shows."""

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
            # Written without a copy, for which memory might not suffice.
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
        # The folder may contain the buffer of an earlier checkpoint, which is not among this one's files.
        listed = manifest is None or any(name.startswith(f"{REPLAY_BUFFER}/") for name in manifest["files"])
        if listed and (folder / REPLAY_BUFFER).is_dir():
            self._restore_buffer(array_files.read_state(folder / REPLAY_BUFFER))

    @override(Algorithm)
    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self._update_credit = state.get(UPDATE_CREDIT, self._update_credit)
        if RECENT_EPISODES in state:
            self._recent_episodes.set_state(state[RECENT_EPISODES])
        if REPLAY_BUFFER in state:  # also in old checkpoints, which have no separate files for the buffer
            self._restore_buffer(state[REPLAY_BUFFER])

    def _restore_buffer(self, state: dict[str, Any]) -> None:
        self.replay_buffer.set_state(state)
        # A buffer's state has no episodes in progress, so further pieces of them could not be stored.
        compat.begin_new_episodes(self)
