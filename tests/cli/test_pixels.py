"""Pixels from the command line: what they need is said in one message before anything starts."""

import os
import subprocess
import sys

import pytest

from rllib_sami.envs import rendering

TRAIN = ("train", "run", "--algo", "CSF", "--env", "Skills/QuadrupedPixels-v0")


@pytest.fixture
def dm_control():
    pytest.importorskip("dm_control", reason="needs dm_control: pip install 'rllib-sami[dm-control]'")


def test_without_opengl_the_message_says_what_to_install(dm_control, refused, monkeypatch):
    rendering._first_working.cache_clear()
    monkeypatch.setattr(rendering, "_works", lambda name: False)
    message = refused(*TRAIN)
    rendering._first_working.cache_clear()
    assert "No OpenGL" in message
    assert "apt-get install libegl1" in message


def test_a_buffer_that_does_not_fit_into_memory_is_refused_with_its_size(dm_control, refused):
    message = refused(*TRAIN, "--set", "replay_buffer_config.capacity=1000000000")
    assert "which take 11,492.5 GiB" in message
    assert "ResizeObservation" in message


def test_a_missing_library_that_mujoco_gl_names_is_one_message():
    command = [sys.executable, "-c", "from rllib_sami_cli import main; main()", "envs"]
    environment = {name: value for name, value in os.environ.items() if name != "PYOPENGL_PLATFORM"}
    environment["MUJOCO_GL"] = "osmesa"
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    if finished.returncode == 0:
        pytest.skip("OSMesa is installed")
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr
    assert "MUJOCO_GL=osmesa: MuJoCo cannot be imported with it" in finished.stderr
    assert "Unset it" in finished.stderr
