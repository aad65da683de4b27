"""The table of skill discovery methods."""

from rllib_sami.algorithms.skill_discovery.cic import CICMethod
from rllib_sami.algorithms.skill_discovery.csf import CSFMethod
from rllib_sami.algorithms.skill_discovery.dads import DADSMethod
from rllib_sami.algorithms.skill_discovery.diayn import DIAYNMethod
from rllib_sami.algorithms.skill_discovery.method import SkillMethod
from rllib_sami.algorithms.skill_discovery.metra import METRAMethod
from rllib_sami.algorithms.skill_discovery.visr import VISRMethod

METHODS: dict[str, type[SkillMethod]] = {
    "CSF": CSFMethod,
    "METRA": METRAMethod,
    "DIAYN": DIAYNMethod,
    "VISR": VISRMethod,
    "CIC": CICMethod,
    "DADS": DADSMethod,
}
