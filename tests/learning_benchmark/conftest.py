"""What the tests of the learning benchmark share: its modules, a suite of three jobs, and those jobs done."""

import pandas as pd
import pytest

from .three_jobs import ROOT, THREE_JOBS, results_of


@pytest.fixture
def benchmark(monkeypatch):
    """Lets a test import the benchmark, which is no part of the package."""
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
def suite_file(tmp_path):
    file = tmp_path / "three.yaml"
    file.write_text(THREE_JOBS)
    return file


@pytest.fixture
def finished_jobs(benchmark, suite_file, tmp_path):
    """A folder of SAC, SaCCM and CCM with two seeds each, done without training, and its jobs."""
    from benchmarks.learning.folders import CURVE, DONE, EPISODES, FIELDS, folder_of, write_json
    from benchmarks.learning.suite import load_jobs

    suite_file.write_text(THREE_JOBS.replace("[3]", "[3, 4]"))
    jobs = load_jobs(suite_file)
    for job in jobs:
        folder = folder_of(tmp_path / "out", job)
        results_of(job).save(folder / EPISODES)
        rows = [{"env_steps": 200 * i, "cpu_s": i, "return_mean": 100 * i} for i in range(1, 9)]
        pd.DataFrame(rows, columns=list(FIELDS)).fillna(0).to_csv(folder / CURVE, index=False)
        done = {"id": job.id, "settings": job.settings, "commit": "c", "hardware": {"processor": "p"}}
        write_json(folder / DONE, done)
    return tmp_path / "out", jobs
