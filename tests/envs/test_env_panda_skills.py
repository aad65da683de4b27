"""Skills on hand-made tracks of the cube: slides, tips, rolls, lifts, falls."""

import numpy as np
import pytest

from rllib_sami.envs.panda import (
    CubeTrack,
    episode_skill,
    reference_episode_skill,
    reference_step_skills,
    step_skills,
)

EDGE = 0.04


def track(x=0.0, z=None, tilt=0.0, carried=False, edge=EDGE):
    """A cube at ``x`` (m), tilted by ``tilt`` (degrees) about the y axis; it stands on the table unless ``z`` is given.

    Every argument is one number or one per row; the first row is the start.
    """
    x, tilt, carried = np.broadcast_arrays(x, tilt, carried)
    angle = np.radians(tilt)
    # The centre of a square that stands on its lowest corner.
    height = edge / 2 * (np.abs(np.sin(angle)) + np.abs(np.cos(angle))) if z is None else z
    position = np.stack(np.broadcast_arrays(x, 0.0, height), axis=1).astype(float)
    zero = np.zeros_like(angle)
    rotation = np.stack([zero, np.sin(angle / 2), zero, np.cos(angle / 2)], axis=1)
    return CubeTrack(position, rotation, carried.copy(), edge)


def line(stop, steps):
    return np.linspace(0.0, stop, steps + 1)


def test_a_cube_at_rest_has_no_skill():
    rest = track(np.zeros(6))
    assert step_skills(rest).tolist() == ["none"] * 5
    assert episode_skill(rest) == "none"
    assert reference_episode_skill(rest) == "push"  # all else is a push


def test_sliding_is_a_push_beyond_half_an_edge():
    slide = track(line(0.021, 10))
    assert step_skills(slide).tolist() == ["push"] * 10
    assert episode_skill(slide) == "push"
    short = track(line(0.019, 10))
    assert step_skills(short).tolist() == ["push"] * 10
    assert episode_skill(short) == "none"
    back = track(np.concatenate([line(0.03, 10), line(0.03, 10)[::-1]]))  # there and back again
    assert episode_skill(back) == "push"


def test_movement_below_a_hundredth_of_an_edge_per_step_is_rest():
    assert step_skills(track([0.0, 0.00039, 0.00078])).tolist() == ["none", "none"]
    assert step_skills(track([0.0, 0.00041, 0.00082])).tolist() == ["push", "push"]


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 9, 30])
def test_a_quarter_turn_is_a_roll_at_any_speed(steps):
    turn = line(90.0, steps)
    roll = track(line(EDGE, steps), tilt=turn)
    # From the step in which it leaves the one face (5°) to the one in which it lies on the next.
    expected = ["push"] * (steps == 30) + ["roll"] * (steps - 2 * (steps == 30)) + ["push"] * (steps == 30)
    assert step_skills(roll).tolist() == expected
    assert episode_skill(roll) == "roll"


def test_several_turns_roll_and_the_slide_before_is_a_push():
    tilt = np.concatenate([np.zeros(4), line(270.0, 27)])
    x = np.concatenate([np.linspace(0, 0.01, 4, endpoint=False), 0.01 + line(3 * EDGE, 27)])
    mixed = track(x, tilt=tilt)
    assert step_skills(mixed).tolist() == ["push"] * 4 + ["roll"] * 27
    assert episode_skill(mixed) == "roll"


def test_a_cube_that_tips_and_falls_back_is_pushed_up_to_30_degrees():
    def tips(most):
        tilt = np.concatenate([line(most, 6), line(most, 6)[::-1]])
        return track(line(0.05, 13), tilt=tilt)

    assert step_skills(tips(29.0)).tolist() == ["push"] * 13
    assert step_skills(tips(31.0)).tolist()[1:-1] == ["roll"] * 11  # all the way, not the three steps above 30°
    assert episode_skill(tips(29.0)) == "push"
    assert episode_skill(tips(31.0)) == "roll"


def test_lifting_needs_a_lowest_corner_above_a_tenth_of_the_edge_and_both_fingers():
    x = line(0.1, 5)
    low, high = EDGE / 2 + 0.0039, EDGE / 2 + 0.0041
    assert step_skills(track(x, z=low, carried=True)).tolist() == ["push"] * 5
    assert step_skills(track(x, z=high, carried=True)).tolist() == ["pick_and_place"] * 5
    assert step_skills(track(x, z=high)).tolist() == ["none"] * 5  # it flies
    assert episode_skill(track(x, z=high, carried=True)) == "pick_and_place"
    # Tilted by 45°, the lowest corner is at the height of the centre minus half a diagonal.
    diagonal = EDGE / np.sqrt(2)
    carried = track(x, z=diagonal + 0.0041, tilt=45.0, carried=True)
    assert step_skills(carried).tolist() == ["pick_and_place"] * 5
    assert step_skills(track(x, z=diagonal + 0.0039, tilt=45.0, carried=True)).tolist() == ["roll"] * 5


def test_steps_at_rest_in_the_air_do_not_count():
    z = np.concatenate([np.full(8, EDGE / 2), line(0.06, 3)[1:] + EDGE / 2, np.full(20, EDGE / 2 + 0.06)])
    x = np.concatenate([line(0.03, 7), np.full(23, 0.03)])
    held = track(x, z=z, carried=z > 0.021)
    steps = step_skills(held).tolist()
    assert steps == ["push"] * 7 + ["pick_and_place"] * 3 + ["none"] * 20
    assert episode_skill(held) == "push"
    assert reference_episode_skill(held) == "pick_and_place"


def test_ties_go_to_the_more_demanding_skill():
    x = line(0.06, 6)
    z = np.where(np.arange(7) > 3, EDGE / 2 + 0.05, EDGE / 2)
    assert step_skills(track(x, z=z, carried=z > 0.021)).tolist() == ["push"] * 3 + ["pick_and_place"] * 3
    assert episode_skill(track(x, z=z, carried=z > 0.021)) == "pick_and_place"


def test_a_cube_off_the_table_is_dropped():
    z = np.concatenate([np.full(20, EDGE / 2), [-0.01, -0.1]])
    fallen = track(line(0.4, 21), z=z)
    assert step_skills(fallen).tolist() == ["push"] * 19 + ["dropped"] * 2
    assert episode_skill(fallen) == "dropped"
    assert reference_step_skills(fallen).tolist() == ["push"] * 19 + ["down"] * 2
    assert reference_episode_skill(fallen) == "push"


def test_the_label_depends_on_proportions_only():
    tilt = np.concatenate([np.zeros(4), line(90.0, 12), np.full(8, 90.0)])
    for scale in (0.5, 1.5):
        x = scale * np.concatenate([np.zeros(4), line(EDGE, 12), np.full(8, EDGE)])
        steps = step_skills(track(x, tilt=tilt, edge=scale * EDGE)).tolist()
        assert steps == ["none"] * 4 + ["roll"] * 12 + ["none"] * 8


def test_the_upper_face_is_recognised_in_all_orientations():
    # Turning about the vertical axis, on whichever face, is no roll.
    half = np.sqrt(0.5)
    lying = {  # x, y, z, w: the turns that put each face on top
        "z": (0, 0, 0, 1),
        "-z": (1, 0, 0, 0),
        "x": (0, -half, 0, half),
        "-x": (0, half, 0, half),
        "y": (half, 0, 0, half),
        "-y": (-half, 0, 0, half),
    }
    spin = np.radians(line(180.0, 12))
    for x, y, z, w in lying.values():
        a, b = np.sin(spin / 2), np.cos(spin / 2)  # the spin, after the turn
        rotation = np.stack([b * x - a * y, b * y + a * x, b * z + a * w, b * w - a * z], axis=1)
        position = np.stack([line(0.05, 12), np.zeros(13), np.full(13, EDGE / 2)], axis=1)
        assert step_skills(CubeTrack(position, rotation, np.zeros(13, bool))).tolist() == ["push"] * 12


def test_the_reference_label_rolls_at_three_degrees():
    assert reference_step_skills(track([0.0, 0.0], tilt=2.8)).tolist() == ["push"]
    assert reference_step_skills(track([0.0, 0.0], tilt=3.1)).tolist() == ["roll"]
    tips = track(line(0.05, 10), tilt=[0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0])
    assert reference_episode_skill(tips) == "roll"  # one step decides
    assert episode_skill(tips) == "push"


def test_the_reference_label_by_height_and_contact():
    z = np.array([0.02, 0.0191, 0.0189, 0.0209, 0.0211, 0.0211, 0.3])
    steps = reference_step_skills(track(np.zeros(7), z=z, carried=np.array([0, 1, 1, 1, 0, 1, 1], bool)))
    assert steps.tolist() == ["push", "down", "push", "roll", "pick_and_place", "pick_and_place"]


def test_the_reference_label_ignores_the_last_step():
    z = np.array([0.02, 0.02, 0.02, 0.1])
    assert reference_episode_skill(track(np.zeros(4), z=z, carried=z > 0.03)) == "push"
    z = np.append(z, 0.1)
    assert reference_episode_skill(track(np.zeros(5), z=z, carried=z > 0.03)) == "pick_and_place"
    assert reference_episode_skill(track(np.zeros(2), z=[0.02, 0.1], carried=True)) == "push"
