"""How time and memory of an update grow with episode length, tasks and stored steps."""

import multiprocessing
import resource
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from measure import Action
from workloads import HALF_CHEETAH, Agent, noise_store, tensors_of

from rllib_sami import SaCCMConfig
from rllib_sami.algorithms.sami.sampling import sample_updates
from rllib_sami.replay_buffers.episode_store import EpisodeStore

BATCHES = 1  # of one sample: a round of the default configuration leads to no more


@dataclass(frozen=True)
class Load:
    """What an update has to cope with."""

    length: int = 200
    tasks: int = 4
    stored: int = 100_000

    def __str__(self) -> str:
        return f"T {self.length:,}, {self.tasks} tasks, {self.stored:,} steps stored"


BASE = Load()
LENGTHS = [BASE, replace(BASE, length=1_000), replace(BASE, length=2_000)]
TASKS = [BASE, replace(BASE, tasks=16), replace(BASE, tasks=64)]
STORED = [BASE, replace(BASE, stored=1_000_000), replace(BASE, stored=5_000_000)]


class Learning:
    """A store under a load, and an agent that learns from it."""

    def __init__(self, load: Load):
        self.store: EpisodeStore = noise_store(HALF_CHEETAH, load.stored, num_tasks=load.tasks, length=load.length)
        config = SaCCMConfig()
        self.agent = Agent.of(config, *HALF_CHEETAH)
        self._sampling, self._rng = config.get_sampling_config(), np.random.default_rng(0)
        self.sample()

    def sample(self) -> int:
        """Draws batches; returns for how many updates of actor and critics."""
        self._batches = tensors_of(sample_updates(self.store, self._sampling, BATCHES, self._rng))
        return BATCHES * self.agent.config.updates_per_batch

    def update(self) -> int:
        """All updates on a batch; returns how many."""
        self.agent.update(self._batches[0])
        return self.agent.config.updates_per_batch

    def actions(self) -> tuple[Action, Action]:
        """Sampling and updating."""
        return self.sample, self.update


def peak_memory(load: Load) -> float:
    """MiB beyond those of the store that a batch and its updates take at most, measured in a process of its own."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_peak_memory, args=(load, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def _send_peak_memory(load: Load, sender) -> None:
    before = _resident()
    learning = Learning(load)
    learning.update()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sender.send((peak - before - learning.store.rows.nbytes) / 2**20)


def _resident() -> int:
    """Bytes in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def available_memory() -> float:
    """GiB that can be had without swapping."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 2**20


def exponent(loads: list[float], costs: list[np.ndarray]) -> np.ndarray:
    """Power with which the cost grows from the first to the last load, round by round: 0 is flat, 1 linear."""
    return np.log(costs[-1] / costs[0]) / np.log(loads[-1] / loads[0])
