"""What the environments' tests share."""

import importlib.util

import pytest
from gymnasium.error import DependencyNotInstalled

from rllib_sami.envs import rendering


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks what is parametrised with a Panda environment; skips all of that mark where PyBullet is missing."""
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
