"""What docs/pipelines.md shows runs, or at least has arguments that exist."""

import ast
import inspect
import re
from pathlib import Path

import pytest
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.air.integrations.wandb import WandbLoggerCallback

from .tiny import runner_of

GUIDE = (Path(__file__).parents[2] / "docs/pipelines.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def block_with(text: str) -> str:
    return next(block for block in BLOCKS if text in block)


def test_the_callbacks_set_the_task_and_log_a_metric():
    names: dict = {}
    exec(block_with("def on_episode_created"), names)
    config = names["config"].environment(env_config={"max_steps": 20}).env_runners(num_envs_per_env_runner=2)
    runner = runner_of(config)
    episodes = runner.sample(num_timesteps=120)
    assert {episode.custom_data["task_id"] for episode in episodes} == {3}
    assert 0 < runner.get_metrics()["largest_action"].peek() <= 1


@pytest.mark.parametrize("logger", [WandbLoggerCallback, MLflowLoggerCallback])
def test_loggers_take_what_they_are_given(logger):
    calls = [
        node for node in ast.walk(ast.parse(block_with(f"import {logger.__name__}"))) if isinstance(node, ast.Call)
    ]
    call = next(call for call in calls if getattr(call.func, "id", None) == logger.__name__)
    given = {keyword.arg for keyword in call.keywords}
    assert given
    assert given <= inspect.signature(logger).parameters.keys()


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_imports_are_right(number):
    tree = ast.parse(BLOCKS[number])
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), "docs/pipelines.md", "exec"), {})
