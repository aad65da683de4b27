"""Bodies of the DeepMind Control Suite that observe pictures of themselves, as in METRA and CSF.

The colour of the floor tells the place: without it, pictures of a camera that follows the body would all be alike.
"""

import functools
from typing import Any, ClassVar

import gymnasium
import mujoco
import numpy as np

from ..rendering import OffScreen
from .dm_control import ControlSuiteEnv, Humanoid, Quadruped, spec_of

SIZE, STACK = 64, 3  # pixels along each edge, and pictures of an observation
TEXELS = 256  # of the floor along each edge
FLOOR_SIZE, FLOOR_BLUE = 15.0, 128  # half of its extent along x and y in m


@functools.cache
def _compile(body: str) -> mujoco.MjModel:
    """Compiles a body on the coloured floor once per process; callers copy it."""
    spec = spec_of(body)
    row, column = np.meshgrid(np.arange(TEXELS), np.arange(TEXELS), indexing="ij")
    colours = np.stack([row, column, np.full_like(row, FLOOR_BLUE)], axis=-1).astype(np.uint8)
    texture = spec.add_texture(
        name="places", type=mujoco.mjtTexture.mjTEXTURE_2D, width=TEXELS, height=TEXELS, nchannel=3
    )
    texture.data = colours.tobytes()
    material = spec.add_material(name="places", texuniform=False, texrepeat=(1.0, 1.0), reflectance=0.0)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "places"
    floor = spec.geom("floor")
    floor.material, floor.size = "places", (FLOOR_SIZE, FLOOR_SIZE, floor.size[2])
    return spec.compile()


class PixelEnv(ControlSuiteEnv):
    """A body that observes its last pictures, oldest first; at a reset, the first picture is repeated.

    Observation ``[3, 64, 64, 3]`` uint8: pictures, rows, columns, colours. The layout is that of Gymnasium's
    ``FrameStackObservation``. Drawing needs EGL or OSMesa where there is no display.

    Attributes:
        eye: Name of the suite's camera that takes the pictures.
        goal_steps: Steps without action after which the picture of a goal is taken, as in the reference.
    """

    thread_safe = False  # of an OpenGL context
    eye: ClassVar[str]
    goal_steps: ClassVar[int] = 1

    def __init__(self, *args: Any, **kwargs: Any):
        """Builds the environment; see ``SkillMujocoEnv`` for the arguments.

        Raises:
            DependencyNotInstalled: OpenGL does not work here.
        """
        self._screen: OffScreen | None = None
        super().__init__(*args, **kwargs)
        self.observation_space = gymnasium.spaces.Box(0, 255, (STACK, SIZE, SIZE, 3), np.uint8)
        self._pictures = np.zeros(self.observation_space.shape, np.uint8)
        self._picture()  # says at once if nothing can be drawn

    def _pristine_model(self) -> mujoco.MjModel:
        return _compile(self.body)

    @property
    def skill_obs_dim(self) -> int:
        """How many numbers of the observation do not depend on a task: all."""
        return self._pictures.size

    def _picture(self) -> np.ndarray:
        """Draws the present state, ``[64, 64, 3]``."""
        self._screen = self._screen or OffScreen(self.model, self.eye, SIZE, SIZE, plain=True)
        return self._screen.draw(self.model, self.data)

    def _observation(self) -> np.ndarray:
        super()._observation()
        self._pictures = np.repeat(self._picture()[None], STACK, axis=0)
        return self._pictures.copy()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advances by one step; see ``MetaTaskEnv.step``."""
        _, reward, terminated, truncated, info = super().step(action)
        self._pictures = np.concatenate([self._pictures[1:], self._picture()[None]])
        return self._pictures.copy(), reward, terminated, truncated, info

    def _place(self, coordinates: Any) -> None:
        for _ in range(self.goal_steps):
            self._advance(np.zeros(self._action_size))
        super()._place(coordinates)
        mujoco.mj_forward(self.model, self.data)  # lights follow the body too

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out what draws, which cannot be pickled."""
        return {**super().__getstate__(), "_screen": None}

    def close(self) -> None:
        """Frees what draws."""
        super().close()
        if self._screen is not None:
            self._screen.close()
            self._screen = None


class QuadrupedPixels(PixelEnv, Quadruped):
    """The suite's quadruped, which observes pictures of itself and does not stop when it falls.

    Observation ``[3, 64, 64, 3]`` uint8. Everything else is as in :class:`Quadruped`.
    """

    eye = "y"


class HumanoidPixels(PixelEnv, Humanoid):
    """The suite's humanoid, which observes pictures of itself and does not stop when it falls.

    Observation ``[3, 64, 64, 3]`` uint8. Everything else is as in :class:`Humanoid`.
    """

    eye = "back"
    goal_steps = 50
