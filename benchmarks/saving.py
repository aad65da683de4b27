"""The command about checkpoints: ``checkpoint``."""

import tempfile
from pathlib import Path

import click
from measure import Case, Options, figures, interleave, options, report, times_table
from workloads import fill, our_config, ray_cluster

from rllib_sami import SaCCMConfig

SECONDS = 20.0


@click.command()
@click.option("--env", default="SaMI/Ant-v0", show_default=True, help="Environment, for the width of what is stored.")
@click.option("--steps", type=click.IntRange(1), help="Steps in the replay buffer.  [default: 1,000,000; quick 20,000]")
@options(rounds=5, quick_rounds=1)
def checkpoint(env: str, steps: int | None, options: Options) -> None:
    """Seconds to save a checkpoint with a full replay buffer, and to restore it."""
    steps = steps or (20_000 if options.quick else 1_000_000)
    config = our_config(SaCCMConfig, env, 1, 25, replay_buffer_config={"capacity": steps + steps // 100})
    with ray_cluster(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint")
        algorithm = config.build_algo()
        store = fill(algorithm.replay_buffer.store, steps)
        first = store.rows[: store.capacity // 2].copy()

        def save() -> int:
            algorithm.save_to_path(path)
            return 1

        def restore() -> int:
            store.rows[:] = 0.0
            algorithm.restore_from_path(path)
            return 1

        times = interleave({"save": save, "restore": restore}, options.rounds)
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        if (store.num_steps, (store.rows[: len(first)] == first).all()) != (steps, True):
            raise RuntimeError("The restored buffer is another one.")
        algorithm.stop()
    title = f"{env}, SaCCM, {steps:,} steps stored in episodes of 200; {size / 2**20:,.0f} MiB on disk"
    cases = [Case(f"seconds to {name}", some.wall, target=SECONDS) for name, some in times.items()]
    wall_s = {name: figures(some.wall) for name, some in times.items()}
    table = times_table(title, "seconds", times)
    report("checkpoint", [table], cases, options, env=env, steps_stored=steps, bytes_on_disk=size, wall_s=wall_s)
