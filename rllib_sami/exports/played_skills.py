"""Skills as actions: the policy that plays them, and which of them an action stands for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rllib_sami.algorithms.skimo.networks import SkillModel, SkillPolicyNetworks
from rllib_sami.core.env_values import name_of
from rllib_sami.core.settings import is_integer
from rllib_sami.exports.checkpoints import load
from rllib_sami.hierarchy import FrozenPolicy, unit_sphere

STEPS = 25  # of the body for each action, as in the paper of CSF
GAUSSIAN_SCALE = 1.5  # that of actions in [-1, 1], for skills from a normal distribution, as in the paper


@dataclass(frozen=True)
class PlayedSkills:
    """Skills as actions.

    Attributes:
        policy: Acts with a skill.
        steps: The most steps that a skill is played.
        to_latent: Maps an action, and the observation that it was chosen for, to a skill; None: the action is one.
        discrete: Number of skills, if actions are their numbers; None: actions are a Box.
        model: The networks of skills that were learned from data (``SkiMoPretrain``); None for others.
        trained_on: Name of the environment that they were learned in.
    """

    policy: FrozenPolicy
    steps: int
    to_latent: Callable[[Any, Any], np.ndarray] | None
    discrete: int | None
    model: SkillModel | None
    trained_on: str


def load_skills(skills: Any, steps: int | None = None, continuous: bool = False) -> PlayedSkills:
    """Loads skills.

    Args:
        skills: As for ``SkillControl``, and so are the others.
        steps: Likewise.
        continuous: Likewise.

    Raises:
        ValueError: ``skills`` has no skills.
    """
    if steps is not None and not (is_integer(steps) and steps >= 1):
        raise ValueError(f"steps={steps!r}: expected an integer >= 1.")
    if not Path(str(skills)).expanduser().exists():
        raise ValueError(
            f"skills={str(skills)!r}: no such folder. If it was moved, say where it is now, in `env_config`: "
            """`rllib evaluate ... --env-config '{"skills": "FOLDER"}'`."""
        )
    checkpoint = load(str(skills))
    module: Any = checkpoint.module()
    networks: Any = getattr(module, "acting", None)
    trained_on = getattr(checkpoint, "trained_on", None) or name_of(checkpoint.config.env)
    if isinstance(networks, SkillModel):
        played: Any = SkillPolicyNetworks(networks)
        policy = FrozenPolicy(played, module.action_space, latent_dim=played.skill_dim)
        steps = networks.config.skill_length if steps is None else steps
        return PlayedSkills(policy, steps, None, None, networks, trained_on)
    if not hasattr(module, "infer_skill"):
        raise ValueError(
            f"skills={str(skills)!r}: it has no skills. Give a checkpoint of SkiMoPretrain, or of CSF, METRA or "
            "another algorithm of skill discovery."
        )
    if networks.images is not None:
        raise ValueError(
            f"skills={str(skills)!r}: they read images, with which no task can be played here. Take skills that "
            "read the state, such as those of Skills/Quadruped-v0."
        )
    prior = networks.prior

    def of_one_hot(action: Any, obs: Any) -> np.ndarray:
        return np.eye(prior.dim, dtype=np.float32)[int(np.argmax(action) if continuous else action)]

    to_latent: dict[str, Any] = {
        "sphere": unit_sphere,
        "one_hot": of_one_hot,
        "gaussian": lambda action, obs: GAUSSIAN_SCALE * action,
    }
    discrete = prior.dim if prior.kind == "one_hot" and not continuous else None
    policy = FrozenPolicy(networks, module.action_space)
    steps = STEPS if steps is None else steps
    return PlayedSkills(policy, steps, to_latent.get(prior.kind), discrete, None, trained_on)
