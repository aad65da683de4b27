"""CALVIN's table as a long task of four sub-tasks that have to be done in their order.

``calvin_env`` is not on PyPI: https://github.com/mees/calvin_env says how to install it.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np

from .base import MetaTaskEnv
from .factors import Factor
from .models import MissingPackageError
from .ordered import OrderedSubtasks, check_subtasks
from .tasks import Splits, Task

ENV_ID = "Calvin/TableD-v0"
OBSERVED = 21  # numbers that are observed: 15 of the robot, 6 of the furniture, which come before those of the blocks
NUM_ACTIONS = 7
CONFIG = Path(".hydra") / "merged_config.yaml"  # of a split of the data: how its simulator was built

# Of each sub-task: what moves, where it stands in ``scene_info``, and by how much more than this it has to move.
SUBTASKS: Mapping[str, tuple[str, str, str, float]] = {
    "open_drawer": ("doors", "base__drawer", "current_state", 0.12),  # m
    "turn_on_lightbulb": ("lights", "lightbulb", "logical_state", 0.5),  # 0 is off, 1 is on
    "move_slider_left": ("doors", "base__slide", "current_state", 0.15),  # m
    "turn_on_led": ("lights", "led", "logical_state", 0.5),
}


class Calvin(MetaTaskEnv):
    """An arm that has to open a drawer, switch on a bulb, move a slider and switch on a lamp, in this order.

    Observation ``[21]``: position (3, m) and Euler angles (3) of the hand, width of the gripper, 7 joint angles, the
    gripper's last action; then slider, drawer, button, switch, bulb and lamp. Action ``[7]`` in ±1: displacement (3)
    and turn (3) of the hand, in the units of the data; the gripper opens where the last number is >= 0 and closes
    elsewhere. dt = 1/30 s. Reward: 1 for each sub-task, once all before it have been done. The episode ends when all
    have. The info of the last step has ``tasks_completed``, the names of those that were counted,
    ``subtask_steps``, when each was, and ``is_success``.

    The simulator draws where blocks lie, which are not observed, from a generator of its own that ``seed`` does not
    reach.
    """

    factors: ClassVar[tuple[Factor, ...]] = ()
    splits: ClassVar[Splits] = {"train": ({},)}
    default_max_steps = 360
    thread_safe = False

    def __init__(self, *args: Any, folder: str | Path = "", subtasks: Sequence[str] | None = None, **kwargs: Any):
        """Checks the arguments, then builds CALVIN's simulator, without cameras.

        Args:
            *args: As for ``MetaTaskEnv``.
            folder: A split of CALVIN's data, such as ``task_D_D/training``, whose settings of the simulator are taken.
            subtasks: Names of sub-tasks, in the order in which they count; None: all four.
            **kwargs: As for ``MetaTaskEnv``.

        Raises:
            MissingPackageError: ``calvin_env`` is missing.
            ValueError: The folder is not one of CALVIN's.
        """
        super().__init__(*args, **kwargs)
        self._subtasks = OrderedSubtasks([*SUBTASKS] if subtasks is None else check_subtasks(subtasks, SUBTASKS))
        self.folder = str(folder)
        self._simulator = _simulator(self.folder)
        self._state = np.zeros(OBSERVED)
        self._at_start: Mapping[str, Any] = {}
        self._build_spaces([np.inf] * OBSERVED, gymnasium.spaces.Box(-1.0, 1.0, (NUM_ACTIONS,), np.float32))

    @property
    def subtasks(self) -> tuple[str, ...]:
        """The sub-tasks, in their order."""
        return self._subtasks.names

    def _begin_episode(self, task: Task) -> None:
        self._look(self._simulator.reset())
        self._at_start = self._simulator.get_info()["scene_info"]
        self._subtasks.reset()

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        given = np.clip(np.array(action, np.float64), -1.0, 1.0)  # a copy, which the simulator changes
        given[-1] = 1.0 if given[-1] >= 0.0 else -1.0
        observed, _, _, info = self._simulator.step(given)
        self._look(observed)
        scene = info["scene_info"]

        def is_done(name: str) -> bool:
            *path, least = SUBTASKS[name]
            return _at(scene, path) - _at(self._at_start, path) > least

        return float(self._subtasks.count(is_done)), self._subtasks.all_done

    def _look(self, observed: Mapping[str, Any]) -> None:
        self._state[:] = np.concatenate([observed["robot_obs"], observed["scene_obs"]])[:OBSERVED]

    def _write_observation(self) -> None:
        self._buffer[:OBSERVED] = self._state

    def episode_info(self) -> dict[str, Any]:
        """Returns the ``info`` of reset and of the last step, which also tells of the sub-tasks."""
        info = super().episode_info()
        return info if self._steps_left > 0 else info | self._subtasks.info()

    def close(self) -> None:
        """Disconnects from the simulator."""
        self._simulator.close()


def _at(scene: Mapping[str, Any], path: Sequence[Any]) -> float:
    kind, name, key = path
    return float(scene[kind][name][key])


def _simulator(folder: str) -> Any:
    """Builds the simulator that a split of CALVIN's data was recorded with, without cameras."""
    try:
        importlib.import_module("calvin_env")
        hydra, omegaconf = importlib.import_module("hydra"), importlib.import_module("omegaconf")
    except ImportError as error:
        raise MissingPackageError(
            f"Calvin needs calvin_env, which cannot be imported ({error}). It is not on PyPI; "
            "https://github.com/mees/calvin_env says how to install it."
        ) from error
    path = Path(folder).expanduser() / CONFIG
    if not folder or not path.is_file():
        raise ValueError(
            f"folder={folder!r}: it has no {CONFIG}. Give a split of CALVIN's data, such as task_D_D/training."
        )
    config = omegaconf.OmegaConf.load(path)
    config.cameras = {}
    return hydra.utils.instantiate(config.env, show_gui=False, use_vr=False, use_egl=False, use_scene_info=True)
