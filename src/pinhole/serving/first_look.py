"""`first_layer_attention` of `pinhole.families.first_layer`, from the LLM that vLLM has loaded."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from vllm.distributed import get_tensor_model_parallel_world_size, tensor_model_parallel_all_reduce
from vllm.model_executor.models.llama import LlamaDecoderLayer
from vllm.model_executor.models.qwen2 import Qwen2DecoderLayer

from pinhole.families.cues import Call
from pinhole.families.first_layer import Seen, asking

LAYERS = (LlamaDecoderLayer, Qwen2DecoderLayer)
"""Kinds of decoder layers whose input is the embeddings as they are."""
_WEIGHTS_AT_ONCE = 2**26


@torch.no_grad()
def first_look(
    llm: Any, before: torch.Tensor, x: torch.Tensor, question: torch.Tensor, positions: torch.Tensor
) -> torch.Tensor:
    """(n, T) attention from each token of a question to each visual token, mean over heads, float32.

    Nothing of vLLM's KV cache is read or written, and nothing behind the layer's queries and keys is computed.

    Args:
        llm: vLLM's language model, without its head.
        before: (P,) ids of the prompt in front of the image.
        x: (n, d) its visual tokens.
        question: (T,) ids behind it.
        positions: (P + n + T,) of them all, or (3, P + n + T) for M-RoPE.
    """
    start, words = len(before), llm.embed_input_ids(torch.cat([before, question]).to(x.device))
    hidden = torch.cat([words[:start], x.to(words), words[start:]])
    call, length = _call(llm.layers[0], hidden, positions.to(x.device)), len(hidden)
    instruction = torch.arange(start + len(x), length, device=x.device)
    rows = max(1, _WEIGHTS_AT_ONCE // (call.query.shape[1] * length))
    look = torch.cat([asking(call, part)[start : start + len(x)] for part in instruction.split(rows)], 1)
    processes = get_tensor_model_parallel_world_size()
    return tensor_model_parallel_all_reduce(look) / processes if processes > 1 else look


def _call(layer: Any, hidden: torch.Tensor, positions: torch.Tensor) -> Call:
    """The attention of this process's heads, where it stands."""

    def stop(attention: Any, args: tuple[torch.Tensor, ...]) -> NoReturn:
        query, key = (
            states.view(1, len(hidden), heads, attention.head_size).transpose(1, 2)
            for states, heads in zip(args, (attention.num_heads, attention.num_kv_heads), strict=False)
        )
        raise Seen(Call(query, key, attention.impl.scale, attention.sliding_window))

    hook = layer.self_attn.attn.register_forward_pre_hook(stop)
    try:
        layer(positions, hidden, None)
    except Seen as seen:
        return seen.args[0]
    finally:
        hook.remove()
    raise AssertionError("the LLM's first layer called no attention")


def refuse_question(vllm_config: Any) -> None:
    """Refuse options of vLLM under which a question is not read by the LLM's own first layer.

    Raises:
        ValueError: one is set; the message names it.
    """
    refused = {
        "--enable-lora: adapters of the first layer are not applied to it": vllm_config.lora_config is not None,
        "--pipeline-parallel-size above 1: only the first stage has the layer": (
            vllm_config.parallel_config.pipeline_parallel_size > 1
        ),
        "--mm-encoder-only: there is no LLM": vllm_config.model_config.get_multimodal_config().mm_encoder_only,
    }
    for reason, is_set in refused.items():
        if is_set:
            raise ValueError(f"a method that reads the question cannot be served with {reason}")
