"""Tasks for the skills that were found: goals to go to, and hurdles.

Facts are those of the tasks in the code of Contrastive Successor Features (arXiv:2412.08021). All episodes have 200
steps. The observation ends with the numbers of the task; what comes before is what the same body observes without it.
"""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np

from ..checks import check_switch
from ..tasks import Task
from .dm_control import Humanoid, Quadruped
from .mujoco import Ant, HalfCheetah, SkillMujocoEnv

HURDLES = (-15.0, -13.0, -9.0, -5.0, -1.0, 3.0, 7.0, 11.0, 15.0, 19.0, 23.0, 27.0)  # x in m
HURDLE_SIZE, HURDLE_HEIGHT = (0.05, 1.0, 0.03), 0.2  # half of its extent along x, y, z; height of its centre
GOAL_COLOUR = (0.2, 0.7, 0.3, 0.4)


class SkillTaskEnv(SkillMujocoEnv):
    """A robot with a task, which the last numbers of the observation tell."""

    def __init__(self, *args: Any, **kwargs: Any):
        """Builds the environment; see ``SkillMujocoEnv`` for the arguments."""
        self._task_inputs = np.zeros(self.num_task_inputs)
        super().__init__(*args, **kwargs)

    def _pristine_model(self) -> mujoco.MjModel:
        return _compile(type(self))  # type: ignore[arg-type]

    @classmethod
    def _furnish(cls, spec: mujoco.MjSpec) -> None:
        """Adds to the world what belongs to the task; no bodies."""
        raise NotImplementedError

    def _task_numbers(self) -> Any:
        """Returns the last numbers of the observation, not standardised: ``[num_task_inputs]``."""
        raise NotImplementedError

    def _is_success(self) -> bool:
        """Returns whether the episode has been a success so far."""
        raise NotImplementedError

    def _observed(self) -> tuple[np.ndarray, ...]:
        return (*super()._observed(), self._task_inputs)

    def _write_observation(self) -> None:
        self._task_inputs[:] = self._task_numbers()
        super()._write_observation()

    def episode_info(self) -> dict[str, Any]:
        """Returns the ``info`` of reset and of the last step, which also has ``is_success``."""
        info = super().episode_info()
        return info if self._steps_left > 0 else info | {"is_success": self._is_success()}


@functools.cache
def _compile(cls: type[SkillTaskEnv]) -> mujoco.MjModel:
    """Compiles the body with what belongs to its task, once per process; callers copy it."""
    spec = cls._body_spec()
    cls._furnish(spec)
    return spec.compile()


class GoalEnv(SkillTaskEnv):
    """A robot that goes to one place after another: reward 1 for each step that ends near the goal, else 0.

    The first step of an episode never counts, as in the reference. The observation ends with the goal's coordinates,
    standardised like those of the body. The info of the last step has ``goals_reached`` and ``is_success``: whether
    that is all of them.

    Attributes:
        num_goals: Goals of an episode; after the last one, the first is next.
        steps_per_goal: Steps after which the next goal takes the place of a goal; None: one goal all the time.
        goal: Coordinates of the goal that the last observation tells, ``[k]``.
    """

    num_goals: ClassVar[int] = 1
    steps_per_goal: ClassVar[int | None] = None

    def __init__(self, *args: Any, **kwargs: Any):
        """Builds the environment; see ``SkillMujocoEnv`` for the arguments."""
        self.goal = np.zeros(self.num_coordinates)
        self._goals = self.goal[None]  # of this episode
        self._reached: set[int] = set()  # by their index
        self._num_steps = 0
        super().__init__(*args, **kwargs)

    @classmethod
    def _furnish(cls, spec: mujoco.MjSpec) -> None:
        # A site, which nothing collides with. Not at the origin, where MuJoCo would not read its position.
        shape, size = (
            (mujoco.mjtGeom.mjGEOM_CYLINDER, (cls.goal_radius, 0.01, 0.0))
            if cls.num_coordinates == 2
            else (mujoco.mjtGeom.mjGEOM_BOX, (cls.goal_radius, 1.0, 0.01))
        )
        spec.worldbody.add_site(name="goal", type=shape, size=size, pos=(1.0, 0.0, 0.0), rgba=GOAL_COLOUR)

    def _draw_goals(self, rng: np.random.Generator) -> np.ndarray:
        """Draws goals ``[num_goals, k]``: along each axis within ``goal_range`` of the one before, or of the origin."""
        ways = rng.uniform(-self.goal_range, self.goal_range, (self.num_goals, self.num_coordinates))
        return ways.cumsum(axis=0)

    def _begin_episode(self, task: Task) -> None:
        super()._begin_episode(task)
        self._num_steps = 0
        self._reached = set()
        self._goals = self._draw_goals(self.np_random)
        self._set_goal(self._goals[0])

    def _set_goal(self, goal: np.ndarray) -> None:
        self.goal = goal.copy()
        site = self.model.site("goal").id
        self.model.site_pos[site, : goal.size] = self.data.site_xpos[site, : goal.size] = goal

    def _goal_index(self) -> int:
        return self._num_steps // self.steps_per_goal % self.num_goals if self.steps_per_goal else 0

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        result = super()._advance(action)
        self._num_steps += 1
        if self.steps_per_goal and self._num_steps % self.steps_per_goal == 0:
            self._set_goal(self._goals[self._goal_index()])
        return result

    def _reward(self) -> float:
        is_near = np.linalg.norm(self.coordinates - self.goal) <= self.goal_radius
        if self._num_steps == 0 or not is_near:
            return 0.0
        self._reached.add(self._goal_index())
        return 1.0

    def _task_numbers(self) -> np.ndarray:
        return self.goal

    def _is_success(self) -> bool:
        return len(self._reached) == self.num_goals

    def episode_info(self) -> dict[str, Any]:
        """Returns the ``info`` of reset and of the last step, which also has ``goals_reached`` and ``is_success``."""
        info = super().episode_info()
        return info if self._steps_left > 0 else info | {"goals_reached": len(self._reached)}


class AntMultiGoal(GoalEnv, Ant):
    """Ant that goes to four places, 50 steps for each: reward 1 for each step that ends within 3 m of the goal.

    Observation ``[31]``: Ant's (29), x and y of the goal, standardised like those of the torso. Action ``[8]`` is
    Ant's. The first goal is within ±7.5 m of the origin along x and y, each other one within ±7.5 m of the one before.
    """

    goal_range = 7.5
    num_goals = 4
    steps_per_goal = 50
    num_task_inputs = 2
    observation_mean: ClassVar[Sequence[float]] = (*Ant.observation_mean, *Ant.observation_mean[:2])
    observation_std: ClassVar[Sequence[float]] = (*Ant.observation_std, *Ant.observation_std[:2])
    camera: ClassVar[dict[str, float]] = {"distance": 25.0, "azimuth": 90.0, "elevation": -50.0}

    def __init__(self, *args: Any, reference_goals: bool = False, goals_seed: int = 0, **kwargs: Any):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            reference_goals: Draws goals 2 to 4 only once, when the environment is built, and only goal 1 in each
                episode, as the authors' code does. Goal 2 need not be near goal 1 then.
            goals_seed: Seed of the goals that are drawn only once.
            **kwargs: As for ``SkillMujocoEnv``.
        """
        self.reference_goals = check_switch("reference_goals", reference_goals)
        if isinstance(goals_seed, bool) or not isinstance(goals_seed, (int, np.integer)) or goals_seed < 0:
            raise ValueError(f"goals_seed={goals_seed!r}: expected an integer >= 0.")
        self.goals_seed = int(goals_seed)
        self._fixed_goals = super()._draw_goals(np.random.default_rng(self.goals_seed))[1:]
        super().__init__(*args, **kwargs)

    def _draw_goals(self, rng: np.random.Generator) -> np.ndarray:
        goals = super()._draw_goals(rng)
        if self.reference_goals:
            goals[1:] = self._fixed_goals
        return goals


class HalfCheetahGoal(GoalEnv, HalfCheetah):
    """HalfCheetah that goes to a place: reward 1 for each step that ends within 3 m of the goal.

    Observation ``[19]``: HalfCheetah's (18), x of the goal, standardised like that of the torso. Action ``[6]`` is
    HalfCheetah's. The goal is within ±100 m.
    """

    num_task_inputs = 1
    observation_mean: ClassVar[Sequence[float]] = (*HalfCheetah.observation_mean, HalfCheetah.observation_mean[0])
    observation_std: ClassVar[Sequence[float]] = (*HalfCheetah.observation_std, HalfCheetah.observation_std[0])


class QuadrupedGoal(GoalEnv, Quadruped):
    """Quadruped that goes to a place: reward 1 for each step that ends within 1.5 m of the goal.

    Observation ``[59]``: Quadruped's (57), x and y of the goal, standardised like those of the torso. Action ``[12]``
    is Quadruped's. The goal is within ±7.5 m along x and y.
    """

    goal_range = 7.5
    goal_radius = 1.5
    num_task_inputs = 2
    observation_mean: ClassVar[Sequence[float]] = (*Quadruped.observation_mean, *Quadruped.observation_mean[:2])
    observation_std: ClassVar[Sequence[float]] = (*Quadruped.observation_std, *Quadruped.observation_std[:2])


class HumanoidGoal(GoalEnv, Humanoid):
    """Humanoid that goes to a place: reward 1 for each step that ends within 1.5 m of the goal.

    Observation ``[57]``: Humanoid's (55), x and y of the goal, standardised like those of the root. Action ``[21]`` is
    Humanoid's. The goal is within ±5 m along x and y.
    """

    goal_range = 5.0
    goal_radius = 1.5
    num_task_inputs = 2
    observation_mean: ClassVar[Sequence[float]] = (*Humanoid.observation_mean, *Humanoid.observation_mean[:2])
    observation_std: ClassVar[Sequence[float]] = (*Humanoid.observation_std, *Humanoid.observation_std[:2])


class HalfCheetahHurdle(SkillTaskEnv, HalfCheetah):
    """HalfCheetah that jumps over hurdles: reward is the change of the number of hurdles ahead that it has passed.

    Twelve bars lie across the track, seven of them ahead: at x = 3, 7, ..., 27 m. Those behind the start pay nothing. A
    hurdle is passed once the back foot is beyond it; going back over it costs the reward again.

    Observation ``[20]``: HalfCheetah's (18), x of the next hurdle, standardised like that of the torso, and its
    distance from the back foot on the same scale. Beyond the last hurdle, these are the last one's. Action ``[6]`` is
    HalfCheetah's. The info of the last step has ``is_success``: whether all hurdles ahead are passed.
    """

    num_task_inputs = 2
    observation_mean: ClassVar[Sequence[float]] = (*HalfCheetah.observation_mean, HalfCheetah.observation_mean[0], 0.0)
    observation_std: ClassVar[Sequence[float]] = (*HalfCheetah.observation_std, *[HalfCheetah.observation_std[0]] * 2)
    _hurdles: ClassVar[np.ndarray] = np.array(HURDLES)

    @classmethod
    def _furnish(cls, spec: mujoco.MjSpec) -> None:
        for x in HURDLES:
            spec.worldbody.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX,
                size=HURDLE_SIZE,
                pos=(x, 0.0, HURDLE_HEIGHT),
                rgba=(0.3, 0.16, 0.0, 1.0),
                conaffinity=1,  # as the floor has it: the robot's parts do not collide with each other
            )

    def _begin_episode(self, task: Task) -> None:
        super()._begin_episode(task)
        self._num_passed = self._count_passed()

    def _bind_simulator(self) -> None:
        super()._bind_simulator()
        self._foot = self.data.xpos[self.model.body("bfoot").id, :1]

    def _foot_x(self) -> float:
        """Returns x of the back foot's joint in m; with ``reference_physics`` that of the integrator's last stage."""
        if not self.reference_physics:
            mujoco.mj_kinematics(self.model, self.data)
        return self._foot.item()

    def _count_passed(self) -> int:
        return int(np.sum((self._hurdles >= 0.0) & (self._hurdles < self._foot_x())))

    def _reward(self) -> float:
        before, self._num_passed = self._num_passed, self._count_passed()
        return float(self._num_passed - before)

    def _task_numbers(self) -> tuple[float, float]:
        foot = self._foot_x()
        following = self._hurdles[self._hurdles >= foot]
        hurdle = following[0] if following.size else self._hurdles[-1]
        return hurdle, hurdle - foot

    def _is_success(self) -> bool:
        return self._num_passed == int(np.sum(self._hurdles >= 0.0))
