"""The task sets are exactly those of the specification, in its order."""

import pytest

from rllib_sami import envs

L, H = (0.75, 0.85), (1.0, 1.15, 1.25)
FAR_L, FAR_H = (0.4, 0.5), (1.5, 1.6)
GRID_TRAIN = [(L, L), (L, H), (H, L), (H, H)]
GRID_MODERATE = [(FAR_L, FAR_L), (FAR_L, FAR_H), (FAR_H, FAR_L), (FAR_H, FAR_H)]
GRID_EXTREME = [((a,), (b,)) for a in (0.25, 1.75) for b in (0.25, 1.75)]
ONE = (1.0,)
LOW_HALF = (0.75, 0.8, 0.85, 0.9, 0.95)
HIGH_HALF = (1.0, 1.05, 1.1, 1.15, 1.2, 1.25)


def square(low, high):
    return [(mass, damping) for mass in (low, high) for damping in (low, high)]


HOPPER = {
    "train": square((0.5, 0.75, 1.0), (1.25, 1.5)),
    "moderate": square((0.4,), (1.6,)),
    "extreme": square((0.25,), (1.75,)),
    "super_extreme": [((4.0,), (1.0,))],
    "domino": square((0.25, 0.375), (1.75, 2.0)),
}
HUMANOID = {
    "train": square((0.8, 0.9), H),
    "moderate": square((0.6, 0.7), (1.5, 1.6)),
    "extreme": [((0.4, 0.5), (0.4, 0.5)), ((1.7, 1.8), (1.7, 1.8))],
}
EXPECTED = {
    "HalfCheetah": {
        "train": GRID_TRAIN,
        "moderate": GRID_MODERATE,
        "extreme": GRID_EXTREME,
        "super_extreme": [((4.0,), (1.0,))],
    },
    "Ant": {"train": GRID_TRAIN, "moderate": GRID_MODERATE, "extreme": GRID_EXTREME},
    "CrippledHalfCheetah": {
        "train": [(H, ONE, ((joint,),)) for joint in (3, 4, 5, 3)],
        "moderate": [(ONE, ONE, ((joint,),)) for joint in (0, 1, 2)],
        "extreme": [(ONE, ONE, (pair,)) for pair in ((0, 3), (1, 4), (4, 5))],
        "domino_train": [(mass, ONE, pool) for pool in (((0,), (1,)), ((2,), (3,))) for mass in (L, H)],
        "domino": [(mass, ONE, ((4,), (5,))) for mass in (FAR_L, FAR_H)],
        "domino_extreme": [(ONE, ONE, ((4, 5),))],
    },
    "CrippledAnt": {
        "train": [(L + H, ONE, (leg,)) for leg in ((), (0,), (1,), (2,), (3,))],
        "moderate": [(FAR_L + FAR_H, ONE, (leg,)) for leg in ((), (0,), (1,), (2,), (3,))],
        "extreme": [(ONE, ONE, (pair,)) for pair in ((0, 1), (1, 3), (0, 3), (1, 2))],
        "domino_train": [(mass, ONE, pool) for pool in (((0,), (1,)), ((2,),)) for mass in (L, H)],
        "domino": [(mass, ONE, ((3,),)) for mass in (FAR_L, FAR_H)],
    },
    "Hopper": HOPPER,
    "Walker": HOPPER,
    "CrippledHopper": {
        "train": [(ONE, ONE, ((),))] * 4,
        "moderate": [(mass, ONE, ((),)) for mass in (FAR_L, FAR_H)],
        "extreme": [(ONE, ONE, ((joint,),)) for joint in (0, 1, 2)],
    },
    "CrippledWalker": {
        "train": [(ONE, ONE, (parts,)) for parts in ((0, 1, 2), (), (0, 1, 2), ())],
        "moderate": [(ONE, ONE, ((joint,),)) for joint in (0, 1, 2)],
        "extreme": [(ONE, ONE, (parts,)) for parts in ((3,), (4,), (5,), (3, 4, 5))],
    },
    "SlimHumanoid": HUMANOID,
    "HumanoidStandup": HUMANOID | {"moderate": square((0.6,), (1.5,))},
    "Pendulum": {
        "train": [(m, length) for m in (LOW_HALF, HIGH_HALF) for length in (LOW_HALF, HIGH_HALF)],
        "moderate": [(m, length) for m in ((0.5, 0.7), (1.3, 1.5)) for length in ((0.5, 0.7), (1.3, 1.5))],
        "extreme": [((0.2, 0.4), (1.6, 1.8)), ((1.6, 1.8), (0.2, 0.4))],
    },
    "CartPole": {
        "train": [
            (force, length)
            for force in (tuple(map(float, range(5, 10))), tuple(map(float, range(10, 16))))
            for length in ((0.4, 0.45), (0.5, 0.55, 0.6))
        ],
        "moderate": [(f, length) for f in ((3.0, 3.5), (16.5, 17.0)) for length in ((0.25, 0.3), (0.7, 0.75))],
        "extreme": [((2.0, 2.5), (0.15, 0.2)), ((17.5, 18.0), (0.8, 0.85))],
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_splits(name):
    cls = envs.ENVIRONMENTS[f"SaMI/{name}-v0"]
    assert set(cls.splits) == set(EXPECTED[name])
    for split, expected in EXPECTED[name].items():
        env = cls(split=split)
        assert [meta_task.allowed for meta_task in env.tasks] == expected, split
        assert env.split == split
