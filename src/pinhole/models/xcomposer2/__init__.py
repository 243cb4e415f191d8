"""InternLM-XComposer-2.5 (arXiv 2407.03320): CLIP on a global view and tiles, InternLM2 with partial LoRA.

Images only: the original's collage of a video's frames is left out.
"""

from __future__ import annotations

from pinhole.models.xcomposer2.configuration import XComposer2Config, XComposer2TextConfig
from pinhole.models.xcomposer2.image_processing import XComposer2ImageProcessor
from pinhole.models.xcomposer2.modeling import XComposer2ForConditionalGeneration, XComposer2Model
from pinhole.models.xcomposer2.original import load_original
from pinhole.models.xcomposer2.processing import XComposer2Processor
from pinhole.models.xcomposer2.vision import count_tokens, token_layout

__all__ = [
    "XComposer2Config",
    "XComposer2ForConditionalGeneration",
    "XComposer2ImageProcessor",
    "XComposer2Model",
    "XComposer2Processor",
    "XComposer2TextConfig",
    "count_tokens",
    "load_original",
    "token_layout",
]
