"""The command ``nodes``: sampling with several Ray nodes on this machine, beside what ``scaling.py`` predicts."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import numpy as np
from measure import Case, Options, figures, interleave, number, options, report, spread, table_of
from messages import FRAGMENT, sampling_config
from scaling import measured, work_of
from workloads import runner_of, train_once

RUNNERS = (1, 2, 4, 8)
FRAGMENT_S = {"fragments of 0.2 s": 0.2, "fragments of 0.05 s": 0.05}  # asleep
NUM_NODES = 4  # beside the head
CORES = 2


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
@options(rounds=7, quick_rounds=1)
def nodes_command(options: Options) -> None:
    """Steps per second of 1 to 8 env runners that sleep, on several Ray nodes, beside the prediction."""
    compared, rows, worst = {}, [], []
    counts = RUNNERS[:2] if options.quick else RUNNERS
    with nodes():
        for name, asleep in FRAGMENT_S.items():
            work = work_of(measured("messages"), cores=CORES, **_sampling(asleep / FRAGMENT))
            compared[name] = []
            for count in counts:
                rates, others = _simulate(count, asleep, options.rounds)
                predicted = work.rate(count)
                worst.append(np.exp(np.abs(np.log(rates / predicted))))
                compared[name].append({"runners": count, "predicted": predicted, "simulated": figures(rates)})
                compared[name][-1]["other_jobs_cores"] = figures(others)
                ratio = spread(rates / predicted)
                rows.append(
                    [name, f"{count}", number(predicted), spread(rates), ratio, number(float(np.median(others)))]
                )
    columns = ["8 environments a runner", "runners", "predicted", "simulated", "simulated ÷ predicted", "others' cores"]
    title = f"Environment steps per second: a head and {NUM_NODES} Ray nodes on {CORES} cores"
    off = max(worst, key=np.median)
    cases = [Case("predicted and simulated, larger ÷ smaller, at worst", off, target=1.3)]
    report("nodes", [table_of(title, columns, rows)], cases, options, compared=compared, ray_nodes=1 + NUM_NODES)


def _sampling(sleep_s: float) -> dict[str, float]:
    """Wall and CPU seconds of one fragment, of a runner without Ray."""
    runner = runner_of(sampling_config(0, sleep_s))
    seconds = []
    for _ in range(12):
        since = time.perf_counter(), time.process_time()
        runner.sample()
        seconds.append((time.perf_counter() - since[0], time.process_time() - since[1]))
    runner.stop()
    wall, cpu = np.median(seconds[2:], axis=0).tolist()
    return {"sample_s": wall, "runner_cpu_s": cpu}


def _simulate(count: int, asleep: float, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps per second of each round, and cores that other jobs had."""
    algorithm: Any = sampling_config(count, asleep / FRAGMENT).build_algo()
    iterations = max(5, round(2 / asleep))
    times = interleave({"run": lambda: sum(train_once(algorithm) for _ in range(iterations))}, rounds)["run"]
    algorithm.stop()
    return 1 / times.wall, times.others
