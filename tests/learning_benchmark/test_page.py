"""The tables of docs/results.md are those of the kept results, and a page is filled in from any."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from .three_jobs import results_of

ROOT = Path(__file__).parents[2]


def run(results: Path, page: Path) -> Result:
    from benchmarks.learning.__main__ import main

    return CliRunner().invoke(main, ["page", str(results), str(page)])


def fill(results: Path, page: Path) -> str:
    result = run(results, page)
    assert result.exit_code == 0, result.output
    return result.output


def test_published_tables_are_those_of_the_kept_results(benchmark, tmp_path):
    page = tmp_path / "results.md"
    published = shutil.copy(ROOT / "docs" / "results.md", page).read_text()
    said = fill(ROOT / "benchmarks" / "results" / "learning", page)
    assert f"{published.count('<!-- ')} tables" in said
    assert page.read_text() == published


@pytest.fixture
def results(finished_jobs, tmp_path):
    """A folder of suites, with the three finished jobs as suite ``three``."""
    _, jobs = finished_jobs
    folder = tmp_path / "kept" / "three"
    folder.mkdir(parents=True)
    episodes = pd.concat([results_of(job).episodes for job in jobs])
    episodes.to_parquet(folder / "results.parquet")
    curves = [
        {"job": job.id, "algorithm": job.algorithm, "environment": job.environment, "cpu_s": 10.0 * (number + 1)}
        for number, job in enumerate(jobs)
    ]
    pd.DataFrame(curves).to_parquet(folder / "curves.parquet")
    return folder.parent


def test_tables_below_their_comments_are_replaced_and_nothing_else(results, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n\n<!-- scores three Pendulum -->\n\n| old |\n| table |\n\n| a table | of mine |\nafter\n")
    fill(results, page)
    text = page.read_text()
    assert text.startswith("before\n\n<!-- scores three Pendulum -->\n\n|  | train | extreme | CPU s |\n")
    assert text.endswith("|\n\n| a table | of mine |\nafter\n")
    assert "old" not in text
    rows = [line.strip("| ").split(" | ") for line in text.splitlines()[6:9]]
    returns = "60.0 (10.0 to 110.0)"  # the seeds' 10 and 110
    assert rows == [["SaCCM", returns, returns, "35"], ["CCM", returns, returns, "45"], ["SAC", returns, returns, "25"]]
    fill(results, page)
    assert page.read_text() == text


@pytest.mark.parametrize(
    ("mark", "complaint"),
    [
        ("score three Pendulum", "no table 'score'. Did you mean 'scores'"),
        ("scores three Pendulums", "no environment 'Pendulums'. Did you mean 'Pendulum'"),
        ("claims three extrem", "no split 'extrem'. Did you mean 'extreme'"),
        ("scores four Pendulum", "four/results.parquet is not there"),
        ("contexts three Pendulum", "three/contexts.parquet is not there"),
    ],
)
def test_a_page_that_asks_for_what_there_is_not_is_refused_and_unchanged(results, tmp_path, mark, complaint):
    page = tmp_path / "page.md"
    page.write_text(text := f"<!-- {mark} -->\n\n|\n")
    result = run(results, page)
    assert result.exit_code == 2
    assert complaint in result.output
    assert page.read_text() == text
