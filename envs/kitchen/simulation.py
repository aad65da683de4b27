"""The kitchen of gymnasium-robotics: a Franka arm among things that it can move; it needs the extra ``robotics``.

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

from ..factors import Factor
from ..models import model_folder
from ..mujoco.base import MujocoTaskEnv
from ..tasks import Splits, Task

JOINTS: Mapping[str, int] = {
    **{f"robot:panda0_joint{number}": 1 for number in range(1, 8)},
    "robot:panda0_finger_joint1": 1,
    "robot:panda0_finger_joint2": 1,
    **{"knob_Joint_1": 1, "bottom_right_burner": 1, "knob_Joint_2": 1, "bottom_left_burner": 1},
    **{"knob_Joint_3": 1, "top_right_burner": 1, "knob_Joint_4": 1, "top_left_burner": 1},
    **{"light_switch": 1, "light_joint": 1, "slide_cabinet": 1},
    **{"left_hinge_cabinet": 1, "right_hinge_cabinet": 1, "microwave": 1, "kettle": 7},
}
"""The model's joints, in their order, and how many numbers of ``qpos`` each has: 9 of the robot, then 21."""
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


def place_of(*names: str) -> slice:
    """Returns where joints that follow one another are in ``qpos``."""
    order = [*JOINTS]
    first = order.index(names[0])
    start = sum(JOINTS[name] for name in order[:first])
    return slice(start, start + sum(JOINTS[name] for name in order[first : first + len(names)]))


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
    "bottom burner": Element(place_of("knob_Joint_2", "bottom_left_burner"), (-0.88, -0.01), 2),
    "light switch": Element(place_of("light_switch", "light_joint"), (-0.69, -0.05), 2),
    "slide cabinet": Element(place_of("slide_cabinet"), (0.37,), 1),
    "hinge cabinet": Element(place_of("left_hinge_cabinet", "right_hinge_cabinet"), (0.0, 1.45), 2),
    "microwave": Element(place_of("microwave"), (-0.75,), 1),
    "kettle": Element(place_of("kettle"), (-0.23, 0.75, 1.62, 0.99, 0.0, 0.0, -0.06), 3),
}
"""The elements of six tasks, with FrankaKitchen's goals."""


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
def load() -> tuple[mujoco.MjModel, Limits]:
    """Loads model and limits once per process; callers copy the model.

    Raises:
        ValueError: gymnasium-robotics is missing, or has another kitchen.
    """
    folder = model_folder("gymnasium_robotics", "robotics", "Kitchen") / "envs" / "assets" / "kitchen_franka"
    model = mujoco.MjModel.from_xml_path(str(folder / "kitchen_assets" / "kitchen_env_model.xml"))
    if (found := [model.joint(index).name for index in range(model.njnt)]) != [*JOINTS]:
        raise ValueError(
            f"The kitchen of the installed gymnasium-robotics has the joints {found}; expected {[*JOINTS]}. "
            "Install gymnasium-robotics 1.4.2."
        )
    joints = ElementTree.parse(folder / "franka_assets" / "franka_config.xml").getroot()

    def numbers(name: str, count: int) -> np.ndarray:
        return np.array([[float(x) for x in joints.find(f"qpos{i}").get(name).split()] for i in range(count)])  # type: ignore[union-attr]

    return model, Limits(
        numbers("pos_bound", NUM_ROBOT),
        numbers("vel_bound", NUM_ROBOT),
        numbers("pos_noise_amp", model.nq)[:, 0],
        numbers("vel_noise_amp", model.nv)[:, 0],
    )


class FrankaKitchen(MujocoTaskEnv):
    """A Franka arm in a kitchen: model, control and noise. Subclasses say what is observed and rewarded."""

    factors: ClassVar[tuple[Factor, ...]] = ()
    splits: ClassVar[Splits] = {"train": ({},)}
    frame_skip = 40
    camera: ClassVar[Mapping[str, Any]] = {
        "type": mujoco.mjtCamera.mjCAMERA_FREE.value,
        "lookat": (-0.2, 0.5, 2.0),
        "distance": 2.2,
        "azimuth": 70.0,
        "elevation": -35.0,
    }
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["human", "rgb_array"], "render_fps": 12}  # type: ignore[misc]

    def __init__(self, *args: Any, **kwargs: Any):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            **kwargs: As for ``MujocoTaskEnv``.
        """
        self.seen = np.zeros(self._num_seen)
        super().__init__(*args, **kwargs)
        _, self.limits = load()
        self._rest = np.array(INITIAL_POSITION)
        self._noise = self._noise_amplitudes()

    # What a subclass implements.

    _num_seen: ClassVar[int]
    """Size of ``seen``: what was last observed, with noise; the robot's joints come first."""

    def _state(self) -> tuple[np.ndarray, ...]:
        """Returns the parts of the state that are observed, in order."""
        raise NotImplementedError

    def _noise_amplitudes(self) -> np.ndarray:
        """Returns the largest noise of each number that is observed."""
        raise NotImplementedError

    # What all share.

    def _pristine_model(self) -> mujoco.MjModel:
        return load()[0]

    def _build_spaces(self, bounds: Sequence[float], action_space: gymnasium.spaces.Box) -> None:
        super()._build_spaces(bounds, gymnasium.spaces.Box(-1.0, 1.0, (NUM_ROBOT,), np.float32))

    def _observed(self) -> tuple[np.ndarray, ...]:
        return (self.seen,)

    def _look(self) -> None:
        """Observes the state, with noise."""
        np.concatenate(self._state(), out=self.seen)
        self.seen += self._noise * self.np_random.uniform(-1.0, 1.0, self.seen.size)

    def is_done(self, name: str) -> bool:
        """Whether an element of ``ELEMENTS`` is where its task wants it now."""
        element = ELEMENTS[name]
        return bool(np.linalg.norm(self.qpos[element.joints] - element.goal) < DONE_WITHIN)

    def _begin_episode(self, task: Task) -> None:
        mujoco.mj_resetData(self.model, self.data)
        self.qpos[:] = self._rest
        mujoco.mj_forward(self.model, self.data)
        self._look()

    def _drive(self, action: np.ndarray) -> None:
        """Moves the joints for a step, and observes the state."""
        speed = np.clip(MAX_SPEED * np.clip(np.asarray(action, np.float64), -1.0, 1.0), *self.limits.speed.T)
        # From where the joints were seen, as FrankaKitchen has it.
        self.ctrl[:] = np.clip(self.seen[:NUM_ROBOT] + speed * self.dt, *self.limits.position.T)
        mujoco.mj_step(self.model, self.data, self.frame_skip)
        self._look()
