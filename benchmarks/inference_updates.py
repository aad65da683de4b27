"""What an update of TaskInference costs on a CPU, by encoder, and what it consists of.

\b
    python benchmarks/inference_updates.py

CPU milliseconds with one thread, in turns: medians, least and greatest of the rounds. Sizes are those of Reuse/Toy-v0
and the default settings, but for the encoder; batches have 256 windows.
"""  # noqa: D301 - click's mark for "do not rewrap", not a backslash

import click
import numpy as np
import torch
from measure import interleave, repeat, spread, table_of
from rich.console import Console

from rllib_sami import TaskInferenceConfig, envs
from rllib_sami.algorithms.task_inference.networks import InferenceNetworks, InferenceTrainingNetworks
from rllib_sami.algorithms.task_inference.update import inference_update, parameter_groups
from rllib_sami.core.optimization import Optimization
from rllib_sami.replay_buffers.episode_store import EpisodePiece, EpisodeStore

ENCODERS = {"mlp, 128 units": ("mlp", 128), "gru, 25 units": ("gru", 25), "gru, 128 units": ("gru", 128)}
UPDATES = 50  # drawn at once


def episodes(number: int, length: int) -> EpisodeStore:
    """A store of noise."""
    rng, store = np.random.default_rng(0), EpisodeStore(2, 1, number * (length + 1))
    for task in range(number):
        obs = rng.standard_normal((length + 1, 2), dtype=np.float32)
        actions, rewards = rng.uniform(-1, 1, (2, length, 1)).astype(np.float32)
        store.add(EpisodePiece(0, task, 0, obs, actions, rewards[:, 0], done=True))
    return store


class Agent:
    """Networks, optimisers and sampler, without Ray."""

    def __init__(self, kind: str, hidden: int):
        config = TaskInferenceConfig().environment("Reuse/Toy-v0")
        config.training(window_encoder=kind, encoder_hidden_dim=hidden)
        self.sampler, self.constants = config.make_sampler(), config.get_update_config(1)
        given = config.model_config
        module_class = config.get_default_rl_module_spec().module_class
        env = envs.make("Reuse/Toy-v0")
        module = module_class(
            observation_space=env.observation_space, action_space=env.action_space, model_config=given
        )
        self.acting: InferenceNetworks = module.acting
        self.learning: InferenceTrainingNetworks = module.learning
        groups = parameter_groups(self.acting, self.learning)
        optimizers = {name: torch.optim.Adam(parameters, fused=True) for name, parameters in groups.items()}
        self.optimization = Optimization(groups, optimizers)

    def sample(self, store: EpisodeStore) -> dict[str, torch.Tensor]:
        """Draws the arrays of ``UPDATES`` updates."""
        drawn = self.sampler(store, num_updates=UPDATES, rng=np.random.default_rng(0))
        return {name: torch.from_numpy(values) for name, values in drawn.items()}

    def update(self, batch: dict[str, torch.Tensor]) -> None:
        """One update."""
        inference_update(self.acting, self.learning, self.optimization, batch, self.constants)


@click.command(help=__doc__)
@click.option("--rounds", default=5, show_default=True)
def main(rounds: int) -> None:
    torch.set_num_threads(1)
    store, agents = episodes(80, 200), {name: Agent(*encoder) for name, encoder in ENCODERS.items()}
    first = next(iter(agents.values()))
    batch = {name: values[0] for name, values in first.sample(store).items()}
    actions = {
        f"an update ({name})": repeat(lambda agent=agent: agent.update(batch), 10) for name, agent in agents.items()
    }
    actions[f"sampling for {UPDATES} updates"] = repeat(lambda: first.sample(store), 1)
    times = interleave(actions, rounds)
    Console(width=120).print(
        table_of("CPU-ms", ["", "each"], [[name, spread(t.cpu, 1e3)] for name, t in times.items()])
    )


if __name__ == "__main__":
    main()
