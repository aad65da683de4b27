"""Environments whose models come with an extra: without it, one message says what to install, and all else works."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from rllib_sami import envs
from rllib_sami.envs.kitchen.simulation import load as load_kitchen
from rllib_sami.envs.manipulation.arm import load as load_scene
from rllib_sami.envs.skills.bin_picking import _load as load_bins
from rllib_sami.envs.skills.dm_control import _compile as load_body
from rllib_sami.envs.skills.pixels import _compile as load_pixels
from rllib_sami.envs.skills.tasks import _compile as load_task

NEEDED = {
    "Skills/Quadruped": ("dm_control", "dm-control"),
    "Skills/Humanoid": ("dm_control", "dm-control"),
    "Skills/QuadrupedPixels": ("dm_control", "dm-control"),
    "Skills/HumanoidPixels": ("dm_control", "dm-control"),
    "Skills/QuadrupedGoal": ("dm_control", "dm-control"),
    "Skills/HumanoidGoal": ("dm_control", "dm-control"),
    "Skills/Kitchen": ("gymnasium_robotics", "robotics"),
    "Skills/BinPicking": ("metaworld", "metaworld"),
    "Kitchen/Mixed": ("gymnasium_robotics", "robotics"),
    "Kitchen/Misaligned": ("gymnasium_robotics", "robotics"),
    "Kitchen/Light": ("gymnasium_robotics", "robotics"),
}
PACKAGES = sorted({package for package, _ in NEEDED.values()})
INDICES = range(len(NEEDED))  # an environment's name in that of a test skips it where its package is missing


@pytest.fixture
def missing(monkeypatch):
    caches = (load_bins, load_body, load_pixels, load_kitchen, load_task)
    for cache in caches:
        cache.cache_clear()
    for package in PACKAGES:
        monkeypatch.setitem(sys.modules, package, None)
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize("index", INDICES)
def test_making_one_says_what_to_install(missing, index):
    name, (package, extra) = [*NEEDED.items()][index]
    words = f"needs {package}, which is not installed: pip install 'rllib-sami[{extra}]'"
    for make in (envs.ENVIRONMENTS[f"{name}-v0"], lambda: envs.make(f"{name}-v0")):
        with pytest.raises(ImportError, match=re.escape(words)):
            make()


def test_the_scene_says_what_to_install(monkeypatch):
    load_scene.cache_clear()
    monkeypatch.setitem(sys.modules, "ogbench", None)
    with pytest.raises(
        ImportError, match=re.escape("needs ogbench, which is not installed: pip install 'rllib-sami[ogbench]'")
    ):
        envs.make("Manipulation/Scene-v0")


def test_the_extras_are_declared():
    text = (Path(__file__).parents[2] / "setup.py").read_text(encoding="utf-8")
    for extra in {"ogbench", *(extra for _, extra in NEEDED.values())}:
        assert f'"{extra}": [' in text


def test_everything_else_works_without(missing):
    from rllib_sami_cli.envs import envs as command

    listed = CliRunner().invoke(command, []).output
    for name in NEEDED:
        assert f"{name}-v0" in listed
        assert CliRunner().invoke(command, [f"{name}-v0"]).exit_code == 0
    for name in set(envs.ENVIRONMENTS) - {f"{one}-v0" for one in NEEDED}:
        if not name.startswith(("SaMI/Panda", "Manipulation/")):
            envs.make(name).reset(seed=0)


TRAIN = """
import sys
for package in {packages}:
    sys.modules[package] = None
from rllib_sami_cli import main
sys.argv = ["rllib", "train", "run", "--algo", "CSF", "--env", "{name}-v0", "--storage-path", {folder!r}]
main()
"""


def test_training_says_it_before_anything_starts(tmp_path):
    pytest.importorskip("ray")
    code = TRAIN.format(packages=PACKAGES, name=next(iter(NEEDED)), folder=str(tmp_path / "results"))
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert finished.returncode == 2, finished.stderr
    [message] = [line for line in finished.stderr.splitlines() if line.startswith("Error")]
    assert message.endswith("pip install 'rllib-sami[dm-control]'")
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "results").exists()
