"""The kitchen of gymnasium-robotics for skill discovery; it needs the extra ``robotics``.

The model and its numbers are those of ``FrankaKitchen-v1``, stepped by MuJoCo itself.
"""

import functools
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import mujoco
import numpy as np

from ..tasks import Task
from .models import model_folder
from .mujoco import SkillMujocoEnv

NUM_ROBOT = 9  # joints of the robot, which come first
INITIAL_POSITION = (
    *(0.148388023, -1.76848573, 1.84390296, -2.4768576, 0.260252026, 0.712533105, 1.59515394),  # arm
    *(0.0479267505, 0.0371350919),  # fingers
    *(-2.66279850e-04, -5.18043486e-05, 3.12877220e-05, -4.51199853e-05, -3.90842156e-06, -4.22629655e-05),  # burners
    *(6.28065475e-05, 4.04984708e-05),
    *(4.62730939e-04, -2.26906415e-04, -4.65501369e-04, -6.44129196e-03, -1.77048263e-03, 1.08009684e-03),
    *(-0.26939744, 0.350383255, 1.61944683, 1.00618764, 4.06395120e-03, -6.62095997e-03, -2.68278933e-04),  # kettle
)
DONE_WITHIN = 0.3  # of an element's goal, in the units of its joints
MAX_SPEED = 2.0  # of the robot's joints, rad/s; of its fingers, m/s


@dataclass(frozen=True)
class Element:
    """Something in the kitchen that can be moved.

    Attributes:
        joints: Where its joints are in ``qpos``.
        goal: Their values once the task is done, in rad and m; of a free body, its pose.
        num_moved: How many of these numbers tell how far it was moved: of a free body, its position.
    """

    joints: slice
    goal: tuple[float, ...]
    num_moved: int

    @property
    def moved(self) -> slice:
        """Where the numbers that tell how far it was moved are in ``qpos``."""
        return slice(self.joints.start, self.joints.start + self.num_moved)


ELEMENTS: Mapping[str, Element] = {
    "bottom burner": Element(slice(11, 13), (-0.88, -0.01), 2),
    "light switch": Element(slice(17, 19), (-0.69, -0.05), 2),
    "slide cabinet": Element(slice(19, 20), (0.37,), 1),
    "hinge cabinet": Element(slice(20, 22), (0.0, 1.45), 2),
    "microwave": Element(slice(22, 23), (-0.75,), 1),
    "kettle": Element(slice(23, 30), (-0.23, 0.75, 1.62, 0.99, 0.0, 0.0, -0.06), 3),
}
"""The elements of the six tasks that METRA and CSF count, with FrankaKitchen's goals."""


@dataclass(frozen=True)
class Limits:
    """Numbers of ``franka_config.xml``, in rad and rad/s, of fingers and kettle in m and m/s.

    Attributes:
        position: Least and largest positions of the robot's joints, ``[9, 2]``.
        speed: Their least and largest velocities, ``[9, 2]``.
        position_noise: Amplitude of the noise of each number of ``qpos``, ``[30]``.
        speed_noise: That of each number of ``qvel``, ``[29]``.
    """

    position: np.ndarray
    speed: np.ndarray
    position_noise: np.ndarray
    speed_noise: np.ndarray


@functools.cache
def _load() -> tuple[mujoco.MjModel, Limits]:
    """Loads model and limits once per process; callers copy the model."""
    folder = model_folder("gymnasium_robotics", "robotics", "Kitchen") / "envs" / "assets" / "kitchen_franka"
    model = mujoco.MjModel.from_xml_path(str(folder / "kitchen_assets" / "kitchen_env_model.xml"))
    joints = ElementTree.parse(folder / "franka_assets" / "franka_config.xml").getroot()

    def numbers(name: str, count: int) -> np.ndarray:
        return np.array([[float(x) for x in joints.find(f"qpos{i}").get(name).split()] for i in range(count)])  # type: ignore[union-attr]

    position_noise = numbers("pos_noise_amp", model.nv)[:, 0]
    # The kettle's pose has one number more than its velocity: FrankaKitchen repeats that of the last finger.
    position_noise = np.concatenate([position_noise[:NUM_ROBOT], position_noise[NUM_ROBOT - 1 :]])
    return model, Limits(
        numbers("pos_bound", NUM_ROBOT),
        numbers("vel_bound", NUM_ROBOT),
        position_noise,
        numbers("vel_noise_amp", model.nv)[:, 0],
    )


class Kitchen(SkillMujocoEnv):
    """A Franka arm in a kitchen, where it can move a kettle, doors, a light switch and a knob.

    Observation ``[59]``: positions (9) and velocities (9) of the robot's joints, positions (21) and velocities (20) of
    what can be moved, standardised. Action ``[9]`` in ±1: velocities of the robot's joints in units of 2 rad/s, of its
    fingers in 2 m/s. Reward: tasks that the step did for the first time in the episode, which skill discovery does not
    use. dt = 0.08 s. The info of the last step has ``tasks_completed``, the names of the tasks that were done.

    Coordinates are how far each of the six elements is from where it rests, in rad or m.
    """

    frame_skip = 40
    default_max_steps = 50
    cell_size = DONE_WITHIN
    goal_radius = DONE_WITHIN
    # fmt: off
    observation_mean: ClassVar[Sequence[float]] = (
        0.154, -1.71, 2.15, -2.35, 0.28, 0.77, 1.6, 0.0204, 0.0212, 0.00163, 0.0424, 0.095, 0.0417, 0.00265,
        0.015, 0.00296, -0.00588, -0.00391, -1.05e-05, 1.16e-08, 2.47e-05, 2.23e-07, 2.41e-05, 2.24e-07,
        2.54e-05, 3.62e-07, 2.67e-05, 4.98e-06, -5.03e-06, -0.00644, -1.33e-05, 9.3e-06, -0.268, 0.352, 1.62, 1,
        -2.95e-05, -7.46e-06, 0.000581, 7e-05, 4.42e-06, -1.33e-06, 3.62e-06, 4.62e-06, 3.41e-06, -7.72e-06,
        -3.2e-06, -6.89e-05, 1.64e-05, 7.02e-05, -1.48e-07, 0.000223, -0.000138, 0.000911, 0.00152, 0.000177,
        0.000614, 0.000356, 0.00118,
    )
    observation_std: ClassVar[Sequence[float]] = (
        0.224, 0.0661, 0.236, 0.211, 0.269, 0.276, 0.283, 0.05, 0.05, 0.492, 0.356, 0.472, 0.471, 0.474, 0.502,
        0.455, 0.0754, 0.0748, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05,
        0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05,
        0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.1, 0.0658, 0.0862,
    )
    # fmt: on
    camera: ClassVar[Mapping[str, Any]] = {
        "type": mujoco.mjtCamera.mjCAMERA_FREE.value,
        "lookat": (-0.2, 0.5, 2.0),
        "distance": 2.2,
        "azimuth": 70.0,
        "elevation": -35.0,
    }
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["human", "rgb_array"], "render_fps": 12}  # type: ignore[misc]

    def __init__(self, *args: Any, robot_noise_ratio: float = 0.01, object_noise_ratio: float = 0.0005, **kwargs: Any):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            robot_noise_ratio: Scale of the noise that is added to the observation of the robot's joints, which also
                disturbs their control.
            object_noise_ratio: Scale of the noise that is added to the observation of everything else.
            **kwargs: As for ``SkillMujocoEnv``.
        """
        for name, ratio in (("robot_noise_ratio", robot_noise_ratio), ("object_noise_ratio", object_noise_ratio)):
            if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0.0 <= ratio < np.inf:
                raise ValueError(f"{name}={ratio!r}: expected a number >= 0.")
        self.robot_noise_ratio, self.object_noise_ratio = float(robot_noise_ratio), float(object_noise_ratio)
        self._seen = np.zeros(59)  # what was last observed: with noise, not standardised
        self._done: set[str] = set()  # tasks of this episode
        super().__init__(*args, **kwargs)
        _, self._limits = _load()
        position, speed = self._limits.position_noise, self._limits.speed_noise
        parts = (position[:NUM_ROBOT], speed[:NUM_ROBOT], position[NUM_ROBOT:], speed[NUM_ROBOT:])
        ratios = (robot_noise_ratio, robot_noise_ratio, object_noise_ratio, object_noise_ratio)
        self._noise = np.concatenate([ratio * part for ratio, part in zip(ratios, parts, strict=True)])
        self._rest = np.array(INITIAL_POSITION)

    def _pristine_model(self) -> mujoco.MjModel:
        return _load()[0]

    def _build_spaces(self, bounds: Sequence[float], action_space: gymnasium.spaces.Box) -> None:
        super()._build_spaces(bounds, gymnasium.spaces.Box(-1.0, 1.0, (NUM_ROBOT,), np.float32))

    def _observed(self) -> tuple[np.ndarray, ...]:
        return (self._seen,)

    def _look(self) -> None:
        """Observes the state, with noise."""
        parts = (self.qpos[:NUM_ROBOT], self.qvel[:NUM_ROBOT], self.qpos[NUM_ROBOT:], self.qvel[NUM_ROBOT:])
        np.concatenate(parts, out=self._seen)
        self._seen += self._noise * self.np_random.uniform(-1.0, 1.0, self._seen.size)

    @property
    def coordinates(self) -> np.ndarray:
        """How far each element is from where it rests, ``[6]`` in rad or m."""
        return np.array([np.linalg.norm(self.qpos[one.moved] - self._rest[one.moved]) for one in ELEMENTS.values()])

    def sample_goal(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draws a goal: the initial state with one task done, and its coordinates.

        The environment needs a reset afterwards.

        Args:
            rng: Source of the task, and of the seed of the reset.

        Returns:
            Observation ``[59]`` and coordinates ``[6]``.
        """
        self.reset(seed=int(rng.integers(2**31)))
        element = [*ELEMENTS.values()][rng.integers(len(ELEMENTS))]
        self.qpos[element.joints] = element.goal
        mujoco.mj_normalizeQuat(self.model, self.qpos)
        mujoco.mj_forward(self.model, self.data)
        self._look()
        return self._observation(), self.coordinates

    def _begin_episode(self, task: Task) -> None:
        mujoco.mj_resetData(self.model, self.data)
        self.qpos[:] = self._rest
        mujoco.mj_forward(self.model, self.data)
        self._done = set()
        self._look()

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        limits = self._limits
        speed = np.clip(MAX_SPEED * np.clip(np.asarray(action, np.float64), -1.0, 1.0), *limits.speed.T)
        # From where the joints were seen, as FrankaKitchen has it.
        self.ctrl[:] = np.clip(self._seen[:NUM_ROBOT] + speed * self.dt, *limits.position.T)
        mujoco.mj_step(self.model, self.data, self.frame_skip)
        self._look()
        return self._reward(), False

    def _reward(self) -> float:
        before = len(self._done)
        self._done |= {
            name
            for name, element in ELEMENTS.items()
            if np.linalg.norm(self.qpos[element.joints] - element.goal) < DONE_WITHIN
        }
        return float(len(self._done) - before)

    def episode_info(self) -> dict[str, Any]:
        """Returns the ``info`` of reset and of the last step, which also has ``tasks_completed``."""
        info = super().episode_info()
        done = tuple(name for name in ELEMENTS if name in self._done)
        return info if self._steps_left > 0 else info | {"tasks_completed": done}
