"""Batches for skill discovery: transitions drawn uniformly from all that are stored, with their episodes' skills."""

import numpy as np

from rllib_sami.algorithms.skill_discovery.networks import IMAGES, SKILL
from rllib_sami.algorithms.skill_discovery.priors import SkillPrior
from rllib_sami.replay_buffers.episode_store import EpisodeStore
from rllib_sami.replay_buffers.samplers import draw_transitions


def sample_skill_steps(
    store: EpisodeStore,
    batch_size: int,
    prior: SkillPrior,
    num_prior_skills: int,
    num_updates: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Draws transitions and the randomness of updates.

    Args:
        store: The episodes, with at least one step, and with their skills.
        batch_size: Transitions ``N`` of one update.
        prior: The prior of skills.
        num_prior_skills: Skills ``K`` to draw from it for each update.
        num_updates: ``U``.
        rng: Source of randomness.

    Returns:
        * ``rows`` ``[U, N, 2, F]``, the two rows of each transition,
        * ``images`` ``[U, N, stack + 1, H W C]`` uint8, if observations are images,
        * ``skill`` ``[U, N, d]`` and ``prior_skills`` ``[U, K, d]``,
        * ``terminated`` ``[U, N]``, and ``noise`` ``[U, 2, N, A]``, standard normal.
    """
    lines, step = draw_transitions(store.episodes, batch_size, num_updates, rng)
    images = {} if store.images is None else {IMAGES: store.gather_images(lines, step)}
    return images | {
        "rows": store.gather_steps(lines, step[..., None] + np.arange(2)),
        SKILL: np.ascontiguousarray(lines[SKILL]),
        "prior_skills": prior.sample(rng, num_updates, num_prior_skills),
        "terminated": (lines["terminated"] & (step == lines["length"] - 1)).astype(np.float32),
        "noise": rng.standard_normal((num_updates, 2, batch_size, store.action_dim), dtype=np.float32),
    }
