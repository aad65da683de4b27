"""Trajectories of scripts that do sub-tasks of the kitchen in a random order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .hand import NUM_ARM, Hand
from .kitchen import Kitchen
from .scripts import SCRIPTS

NUM_SUBTASKS = 4  # of a trajectory
FIRST_SLIDE = ("slide cabinet", "hinge cabinet")  # the open door of the second is in the way of the first


@dataclass(frozen=True)
class Demonstration:
    """What scripts did.

    Attributes:
        observations: ``[T + 1, 30]``.
        actions: ``[T, 9]``, with their noise.
        tried: The sub-tasks, in the order in which they were begun.
        done: Those of them that were done when their script ended.
    """

    observations: np.ndarray
    actions: np.ndarray
    tried: tuple[str, ...]
    done: tuple[str, ...]


def random_order(rng: np.random.Generator, count: int = NUM_SUBTASKS) -> tuple[str, ...]:
    """Draws some sub-tasks in a random order; the slide cabinet always comes before the hinge cabinet."""
    order = [str(name) for name in rng.permutation([*SCRIPTS])[:count]]
    first, second = (order.index(name) if name in order else None for name in FIRST_SLIDE)
    if first is not None and second is not None and first > second:
        order[first], order[second] = order[second], order[first]
    return tuple(order)


def demonstrate(
    env: Kitchen,
    rng: np.random.Generator,
    subtasks: Sequence[str] | None = None,
    action_noise: float = 0.1,
    max_steps: int = 1000,
) -> Demonstration:
    """Does sub-tasks, one after the other, from the initial state.

    Args:
        env: The kitchen, whose own task does not matter; it needs a reset afterwards.
        rng: Source of the order, of the environment's seed and of the actions' noise.
        subtasks: Their names, in their order; None: a random order.
        action_noise: Standard deviation of the noise of the arm's actions.
        max_steps: Most steps.
    """
    order = random_order(rng) if subtasks is None else tuple(subtasks)
    observations = [env.reset(seed=int(rng.integers(2**31)))[0]]
    actions, tried, done = list[np.ndarray](), list[str](), list[str]()
    hand = Hand(env)
    for name in order:
        if len(actions) >= max_steps:
            break
        tried.append(name)
        for pose in SCRIPTS[name](hand):
            if len(actions) >= max_steps:
                break
            action = hand.action(pose)
            action[:NUM_ARM] += action_noise * rng.standard_normal(NUM_ARM)
            action = np.clip(action, -1.0, 1.0).astype(np.float32)
            observations.append(env.walk(action))
            actions.append(action)
        if env.is_done(name):
            done.append(name)
    return Demonstration(np.array(observations), np.array(actions), tuple(tried), tuple(done))
