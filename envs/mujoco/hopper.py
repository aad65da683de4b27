"""Hopper with varying mass and damping, and with dead joints."""

from typing import Any, ClassVar

import numpy as np

from ..checks import check_weight
from ..factors import Factor, PartsFactor
from ..tasks import Splits, grid
from .base import MujocoTaskEnv
from .crippling import CrippledEnv

# Confidence: A authors' own file for this environment, B authors' prose, C a parent paper's code, N our proposal.
LOW, HIGH = (0.5, 0.75, 1.0), (1.25, 1.5)
TRAIN = grid(mass_scale=[LOW, HIGH], damping_scale=[LOW, HIGH])  # A (launch scripts; also DOMINO)
MODERATE = grid(mass_scale=[0.4, 1.6], damping_scale=[0.4, 1.6])  # N (the authors' are not known)
EXTREME = grid(mass_scale=[0.25, 1.75], damping_scale=[0.25, 1.75])  # A (README, file names of the videos)
SUPER_EXTREME = ({"mass_scale": 4.0, "damping_scale": 1.0},)  # A (file names of the videos)
DOMINO = grid(mass_scale=[(0.25, 0.375), (1.75, 2.0)], damping_scale=[(0.25, 0.375), (1.75, 2.0)])  # A (as TRAIN)


class PlanarEnv(MujocoTaskEnv):
    """What Hopper and Walker have in common: reward ``v + 1 - ctrl_cost_weight * |a|^2``, even when lying down.

    Observation: qpos without x, then qvel clipped to ±10. dt = 0.008 s.

    Attributes:
        default_ctrl_cost_weight: The family's cost of the squared action.
    """

    frame_skip = 4
    reset_noise = 0.005
    default_ctrl_cost_weight: ClassVar[float] = 1e-3
    metadata: ClassVar[dict[str, Any]] = {**MujocoTaskEnv.metadata, "render_fps": 125}  # type: ignore[misc]

    def __init__(self, *args: Any, ctrl_cost_weight: float | None = None, **kwargs: Any):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            ctrl_cost_weight: Cost of the squared action; None is the family's default.
            **kwargs: As for ``MujocoTaskEnv``.
        """
        weight = self.default_ctrl_cost_weight if ctrl_cost_weight is None else ctrl_cost_weight
        self.ctrl_cost_weight = check_weight("ctrl_cost_weight", weight)
        super().__init__(*args, **kwargs)

    def _observed(self) -> tuple[np.ndarray, ...]:
        return self.qpos[1:], self.qvel

    def _bind(self) -> None:
        super()._bind()
        self._observed_qvel = self._buffer[self.qpos.size - 1 : self._observation_size]

    def _write_observation(self) -> None:
        super()._write_observation()
        self._observed_qvel.clip(-10.0, 10.0, out=self._observed_qvel)

    def _reward(self) -> float:
        return self.x_velocity + 1.0 - self.ctrl_cost_weight * self._squared_action()


class Hopper(PlanarEnv):
    """Hops forward: reward ``v + 1 - 0.1 |a|^2``, even when lying down.

    The authors' cost of the squared action was 1e-3 until August 2024; ``ctrl_cost_weight`` sets it. Their code
    truncates the episode after 2000 steps, but the numbers of the paper fit 500.

    Observation ``[11]``: qpos without x (5), qvel clipped to ±10 (6). Action ``[3]`` in ±1: torques of thigh, leg,
    foot. dt = 0.008 s.
    """

    xml = "hopper.xml"
    default_max_steps = 500
    default_ctrl_cost_weight = 0.1
    splits: ClassVar[Splits] = {
        "train": TRAIN,
        "moderate": MODERATE,
        "extreme": EXTREME,
        "super_extreme": SUPER_EXTREME,
        "domino": DOMINO,
    }


class CrippledHopper(CrippledEnv, PlanarEnv):
    """Hopper with dead joints: reward ``v + 1 - 1e-3 |a|^2``.

    The factor ``cripple`` holds indices of actuators: 0 thigh, 1 leg, 2 foot. The published splits vary no damping;
    the factor is there for own tasks.
    """

    xml = "hopper.xml"
    factors: ClassVar[tuple[Factor, ...]] = (*MujocoTaskEnv.factors, PartsFactor(parts=("thigh", "leg", "foot")))
    splits: ClassVar[Splits] = {
        "train": ({},) * 4,  # A (launch scripts: four times the whole robot)
        "moderate": ({"mass_scale": (0.4, 0.5)}, {"mass_scale": (1.5, 1.6)}),  # A that masses differ (README), values N
        "extreme": tuple({"cripple": joint} for joint in (0, 1, 2)),  # A (launch scripts, README, videos)
    }
