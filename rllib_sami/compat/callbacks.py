"""The user's callbacks: which of them do something, and calls of them with what RLlib's own runner hands them.

Touches ``make_callback``, an env runner's ``_callbacks`` and the ``callbacks_...`` fields of a config.
"""

from typing import TYPE_CHECKING, Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

if TYPE_CHECKING:
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

EPISODE_CALLBACKS = ("on_episode_created", "on_episode_start", "on_episode_step", "on_episode_end")


def call_on_environment_created(runner: "SingleAgentEnvRunner") -> None:
    """Calls the user's ``on_environment_created`` callbacks."""
    from ray.rllib.callbacks.utils import make_callback

    make_callback(
        "on_environment_created",
        callbacks_objects=runner._callbacks,
        callbacks_functions=runner.config.callbacks_on_environment_created,
        kwargs={
            "env_runner": runner,
            "metrics_logger": runner.metrics,
            "env": runner.env.unwrapped,
            "env_context": EnvContext(
                dict(runner.config.env_config), worker_index=runner.worker_index, num_workers=runner.num_workers
            ),
        },
    )


def listens_to(config: AlgorithmConfig, callback: str) -> bool:
    """Whether the user's callbacks do something at ``callback``, such as ``"on_episode_end"``."""
    classes = config.callbacks_class if isinstance(config.callbacks_class, list | tuple) else [config.callbacks_class]
    overridden = any(getattr(cls, callback, None) is not getattr(RLlibCallback, callback) for cls in classes)
    return overridden or bool(getattr(config, f"callbacks_{callback}", None))


def listens_to_episodes(config: AlgorithmConfig) -> bool:
    """Whether the user's callbacks do something at any point of an episode."""
    return any(listens_to(config, callback) for callback in EPISODE_CALLBACKS)


def call_on_episode(
    callback: str, runner: "SingleAgentEnvRunner", episode: SingleAgentEpisode, slot: int, **kwargs: Any
) -> None:
    """Calls the user's callbacks of a name in ``EPISODE_CALLBACKS`` with what RLlib's own runner hands them."""
    from ray.rllib.callbacks.utils import make_callback

    make_callback(
        callback,
        callbacks_objects=runner._callbacks,
        callbacks_functions=getattr(runner.config, f"callbacks_{callback}"),
        kwargs={
            "episode": episode,
            "env_runner": runner,
            "metrics_logger": runner.metrics,
            "env": runner.env.unwrapped,
            "rl_module": runner.module,
            "env_index": slot,
            **kwargs,
        },
    )
