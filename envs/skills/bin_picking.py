"""Meta-World's scene with two bins for skill discovery; it needs the extra ``metaworld``.

The model and its numbers are those of ``SawyerBinPickingEnvV3``, stepped by MuJoCo itself.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import mujoco
import numpy as np

from ..models import model_folder
from ..tasks import Task
from .mujoco import SkillMujocoEnv

HAND_START = (0.0, 0.6, 0.2)  # m
HAND_LOW, HAND_HIGH = (-0.5, 0.4, 0.07), (0.5, 1.0, 0.5)  # where the hand may go, m
DOWNWARDS = (1.0, 0.0, 1.0, 0.0)  # orientation of the hand, a quaternion w, x, y, z that MuJoCo normalises
STEP = 0.01  # m, of the hand
OBJECT_LOW, OBJECT_HIGH = (-0.21, 0.65), (-0.03, 0.75)  # x and y of the object at the start, m
OBJECT, OBJECT_SPEED = slice(9, 12), slice(9, 15)  # its position in qpos, its velocities in qvel
GOAL_RANGE = 0.06  # of goals around the middle of the other bin along x and y, m
WELD = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0)  # of the hand to what moves it
OPEN = 0.1  # m, between the fingers


@functools.cache
def _load() -> tuple[mujoco.MjModel, np.ndarray]:
    """Loads the model and plays how the hand moves to its start, once per process; callers copy the model."""
    folder = model_folder("metaworld", "metaworld", "BinPicking")
    model = mujoco.MjModel.from_xml_path(str(folder / "assets" / "sawyer_xyz" / "sawyer_bin_picking.xml"))
    model.eq_data[model.eq_type == mujoco.mjtEq.mjEQ_WELD] = WELD
    data = mujoco.MjData(model)
    for _ in range(50):
        data.mocap_pos[0], data.mocap_quat[0], data.ctrl[:] = HAND_START, DOWNWARDS, (-1.0, 1.0)
        mujoco.mj_step(model, data, BinPicking.frame_skip)
    state = np.zeros(mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_INTEGRATION))
    mujoco.mj_getState(model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    return model, np.concatenate([state, data.body("obj").xpos[2:]])


class BinPicking(SkillMujocoEnv):
    """A Sawyer arm over two bins, one of which has an object in it.

    Observation ``[22]``: position of the hand (3), opening of the gripper (1), position (3) and orientation (4) of the
    object, then the same one step earlier, standardised. Action ``[4]`` in ±1: displacement of the hand along x, y and
    z in units of 1 cm, force that closes the gripper. Reward: how much nearer the step brought the object to the middle
    of the other bin, in m, which skill discovery does not use. dt = 0.0125 s.

    Coordinates are the positions of hand and object, in m.
    """

    frame_skip = 5
    cell_size = 0.1
    goal_radius = 0.1
    # fmt: off
    observation_mean: ClassVar[Sequence[float]] = (
        0.000503, 0.601, 0.196, 0.876, -0.121, 0.701, 0.03, 1, 8.91e-07, 0.000129, 2.06e-05, 0.000587, 0.601,
        0.196, 0.88, -0.121, 0.701, 0.03, 1, 8.16e-07, 0.000127, 2.02e-05,
    )
    observation_std: ClassVar[Sequence[float]] = (
        0.05, 0.05, 0.05, 0.142, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.14, 0.05, 0.05,
        0.05, 0.05, 0.05, 0.05, 0.05,
    )
    # fmt: on
    camera: ClassVar[Mapping[str, Any]] = {
        "type": mujoco.mjtCamera.mjCAMERA_FREE.value,
        "lookat": (0.0, 0.65, 0.1),
        "distance": 1.3,
        "azimuth": 150.0,
        "elevation": -30.0,
    }
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["human", "rgb_array"], "render_fps": 80}  # type: ignore[misc]

    def __init__(self, *args: Any, **kwargs: Any):
        """Builds the environment; see ``SkillMujocoEnv`` for the arguments."""
        self._now, self._before = np.zeros((2, 11))
        super().__init__(*args, **kwargs)
        self._distance = 0.0  # of the object from the middle of the other bin, m

    def _pristine_model(self) -> mujoco.MjModel:
        return _load()[0]

    def _bind_simulator(self) -> None:
        super()._bind_simulator()
        places, body = self.data.xpos, self.model.body
        self._hand, self._object, self._goal = (places[body(name).id] for name in ("hand", "obj", "bin_goal"))
        self._fingers = [places[body(name).id] for name in ("rightclaw", "leftclaw")]
        self._orientation = self.data.xquat[body("obj").id]

    def _build_spaces(self, bounds: Sequence[float], action_space: gymnasium.spaces.Box) -> None:
        super()._build_spaces(bounds, gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32))

    def _observed(self) -> tuple[np.ndarray, ...]:
        return self._now, self._before

    @property
    def coordinates(self) -> np.ndarray:
        """Positions of hand and object, ``[6]`` in m."""
        return np.concatenate([self._hand, self._object])

    def _look(self) -> None:
        """Observes the state."""
        self._before[:] = self._now
        right, left = self._fingers
        self._now[:3], self._now[3] = self._hand, min(float(np.linalg.norm(right - left)) / OPEN, 1.0)
        self._now[4:7], self._now[7:] = self._object, self._orientation

    def _begin_episode(self, task: Task) -> None:
        start = _load()[1]
        mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_setState(self.model, self.data, start[:-1], mujoco.mjtState.mjSTATE_INTEGRATION)
        self._put_object(self.np_random.uniform(OBJECT_LOW, OBJECT_HIGH))

    def _put_object(self, place: np.ndarray) -> None:
        """Puts the object onto the bottom of a bin.

        Args:
            place: x and y in m.
        """
        self.qpos[OBJECT], self.qvel[OBJECT_SPEED] = (*place, _load()[1][-1]), 0.0
        mujoco.mj_forward(self.model, self.data)
        for _ in range(2):  # nothing came before
            self._look()
        self._distance = np.linalg.norm(self._object - self._goal).item()

    def sample_goal(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draws a goal: an initial state with the object in the other bin.

        The environment needs a reset afterwards.

        Args:
            rng: Source of the place in the bin, and of the seed of the reset.

        Returns:
            Observation ``[22]`` and coordinates ``[6]``.
        """
        self.reset(seed=int(rng.integers(2**31)))
        self._put_object(self._goal[:2] + rng.uniform(-GOAL_RANGE, GOAL_RANGE, 2))
        return self._observation(), self.coordinates

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        data, action = self.data, np.asarray(action, np.float64)
        place = data.mocap_pos[0] + STEP * np.clip(action[:3], -1.0, 1.0)
        data.mocap_pos[0], data.mocap_quat[0] = np.clip(place, HAND_LOW, HAND_HIGH), DOWNWARDS
        self.ctrl[:] = action[3], -action[3]
        mujoco.mj_step(self.model, data, self.frame_skip)
        mujoco.mj_forward(self.model, data)  # places of bodies date from the last stage of the step otherwise
        self._look()
        return self._reward(), False

    def _reward(self) -> float:
        before, self._distance = self._distance, np.linalg.norm(self._object - self._goal).item()
        return before - self._distance
