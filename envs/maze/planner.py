"""Trajectories of a planner that walks through a maze from one random place to another."""

import numpy as np

from .layouts import shortest_path
from .maze import Maze

GAIN, JITTER, NOISE, REACHED = 10.0, 0.2, 0.3, 0.25  # of forces; of waypoints and when they are reached, in cells


def plan(
    env: Maze, rng: np.random.Generator, max_steps: int = 2000, least_cells: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Walks from a random free cell to another one.

    Args:
        env: The maze, which needs a reset afterwards.
        rng: Source of both cells, of waypoints and of noise.
        max_steps: Most steps.
        least_cells: Least number of cells on the way.

    Returns:
        Observations ``[T + 1, 4]`` and actions ``[T, 2]``.
    """
    walls = env.layout()
    free = np.argwhere(~walls)
    path: list[tuple[int, int]] = []
    while len(path) < least_cells:
        start, goal = (tuple(cell.tolist()) for cell in free[rng.integers(len(free), size=2)])
        path = shortest_path(walls, start, goal, rng)
    waypoints = np.array(path, float)[:, ::-1] + rng.uniform(-JITTER, JITTER, (len(path), 2))
    observations, actions = [env.place(waypoints[0])], list[np.ndarray]()
    target = 1
    while target < len(waypoints) and len(actions) < max_steps:
        force = GAIN * (waypoints[target] - env.coordinates) - env.qvel + NOISE * rng.standard_normal(2)
        action = np.clip(force, -1.0, 1.0).astype(np.float32)
        observations.append(env.walk(action))
        actions.append(action)
        if np.linalg.norm(waypoints[target] - env.coordinates) < REACHED:
            target += 1
    return np.array(observations, np.float32), np.array(actions, np.float32)
