"""Samples for SaMI's updates: whole episodes, and episodes to contrast."""

from dataclasses import dataclass

import numpy as np

from rllib_sami.algorithms.sami.pairing import PAIRINGS, Pairs, draw_pairs
from rllib_sami.core.settings import integer, number, one_of, setting
from rllib_sami.replay_buffers.episode_store import EpisodeStore
from rllib_sami.replay_buffers.samplers import EpisodeSampling, draw_episodes, gather_episodes


@dataclass(frozen=True)
class ContrastSampling:
    """Settings of the contrast in one update."""

    pairing: str | None = setting(
        None,
        one_of((*PAIRINGS, None)),
        'Which episodes are contrasted: `"task"` (CCM), `"skill"` (SaTESAC), `"skill_task"` (SaCCM) or None (no '
        "contrast, TESAC); see `algorithms/sami/pairing.py`.",
    )
    contrast_episodes: int = setting(
        16,
        integer(4),
        "Episodes contrasted in one update; with too few, contexts of all tasks stay equal for a long time. They are "
        'divided among the tasks, at least four for each (two with `"task"`); if there are too many tasks for that, '
        "every update takes some of them.",
    )
    contrast_timesteps: int = setting(16, integer(1), "Queries from each episode.")
    num_negatives: int = setting(
        127,
        integer(1),
        'Negative keys of each query, `K - 1`: `sance_bound` cannot exceed `log K`. `"skill_task"` has this many '
        "of each kind.",
    )
    positive_fraction: float = setting(
        0.5,
        number("a number between 0 and 1", lambda x: 0 < x < 1),
        "Share of a task's episodes that counts as high return. 0.2 to 0.8.",
    )


@dataclass(frozen=True)
class SamplingConfig(ContrastSampling, EpisodeSampling):
    """Settings of one batch."""

    updates_per_batch: int = setting(
        1,
        integer(1),
        "Updates of actor and critics that share one batch of `train_episodes`, which is encoded once: each update "
        "learns from steps of many more episodes, at lower cost. They are made together, every `updates_per_batch / "
        "updates_per_env_step` steps. Above 1 only if the contrast alone trains the encoder.",
    )
    contrast_interval: int = setting(
        1,
        integer(1),
        "Updates of actor and critics for each update of the encoder; above 1 only if the contrast alone trains it. "
        "Divides `updates_per_batch`. 1 to 8.",
    )


def sample_updates(
    store: EpisodeStore, config: SamplingConfig, num_updates: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draws everything that ``U`` calls of ``update`` need; the updates themselves are deterministic.

    Args:
        store: The episodes, with at least one step.
        config: What to draw.
        num_updates: ``U``. Each comprises ``updates_per_batch`` updates of actor and critics and has as many times the
            steps.
        rng: Source of randomness.

    Returns:
        Arrays with a leading ``U``: those of ``samplers.gather_episodes`` and, if there is a contrast, those of
        :func:`sample_contrast`. If a batch has several contrasts, these have an axis of contrasts after ``U``.
    """
    episodes = draw_episodes(store.episodes, config.train_episodes, num_updates, rng)  # [U, B]
    num_contrasts = config.updates_per_batch // config.contrast_interval
    pairs = _draw_pairs(store.finished, config, num_updates * num_contrasts, rng)
    longest = int(episodes["length"].max())
    if pairs is not None:
        longest = max(longest, int(store.finished["length"][pairs.episodes].max()))
    num_steps = config.loss_timesteps and config.loss_timesteps * config.updates_per_batch
    batch = gather_episodes(store, episodes, num_steps, longest + 1, rng)
    if pairs is None:
        return batch
    contrasts = _contrast_arrays(store, pairs, longest + 1)
    if num_contrasts > 1:
        contrasts = {name: of.reshape(num_updates, num_contrasts, *of.shape[1:]) for name, of in contrasts.items()}
    return batch | contrasts


def sample_contrast(
    store: EpisodeStore, config: ContrastSampling, num_updates: int, rng: np.random.Generator
) -> dict[str, np.ndarray] | None:
    """Draws what the contrast of ``U`` updates needs.

    Args:
        store: Recent episodes with their tasks; only finished episodes are contrasted.
        config: What to draw.
        num_updates: ``U``.
        rng: Source of randomness.

    Returns:
        ``contrast_rows`` ``[U, E, R, F]`` (the episodes of ``pairing.Pairs``); ``query_index`` ``[U, G, n]``,
        ``positive_index`` ``[U, G, S, n]`` and ``negative_index`` ``[U, G, S, K-1]``, which are rows in ``[E * R]``;
        and ``return_gap`` ``[U]``. None if there is nothing to contrast: no ``pairing``, or too few episodes for it.
    """
    pairs = _draw_pairs(store.finished, config, num_updates, rng)
    if pairs is None:
        return None
    return _contrast_arrays(store, pairs, int(store.finished["length"][pairs.episodes].max()) + 1)


def _draw_pairs(
    finished: np.ndarray, config: ContrastSampling, num_updates: int, rng: np.random.Generator
) -> Pairs | None:
    if config.pairing is None or len(finished) == 0:
        return None
    return draw_pairs(
        finished,
        PAIRINGS[config.pairing],
        rng,
        num_updates=num_updates,
        num_episodes=config.contrast_episodes,
        queries_per_episode=config.contrast_timesteps,
        num_negatives=config.num_negatives,
        positive_fraction=config.positive_fraction,
    )


def _contrast_arrays(store: EpisodeStore, pairs: Pairs, num_rows: int) -> dict[str, np.ndarray]:
    return {
        "contrast_rows": store.gather(store.finished[pairs.episodes], num_rows),
        "query_index": pairs.query_episode * num_rows + pairs.query_step,
        "positive_index": pairs.positive_episode * num_rows + pairs.positive_step,
        "negative_index": pairs.negative_episode * num_rows + pairs.negative_step,
        "return_gap": pairs.return_gap.astype(np.float32),
    }
