"""The command ``sampling``: environment steps per CPU-second of the env runner."""

from collections.abc import Iterator

import click
from measure import Action, Case, Options, Times, figures, interleave, options, report, times_table
from rllib_sac import sac_config, sac_runner
from workloads import Recording, our_config, runner_of

from rllib_sami import SaCCMConfig


@click.command()
@click.option("--against", type=click.Choice(["rllib-sac"]), help="RLlib's own runner with its SAC's networks.")
@options(rounds=15, quick_rounds=3)
def sampling(against: str | None, options: Options) -> None:
    """ArrayEnvRunner's environment steps per CPU-second ÷ those of ready actions (or of RLlib's runner)."""
    cases, rates, table = [], {}, {}
    for name, target, times in (_against_sac if against else _against_raw)(options):
        ours, other = times.values()
        cases.append(Case(name, other.cpu / ours.cpu, target, at_least=True))
        rates[name] = {side: figures(1 / some.cpu) for side, some in times.items()}
        table |= {f"{name}, {side}": some for side, some in times.items()}
    title = "16 environments, fragments of 25, LSTM 128, actor 256x256, identical physics"
    if against:
        title = "HalfCheetah: ArrayEnvRunner with LSTM 128 and actor 256x256, RLlib's with its MLP 256x256"
    tables = [times_table(title, "environment steps per second", table, per_second=True)]
    report(
        f"sampling --against {against}" if against else "sampling", tables, cases, options, env_steps_per_cpu_s=rates
    )


def _against_raw(options: Options) -> Iterator[tuple[str, float, dict[str, Times]]]:
    """Both sides simulate the very same steps: what the runner asks of its environments is asked again."""
    for name, target in (("HalfCheetah", 0.75), ("Ant", 0.92)):
        runner = runner_of(our_config(SaCCMConfig, f"SaMI/{name}-v0", 16, 25))
        recording = Recording(runner)
        actions = {"ArrayEnvRunner": _sampling(runner, 2 if options.quick else 8), "raw": recording.replay}
        yield name, target, interleave(actions, options.rounds)
        runner.stop()


def _against_sac(options: Options) -> Iterator[tuple[str, float, dict[str, Times]]]:
    """Both act with their untrained, stochastic policy."""
    env = "SaMI/HalfCheetah-v0"
    for num_envs, fragment, target in ((16, 16, 3.5), (1, 64, 5.5)):
        name = f"{num_envs} environments, fragments of {fragment}" if num_envs > 1 else f"1 environment, of {fragment}"
        ours = runner_of(our_config(SaCCMConfig, env, num_envs, fragment))
        sac = sac_runner(sac_config(env, num_envs, fragment))
        fragments = (1 if options.quick else 4) * (1 if num_envs > 1 else 4)
        actions = {"ArrayEnvRunner": _sampling(ours, fragments), "RLlib": _sampling(sac, fragments)}
        yield name, target, interleave(actions, options.rounds)
        for runner in (ours, sac):
            runner.stop()


def _sampling(runner, fragments: int) -> Action:
    """Samples a few fragments; returns the environment steps."""
    return lambda: sum(len(episode) for _ in range(fragments) for episode in runner.sample())
