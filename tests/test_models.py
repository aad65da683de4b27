"""The exported agents of ``models/``: small, with a card, and still able to do what they were trained for."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from rllib_sami.checkpoints.files import check_files
from rllib_sami.evaluation import evaluate
from rllib_sami.evaluation.paths import path_of
from rllib_sami.evaluation.skill_tables import per_run
from rllib_sami.exports.task_transfer import make_striding

MODELS = Path(__file__).parents[1] / "models"
# Return of two episodes of each training task that none without its skill gets; see the environments' pages.
AT_LEAST = {
    "saccm_cart_pole": 150.0,  # of 200
    "saccm_half_cheetah": 500.0,  # standing: 0
    "saccm_half_cheetah_dir": 300.0,  # not knowing the direction: 0
    "saccm_half_cheetah_flipped": 200.0,  # not knowing the pattern: about 80
    "saccm_point_goal": -12.0,  # not knowing the goal: -20
    "saccm_pendulum": -500.0,  # hanging: about -1,600
    "saccm_crippled_half_cheetah": 350.0,  # standing: 0
}
# Cells that 48 skills cover; random actions: 9 and 50.
CELLS_AT_LEAST = {"csf_half_cheetah": 40, "csf_posture_point": 300}
# Cells of a maze that an episode of the prior's skills goes through; random actions stay in 2.
CELLS_OF_MAZE_AT_LEAST = {"skimo_maze_large": 12, "skimo_u_maze": 5}
TOY, LOW_LEVEL = "task_inference_toy", "low_level_half_cheetah"
ALL = [*AT_LEAST, *CELLS_AT_LEAST, *CELLS_OF_MAZE_AT_LEAST, TOY, LOW_LEVEL]


def test_every_model_is_tested():
    assert {folder.name for folder in MODELS.iterdir() if folder.is_dir()} == {*ALL}


@pytest.mark.parametrize("name", CELLS_AT_LEAST)
def test_skills_are_small_and_different(name):
    folder = MODELS / name
    assert sum(file.stat().st_size for file in folder.iterdir()) < 2_000_000
    assert "# CSF on Skills/" in (folder / "README.md").read_text("utf-8")
    assert "(skills.png)" in (folder / "README.md").read_text("utf-8")
    (cells,) = per_run(evaluate(folder, splits=["skills"], progress=False))["state_coverage"]
    assert cells >= CELLS_AT_LEAST[name]


@pytest.mark.parametrize("name", AT_LEAST)
def test_a_model_is_small_and_does_what_it_was_trained_for(name):
    folder = MODELS / name
    assert sum(file.stat().st_size for file in folder.iterdir()) < 2_000_000
    assert "# SaCCM on SaMI/" in (folder / "README.md").read_text("utf-8")
    results = evaluate(folder, splits=["train"], episodes=2, progress=False)
    assert results.episodes["return"].mean() > AT_LEAST[name]
    assert results.contexts is not None


@pytest.mark.parametrize("name", CELLS_OF_MAZE_AT_LEAST)
def test_skills_from_data_walk_through_a_maze(name):
    folder = MODELS / name
    assert sum(file.stat().st_size for file in folder.iterdir()) < 2_000_000
    assert "Skills that were learned from data" in (folder / "README.md").read_text("utf-8")
    paths = evaluate(folder, episodes=10, progress=False).paths.coordinates
    cells = [len(np.unique(np.rint(path_of(one)), axis=0)) for one in paths]
    assert np.mean(cells) >= CELLS_OF_MAZE_AT_LEAST[name]


def test_the_toy_s_agent_infers_its_tasks():
    folder = MODELS / TOY
    assert sum(file.stat().st_size for file in folder.iterdir()) < 2_000_000
    results = evaluate(folder, splits=["test"], episodes=1, progress=False)
    assert results.episodes["return"].mean() > -60.0  # zero action: -200


def test_the_toy_s_agent_steers_the_low_level_and_not_without_its_latent():
    returns = {}
    for guide in ("toy", "masked"):
        env = make_striding(
            toy=str(MODELS / TOY),
            low_level=str(MODELS / LOW_LEVEL),
            fixed_stride=5,
            guide=guide,
            task_reward=True,
            tasks=[{"velocity": -1.75}, {"goal": -5.5}],
        )
        for task_id in (0, 1):
            env.reset(seed=0, options={"task_id": task_id})
            total, is_over = 0.0, False
            while not is_over:
                _, reward, _, is_over, _ = env.step(np.zeros(1))
                total += reward
            returns[guide, task_id] = total
    assert min(returns["toy", 0], returns["toy", 1]) > -300.0  # standing still: -500
    assert max(returns["masked", 0], returns["masked", 1]) < -400.0


@pytest.mark.parametrize("name", ALL)
def test_a_card_is_what_an_export_would_write_today(name):
    """``python benchmarks/cards.py`` writes them again."""
    card_of = runpy.run_path(str(MODELS.parent / "benchmarks/cards.py"))["card_of"]
    assert (MODELS / name / "README.md").read_text("utf-8") == card_of(MODELS / name)
    check_files(MODELS / name)
