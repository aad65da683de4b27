"""The command ``train``: whole iterations of training."""

from typing import Any

import click
import torch
from measure import Case, Options, figures, interleave, options, report, times_table
from rllib_sac import LOSS_TRANSITIONS, sac_config
from skill_updates import METHODS, SkillAgent
from workloads import (
    EPISODE_LENGTH,
    HALF_CHEETAH,
    TRAINED,
    Agent,
    Recording,
    fill,
    ray_cluster,
    tensors_of,
    train_once,
    trained_config,
)

import rllib_sami
from rllib_sami import SaCCMConfig, TESACConfig, compat
from rllib_sami.algorithms.off_policy.learner import NUM_UPDATES_LIFETIME


@click.command()
@click.option("--against", type=click.Choice(["rllib-sac"]), help="RLlib's own SAC; ours is TESAC then.")
@click.option("--algo", type=click.Choice(METHODS), help="A method of skill discovery instead of SaCCM.")
@options(rounds=7, quick_rounds=1)
def train(against: str | None, algo: str | None, options: Options) -> None:
    """algo.train() ÷ raw physics and core updates of the same count (or RLlib's SAC)."""
    if algo and against:
        raise click.UsageError("--algo goes without --against.")
    with ray_cluster():
        if algo:
            _train_skills(algo, options)
        else:
            (_train_against_sac if against else _train_against_parts)(options)


def _train_skills(name: str, options: Options) -> None:
    """Eight episodes of HalfCheetah, then 100 updates, as tuned_examples/csf/half_cheetah.yaml has it."""
    config = getattr(rllib_sami, f"{name}Config")().environment("Skills/HalfCheetah-v0")
    config.env_runners(rollout_fragment_length=EPISODE_LENGTH)
    config.training(updates_per_env_step=0.0625, num_steps_sampled_before_learning_starts=1_000)
    config.reporting(min_sample_timesteps_per_iteration=1_600).debugging(seed=0, log_level="ERROR")
    algorithm = config.build_algo()
    recording = Recording(algorithm.env_runner)
    algorithm.train()  # random actions
    recording.replay()
    agent, done = SkillAgent(config), _num_updates(algorithm)
    arrays = algorithm.replay_buffer.sample(10)
    batches = [{key: torch.from_numpy(values[index]) for key, values in arrays.items()} for index in range(10)]

    def parts() -> int:
        nonlocal done
        steps, before, done = recording.replay(), done, _num_updates(algorithm)
        for index in range(done - before):
            agent.update(batches[index % len(batches)])
        return steps

    times = interleave({"algo.train()": lambda: train_once(algorithm), "physics + updates": parts}, options.rounds)
    algorithm.stop()
    whole, bare = times["algo.train()"], times["physics + updates"]
    title = f"{name}, HalfCheetah, 8 environments, fragments of 200, an update every 16 steps"
    report(
        f"train --algo {name}",
        [times_table(title, "ms per environment step", times, 1e3)],
        [Case("wall time, train() ÷ (physics + updates)", whole.wall / bare.wall, target=1.20)],
        options,
        cpu_ratio=figures(whole.cpu / bare.cpu),
        wall_ms_per_step={side: figures(some.wall, 1e3) for side, some in times.items()},
    )


def _train_against_parts(options: Options) -> None:
    config = trained_config(SaCCMConfig, options.quick)
    algorithm = config.build_algo()
    fill(algorithm.replay_buffer.store, 50_000)
    recording = Recording(algorithm.env_runner)
    algorithm.train()  # random actions
    recording.replay()
    agent, batches = Agent.of(config, *HALF_CHEETAH), tensors_of(algorithm.replay_buffer.sample(10))
    done = _num_updates(algorithm)

    def parts() -> int:
        nonlocal done
        steps, before, done = recording.replay(), done, _num_updates(algorithm)
        for index in range((done - before) // config.updates_per_batch):
            agent.update(batches[index % len(batches)])
        return steps

    times = interleave({"algo.train()": lambda: train_once(algorithm), "physics + updates": parts}, options.rounds)
    timers = algorithm.train()["timers"]
    algorithm.stop()
    table = times_table(f"SaCCM, {TRAINED}, default configuration", "ms per environment step", times, 1e3)
    whole, bare = times["algo.train()"], times["physics + updates"]
    report(
        "train",
        [table],
        [Case("wall time, train() ÷ (physics + updates)", whole.wall / bare.wall, target=1.20)],
        options,
        cpu_ratio=figures(whole.cpu / bare.cpu),
        wall_ms_per_step={name: figures(some.wall, 1e3) for name, some in times.items()},
        timers_s={name: float(timers[name]) for name in ("sample", "buffer_add", "buffer_sample", "learner_update")},
    )


def _train_against_sac(options: Options) -> None:
    """Fragments of 25, so that RLlib's samples and weight transfers are as few as ours."""
    ours = trained_config(TESACConfig, options.quick, loss_timesteps=LOSS_TRANSITIONS)
    algorithms = {"TESAC": ours.build_algo()}
    fill(algorithms["TESAC"].replay_buffer.store, 50_000)
    targets = {"RLlib SAC, its default networks": 4.0, "RLlib SAC, networks 256x256": 2.0}
    for name in targets:
        config = sac_config(
            ours.env,
            8,
            25,
            plain="256x256" in name,
            max_steps=200,
            training_intensity=LOSS_TRANSITIONS * ours.updates_per_env_step,
            num_steps_sampled_before_learning_starts=ours.num_steps_sampled_before_learning_starts,
        )
        config.reporting(min_sample_timesteps_per_iteration=ours.min_sample_timesteps_per_iteration)
        algorithms[name] = config.build_algo()
    for algorithm in algorithms.values():
        algorithm.train()  # before learning starts
    actions = {name: lambda algorithm=algorithm: train_once(algorithm) for name, algorithm in algorithms.items()}
    times = interleave(actions, options.rounds)
    for algorithm in algorithms.values():
        algorithm.stop()
    rates = {name: figures(1 / some.cpu) for name, some in times.items()}
    title = f"{TRAINED}, {ours.updates_per_env_step} updates per step, {LOSS_TRANSITIONS} transitions in the losses"
    cases = [
        Case(f"TESAC ÷ {name}", times[name].cpu / times["TESAC"].cpu, target, at_least=True)
        for name, target in targets.items()
    ]
    table = times_table(title, "environment steps per second", times, per_second=True)
    report("train --against rllib-sac", [table], cases, options, env_steps_per_cpu_s=rates)


def _num_updates(algorithm: Any) -> int:
    """Updates of actor and critics made so far."""
    key = (compat.LEARNER_RESULTS, compat.DEFAULT_MODULE_ID, NUM_UPDATES_LIFETIME)
    return int(algorithm.metrics.peek(key, default=0))
