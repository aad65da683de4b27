"""Tracks: how the quantity that a task is about went along an episode, and what was inferred of the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import gymnasium
import numpy as np

from rllib_sami.core.env_values import UnusableValue, short
from rllib_sami.core.inferred_tasks import InferredTask
from rllib_sami.envs.reuse.families import quantity_of

TRACKED, QUANTITY, INFERRED = "tracked_quantity", "quantity", "inferred_task"


@dataclass
class Track:
    """What was so at the start of an episode and after each of its T steps."""

    values: np.ndarray  # [T + 1], of the quantity that the task is about; NaN: of several, or none
    wanted: np.ndarray  # [T + 1], what it should get to
    steps: np.ndarray  # [T + 1], steps of the body so far, of which one step of the environment may have several
    families: list[str | None]  # of the task, T + 1
    inferred: list[str | None]  # what was inferred of the family, T + 1; None: nothing
    clusters: np.ndarray  # [T + 1], numbers of the latents' clusters; NaN: none
    latents: np.ndarray  # [T + 1, L], NaN where nothing was inferred; L is 0 where nothing ever was
    # [T + 1], where another task has begun: what the former one's quantity got to; NaN elsewhere.
    ends: np.ndarray


class Tracker:
    """Keeps the track of the episode in progress.

    An environment with families of tasks has a method ``tracked_quantity()``, which returns family, present value and
    wanted value. If tasks change within episodes, ``quantity(name)`` tells what the former task's quantity got to. One
    in which somebody infers the task has ``inferred_task()``, which returns family, latent and cluster, each of them or
    None; in others the agent may infer it, see :meth:`infer`.

    Args:
        env: The environment.
    """

    def __init__(self, env: gymnasium.Env):
        self._tracked: Any = env.get_wrapper_attr(TRACKED) if env.has_wrapper_attr(TRACKED) else None
        self._quantity: Any = env.get_wrapper_attr(QUANTITY) if env.has_wrapper_attr(QUANTITY) else None
        self._inferred: Any = env.get_wrapper_attr(INFERRED) if env.has_wrapper_attr(INFERRED) else None
        self._latent: np.ndarray | None = None
        self.begin()

    @property
    def asks_agent(self) -> bool:
        """Whether it is the agent that may infer the task."""
        return self._tracked is not None and self._inferred is None

    @property
    def latent(self) -> np.ndarray | None:
        """The newest latent in the environment, ``[L]``; None where nobody infers the task there."""
        return self._latent

    def begin(self) -> None:
        """Begins an episode."""
        self._rows: list[tuple[str | None, float, float]] = []
        self._ends: list[float] = []
        self._steps: list[int] = []
        self._inferences: list[InferredTask] = []

    def add(self, info: Mapping[str, Any]) -> None:
        """Adds what is so after a step, or at the start.

        Args:
            info: The newest info.
        """
        inferred = InferredTask() if self._inferred is None else InferredTask(*self._inferred())
        self._latent = inferred.latent
        if self._tracked is None:
            return
        family, value, wanted = _checked(self._tracked())
        self._ends.append(self._end(family, wanted))
        self._rows.append((family, value, wanted))
        self._steps.append(self._steps[-1] + int(info.get("env_steps", 1)) if self._steps else 0)
        self._inferences.append(_copy(inferred))

    def infer(self, inferred: InferredTask) -> None:
        """Says what the agent infers from the newest observation on."""
        self._inferences[-1] = _copy(inferred)

    def track(self) -> Track | None:
        """Returns the track of the episode; None without families of tasks."""
        if self._tracked is None:
            return None
        families, values, wanted = zip(*self._rows, strict=True)
        inferred, latents, clusters = zip(*self._inferences, strict=True)
        width = next((len(latent) for latent in latents if latent is not None), 0)
        nothing = np.full(width, np.nan, np.float32)
        return Track(
            values=np.array(values),
            wanted=np.array(wanted),
            steps=np.array(self._steps),
            families=list(families),
            inferred=list(inferred),
            clusters=np.array(clusters, np.float32),  # None becomes NaN
            latents=np.stack([nothing if latent is None else latent for latent in latents]),
            ends=np.array(self._ends),
        )

    def _end(self, family: str | None, wanted: float) -> float:
        """What the former task's quantity has got to, if that task is over and the environment can tell."""
        if not self._rows:
            return np.nan
        former, _, former_wanted = self._rows[-1]
        if self._quantity is None or former is None or (former, former_wanted) == (family, wanted):
            return np.nan
        return float(self._quantity(quantity_of(former)))


def _checked(tracked: Any) -> tuple[str | None, float, float]:
    """Returns what ``tracked_quantity()`` gave.

    Raises:
        UnusableValue: It is not a family's name, or None, and two numbers.
    """
    is_triple = isinstance(tracked, tuple | list) and len(tracked) == 3
    if is_triple and isinstance(tracked[0], str | None) and all(isinstance(one, Real) for one in tracked[1:]):
        return tracked[0], float(tracked[1]), float(tracked[2])
    raise UnusableValue(
        f"{short(tracked)} in `tracked_quantity()`, but it must give a family's name, or None, and two numbers: the "
        "present value of its quantity and the wanted one."
    )


def _copy(inferred: InferredTask) -> InferredTask:
    latent = inferred.latent
    return inferred._replace(latent=None if latent is None else np.array(latent, np.float32))
