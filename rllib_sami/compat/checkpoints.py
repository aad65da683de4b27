"""Checkpoints: the parts of their folders, and a message for those that RLlib cannot read.

Touches ``__ray_actor_class__``, the names of the components in RLlib's checkpoints, the file names and
``try_import_msgpack`` of RLlib's ``Checkpointable``, and of Tune the checkpoint manager of a trial,
``_checkpoint_results``, ``_TrainingResult`` and ``_loads_with_cloudpickle``.
"""

import contextlib
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_LEARNER_GROUP, COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.utils.checkpoints import Checkpointable, try_import_msgpack
from ray.train._internal.session import _TrainingResult
from ray.tune import Checkpoint
from ray.tune.utils.serialization import _loads_with_cloudpickle

MODULE_IN_CHECKPOINT = f"{COMPONENT_LEARNER_GROUP}/{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}/{DEFAULT_MODULE_ID}"


@contextlib.contextmanager
def unpickling_errors(folder: Path) -> Iterator[None]:
    """Turns errors of reading a checkpoint into one that names it; RLlib's only say what went wrong inside it.

    Raises:
        ValueError: The checkpoint is cut short (one without a manifest), or another version wrote it.
    """
    try:
        yield
    except (EOFError, pickle.UnpicklingError, ImportError, AttributeError, KeyError) as error:
        raise ValueError(
            f"The checkpoint {folder} cannot be read: {type(error).__name__}: {error}. It is cut short, or another "
            f"version of this package or of Ray (here {ray.__version__}) wrote it. Use another one, or that version."
        ) from error


def original_class(cls: type) -> type:
    """The class that Ray derived an actor's class from, as for each trial of Tune; others are returned as they are."""
    return vars(cls).get("__ray_actor_class__", cls)


def write_original_class(component: Checkpointable, folder: Path) -> None:
    """Replaces Ray's class of an actor by the original in the checkpoint that a component has just written.

    The former cannot be imported, so it is pickled by value, with every method's name. A checkpoint with it would no
    longer load once a method is renamed.
    """
    if (original := original_class(type(component))) is not type(component):
        content = {"class": original, "ctor_args_and_kwargs": component.get_ctor_args_and_kwargs()}
        (folder / Checkpointable.CLASS_AND_CTOR_ARGS_FILE_NAME).write_bytes(cloudpickle.dumps(content))


def component_state(folder: Path) -> dict[str, Any]:
    """The state in a component's folder of a checkpoint, as pickle or msgpack (``save_to_path(use_msgpack=True)``)."""
    file = folder / Checkpointable.STATE_FILE_NAME
    packed = file.with_suffix(".msgpack")
    if packed.is_file():
        return try_import_msgpack(error=True).loads(packed.read_bytes(), strict_map_key=False)
    return pickle.loads(file.with_suffix(".pkl").read_bytes())


def checkpoint_constructor(folder: Path, component: str = "") -> dict[str, Any] | None:
    """The class and constructor arguments in a checkpoint (or a component's folder in it); None if it has none."""
    try:
        return pickle.loads((folder / component / Checkpointable.CLASS_AND_CTOR_ARGS_FILE_NAME).read_bytes())
    except (OSError, ImportError, AttributeError, TypeError, ValueError, EOFError, pickle.UnpicklingError):
        return None  # as RLlib does if another version of Python or of a package wrote it


def check_run_state(file: Path) -> None:
    """Raises what prevents Tune from loading its state of a run; Tune itself would then silently start over."""
    _loads_with_cloudpickle(file.read_bytes())


def saved_checkpoint(trial: Any) -> Path | None:
    """The latest checkpoint that Tune knows of a trial, saved by it or taken over from another trial.

    Unlike ``trial.checkpoint``, it is never the one that the trial started from (``restore``).
    """
    newest = trial.run_metadata.checkpoint_manager.latest_checkpoint_result
    return Path(newest.checkpoint.path) if newest else None


def register_checkpoint(trial: Any, folder: Path, metrics: dict[str, Any]) -> None:
    """Adds a checkpoint of which Tune does not know to its trial, with the metrics at that time."""
    trial.on_checkpoint(_TrainingResult(checkpoint=Checkpoint.from_directory(str(folder)), metrics=metrics))
    # Tune numbers checkpoints; the next one must not overwrite this one.
    trial.storage.current_checkpoint_index = int(folder.name.rpartition("_")[2])


def forget_checkpoints(trial: Any, which: Callable[[Path], bool]) -> None:
    """Makes a Tune trial forget the checkpoints for whose folders ``which`` is true; deletes no files."""
    manager = trial.run_metadata.checkpoint_manager
    manager._checkpoint_results = [
        result for result in manager._checkpoint_results if not which(Path(result.checkpoint.path))
    ]
