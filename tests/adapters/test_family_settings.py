"""Experiment files are shared: what one algorithm of the family has, the others know."""

import pytest

from rllib_sami import PlainSACConfig, RecurrentSACConfig, SaMIConfig
from rllib_sami.config.family_settings import FAMILY
from rllib_sami.config.rllib_settings import PLAIN_SAC, RECURRENT_SAC


@pytest.mark.parametrize(("config_class", "group"), [(PlainSACConfig, PLAIN_SAC), (RecurrentSACConfig, RECURRENT_SAC)])
def test_every_setting_that_it_lacks_is_in_the_table(config_class, group):
    known = {name for row in FAMILY if row.of == group for name in row.names.split()}
    assert SaMIConfig.settings.keys() - config_class.settings.keys() <= known
    assert not known & config_class.settings.keys()
