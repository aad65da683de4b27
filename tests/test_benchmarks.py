"""The speed commands run, say what they should, and measure against an honest floor."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch.utils.flop_counter import FlopCounterMode

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmark_modules(monkeypatch):
    """Lets a test import the scripts' modules."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


COMMANDS = ["update", "buffer", "messages", "checkpoint", "sampling", "sampling --against rllib-sac"]
RUN_COMMANDS = """
import pathlib, runpy, sys
script, folder, *commands = sys.argv[1:]
sys.path[0] = str(pathlib.Path(script).parent)
for number, command in enumerate(commands):
    print(f"COMMAND {command}")
    sys.argv = [script, *command.split(), "--quick", "--rounds", "1", "--out", f"{folder}/results/{number}.json"]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        print("exit code", end.code)
"""


@pytest.fixture(scope="module")
def commands_run(fresh_python, tmp_path_factory):
    """What each command printed and the file it wrote; all of them run in one process, one after the other."""
    folder = tmp_path_factory.mktemp("speed")
    printed = fresh_python(RUN_COMMANDS, BENCHMARKS / "speed.py", folder, *COMMANDS, timeout=400)
    texts = [text.partition("\n") for text in printed.split("COMMAND ")[1:]]
    return {command: (text, folder / "results" / f"{number}.json") for number, (command, _, text) in enumerate(texts)}


@pytest.mark.repeated
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_succeeds_prints_a_table_and_ends_with_json(command, commands_run):
    text, out = commands_run[command]
    *table, last, end = text.splitlines()
    assert end == "exit code 0"
    assert any("┃" in line for line in table)
    result = json.loads(last)
    assert result["name"] == command
    for case in result["cases"]:
        passed = case["ratio"] >= case["target"] if case["at_least"] else case["ratio"] <= case["target"]
        assert case["met"] == passed
        assert case["ratio"] > 0
    assert result["met"] == all(case["met"] for case in result["cases"])
    written = json.loads(out.read_text())
    assert written["cases"] == result["cases"]
    assert written["machine"]["torch_threads"] == 1
    assert written["command"] == f"python benchmarks/speed.py {command} --quick --rounds 1"


def small(shape):
    """A shape with less of everything but of what decides how its updates share batches and steps."""
    sizes = {"actor_hidden": [8], "critic_hidden": [8], "encoder_hidden_dim": 8}
    episodes = {"train_episodes": 4, "contrast_episodes": 8, "num_negatives": 7}
    return replace(shape, length=64, training={**shape.training, **sizes, **episodes})


@pytest.mark.parametrize("command", ["update --device cuda", "update --device cpu", "update --paper --device cpu"])
def test_updates_on_a_device(benchmark_modules, command, monkeypatch):
    import devices
    import torch
    from click.testing import CliRunner
    from updates import update

    monkeypatch.setattr(devices, "MODES", {mode: devices.MODES[mode] for mode in ("eager", "bfloat16")})
    monkeypatch.setattr(devices, "SHAPES", {name: small(shape) for name, shape in devices.SHAPES.items()})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(update, [*command.split()[1:], "--quick", "--rounds", "1"])
    if "cuda" in command:
        assert result.exit_code == 1
        assert "finds no GPU here. Run this where there is one" in result.output
        return
    assert result.exit_code == 0, result.output
    line = json.loads(result.stdout.splitlines()[-1])
    assert [case["case"] for case in line["cases"]] == [
        f"{name}: bfloat16 ÷ eager" for name in (["paper"] if "paper" in command else devices.SHAPES)
    ]


@pytest.mark.parametrize(("name", "updates", "transitions"), [("default", 32, 256), ("batch", 1, 32), ("paper", 1, 32)])
def test_updates_of_a_shape_are_counted_one_by_one(benchmark_modules, name, updates, transitions, monkeypatch):
    import devices
    from floor import Floor
    from measure import Options
    from workloads import Agent, batch_of, noise_store

    from rllib_sami import SaCCMConfig

    shape = small(devices.SHAPES[name])  # as `quick` has it: episodes of 8 steps
    monkeypatch.setattr(devices, "MODES", {"eager": {}})
    assert devices._measure(shape, "cpu", Options(quick=True, rounds=1, out=None))[0] == transitions
    config = SaCCMConfig().environment("SaMI/Ant-v0").training(**shape.training)
    config.validate()
    agent, batch = Agent.of(config, *shape.sizes), batch_of(config, noise_store(shape.sizes, 4_000, length=8))
    assert devices._updates(agent, batch, count=2)() == 2 * updates
    optimizers = agent.optimization.optimizers
    assert all(optimizers[name].state for name in ("encoder", "critic"))
    (steps,) = {int(state["step"]) for state in optimizers["actor"].state.values()}
    assert steps == 2 * updates
    for with_contrast in (True, False):
        Floor(agent.acting, batch, agent.config, with_contrast)()


@pytest.mark.parametrize("name", ["TESAC", "SaCCM"])
def test_optimisers_and_averages_are_those_of_an_update(benchmark_modules, name, monkeypatch):
    import updates
    from workloads import CONFIGS, HALF_CHEETAH, Agent, batch_of, noise_store

    from rllib_sami.algorithms.sac import update as sac
    from rllib_sami.algorithms.sami import update as sami

    config = CONFIGS[name]()
    batch = batch_of(config, noise_store(HALF_CHEETAH, 1_600, length=8))
    agent, averages = Agent.of(config, *HALF_CHEETAH), []
    for module in (sac, sami, updates):
        monkeypatch.setattr(module, "polyak_update", lambda averaged, *rest: averages.append(type(averaged)))

    def steps() -> list[int]:
        """Steps taken so far, by optimiser."""
        optimizers = agent.optimization.optimizers.values()
        return [max(int(s["step"]) for s in one.state.values()) for one in optimizers]

    parts = updates._update_parts(agent, batch, calls=1)  # makes the updates on one batch
    of_update, averaged = steps(), list(averages)
    averages.clear()
    assert parts["optimisers"]() == parts["averages"]() == config.updates_per_batch
    assert [after - before for before, after in zip(of_update, steps(), strict=True)] == of_update
    assert averages == averaged


@pytest.mark.parametrize("name", ["TESAC", "CCM", "SaTESAC", "SaCCM"])
def test_the_floor_has_the_products_of_an_update_and_no_more(benchmark_modules, name):
    # The counter sees matrix products, not the recurrent calls; these have the same arguments on both sides.
    from floor import Floor
    from workloads import CONFIGS, HALF_CHEETAH, Agent, batch_of, noise_store

    config = CONFIGS[name]()
    agent, batch = Agent.of(config, *HALF_CHEETAH), batch_of(config, noise_store(HALF_CHEETAH, 5_000))
    floor = Floor(agent.acting, batch, agent.config)
    assert (floor.positive_score.shape[1] if floor.has_contrast else 0) == {"TESAC": 0, "SaCCM": 2}.get(name, 1)
    with FlopCounterMode(display=False) as of_update:
        agent.update(batch)
    with FlopCounterMode(display=False) as of_floor:
        floor()
    assert 0.9 < of_floor.get_total_flops() / of_update.get_total_flops() <= 1.0


def test_the_raw_side_simulates_the_runners_steps(benchmark_modules):
    from workloads import Recording, our_config, runner_of

    from rllib_sami import SaCCMConfig

    runner = runner_of(our_config(SaCCMConfig, "SaMI/Pendulum-v0", 3, 25, max_steps=20))  # resets within fragments
    recording = Recording(runner)
    for _ in range(3):
        steps = sum(len(episode) for episode in runner.sample())
        assert recording.replay() == steps == 75
    recording.raw.envs[1].reset(seed=3)
    runner.sample()
    with pytest.raises(RuntimeError, match="another way"):
        recording.replay()


def test_ratios_and_their_targets(benchmark_modules):
    from measure import Case, interleave

    assert Case("at least", np.array([1.0, 2.0, 9.0]), target=2.0, at_least=True).met
    assert not Case("at most", np.array([1.0, 2.0, 9.0]), target=1.9).met
    order = []
    actions = {name: lambda name=name: order.append(name) or 2 for name in "ab"}
    times = interleave(actions, rounds=3, warm_up=1)
    assert order == list("abababab")
    assert len(times["a"].cpu) == len(times["b"].wall) == 3


def test_predicted_throughput_of_known_work(benchmark_modules):
    from scaling import Work

    work = Work(steps=100, sample_s=0.1, round_s=0.01, runner_s=0.002, update_s=0.05, updates_per_step=0.01)
    # One runner: 12 ms of the main process, and 100 ms of sampling beside 50 ms of updates.
    assert work.rate(1) == pytest.approx(100 / 0.112)
    assert work.limit(1) == "runners"
    # Ten: 30 ms, and 500 ms of updates.
    assert work.rate(10) == pytest.approx(1_000 / 0.53)
    assert work.limit(10) == "learner"
    assert work.rate(10_000) < work.ceilings["learner"] == pytest.approx(2_000)
    assert work.ceilings["main process"] == pytest.approx(50_000)


def test_predicted_throughput_with_a_network_and_with_few_cores(benchmark_modules):
    from scaling import Work

    alone = Work(steps=100, sample_s=0.1, round_s=0.0, runner_s=0.002)
    # 20 fragments of 1,000 bytes, and the weights for each of two machines.
    network = replace(alone, fragment_bytes=1_000, weights_bytes=15_000, runners_per_node=10, bandwidth=100_000)
    assert network.parts(20)["network"] == pytest.approx(0.5)
    assert network.rate(20) == pytest.approx(2_000 / (0.04 + 0.1 + 0.5))
    assert network.limit(20) == "network"
    assert network.ceilings["network"] == pytest.approx(100 * 100_000 / 2_500)
    few = replace(alone, runner_cpu_s=0.05, cores=2)
    assert few.rate(2) == alone.rate(2)
    assert few.rate(20) == pytest.approx(2_000 / ((0.04 + 1.0) / 2))


def test_the_scaling_table_and_figure_come_from_the_measured_inputs(benchmark_modules, tmp_path):
    from click.testing import CliRunner
    from scaling import RUNNERS, main, scenarios

    result = CliRunner().invoke(main, ["--figure", str(tmp_path / "figure.svg")])
    assert result.exit_code == 0, result.output
    rows = [line for line in result.output.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(RUNNERS) + 3
    guide = (BENCHMARKS.parent / "docs" / "scaling.md").read_text()
    assert "\n".join(rows[1:]) in guide, "docs/scaling.md shows another table than benchmarks/scaling.py prints"
    assert "</svg>" in (tmp_path / "figure.svg").read_text()
    for work in scenarios(bandwidth=125e6).values():
        rates = [work.rate(runners) for runners in RUNNERS]
        assert rates == sorted(rates)
        assert rates[-1] <= min(work.ceilings.values())
    assert CliRunner().invoke(main, ["--bandwidth", "0"]).exit_code == 2
