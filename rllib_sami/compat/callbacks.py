"""The user's callbacks: which of them do something, and calls of them with the arguments of RLlib's own runner.

Touches ``make_callback``, an env runner's ``_callbacks`` and the ``callbacks_...`` fields of a config.
"""

from typing import TYPE_CHECKING, Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.callbacks.utils import make_callback
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

if TYPE_CHECKING:
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

EPISODE_CALLBACKS = ("on_episode_created", "on_episode_start", "on_episode_step", "on_episode_end")


def listens_to_episodes(config: AlgorithmConfig) -> bool:
    """Whether the user's callbacks do something at any point of an episode."""
    given = config.callbacks_class
    classes = given if isinstance(given, list | tuple) else [given]
    return any(
        getattr(config, f"callbacks_{callback}", None)
        or any(getattr(cls, callback, None) is not getattr(RLlibCallback, callback) for cls in classes)
        for callback in EPISODE_CALLBACKS
    )


def call_on_environment_created(runner: "SingleAgentEnvRunner") -> None:
    """Calls the user's ``on_environment_created`` callbacks."""
    context = EnvContext(
        dict(runner.config.env_config), worker_index=runner.worker_index, num_workers=runner.num_workers
    )
    _call("on_environment_created", runner, env_context=context)


def call_on_episode(
    callback: str, runner: "SingleAgentEnvRunner", episode: SingleAgentEpisode, slot: int, **kwargs: Any
) -> None:
    """Calls the user's callbacks of a name in ``EPISODE_CALLBACKS``."""
    _call(callback, runner, episode=episode, rl_module=runner.module, env_index=slot, **kwargs)


def _call(callback: str, runner: "SingleAgentEnvRunner", **kwargs: Any) -> None:
    make_callback(
        callback,
        callbacks_objects=runner._callbacks,
        callbacks_functions=getattr(runner.config, f"callbacks_{callback}"),
        kwargs={"env_runner": runner, "metrics_logger": runner.metrics, "env": runner.env.unwrapped, **kwargs},
    )
