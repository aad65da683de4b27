"""What README and guides show runs as printed: every Python and shell block, in the order of its page.

A comment on the line before a block says what is not run, and why:

    <!-- not run: trains for minutes -->            the block; commands are checked all the same, down to their options
    <!-- not run rllib train: takes minutes -->     the lines of a shell block that begin with these words
    <!-- needs: onnx onnxscript -->                 the block, where one of these modules is not installed
"""

import importlib.util
import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from adapters.tiny import tiny
from click.testing import CliRunner

from rllib_sami import SaCCMConfig, TESACConfig
from rllib_sami_cli import main as rllib

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
SLOW = ("README.md", "evaluation.md", "pipelines.md")
SHELLS = ("bash", "sh", "shell", "console", "")
FENCE = re.compile(r"^(?:<!-- (?P<mark>.*?) -->\n)?```(?P<language>\S*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"not run(?P<only> [\w ]+)?: \S.*|needs: (?P<modules>[\w ]+)")

# What is made smaller, or stands for something of the reader's own; {runs} has trained agents, {here} is the folder in
# which the page runs.
CHECKPOINT = "{runs}/saccm/checkpoint_000010"
REPLACED = {
    "README.md": {"range(10)": "range(1)", "CHECKPOINT…": f"{CHECKPOINT} --episodes 1"},
    "index.md": {"SaMI/Ant-v0": "SaMI/Pendulum-v0", "CHECKPOINT": CHECKPOINT},
    "evaluation.md": {"runs/": "{runs}/", "--episodes 10": "--episodes 1", "episodes=10": "episodes=1", " --video": ""},
    "pipelines.md": {
        "/path/to/checkpoint_000010": CHECKPOINT,
        "/data/ant": "{here}/ant",
        "SaMI/Ant-v0": "SaMI/Pendulum-v0",
        "dataset_num_iters_per_learner=20": "dataset_num_iters_per_learner=1",
        "sqlite:////data": "sqlite:///{here}",
        "500_000": "100",
    },
    "plug_and_play.md": {".training(lr=1e-3": ".training(train_batch_size_per_learner=400, num_epochs=1, lr=1e-3"},
    "reliability.md": {"~/ray_results/ant/SaCCM_…/checkpoint_000010": CHECKPOINT, "--episodes 10": "--episodes 1"},
}

MY_MODULE = """
from rllib_sami.envs import Pendulum

class MyEnv(Pendulum):
    def __init__(self, env_config=None):
        super().__init__()
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: its text, what the comment before it says, and its first line's number."""

    language: str
    code: str
    mark: str | None
    line: int

    def __post_init__(self):
        if self.mark is not None and not MARK.fullmatch(self.mark):
            raise ValueError(f"line {self.line}: <!-- {self.mark} --> is none of the comments that this file describes")

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command of a shell block."""
        return [words for line in self.code.replace("\\\n", " ").splitlines() if (words := shlex.split(line, True))]

    @property
    def lacks(self) -> bool:
        """Whether it needs a module that is not installed."""
        modules = MARK.fullmatch(self.mark)["modules"] if self.mark else None
        return any(importlib.util.find_spec(name) is None for name in (modules or "").split())

    def leaves_out(self, command: list[str] | None = None) -> bool:
        """Whether the mark says that it, or one of its commands, is not run."""
        if self.mark is None or not self.mark.startswith("not run"):
            return False
        only = (MARK.fullmatch(self.mark)["only"] or "").split()
        return not only if command is None else command[: len(only)] == only


def blocks_of(text: str) -> list[Block]:
    """The Python and shell blocks of a page."""
    found = [
        Block(match["language"], match["code"], match["mark"], text[: match.start("code")].count("\n"))
        for match in FENCE.finditer(text)
    ]
    return [block for block in found if block.language == "python" or block.language in SHELLS]


@pytest.fixture(scope="session")
def runs(ray_cluster, tmp_path_factory):
    """Two agents that were trained for a moment."""
    folder = tmp_path_factory.mktemp("trained")
    for name, config in {"saccm": tiny(SaCCMConfig, seed=0), "tesac": tiny(TESACConfig, seed=1)}.items():
        algo = config.build_algo()
        algo.train()
        algo.train()
        algo.save_to_path(folder / name / "checkpoint_000010")
        algo.stop()
    return folder


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """The working directory: a folder of its own in which what is in the repository is found."""
    for name in ("benchmarks", "docs", "examples", "models", "tests", "tuned_examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "my_module.py").write_text(MY_MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))  # benchmarks
    return tmp_path


@pytest.fixture
def trained(monkeypatch):
    """What `rllib train` would train: plans that went through all checks."""
    plans: list = []
    monkeypatch.setattr("rllib_sami_cli.runner.run_all", lambda new, session: plans.extend(new) or 0)
    return plans


def parsed(command: click.Command, arguments: list[str], parent: click.Context | None = None) -> None:
    """Parses a command line with its subcommands; runs nothing, raises for options and values that there are not."""
    context = command.make_context(command.name, list(arguments), parent=parent)
    if isinstance(command, click.Group):
        _, subcommand, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        parsed(subcommand, rest, context)


def check(command: list[str], plans: list) -> None:
    """Fails unless a command is one that there is, with options and files that there are."""
    match command:
        case ["rllib", "train", *arguments]:
            count = len(plans)
            result = CliRunner().invoke(rllib, ["train", *(word for word in arguments if word != "--resume")])
            assert result.exit_code == 0, f"{shlex.join(command)}: {result.output}{result.exception!r}"
            assert len(plans) > count
        case ["rllib", *arguments]:
            parsed(rllib, arguments)
        case ["make", *arguments]:
            makefile = (ROOT / "Makefile").read_text()
            for word in arguments:
                name, is_variable, _ = word.partition("=")
                kind = r"\s*[?:]?=" if is_variable else ":"
                assert re.search(rf"^{name}{kind}", makefile, re.MULTILINE), f"the Makefile has no {word}"
        case ["python", "-m", "benchmarks.learning", *arguments]:
            from benchmarks.learning.__main__ import main

            parsed(main, arguments)
        case ["python", "-m", "pytest", *arguments]:
            assert all(Path(word).exists() for word in arguments if "/" in word), arguments
        case ["python", "my_script.py"] | ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0", "python", "my_script.py"]:
            pass  # the reader's own
        case ["python", script, *arguments]:
            assert Path(script).is_file(), script
            code = "".join(path.read_text() for path in Path(script).parent.glob("*.py"))  # options are in parts of it
            assert all(f'"{word}"' in code for word in arguments if word.startswith("--")), (script, arguments)
        case ["ray" | "kubectl", *_]:
            pass  # tests/test_cluster_examples.py
        case _:
            pytest.fail(f"nothing here checks the command `{shlex.join(command)}`")


def run(command: list[str]) -> None:
    """Runs a command as printed, in this process."""
    assert command[0] == "rllib", f"`{shlex.join(command)}` is not run here: mark the block"
    assert command[1] != "train", f"`{shlex.join(command)}` is too long for a test: mark the block"
    result = CliRunner().invoke(rllib, command[1:])
    assert result.exit_code == 0, f"{shlex.join(command)}: {result.output}{result.exception!r}"


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page.name, marks=[pytest.mark.slow] * (page.name in SLOW)) for page in PAGES],
)
def test_all_blocks_of_a_page_run_in_turn(page, runs, checkout, trained):
    from ray.rllib.algorithms.algorithm import Algorithm

    text = page.read_text(encoding="utf-8")
    for old, new in REPLACED.get(page.name, {}).items():
        assert old in text, f"{page.name} has no {old!r} any more"
        text = text.replace(old, new.format(runs=runs, here=checkout))
    names: dict = {"__name__": "__main__"}
    for block in blocks_of(text):
        if block.language in SHELLS:
            for command in block.commands:
                check(command, trained)
                if not (block.leaves_out() or block.leaves_out(command)):
                    run(command)
        elif block.leaves_out() or block.lacks:
            compile(block.code, page.name, "exec")
        else:
            exec(compile("\n" * block.line + block.code, str(page), "exec"), names)
    for algo in {id(value): value for value in names.values() if isinstance(value, Algorithm)}.values():
        algo.stop()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```python\n1 / 0\n```", ZeroDivisionError),
        ("```bash\nrllib envs SaMI/Ant-v0 --splits train\n```", click.NoSuchOption),
        ("<!-- not run: takes minutes -->\n```bash\nrllib train file tuned_examples/no.yaml\n```", AssertionError),
        ("```bash\nrllib train file tuned_examples/saccm_ant.yaml\n```", AssertionError),  # not marked
        ("```bash\nmake train\n```", AssertionError),  # neither
        ("<!-- not run -->\n```bash\nmake train\n```", ValueError),  # without a reason
    ],
)
def test_a_block_that_fails_or_is_neither_run_nor_marked_is_found(tmp_path, text, complaint, runs, checkout, trained):
    page = tmp_path / "page.md"
    page.write_text(f"Text.\n\n{text}\n")
    with pytest.raises(complaint):
        test_all_blocks_of_a_page_run_in_turn(page, runs, checkout, trained)


def test_the_environments_need_neither_ray_nor_torch(fresh_python):
    block = next(b for b in blocks_of((ROOT / "README.md").read_text()) if "make_vec" in b.code)
    absent = "import sys\nsys.modules['ray'] = sys.modules['torch'] = None\n"
    fresh_python(absent + textwrap.dedent(block.code))


def test_the_tests_that_guides_name_are_there():
    file = None
    for name, test in re.findall(r"`([\w/]+\.py|…)(?:::(\w+))?`", (ROOT / "docs" / "reliability.md").read_text()):
        file = file if name == "…" else ROOT / ("tests" if name.count("/") == 1 else ".") / name
        assert file.is_file(), name
        assert not test or f"def {test}(" in file.read_text(), test
