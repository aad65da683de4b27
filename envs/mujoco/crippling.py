"""Crippled robots: parts with dead actuators, which may also be shrunk or amputated."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import mujoco
import numpy as np

from ..checks import check_choice
from ..tasks import Task
from .base import ASSETS, MujocoTaskEnv

MODES = ("torque", "shrink", "amputate")
CRIPPLED_COLOUR = (0.8, 0.1, 0.1, 1.0)
# What changes if a smaller part is compiled, and what mj_setConst does not refresh.
GEOMETRY = ("geom_size", "geom_pos", "geom_sameframe", "geom_rbound", "geom_aabb", "bvh_aabb")
INERTIA = ("body_mass", "body_inertia", "body_ipos", "body_sameframe")


class CrippledEnv(MujocoTaskEnv):
    """A robot with the factor ``cripple``: a set of parts, each a part of the body behind one or more actuators.

    The actuators of a crippled part exert no torque and their actions cost nothing; its joints keep their springs and
    dampings. ``cripple_mode`` sets what else happens to it:

    * ``"torque"``: nothing, except that it changes colour.
    * ``"shrink"``: its geoms are half as long and thick and stay attached to their joint. Masses, inertias, joints and
      the other parts do not change.
    * ``"amputate"``: as shrink, but masses and inertias are those of the smaller geoms.

    With ``reference_physics`` the mode is the authors', and shrunk geoms float: each is halved about its own centre.
    (Their code also copies local positions between geoms. MuJoCo does not read these, since the geoms lie exactly in
    their body's or inertia's frame.)

    Attributes:
        default_cripple_mode: The mode of the authors' environment.
        part_actuators: Actuators per part; None is one per part, in their order.
    """

    default_cripple_mode: ClassVar[str] = "torque"
    part_actuators: ClassVar[Sequence[Sequence[int]] | None] = None
    task_arrays = ("dof_damping", *INERTIA, *GEOMETRY, "geom_rgba")

    def __init__(self, *args: Any, cripple_mode: str | None = None, **kwargs: Any):
        """Builds the environment.

        Args:
            *args: As for ``MetaTaskEnv``.
            cripple_mode: ``"torque"``, ``"shrink"`` or ``"amputate"``; None is the mode of the authors' environment.
            **kwargs: As for the robot that is not crippled.

        Raises:
            ValueError: The mode is unknown, or with ``reference_physics`` not the authors'.
        """
        mode = self.default_cripple_mode if cripple_mode is None else cripple_mode
        check_choice("cripple_mode", mode, MODES)
        if kwargs.get("reference_physics") and mode != self.default_cripple_mode:
            raise ValueError(
                f"cripple_mode={cripple_mode!r}: with reference_physics it is {self.default_cripple_mode!r}, "
                f"as in the authors' code of {type(self).__name__}."
            )
        self.cripple_mode = mode
        super().__init__(*args, **kwargs)
        model = self.model
        self._part_actuators = self.part_actuators or [(actuator,) for actuator in range(model.nu)]
        bodies = [model.jnt_bodyid[model.actuator_trnid[list(part), 0]] for part in self._part_actuators]
        self._part_geoms = [np.flatnonzero(np.isin(model.geom_bodyid, part)).tolist() for part in bodies]

    def _dead_actuators(self, parts: Sequence[int]) -> list[int]:
        """Returns the actuators that exert no torque if ``parts`` are crippled."""
        return [actuator for part in parts for actuator in self._part_actuators[part]]

    def _geoms(self, parts: Sequence[int]) -> tuple[int, ...]:
        return tuple(geom for part in parts for geom in self._part_geoms[part])

    def _model_arrays(self, task: Task) -> Mapping[str, np.ndarray]:
        parts: Sequence[int] = task["cripple"]  # type: ignore[assignment]
        if not parts or self.cripple_mode == "torque" or self.reference_physics:
            return self._pristine
        compiled = compile_crippled(str(ASSETS / self.xml), self._geoms(parts), self.cripple_mode == "shrink")
        return {**self._pristine, **compiled}

    def _set_task(self, task: Task) -> None:
        super()._set_task(task)
        parts: Sequence[int] = task["cripple"]  # type: ignore[assignment]
        self._crippled = np.array(self._dead_actuators(parts), dtype=np.intp)
        if parts:
            geoms = list(self._geoms(parts))
            self.model.geom_rgba[geoms] = CRIPPLED_COLOUR
            if self.reference_physics and self.cripple_mode == "shrink":
                self.model.geom_size[geoms] *= 0.5


# Editing sizes and positions in place would leave two things out of date: the bounds that collisions rely on, and the
# flags of geoms that lie exactly in their body's or inertia's frame (whose positions are not read). Compiling takes
# some milliseconds, so it is done once per process. Resets copy the arrays, so that views into the model stay valid.
@functools.cache
def compile_crippled(path: str, geoms: tuple[int, ...], keep_inertia: bool) -> Mapping[str, np.ndarray]:
    """Compiles a robot with some geoms at half their size.

    Args:
        path: The robot's XML.
        geoms: Indices of the geoms to halve about the joint of their body.
        keep_inertia: Whether to keep the masses and inertias of the whole robot.

    Returns:
        The arrays of the compiled model named in ``GEOMETRY`` and ``INERTIA``.
    """
    spec = mujoco.MjSpec.from_file(path)
    whole = spec.compile()
    spec.compiler.settotalmass = -1  # a fixed total would make the other parts heavier
    density = mujoco.mj_getTotalmass(whole) / mujoco.mj_getTotalmass(spec.compile())
    for geom in spec.geoms:
        if geom.id in geoms:
            joint = whole.jnt_pos[whole.body_jntadr[whole.geom_bodyid[geom.id]]]
            geom.fromto = np.full(6, np.nan)
            geom.quat = whole.geom_quat[geom.id]
            geom.size = 0.5 * whole.geom_size[geom.id]
            geom.pos = 0.5 * (joint + whole.geom_pos[geom.id])
    if keep_inertia:
        spec.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_FALSE
        for body in spec.bodies[1:]:
            body.explicitinertial = True
            body.mass, body.inertia = whole.body_mass[body.id], whole.body_inertia[body.id]
            body.ipos, body.iquat = whole.body_ipos[body.id], whole.body_iquat[body.id]
    crippled = spec.compile()
    if not keep_inertia:
        mujoco.mj_setTotalmass(crippled, density * mujoco.mj_getTotalmass(crippled))
    return {name: getattr(crippled, name).copy() for name in (*GEOMETRY, *INERTIA)}
