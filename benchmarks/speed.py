"""How fast sampling and learning are, beside what the hardware could do and beside RLlib's own SAC.

    python benchmarks/speed.py update
    python benchmarks/speed.py sampling --against rllib-sac --out sampling.json

Every command measures both sides in one process, in turns, and shows medians with the smallest and largest round. The
last line is JSON. Torch has one thread throughout (``torch.set_num_threads(1)``); CPU time is of the whole process.
"""

import logging
import warnings

import click
import torch
from floor import Floor, Shapes
from measure import (
    Case,
    Options,
    Times,
    figures,
    interleave,
    number,
    options,
    repeat,
    report,
    spread,
    table_of,
)
from workloads import (
    ANT,
    CONFIGS,
    HALF_CHEETAH,
    PAPER,
    Agent,
    Recording,
    batch_of,
    fill,
    noise_store,
    our_config,
    ray_cluster,
    runner_of,
    tensors_of,
)

from rllib_sami import SaCCMConfig, compat
from rllib_sami.core.update import average_towards

warnings.filterwarnings("ignore", category=DeprecationWarning)


@click.group(help=__doc__, context_settings={"max_content_width": 120})
def main() -> None:
    torch.set_num_threads(1)
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)


# --- Updates --------------------------------------------------------------------------------------------------------


@main.command()
@click.option("--paper", is_flag=True, help="The authors' Ant shape: 16 + 16 episodes of 1,000 steps, every step used.")
@options(rounds=15, quick_rounds=3)
def update(paper: bool, options: Options) -> None:
    """One gradient update ÷ its matrix products and LSTM calls, forward and backward (floor.py)."""
    (_paper_update if paper else _default_update)(options)


def _default_update(options: Options) -> None:
    store = noise_store(HALF_CHEETAH)
    calls = 1 if options.quick else 3
    actions, parts = {}, {}
    for name, config_class in CONFIGS.items():
        config = config_class()
        agent, batch = Agent.of(config, *HALF_CHEETAH), batch_of(config, store)
        actions[name] = repeat(lambda agent=agent, batch=batch: agent.update(batch), calls)
        actions[f"{name} floor"] = repeat(Floor(Shapes.of(agent.acting, batch, agent.config)), calls)
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
        medians = {key: algorithms[name][key]["median"] for key in algorithms[name] if key.endswith("cpu_ms")}
        rest = medians["cpu_ms"] - sum(value for key, value in medians.items() if key != "cpu_ms")
        rows.append(
            [
                name,
                spread(ours.cpu, 1e3),
                spread(ours.wall, 1e3),
                spread(floor.cpu, 1e3),
                *(number(medians[f"{part}_cpu_ms"]) for part in shares),
                number(rest),
                spread(ours.cpu / floor.cpu),
            ]
        )
    columns = ["", "update", "wall", "floor", "optimisers", "averages", "rest", "÷ floor"]
    title = "CPU-ms per update: default configuration, HalfCheetah, episodes of 200 steps"
    table = table_of(title, columns, rows)
    case = Case("SaCCM ÷ floor", times["SaCCM"].cpu / times["SaCCM floor"].cpu, target=1.35)
    report("update", [table], [case], options, algorithms=algorithms)


def _update_parts(agent: Agent, batch: dict[str, torch.Tensor], calls: int) -> dict:
    """What an update does beside losses and products, each on its own."""
    agent.update(batch)  # makes the gradients

    def optimisers() -> None:
        for optimizer in vars(agent.optimizers).values():
            optimizer.step()

    def averages() -> None:
        with torch.no_grad():
            average_towards(agent.learning.target_critics, agent.learning.critics, agent.config.tau)
            average_towards(agent.learning.key_encoder, agent.acting.encoder, agent.config.key_encoder_tau)

    return {"optimisers": repeat(optimisers, calls), "averages": repeat(averages, calls)}


def _paper_update(options: Options) -> None:
    length = 250 if options.quick else 1_000
    config = SaCCMConfig().training(**PAPER)
    store = noise_store(ANT, 100 * length, length=length)
    agent, batch = Agent.of(config, *ANT), batch_of(config, store)
    whole = Shapes.of(agent.acting, batch, agent.config)
    floors = {
        "floor": Floor(whole),
        "floor of the SAC part": Floor(Shapes.of(agent.acting, batch, agent.config, with_contrast=False)),
    }
    times = interleave(
        {"SaCCM": repeat(lambda: agent.update(batch), 1)} | {name: repeat(floor, 1) for name, floor in floors.items()},
        rounds=min(options.rounds, 5),
    )
    rows = [[name, spread(some.cpu), spread(some.wall)] for name, some in times.items()]
    title = f"Authors' Ant shape: 16 + 16 episodes x {length:,} steps, nets 512x512x512, LSTM 128, all steps"
    case = Case("SaCCM ÷ floor of the SAC part", times["SaCCM"].cpu / times["floor of the SAC part"].cpu, target=1.25)
    report(
        "update --paper",
        [table_of(title, ["seconds per update", "CPU", "wall"], rows)],
        [case],
        options,
        episode_length=length,
        cpu_s={name: figures(some.cpu) for name, some in times.items()},
        ratio_to_whole_floor=figures(times["SaCCM"].cpu / times["floor"].cpu),
    )


# --- Sampling -------------------------------------------------------------------------------------------------------


@main.command()
@click.option("--against", type=click.Choice(["rllib-sac"]), help="RLlib's own runner with its SAC's networks.")
@options(rounds=15, quick_rounds=3)
def sampling(against: str | None, options: Options) -> None:
    """SaMIEnvRunner's environment steps per CPU-second ÷ those of ready actions (or of RLlib's runner)."""
    (_sampling_against_sac if against else _sampling_against_raw)(options)


def _sampling_against_raw(options: Options) -> None:
    """Both sides simulate the very same steps: what the runner asks of its environments is asked again."""
    num_envs, fragment = 16, 25
    fragments = 2 if options.quick else 8
    rows, cases, rates = [], [], {}
    for name, target in (("HalfCheetah", 0.75), ("Ant", 0.92)):
        runner = runner_of(our_config(SaCCMConfig, f"SaMI/{name}-v0", num_envs, fragment))
        recording = Recording(runner)
        actions = {"SaMIEnvRunner": lambda runner=runner: _sample(runner, fragments), "raw": recording.replay}
        times = interleave(actions, options.rounds)
        cases.append(Case(name, times["raw"].cpu / times["SaMIEnvRunner"].cpu, target, at_least=True))
        rates[name] = {side: figures(1 / some.cpu) for side, some in times.items()}
        rows += _rate_rows(name, times)
        runner.stop()
    title = f"{num_envs} environments, fragments of {fragment}, LSTM 128, actor 256x256, identical physics"
    table = table_of(title, ["environment steps per second", "CPU", "wall"], rows)
    report("sampling", [table], cases, options, env_steps_per_cpu_s=rates)


def _sampling_against_sac(options: Options) -> None:
    """Both act with their untrained, stochastic policy."""
    from rllib_sac import sac_config, sac_runner

    env = "SaMI/HalfCheetah-v0"
    rows, cases, rates = [], [], {}
    for num_envs, fragment, target in ((16, 16, 3.5), (1, 64, 5.5)):
        name = f"{num_envs} environments, fragments of {fragment}" if num_envs > 1 else f"1 environment, of {fragment}"
        ours = runner_of(our_config(SaCCMConfig, env, num_envs, fragment))
        sac = sac_runner(sac_config(env, num_envs, fragment))
        fragments = (1 if options.quick else 4) * (1 if num_envs > 1 else 4)
        actions = {
            "SaMIEnvRunner": lambda ours=ours, fragments=fragments: _sample(ours, fragments),
            "RLlib": lambda sac=sac, fragments=fragments: _sample(sac, fragments),
        }
        times = interleave(actions, options.rounds)
        cases.append(Case(name, times["RLlib"].cpu / times["SaMIEnvRunner"].cpu, target, at_least=True))
        rates[name] = {side: figures(1 / some.cpu) for side, some in times.items()}
        rows += _rate_rows(name, times)
        for runner in (ours, sac):
            runner.stop()
    title = "HalfCheetah: SaMIEnvRunner with LSTM 128 and actor 256x256, RLlib's with its MLP 256x256"
    table = table_of(title, ["environment steps per second", "CPU", "wall"], rows)
    report("sampling --against rllib-sac", [table], cases, options, env_steps_per_cpu_s=rates)


def _sample(runner, fragments: int) -> int:
    """Samples a few fragments; returns the environment steps."""
    return sum(len(episode) for _ in range(fragments) for episode in runner.sample())


def _rate_rows(name: str, times: dict[str, Times]) -> list[list[str]]:
    return [[f"{name}, {side}", spread(1 / some.cpu), spread(1 / some.wall)] for side, some in times.items()]


# --- Learner --------------------------------------------------------------------------------------------------------


@main.command()
@options(rounds=9, quick_rounds=2)
def learner(options: Options) -> None:
    """LearnerGroup.update with U = 16 ÷ 16 x core.update on the same arrays."""
    num_updates = 4 if options.quick else 16
    config = our_config(SaCCMConfig, "SaMI/HalfCheetah-v0", 8, 25, max_steps=200)
    with ray_cluster():
        algorithm = config.build_algo()
        fill(algorithm.replay_buffer.store, 50_000)
        sample = algorithm.replay_buffer.sample(num_updates)
        agent, batches = Agent.of(config, *HALF_CHEETAH), tensors_of(sample)

        def grouped() -> int:
            compat.update_learners(algorithm, [sample])
            return num_updates

        def bare() -> int:
            for batch in batches:
                agent.update(batch)
            return num_updates

        times = interleave({"LearnerGroup.update": grouped, "core.update": bare}, options.rounds)
        algorithm.stop()
    rows = [[name, spread(some.cpu, 1e3), spread(some.wall, 1e3)] for name, some in times.items()]
    table = table_of(f"SaCCM, HalfCheetah, U = {num_updates}", ["ms per update", "CPU", "wall"], rows)
    case = Case("LearnerGroup ÷ core", times["LearnerGroup.update"].cpu / times["core.update"].cpu, target=1.10)
    cpu_ms = {name: figures(some.cpu, 1e3) for name, some in times.items()}
    report("learner", [table], [case], options, updates_per_call=num_updates, cpu_ms=cpu_ms)


if __name__ == "__main__":
    main()
