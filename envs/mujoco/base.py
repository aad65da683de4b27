"""Base of the MuJoCo environments: raw ``mujoco``, every task set from the pristine model.

A family is a small subclass: the XML, the frame skip, the factors and splits, what is observed, the reward and the
noise of the initial state.
"""

import copy
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import mujoco
import numpy as np

from ..base import MetaTaskEnv
from ..checks import check_count, check_switch
from ..factors import Factor
from ..rendering import OffScreen, Window
from ..tasks import Task

ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"


@functools.cache
def _load_model(path: str) -> mujoco.MjModel:
    """Compiles a model once per process; callers copy it."""
    return mujoco.MjModel.from_xml_path(path)


class MujocoTaskEnv(MetaTaskEnv):
    """A robot whose masses and dampings depend on the task.

    Each reset restores the model's arrays from pristine copies, scales masses **and** inertias and dampings, and lets
    ``mj_setConst`` refresh what MuJoCo derives from them (it overwrites the state, so the state is set afterwards).
    Episodes never terminate; each is truncated at ``max_steps``.

    Attributes:
        xml: File in gymnasium's assets folder.
        frame_skip: Simulation steps per environment step.
        mass_exponents: Power of the mass scale, one for all bodies or ``[nbody]``. -1 divides, 0 ignores the scale.
        damping_exponents: Power of the damping scale, one for all degrees of freedom or ``[nv]``.
        reference_damping_exponents: The authors' exponents, for ``reference_physics``; None is ``damping_exponents``.
        reset_noise: Largest uniform noise of each initial position and velocity.
        task_arrays: Model arrays that tasks may change; each reset restores them.
        camera: Distance in m, azimuth and elevation in degrees of the camera that follows the first body.
    """

    factors: ClassVar[tuple[Factor, ...]] = (Factor("mass_scale"), Factor("damping_scale"))
    xml: ClassVar[str]
    frame_skip: ClassVar[int] = 5
    mass_exponents: ClassVar[int | Sequence[int]] = 1
    damping_exponents: ClassVar[int | Sequence[int]] = 1
    reference_damping_exponents: ClassVar[int | Sequence[int] | None] = None
    reset_noise: ClassVar[float] = 0.01
    task_arrays: ClassVar[tuple[str, ...]] = ("body_mass", "body_inertia", "dof_damping")
    camera: ClassVar[Mapping[str, float]] = {"distance": 4.5, "azimuth": 90.0, "elevation": -15.0}
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["human", "rgb_array"], "render_fps": 20}  # type: ignore[misc]

    def __init__(self, *args: Any, reference_physics: bool = False, width: int = 480, height: int = 480, **kwargs: Any):
        """Checks the arguments, then loads the model.

        Args:
            *args: As for ``MetaTaskEnv``.
            reference_physics: Reproduces the quirks of the authors' code, for comparison with their numbers: the mass
                scale does not change inertias and derived constants, and a free body's velocity is computed from its
                frame, which dates from the integrator's last stage. The families' docstrings list further differences.
                (Capsules were also a few percent lighter in their MuJoCo 2.1.0; this is not reproduced.)
            width: Width of rendered images in pixels.
            height: Height of rendered images in pixels.
            **kwargs: As for ``MetaTaskEnv``.
        """
        super().__init__(*args, **kwargs)
        self.reference_physics = check_switch("reference_physics", reference_physics)
        self._image_size = (check_count("width", width, 480), check_count("height", height, 480))
        self._renderer: Any = None

        self.model = copy.copy(self._pristine_model())
        self.data = mujoco.MjData(self.model)
        self.dt = self.model.opt.timestep * self.frame_skip
        self._pristine = {name: getattr(self.model, name).copy() for name in self.task_arrays}
        damping = (self.reference_damping_exponents if self.reference_physics else None) or self.damping_exponents
        self._mass_exponents = np.full(self.model.nbody, self.mass_exponents, float)
        self._damping_exponents = np.full(self.model.nv, damping, float)
        self._crippled = np.zeros(0, dtype=np.intp)  # actuators without torque
        self._velocity = np.zeros(1)
        self.x_velocity = 0.0  # m/s, over the last step

        self._bind_simulator()
        size = sum(part.size for part in self._observed())
        low, high = self.model.actuator_ctrlrange.astype(np.float32).T
        self._build_spaces([np.inf] * size, gymnasium.spaces.Box(low, high, dtype=np.float32))

    # What a family implements.

    def _pristine_model(self) -> mujoco.MjModel:
        """Returns the compiled model, which is copied; by default that of ``xml``."""
        return _load_model(str(ASSETS / self.xml))

    def _observed(self) -> tuple[np.ndarray, ...]:
        """Returns the live views (into ``self.data``, for example) that make up the observation, in order."""
        raise NotImplementedError

    def _reward(self) -> float:
        """Returns the reward of the last step, from ``self.x_velocity``, ``self.ctrl`` and ``self.data``."""
        raise NotImplementedError

    def _add_reset_noise(self) -> None:
        """Perturbs ``self.qpos`` and ``self.qvel``, which hold the model's initial state, in place."""
        self.qpos += self.np_random.uniform(-self.reset_noise, self.reset_noise, self.qpos.size)
        self.qvel += self.np_random.uniform(-self.reset_noise, self.reset_noise, self.qvel.size)

    def _model_arrays(self, task: Task) -> Mapping[str, np.ndarray]:
        """Returns the values of ``task_arrays`` before scaling to ``task``; by default the pristine ones."""
        return self._pristine

    # What all families share.

    def _squared_action(self) -> float:
        """Returns ``|a|^2`` of the last action, without that of dead actuators."""
        return self.ctrl.dot(self.ctrl).item()

    def _set_task(self, task: Task) -> None:
        """Sets the model to ``task``, from the pristine arrays."""
        model = self.model
        for name, pristine in self._model_arrays(task).items():
            getattr(model, name)[...] = pristine
        if "mass_scale" in task:
            scales = task["mass_scale"] ** self._mass_exponents
            model.body_mass *= scales
            if not self.reference_physics:
                model.body_inertia *= scales[:, None]
        if "damping_scale" in task:
            model.dof_damping *= task["damping_scale"] ** self._damping_exponents
        if not self.reference_physics:
            mujoco.mj_setConst(model, self.data)

    def _begin_episode(self, task: Task) -> None:
        self._set_task(task)
        mujoco.mj_resetData(self.model, self.data)
        self._add_reset_noise()
        mujoco.mj_normalizeQuat(self.model, self.qpos)
        mujoco.mj_forward(self.model, self.data)
        self.x_velocity = self._velocity[0] = 0.0

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        ctrl = self.ctrl
        ctrl[:] = action
        if self._crippled.size:
            ctrl[self._crippled] = 0.0
        x_before = self._x.item()
        mujoco.mj_step(self.model, self.data, self.frame_skip)
        self.x_velocity = self._velocity[0] = (self._x.item() - x_before) / self.dt
        return self._reward(), False

    def _write_observation(self) -> None:
        for target, source in self._copies:
            target[:] = source

    def _bind_simulator(self) -> None:
        """Takes the views into the simulator's arrays; they stay valid as long as ``self.data`` lives."""
        data = self.data
        self.qpos, self.qvel, self.ctrl = data.qpos, data.qvel, data.ctrl
        # The root's x. The authors take a free body's from its frame, a slide joint's from qpos.
        free = self.model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE
        self._x = data.xpos[1, :1] if self.reference_physics and free else data.qpos[:1]

    def _bind(self) -> None:
        super()._bind()
        self._bind_simulator()
        parts = [part.reshape(-1) for part in self._observed()]
        ends = np.cumsum([part.size for part in parts])
        self._copies = [(self._buffer[end - part.size : end], part) for part, end in zip(parts, ends, strict=True)]

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the renderer, which cannot be pickled."""
        return {**vars(self), "_renderer": None}

    def _draw(self) -> np.ndarray | None:
        if self.render_mode == "human":
            self._renderer = self._renderer or Window(self.model, self.data, self.camera, *self._image_size)
            self._renderer.show(self.model, self.data, self._caption() if self.render_task else [])
            return None
        self._renderer = self._renderer or OffScreen(self.model, self.camera, *self._image_size)
        return self._renderer.draw(self.model, self.data)

    def close(self) -> None:
        """Frees the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
