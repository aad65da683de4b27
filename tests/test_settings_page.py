"""The page of settings says what configs, their docstrings and their checks say."""

import importlib
import re
from pathlib import Path

import pytest

from rllib_sami import SaCCMConfig, SaMIConfig, TESACConfig
from rllib_sami.registration import ALGORITHMS

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "settings.md").read_text(encoding="utf-8")


@pytest.fixture
def settings(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("settings")


def test_the_page_is_up_to_date(settings):
    assert settings.filled(PAGE) == PAGE, "run: python docs/settings.py"


def test_every_setting_is_in_one_table():
    settings = [algorithm.get_default_config().settings for algorithm in ALGORITHMS.values()]
    listed = [name for names in re.findall(r"<!-- settings: (.*?) -->", PAGE) for name in names.split()]
    assert sorted(listed) == sorted(set().union(*settings))


def test_every_algorithm_is_on_the_page(settings):
    assert {*settings.ALGORITHMS, "SaMI"} == ALGORITHMS.keys()  # SaMI is the base of others


def test_a_stale_page_is_told_from_a_fresh_one(settings):
    stale = PAGE.replace("| `skill_weight` | `0.1`; SaPPO `1.0` |", "| `skill_weight` | `0.2` |")
    assert stale != PAGE
    assert settings.filled(stale) == PAGE


def test_algorithms_that_are_said_to_share_defaults_do(settings):
    of_plain_sac = "| `train_batch_size_per_learner` | `256` | `None` |\n"  # which the text names
    for name in {*settings.ALGORITHMS} - {"SaPPO", *settings.SKILLS, *settings.SKIMO}:
        assert settings.changed(name).replace(of_plain_sac, "") == settings.changed("SaCCM")
    for name in settings.SKILLS:
        assert settings.changed(name) == settings.changed("CSF")
    sami, tesac = vars(SaMIConfig()), vars(TESACConfig())
    assert {key for key in sami if sami[key] != tesac[key]} == {"algo_class"}


def test_a_text_that_differs_between_algorithms_is_shown_with_their_names(settings):
    skills = dict.fromkeys(settings.SKILLS, "A. C.")
    assert settings.meaning({"SaCCM": "A. B.", "CCM": "A. B.", **skills}) == "A. B. In skill discovery: C."
    assert settings.meaning({"SaCCM": "A. B.", "CSF": "A. C."}) == "A. B. In CSF: C."
    assert settings.meaning({"SaCCM": "A.", "CCM": "A.", "CSF": "A; B."}) == "A; B."


def test_a_row_of_the_table_that_changes_makes_the_page_stale(settings, monkeypatch):
    changed = [row._replace(text="Nothing") if row.fate == settings.REFUSED else row for row in settings.TABLE]
    monkeypatch.setattr(settings, "TABLE", tuple(changed))
    assert "an error: Nothing" in settings.filled(PAGE)


def test_what_critics_that_train_the_encoder_need_is_valid():
    advice = re.search(r"To let the critics train.*?\n\n", PAGE, re.DOTALL)[0]
    given = {"acting_encoder": "online", "key_encoder_tau": 0.05, "updates_per_batch": 1, "contrast_interval": 1}
    assert set(re.findall(r"`(\w+)", advice)) == {*given, "encoder_loss", "train_episodes"}
    config = SaCCMConfig().environment("SaMI/Pendulum-v0")
    config.training(encoder_loss="both", train_episodes=6, **given).validate()
