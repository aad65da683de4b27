"""How far the imagined dynamics of skills stay with what really happened, over many skills in a row."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rllib_sami.algorithms.skimo.networks import SkillModel
from rllib_sami.core.env_values import name_of
from rllib_sami.datasets import Dataset
from rllib_sami.envs import ENVIRONMENTS
from rllib_sami.envs.maze import Maze
from rllib_sami.exports.agents import ExportedAgent
from rllib_sami.exports.checkpoints import load

logger = logging.getLogger(__name__)
MOST_SKILLS = 50
MOST_TRAJECTORIES = 200
SHARE = 0.1  # of the trajectories that are long enough, at least


@dataclass(frozen=True)
class OpenLoop:
    """Observations at the boundaries of skills, ``[n, K + 1, O]``."""

    real: np.ndarray
    imagined: np.ndarray

    def errors(self, places: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Returns the mean distances from what is real, after 0 to ``K`` skills.

        Args:
            places: Function from observations to what distances are measured in; None for the observations themselves.

        Returns:
            Those of what is imagined, and of staying where the trajectory began; both ``[K + 1]``.
        """
        real, imagined = (one if places is None else places(one) for one in (self.real, self.imagined))
        return tuple(np.linalg.norm(one - real, axis=-1).mean(axis=0) for one in (imagined, real[:, :1]))


def maze_of_data(dataset: Dataset) -> type[Maze] | None:
    """Returns the maze that a data set is of; None for other environments."""
    found = ENVIRONMENTS.get(str(dataset.about.get("env")))
    return found if found is not None and issubclass(found, Maze) else None


@torch.no_grad()
def open_loop(checkpoint: str | Path, dataset: Dataset) -> OpenLoop:
    """Imagines the trajectories of a data set from their first observations and their skills.

    The skills are the most likely ones of the trajectory's actions. As many in a row are imagined, at most
    ``MOST_SKILLS``, as a tenth of the trajectories have.

    Args:
        checkpoint: One of SkiMoPretrain.
        dataset: The data, best other ones than the model has learned from.

    Raises:
        ValueError: The checkpoint is of another algorithm, or the data do not fit it.
    """
    found = load(str(checkpoint))
    model: Any = getattr(found.module(), "acting", None)
    if not isinstance(model, SkillModel):
        raise ValueError(f"{checkpoint}: it has no model of skills. Give a checkpoint of SkiMoPretrain.")
    if (dataset.observation_dim, dataset.action_dim) != (model.obs_dim, model.action_dim):
        raise ValueError(
            f"{checkpoint}: it reads observations of {model.obs_dim} numbers and actions of {model.action_dim}, but "
            f"{dataset.folder} has {dataset.observation_dim} and {dataset.action_dim}."
        )
    env = found.trained_on if isinstance(found, ExportedAgent) else found.config.env
    if dataset.is_of_another(env):
        logger.warning(
            "%s: its skills are of %r, but the data %s of %r.",
            *(checkpoint, name_of(env), dataset.folder, dataset.about["env"]),
        )
    length = model.config.skill_length
    count = min(MOST_SKILLS, int(np.quantile(dataset.lengths, 1.0 - SHARE, method="lower")) // length)
    if count < 1:
        raise ValueError(f"{dataset.folder}: its trajectories are shorter than a skill of {length} steps.")
    long_enough = np.flatnonzero(dataset.lengths >= count * length)
    chosen = long_enough[np.linspace(0, len(long_enough) - 1, min(MOST_TRAJECTORIES, len(long_enough))).astype(int)]
    device = next(model.parameters()).device
    trajectories = [dataset[index] for index in chosen.tolist()]
    obs, actions = (
        torch.from_numpy(np.stack([np.array(part[:steps]) for part in parts])).to(device)
        for parts, steps in (
            ([one.observations for one in trajectories], count * length + 1),
            ([one.actions for one in trajectories], count * length),
        )
    )
    encoded = model.skill_policy.encoder(obs[:, :-1]).unflatten(1, (count, length))
    skills = model.encode_skills(actions.unflatten(1, (count, length)), encoded).mode
    latents = [model.state_encoder(obs[:, 0])]
    for index in range(count):
        latents.append(model.step_latent(latents[-1], skills[:, index]))
    imagined = model.decode(torch.stack(latents, dim=1))[0]
    return OpenLoop(obs[:, ::length].cpu().numpy(), imagined.cpu().numpy())
