"""The tables of docs/results.md are those of the kept results, and a page is filled in from any."""

import shutil
from pathlib import Path

import numpy as np
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


@pytest.mark.slow
def test_published_tables_are_those_of_the_kept_results(benchmark, tmp_path):
    page = tmp_path / "results.md"
    published = shutil.copy(ROOT / "docs" / "results.md", page).read_text()
    said = fill(ROOT / "benchmarks" / "results" / "learning", page)
    assert f"{published.count('<!-- table:')} tables" in said
    assert page.read_text() == published, "see docs/benchmark.md: `benchmarks.learning page` fills them in"


@pytest.fixture
def results(finished_jobs, tmp_path):
    """A folder of suites, with the finished jobs as suite ``three-jobs``; each took five CPU seconds per number."""
    _, jobs = finished_jobs
    folder = tmp_path / "kept" / "three-jobs"
    folder.mkdir(parents=True)
    pd.concat([results_of(job).episodes for job in jobs]).to_parquet(folder / "results.parquet")
    changed = [results_of(job, context).episodes for job in jobs for context in ("learned", "zero", "shuffled")]
    pd.concat(changed).to_parquet(folder / "contexts.parquet")
    curves = [
        {"job": job.id, "algorithm": job.algorithm, "environment": job.environment, "cpu_s": cpu_s * (number + 1)}
        for number, job in enumerate(jobs)
        for cpu_s in (5.0, 10.0)
    ]
    pd.DataFrame(curves).to_parquet(folder / "curves.parquet")
    return folder.parent


def cells(text: str) -> list[list[str]]:
    """The first table's rows, header first."""
    lines = [line for line in text.split("-->\n\n", 1)[1].split("\n\n", 1)[0].splitlines() if "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


RETURNS = "60.0 (10.0 to 110.0)"  # the seeds' 10 and 110


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        (
            "scores three-jobs Pendulum",
            [
                ["", "train", "extreme", "CPU s"],
                ["SaCCM", RETURNS, RETURNS, "35"],
                ["CCM", RETURNS, RETURNS, "45"],
                ["SAC", RETURNS, RETURNS, "25"],
            ],
        ),
        (
            "contexts three-jobs Pendulum",
            [
                ["learned / zero / shuffled", "train", "extreme"],
                *[[name, "60.0 / 56.0 / 59.0", "60.0 / 56.0 / 59.0"] for name in ("SaCCM", "CCM", "SAC")],
            ],
        ),
    ],
)
def test_a_table_has_algorithms_below_each_other_and_splits_beside(results, tmp_path, mark, expected):
    page = tmp_path / "page.md"
    page.write_text(f"<!-- table: {mark} -->")
    fill(results, page)
    assert cells(page.read_text()) == expected


def test_compared_and_claims_have_the_pairs_that_are_there(results, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- table: compared three-jobs Pendulum -->\n")
    fill(results, page)
    header, *rows = cells(page.read_text())
    assert header == ["", "train", "extreme"]
    assert [row[0] for row in rows] == [
        *["P(SaCCM > CCM)", "P(SaCCM > SAC)", "return of SaCCM less that of SAC"],
        *["return of CCM less that of SAC", "return of SaCCM less that of CCM"],
    ]
    assert all(row[1].startswith("0.50 (") for row in rows[:2])
    page.write_text("<!-- table: claims three-jobs extreme -->\n")
    fill(results, page)
    header, row = cells(page.read_text())
    assert (header[0], row[0]) == ("extreme", "Pendulum")
    assert row[header.index("P(SaCCM > TESAC)")] == "–"
    assert row[header.index("SaCCM less SAC")] == "0.0 (-100.0 to 100.0)"


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((0.70, 0.503, 0.90, 0.5), "**0.70** (0.50 to 0.90)"),  # by what was measured, not by what is printed
        ((0.70, 0.497, 0.90, 0.5), "0.70 (0.50 to 0.90)"),
        ((-30.0, -50.0, -1.0, 0.0), "**-30.0** (-50.0 to -1.0)"),
        ((0.70, np.nan, np.nan, 0.5), "0.70"),
    ],
)
def test_a_claim_is_bold_where_its_interval_excludes_that_neither_is_better(benchmark, numbers, said):
    from benchmarks.learning.page import claim

    assert claim(*numbers) == said


def test_tables_below_their_comments_are_replaced_and_nothing_else(results, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "before <!-- a comment of mine -->\n\n<!-- table:  scores three-jobs Pendulum-->  \n| old |\n| table |\n\n"
        "between\n\n| a table | of mine |\nafter\n<!-- table: scores three-jobs Pendulum -->\n\n| last |"
    )
    fill(results, page)
    text = page.read_text()
    table = "<!-- table: scores three-jobs Pendulum -->\n\n|  | train | extreme | CPU s |\n"
    assert text.startswith(f"before <!-- a comment of mine -->\n\n{table}")
    assert f" |\n\nbetween\n\n| a table | of mine |\nafter\n{table}" in text
    assert text.endswith("25 |\n")
    assert "old" not in text
    assert "| last" not in text
    fill(results, page)
    assert page.read_text() == text


@pytest.mark.parametrize(
    ("mark", "complaint"),
    [
        ("<!-- table: score three-jobs Pendulum -->", "with a kind of scores, success"),
        ("<!-- table: scores three-jobs -->", "write KIND SUITE ENVIRONMENT"),
        ("<!-- scores three-jobs Pendulum -->", "asks for no table"),
        ("<!-- table: scores three-jobs Pendulums -->", "no environment 'Pendulums'. Did you mean 'Pendulum'"),
        ("<!-- table: success three-jobs Pendulum -->", "its episodes have no success"),
        ("<!-- table: claims three-jobs extrem -->", "no split 'extrem'. Did you mean 'extreme'"),
        ("<!-- table: scores four Pendulum -->", "four/results.parquet is not there"),
    ],
)
def test_a_page_that_asks_for_what_there_is_not_is_refused_and_unchanged(results, tmp_path, mark, complaint):
    page = tmp_path / "page.md"
    page.write_text(text := f"{mark}\n\n|\n")
    result = run(results, page)
    assert result.exit_code == 2
    assert complaint in result.output
    assert page.read_text() == text
