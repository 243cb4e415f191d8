"""What `generate` of transformers does without sampling, as sampling parameters of vLLM."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from pinhole.families.base import Family

NEUTRAL = (None, 0, 1)
"""Values of a generation setting under which it does nothing."""
LACKING = (
    "bad_words_ids",
    "begin_suppress_tokens",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "guidance_scale",
    "min_length",
    "min_new_tokens",
    "no_repeat_ngram_size",
    "sequence_bias",
)
"""Settings of a checkpoint's `generation_config.json` that change greedy answers, and that vLLM is not told."""
_NEVER = -100.0


def check_generation(model: PreTrainedModel) -> None:
    """Refuse a checkpoint whose greedy answers vLLM does not give.

    Raises:
        ValueError: its generation configuration has such a setting; the message names it.
    """
    if given := [name for name in LACKING if getattr(model.generation_config, name, None) not in NEUTRAL]:
        raise ValueError(f"generation_config.json sets {', '.join(given)}, which the vllm engine does not apply")


def greedy(family: Family, limit: int) -> dict[str, Any]:
    """The parameters of one answer.

    An answer ends with the tokens that end it on transformers, which it holds then, and never has a placeholder in it,
    as in a `Session`.

    Args:
        family: of the model, whose generation configuration counts.
        limit: tokens of an answer.
    """
    settings = family.model.generation_config
    ends = settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id]
    banned = {family.token_id(modality) for modality in family.modalities} | {*(settings.suppress_tokens or ())}
    return {
        "temperature": 0.0,
        "max_tokens": limit,
        "ignore_eos": True,
        "stop_token_ids": [end for end in ends if end is not None],
        "logit_bias": dict.fromkeys(sorted(banned), _NEVER),
        "repetition_penalty": settings.repetition_penalty or 1.0,
        "detokenize": False,
    }
