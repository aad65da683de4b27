"""Offline data: trajectories on disk, and windows drawn from them."""

from rllib_sami.datasets.dataset import Dataset, Trajectory
from rllib_sami.datasets.writing import DatasetWriter

__all__ = ["Dataset", "DatasetWriter", "Trajectory"]
