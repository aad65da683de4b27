"""Agents to evaluate."""

import pytest
from adapters.skill_agents import exported, skills_config
from adapters.tiny import tiny

from rllib_sami import CICConfig, CSFConfig, DADSConfig, DIAYNConfig, METRAConfig, SaCCMConfig, TESACConfig


@pytest.fixture(scope="session")
def checkpoints(ray_cluster, tmp_path_factory):
    """Two trials of one experiment, and one checkpoint of RLlib's own PPO; nothing of them was trained."""
    from ray.rllib.algorithms.ppo import PPOConfig

    folder = tmp_path_factory.mktemp("runs")
    plain = PPOConfig().environment("SaMI/Pendulum-v0", env_config={"max_steps": 20}).env_runners(num_env_runners=0)
    plain.debugging(log_level="ERROR")
    configs = {
        "experiment/first": tiny(SaCCMConfig, seed=0),
        "experiment/second": tiny(TESACConfig, seed=1),
        "plain": plain,
    }
    for name, config in configs.items():
        algorithm = config.build_algo()
        algorithm.save_to_path(folder / name / "checkpoint_000000")
        algorithm.stop()
    return folder


@pytest.fixture(scope="module")
def agents(tmp_path_factory):
    """Exported agents that nobody trained."""
    root = tmp_path_factory.mktemp("agents")
    for name, config in {
        "csf": skills_config(CSFConfig),
        "metra": skills_config(METRAConfig, skill_dim=5),
        "diayn": skills_config(DIAYNConfig),
        "dads": skills_config(DADSConfig),
        "cic": skills_config(CICConfig),
    }.items():
        exported(root / name, config)
    return root
