"""The command ``evaluation``: environment steps per CPU-second of ``evaluate``."""

import tempfile
from pathlib import Path

import click
import gymnasium
import numpy as np
from measure import Case, Options, figures, interleave, options, report, times_table
from workloads import our_config, ray_cluster

from rllib_sami import SaCCMConfig
from rllib_sami.env_runners import agents
from rllib_sami.evaluation import Results, evaluate

SPLITS = ("train", "moderate", "extreme")


@click.command()
@options(rounds=7, quick_rounds=2)
def evaluation(options: Options) -> None:
    """Environment steps per CPU-second of evaluate() ÷ those of one plain environment, given the same actions."""
    episodes = 1 if options.quick else 4
    cases, rates, table = [], {}, {}
    for name in ("HalfCheetah", "Ant"):
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = _untrained(f"SaMI/{name}-v0", Path(folder))

            def play(checkpoint: Path = checkpoint) -> int:
                return int(evaluate(checkpoint, SPLITS, episodes, progress=False).episodes["length"].sum())

            played, actions = _recorded(checkpoint, episodes)
            env = {split: gymnasium.make(f"rllib_sami:SaMI/{name}-v0", split=split).unwrapped for split in SPLITS}
            sides = {"evaluate": play, "plain": lambda env=env, given=(played, actions): _replay(env, *given)}
            times = interleave(sides, options.rounds)
        cases.append(Case(name, times["plain"].cpu / times["evaluate"].cpu, 0.6, at_least=True))
        rates[name] = {side: figures(1 / some.cpu) for side, some in times.items()}
        table |= {f"{name}, {side}": some for side, some in times.items()}
    title = f"SaCCM, LSTM 128, actor 256x256; {episodes} episodes of 1,000 steps per task, one process"
    tables = [times_table(title, "environment steps per second", table, per_second=True)]
    report("evaluation", tables, cases, options, env_steps_per_cpu_s=rates)


def _untrained(env: str, folder: Path) -> Path:
    """Returns a checkpoint of an agent that was never trained."""
    with ray_cluster():
        algorithm = our_config(SaCCMConfig, env, 1, 25).build_algo()
        algorithm.save_to_path(folder / "checkpoint_000000")
        algorithm.stop()
    return folder / "checkpoint_000000"


def _recorded(checkpoint: Path, episodes: int) -> tuple[Results, np.ndarray]:
    """Returns what was played, and the actions ``[episodes, steps, A]`` of the episodes in the order they began."""
    chunks: list[list[np.ndarray]] = []

    class Recording(agents.ContextAgent):
        def begin(self, slots, rows):
            chunks.append([])
            super().begin(slots, rows)

        def act(self, slots, live):
            actions = super().act(slots, live)
            chunks[-1].append(actions[: len(slots)].copy())
            return actions

    original, agents.ContextAgent = agents.ContextAgent, Recording
    try:
        results = evaluate(checkpoint, SPLITS, episodes, progress=False)
    finally:
        agents.ContextAgent = original
    return results, np.concatenate([np.stack(chunk, axis=1) for chunk in chunks])


def _replay(env: dict[str, gymnasium.Env], results: Results, actions: np.ndarray) -> int:
    """Plays the same episodes with the same actions on one plain environment per split; returns the steps."""
    steps = 0
    order = results.episodes.assign(place=results.episodes["split"].map(SPLITS.index))
    order = order.sort_values(["place", "episode", "task_id"])
    for row, given in zip(order.to_dict("records"), actions, strict=True):
        one = env[row["split"]]
        one.next_task_id = row["task_id"]
        one.reset(seed=row["episode_seed"])
        total = 0.0
        for action in given:
            _, reward, terminated, truncated, _ = one.step(action)
            total += reward
            steps += 1
            if terminated or truncated:
                break
        assert total == row["return"], "not the same episode"
    return steps
