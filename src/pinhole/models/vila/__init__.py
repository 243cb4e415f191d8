"""A native port of VILA-1.5 (NVIDIA, arXiv 2312.07533), which transformers does not have.

Source of the facts: NVlabs/VILA, branch vila1.5. Nothing is registered with transformers: use the classes directly.
"""

from pinhole.models.vila.configuration import VilaConfig
from pinhole.models.vila.modeling import VilaForConditionalGeneration, VilaModel
from pinhole.models.vila.original import load_original
from pinhole.models.vila.processing import CHAT_TEMPLATES, VilaImageProcessor, VilaProcessor

__all__ = [
    "CHAT_TEMPLATES",
    "VilaConfig",
    "VilaForConditionalGeneration",
    "VilaImageProcessor",
    "VilaModel",
    "VilaProcessor",
    "load_original",
]
