"""Distributions of skills."""

from dataclasses import dataclass

import numpy as np

SPHERE, ONE_HOT, GAUSSIAN, UNIFORM = KINDS = ("sphere", "one_hot", "gaussian", "uniform")


@dataclass(frozen=True)
class SkillPrior:
    """The distribution p(z) that skills are drawn from, one for each episode.

    Attributes:
        kind: ``"sphere"`` (uniform on the unit sphere), ``"one_hot"`` (uniform over unit vectors), ``"gaussian"``
            (standard normal) or ``"uniform"`` (in [-1, 1]).
        dim: Width ``d`` of a skill.
    """

    kind: str
    dim: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"`skill_prior` is {self.kind!r}, but must be one of {list(KINDS)}.")

    def sample(self, rng: np.random.Generator, *shape: int) -> np.ndarray:
        """Draws skills, ``[*shape, d]`` float32."""
        if self.kind == ONE_HOT:
            return np.eye(self.dim, dtype=np.float32)[rng.integers(self.dim, size=shape)]
        if self.kind == UNIFORM:
            return np.float32(2.0) * rng.random((*shape, self.dim), dtype=np.float32) - np.float32(1.0)
        skills = rng.standard_normal((*shape, self.dim), dtype=np.float32)
        return skills if self.kind == GAUSSIAN else skills / np.linalg.norm(skills, axis=-1, keepdims=True)

    def spread(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Returns skills ``[count, d]`` for an evaluation: those of a finite set in turn, others drawn."""
        if self.kind == ONE_HOT:
            return np.eye(self.dim, dtype=np.float32)[np.arange(count) % self.dim]
        return self.sample(rng, count)
