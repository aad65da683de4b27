"""The command ``messages``: what env runners and main process send each other, and what it costs the main process.

Its figures are the inputs of ``scaling.py``.
"""

import time
from collections import defaultdict
from typing import Any

import click
import gymnasium as gym
import numpy as np
from measure import Case, Options, figures, number, options, report, table_of
from ray import cloudpickle
from ray.tune.registry import register_env
from workloads import HALF_CHEETAH, our_config, ray_cluster, runner_of

from rllib_sami import SaCCMConfig, compat
from rllib_sami.algorithms.sami.sami import SaMIConfig

NUM_ENVS, FRAGMENT = 8, 25  # of each env runner: the defaults
MOST_RUNNERS = 4
PHASES = ("begin", "collect", "add", "sync", "result")
STILL = "benchmarks/Still"


class Still(gym.Env):
    """As wide as HalfCheetah, but computes nothing; an episode is as long as a fragment."""

    def __init__(self, context: Any):
        obs_dim, action_dim = HALF_CHEETAH
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (obs_dim,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (action_dim,), np.float32)
        self._obs, self._steps = np.zeros(obs_dim, np.float32), 0

    def reset(self, *, seed=None, options=None):
        self._steps = 0
        return self._obs, {"task_id": 0}

    def step(self, action):
        self._steps += 1
        return self._obs, 0.0, False, self._steps == FRAGMENT, {"task_id": 0}


register_env(STILL, Still)


def sampling_config(num_env_runners: int) -> SaMIConfig:
    """SaCCM at its defaults on that environment, never updating; an iteration is one round of the runners."""
    config = our_config(SaCCMConfig, STILL, NUM_ENVS, FRAGMENT)
    config.training(num_steps_sampled_before_learning_starts=0, updates_per_env_step=1e-9)
    return config.env_runners(num_env_runners=num_env_runners).reporting(min_sample_timesteps_per_iteration=1)


@click.command()
@options(rounds=30, quick_rounds=3)
def messages(options: Options) -> None:
    """Bytes of a fragment and of the weights; what each round and each env runner costs the main process."""
    with ray_cluster():
        one, many = (_phases(count, options.rounds) for count in (1, MOST_RUNNERS))
        sizes = _sizes()
    per_runner = {phase: _slope(one[phase][1], many[phase][1]) for phase in PHASES}
    fixed = {phase: max(0.0, float(np.median(one[phase][0])) - per_runner[phase]) for phase in PHASES}
    steps = NUM_ENVS * FRAGMENT
    rows = [
        [phase, number(1e3 * fixed[phase]), number(1e3 * per_runner[phase]), number(1e6 * per_runner[phase] / steps)]
        for phase in PHASES
    ]
    title = f"Main process, ms: fragments of {NUM_ENVS} x {FRAGMENT} steps, widths of HalfCheetah"
    tables = [
        table_of(title, ["phase", "each round", "each env runner", "µs for each step"], rows),
        table_of("Messages", ["", "bytes or ms"], [[name, number(value)] for name, value in sizes.items()]),
    ]
    raw = steps * 4 * (sum(HALF_CHEETAH) + 1)
    cases = [Case("bytes of a fragment ÷ raw", np.array([sizes["fragment_bytes"] / raw]), target=1.5)]
    fields = {
        "steps_per_fragment": steps,
        "round_s": fixed,
        "runner_s": per_runner,
        "messages": sizes,
        "wall_ms_one_runner": {phase: figures(one[phase][0], 1e3) for phase in PHASES},
        f"cpu_ms_{MOST_RUNNERS}_runners": {phase: figures(many[phase][1], 1e3) for phase in PHASES},
    }
    report("messages", tables, cases, options, **fields)


def _phases(num_runners: int, rounds: int) -> dict[str, np.ndarray]:
    """Wall and CPU seconds of each phase, ``[2, rounds]``; the runners wait during all of them."""
    algorithm = sampling_config(num_runners).build_algo()
    records: dict[str, list[tuple[float, float]]] = defaultdict(list)
    start = (0.0, 0.0)

    def clocks() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def note(phase: str, since: tuple[float, float]) -> tuple[float, float]:
        now = clocks()
        records[phase].append((now[0] - since[0], now[1] - since[1]))
        return now

    def training_step() -> None:
        nonlocal start
        since = clocks()
        compat.begin_sampling(algorithm, random_actions=False)
        note("begin", since)
        time.sleep(0.05 * (1 + num_runners))
        since = clocks()
        episodes = compat.finish_sampling(algorithm)
        since = note("collect", since)
        algorithm.replay_buffer.add(episodes)
        since = note("add", since)
        compat.sync_weights(algorithm)
        start = note("sync", since)

    algorithm.training_step = training_step
    for _ in range(3 + rounds):
        algorithm.train()
        note("result", start)
    algorithm.stop()
    return {phase: np.array(some[3:]).T for phase, some in records.items()}


def _slope(one: np.ndarray, many: np.ndarray) -> float:
    """What each further env runner adds; CPU time, since on this machine the runners take the cores from each other."""
    return max(0.0, float(np.median(many) - np.median(one))) / (MOST_RUNNERS - 1)


def _sizes() -> dict[str, float]:
    import ray

    runner = runner_of(sampling_config(0))
    runner.sample()
    episodes, metrics = runner.sample(), runner.get_metrics()
    weights = runner.get_state(components=["rl_module"])
    sizes: dict[str, float] = {}
    for name, message in (("fragment", episodes), ("metrics", metrics), ("weights", weights)):
        data = cloudpickle.dumps(message)
        reference = ray.put(message)
        actions = {
            "serialise": lambda message=message: cloudpickle.dumps(message),
            "deserialise": lambda data=data: cloudpickle.loads(data),
            "put": lambda message=message: ray.put(message),
            "get": lambda reference=reference: ray.get(reference),
        }
        sizes[f"{name}_bytes"] = len(data)
        for action, function in actions.items():
            sizes[f"{name}_{action}_ms"] = 1e3 * _median_seconds(function)
    sizes["weights_set_state_ms"] = 1e3 * _median_seconds(lambda: runner.set_state(weights))
    runner.stop()
    return sizes


def _median_seconds(function: Any, times: int = 50) -> float:
    seconds = []
    for _ in range(times):
        since = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - since)
    return float(np.median(seconds))
