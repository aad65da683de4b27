"""Windows of skills from finished episodes."""

import numpy as np

from rllib_sami.replay_buffers.episode_store import EpisodeStore


def sample_skill_windows(
    store: EpisodeStore,
    batch_size: int,
    num_skills: int,
    timeout_is_terminal: bool,
    reward_scale: float,
    num_updates: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray] | None:
    """Draws windows of skills.

    An episode is drawn uniformly, then a step of it; a window begins there, or so much earlier that it fits. So the
    last window of an episode, which has the reward of a sparse task, is drawn most often. In an episode that is shorter
    than a window, what follows its end weighs nothing.

    Args:
        store: The episodes. A step of them is a skill.
        batch_size: Windows ``B`` of one update.
        num_skills: Steps ``N`` of a window.
        timeout_is_terminal: Whether an episode that ran out of time counts as ended, so that its value is 0 there.
        reward_scale: What rewards are multiplied by.
        num_updates: ``U``.
        rng: Source of randomness.

    Returns:
        ``obs`` ``[U, B, N + 1, O]``, ``skills`` ``[U, B, N, Z]``, ``rewards``, ``terminated`` and ``weights``
        ``[U, B, N]``, and standard normal ``noise`` and ``next_noise`` ``[U, B, N, Z]``; None before the first episode
        has ended.
    """
    episodes = store.finished
    if len(episodes) == 0:
        return None
    shape = (num_updates, batch_size)
    lines = episodes[rng.integers(len(episodes), size=shape)]
    lengths = lines["length"]
    start = np.maximum(np.minimum((rng.random(shape) * lengths).astype(np.int64), lengths - num_skills), 0)
    rows = store.gather_steps(lines, start[..., None] + np.arange(num_skills + 1))  # [U, B, N + 1, F]
    step = start[..., None] + np.arange(num_skills)
    is_last = step == lengths[..., None] - 1
    ended = is_last if timeout_is_terminal else is_last & lines["terminated"][..., None]
    noise = rng.standard_normal((2, *step.shape, store.action_dim), dtype=np.float32)
    return {
        "obs": rows[..., : store.obs_dim],
        "skills": rows[..., 1:, store.obs_dim : -1],
        "rewards": reward_scale * rows[..., 1:, -1],
        "terminated": ended.astype(np.float32),
        "weights": (step < lengths[..., None]).astype(np.float32),
        "noise": noise[0],
        "next_noise": noise[1],
    }
