"""The command ``sampling``: environment steps per CPU-second of the env runner."""

import click
from measure import Case, Options, Times, figures, interleave, options, report, spread, table_of
from rllib_sac import sac_config, sac_runner
from workloads import Recording, our_config, runner_of

from rllib_sami import SaCCMConfig


@click.command()
@click.option("--against", type=click.Choice(["rllib-sac"]), help="RLlib's own runner with its SAC's networks.")
@options(rounds=15, quick_rounds=3)
def sampling(against: str | None, options: Options) -> None:
    """ArrayEnvRunner's environment steps per CPU-second ÷ those of ready actions (or of RLlib's runner)."""
    (_sampling_against_sac if against else _sampling_against_raw)(options)


def _sampling_against_raw(options: Options) -> None:
    """Both sides simulate the very same steps: what the runner asks of its environments is asked again."""
    num_envs, fragment = 16, 25
    fragments = 2 if options.quick else 8
    rows, cases, rates = [], [], {}
    for name, target in (("HalfCheetah", 0.75), ("Ant", 0.92)):
        runner = runner_of(our_config(SaCCMConfig, f"SaMI/{name}-v0", num_envs, fragment))
        recording = Recording(runner)
        actions = {"ArrayEnvRunner": lambda runner=runner: _sample(runner, fragments), "raw": recording.replay}
        times = interleave(actions, options.rounds)
        cases.append(Case(name, times["raw"].cpu / times["ArrayEnvRunner"].cpu, target, at_least=True))
        rates[name] = {side: figures(1 / some.cpu) for side, some in times.items()}
        rows += _rate_rows(name, times)
        runner.stop()
    title = f"{num_envs} environments, fragments of {fragment}, LSTM 128, actor 256x256, identical physics"
    table = table_of(title, ["environment steps per second", "CPU", "wall"], rows)
    report("sampling", [table], cases, options, env_steps_per_cpu_s=rates)


def _sampling_against_sac(options: Options) -> None:
    """Both act with their untrained, stochastic policy."""
    env = "SaMI/HalfCheetah-v0"
    rows, cases, rates = [], [], {}
    for num_envs, fragment, target in ((16, 16, 3.5), (1, 64, 5.5)):
        name = f"{num_envs} environments, fragments of {fragment}" if num_envs > 1 else f"1 environment, of {fragment}"
        ours = runner_of(our_config(SaCCMConfig, env, num_envs, fragment))
        sac = sac_runner(sac_config(env, num_envs, fragment))
        fragments = (1 if options.quick else 4) * (1 if num_envs > 1 else 4)
        actions = {
            "ArrayEnvRunner": lambda ours=ours, fragments=fragments: _sample(ours, fragments),
            "RLlib": lambda sac=sac, fragments=fragments: _sample(sac, fragments),
        }
        times = interleave(actions, options.rounds)
        cases.append(Case(name, times["RLlib"].cpu / times["ArrayEnvRunner"].cpu, target, at_least=True))
        rates[name] = {side: figures(1 / some.cpu) for side, some in times.items()}
        rows += _rate_rows(name, times)
        for runner in (ours, sac):
            runner.stop()
    title = "HalfCheetah: ArrayEnvRunner with LSTM 128 and actor 256x256, RLlib's with its MLP 256x256"
    table = table_of(title, ["environment steps per second", "CPU", "wall"], rows)
    report("sampling --against rllib-sac", [table], cases, options, env_steps_per_cpu_s=rates)


def _sample(runner, fragments: int) -> int:
    """Samples a few fragments; returns the environment steps."""
    return sum(len(episode) for _ in range(fragments) for episode in runner.sample())


def _rate_rows(name: str, times: dict[str, Times]) -> list[list[str]]:
    return [[f"{name}, {side}", spread(1 / some.cpu), spread(1 / some.wall)] for side, some in times.items()]
