"""The family's members: SaCCM, SaTESAC, CCM and TESAC are ``SaMI`` with a pairing each, the others do with less."""

from ray.rllib.utils.annotations import override

from rllib_sami.algorithms.sami.algorithm import SaMI, SaMIConfig


class TESACConfig(SaMIConfig):
    """TESAC: task-embedding SAC, its encoder trained by the critics' loss alone."""

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or TESAC)


class RecurrentSACConfig(SaMIConfig):
    """Recurrent soft actor-critic for partially observable environments, one task or many.

    TESAC without the key encoder: the critics' loss trains the memory, which actor and critics read beside the
    observation, through whole episodes. It asks nothing of the environment but Box observations and bounded Box
    actions; set ``encoder_reward`` where rewards tell what observations do not.

    .. code-block:: python

        from rllib_sami import RecurrentSACConfig

        algo = RecurrentSACConfig().environment("Pendulum-v1").build_algo()
    """

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or RecurrentSAC)
        self.key_encoder = False
        self.context_dim = 32  # memory of any kind, not the name of a task

    @override(SaMIConfig)
    def reads_task_ids(self) -> bool:
        return False


class PlainSACConfig(SaMIConfig):
    """Soft actor-critic without context: the baseline that says what the context is worth.

    It shares learner, replay buffer and env runners with the others. No episode has to be read for a context, so each
    of its transitions may come from another one. With ``env_config={"observe_task": True}`` it is the oracle, which is
    told the task.
    """

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or PlainSAC)
        self.context_dim = 0
        self.normalize_inputs = self.encoder_obs_delta = False
        self.encoder_critic_gradient = False
        self.key_encoder = False
        self.train_episodes = 256
        # As often as others' SAC at first: without an encoder updates cost half as much.
        self.updates_per_env_step = [[0, 1.0], [10_000, 1.0], [20_000, 0.5], [50_000, 0.2], [100_000, 0.1]]

    @override(SaMIConfig)
    def reads_task_ids(self) -> bool:
        return False


class _ContrastiveConfig(SaMIConfig):
    """What the contrastive algorithms share: an encoder trained by the contrast alone, contexts on the sphere.

    So actor and critics need no new contexts for every update, and make 32 of them on one batch of 128 episodes. What
    they read is the encoder's moving average, which drifts slowly enough for them. With ``encoder_critic_gradient`` set
    ``averaged_context`` to False, ``key_encoder_tau`` to 0.05 (with two encoders the keys alone depend on it),
    ``updates_per_batch`` and ``contrast_interval`` to 1 and ``train_episodes`` to 6.
    """

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class)
        self.encoder_critic_gradient = False
        self.normalize_context = True
        self.averaged_context = True
        self.key_encoder_tau = 0.005
        self.encoder_lr = 3e-4
        self.train_episodes = 128
        self.updates_per_batch = 32
        self.contrast_interval = 4


class CCMConfig(_ContrastiveConfig):
    """CCM: contrast between tasks."""

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or CCM)
        self.pairing = "task"


class SaTESACConfig(_ContrastiveConfig):
    """SaTESAC: contrast between skills of one task (SaNCE)."""

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or SaTESAC)
        self.pairing = "skill"


class SaCCMConfig(_ContrastiveConfig):
    """SaCCM: contrast between skills of one task and between tasks."""

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or SaCCM)
        self.pairing = "skill_task"
        self.skill_weight = 0.1


class TESAC(SaMI):
    """See :class:`TESACConfig`."""

    @classmethod
    @override(SaMI)
    def get_default_config(cls) -> TESACConfig:
        return TESACConfig()


class RecurrentSAC(SaMI):
    """See :class:`RecurrentSACConfig`."""

    @classmethod
    @override(SaMI)
    def get_default_config(cls) -> RecurrentSACConfig:
        return RecurrentSACConfig()


class PlainSAC(SaMI):
    """See :class:`PlainSACConfig`."""

    @classmethod
    @override(SaMI)
    def get_default_config(cls) -> PlainSACConfig:
        return PlainSACConfig()


class CCM(SaMI):
    """See :class:`CCMConfig`."""

    @classmethod
    @override(SaMI)
    def get_default_config(cls) -> CCMConfig:
        return CCMConfig()


class SaTESAC(SaMI):
    """See :class:`SaTESACConfig`."""

    @classmethod
    @override(SaMI)
    def get_default_config(cls) -> SaTESACConfig:
        return SaTESACConfig()


class SaCCM(SaMI):
    """See :class:`SaCCMConfig`."""

    @classmethod
    @override(SaMI)
    def get_default_config(cls) -> SaCCMConfig:
        return SaCCMConfig()
