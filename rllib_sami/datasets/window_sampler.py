"""Draws windows of steps from the trajectories of a data set."""

from dataclasses import dataclass

import numpy as np

from rllib_sami.datasets.dataset import Dataset


@dataclass(frozen=True)
class WindowSampler:
    """Draws windows: a trajectory uniformly, then the start uniformly within it.

    Attributes:
        dataset: The data.
        length: Steps ``L`` of a window.
        trajectories: Those to draw from, ``[n]``; each has ``L`` steps or more.
    """

    dataset: Dataset
    length: int
    trajectories: np.ndarray

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draws windows of a shape such as ``[U, B]``.

        Returns:
            ``obs`` ``[U, B, L + 1, O]``, ``actions`` ``[U, B, L, A]`` and ``terminated`` ``[U, B, L]``.
        """
        chosen = self.trajectories[rng.integers(len(self.trajectories), size=int(np.prod(shape)))]
        starts = (rng.random(len(chosen)) * (self.dataset.lengths[chosen] - self.length + 1)).astype(np.int64)
        obs, actions, terminated = self.dataset.windows(chosen, starts, self.length)
        named = {"obs": obs, "actions": actions, "terminated": terminated}
        return {name: values.reshape(*shape, *values.shape[1:]) for name, values in named.items()}


def split_trajectories(
    dataset: Dataset, length: int, validation: float, seed: int
) -> tuple[WindowSampler, WindowSampler | None]:
    """Divides the trajectories that are long enough into those for training and those for validation.

    Args:
        dataset: The data.
        length: Steps of a window.
        validation: Share of trajectories for validation; at least one if it is above 0 and there are two.
        seed: Of the choice.

    Raises:
        ValueError: No trajectory is long enough.
    """
    usable = np.flatnonzero(dataset.lengths >= length)
    if len(usable) == 0:
        raise ValueError(
            f"{dataset.folder}: no trajectory has {length} steps, which a window has (`skill_length` times "
            f"`num_skills`); the longest has {dataset.lengths.max()}. Lower `num_skills`."
        )
    number = 0 if validation == 0 else min(max(1, round(validation * len(usable))), len(usable) - 1)
    shuffled = np.random.default_rng(seed).permutation(usable)
    held_out = np.sort(shuffled[:number])
    held = WindowSampler(dataset, length, held_out) if number else None
    return WindowSampler(dataset, length, np.sort(shuffled[number:])), held
