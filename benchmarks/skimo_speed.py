"""What updates and plans of SkiMo cost on a CPU, beside their matrix products alone, and drawing windows of data.

\b
    python benchmarks/skimo_speed.py

CPU milliseconds with one thread, in turns: medians, least and greatest of the rounds. Sizes are those of the mazes; a
batch of data has 64 windows of five skills, one of a task 128, and a plan has 6 x 512 sequences of 10 skills.
"""  # noqa: D301 - click's mark for "do not rewrap", not a backslash

import tempfile
from collections.abc import Callable

import click
import numpy as np
import torch
from measure import interleave, repeat, spread, table_of
from rich.console import Console
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rllib_sami.algorithms.skimo import downstream_update, pretraining_update
from rllib_sami.algorithms.skimo.downstream_networks import (
    DownstreamNetworkConfig,
    SkillTaskNetworks,
    SkillTaskTrainingNetworks,
)
from rllib_sami.algorithms.skimo.networks import SkillModel, SkillModelConfig
from rllib_sami.core.optimization import Optimization, ParameterGroups
from rllib_sami.datasets import Dataset, DatasetWriter, Trajectory
from rllib_sami.datasets.window_sampler import WindowSampler

OBS, ACTION, SKILLS = 4, 2, 5
WINDOWS, TASK_WINDOWS = 64, 128
PRODUCTS = {torch.ops.aten.mm.default: (0, 1), torch.ops.aten.addmm.default: (1, 2)}


class Floor(TorchDispatchMode):
    """The matrix products that a function makes, on arrays that lie ready: its floor."""

    def __init__(self, function: Callable[[], object]):
        super().__init__()
        self._pairs: list[tuple[Tensor, Tensor]] = []
        with self:
            function()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Keeps what is multiplied, as it lies in memory."""
        if function in PRODUCTS:
            self._pairs.append(tuple(args[index].detach().clone(memory_format=torch.preserve_format)
                                     for index in PRODUCTS[function]))  # fmt: skip
        return function(*args, **(kwargs or {}))

    def __call__(self) -> None:
        for first, second in self._pairs:
            torch.mm(first, second)


def optimization(groups: ParameterGroups) -> Optimization:
    return Optimization(groups, {name: torch.optim.Adam(some, fused=True) for name, some in groups.items()}, 100.0)


def pretraining() -> tuple[Callable[[], object], Callable[[], object]]:
    """Returns an update from data, and drawing its windows."""
    model = SkillModel(OBS, ACTION, SkillModelConfig(num_skills=SKILLS))
    training = pretraining_update.PretrainingNetworks(model)
    steps = optimization(pretraining_update.parameter_groups(model, joint=True))
    rng, config = np.random.default_rng(0), pretraining_update.PretrainingUpdateConfig()
    with tempfile.TemporaryDirectory() as folder:
        with DatasetWriter(f"{folder}/data") as writer:
            for _ in range(600):
                writer.add(Trajectory(rng.standard_normal((221, OBS)), rng.uniform(-1, 1, (220, ACTION))))
        sampler = WindowSampler(Dataset(f"{folder}/data"), 10 * SKILLS, np.arange(600))

        def draw() -> dict[str, np.ndarray]:
            return sampler.draw((WINDOWS,), rng)

        batch = {name: torch.from_numpy(values) for name, values in draw().items()}
    batch["noise"] = torch.randn(WINDOWS, SKILLS, model.config.skill_dim)
    return lambda: pretraining_update.pretraining_update(model, training, steps, batch, config), draw


def task() -> Callable[[], object]:
    """Returns an update of a task."""
    skill_dim = SkillModelConfig().skill_dim
    acting = SkillTaskNetworks(OBS, skill_dim, DownstreamNetworkConfig(num_skills=SKILLS, planner="none"), 0.99)
    training = SkillTaskTrainingNetworks(acting, 1.0)
    steps = optimization(downstream_update.parameter_groups(acting, training))
    shape = (TASK_WINDOWS, SKILLS)
    batch = {
        "obs": torch.randn(TASK_WINDOWS, SKILLS + 1, OBS),
        "actions": torch.rand(*shape, skill_dim) * 2 - 1,
        **{name: torch.randn(*shape, skill_dim) for name in ("noise", "next_noise")},
        **{"rewards": torch.randn(shape), "terminated": torch.zeros(shape), "weights": torch.ones(shape)},
    }
    config = downstream_update.DownstreamUpdateConfig(gamma=0.99, actor_states="encoded")
    return lambda: downstream_update.downstream_update(acting, training, steps, batch, config)


def plan() -> Callable[[], object]:
    """Returns a plan of ten skills in one state."""
    skill_dim = SkillModelConfig().skill_dim
    acting = SkillTaskNetworks(OBS, skill_dim, DownstreamNetworkConfig(num_skills=10), 0.99)
    acting.horizon.fill_(10)
    state = torch.from_numpy(acting.initial_state(1))
    arguments = (torch.randn(1, OBS), torch.zeros(1, skill_dim), torch.zeros(1, 1), state)
    return lambda: acting.act(*arguments)


@click.command(help=__doc__)
@click.option("--rounds", default=7, show_default=True)
def main(rounds: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    learn, draw = pretraining()
    measured = {"update from data": learn, "update of a task": task(), "plan": plan()}
    actions = {}
    for name, function in measured.items():
        function()
        actions[name] = repeat(function, 5)
        actions[f"{name}, products"] = repeat(Floor(function), 5)
    actions["drawing windows"] = repeat(draw, 50)
    times = interleave(actions, rounds)
    rows = [[name, spread(some.cpu, 1e3)] for name, some in times.items()]
    for name in measured:
        rows.append([f"{name} / its products", spread(times[name].cpu / times[f"{name}, products"].cpu)])
    rows.append(["drawing / update from data", spread(times["drawing windows"].cpu / times["update from data"].cpu)])
    Console(width=120).print(table_of("CPU-ms", ["", "each"], rows))


if __name__ == "__main__":
    main()
