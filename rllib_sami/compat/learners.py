"""Learners: their updates, optimisers and connectors, lost learners, and the weights that env runners get from them.

Touches ``LearnerGroup`` and its actor manager (``_worker_manager``), a learner's ``_optimizer_lr_schedules``,
``_set_optimizer_lr``, ``_named_optimizers`` and ``_learner_connector``, and an env runner's ``_weights_seq_no``.
"""

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import LEARNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME

from rllib_sami.compat.metrics import env_steps_sampled

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm import Algorithm
    from ray.rllib.connectors.connector_v2 import ConnectorV2
    from ray.rllib.core.learner.learner import Learner


@contextlib.contextmanager
def _lost_learner_errors(algorithm: "Algorithm") -> Iterator[None]:
    """Explains what to do when a learner's process, with its networks and optimisers, is lost.

    Raises:
        RuntimeError: A learner was lost.
    """
    cause: RayError | None = None
    try:
        yield
    except RayActorError as error:
        cause = error
    except RayTaskError as error:
        if "all_reduce" not in str(error):  # there a learner notices that another one is gone
            raise
        cause = error
    manager = algorithm.learner_group._worker_manager  # None with a local learner
    # RLlib would go on without a learner that it knows to be lost, and learn nothing.
    if cause is not None or (manager and manager.num_healthy_actors() < manager.num_actors()):
        raise RuntimeError(
            "A learner's process was lost, and with it what was learned since the last checkpoint. Go on from that: "
            "`rllib train ... --resume`, or by itself with `max_failures` above 0 in the experiment (Tune's "
            "FailureConfig). Ray's log says why it was lost; too little memory is the usual cause."
        ) from cause


def update_learners(algorithm: "Algorithm", samples: list[dict[str, np.ndarray]], timestep: int | None = None) -> None:
    """Updates the learners once, with one sample for each of them.

    Args:
        algorithm: The algorithm.
        samples: Arrays by name.
        timestep: What schedules are read at; None: the environment steps so far.
    """
    batches = [
        MultiAgentBatch(
            {DEFAULT_MODULE_ID: SampleBatch(arrays)},
            env_steps=int(np.prod(arrays["terminated"].shape)),
        )
        for arrays in samples
    ]
    # `batch` would be split among several learners; a single learner takes nothing else.
    data = {"batch": batches[0]} if len(batches) == 1 else {"batches": batches}
    with _lost_learner_errors(algorithm):
        results = algorithm.learner_group.update(
            **data,
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: env_steps_sampled(algorithm) if timestep is None else timestep},
        )
    algorithm.metrics.aggregate(results, key=LEARNER_RESULTS)


def foreach_learner(algorithm: "Algorithm", function: Callable[["Learner"], Any]) -> None:
    """Calls a function with each learner.

    Raises:
        RuntimeError: A learner was lost. What the function raises in any learner is raised here.
    """
    with _lost_learner_errors(algorithm):
        for result in algorithm.learner_group.foreach_learner(function).result_or_errors:
            error_or_value = result.get()  # RLlib returns errors of remote learners
            if isinstance(error_or_value, Exception):
                raise error_or_value


def timestep(timesteps: dict[str, Any]) -> int:
    """Returns the environment steps of an update, from what :func:`update_learners` passed on."""
    return timesteps.get(NUM_ENV_STEPS_SAMPLED_LIFETIME, 0)


def set_learning_rates(learner: "Learner", timesteps: dict[str, Any]) -> None:
    """Sets the learning rate of every optimiser to its schedule's present value."""
    for optimizer, schedule in learner._optimizer_lr_schedules.items():
        rate = schedule.update(timestep=timestep(timesteps))
        learner._set_optimizer_lr(optimizer, lr=rate)


def present_optimizers(learner: "Learner", state: dict[str, Any]) -> dict[str, Any]:
    """The part of a saved optimiser state that belongs to the learner's present optimisers and parameters.

    In earlier versions, a plain SAC had an optimiser for an encoder, and the encoder's optimiser always had one more
    parameter at its end, the similarity map of a contrast.

    Moments are copied: several learners get the same memory of Ray's object store, and torch would update it in place.
    """
    present = {}
    for name, saved in state.items():
        if name in learner._named_optimizers:
            groups = learner._named_optimizers[name].param_groups
            kept = [
                settings | {"params": settings["params"][: len(group["params"])]}
                for group, settings in zip(groups, saved["state"]["param_groups"], strict=True)
            ]
            moments = copy.deepcopy(saved["state"]["state"])
            present[name] = saved | {"state": saved["state"] | {"param_groups": kept, "state": moments}}
    return present


def restore_optimizer_settings(learner: "Learner", state: dict[str, Any]) -> None:
    """Sets learning rates, betas and flags of optimisers to exactly the restored values.

    RLlib before 2.59 turns them into float32 tensors, which are other numbers and which fused optimisers refuse.
    """
    for name, saved in state.items():
        if name in learner._named_optimizers:
            optimizer = learner._named_optimizers[name]
            for group, settings in zip(optimizer.param_groups, saved["state"]["param_groups"], strict=True):
                group.update({key: value for key, value in settings.items() if key != "params"})
                # A saved state of plain Adam continues as plain Adam; one of AMSGrad only if AMSGrad is still wanted.
                kept = [optimizer.state.get(parameter, {}) for parameter in group["params"]]
                group["amsgrad"] = optimizer.defaults["amsgrad"] and not any(
                    one and "max_exp_avg_sq" not in one for one in kept
                )


def prepend_learner_connector(learner: "Learner", piece: "ConnectorV2") -> None:
    """Inserts a connector at the start of a built learner's pipeline.

    Raises:
        ValueError: The learner has no pipeline, because aggregator actors turn episodes into batches for it.
    """
    if learner._learner_connector is None:
        raise ValueError(
            f"{type(learner).__name__} needs episodes, but `num_aggregator_actors_per_learner` is above 0, so other "
            "actors turn them into batches. Set it to 0."
        )
    learner._learner_connector.prepend(piece)


def sync_weights(algorithm: "Algorithm") -> None:
    """Sends the weights of encoder and actor to all env runners."""
    with _lost_learner_errors(algorithm):
        algorithm.env_runner_group.sync_weights(
            from_worker_or_learner_group=algorithm.learner_group,
            policies=[DEFAULT_MODULE_ID],
            inference_only=True,
            # Waits for weights that are still on their way; otherwise RLlib would skip these.
            timeout_seconds=algorithm.config.sample_timeout_s,
        )


def force_weights(algorithm: "Algorithm") -> None:
    """Sends the weights to all env runners, even older weights than theirs, which RLlib's runner would ignore."""
    for group in (algorithm.env_runner_group, algorithm.eval_env_runner_group):
        if group is not None:
            group.foreach_env_runner(lambda runner: setattr(runner, "_weights_seq_no", 0))
    sync_weights(algorithm)


def acting_weights(algorithm: "Algorithm") -> ray.ObjectRef:
    """A copy of the weights of encoder and actor, in the form that an env runner's ``set_state`` takes."""
    state = algorithm.learner_group.get_state(
        components=[f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}"], inference_only=True
    )
    return ray.put({COMPONENT_RL_MODULE: state[COMPONENT_LEARNER][COMPONENT_RL_MODULE]})
