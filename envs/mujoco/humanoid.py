"""Humanoids with varying mass and damping."""

from collections.abc import Mapping
from typing import Any, ClassVar

import mujoco
import numpy as np

from ..checks import check_choice, check_weight
from ..tasks import Splits, grid
from .base import MujocoTaskEnv

# Confidence: A authors' own file for this environment, B authors' prose, C a parent paper's code, N our proposal.
LOW, HIGH = (0.8, 0.9), (1.0, 1.15, 1.25)
TRAIN = grid(mass_scale=[LOW, HIGH], damping_scale=[LOW, HIGH])
MODERATE = grid(mass_scale=[(0.6, 0.7), (1.5, 1.6)], damping_scale=[(0.6, 0.7), (1.5, 1.6)])
EXTREME = tuple({"mass_scale": scales, "damping_scale": scales} for scales in ((0.4, 0.5), (1.7, 1.8)))


class HumanoidEnv(MujocoTaskEnv):
    """What the humanoids share. Observation ``[45]``: qpos without x and y (22), qvel (23). dt = 0.015 s.

    Action ``[17]`` in ±0.4: abdomen y, z, x; right hip x, z, y, knee; the same of the left leg; right shoulder 1, 2,
    elbow; the same of the left arm.
    """

    frame_skip = 5
    metadata: ClassVar[dict[str, Any]] = {**MujocoTaskEnv.metadata, "render_fps": 67}  # type: ignore[misc]

    def _observed(self) -> tuple[np.ndarray, ...]:
        return self.qpos[2:], self.qvel


class SlimHumanoid(HumanoidEnv):
    """Runs forward: reward ``(0.25 / 0.015) v - 0.1 |a|^2 + 5`` while the torso's height is within 1 to 2 m.

    With ``reference_physics``, v is not the velocity over the step but the speed before it. Spaces as in
    ``HumanoidEnv``.
    """

    models: ClassVar[Mapping[str, str]] = {"humanoid": "humanoid.xml", "humanoidstandup": "humanoidstandup.xml"}
    splits: ClassVar[Splits] = {
        "train": TRAIN,  # A (launch scripts; also DOMINO)
        "moderate": MODERATE,  # A (the same)
        "extreme": EXTREME,  # C (CaDM, RIA)
    }

    def __init__(self, *args: Any, model: str = "humanoid", **kwargs: Any):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            model: ``"humanoid"`` stands at the start; ``"humanoidstandup"`` lies on its back, as in the authors' code
                since July 2024 (their published numbers are older).
            **kwargs: As for ``MujocoTaskEnv``.
        """
        self.xml = self.models[check_choice("model", model, self.models)]  # type: ignore[misc]
        self._speed_before = 0.0
        super().__init__(*args, **kwargs)

    def _advance(self, action: np.ndarray) -> tuple[float, bool]:
        self._speed_before = self.qvel.item(0)
        return super()._advance(action)

    def _reward(self) -> float:
        velocity = self._speed_before if self.reference_physics else self.x_velocity
        upright = 1.0 <= self.qpos.item(2) <= 2.0
        return 0.25 / 0.015 * velocity - 0.1 * self._squared_action() + (5.0 if upright else 0.0)


class HumanoidStandup(HumanoidEnv):
    """Stands up: reward ``z / 0.003 - 0.1 |a|^2 - min(impact_cost_weight * sum(cfrc_ext^2), 10) + 1``.

    z is the torso's height after the step, 0.003 s the simulation step. Spaces as in ``HumanoidEnv``.
    """

    xml = "humanoidstandup.xml"
    default_max_steps = 2000
    splits: ClassVar[Splits] = {
        "train": TRAIN,  # B (README: as SlimHumanoid)
        "moderate": grid(mass_scale=[0.6, 1.5], damping_scale=[0.6, 1.5]),  # A (file names of the videos)
        "extreme": EXTREME,  # C (RIA, as SlimHumanoid)
    }

    def __init__(self, *args: Any, impact_cost_weight: float = 0.0, **kwargs: Any):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            impact_cost_weight: Cost of the squared external forces, at most 10 per step. These forces are always 0 in
                the authors' setup, so the default is 0; Gymnasium's HumanoidStandup has 5e-7.
            **kwargs: As for ``MujocoTaskEnv``.
        """
        self.impact_cost_weight = check_weight("impact_cost_weight", impact_cost_weight)
        super().__init__(*args, **kwargs)

    def _reward(self) -> float:
        reward = self.qpos.item(2) / self.model.opt.timestep - 0.1 * self._squared_action() + 1.0
        if self.impact_cost_weight:
            mujoco.mj_rnePostConstraint(self.model, self.data)  # mj_step leaves cfrc_ext at 0
            reward -= min(self.impact_cost_weight * np.square(self.data.cfrc_ext).sum().item(), 10.0)
        return reward
