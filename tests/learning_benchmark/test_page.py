"""The tables of docs/results.md are those of the kept results, and a page is filled in from any."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from scipy.stats import ttest_ind

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
    assert row[header.index("SaCCM less SAC")] == "0.0 (-304.2 to 304.2), p = 1.00"


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((0.70, 0.503, 0.90, 0.049), "**0.70** (0.50 to 0.90), p = 0.049"),
        ((0.70, 0.503, 0.90, 0.051), "0.70 (0.50 to 0.90), p = 0.051"),
        ((-30.0, -50.0, -1.0, 0.0002), "**-30.0** (-50.0 to -1.0), p < 0.001"),
        ((0.70, np.nan, np.nan, np.nan), "0.70"),
        ((-0.001, -0.004, 0.01, 0.3), "0.00 (0.00 to 0.01), p = 0.30"),
    ],
)
def test_a_claim_is_bold_by_its_adjusted_p_value(benchmark, numbers, said):
    from benchmarks.learning.page import claim

    assert claim(*numbers) == said


def played(of, environment="Pendulum", splits=("train", "extreme"), tasks=2):
    """Episodes of agents whose seeds have given returns."""
    rows = [
        {"algorithm": name, "run": f"{name}{seed}", "seed": seed, "env_steps": 1, "context": "learned", "split": split,
         "explore": False, "episode_seed": task, "environment": environment, "task_id": task, "episode": 0,
         "return": value, "success": None, "length": 200}
        for name, values in of.items() for seed, value in enumerate(values)
        for split in splits for task in range(tasks)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_p_values_are_adjusted_for_all_claims_on_splits_that_all_environments_have(benchmark):
    from benchmarks.learning.page import adjusted_p_values

    first = played({"SaCCM": [9.0, 10.0, 11.0], "SAC": [1.0, 2.0, 3.0]})
    second = played({"SaCCM": [1.0, 2.0, 3.0], "SAC": [1.0, 2.0, 3.0]}, "Ant", ("train",))
    found = adjusted_p_values(pd.concat([first, second]))
    assert {*found} == {(name, "train", "SaCCM less SAC") for name in ("Pendulum", "Ant")}
    welch = ttest_ind([9.0, 10.0, 11.0], [1.0, 2.0, 3.0], equal_var=False).pvalue
    assert found["Pendulum", "train", "SaCCM less SAC"] == pytest.approx(2 * welch)
    assert found["Ant", "train", "SaCCM less SAC"] == 1.0


def test_a_share_is_of_the_oracle_s_gain_and_none_where_it_has_no_gain(benchmark, tmp_path):
    from benchmarks.learning.page import shares

    gained = played({"SAC": [0.0, 1.0, 2.0], "CCM": [6.0, 7.0, 8.0], "oracle": [8.0, 9.0, 10.0]}, splits=("train",))
    level = played({"SAC": [0.0, 1.0, 9.0], "CCM": [6.0, 7.0, 8.0], "oracle": [1.0, 1.0, 2.0]}, splits=("extreme",))
    other = played({"SAC": [5.0, 6.0], "CCM": [6.0, 7.0], "oracle": [5.0, 6.0]}, "Ant", ("train",))
    pd.concat([gained, level, other]).to_parquet(tmp_path / "results.parquet")
    table = shares(tmp_path, "CCM")
    assert [*table["CCM"]] == ["Pendulum"]
    assert "extreme" not in table
    assert table["train"].item().startswith("0.75 (0.")
    assert shares(tmp_path, "oracle")["train"].item().startswith("1.00 (")


def test_success_rates_are_means_and_returns_of_a_thousand_steps_too(benchmark, tmp_path):
    from benchmarks.learning.page import per_thousand, successes

    episodes = played({"SAC": [10.0, 20.0, 30.0, 100.0]}, splits=("train",), tasks=1)
    episodes.assign(success=[0.0, 0.0, 0.0, 1.0]).to_parquet(tmp_path / "results.parquet")
    assert successes(tmp_path, "Pendulum")["train"].item().startswith("0.25 (")
    assert per_thousand(tmp_path, "Pendulum")["train"].item().startswith("200.0 (")
    episodes.assign(length=[200, 200, 200, 90]).to_parquet(tmp_path / "results.parquet")
    with pytest.raises(Exception, match="different lengths"):
        per_thousand(tmp_path, "Pendulum")


def test_bounds_are_those_of_the_last_iterations(benchmark, tmp_path):
    from benchmarks.learning.page import bounds

    curves = [
        {"algorithm": "SaCCM", "environment": "Ant", "seed": seed, "env_steps": step, "sance_bound": 1.0,
         "skill_bound": (seed if step >= 10 else 100.0), "task_bound": 3.0}
        for seed in (1, 2) for step in range(20)
    ]  # fmt: skip
    pd.DataFrame(curves).to_parquet(tmp_path / "curves.parquet")
    assert bounds(tmp_path, "SaCCM").values.tolist() == [["Ant", "1.50 (1.00 to 2.00)", "3.00 (3.00 to 3.00)"]]


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
        ("<!-- table: scores three-jobs -->", "write KIND SUITE WHICH"),
        ("<!-- scores three-jobs Pendulum -->", "asks for no table"),
        ("<!-- table: scores three-jobs Pendulums -->", "no environment 'Pendulums'. Did you mean 'Pendulum'"),
        ("<!-- table: success three-jobs Pendulum -->", "its episodes have no success"),
        ("<!-- table: claims three-jobs extrem -->", "no split 'extrem' of all environments. Did you mean 'extreme'"),
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
