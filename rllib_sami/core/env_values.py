"""Reads what environments return, and refuses what cannot be used, with the reason.

Everything is read here, not only the first reset, because wrappers and procedural environments may return something
else later. A refusal is an :class:`UnusableValue`, whose text continues "The environment ... gave"; the caller adds
which environment it was.
"""

import logging
import math
import numbers
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import gymnasium as gym
import numpy as np

logger = logging.getLogger(__name__)
TASK_ID = "task_id"
IS_SUCCESS = "is_success"  # in the last info of an episode, if the environment knows success
NO_TASK = 0  # task of environments whose infos have no task id
TASK_ID_HINT = (
    "Let its `reset()` return an integer meta-task number in the infos, `return obs, {'task_id': k}` with k = 0, 1, "
    "..., and `step()` may do so too. PlainSAC, RecurrentSAC and TESAC need none."
)
TaskIdRule = Literal["each reset", "each reset or none", "ignored"]
_NUMBERS = (float, int, np.floating, np.integer, np.bool_)
_MOST = float(np.finfo(np.float32).max)


class UnusableValue(ValueError):
    """A mistake in the environment's code, which would recur if the environment were made again."""


# --- Resets and steps -----------------------------------------------------------------------------------------------


def reset_of(given: Any) -> tuple[Any, dict[str, Any]]:
    """Returns observation and info from the result of ``env.reset()``."""
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise UnusableValue(f"{_count(given)} at a reset, but `reset()` must return observation and info.")
    obs, info = given
    return obs, _info_of(info)


def step_of(given: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
    """Returns observation, reward, terminated, truncated and info from the result of ``env.step()``."""
    if not isinstance(given, (tuple, list)) or len(given) != 5:
        raise UnusableValue(
            f"{_count(given)} at a step, but `step()` must return observation, reward, terminated, truncated and info. "
            "Environments of the old API: gymnasium.make('GymV21Environment-v0', env=...) of the package shimmy."
        )
    obs, reward, terminated, truncated, info = given
    # Nearly always the types are right and nothing is called.
    if type(reward) is not float:
        reward = reward_of(reward)
    if type(terminated) is not bool:
        terminated = _flag_of(terminated, "terminated")
    if type(truncated) is not bool:
        truncated = _flag_of(truncated, "truncated")
    return obs, reward, terminated, truncated, info if type(info) is dict else _info_of(info)


def _count(given: Any) -> str:
    return f"{len(given)} values" if isinstance(given, tuple | list) else short(given)


def _info_of(info: Any) -> dict[str, Any]:
    if not isinstance(info, Mapping):
        raise UnusableValue(f"the info {short(info)}, but it must be a dict. Return {{}} if there is no information.")
    return info  # type: ignore[return-value]


# --- Numbers --------------------------------------------------------------------------------------------------------


def reward_of(value: Any) -> float:
    """Returns a reward as a float; it may be any number or an array with one element."""
    number = _number_of(value)
    if number is None:
        raise UnusableValue(
            f"the reward {short(value)}, but it must be a number. Let `step()` return one, such as "
            "`float(reward)`, or the sum of several."
        )
    return number


def check_finite(obs: np.ndarray, reward: float) -> None:
    """Refuses numbers that are not finite as float32.

    Args:
        obs: An observation from :func:`flat_observation`.
        reward: A reward from :func:`reward_of`.

    Raises:
        UnusableValue: A number is not finite.
    """
    if not np.isfinite(obs).all():
        raise UnusableValue(f"the observation {short(obs)}, but its numbers must be finite (float32).")
    if not abs(reward) <= _MOST:  # also refuses NaN
        raise UnusableValue(f"the reward {reward}, but it must be finite (float32).")


def _flag_of(value: Any, name: str) -> bool:
    """Returns ``terminated`` or ``truncated`` as a bool; it may be 0 or 1, or an array with one element."""
    number = _number_of(value)
    if number not in (0.0, 1.0):
        raise UnusableValue(
            f"{short(value)} as `{name}`, but it must be True or False. Let `step()` return observation, reward, "
            "terminated, truncated, info."
        )
    return bool(number)


def success_of(info: Mapping[str, Any]) -> bool | None:
    """Returns whether the episode succeeded according to an info; None if the info does not say.

    Success is only reported, so a value that is neither true nor false, such as a fraction, counts as unknown.
    """
    value = info.get(IS_SUCCESS)
    number = math.nan if value is None else _number_of(value)
    if number in (0.0, 1.0):
        return bool(number)
    if number is None or not math.isnan(number):
        _warn_of_success(type(value).__name__)
    return None


@cache  # by type, because values differ from episode to episode
def _warn_of_success(kind: str) -> None:
    """Warns once of each type."""
    logger.warning(
        "The '%s' in an info has type %s and is neither True nor False: success is unknown.", IS_SUCCESS, kind
    )


def _number_of(value: Any) -> float | None:
    """A number, or the element of an array with one element, as a float; None for anything else."""
    try:
        if isinstance(value, _NUMBERS) or isinstance(value, numbers.Real):  # noqa: SIM101 (the first is faster)
            return float(value)
        array = np.asarray(value)
    except Exception:  # arrays of other libraries may raise anything
        return None
    return float(array.item()) if array.size == 1 and array.dtype.kind in "biuf" else None


# --- Observations and infos -----------------------------------------------------------------------------------------


def flat_observation(obs: Any, space: gym.Space, shape: tuple[int], dtype: Any = np.float32) -> np.ndarray:
    """Returns an observation as an array of ``shape`` ``[O]``; it may share the environment's memory.

    Args:
        obs: What the environment gave.
        space: Its observation space.
        shape: ``(O,)``.
        dtype: Type of the array, see ``images.row_dtype``.

    Raises:
        UnusableValue: It is not in the space.
    """
    if dtype == np.uint8:
        return image_bytes(obs, space.shape).reshape(shape)
    try:
        flat = np.asarray(obs if isinstance(space, gym.spaces.Box) else gym.spaces.flatten(space, obs), dtype)
    except Exception as error:  # missing keys, text, ragged lists
        raise UnusableValue(
            f"the observation {short(obs)}, which is not in its observation space {space} ({type(error).__name__}: "
            f"{error}). Let `reset()` and `step()` return what the space says."
        ) from error
    if flat.shape == shape:
        return flat
    if flat.size != shape[0]:
        raise UnusableValue(
            f"an observation of {flat.size} numbers (shape {flat.shape}), but its observation space {space} has "
            f"{shape[0]}. Let `reset()` and `step()` return what the space says."
        )
    return flat.reshape(shape)


def image_bytes(obs: Any, shape: tuple[int, ...] | None) -> np.ndarray:
    """Returns an image, or a stack of them, as uint8.

    Raises:
        UnusableValue: It has another shape, or numbers that are no integers from 0 to 255.
    """
    given = np.asarray(obs)
    if given.shape != shape:
        raise UnusableValue(f"images of shape {list(given.shape)}, but its observation space has {list(shape or ())}.")
    if given.dtype == np.uint8:
        return given
    with np.errstate(all="ignore"):
        converted = given.astype(np.uint8) if given.dtype.kind in "biuf" else np.zeros(given.shape, np.uint8)
    if not np.array_equal(converted, given):
        raise UnusableValue(
            f"images of type {given.dtype} with numbers that are no integers from 0 to 255, but its observation space "
            "has type uint8. Let `reset()` and `step()` return what the space says."
        )
    return converted


def name_of(env: Any) -> str:
    """Returns the name of an environment in a config, which may be an id, a class or a function."""
    return env if isinstance(env, str) else getattr(env, "__name__", str(env))


def are_different(env: Any, other: Any) -> bool:
    """Whether two environments, each an id, a class or its path, are known to be different ones.

    Ids are compared with ids, and classes with classes, by their names without the module.
    """
    names = [_kind_and_name(one) for one in (env, other)]
    return names[0][0] == names[1][0] and names[0] != names[1]


def _kind_and_name(env: Any) -> tuple[str, str]:
    """Returns what kind of name an environment has, and the name without the module; those of no kind are all alike."""
    if isinstance(env, type):
        return "class", env.__name__
    if not isinstance(env, str):
        return "", ""
    *module, name = re.split("[.:]", env)
    if re.search(r"-v\d+$", env):
        return "id", env.rpartition(":")[2]
    return ("class", name) if module and all(map(str.isidentifier, (*module, name))) else ("name", env)


def snapshot(value: Any) -> Any:
    """Returns a copy that does not change when the environment reuses its dicts, lists and arrays."""
    if isinstance(value, Mapping):
        return {key: snapshot(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(snapshot(item) for item in value)
    return value.copy() if isinstance(value, np.ndarray) else value


def short(value: Any) -> str:
    """Returns a value as a line of at most 100 characters, for messages."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."


# --- Tasks ----------------------------------------------------------------------------------------------------------


def task_id_of(info: Mapping[str, Any]) -> int | None:
    """Returns the task id in an info, an integer >= 0 of any type; None if it is missing or anything else."""
    value = _item(info.get(TASK_ID))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        return None
    return int(value) if 0 <= int(value) < 2**63 else None


def task_told(info: Mapping[str, Any]) -> int | str | None:
    """Returns the task in an info for reports: an id as in :func:`task_id_of`, or a name; None if there is none.

    -1 also counts as none. This package's environments use it for values that belong to no single meta-task.

    Raises:
        UnusableValue: The value is anything else.
    """
    value = _item(info.get(TASK_ID))
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, numbers.Integral) and value == -1:
        return None
    task_id = task_id_of(info)
    if task_id is None:
        raise UnusableValue(
            f"the '{TASK_ID}' {short(value)}, but it must be an integer >= 0 or a name, or -1 if none is known."
        )
    return task_id


def other_task(info: Mapping[str, Any], task: int | str) -> UnusableValue:
    """Returns the error for a step's info with another task than ``task``, that of the episode's reset."""
    return UnusableValue(
        f"the '{TASK_ID}' {short(info[TASK_ID])} in the info of a step, but {task!r} in that of the episode's reset: "
        "an episode has one task, from its reset to its last step. Return the same in both, or leave it out of the "
        "infos of `step()`."
    )


def _item(value: Any) -> Any:
    """The element of an array or NumPy scalar with one element; anything else unchanged."""
    return value.item() if isinstance(value, np.ndarray | np.generic) and value.size == 1 else value


class TaskIds:
    """Reads task ids from infos, and refuses infos that would assign an episode to a wrong task.

    Args:
        rule: Whether each reset must have a task id (for a contrast), whether each reset or none must have one, or
            whether invalid ones are ignored.
    """

    def __init__(self, rule: TaskIdRule = "each reset or none"):
        self._rule = rule
        self._has_ids: bool | None = True if rule == "each reset" else None  # whether resets have ids; None: unknown

    def read_reset(self, info: Mapping[str, Any]) -> int | None:
        """Returns the task of the episode that begins with a reset; None if there is none and none is needed.

        Raises:
            UnusableValue: The task id is missing or invalid.
        """
        task_id = task_id_of(info)
        if self._rule == "ignored":
            return task_id
        has_id = TASK_ID in info
        if has_id and task_id is None:
            raise UnusableValue(
                f"the '{TASK_ID}' {short(info[TASK_ID])} in the info of a reset, but it must be an integer >= 0. "
                f"{TASK_ID_HINT}"
            )
        if self._has_ids is not None and has_id != self._has_ids:
            what = f"a '{TASK_ID}'" if has_id else f"no '{TASK_ID}'"
            others = "earlier resets had none" if has_id else "each reset must have one"
            raise UnusableValue(
                f"{what} in the info of a reset, but {others}: an episode could be wrongly counted as one of task "
                f"{NO_TASK}. {TASK_ID_HINT}"
            )
        self._has_ids = has_id
        return task_id

    def check_step(self, info: Mapping[str, Any], task_id: int) -> None:
        """Refuses a step's info with another task than the episode's reset.

        Args:
            info: The info of a step.
            task_id: The task of the reset.

        Raises:
            UnusableValue: The info has another task.
        """
        if self._has_ids and TASK_ID in info and task_id_of(info) != task_id:
            raise other_task(info, task_id)
