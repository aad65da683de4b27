"""Processes that play: they do not outlive the one that started them."""

import subprocess
import sys

import pytest

PLAY = """
import time
from rllib_sami.evaluation.processes import run_all

def play():
    print("plays", flush=True)
    time.sleep(300)

if __name__ == "__main__":
    run_all(play, [(), ()], [1, 1], workers=2)
"""


def test_workers_end_when_the_process_that_started_them_is_killed(tmp_path):
    (tmp_path / "play.py").write_text(PLAY)
    with subprocess.Popen([sys.executable, tmp_path / "play.py"], stdout=subprocess.PIPE, text=True) as process:
        for _ in range(2):
            assert process.stdout.readline() == "plays\n"
        process.kill()
        try:
            process.communicate(timeout=30)  # until nobody holds the other end
        except subprocess.TimeoutExpired:
            pytest.fail("the workers play on")
