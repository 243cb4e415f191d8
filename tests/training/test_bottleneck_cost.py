"""What ADSC saves: a step of its training, and a prompt of LLaVA-1.5-7B, computed and measured."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    CLIPVisionConfig,
    DynamicCache,
    LlamaConfig,
    LlamaModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

import tiny
from pinhole import ADSC, compress
from pinhole.budget import Budget, LLMShape
from pinhole.data import read_dialogues
from pinhole.registry import MethodSpec
from pinhole.training.bottleneck import Bottleneck
from pinhole.training.recipe import Step, Task
from pinhole.training.settings import TrainSettings

LAST = Step(5, 5)
LLAVA = LLMShape(
    layers=32, width=4096, heads=32, kv_heads=32, head_width=128, mlp_width=11008, vocabulary=32064, bytes_per_value=2
)


@contextlib.contextmanager
def eager(model):
    """FlopCounterMode does not see the CPU's fused attention kernel."""
    before = model.config.get_text_config(decoder=True)._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def test_training_costs_the_share_of_flops_that_is_reported(embedded, scenes):
    """Forward and backward pass of the LLM, measured; the report counts the forward pass from the budget."""
    model, processor = embedded
    spec = MethodSpec.parse("adsc:schedule={1:0.5,2:0.25}")
    task = Task(model, processor, spec, read_dialogues(scenes)[:4], TrainSettings(), {"length": 1.0})
    recipe, flops = Bottleneck(task), {}
    part = recipe.read([0], LAST)
    with torch.no_grad():
        features, _ = recipe._family.encode(part.content[1])
    recipe._family.encode = lambda inputs, needs: (features, set())
    with eager(model):
        for step in (Step(1, 5), LAST):
            with FlopCounterMode(display=False) as counter:
                recipe.sums(part, step)["answers"].backward()
            flops[step.number] = counter.get_total_flops()
    reported = recipe.described()["llm_flops_to_uncompressed"]
    assert flops[5] / flops[1] == pytest.approx(reported, rel=0.05)
    assert reported < 0.65


def tokens_in_layers(layers: int, side: int, text: int) -> list[int]:
    """What each layer of a narrow LLaVA reads of `side`^2 visual tokens and some text under the default schedule."""
    vision = CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=4 * side,
        patch_size=4,
    )
    llm = LlamaConfig(
        vocab_size=256, hidden_size=8, intermediate_size=8, num_hidden_layers=layers, num_attention_heads=2
    )
    config = LlavaConfig(vision_config=vision, text_config=llm, image_token_index=tiny.IMAGE)
    model = LlavaForConditionalGeneration(config).eval()
    model.generation_config.pad_token_id = tiny.PAD
    ids = torch.tensor([[1] * (text // 2) + [tiny.IMAGE] * side**2 + [1] * (text // 2)])
    seen: list[int] = []
    for layer in model.model.language_model.layers:
        layer.register_forward_hook(lambda _, args, out: seen.append(out.shape[1]))
    with torch.no_grad(), compress(model, ADSC()):
        model(input_ids=ids, pixel_values=torch.zeros(1, 3, 4 * side, 4 * side))
    return seen


def prefill_of_llava_7b(lengths: list[int]) -> tuple[int, int]:
    """FLOPs and bytes of keys and values of an LLM of LLaVA-1.5-7B's sizes whose layers read so many tokens each.

    It is on the meta device: every operation is there and nothing is computed.
    """
    config = LlamaConfig(
        vocab_size=32064,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        attn_implementation="eager",
    )
    with torch.device("meta"), torch.no_grad():
        llm, head = LlamaModel(config).half(), torch.nn.Linear(4096, 32064, bias=False).half()
        cache, hidden = DynamicCache(config=config), torch.zeros(1, lengths[0], 4096).half()
        rotary = [torch.zeros(1, lengths[0], 128).half() for _ in range(2)]
        with FlopCounterMode(display=False) as counter:
            for layer, length in zip(llm.layers, lengths, strict=True):
                mask = torch.zeros(1, 1, length, length).half()
                embeddings = tuple(values[:, :length] for values in rotary)
                hidden = layer(
                    hidden[:, :length], attention_mask=mask, position_embeddings=embeddings, past_key_values=cache
                )
            head(hidden[:, -1:])
    return counter.get_total_flops(), sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)


def test_the_default_saves_llava_7b_what_the_paper_reports_computed_and_measured():
    """576 visual and 64 text tokens: FLOPs -53.7 % and KV cache -56.7 % in the paper.

    How many tokens each layer reads is measured on a narrow LLaVA of 32 layers, what that costs on 7B's own sizes.
    """
    lengths = tokens_in_layers(layers=32, side=24, text=64)
    costs = []
    for read, budget in ((lengths, ADSC().budget(576, 576, 32)), ([640] * 32, Budget.constant(576, 576, 32))):
        flops, kv = prefill_of_llava_7b(read)
        assert flops == pytest.approx(budget.prefill_flops(LLAVA, text=64), rel=1e-3)
        assert kv == budget.kv_bytes(LLAVA, text=64)
        costs.append((flops, kv))
    assert 1 - costs[0][0] / costs[1][0] > 0.537
    assert 1 - costs[0][1] / costs[1][1] > 0.567
