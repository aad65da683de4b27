"""Agents that several files of tests share."""

import pytest

from rllib_sami import CICConfig, DADSConfig, DIAYNConfig, METRAConfig, PlainSACConfig, SaCCMConfig

from .skill_agents import POINT, exported, skills_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Exports by their name: a skill prior of each kind, skills of a robot, and agents without skills."""
    root = tmp_path_factory.mktemp("agents")
    for name, config in {
        "sphere": skills_config(),
        "one_hot": skills_config(METRAConfig, skill_prior="one_hot"),
        "diayn": skills_config(DIAYNConfig),
        "gaussian": skills_config(CICConfig),
        "uniform": skills_config(DADSConfig),
    }.items():
        exported(root / name, config)
    exported(root / "cheetah", skills_config(env="Skills/HalfCheetah-v0", env_config={}), obs_dim=18, action_dim=6)
    exported(root / "ant", skills_config(env="Skills/Ant-v0", env_config={}), obs_dim=29)
    sizes = {"actor_hidden": [8], "critic_hidden": [8]}
    for config, more in ((PlainSACConfig(), {}), (SaCCMConfig(), {"context_dim": 3, "encoder_hidden_dim": 8})):
        config.environment(POINT).training(**sizes, **more)
        exported(root / type(config).__name__.removesuffix("Config"), config)
    return root
