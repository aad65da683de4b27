"""The command ``evaluation``: environment steps per CPU-second of ``evaluate``."""

import tempfile
from pathlib import Path

import click
import gymnasium
import numpy as np
from measure import Case, figures, interleave, options, report, spread, table_of
from measure import Options as Given
from workloads import our_config, ray_cluster

from rllib_sami import SaCCMConfig
from rllib_sami.env_runners import agents
from rllib_sami.evaluation import Results, evaluate

SPLITS = ("train", "moderate", "extreme")


@click.command()
@options(rounds=7, quick_rounds=2)
def evaluation(options: Given) -> None:
    """Environment steps per CPU-second of evaluate() ÷ those of one plain environment, given the same actions."""
    episodes = 1 if options.quick else 4
    rows, cases, rates = [], [], {}
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
        rows += [[f"{name}, {side}", spread(1 / some.cpu), spread(1 / some.wall)] for side, some in times.items()]
    title = f"SaCCM, LSTM 128, actor 256x256; {episodes} episodes of 1,000 steps per task, one process"
    table = table_of(title, ["environment steps per second", "CPU", "wall"], rows)
    report("evaluation", [table], cases, options, env_steps_per_cpu_s=rates)


def _untrained(env: str, folder: Path) -> Path:
    """Returns a checkpoint of an agent that was never trained."""
    config = our_config(SaCCMConfig, env, 1, 25)
    config.env_config = {key: value for key, value in config.env_config.items() if key != "max_steps"}
    with ray_cluster():
        algorithm = config.build_algo()
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
    order = results.episodes.set_index("split").loc[list(SPLITS)].reset_index()
    order = order.sort_values(["episode", "task_id"], kind="stable")
    steps = 0
    rows = order.assign(place=order["split"].map(SPLITS.index)).sort_values("place", kind="stable")
    for row, given in zip(rows.to_dict("records"), actions, strict=True):
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
