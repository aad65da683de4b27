"""Experiment files are shared: what SaMI has, the other off-policy algorithms know."""

import pytest

from rllib_sami import SaMIConfig
from rllib_sami.algorithms.off_policy.config import OffPolicyConfig
from rllib_sami.config.family_settings import FAMILY
from rllib_sami.registration import ALGORITHMS

CONFIGS = [algorithm.get_default_config() for algorithm in ALGORITHMS.values()]


@pytest.mark.parametrize(
    "config", [one for one in CONFIGS if isinstance(one, OffPolicyConfig)], ids=lambda c: str(c.algo_class)
)
def test_every_setting_that_it_lacks_is_in_the_table(config):
    known = {name for row in FAMILY if row.of in config.setting_readers for name in row.names.split()}
    assert SaMIConfig.settings.keys() - config.settings.keys() <= known
    assert not known & config.settings.keys()
