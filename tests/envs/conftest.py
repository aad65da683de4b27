"""What the environments' tests share."""

import importlib.util

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks what runs on a Panda environment, and skips it where PyBullet is missing."""
    missing = importlib.util.find_spec("pybullet") is None
    for item in items:
        if "Panda" in item.name or "test_env_panda" in item.nodeid:
            item.add_marker(pytest.mark.panda)
            if missing:
                item.add_marker(pytest.mark.skip(reason="needs PyBullet: pip install 'rllib-sami[panda]'"))
