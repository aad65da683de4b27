"""Windows of steps from finished episodes."""

import numpy as np

from rllib_sami.replay_buffers.episode_store import EpisodeStore


def sample_windows(
    store: EpisodeStore,
    batch_size: int,
    length: int,
    timeout_is_terminal: bool,
    reward_scale: float,
    num_updates: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray] | None:
    """Draws windows of steps.

    An episode is drawn uniformly, then a step of it; a window begins there, or so much earlier that it fits. So the
    last window of an episode, which has the reward of a sparse task, is drawn most often. In an episode that is shorter
    than a window, what follows its end weighs nothing.

    Args:
        store: The episodes.
        batch_size: Windows ``B`` of one update.
        length: Steps ``N`` of a window.
        timeout_is_terminal: Whether an episode that ran out of time counts as ended, so that its value is 0 there.
        reward_scale: What rewards are multiplied by.
        num_updates: ``U``.
        rng: Source of randomness.

    Returns:
        ``obs`` ``[U, B, N + 1, O]``, ``actions`` ``[U, B, N, A]``, ``rewards``, ``terminated`` and ``weights``
        ``[U, B, N]``, and standard normal ``noise`` and ``next_noise`` ``[U, B, N, A]``; None before the first episode
        has ended.
    """
    episodes = store.finished
    if len(episodes) == 0:
        return None
    shape = (num_updates, batch_size)
    lines = episodes[rng.integers(len(episodes), size=shape)]
    lengths = lines["length"]
    start = np.maximum(np.minimum((rng.random(shape) * lengths).astype(np.int64), lengths - length), 0)
    rows = store.gather_steps(lines, start[..., None] + np.arange(length + 1))  # [U, B, N + 1, F]
    step = start[..., None] + np.arange(length)
    is_last = step == lengths[..., None] - 1
    ended = is_last if timeout_is_terminal else is_last & lines["terminated"][..., None]
    noise = rng.standard_normal((2, *step.shape, store.action_dim), dtype=np.float32)
    return {
        "obs": rows[..., : store.obs_dim],
        "actions": rows[..., 1:, store.obs_dim : -1],
        "rewards": reward_scale * rows[..., 1:, -1],
        "terminated": ended.astype(np.float32),
        "weights": (step < lengths[..., None]).astype(np.float32),
        "noise": noise[0],
        "next_noise": noise[1],
    }
