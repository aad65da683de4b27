"""Layouts of mazes, and shortest paths in them.

A layout is a boolean array ``[rows, columns]``, true where there is a wall. A cell is ``(row, column)``.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np

Cell = tuple[int, int]

# Those of gymnasium-robotics' PointMaze.
U_MAZE = """
#####
#...#
###.#
#...#
#####
"""
MEDIUM_MAZE = """
########
#..##..#
#..#...#
##...###
#..#...#
#.#..#.#
#...#..#
########
"""
LARGE_MAZE = """
############
#....#.....#
#.##.#.#.#.#
#......#...#
#.####.###.#
#..#.#.....#
##.#.#.#.###
#..#...#...#
############
"""


def parse(drawing: str) -> np.ndarray:
    """Returns the layout of a drawing, in which ``#`` is a wall."""
    return np.array([[sign == "#" for sign in line] for line in drawing.split()])


def random_walls(size: int, seed: int, keep: Sequence[Cell] = (), free: float = 0.67, longest: int = 12) -> np.ndarray:
    """Returns a square layout of random straight walls, in which all free cells are connected.

    Args:
        size: Inner cells along each side; a border of walls is added.
        seed: Of the walls.
        keep: Cells that stay free.
        free: Share of all cells, border included, that stay free.
        longest: Cells of the longest wall.
    """
    rng = np.random.default_rng(seed)
    walls = np.ones((size + 2, size + 2), bool)
    walls[1:-1, 1:-1] = False
    while (~walls).mean() > free:
        row, column = rng.integers(1, size + 1, 2)
        length, upright = int(rng.integers(3, longest + 1)), bool(rng.integers(2))
        tried = walls.copy()
        part = tried[row : row + length, column] if upright else tried[row, column : column + length]
        part[:] = True
        if any(tried[cell] for cell in keep):
            continue
        free_cells = np.argwhere(~tried)
        if (distances(tried, tuple(free_cells[0].tolist())) >= 0).sum() == len(free_cells):
            walls = tried
    return walls


def distances(walls: np.ndarray, goal: Cell) -> np.ndarray:
    """Returns the steps from each cell to a goal, ``[rows, columns]``; -1 in walls and where there is no way."""
    found = np.full(walls.shape, -1)
    found[goal] = 0
    queue = deque([goal])
    while queue:
        row, column = queue.popleft()
        for cell in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            if not walls[cell] and found[cell] < 0:
                found[cell] = found[row, column] + 1
                queue.append(cell)
    return found


def shortest_path(walls: np.ndarray, start: Cell, goal: Cell, rng: np.random.Generator) -> list[Cell]:
    """Returns the cells of a shortest way from start to goal, both included; of several ways, a random one.

    Raises:
        ValueError: There is no way.
    """
    left = distances(walls, goal)
    if left[start] < 0:
        raise ValueError(f"There is no way from cell {start} to {goal}.")
    path = [start]
    while path[-1] != goal:
        row, column = path[-1]
        cells = ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1))
        nearer = [cell for cell in cells if left[cell] == left[row, column] - 1]
        path.append(nearer[int(rng.integers(len(nearer)))])
    return path
