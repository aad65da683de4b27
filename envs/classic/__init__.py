"""Classic control with varying physics."""

from .cart_pole import CartPole
from .pendulum import Pendulum

__all__ = ["CartPole", "Pendulum"]
