"""Who may import whom: the rules of pyproject.toml hold, and they notice what breaks them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def lint(root: Path) -> subprocess.CompletedProcess:
    """Runs the linter of imports on a checkout."""
    environment = {**os.environ, "PYTHON": sys.executable}
    return subprocess.run([root / ".ci/lint-imports"], capture_output=True, text=True, env=environment, timeout=300)


def test_every_part_imports_only_what_stands_below_it():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "statement", "broken"),
    [
        ("rllib_sami/core/losses.py", "import rllib_sami.algorithms.sac.update", "Each part imports only"),
        ("rllib_sami/algorithms/sac/update.py", "import ray", "Mathematics and environments know no Ray"),
        ("rllib_sami/algorithms/base/health.py", "import rllib_sami.algorithms.base.algorithm", "No circles"),
    ],
)
def test_an_import_that_goes_up_is_noticed(module, statement, broken, tmp_path):
    for name in ("rllib_sami", "rllib_sami_cli", "envs", ".ci"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with open(tmp_path / module, "a") as file:
        file.write(f"\n{statement}\n")
    done = lint(tmp_path)
    assert done.returncode != 0
    assert f"{broken} what stands below it BROKEN" in done.stdout or f"{broken} BROKEN" in done.stdout


@pytest.mark.parametrize(("folder", "allowed"), [("core", False), ("algorithms/sac", False), ("compat", True)])
@pytest.mark.parametrize("module", ["ray._private.worker", "ray.train._internal.session", "ray.rllib.utils.metrics"])
def test_what_ray_keeps_private_is_imported_in_compat_alone(folder, allowed, module):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--stdin-filename", f"rllib_sami/{folder}/new.py", "-"],
        input=f"import {module}\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert ("TID251" in done.stdout) is not allowed, done.stdout + done.stderr
