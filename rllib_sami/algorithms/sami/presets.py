"""The members of the family: SaCCM, SaTESAC, CCM and TESAC are ``SaMI`` with different pairings."""

from rllib_sami.algorithms.sami.sami import SaMI, SaMIConfig


class TESACConfig(SaMIConfig):
    """Configuration of TESAC, task-embedding SAC: only the critics' loss trains the encoder."""

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or TESAC)


class _ContrastiveConfig(SaMIConfig):
    """Base of the contrastive algorithms: only the contrast trains the encoder, and contexts are on the unit sphere.

    Actor and critics therefore need no new contexts for every update and make 32 updates with one batch of 128
    episodes. They read the encoder's moving average, which drifts slowly enough for them.

    To let the critics train the encoder too, set ``encoder_loss`` to ``"both"``, ``acting_encoder`` to ``"online"``,
    ``key_encoder_tau`` to 0.05 (then only the keys depend on it), ``updates_per_batch`` and ``contrast_interval`` to 1,
    and ``train_episodes`` to 6.
    """

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class)
        self.encoder_loss = "contrast"
        self.acting_encoder = "average"
        self.normalize_context = True
        self.key_encoder_tau = 0.005
        self.encoder_lr = 3e-4
        self.train_episodes = 128
        self.updates_per_batch = 32
        self.contrast_interval = 4


class CCMConfig(_ContrastiveConfig):
    """Configuration of CCM: contrast between tasks."""

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or CCM)
        self.pairing = "task"


class SaTESACConfig(_ContrastiveConfig):
    """Configuration of SaTESAC: contrast between skills within a task (SaNCE)."""

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or SaTESAC)
        self.pairing = "skill"


class SaCCMConfig(_ContrastiveConfig):
    """Configuration of SaCCM: contrast between skills within a task and contrast between tasks."""

    def __init__(self, algo_class=None):
        super().__init__(algo_class=algo_class or SaCCM)
        self.pairing = "skill_task"
        self.skill_weight = 0.1


class TESAC(SaMI):
    """See :class:`TESACConfig`."""

    config_class = TESACConfig


class CCM(SaMI):
    """See :class:`CCMConfig`."""

    config_class = CCMConfig


class SaTESAC(SaMI):
    """See :class:`SaTESACConfig`."""

    config_class = SaTESACConfig


class SaCCM(SaMI):
    """See :class:`SaCCMConfig`."""

    config_class = SaCCMConfig
