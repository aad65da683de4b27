"""The command ``scale``: several env runners, and growth with episode length, tasks and stored steps."""

import os
from typing import Any

import click
import numpy as np
from growth import LENGTHS, STORED, TASKS, Learning, available_memory, exponent, peak_memory
from measure import Case, Options, figures, interleave, number, options, report, spread, table_of
from rich.table import Table
from workloads import fill, our_config, ray_cluster, train_once, trained_config

from rllib_sami import SaCCMConfig

QUIET = 0.3  # cores that other jobs may have in a round that counts


@click.command()
@options(rounds=5, quick_rounds=1)
def scale(options: Options) -> None:
    """Two runners ÷ one at fixed work; growth of an update with episode length, tasks and stored steps."""
    grown, growth_cases, growth_fields = _growth(options)  # first: it forks, which threads of Ray do not like
    with ray_cluster():
        runners, runner_cases, rates = _runners(options)
    report("scale", [runners, grown], [*runner_cases, *growth_cases], options, env_steps_per_s=rates, **growth_fields)


def _runners(options: Options) -> tuple[Table, list[Case], dict]:
    """Sampling alone, and whole training; ratios are of rounds that no other job disturbed, if there are any."""
    steps = {"HalfCheetah": 800} if options.quick else {"HalfCheetah": 4_000, "Ant": 1_600}
    rows, cases, rates = [], [], {}
    rounds = options.rounds if options.quick else 3 * options.rounds  # short ones: some may go undisturbed

    def compare(work: str, algorithms: dict[str, Any], rounds: int) -> np.ndarray:
        actions = {name: lambda algorithm=algorithm: train_once(algorithm) for name, algorithm in algorithms.items()}
        one, two = interleave(actions, rounds).values()
        for algorithm in algorithms.values():
            algorithm.stop()
        gain = one.wall / two.wall
        sides = {"1 runner": 1 / one.wall, "2 runners": 1 / two.wall, "gain": gain}
        rates[work] = {name: figures(values) for name, values in sides.items()}
        others = np.maximum(one.others, two.others)
        quiet = others < QUIET
        rows.append(
            [work, *(spread(values) for values in sides.values()), number(1e6 * np.median(two.cpu)), spread(others)]
        )
        rates[work] |= {
            "main_process_cpu_us_per_step": figures(two.cpu, 1e6),
            "other_jobs_cores": figures(others),
            "undisturbed_rounds": int(quiet.sum()),
        }
        return gain[quiet] if quiet.any() else gain

    for name, num_steps in steps.items():
        algorithms = {}
        for count in (1, 2):
            config = our_config(SaCCMConfig, f"SaMI/{name}-v0", 8, 25, max_steps=200)
            config.training(num_steps_sampled_before_learning_starts=0, updates_per_env_step=1e-9)  # no updates
            config.env_runners(num_env_runners=count)
            config.reporting(min_sample_timesteps_per_iteration=num_steps)
            algorithms[f"{count}"] = config.build_algo()
        gain = compare(f"{name}, sampling", algorithms, rounds)
        cases.append(Case(f"{name}, sampling, 2 runners ÷ 1", gain, target=1.6, at_least=True))
    if not options.quick:
        algorithms = {f"{count}": trained_config(SaCCMConfig, False, count).build_algo() for count in (1, 2)}
        for algorithm in algorithms.values():
            fill(algorithm.replay_buffer.store, 50_000)
            algorithm.train()  # random actions
        compare("HalfCheetah, training", algorithms, options.rounds)
    cores = len(os.sched_getaffinity(0))
    title = f"Environment steps per second on the clock, {cores} cores, 8 environments to a runner, fragments of 25"
    columns = ["fixed work", "1 runner", "2 runners", "2 ÷ 1", "main process, CPU-µs/step", "others' cores"]
    return table_of(title, columns, rows), cases, rates


def _growth(options: Options) -> tuple[Table, list[Case], dict]:
    """Of an update and its sampling."""
    enough = available_memory() > 4
    kinds = {
        "T": [load for load in LENGTHS if not options.quick or load.length <= 1_000],
        "tasks": [load for load in TASKS if not options.quick or load.tasks != 16],
        "stored": [load for load in STORED if load.stored <= 1_000_000 or (enough and not options.quick)],
    }
    loads = list(dict.fromkeys(load for some in kinds.values() for load in some))
    peaks = {load: peak_memory(load) for load in loads}
    actions = {}
    for load in loads:
        actions[f"{load} sample"], actions[f"{load} update"] = Learning(load).actions()
    times = interleave(actions, options.rounds)
    parts = {load: [times[f"{load} {part}"].cpu for part in ("sample", "update")] for load in loads}
    whole = {load: sum(parts[load]) for load in loads}
    rows = [[str(load), *(spread(part, 1e3) for part in parts[load]), f"{peaks[load]:,.0f}"] for load in loads]
    columns = ["SaCCM, HalfCheetah", "CPU-ms to sample", "CPU-ms to update", "peak MiB beside the store"]

    def growth(kind: str, field: str) -> np.ndarray:
        some = kinds[kind]
        return exponent([getattr(load, field) for load in some], [whole[load] for load in some])

    first, last = kinds["stored"][0], kinds["stored"][-1]
    cases = [
        Case("growth with T, exponent", growth("T", "length"), target=1.1),
        Case("growth with tasks, exponent", growth("tasks", "tasks"), target=1.1),
        Case(f"{last.stored:,} ÷ {first.stored:,} steps stored", whole[last] / whole[first], target=1.1),
    ]
    fields = {
        str(load): {
            "cpu_ms": figures(whole[load], 1e3),
            "sample_cpu_ms": figures(parts[load][0], 1e3),
            "peak_mib": peak,
        }
        for load, peak in peaks.items()
    }
    return table_of("Per update of actor and critics", columns, rows), cases, {"growth": fields}
