"""``speed.py update --device``: whole updates on a processor of one's choice, in every mode of computing them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
import torch
from measure import Action, Case, Options, Times, figures, interleave, number, report, spread, table_of
from workloads import ANT, HALF_CHEETAH, PAPER, Agent, Batch, batch_of, noise_store

from rllib_sami import SaCCMConfig

MODES: dict[str, dict[str, bool]] = {
    "eager": {},
    "compiled": {"compile_update": True},
    "bfloat16": {"mixed_precision": True},
    "compiled, bfloat16": {"compile_update": True, "mixed_precision": True},
}
WARM_UP = 4  # batches in which it compiles and records CUDA graphs


@dataclass(frozen=True)
class Shape:
    """What is updated.

    Attributes:
        title: Names it.
        training: Settings of SaCCM.
        sizes: Widths of observation and action.
        length: Steps of every episode.
        goal_ms: Wall time of an update to reach on a GPU, if there is one.
    """

    title: str
    training: dict[str, Any]
    sizes: tuple[int, int]
    length: int
    goal_ms: float | None


_DEFAULTS = SaCCMConfig()
ALL_STEPS = {"train_episodes": 256, "loss_timesteps": None, "updates_per_batch": 1, "contrast_interval": 1}
SHAPES = {
    "default": Shape(
        f"Defaults: {_DEFAULTS.updates_per_batch} updates share {_DEFAULTS.train_episodes} episodes x 200 steps, "
        f"{_DEFAULTS.loss_timesteps} of them in the losses of each",
        {},
        HALF_CHEETAH,
        200,
        None,
    ),
    "batch": Shape(
        "256 episodes x 64 steps, all steps, LSTM 128, nets 256x256",
        ALL_STEPS,
        HALF_CHEETAH,
        64,
        5.4,  # 3 million transitions per second
    ),
    "paper": Shape("Authors' Ant shape: 16 + 16 episodes x 1,000 steps, nets 512x512x512", PAPER, ANT, 1_000, 50.0),
}


def update_on(device: str, names: Sequence[str], options: Options) -> None:
    """Measures the shapes of these names.

    Raises:
        click.ClickException: If there is no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise click.ClickException(
            f"torch {torch.__version__} finds no GPU here. Run this where there is one, with torch built for CUDA; "
            "`--device cpu` measures the same on the processor."
        )
    tables, cases, shapes = [], [], {}
    for name in names:
        shape = SHAPES[name]
        transitions, times = _measure(shape, device, options)
        rows = [
            [mode, spread(some.wall, 1e3), spread(some.cpu, 1e3), number(transitions / np.median(some.wall) / 1e6)]
            for mode, some in times.items()
        ]
        title = f"{shape.title}; {transitions:,} transitions{' (quick: an eighth of the steps)' * options.quick}"
        tables.append(table_of(title, ["per update", "wall ms", "CPU ms", "million transitions per s"], rows))
        cases += _cases(name, shape, device, times)
        shapes[name] = {
            mode: {"wall_ms": figures(some.wall, 1e3), "cpu_ms": figures(some.cpu, 1e3)} for mode, some in times.items()
        }
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    report(f"update --device {device}", tables, cases, options, gpu=gpu, shapes=shapes)


def _cases(name: str, shape: Shape, device: str, times: dict[str, Times]) -> list[Case]:
    """On a GPU the fastest mode's time; on a CPU what the other modes save."""
    if device == "cuda":
        if shape.goal_ms is None:
            return []
        mode = min(times, key=lambda mode: np.median(times[mode].wall))
        return [Case(f"{name}: ms per update, {mode}", 1e3 * times[mode].wall, target=shape.goal_ms)]
    eager = times["eager"].cpu
    return [Case(f"{name}: {mode} ÷ eager", times[mode].cpu / eager, target=1.0) for mode in times if mode != "eager"]


def _measure(shape: Shape, device: str, options: Options) -> tuple[int, dict[str, Times]]:
    """Transitions of an update of actor and critics and its times in every mode, all of the same batch."""
    length = shape.length // 8 if options.quick else shape.length
    arrays = batch_of(SaCCMConfig().training(**shape.training), noise_store(shape.sizes, 500 * length, length=length))
    batch = {name: values.to(device) for name, values in arrays.items()}
    actions = {}
    for mode, settings in MODES.items():
        agent = Agent.of(SaCCMConfig().training(**shape.training, **settings), *shape.sizes, device)
        for _ in range(WARM_UP):
            agent.update(batch)
        actions[mode] = _updates(agent, batch, count=20 if device == "cuda" else 1)
    transitions = len(batch["step_index"]) // agent.config.updates_per_batch
    return transitions, interleave(actions, options.rounds if device == "cuda" else min(options.rounds, 5))


def _updates(agent: Agent, batch: Batch, count: int) -> Action:
    """All updates on the batch, that many times in a row, to the end of the last one."""

    def run() -> int:
        for _ in range(count):
            agent.update(batch)
        if batch["rows"].is_cuda:
            torch.cuda.synchronize()
        return count * agent.config.updates_per_batch

    return run
