"""The limit on an episode's length, which Gymnasium keeps in a wrapper that the environment does not know."""

import copy
import sys

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import TimeLimit


def outer_time_limit(env: gymnasium.Env) -> int | None:
    """Returns the limit of the ``TimeLimit`` around an environment, None without one; call it in its ``reset``.

    ``gymnasium.make`` passes ``max_episode_steps`` only to the wrapper; the environment's own spec has None instead.
    During a reset, though, the wrappers of an environment are among its callers. The search ends at the first caller
    that is neither a wrapper nor part of Gymnasium.
    """
    frame = sys._getframe(2)
    limit = None
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, TimeLimit) and caller.unwrapped is env:
            limit = min(limit or caller._max_episode_steps, caller._max_episode_steps)
        if not isinstance(caller, gymnasium.Env) and not frame.f_globals.get("__name__", "").startswith("gymnasium."):
            break
        frame = frame.f_back  # type: ignore[assignment]
    return limit


def spec_with_limit(spec: EnvSpec | None, max_steps: int) -> EnvSpec | None:
    """Returns a spec with the length of episodes, if it has none yet."""
    if spec is not None and spec.max_episode_steps is None:
        spec = copy.copy(spec)
        spec.max_episode_steps = max_steps
    return spec
