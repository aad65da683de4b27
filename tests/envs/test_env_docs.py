"""The environments' pages: there is one for each, and it says what the code says."""

import importlib.util
import re
from pathlib import Path

import pytest

from rllib_sami import envs
from rllib_sami.envs.base import constructor_names
from rllib_sami.envs.rendering import HEADLESS

DOCS = Path(__file__).parents[2] / "docs"
INDEX = (DOCS / "environments" / "index.md").read_text(encoding="utf-8")
IDS = list(envs.ENVIRONMENTS)
VARIED = [env_id for env_id in IDS if envs.ENVIRONMENTS[env_id].factors]


def load_tables():
    spec = importlib.util.spec_from_file_location("tables", DOCS / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tables = load_tables()


def path_of(env_id):
    name = env_id.removeprefix("SaMI/").removesuffix("-v0").replace("/", "_")
    return DOCS / "environments" / f"{re.sub(r'(?<!^)(?<!_)(?=[A-Z])', '_', name).lower()}.md"


def test_every_page_is_in_the_navigation():
    listed = re.findall(r"environments/(\w+)\.md", (DOCS.parent / "mkdocs.yml").read_text("utf-8"))
    assert sorted(listed) == sorted(page.stem for page in (DOCS / "environments").glob("*.md"))


def section(page, title):
    """The text below a heading, up to the next one."""
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)[1]


def first_column(text):
    """The first cell of each row of the first table, without its title."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [row.split("|")[1].strip() for row in rows[2:]]


def indices(cells):
    """The integers that cells such as ``3`` and ``4–7`` name."""
    bounds = [[int(number) for number in cell.split("–")] for cell in cells]
    return [index for bound in bounds for index in range(bound[0], bound[-1] + 1)]


@pytest.fixture(params=IDS)
def env_id(request):
    return request.param


@pytest.fixture
def page(env_id):
    return path_of(env_id).read_text(encoding="utf-8")


def test_each_page_has_all_sections(page, env_id):
    titles = re.findall(r"^## (.*)$", page, re.MULTILINE)
    for title in ("Description", "Action space", "Observation space", "Rewards", "Starting state", "Episode end"):
        assert title in titles
    is_varied = env_id in VARIED
    for title in ("Arguments", "Baselines", *("Factors", "Splits") * is_varied):
        assert title in titles
    assert any(title.startswith("Differences from") for title in titles)
    for kind in ("baselines", *("splits",) * is_varied):
        assert f"<!-- {kind}: {env_id} -->" in page


def test_tables_of_splits_and_baselines_are_up_to_date(page, env_id):
    assert tables.filled(page) == page, "run: python docs/tables.py"
    for split, tasks in envs.ENVIRONMENTS[env_id].splits.items():
        if env_id in VARIED:
            mine = [row for row in section(page, "Splits").splitlines() if row.startswith(f"| `{split}` |")]
            assert len(mine) == len(tasks) or (len(tasks) > tables.MOST_ROWS and f"… {len(tasks) - 1}" in mine[-1])
        assert f"\n| `{split}` |" in section(page, "Baselines"), "run: python benchmarks/baselines.py"


@pytest.mark.parametrize("name", ["CartPole", "Pendulum", "PointGoal"])  # the quick ones
@pytest.mark.parametrize("policy", ["zero", "random"])
def test_recorded_baselines_can_be_measured_again(name, policy, monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS.parent / "benchmarks"))
    baselines = importlib.import_module("baselines")
    row = baselines.read().loc[(f"SaMI/{name}-v0", "extreme", policy)]
    again = baselines.measure((f"SaMI/{name}-v0", "extreme", policy, None))
    assert again["return_mean"] == pytest.approx(float(row["return_mean"]), abs=0.01)
    assert again["return_std"] == pytest.approx(float(row["return_std"]), abs=0.01)


def test_the_tables_of_both_spaces_add_up(page, env_id):
    env = envs.make(env_id)
    for title, space in (("Action space", env.action_space), ("Observation space", env.observation_space)):
        assert indices(first_column(section(page, title))) == list(range(space.shape[0])), title
        assert f"{space.shape}, {space.dtype})`" in page.split("## ")[0], title
    assert f"| episode | {env.max_steps} steps of " in page
    env.close()


@pytest.mark.parametrize("env_id", VARIED)
def test_factors_are_those_of_the_class(page, env_id):
    cls = envs.ENVIRONMENTS[env_id]
    names = [cell.strip("`") for cell in first_column(section(page, "Factors"))]
    assert names == [factor.name for factor in cls.factors]
    listed = re.search(r"^\| factors \| (.*) \|$", page, re.MULTILINE)[1]
    assert listed == ", ".join(f"`{name}`" for name in names)


def test_arguments_are_those_of_the_constructor_with_their_defaults(page, env_id):
    env = envs.make(env_id)
    for name, default in re.findall(r"^\| `(\w+)` \| (\S+) \|", section(page, "Arguments"), re.MULTILINE):
        value = eval(default.strip("`"))
        envs.make(env_id, **{name: value}).close()
        if isinstance(kept := getattr(env, name, None), (str, bool, float)):
            assert kept == value, name
    env.close()


def test_no_argument_is_left_out(page, env_id):
    documented = re.findall(r"^\| (`.*?) \|", section(page, "Arguments") + section(INDEX, "Arguments"), re.MULTILINE)
    names = {name for cell in documented for name in re.findall(r"`(\w+)`", cell)}
    assert set(constructor_names(envs.ENVIRONMENTS[env_id])) <= names


def test_the_index_lists_every_page_and_what_headless_rendering_needs():
    for env_id in IDS:
        assert f"({path_of(env_id).name})" in INDEX
    assert HEADLESS in INDEX


def test_links_lead_somewhere():
    for path in DOCS.rglob("*.md"):
        for link in re.findall(r"\]\(([^)#]*)(?:#[\w-]*)?\)", path.read_text(encoding="utf-8")):
            if link and "://" not in link:
                assert (path.parent / link).exists(), f"{path}: {link}"
