"""Ant with varying mass and damping of its legs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np

from ..tasks import Splits
from .base import DAMPING_SCALE, MASS_SCALE, MujocoTaskEnv, check_weight
from .half_cheetah import EXTREME, MODERATE, TRAIN


class Ant(MujocoTaskEnv):
    """Walks forward: reward ``v - 0.01 |a|^2 + 1 - contact_cost_weight * sum(clip(cfrc_ext, ±1)^2)``.

    A scale multiplies the two front legs and divides the two back legs; the torso stays.

    Observation ``[28]``: the torso's Δx/dt over the environment step in m/s (0 at reset), qpos without x and y (13),
    qvel (14). Action ``[8]`` in ±1: hip and ankle of back right, front left, front right, back left. dt = 0.05 s.
    """

    xml = "ant.xml"
    frame_skip = 5
    factors = (MASS_SCALE, DAMPING_SCALE)
    # Bodies: world, torso, then three each of front left, front right, back left, back right. Dofs: six of the root,
    # then hip and ankle of the same legs.
    mass_exponents = (0, 0, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1)
    damping_exponents = (0, 0, 0, 0, 0, 0, 1, 1, 1, 1, -1, -1, -1, -1)
    # The authors index the dofs by body, so that front right gets the back legs' factor.
    reference_damping_exponents = (0, 0, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1)
    splits: ClassVar[Splits] = {
        "train": TRAIN,  # A (launch scripts)
        "moderate": MODERATE,  # A (launch scripts)
        "extreme": EXTREME,  # N (as HalfCheetah; the authors' are not known)
    }

    def __init__(
        self,
        split: str = "train",
        tasks: Sequence[Mapping[str, Any]] | None = None,
        max_steps: int | None = None,
        observe_task: bool = False,
        render_mode: str | None = None,
        ctrl_cost_weight: float = 0.01,
        healthy_reward: float = 1.0,
        contact_cost_weight: float = 0.0,
        **kwargs: Any,
    ):
        """Builds the environment.

        Args:
            split: See ``MujocoTaskEnv``, as for all arguments not listed here.
            tasks: Own meta-tasks.
            max_steps: Cap on the episode's length.
            observe_task: Appends the task to the observation.
            render_mode: None or ``"rgb_array"``.
            ctrl_cost_weight: Cost of the squared action. The paper's Table 6 needs 0.005.
            healthy_reward: Reward per step for being there. The paper's Table 6 needs 0.05.
            contact_cost_weight: Cost of the squared, clipped external forces. In the authors' setup these forces read
                0, hence the default; Gymnasium's Ant has 5e-4.
            **kwargs: Further arguments of ``MujocoTaskEnv``, and factors.
        """
        self.ctrl_cost_weight = check_weight("ctrl_cost_weight", ctrl_cost_weight)
        self.healthy_reward = check_weight("healthy_reward", healthy_reward)
        self.contact_cost_weight = check_weight("contact_cost_weight", contact_cost_weight)
        super().__init__(split, tasks, max_steps, observe_task, render_mode, **kwargs)

    def _observed(self) -> tuple[np.ndarray, ...]:
        return self._velocity, self.qpos[2:], self.qvel

    def _reward(self) -> float:
        ctrl = self.ctrl
        reward = self.x_velocity - self.ctrl_cost_weight * ctrl.dot(ctrl).item() + self.healthy_reward
        if self.contact_cost_weight:
            mujoco.mj_rnePostConstraint(self.model, self.data)  # mj_step alone leaves cfrc_ext at 0
            reward -= self.contact_cost_weight * np.square(self.data.cfrc_ext.clip(-1.0, 1.0)).sum().item()
        return reward

    def _add_reset_noise(self) -> None:
        self.qpos += self.np_random.uniform(-0.1, 0.1, self.qpos.size)
        self.qvel += 0.1 * self.np_random.standard_normal(self.qvel.size)
