"""What the environments' tests share."""

import importlib.util
import re

import pytest
from gymnasium.error import DependencyNotInstalled

from rllib_sami.envs import rendering

EXTRAS = {
    r"\b(Quadruped|Humanoid)(Goal)?\b": ("dm_control", "dm-control"),
    r"\bKitchen\b": ("gymnasium_robotics", "robotics"),
    r"\bBinPicking\b": ("metaworld", "metaworld"),
    r"\bScene\b": ("ogbench", "ogbench"),
}
"""Packages that tests need, with their extras, by what is in the names of these tests."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks what is parametrised with a Panda environment; skips all tests whose library is missing."""
    for words, (package, extra) in EXTRAS.items():
        if importlib.util.find_spec(package) is None:
            reason = f"needs {package}: pip install 'rllib-sami[{extra}]'"
            for item in items:
                if re.search(words, item.name):
                    item.add_marker(pytest.mark.skip(reason=reason))
    missing = importlib.util.find_spec("pybullet") is None
    for item in items:
        if "Panda" in item.name:
            item.add_marker(pytest.mark.panda)
        if missing and item.get_closest_marker("panda"):
            item.add_marker(pytest.mark.skip(reason="needs PyBullet: pip install 'rllib-sami[panda]'"))


@pytest.fixture(scope="session")
def opengl():
    """The OpenGL backend that works here; skips the test if there is none."""
    try:
        return rendering.opengl_backend()
    except DependencyNotInstalled as error:
        pytest.skip(str(error))
