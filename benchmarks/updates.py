"""Commands about gradient updates: ``update`` and ``buffer``.

All times are of one update of actor and critics, with its share of what a batch's updates have in common: drawing it,
encoding it, the contrasts.
"""

import click
import numpy as np
import torch
from devices import SHAPES, update_on
from floor import Floor
from measure import Case, Options, figures, interleave, number, options, repeat, report, spread, table_of, times_table
from skill_updates import METHODS, skill_updates
from workloads import (
    ANT,
    CONFIGS,
    HALF_CHEETAH,
    PAPER,
    Agent,
    add_open_episodes,
    batch_of,
    fill,
    noise_store,
)

from rllib_sami import SaCCMConfig
from rllib_sami.core.networks import polyak_update
from rllib_sami.replay_buffers.task_episode_replay_buffer import TaskEpisodeReplayBuffer


@click.command()
@click.option("--paper", is_flag=True, help="The authors' Ant shape: 16 + 16 episodes of 1,000 steps, every step used.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="Whole updates there: eager, compiled, bfloat16.")
@click.option("--algo", type=click.Choice(METHODS), help="A method of skill discovery instead of SaMI's.")
@options(rounds=15, quick_rounds=3)
def update(paper: bool, device: str | None, algo: str | None, options: Options) -> None:
    """One gradient update ÷ its matrix products and LSTM calls, forward and backward (floor.py).

    With --device instead: transitions per second through whole updates, in every mode of computing them.
    """
    if algo:
        if device or paper:
            raise click.UsageError("--algo goes without --device and --paper.")
        skill_updates(algo, options)
    elif device:
        update_on(device, ["paper"] if paper else list(SHAPES), options)
    else:
        (_paper_update if paper else _default_update)(options)


def _default_update(options: Options) -> None:
    store = noise_store(HALF_CHEETAH)
    calls = 1 if options.quick else 3
    actions, parts = {}, {}
    for name, config_class in CONFIGS.items():
        config = config_class()
        agent, batch = Agent.of(config, *HALF_CHEETAH), batch_of(config, store)
        updates = config.updates_per_batch
        actions[name] = repeat(lambda agent=agent, batch=batch: agent.update(batch), calls, updates)
        actions[f"{name} floor"] = repeat(Floor(agent.acting, batch, agent.config), calls, updates)
        parts[name] = _update_parts(Agent.of(config, *HALF_CHEETAH), batch, calls)
    times = interleave(actions, options.rounds)
    part_times = {name: interleave(some, options.rounds) for name, some in parts.items()}

    rows, algorithms = [], {}
    for name in CONFIGS:
        ours, floor = times[name], times[f"{name} floor"]
        shares = {part: part_times[name][part].cpu for part in parts[name]}
        algorithms[name] = {
            "ratio": figures(ours.cpu / floor.cpu),
            "wall_ratio": figures(ours.wall / floor.wall),
            "cpu_ms": figures(ours.cpu, 1e3),
            "floor_cpu_ms": figures(floor.cpu, 1e3),
            **{f"{part}_cpu_ms": figures(values, 1e3) for part, values in shares.items()},
        }
        medians = [1e3 * float(np.median(values)) for values in (ours.cpu, floor.cpu, *shares.values())]
        rest = medians[0] - sum(medians[1:])
        whole = [spread(values, 1e3) for values in (ours.cpu, ours.wall, floor.cpu)]
        rows.append([name, *whole, *map(number, [*medians[2:], rest]), spread(ours.cpu / floor.cpu)])
    columns = ["", "update", "wall", "floor", "optimisers", "averages", "rest", "÷ floor"]
    title = "CPU-ms per update of actor and critics: default configuration, HalfCheetah, episodes of 200 steps"
    table = table_of(title, columns, rows)
    case = Case("SaCCM ÷ floor", times["SaCCM"].cpu / times["SaCCM floor"].cpu, target=1.35)
    report("update", [table], [case], options, algorithms=algorithms)


def _update_parts(agent: Agent, batch: dict[str, torch.Tensor], calls: int) -> dict:
    """What the updates on a batch do beside losses and products, each on its own."""
    agent.update(batch)  # makes the gradients
    config, optimizers = agent.config, agent.optimization.optimizers

    def optimisers() -> None:
        for index in range(config.updates_per_batch):
            for name in ("critic", "actor", "alpha"):
                optimizers[name].step()
            if config.critics_train_encoder or index % config.contrast_interval == 0:
                optimizers["encoder"].step()

    def averages() -> None:
        with torch.no_grad():
            for index in range(config.updates_per_batch):
                polyak_update(agent.training.target_critics, agent.training.critics, config.tau)
                if index % config.contrast_interval == 0:
                    query_encoder, key_encoder = agent.training.query_and_key_encoder(agent.acting)
                    polyak_update(key_encoder, query_encoder, config.key_encoder_tau)

    parts = {"optimisers": optimisers, "averages": averages}
    return {name: repeat(part, calls, config.updates_per_batch) for name, part in parts.items()}


def _paper_update(options: Options) -> None:
    length = 250 if options.quick else 1_000
    config = SaCCMConfig().training(**PAPER)
    store = noise_store(ANT, 100 * length, length=length)
    agent, batch = Agent.of(config, *ANT), batch_of(config, store)
    sides = {
        "SaCCM": lambda: agent.update(batch),
        "floor": Floor(agent.acting, batch, agent.config),
        "floor of the SAC part": Floor(agent.acting, batch, agent.config, with_contrast=False),
    }
    times = interleave({name: repeat(side, 1) for name, side in sides.items()}, rounds=min(options.rounds, 5))
    title = f"Authors' Ant shape: 16 + 16 episodes x {length:,} steps, nets 512x512x512, LSTM 128, all steps"
    case = Case("SaCCM ÷ floor of the SAC part", times["SaCCM"].cpu / times["floor of the SAC part"].cpu, target=1.25)
    report(
        "update --paper",
        [times_table(title, "seconds per update", times)],
        [case],
        options,
        episode_length=length,
        cpu_s={name: figures(some.cpu) for name, some in times.items()},
        ratio_to_whole_floor=figures(times["SaCCM"].cpu / times["floor"].cpu),
    )


@click.command()
@options(rounds=15, quick_rounds=3)
def buffer(options: Options) -> None:
    """Bytes per stored transition ÷ raw float32 bytes; time to draw a batch ÷ time of its update."""
    obs_dim, action_dim = HALF_CHEETAH
    config = SaCCMConfig()
    capacity = config.replay_buffer_config["capacity"] // (10 if options.quick else 1)
    replay_buffer = TaskEpisodeReplayBuffer(obs_dim, action_dim, config.make_sampler(), capacity=capacity)
    store = fill(replay_buffer.store, capacity + 10_000)
    add_open_episodes(store, config.num_envs_per_env_runner)
    num_bytes = sum(values.nbytes for values in vars(store).values() if isinstance(values, np.ndarray))
    size = num_bytes / store.num_steps / (4 * (obs_dim + action_dim + 1))

    updates = config.updates_per_batch
    agent, batch = Agent.of(config, *HALF_CHEETAH), batch_of(config, store)
    # One batch is drawn at once: a round of the default configuration leads to no more.
    sides = {"sample": lambda: replay_buffer.sample(1), "update": lambda: agent.update(batch)}
    times = interleave({name: repeat(side, 1, updates) for name, side in sides.items()}, options.rounds)
    title = f"{store.num_steps:,} steps stored in episodes of 200, SaCCM, {updates} updates of actor and critics drawn"
    cases = [
        Case("bytes per transition ÷ raw", np.array([size]), target=1.1),
        Case("sample ÷ update", times["sample"].cpu / times["update"].cpu, target=0.03),
    ]
    report(
        "buffer",
        [times_table(title, "ms per update", times, 1e3)],
        cases,
        options,
        bytes_per_transition=num_bytes / store.num_steps,
        steps_stored=store.num_steps,
        cpu_ms={name: figures(some.cpu, 1e3) for name, some in times.items()},
    )
