"""The half of CLIP that an LVLM leaves out: what compares the patches of its vision tower with words."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jinja2 import TemplateError
from transformers import (
    AutoConfig,
    AutoTokenizer,
    CLIPConfig,
    CLIPModel,
    CLIPTextModel,
    PreTrainedTokenizerBase,
)

from pinhole.visual import VisualTokens

_MARK = "PINHOLEQUESTION"


def in_joint_space(image: VisualTokens, tower: str, tokenizer: str) -> torch.Tensor:
    """(n,) cosines of visual tokens with the instruction in CLIP's joint space, in float32 or better.

    Separators, which show no part of the picture, get that of the patch most like the text.

    Args:
        image: with the cues `encoder_output` and `prompt_ids`.
        tower: see `text_tower`.
        tokenizer: see `question`.

    Raises:
        ValueError: as `text_tower`, `question` and `TextTower.cosines` do.
    """
    text = question(image.cues["prompt_ids"], tokenizer)
    clip = text_tower(tower, image.x.device, torch.promote_types(image.x.dtype, torch.float32))
    cosines = clip.cosines(image.cues["encoder_output"], text)
    if bool(image.layout.separators.all()):  # no token's place is known
        return cosines
    separators = image.layout.separators.to(cosines.device)
    return torch.where(separators, cosines.masked_fill(separators, -torch.inf).max(), cosines)


@dataclass(frozen=True, eq=False)
class TextTower:
    """CLIP's text tower, and what leads from its two towers to their joint space.

    Attributes:
        name: the checkpoint's folder or hub name.
        tokenizer: CLIP's own.
        text_model: gives the pooled state of a text.
        text_projection: leads from there to the joint space.
        post_layernorm: the norm behind the vision tower.
        visual_projection: leads from there to the joint space.
    """

    name: str
    tokenizer: PreTrainedTokenizerBase
    text_model: CLIPTextModel
    text_projection: torch.nn.Linear
    post_layernorm: torch.nn.LayerNorm
    visual_projection: torch.nn.Linear

    @torch.no_grad()
    def cosines(self, patches: torch.Tensor, text: str) -> torch.Tensor:
        """(n,): the cosine of each patch with the text in the joint space, in the precision of the weights.

        Args:
            patches: (n, c) states of CLIP's vision tower, before its last norm, on the device of the weights.
            text: what is beyond the positions that CLIP has (77 tokens with the two that frame a text) is cut off.

        Raises:
            ValueError: patches of another width.
        """
        width = self.visual_projection.in_features
        if patches.shape[1] != width:
            raise ValueError(
                f"the vision tower of the CLIP {self.name!r} has width {width}, the model's encoder has "
                f"{patches.shape[1]}: name the CLIP that this encoder was taken from"
            )
        weight = self.visual_projection.weight
        length = self.text_model.config.max_position_embeddings
        words = self.tokenizer(text, truncation=True, max_length=length, return_tensors="pt").to(weight.device)
        of_text = self.text_projection(self.text_model(**words).pooler_output)
        of_patches = self.visual_projection(self.post_layernorm(patches.to(weight.dtype)))
        return F.cosine_similarity(of_patches, of_text, dim=-1)


@functools.cache
def text_tower(name: str, device: torch.device, dtype: torch.dtype) -> TextTower:
    """A checkpoint's text tower, read from its safetensors once a process; the vision tower is let go of.

    Args:
        name: folder or hub name of a CLIP checkpoint.
        device: of the weights.
        dtype: of the weights.

    Raises:
        ValueError: nothing there that can be loaded, or no CLIP, or not all of it.
    """
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        if not isinstance(config, CLIPConfig):
            raise ValueError(f"its type is {config.model_type!r}, and both towers of a CLIP are needed")
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        clip, report = CLIPModel.from_pretrained(
            name, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot load CLIP's text tower from {name!r}: {error}") from error
    if report["missing_keys"]:
        raise ValueError(f"the CLIP {name!r} lacks weights: {', '.join(sorted(report['missing_keys']))}")
    parts = (clip.text_model, clip.text_projection, clip.vision_model.post_layernorm, clip.visual_projection)
    return TextTower(name, tokenizer, *(part.to(device) for part in parts))


def question(ids: torch.Tensor, tokenizer: str) -> str:
    """The words of an instruction, without special tokens and what the chat template prints behind a question.

    Args:
        ids: (T,) token ids, up to where the answer starts.
        tokenizer: folder or hub name of the LVLM's own tokenizer. Where it comes without a chat template, words such
            as "ASSISTANT:" stay.

    Raises:
        ValueError: no tokenizer there that can be loaded.
    """
    reader, closing = _reader(tokenizer)
    return reader.decode(ids.tolist(), skip_special_tokens=True).rstrip().removesuffix(closing)


@functools.cache
def _reader(name: str) -> tuple[PreTrainedTokenizerBase, str]:
    """A tokenizer, and what its chat template prints between a question and its answer, without special tokens."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot load a tokenizer from {name!r}: {error}") from error
    ids = tokenizer(_closing(tokenizer), add_special_tokens=False)["input_ids"]
    return tokenizer, tokenizer.decode(ids, skip_special_tokens=True).strip()


def _closing(tokenizer: PreTrainedTokenizerBase) -> str:
    """Templates take a question as a list of parts, or as text; "" where there is none that prints it."""
    for content in ([{"type": "text", "text": _MARK}], _MARK) if tokenizer.chat_template else ():
        messages = [{"role": "user", "content": content}]
        try:
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except (TypeError, TemplateError):
            continue
        if _MARK in text and "'type'" not in text:
            return text.rpartition(_MARK)[2]
    return ""
