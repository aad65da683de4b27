"""Hopper and Walker with a separate mass, damping and friction for every part.

After PEARL (Rakelly et al., 2019) and rand_param_envs, with the same distribution of scales. A task has fewer numbers
than theirs: a part's inertia is scaled with its mass, and a geom's friction is scaled as a whole.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ..factors import VectorFactor
from ..tasks import Splits, Task
from .hopper import PlanarEnv
from .walker import JOINTS


def scale_factors(parts: tuple[str, ...]) -> tuple[VectorFactor, ...]:
    """Returns one factor of scales each for masses, dampings and frictions.

    Their spreads are those of the training distribution, which is ``base ** U(-3, 3)`` per component.

    Args:
        parts: The bodies moved by a joint, in the model's order. The torso comes before them, and the floor, which has
            friction only, comes first.
    """
    return tuple(
        VectorFactor(name, spread=3.0 * math.log(base), log=True, components=components)
        for name, base, components in (
            ("mass_scales", 1.5, ("torso", *parts)),
            ("damping_scales", 1.3, parts),
            ("friction_scales", 1.5, ("floor", "torso", *parts)),
        )
    )


def draw_splits(factors: tuple[VectorFactor, ...]) -> Splits:
    """Returns the published splits, which are always the same draws. Confidence: P PEARL's code, N our proposal."""
    rng = np.random.default_rng(0)

    def scales(factor: VectorFactor, low: float, high: float) -> tuple[float, ...]:
        size = len(factor.components)
        exponents = rng.choice((-1.0, 1.0), size) * rng.uniform(low, high, size) * factor.spread
        return tuple(np.exp(exponents).round(3).tolist())

    def tasks(count: int, low: float, high: float) -> tuple[dict[str, tuple[float, ...]], ...]:
        """Draws single tasks, with scales ``exp(±U(low, high) * spread)`` to three decimals."""
        return tuple({factor.name: scales(factor, low, high) for factor in factors} for _ in range(count))

    return {
        "train": tasks(40, 0.0, 1.0),  # P: their distribution and number
        "moderate": tasks(10, 0.0, 1.0),  # P: unseen tasks of the same distribution
        "extreme": tasks(10, 1.0, 4.0 / 3.0),  # N: every scale outside it, base ** ±U(3, 4)
    }


class RandParamsEnv(PlanarEnv):
    """What the two families have in common: scales of masses, dampings and frictions, and shorter episodes."""

    default_max_steps = 200
    task_arrays = (*PlanarEnv.task_arrays, "geom_friction")

    def _model_arrays(self, task: Task) -> Mapping[str, np.ndarray]:
        arrays = {name: array.copy() for name, array in super()._model_arrays(task).items()}
        mass, damping, friction = (np.array(task[factor.name]) for factor in self.factors)
        arrays["body_mass"][1:] *= mass  # not the world's
        if not self.reference_physics:
            arrays["body_inertia"][1:] *= mass[:, None]
        arrays["dof_damping"][3:] *= damping  # not the root's, which has none
        arrays["geom_friction"] *= friction[:, None]
        return arrays


class HopperRandParams(RandParamsEnv):
    """Hops forward: reward ``v + 1 - 1e-3 |a|^2``, even when lying down.

    Observation and action are Hopper's. ``mass_scales`` has a scale per body (torso, thigh, leg, foot),
    ``damping_scales`` one per joint (thigh, leg, foot), ``friction_scales`` one per geom (floor, torso, thigh, leg,
    foot). In a contact the larger friction of the two geoms counts.
    """

    xml = "hopper.xml"
    factors: ClassVar[tuple[VectorFactor, ...]] = scale_factors(("thigh", "leg", "foot"))
    splits: ClassVar[Splits] = draw_splits(factors)


class WalkerRandParams(RandParamsEnv):
    """Walks forward: reward ``v + 1 - 1e-3 |a|^2``, even when lying down.

    Observation and action are Walker's. The scales are as in ``HopperRandParams``, for torso, right thigh, leg and
    foot, left thigh, leg and foot.
    """

    xml = "walker2d.xml"
    factors: ClassVar[tuple[VectorFactor, ...]] = scale_factors(JOINTS)
    splits: ClassVar[Splits] = draw_splits(factors)
