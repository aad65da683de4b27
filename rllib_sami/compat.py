"""Every touch of an RLlib internal that may move between Ray releases (written for Ray 2.60)."""

import contextlib
import dataclasses
import functools
import importlib
import logging
import math
import os
import pickle
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import ray
import tree
from ray._private import ray_constants
from ray._private.utils import estimate_available_memory
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_LEARNER_GROUP, COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.env.utils.infinite_lookback_buffer import InfiniteLookbackBuffer
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.metrics import (
    ALL_MODULES,
    ENV_RUNNER_RESULTS,
    EPISODE_LEN_MAX,
    EPISODE_LEN_MEAN,
    EPISODE_LEN_MIN,
    EPISODE_RETURN_MAX,
    EPISODE_RETURN_MEAN,
    EPISODE_RETURN_MIN,
    EVALUATION_RESULTS,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_ENV_STEPS_TRAINED,
    NUM_ENV_STEPS_TRAINED_LIFETIME,
    NUM_EPISODES,
    NUM_EPISODES_LIFETIME,
    NUM_MODULE_STEPS_TRAINED,
    TIMERS,
)
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger
from ray.tune.registry import ENV_CREATOR, _global_registry

from .envs.registration import ENVIRONMENTS, make

logger = logging.getLogger(__name__)
SAMPLING = "sample"  # tag of the calls that go on during updates
PLAYING = "play"  # tag of the calls of an evaluation
POLL_S = 0.02  # between two looks for what evaluation runners have finished

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm
    from ray.rllib.connectors.connector_v2 import ConnectorV2
    from ray.rllib.core.learner.learner import Learner
    from ray.rllib.env.env_runner_group import EnvRunnerGroup
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

__all__ = [
    "DEFAULT_MODULE_ID",
    "ENV_RUNNER_RESULTS",
    "EVALUATION_RESULTS",
    "LEARNER_RESULTS",
    "NUM_ENV_STEPS_SAMPLED_LIFETIME",
    "TIMERS",
]

MODULE_IN_CHECKPOINT = f"{COMPONENT_LEARNER_GROUP}/{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}/{DEFAULT_MODULE_ID}"

EPISODE_CALLBACKS = ("on_episode_created", "on_episode_start", "on_episode_step", "on_episode_end")

# Keys of dict configs that are no fields: RLlib gives them a meaning of its own.
SPECIAL_CONFIG_KEYS = {"_enable_new_api_stack", "multiagent", "class"}


def present_name(config: AlgorithmConfig, key: str) -> str:
    """The name that a dict config's key has today."""
    return config._translate_special_keys(key, warn_deprecated=False)


def user_model_config(config: AlgorithmConfig) -> dict[str, Any]:
    """What the user gave as ``rl_module(model_config=...)``."""
    given = config._model_config
    return given if isinstance(given, dict) else dataclasses.asdict(given)


def new_episode_id() -> str:
    """An id as RLlib's episodes have."""
    return uuid.uuid4().hex


def episode_from_arrays(
    *,
    id_: str,
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    info: dict[str, Any],
    last_info: dict[str, Any],
    terminated: bool,
    truncated: bool,
    t_started: int,
) -> SingleAgentEpisode:
    """An episode (piece) over arrays ``[n + 1, O]``, ``[n, A]`` and ``[n]``; all but the last share one info dict."""
    return SingleAgentEpisode(
        id_=id_,
        observations=InfiniteLookbackBuffer(data=observations),
        actions=InfiniteLookbackBuffer(data=actions),
        rewards=InfiniteLookbackBuffer(data=rewards),
        infos=InfiniteLookbackBuffer(data=[info] * len(actions) + [last_info]),
        terminated=terminated,
        truncated=truncated,
        t_started=t_started,
        len_lookback_buffer=0,
    )


def may_be_made(env: str) -> bool:
    """Returns whether ``env`` is an id known here, or a path that something could be imported from."""
    return is_registered(env) or "." in env or ":" in env


def env_creator(config: AlgorithmConfig, worker_index: int, slot: int) -> Callable[[], gym.Env]:
    """Makes the environment of one slot, with an ``EnvContext`` that knows its runner and slot.

    ``config.env`` may be a name in RLlib's registry, a Gymnasium id (``"module:Name-v0"`` too), a class or a
    callable that takes the context, or the dotted path of one.

    Raises:
        ValueError: If ``config.env`` is none of these.
    """
    context = EnvContext(
        dict(config.env_config),
        worker_index=worker_index,
        vector_index=slot,
        num_workers=config.num_env_runners,
        remote=config.remote_worker_envs,
    )
    env = config.env
    if env is None:
        raise ValueError("`env` is not set. Give one with `config.environment('SaMI/Ant-v0')`.")
    if isinstance(env, str):
        if _global_registry.contains(ENV_CREATOR, env):
            creator = _global_registry.get(ENV_CREATOR, env)
            return lambda: creator(context)
        if env.rpartition(":")[2] in ENVIRONMENTS:  # that registry is emptied as Ray shuts down
            return lambda: make(env, **context)
        if ":" in env or env in gym.registry:
            return lambda: gym.make(env, **context)
        env = load_class(
            env,
            "env",
            "It is no name in RLlib's registry either (`ray.tune.register_env`), nor a Gymnasium id; the environments "
            "of this package are listed by `rllib envs`.",
        )
    return lambda: env(context)


def is_registered(env: Any) -> bool:
    """Whether an environment's name is in RLlib's or Gymnasium's registry, so that making it imports nothing."""
    return isinstance(env, str) and (_global_registry.contains(ENV_CREATOR, env) or env in gym.registry)


def load_class(path: str, key: str, hint: str = "") -> Any:
    """The class (or callable) at a dotted path.

    Raises:
        ValueError: If it cannot be imported, naming the config's ``key``.
    """
    module_name, _, attribute = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError):
        raise ValueError(f"`{key}` is {path!r}, but no class could be imported from there. {hint}".strip()) from None


def runner_spaces(env: gym.vector.VectorEnv) -> dict[str, tuple[gym.Space, gym.Space]]:
    """Spaces as RLlib's env runners report them."""
    single = (env.single_observation_space, env.single_action_space)
    return {
        INPUT_ENV_SPACES: (env.observation_space, env.action_space),
        INPUT_ENV_SINGLE_SPACES: single,
        DEFAULT_MODULE_ID: single,
    }


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


def freeze_statistics(pipeline: "ConnectorV2") -> None:
    """Lets connectors that keep statistics of what they see, such as ``MeanStdFilter``, only use those they have."""
    for piece in getattr(pipeline, "connectors", []):
        freeze_statistics(piece)
    if hasattr(pipeline, "_update_stats"):
        pipeline._update_stats = False


def registered_creator(env: Any) -> Callable[[EnvContext], gym.Env] | None:
    """What makes an environment that was registered here (RLlib, Gymnasium) by name, for processes without that entry.

    None for those of this package, which are registered everywhere, and for what is no registered name.
    """
    if not is_registered(env) or env in ENVIRONMENTS:
        return None
    if _global_registry.contains(ENV_CREATOR, env):
        return _global_registry.get(ENV_CREATOR, env)
    spec = gym.spec(env)
    return lambda context: gym.make(spec, **context)


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


def _episode_statistics(returns: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
    """Return and length of finished episodes under RLlib's names: mean, smallest and largest."""
    return {
        EPISODE_RETURN_MEAN: float(returns.mean()),
        EPISODE_RETURN_MIN: float(returns.min()),
        EPISODE_RETURN_MAX: float(returns.max()),
        EPISODE_LEN_MEAN: float(lengths.mean()),
        EPISODE_LEN_MIN: float(lengths.min()),
        EPISODE_LEN_MAX: float(lengths.max()),
    }


def log_recent_episodes(metrics: MetricsLogger, returns: np.ndarray, lengths: np.ndarray) -> None:
    """Logs return and length of finished episodes under RLlib's names."""
    reduced_by = {EPISODE_RETURN_MIN: "min", EPISODE_LEN_MIN: "min", EPISODE_RETURN_MAX: "max", EPISODE_LEN_MAX: "max"}
    for key, value in _episode_statistics(returns, lengths).items():
        metrics.log_value(key, value, reduce=reduced_by.get(key, "mean"), window=1)


def sample_locally(algorithm: "Algorithm", *, random_actions: bool) -> list[SingleAgentEpisode]:
    """One round of sampling of the local env runner; its metrics go to the algorithm's logger."""
    runner = algorithm.env_runner_group.local_env_runner
    episodes = runner.sample(random_actions=random_actions)
    algorithm.metrics.aggregate([runner.get_metrics()], key=ENV_RUNNER_RESULTS)
    return episodes


def begin_sampling(algorithm: "Algorithm", *, random_actions: bool) -> None:
    """Starts a round of sampling of all remote env runners that are not at it already; does not wait."""

    def sample(runner: Any) -> tuple[list[SingleAgentEpisode], Any, Exception | None]:
        try:
            return runner.sample(random_actions=random_actions), runner.get_metrics(), None
        except Exception as error:  # RLlib would wait a minute, end the runner and begin anew, for ever if need be
            return [], None, error

    algorithm.env_runner_group.foreach_env_runner_async(sample, tag=SAMPLING)


def finish_sampling(algorithm: "Algorithm") -> list[SingleAgentEpisode]:
    """Waits for the rounds that were begun, as :func:`sample_locally` does.

    Rounds of env runners that were lost are missing; RLlib makes them anew (``restart_failed_env_runners``). So are
    those of runners that hang, which are ended here.

    Raises:
        Exception: What an environment raised in an env runner.
        TimeoutError: If a runner hangs and may not be made anew.
    """
    group = algorithm.env_runner_group
    manager, limit = group._worker_manager, algorithm.config.sample_timeout_s
    rounds = []
    for result in manager.fetch_ready_async_reqs(tags=SAMPLING, timeout_seconds=limit):
        if result.ok:
            episodes, metrics, error = result.get()
            if error is not None:
                raise error  # as a local env runner does
            rounds.append((result.actor_id, episodes, metrics))
    for tag, actor_id in list(manager._in_flight_req_to_actor_id.values()):
        if tag != SAMPLING or not manager.is_actor_healthy(actor_id):
            continue
        late = f"Env runner {actor_id} has not answered for {limit:g} s (`sample_timeout_s`)"
        again = algorithm.config.restart_failed_env_runners
        ray.kill(manager.actors()[actor_id], no_restart=not again)  # else stopping would wait for it
        if not again:
            raise TimeoutError(
                f"{late}, and `restart_failed_env_runners` is False. Does its environment hang? If it is only slow, "
                "raise `sample_timeout_s` or lower `rollout_fragment_length`."
            )
        logger.warning("%s: it is ended and made anew, its episodes are lost.", late)
    # In the order of the runners, not of their speed, so that a run can be repeated.
    rounds.sort(key=lambda one: one[0])
    algorithm.metrics.aggregate([metrics for *_, metrics in rounds], key=ENV_RUNNER_RESULTS)
    return [episode for _, episodes, _ in rounds for episode in episodes]


def num_lost_runners(algorithm: "Algorithm") -> int:
    """Remote env runners that are not there, or not yet again."""
    group = algorithm.env_runner_group
    return group.num_remote_env_runners() - group.num_healthy_remote_workers()


@contextlib.contextmanager
def says_which_learner_was_lost(algorithm: "Algorithm") -> Iterator[None]:
    """Turns the loss of a learner's process, whose networks and optimisers are gone with it, into words.

    Raises:
        RuntimeError: A learner was lost.
    """
    cause: RayError | None = None
    try:
        yield
    except RayActorError as error:
        cause = error
    except RayTaskError as error:
        if "all_reduce" not in str(error):  # where a learner finds that another one is gone
            raise
        cause = error
    manager = algorithm.learner_group._worker_manager  # None with a local learner
    # RLlib would go on without one that it knows to be lost, and learn nothing.
    if cause is not None or (manager and manager.num_healthy_actors() < manager.num_actors()):
        raise RuntimeError(
            "A learner's process was lost, and with it what was learned since the last checkpoint. Go on from that: "
            "`rllib train ... --resume`, or by itself with `max_failures` above 0 in the experiment (Tune's "
            "FailureConfig). Ray's log says why it was lost; too little memory is the usual cause."
        ) from cause


def begin_new_episodes(algorithm: "Algorithm") -> None:
    """Lets every env runner reset its environments before it samples again; drops what is being sampled."""
    algorithm.env_runner_group.fetch_ready_async_reqs(tags=SAMPLING, timeout_seconds=algorithm.config.sample_timeout_s)
    algorithm.env_runner_group.foreach_env_runner(lambda runner: setattr(runner, "_needs_initial_reset", True))


def env_steps_sampled(algorithm: "Algorithm") -> int:
    """Environment steps sampled since the beginning of training, over restores."""
    return int(algorithm.metrics.peek((ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), default=0))


def progress(algorithm: "Algorithm") -> dict[str, Any]:
    """How far training is: what a checkpoint's manifest tells of it."""
    last = algorithm._last_result or {}  # the metrics themselves are gone once an iteration has reported them
    mean = last.get(ENV_RUNNER_RESULTS, {}).get(EPISODE_RETURN_MEAN, math.nan)
    return {
        "algorithm": type(algorithm).__name__,
        "training_iteration": algorithm.iteration,
        "num_env_steps_sampled_lifetime": env_steps_sampled(algorithm),
        "episode_return_mean": float(mean) if math.isfinite(mean) else None,
        "time_total_s": round(float(algorithm._time_total), 3),
    }


def update_learners(algorithm: "Algorithm", samples: list[dict[str, np.ndarray]]) -> None:
    """One call of the learners, with a sample for each of them."""
    batches = [
        MultiAgentBatch(
            {DEFAULT_MODULE_ID: SampleBatch(arrays)},
            env_steps=int(np.prod(arrays["step_index"].shape)),
        )
        for arrays in samples
    ]
    # `batch` would be split among several learners; a single one takes nothing else.
    data = {"batch": batches[0]} if len(batches) == 1 else {"batches": batches}
    with says_which_learner_was_lost(algorithm):
        results = algorithm.learner_group.update(
            **data, timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: env_steps_sampled(algorithm)}
        )
    algorithm.metrics.aggregate(results, key=LEARNER_RESULTS)


def set_learning_rates(learner: "Learner", timesteps: dict[str, Any]) -> None:
    """Sets every optimiser's rate to its schedule's value at this point of training."""
    for optimizer, schedule in learner._optimizer_lr_schedules.items():
        rate = schedule.update(timestep=timesteps.get(NUM_ENV_STEPS_SAMPLED_LIFETIME, 0))
        learner._set_optimizer_lr(optimizer, lr=rate)


def restore_optimizer_settings(learner: "Learner", state: dict[str, Any]) -> None:
    """Sets rates, betas and switches of optimisers to what a restored state says.

    RLlib before 2.59 makes float32 tensors of them, which are other numbers, and which fused optimisers refuse.
    """
    for name, saved in state.items():
        if name in learner._named_optimizers:
            optimizer = learner._named_optimizers[name]
            for group, settings in zip(optimizer.param_groups, saved["state"]["param_groups"], strict=True):
                group.update({key: value for key, value in settings.items() if key != "params"})
                # A state of Adam alone goes on as such; one of AMSGrad only where that is wanted still.
                kept = [optimizer.state.get(parameter, {}) for parameter in group["params"]]
                group["amsgrad"] = optimizer.defaults["amsgrad"] and not any(
                    one and "max_exp_avg_sq" not in one for one in kept
                )


def prepend_learner_connector(learner: "Learner", piece: "ConnectorV2") -> None:
    """Puts a piece before all others of a built learner's pipeline.

    Raises:
        ValueError: If the learner has none, since it is given batches that others have made of the episodes.
    """
    if learner._learner_connector is None:
        raise ValueError(
            f"{type(learner).__name__} needs episodes, but `num_aggregator_actors_per_learner` is above 0, so that "
            "other actors turn them into batches. Set it to 0."
        )
    learner._learner_connector.prepend(piece)


def log_steps_trained(metrics: MetricsLogger, module_id: str, steps: int) -> None:
    """Logs the steps of one learner call under RLlib's names; RLlib's iterations and stop criteria read them."""
    for key, group in ((NUM_MODULE_STEPS_TRAINED, module_id), (NUM_MODULE_STEPS_TRAINED, ALL_MODULES)):
        metrics.log_value((group, key), steps, reduce="sum")
        metrics.log_value((group, f"{key}_lifetime"), steps, reduce="lifetime_sum", with_throughput=True)
    metrics.log_value((ALL_MODULES, NUM_ENV_STEPS_TRAINED), steps, reduce="sum")
    metrics.log_value((ALL_MODULES, NUM_ENV_STEPS_TRAINED_LIFETIME), steps, reduce="lifetime_sum", with_throughput=True)


def sync_weights(algorithm: "Algorithm") -> None:
    """Sends encoder and actor to all env runners."""
    with says_which_learner_was_lost(algorithm):
        algorithm.env_runner_group.sync_weights(
            from_worker_or_learner_group=algorithm.learner_group,
            policies=[DEFAULT_MODULE_ID],
            inference_only=True,
            # Waits for what was sent before and is still on its way: else RLlib leaves these weights out.
            timeout_seconds=algorithm.config.sample_timeout_s,
        )


def force_weights(algorithm: "Algorithm") -> None:
    """Sends the weights to all env runners, older ones too: by itself RLlib's runner takes only newer ones."""
    algorithm.env_runner_group.foreach_env_runner(_forget_weights)
    sync_weights(algorithm)


def _forget_weights(runner: Any) -> None:
    runner._weights_seq_no = 0


def available_memory() -> int:
    """Bytes of memory that this process can still have, within its container's limit."""
    return int(estimate_available_memory())


def listen_on_loopback() -> None:
    """Lets the Ray cluster that is started next listen on 127.0.0.1 only; by default it listens on all interfaces.

    Ray has no setting for it on Linux, only what it does on macOS and Windows.
    """
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"  # of the processes that Ray starts
    ray_constants.ENABLE_RAY_CLUSTER = False


def evaluated_episodes(returns: np.ndarray, lengths: np.ndarray, before: Mapping[str, Any]) -> dict[str, float]:
    """What RLlib's ``evaluation/env_runners`` says of an evaluation's episodes; ``before`` is what it said before."""
    episodes, steps = len(returns), int(lengths.sum())
    return {
        **_episode_statistics(returns, lengths),
        NUM_EPISODES: episodes,
        NUM_EPISODES_LIFETIME: before.get(NUM_EPISODES_LIFETIME, 0) + episodes,
        NUM_ENV_STEPS_SAMPLED: steps,
        NUM_ENV_STEPS_SAMPLED_LIFETIME: before.get(NUM_ENV_STEPS_SAMPLED_LIFETIME, 0) + steps,
    }


def nothing_evaluated() -> dict[str, float]:
    """The same before the first evaluation: NaN, and nothing counted."""
    counted = evaluated_episodes(np.zeros(1), np.zeros(1), {})
    return {key: 0 if key.startswith("num_") else float("nan") for key in counted}


def log_evaluation(metrics: MetricsLogger, results: Mapping[str, Any]) -> None:
    """Logs an evaluation's nested results, so that callbacks get them from RLlib."""
    # By way of another logger: RLlib reads back only what was merged from one.
    of_evaluation = MetricsLogger(root=False)
    for path, value in tree.flatten_with_path(results):
        of_evaluation.log_value(path, value, window=1)
    metrics.aggregate([of_evaluation.reduce()], key=EVALUATION_RESULTS)


def acting_weights(algorithm: "Algorithm") -> ray.ObjectRef:
    """A copy of the weights of encoder and actor, as an env runner's ``set_state`` takes them."""
    state = algorithm.learner_group.get_state(
        components=[f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}"], inference_only=True
    )
    return ray.put({COMPONENT_RL_MODULE: state[COMPONENT_LEARNER][COMPONENT_RL_MODULE]})


def call_on_runners(
    group: "EnvRunnerGroup", function: Callable[..., Any], calls: Sequence[dict[str, Any]], timeout_s: float
) -> list[Any]:
    """Has a group's remote env runners make calls ``function(runner, **kwargs)``, each runner one after the other.

    What a lost runner was at is given to another one.

    Args:
        group: The group.
        function: What to call.
        calls: Keyword arguments of each call.
        timeout_s: How long to wait for the next result in seconds.

    Returns:
        The result of each call, None where no runner was left or time was up.
    """
    round_id = new_episode_id()  # tells late results of an earlier round from ours
    results: dict[int, Any] = {}
    waiting, under_way = deque(range(len(calls))), dict[int, int]()
    newest = time.monotonic()
    while len(results) < len(calls) and time.monotonic() - newest < timeout_s:
        healthy = group.healthy_env_runner_ids()
        for runner_id in under_way.keys() - set(healthy):
            waiting.append(under_way.pop(runner_id))
        if not healthy:
            break
        for runner_id in healthy:
            if waiting and runner_id not in under_way:
                call = functools.partial(_call, function, (round_id, waiting[0]))
                # It takes none while it is at one of an earlier round.
                if group.foreach_env_runner_async(
                    call, tag=PLAYING, kwargs=calls[waiting[0]], remote_worker_ids=[runner_id]
                ):
                    under_way[runner_id] = waiting.popleft()
        # The manager's own method: that of the group raises what a runner's death raised.
        for reply in group._worker_manager.fetch_ready_async_reqs(tags=PLAYING, timeout_seconds=POLL_S):
            if reply.ok and reply.get()[0][0] == round_id:
                (_, number), results_of_call = reply.get()
                results[number] = results_of_call
                under_way.pop(reply.actor_id, None)
                newest = time.monotonic()
    return [results.get(number) for number in range(len(calls))]


def _call(function: Callable[..., Any], number: tuple[str, int], runner: Any, **kwargs: Any) -> Any:
    return number, function(runner, **kwargs)


def absolute_path(path: Any) -> str:
    """A local path made absolute, as RLlib needs it; a URI as it is."""
    return str(path) if "://" in str(path) else str(Path(path).absolute())


@contextlib.contextmanager
def says_what_cannot_be_read(folder: Path) -> Iterator[None]:
    """Names the checkpoint, where RLlib would only say what went wrong inside it.

    Raises:
        ValueError: It is cut short (one without a manifest), or another version wrote it.
    """
    try:
        yield
    except (EOFError, pickle.UnpicklingError, ImportError, AttributeError, KeyError) as error:
        raise ValueError(
            f"The checkpoint {folder} cannot be read: {type(error).__name__}: {error}. It is cut short, or another "
            f"version of this package or of Ray (here {ray.__version__}) wrote it. Use another one, or that version."
        ) from error


def checkpoint_constructor(folder: Path, component: str = "") -> dict[str, Any] | None:
    """The class and constructor arguments in a checkpoint (or a component's folder in it); None if it has none."""
    try:
        return pickle.loads((folder / component / Checkpointable.CLASS_AND_CTOR_ARGS_FILE_NAME).read_bytes())
    except (OSError, ImportError, AttributeError, TypeError, ValueError, EOFError, pickle.UnpicklingError):
        return None  # as RLlib does with what another version of Python or of a package has written
