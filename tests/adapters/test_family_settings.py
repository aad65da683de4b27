"""Experiment files are shared: what SaMI has, the other off-policy algorithms know, as methods of skills each other."""

import pytest

from rllib_sami import SaMIConfig
from rllib_sami.algorithms.off_policy.config import OffPolicyConfig
from rllib_sami.algorithms.skill_discovery.skill_discovery import SkillDiscoveryConfig
from rllib_sami.config.family_settings import FAMILY, SKILL_METHODS
from rllib_sami.config.rllib_settings import IDLE, rows
from rllib_sami.config.unused_settings import readers
from rllib_sami.registration import ALGORITHMS

CONFIGS = [algorithm.get_default_config() for algorithm in ALGORITHMS.values()]
OF_SKILLS = {name: ALGORITHMS[name].get_default_config() for name in SKILL_METHODS}


@pytest.mark.parametrize(
    "config", [one for one in CONFIGS if isinstance(one, OffPolicyConfig)], ids=lambda c: str(c.algo_class)
)
def test_every_setting_that_it_lacks_is_in_the_table(config):
    known = {name for row in FAMILY if row.of in config.setting_readers for name in row.names.split()}
    assert SaMIConfig.settings.keys() - config.settings.keys() <= known
    assert not known & config.settings.keys()


def test_methods_of_skills_know_all_settings_of_each_other():
    assert {type(config) for config in OF_SKILLS.values()} == {
        type(config) for config in CONFIGS if isinstance(config, SkillDiscoveryConfig)
    }
    of_methods = {name for config in OF_SKILLS.values() for name in config.settings}
    for name, config in OF_SKILLS.items():
        table = rows(FAMILY, readers(config))
        lacking = of_methods - config.settings.keys()
        assert lacking <= table.keys(), name
        # Most have no effect; another distribution of skills would be another method.
        assert {key for key in lacking if table[key].fate != IDLE} <= {"skill_prior"}, name
        assert set(SKILL_METHODS[name].split()) <= config.settings.keys()
        for key in lacking - {"initial_alpha", "alpha_lr", "fixed_alpha", "skill_prior"}:
            having = [other for other in SKILL_METHODS if key in OF_SKILLS[other].settings]
            assert f"only {' and '.join(having)} use" in table[key].text
