"""The command ``nodes``: sampling with several Ray nodes on this machine, beside what ``scaling.py`` predicts."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import numpy as np
from measure import Case, Options, Times, figures, interleave, number, options, repeat, report, spread, table_of
from messages import sampling_config
from scaling import measured, work_of
from workloads import train_once

from rllib_sami.algorithms.sami.sami import SaMIConfig
from rllib_sami.env_runners.array_env_runner import ArrayEnvRunner

RUNNERS = (1, 2, 4, 8)
FRAGMENT_S = {"of 0.2 s": 0.2, "of 0.05 s": 0.05}  # asleep
NUM_NODES = 4  # beside the head
CORES = 2


class SleepingRunner(ArrayEnvRunner):
    """Computes its first fragment and sends it again and again, each time after a sleep: it takes no core from others.

    On a cluster every runner has a core of its own; here they would fight for those of the main process.
    """

    sleep_s = 0.0
    _fragment: list[Any] | None = None

    def _sample(self, **how: Any) -> list[Any]:
        time.sleep(self.sleep_s)
        if self._fragment is None:
            self._fragment = super()._sample(**how)
            return self._fragment
        num_steps = sum(len(episode) for episode in self._fragment)
        self._log_env_steps(metric=self._metrics_num_env_steps_sampled, num_steps=num_steps)
        self._increase_sampled_metrics(num_steps, len(self._fragment))
        return self._fragment


def _config(num_env_runners: int) -> SaMIConfig:
    return sampling_config(num_env_runners).env_runners(env_runner_cls=SleepingRunner)


@contextmanager
def nodes() -> Iterator[None]:
    """A head for the main process and ``NUM_NODES`` nodes for env runners, each with an object store of its own."""
    import ray
    from ray.cluster_utils import Cluster

    size = {"include_dashboard": False, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **size})
    try:
        for _ in range(NUM_NODES):
            cluster.add_node(num_cpus=max(RUNNERS) // NUM_NODES, **size)
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


@click.command(name="nodes")
@options(rounds=5, quick_rounds=1)
def nodes_command(options: Options) -> None:
    """Steps per second of 1 to 8 env runners that sleep, on several Ray nodes, beside the prediction.

    The main process's CPU time does not depend on what else the machine does; steps per second do.
    """
    compared: dict[str, list[dict[str, Any]]] = {name: [] for name in FRAGMENT_S}
    works = {
        name: work_of(measured("messages"), cores=CORES, **_sampling(asleep)) for name, asleep in FRAGMENT_S.items()
    }
    rows, differences = [], []
    with nodes():
        for count in RUNNERS[:2] if options.quick else RUNNERS:
            for name, times in _simulate(count, options.rounds).items():
                rates, predicted = 1 / times.wall, works[name].rate(count)
                differences.append(np.exp(np.abs(np.log(rates / predicted))))
                main_s = works[name].parts(count)["main process"] / (count * works[name].steps)
                measures = {"simulated": figures(rates), "other_jobs_cores": figures(times.others)}
                main = {"main_us_per_step": 1e6 * main_s, "main_cpu_us_per_step": figures(times.cpu, 1e6)}
                compared[name].append({"runners": count, "predicted": predicted, **measures, **main})
                speeds = [number(predicted), spread(rates), spread(rates / predicted)]
                rows.append(
                    [f"{name}, {count}", *speeds, number(1e6 * main_s), spread(times.cpu, 1e6), spread(times.others)]
                )
    speeds = ["predicted", "simulated", "simulated ÷ predicted"]
    columns = ["fragments, runners", *speeds, "main process, µs/step", "its CPU-µs/step", "others' cores"]
    title = f"Environment steps per second: a head and {NUM_NODES} Ray nodes on {CORES} cores"
    worst = max(differences, key=np.median)
    cases = [Case("predicted and simulated, larger ÷ smaller, at worst", worst, target=1.3)]
    report("nodes", [table_of(title, columns, rows)], cases, options, compared=compared, ray_nodes=1 + NUM_NODES)


def _sampling(sleep_s: float) -> dict[str, float]:
    """Wall and CPU seconds of one fragment, of a runner without Ray."""
    config = _config(0)
    config.validate()
    runner = SleepingRunner(config=config, worker_index=0)
    runner.sample()
    runner.sleep_s = sleep_s
    (times,) = interleave({"": repeat(runner.sample, 1)}, rounds=10, warm_up=0).values()
    runner.stop()
    return {"sample_s": float(np.median(times.wall)), "runner_cpu_s": float(np.median(times.cpu))}


def _simulate(count: int, rounds: int) -> dict[str, Times]:
    """Seconds for each step, by the kind of fragment."""
    algorithm: Any = _config(count).build_algo()

    def run(asleep: float) -> int:
        return sum(train_once(algorithm) for _ in range(max(5, round(1 / asleep))))

    times = {}
    for name, asleep in FRAGMENT_S.items():
        algorithm.env_runner_group.foreach_env_runner(lambda runner, asleep=asleep: setattr(runner, "sleep_s", asleep))
        times[name] = interleave({name: lambda asleep=asleep: run(asleep)}, rounds)[name]
    algorithm.stop()
    return times
