"""Arguments that no environment can have: each is named with what was expected, before anything is loaded."""

import re

import numpy as np
import pytest

from rllib_sami import envs
from rllib_sami.envs.panda import compute_reward

NAN = float("nan")
REFUSED = [
    (envs.CrippledHalfCheetah, {"split": "modrate"}, ["split='modrate'", "Did you mean 'moderate'?", "train"]),
    (envs.CrippledHalfCheetah, {"split": ["train"]}, ["split=['train']"]),
    (envs.CrippledHalfCheetah, {"spilt": "train"}, ["spilt='train'", "Did you mean 'split'?"]),
    (envs.CrippledHalfCheetah, {"mass_scal": 1.0}, ["mass_scal=1.0", "Did you mean 'mass_scale'?"]),
    (envs.CrippledHalfCheetah, {"reference_phisics": True}, ["Did you mean 'reference_physics'?"]),
    (envs.CrippledHalfCheetah, {"mass_scale": 0}, ["mass_scale=0", "> 0"]),
    (envs.CrippledHalfCheetah, {"cripple": 9}, ["cripple=9", "0..5"]),
    (envs.CrippledHalfCheetah, {"cripple": [(0, 9)]}, ["cripple=(0, 9)", "0..5"]),
    (envs.CrippledHalfCheetah, {"tasks": []}, ["tasks is empty"]),
    (envs.CrippledHalfCheetah, {"tasks": [{"mass": 1.0}]}, ["tasks[0]", "'mass'", "mass_scale"]),
    (envs.CrippledHalfCheetah, {"tasks": [{}], "mass_scale": 1.0}, ["tasks", "'mass_scale'"]),
    (envs.CrippledHalfCheetah, {"max_steps": 0}, ["max_steps=0", ">= 1"]),
    (envs.CrippledHalfCheetah, {"max_steps": 10.5}, ["max_steps=10.5"]),
    (envs.CrippledHalfCheetah, {"max_steps": True}, ["max_steps=True"]),
    (envs.CrippledHalfCheetah, {"render_mode": "humann"}, ["render_mode='humann'", "rgb_array"]),
    (envs.CrippledHalfCheetah, {"width": 0}, ["width=0", ">= 1", "480"]),
    (envs.CrippledHalfCheetah, {"height": "480"}, ["height='480'", ">= 1"]),
    *(
        (family, {name: weight}, [f"{name}={weight!r}"])
        for family, names in (
            (envs.Ant, ("ctrl_cost_weight", "healthy_reward", "contact_cost_weight")),
            (envs.Hopper, ("ctrl_cost_weight",)),
            (envs.HumanoidStandup, ("impact_cost_weight",)),
            (envs.CrippledAnt, ("healthy_reward",)),
        )
        for name in names
        for weight in (-1.0, NAN, "0.5")
    ),
    (envs.AntGoal, {"ctrl_cost_weight": -1}, ["ctrl_cost_weight=-1"]),
    (envs.SlimHumanoid, {"model": "humanoids"}, ["model='humanoids'", "Did you mean 'humanoid'"]),
    (envs.CrippledAnt, {"cripple": 4}, ["cripple=4", "0..3", "front left"]),
    (
        envs.CrippledAnt,
        {"cripple_mode": "shrunk"},
        ["cripple_mode='shrunk'", "Did you mean 'shrink'", "torque, shrink, amputate"],
    ),
    (
        envs.CrippledAnt,
        {"cripple_mode": "amputate", "reference_physics": True},
        ["cripple_mode='amputate'", "reference_physics", "'shrink'"],
    ),
    (envs.CrippledHopper, {"cripple_mod": "shrink"}, ["Did you mean 'cripple_mode'"]),
    (envs.Walker, {"cripple_mode": "shrink"}, ["cripple_mode='shrink'"]),
    *(
        (envs.Pendulum, {name: value}, [f"{name}={value!r}: expected True or False"])
        for name in ("observe_task", "render_task", "reference_physics")
        for value in ("no", 1, None)
    ),
    (envs.Pendulum, {"max_steps": 0}, ["max_steps=0: expected an integer >= 1 (default 200)"]),
    (envs.Pendulum, {"max_episode_steps": 0}, ["max_episode_steps=0: expected an integer >= 1 (default 200)"]),
    *((envs.PointGoal, {"direction": direction}, ["direction="]) for direction in ((0, 0), (3, 4), 0.5)),
    (envs.Ant, {"split": "super_extreme"}, ["split='super_extreme'", "Known: train, moderate, extreme"]),
    (envs.HalfCheetahDir, {"direction": 2}, ["direction=2 "]),
    (envs.HalfCheetahDir, {"direction": (1.0, 0.0, -1.5)}, ["direction=-1.5"]),
    (envs.HalfCheetahVel, {"velocity": float("inf")}, ["velocity=inf"]),
    (envs.HalfCheetahVel, {"velocity": []}, ["velocity=[] is empty"]),
    (envs.AntDir, {"direction": (0, 0)}, ["direction=(0, 0)"]),
    (envs.AntDir, {"direction": (3, 4)}, ["direction=(3, 4)"]),
    (envs.AntDir, {"direction": 0.5}, ["direction=0.5"]),
    (envs.AntDir, {"goal": (1, 0)}, ["goal=(1, 0)"]),
    (envs.AntGoal, {"goal": (1, 0, 0)}, ["goal=(1, 0, 0)"]),
    (envs.AntGoal, {"goal": (1, NAN)}, ["goal=(1, nan)"]),
    (envs.AntGoal, {"split": "super_extreme"}, ["super_extreme"]),
    (envs.HopperRandParams, {"friction_scales": (1, 1, 1, 1, -0.1)}, ["friction_scales=(1, 1, 1, 1, -0.1)"]),
    (envs.HopperRandParams, {"mass_scales": (1, 1, 1, 0)}, ["mass_scales=(1, 1, 1, 0)"]),
    (envs.HopperRandParams, {"mass_scales": (1, 1, 1)}, ["mass_scales=(1, 1, 1)"]),
    (envs.HopperRandParams, {"damping_scales": 2.0}, ["damping_scales=2.0"]),
    (envs.HopperRandParams, {"mass_scale": 2.0}, ["mass_scale=2.0"]),
    (envs.HopperRandParams, {"split": "super_extreme"}, ["super_extreme"]),
    (envs.HalfCheetahFlipped, {"flipped": 6}, ["flipped=6", "0..5"]),
    (envs.HalfCheetahFlipped, {"flipped": [(0, 0)]}, ["flipped=(0, 0)", "0..5"]),
    (envs.HalfCheetahFlipped, {"flipped": -1}, ["flipped=-1", "0..5"]),
    *((envs.skills.AntMultiGoal, {"goals_seed": seed}, [f"goals_seed={seed!r}"]) for seed in (-1, 0.5, True)),
    (envs.PandaPush, {"cube_mass": 0}, ["cube_mass=0", "> 0", "kg"]),
    (envs.PandaPush, {"table_friction": -0.1}, ["table_friction=-0.1", ">= 0"]),
    (envs.PandaPush, {"table_friction": []}, ["table_friction=[]", "empty"]),
    (envs.PandaPush, {"cube_friction": 1.0}, ["cube_friction=1.0", "Did you mean 'table_friction'?"]),
    (envs.PandaPush, {"split": "super_extreme"}, ["split='super_extreme'", "train, moderate, extreme, grid"]),
    (envs.PandaPush, {"reward_type": "spares"}, ["reward_type='spares'", "Did you mean 'sparse'?"]),
    (envs.PandaPush, {"render_mode": "human"}, ["render_mode='human'", "rgb_array"]),
]


# One for each environment: an argument or a factor that not all have, or else the length of its episodes.
REFUSED_BY_ID = {env_id: ({"max_steps": 0}, ["max_steps=0", ">= 1"]) for env_id in envs.list_environments()} | {
    "SaMI/Ant-v0": ({"contact_cost_weight": -0.5}, ["contact_cost_weight=-0.5", ">= 0"]),
    "SaMI/CrippledAnt-v0": ({"cripple": (0, 4)}, ["cripple=4", "0..3", "front left"]),
    "SaMI/HalfCheetah-v0": ({"damping_scale": 0}, ["damping_scale=0", "> 0"]),
    "SaMI/CrippledHalfCheetah-v0": ({"cripple": 6}, ["cripple=6", "0..5"]),
    "SaMI/Hopper-v0": ({"ctrl_cost_weight": NAN}, ["ctrl_cost_weight=nan", ">= 0"]),
    "SaMI/CrippledHopper-v0": ({"cripple": 3}, ["cripple=3", "0..2"]),
    "SaMI/Walker-v0": ({"ctrl_cost_weight": "0.5"}, ["ctrl_cost_weight='0.5'", ">= 0"]),
    "SaMI/CrippledWalker-v0": ({"cripple": -1}, ["cripple=-1", "0..5"]),
    "SaMI/SlimHumanoid-v0": ({"model": "slim_humanoid"}, ["model='slim_humanoid'", "'humanoid'"]),
    "SaMI/HumanoidStandup-v0": ({"impact_cost_weight": -1}, ["impact_cost_weight=-1", ">= 0"]),
    "SaMI/HalfCheetahDir-v0": ({"direction": -2}, ["direction=-2", ">= -1 and <= 1"]),
    "SaMI/HalfCheetahVel-v0": ({"velocity": NAN}, ["velocity=nan", "m/s"]),
    "SaMI/AntDir-v0": ({"direction": (1.5, 0)}, ["direction=(1.5, 0)", ">= -1 and <= 1"]),
    "SaMI/AntGoal-v0": ({"goal": 1.0}, ["goal=1.0", "a tuple of 2 numbers"]),
    "SaMI/HopperRandParams-v0": ({"friction_scales": (1,)}, ["friction_scales=(1,)", "a tuple of 5 numbers"]),
    "SaMI/WalkerRandParams-v0": ({"mass_scales": (1, 1, 1, 1)}, ["mass_scales=(1, 1, 1, 1)", "a tuple of 7 numbers"]),
    "SaMI/HalfCheetahFlipped-v0": ({"flipped": 1.5}, ["flipped=1.5", "0..5"]),
    "SaMI/CartPole-v0": ({"force": 0}, ["force=0", "> 0"]),
    "SaMI/Pendulum-v0": ({"length": -1.0}, ["length=-1.0", "> 0"]),
    "SaMI/PointGoal-v0": ({"direction": (0.0, 2.0)}, ["direction=(0.0, 2.0)", ">= -1 and <= 1"]),
    "SaMI/PandaPush-v0": ({"reward_type": "sprase"}, ["reward_type='sprase'", "Did you mean 'sparse'?"]),
    "SaMI/PandaPickAndPlace-v0": ({"cube_mass": NAN}, ["cube_mass=nan", "> 0"]),
    "Skills/Ant-v0": ({"normalize_observation": "no"}, ["normalize_observation='no'", "True or False"]),
    "Skills/HalfCheetah-v0": ({"split": "extreme"}, ["split='extreme'", "Known: train."]),
    "Skills/AntMultiGoal-v0": ({"reference_goals": 1}, ["reference_goals=1", "True or False"]),
    "Skills/HalfCheetahGoal-v0": ({"goal": 5.0}, ["goal=5.0", "no such argument or factor"]),
    "Skills/HalfCheetahHurdle-v0": ({"reference_physics": None}, ["reference_physics=None", "True or False"]),
    "Skills/Quadruped-v0": ({"normalize_observation": 1}, ["normalize_observation=1", "True or False"]),
    "Skills/Kitchen-v0": ({"robot_noise_ratio": -1}, ["robot_noise_ratio=-1", ">= 0"]),
    "Skills/PosturePoint-v0": ({"mass_scale": 2.0}, ["mass_scale=2.0", "no such argument or factor", "max_steps"]),
}


@pytest.fixture
def nothing_loads(monkeypatch):
    """Lets the test fail once a simulator is loaded."""

    def fail(*_):
        pytest.fail("loaded the simulator first")

    monkeypatch.setattr("rllib_sami.envs.mujoco.base._load_model", fail)
    monkeypatch.setattr("rllib_sami.envs.panda.simulation.BulletClient", fail)
    for module in ("skills.dm_control", "kitchen.simulation", "skills.bin_picking", "manipulation.arm"):
        monkeypatch.setattr(f"rllib_sami.envs.{module}.model_folder", fail)


# Without the class in its name a test of Panda needs no PyBullet.
@pytest.mark.parametrize("env_id", REFUSED_BY_ID, ids=[next(iter(case[0])) for case in REFUSED_BY_ID.values()])
def test_a_bad_argument_of_make_is_named_before_anything_is_loaded(env_id, nothing_loads):
    arguments, words = REFUSED_BY_ID[env_id]
    with pytest.raises(ValueError, match=f"^({envs.ENVIRONMENTS[env_id].__name__}: )?{re.escape(words[0])}") as error:
        envs.make(env_id, **arguments)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(("family", "arguments", "words"), REFUSED, ids=[next(iter(case[1])) for case in REFUSED])
def test_a_bad_argument_is_named_before_anything_is_loaded(family, arguments, words, nothing_loads):
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        family(**arguments)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize("other", [{"tasks": [{"mass_scale": 2.0}]}, {"mass_scale": 2.0}])
def test_a_split_beside_own_tasks_is_refused(other):
    with pytest.raises(ValueError, match=f"split='extreme' and '{next(iter(other))}' both set the tasks"):
        envs.HalfCheetah(split="extreme", **other)
    assert envs.HalfCheetah(split=None, **other).split == "custom"


def test_a_bad_reward_type_is_named():
    with pytest.raises(ValueError, match="reward_type='none'"):
        compute_reward(np.zeros(3), np.zeros(3), "none")


def test_arguments_may_be_given_by_position_up_to_the_render_mode():
    env = envs.AntDir("extreme", None, 7, True, "rgb_array", ctrl_cost_weight=0.25)
    assert (env.split, env.max_steps, env.observe_task, env.render_mode) == ("extreme", 7, True, "rgb_array")
    assert env.ctrl_cost_weight == 0.25
    with pytest.raises(TypeError, match="positional"):
        envs.HalfCheetah("extreme", None, 7, True, "rgb_array", True)
