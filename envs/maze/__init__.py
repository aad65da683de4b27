"""Mazes for a point mass: long tasks with a sparse reward."""

from .maze import Large, Maze, Medium, Paper, UMaze

__all__ = ["Large", "Maze", "Medium", "Paper", "UMaze"]
