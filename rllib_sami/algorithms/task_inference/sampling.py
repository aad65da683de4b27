"""Batches for task inference: windows of the last transitions, and steps of the same episodes to predict."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rllib_sami.algorithms.task_inference.losses import UNKNOWN_FAMILY
from rllib_sami.core.settings import integer, setting
from rllib_sami.replay_buffers.episode_store import EpisodeStore
from rllib_sami.replay_buffers.samplers import draw_transitions, gather_windows


@dataclass(frozen=True)
class InferenceSampling:
    """Settings of a batch."""

    predicted_steps: int = setting(
        16,
        integer(1),
        "Random steps of a window's whole episode that its latent has to predict.",
    )


@dataclass(frozen=True)
class ProcessSampling:
    """Settings of a batch of a neural process."""

    predicted_steps: int = setting(5, integer(1), "Random transitions of a window's whole episode: the target.")
    latent_samples: int = setting(4, integer(1), "Latents that are drawn for each window to predict its target.")


def sample_windows(
    store: EpisodeStore, batch_size: int, window: int, predicted_steps: int, num_updates: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draws windows and what they predict.

    Args:
        store: The episodes, with at least one step.
        batch_size: Windows ``N`` of one update.
        window: Transitions ``T`` of a window.
        predicted_steps: Steps ``S`` to predict.
        num_updates: ``U``.
        rng: Source of randomness.

    Returns:
        The lines ``[U, N]`` of the windows' episodes in the store's table, and

        * ``rows`` ``[U, N, T + 2, F]``: those of the window before a step, and of the step itself,
        * ``num_missing`` ``[U, 2, N]``: transitions that the windows of the step and of the next one lack because they
          lie before the episode's start,
        * ``decoded`` ``[U, N, S, 2, F]``: the two rows of each step to predict,
        * ``terminated`` ``[U, N]`` and ``noise`` ``[U, 2, N, A]``, standard normal.
    """
    lines, step = draw_transitions(store.episodes, batch_size, num_updates, rng)
    predicted = (rng.random((*step.shape, predicted_steps)) * lines["length"][..., None]).astype(np.int64)
    rows, missing = gather_windows(store, lines, step, window)
    return lines, {
        "rows": rows,
        "num_missing": np.stack([missing, np.maximum(missing - 1, 0)], axis=1),
        "decoded": store.gather_steps(lines[..., None], predicted[..., None] + np.arange(2)),
        "terminated": (lines["terminated"] & (step == lines["length"] - 1)).astype(np.float32),
        "noise": rng.standard_normal((num_updates, 2, batch_size, store.action_dim), dtype=np.float32),
    }


def sample_inference(
    store: EpisodeStore,
    batch_size: int,
    window: int,
    predicted_steps: int,
    noise_dim: int,
    task_families: Sequence[int],
    num_updates: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Draws windows, what they predict, and the randomness of updates.

    Args:
        store: The episodes, with at least one step.
        batch_size: Windows ``N`` of one update.
        window: Transitions ``T`` of a window.
        predicted_steps: Steps ``S`` to predict.
        noise_dim: Random numbers ``E`` of a latent.
        task_families: Family of each meta-task; may be empty.
        num_updates: ``U``.
        rng: Source of randomness.

    Returns:
        The arrays of :func:`sample_windows`, and

        * ``first`` ``[U, N, F]``: the first row of the window's episode,
        * ``family`` ``[U, N]``,
        * ``latent_noise`` ``[U, 2, N, E]``, standard normal.
    """
    lines, batch = sample_windows(store, batch_size, window, predicted_steps, num_updates, rng)
    table, task_id = np.array([*task_families, UNKNOWN_FAMILY]), lines["task_id"]
    if len(task_families) and task_id.max() >= len(task_families):
        raise ValueError(
            f"An episode has the task_id {task_id.max()}, but the environment's `task_families` has the families of "
            f"{len(task_families)} tasks only. Give it one number for each task."
        )
    return batch | {
        "first": store.rows[lines["start"]],
        "family": table[np.where((task_id >= 0) & bool(task_families), task_id, -1)],
        "latent_noise": rng.standard_normal((num_updates, 2, batch_size, noise_dim), dtype=np.float32),
    }


def sample_process(
    store: EpisodeStore,
    batch_size: int,
    window: int,
    predicted_steps: int,
    latent_samples: int,
    latent_dim: int,
    num_updates: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Draws contexts and targets for a neural process, and the randomness of updates.

    Args:
        store: The episodes, with at least one step.
        batch_size: Contexts ``N`` of one update.
        window: Transitions ``T`` of a context.
        predicted_steps: Transitions ``S`` of a target.
        latent_samples: Latents ``K`` that are drawn for each context.
        latent_dim: ``L``.
        num_updates: ``U``.
        rng: Source of randomness.

    Returns:
        The arrays of :func:`sample_windows`, in which ``decoded`` is the target, and

        * ``order`` ``[U, N, T + S]``: a random order of the transitions of context and target,
        * ``latent_noise`` ``[U, K, N, L]``, standard normal.
    """
    _, batch = sample_windows(store, batch_size, window, predicted_steps, num_updates, rng)
    return batch | {
        "order": np.argsort(rng.random((num_updates, batch_size, window + predicted_steps)), axis=-1),
        "latent_noise": rng.standard_normal((num_updates, latent_samples, batch_size, latent_dim), dtype=np.float32),
    }
