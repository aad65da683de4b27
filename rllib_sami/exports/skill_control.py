"""Tasks for an agent whose actions are skills: ``Skills/Control-v0``."""

from collections.abc import Mapping
from typing import Any

import gymnasium
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.tune.registry import register_env

from rllib_sami import compat
from rllib_sami.exports.composed import CONTROL
from rllib_sami.exports.played_skills import load_skills
from rllib_sami.hierarchy import LatentActionEnv

ENV_ID = CONTROL
OWN_SETTINGS = ("skills", "steps", "continuous")  # all others are those of the task


class SkillControl(LatentActionEnv):
    """An environment whose action is a skill, which a trained policy plays for some steps.

    .. code-block:: python

        env = gymnasium.make("Skills/Control-v0", env="Skills/HalfCheetahGoal-v0", skills="~/ray_results/half_cheetah")

    Actions are put on the unit sphere where skills are directions. One-hot skills make the action space discrete,
    unless ``continuous`` asks for a Box, whose largest number chooses the skill. Everything else is as in
    :class:`rllib_sami.hierarchy.LatentActionEnv`.

    Attributes:
        skill_model: The networks of skills that were learned from data (``SkiMoPretrain``); None for others.
        skills_trained_on: Name of the environment that the skills were learned in.

    Args:
        env: The task: an id, a class or the path of one. Its observation is that of the skills' environment; the task
            may append numbers of its own, such as a goal, which the skills do not read.
        skills: Checkpoint of a skill discovery algorithm or of ``SkiMoPretrain``, a trial or experiment (its newest
            checkpoint is taken), or an exported agent.
        steps: Steps of the body for each action; fewer where the episode ends. None: the length of skills that were
            learned from data, 25 for others.
        continuous: Whether the action space is a Box for one-hot skills, too, for higher levels that need one.
        env_config: Settings of the task.
        **more: Further settings of the task, such as ``render_mode``.

    Raises:
        ValueError: ``skills`` has no skills, or they do not fit the task.
    """

    def __init__(
        self,
        env: Any = None,
        skills: str | None = None,
        steps: int | None = None,
        continuous: bool = False,
        env_config: Mapping[str, Any] | None = None,
        **more: Any,
    ):
        for name, value, example in (("env", env, "Skills/HalfCheetahGoal-v0"), ("skills", skills, "CHECKPOINT")):
            if value is None:
                raise ValueError(f"{ENV_ID} needs {name!r} in its `env_config`, such as {{{name}: {example}}}.")
        played = load_skills(skills, steps, continuous)
        policy, self.skill_model, self.skills_trained_on = played.policy, played.model, played.trained_on
        task = make_task(env, env_config, **more)
        given = gymnasium.spaces.flatdim(task.observation_space)
        read = task.get_wrapper_attr("skill_obs_dim") if task.has_wrapper_attr("skill_obs_dim") else policy.obs_dim
        if given < policy.obs_dim or read != policy.obs_dim:
            task.close()
            raise ValueError(
                f"skills={str(skills)!r}: they read observations of {policy.obs_dim} numbers, but {env!r} gives "
                f"{min(given, read)}. Take the environment that they were trained on, or a task for its body."
            )
        super().__init__(
            task,
            policy,
            steps=played.steps,
            to_latent=played.to_latent,
            to_obs=None if given == policy.obs_dim else lambda obs: obs[: policy.obs_dim],
        )
        if played.discrete is not None:
            self.action_space = gymnasium.spaces.Discrete(played.discrete)


def make_task(env: Any, env_config: Mapping[str, Any] | None = None, **more: Any) -> gymnasium.Env:
    """Makes the task alone; arguments as of :class:`SkillControl`."""
    return compat.env_creator(AlgorithmConfig().environment(env, env_config={**(env_config or {}), **more}), 0, 0)()


def check_task(settings: Mapping[str, Any]) -> None:
    """Makes and closes the task of an ``env_config`` whose skills are still to be learned.

    Raises:
        Exception: Whatever the task raises, such as for a setting that it does not have.
    """
    if settings.get("env") is not None:
        make_task(**{name: value for name, value in settings.items() if name not in OWN_SETTINGS}).close()


def make(**settings: Any) -> SkillControl:
    """Makes the environment; see :class:`SkillControl`."""
    return SkillControl(**settings)  # Gymnasium would look for metadata in the class, which only its instances have


def register() -> None:
    """Registers the environment with Gymnasium and RLlib; doing so again changes nothing."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(ENV_ID, entry_point=f"{__name__}:{make.__name__}")
    register_env(ENV_ID, lambda context: make(**context))
