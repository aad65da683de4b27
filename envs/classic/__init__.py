"""Small problems of a few lines: classic control with varying physics, a point with a hidden goal."""

from .cart_pole import CartPole
from .pendulum import Pendulum
from .point_goal import PointGoal

__all__ = ["CartPole", "Pendulum", "PointGoal"]
