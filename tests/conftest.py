"""What all tests share: one torch thread, one Ray cluster for the session, fresh Python processes."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TESTS = Path(__file__).parent

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def ray_cluster():
    """A Ray cluster on two cores, whose workers find the test environments (``adapters.envs``)."""
    import ray

    ray.init(
        address="local",  # never a cluster that happens to run on this machine
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {"PYTHONPATH": str(TESTS)}},
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def fresh_python():
    """Runs code in a new Python process and returns what it printed; fails with its output if it failed."""

    def run(code: str, *arguments: object, timeout: float = 240.0) -> str:
        finished = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        )
        assert finished.returncode == 0, f"{finished.stdout[-4000:]}\n{finished.stderr[-6000:]}"
        return finished.stdout

    return run
