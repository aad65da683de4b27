"""How many environment steps per second 1 to 1,000 env runners give, from what was measured on one machine.

    python benchmarks/scaling.py                      # table, and docs/scaling.svg
    python benchmarks/scaling.py --bandwidth 10e9     # bits per second between the machines

The inputs are in ``results/speed``: ``messages.json``, ``sampling.json``, ``update.json`` and ``buffer.json``, written
by the commands of ``speed.py``; ``nodes.json`` is a simulation to compare with.
"""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

RESULTS = Path(__file__).parent / "results" / "speed"
FIGURE = Path(__file__).parents[1] / "docs" / "scaling.svg"
INLINE_BYTES = 100 * 1024  # Ray's limit for what travels in the reply itself; larger ones lie in the object store
RUNNERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000)


@dataclass(frozen=True)
class Work:
    """What one round of all env runners takes, in seconds and bytes.

    A round: every runner samples a fragment; the main process collects and stores them, sends the new weights, starts
    the next round, and the learner updates while the runners sample.

    Attributes:
        steps: Environment steps of a fragment, over all environments of a runner.
        sample_s: A runner's time for a fragment.
        round_s: Time of the main process for a round, whatever the number of runners.
        runner_s: The same for each runner's fragment: messages, metrics and storing.
        update_s: A gradient update with what it draws from the buffer.
        updates_per_step: Updates for each environment step.
        fragment_bytes: A fragment on the network.
        weights_bytes: Weights of encoder and actor on the network.
        runners_per_node: Runners on a machine; they share one copy of the weights.
        bandwidth: Bytes per second into and out of the main process's machine; infinity for one machine.
        runner_cpu_s: CPU time of a runner for a fragment, needed with ``cores``.
        cores: Cores that all processes share, where they do; infinity on a cluster.
    """

    steps: int
    sample_s: float
    round_s: float
    runner_s: float
    update_s: float = 0.0
    updates_per_step: float = 0.0
    fragment_bytes: float = 0.0
    weights_bytes: float = 0.0
    runners_per_node: int = 16
    bandwidth: float = math.inf
    runner_cpu_s: float = 0.0
    cores: float = math.inf

    def parts(self, runners: int) -> dict[str, float]:
        """Seconds of one round that each part takes with so many env runners.

        ``runners`` overlaps with ``learner``; with ``cores`` given, ``cores`` is the least that a round can take.
        """
        nodes = math.ceil(runners / self.runners_per_node)
        main = self.round_s + runners * self.runner_s
        learner = runners * self.steps * self.updates_per_step * self.update_s
        return {
            "runners": self.sample_s,
            "main process": main,
            "learner": learner,
            "network": (runners * self.fragment_bytes + nodes * self.weights_bytes) / self.bandwidth,
            "cores": (main + learner + runners * self.runner_cpu_s) / self.cores,
        }

    def round_time(self, runners: int) -> float:
        """Seconds of one round; the network is not overlapped with anything, which is its worst case."""
        parts = self.parts(runners)
        one_after_the_other = parts["main process"] + parts["network"] + max(parts["runners"], parts["learner"])
        return max(one_after_the_other, parts["cores"])

    def rate(self, runners: int) -> float:
        """Environment steps per second."""
        return runners * self.steps / self.round_time(runners)

    def limit(self, runners: int) -> str:
        """The part that takes most of a round."""
        parts = self.parts(runners)
        return max(parts, key=lambda name: parts[name])

    @property
    def ceilings(self) -> dict[str, float]:
        """Steps per second that learner, main process and network could take at most, with any number of runners."""
        updating = self.updates_per_step * self.update_s
        in_bytes = (self.fragment_bytes + self.weights_bytes / self.runners_per_node) / self.steps
        return {
            "learner": 1 / updating if updating else math.inf,
            "main process": self.steps / self.runner_s,
            "network": self.bandwidth / in_bytes if in_bytes else math.inf,
        }


def measured(name: str) -> dict[str, Any]:
    """A result of ``speed.py``."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def work_of(messages: dict[str, Any], *, sample_s: float, **options: Any) -> Work:
    """The work whose messages were measured (``messages.json``)."""
    return Work(
        steps=messages["steps_per_fragment"],
        sample_s=sample_s,
        round_s=sum(messages["round_s"].values()),
        runner_s=sum(messages["runner_s"].values()),
        fragment_bytes=messages["messages"]["fragment_bytes"] + messages["messages"]["metrics_bytes"],
        weights_bytes=messages["messages"]["weights_bytes"],
        **options,
    )


def longer_fragments(work: Work, messages: dict[str, Any], factor: int) -> Work:
    """The same with fragments ``factor`` times as long: storing and bytes grow with the steps, the rest stays."""
    storing = messages["runner_s"]["add"]
    in_store = factor * work.fragment_bytes > INLINE_BYTES
    fetching = messages["messages"]["fragment_get_ms"] / 1e3 if in_store else 0.0
    return replace(
        work,
        steps=factor * work.steps,
        sample_s=factor * work.sample_s,
        runner_s=work.runner_s + (factor - 1) * storing + fetching,
        fragment_bytes=factor * work.fragment_bytes,
    )


def scenarios(bandwidth: float) -> dict[str, Work]:
    """What the table and the figure show, by name; ``bandwidth`` in bytes per second."""
    messages = measured("messages")
    update_s = (measured("update")["algorithms"]["SaCCM"]["cpu_ms"]["median"]) / 1e3
    update_s += measured("buffer")["cpu_ms"]["sample"]["median"] / 1e3
    steps = messages["steps_per_fragment"]
    rates = measured("sampling")["env_steps_per_cpu_s"]["HalfCheetah"]
    ours = rates.get("ArrayEnvRunner") or rates["SaMIEnvRunner"]  # the runner's name until commit 803c972
    fast = steps / ours["median"]
    slow = steps * 0.02  # a simulator of 20 ms a step

    def work(sample_s: float, updates_per_step: float) -> Work:
        options = {"update_s": update_s, "updates_per_step": updates_per_step, "bandwidth": bandwidth}
        return work_of(messages, sample_s=sample_s, **options)

    return {
        "HalfCheetah, an update every 10 steps": work(fast, 0.1),
        "HalfCheetah, every 1,000 steps": work(fast, 0.001),
        "HalfCheetah, sampling alone": work(fast, 0.0),
        "the same, fragments of 200": longer_fragments(work(fast, 0.0), messages, 8),
        "20 ms a step, an update every 10 steps": work(slow, 0.1),
        "20 ms a step, every 100 steps": work(slow, 0.01),
    }


def table(works: dict[str, Work]) -> str:
    """Markdown: steps per second, and which part takes most of a round."""
    lines = ["| env runners | " + " | ".join(works) + " |", "|---:" * (1 + len(works)) + "|"]
    for runners in RUNNERS:
        cells = [f"{work.rate(runners):,.0f} ({work.limit(runners)})" for work in works.values()]
        lines.append(f"| {runners:,} | " + " | ".join(cells) + " |")
    for part in ("learner", "main process", "network"):
        ceilings = [work.ceilings[part] for work in works.values()]
        cells = ["–" if math.isinf(ceiling) else f"{ceiling:,.0f}" for ceiling in ceilings]
        lines.append(f"| most for the {part} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(works: dict[str, Work], path: Path) -> None:
    """Draws steps per second over env runners, with what the simulation of ``nodes.json`` gave."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "scaling"  # the same file from the same numbers
    import matplotlib.pyplot as plt

    figure, (curves, compared) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for name, work in works.items():
        curves.plot(RUNNERS, [work.rate(runners) for runners in RUNNERS], marker=".", label=name)
    curves.set_title("Predicted")
    if (RESULTS / "nodes.json").is_file():
        for number, (name, rows) in enumerate(measured("nodes")["compared"].items()):
            runners = [row["runners"] for row in rows]
            compared.plot(
                runners, [row["predicted"] for row in rows], color=f"C{number}", label=f"fragments {name}, predicted"
            )
            simulated = [row["simulated"] for row in rows]
            middle = [rate["median"] for rate in simulated]
            spread = [[abs(rate[end] - rate["median"]) for rate in simulated] for end in ("min", "max")]
            style = {"fmt": "o", "color": f"C{number}", "capsize": 3}
            compared.errorbar(runners, middle, yerr=spread, label=f"fragments {name}, simulated", **style)
    compared.set_title("Predicted and simulated, several Ray nodes on one machine")
    for axes in (curves, compared):
        axes.set(xscale="log", yscale="log", xlabel="env runners", ylabel="environment steps per second")
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--bandwidth", default=1e9, show_default=True, help="Bits per second between the machines.")
@click.option("--figure", default=FIGURE, type=click.Path(dir_okay=False, path_type=Path), help="Where to draw.")
def main(bandwidth: float, figure: Path) -> None:
    if bandwidth <= 0:
        raise click.BadParameter(f"{bandwidth:g}, but must be above 0 bits per second", param_hint="--bandwidth")
    works = scenarios(bandwidth / 8)
    click.echo(table(works))
    draw(works, figure)


if __name__ == "__main__":
    main()
