"""What an encoder tells about its patches, without eager attention and without keeping a map of it.

A method names the cues it reads in `needs`; they come in `VisualTokens.cues`. Attention is float32, nothing has
gradients. The cues of a model's encoder, at the layer whose output the projector reads:

- `cls_attention` (n,): attention from the [CLS] token of the tile to each patch, a softmax over all tokens of the tile,
  mean over heads.
- `cls_attention_joint` (n,): the same with all heads as one, scaled by (heads * head_dim)^-1/2: LLaVA-PruMerge's.
- `received_attention` (n,): attention that each patch receives from the tokens of its tile (of its image, frame or
  window where the encoder reads no tiles), mean over these tokens and heads.
- `encoder_keys` (n, heads, head_dim): key vectors, as the attention kernel gets them.
- `encoder_output` (n, c): the layer's output, which is what the projector reads, before any norm that follows.

Under the same name with `+1` behind, where there is one: at the layer after. Where several patches become one visual
token, its cue is made of theirs as its feature is, or is their mean where a learned layer makes the feature. Newlines
have zeros. A [CLS] token that the LLM reads as a visual token has its own. The prompt's cues are in
`pinhole.families.first_layer`.
"""

from __future__ import annotations

import contextlib
import copy
import math
import sys
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NEXT = "+1"
OUTPUT = "encoder_output"
_WEIGHTS_AT_ONCE = 2**24


@dataclass(frozen=True, eq=False)
class Call:
    """What one call of an attention function is given.

    Attributes:
        query: (B, heads, T, width).
        key: (B, heads, n, width), or fewer heads that divide the query's.
        scaling: of the scores.
        window: how many keys, its own the last, each query of a causal layer sees; None for all.
    """

    query: torch.Tensor
    key: torch.Tensor
    scaling: float
    window: int | None = None

    def weights(self, visible: torch.Tensor | None = None) -> torch.Tensor:
        """Weights (B, heads, T, n) in float32, computed as eager attention does.

        Args:
            visible: (T, n), which keys each query sees; None for all.
        """
        by_key = self.query.unflatten(1, (self.key.shape[1], -1))
        scores = (by_key @ self.key[:, :, None].transpose(-1, -2)).flatten(1, 2).mul_(self.scaling)
        if visible is not None:
            scores.masked_fill_(~visible, -torch.inf)
        return scores.softmax(-1, dtype=torch.float32)

    def cls_attention(self) -> torch.Tensor:
        """(B, n)."""
        return Call(self.query[:, :, :1], self.key, self.scaling).weights().mean(1)[:, 0]

    def cls_attention_joint(self) -> torch.Tensor:
        """(B, n)."""
        query, key = (heads.transpose(1, 2).flatten(2)[:, None] for heads in (self.query[:, :, :1], self.key))
        return Call(query, key, key.shape[-1] ** -0.5).weights()[:, 0, 0]

    def received_attention(self) -> torch.Tensor:
        """(B, n); a few queries at a time, so that it takes little memory."""
        rows = max(1, _WEIGHTS_AT_ONCE // (self.query.shape[0] * self.query.shape[1] * self.key.shape[2]))
        parts = [Call(part, self.key, self.scaling).weights().mean(1).sum(1) for part in self.query.split(rows, 2)]
        return torch.stack(parts).sum(0) / self.query.shape[2]

    def encoder_keys(self) -> torch.Tensor:
        """(B, n, heads, width)."""
        return self.key.transpose(1, 2)


_CUES: dict[str, Callable[[Call], torch.Tensor]] = {
    "cls_attention": Call.cls_attention,
    "cls_attention_joint": Call.cls_attention_joint,
    "received_attention": Call.received_attention,
    "encoder_keys": Call.encoder_keys,
}


@dataclass(frozen=True)
class Encoder:
    """A vision encoder, as far as cues need to know it.

    Attributes:
        layers: its layers, each of which gives the states of all tokens, (B, T, c) or (N, c).
        layer: the number of the one whose output the projector reads.
        attention: what a layer calls its attention module.
        class_token: whether each tile starts with a [CLS] token.
        dropped: how many tokens at the start of each tile become no visual tokens.
    """

    layers: Sequence[torch.nn.Module]
    layer: int
    attention: str = "self_attn"
    class_token: bool = False
    dropped: int = 0

    @property
    def attentions(self) -> list[torch.nn.Module]:
        """The attention modules, layer by layer."""
        return [getattr(layer, self.attention) for layer in self.layers]

    @property
    def cues(self) -> frozenset[str]:
        """The cues there are."""
        kinds = {name for name in (*_CUES, OUTPUT) if self.class_token or not name.startswith("cls")}
        has_next = self.layer + 1 < len(self.layers)
        return frozenset(kinds | {name + NEXT for name in kinds if has_next})


_CLASS_TOKEN = {"clip_vision_model": True, "siglip_vision_model": False}


def tower(config: PretrainedConfig, vision_tower: PreTrainedModel, inputs: dict[str, Any]) -> Encoder | None:
    """The encoder of a LLaVA model; None where its attention is not known, or belongs to no single layer."""
    kind = config.vision_config.model_type
    if kind not in _CLASS_TOKEN:
        return None
    return selected(config, vision_tower.encoder.layers, _CLASS_TOKEN[kind], inputs)


def selected(
    config: PretrainedConfig,
    layers: Sequence[torch.nn.Module],
    class_token: bool,
    inputs: dict[str, Any],
    attention: str = "self_attn",
) -> Encoder | None:
    """The encoder of a model with `vision_feature_layer` and `vision_feature_select_strategy`.

    None where the projector reads several layers, or the embeddings.

    Args:
        config: the model's; `inputs` may name others.
        layers: as in `Encoder`.
        class_token: as in `Encoder`.
        inputs: the model's inputs.
        attention: as in `Encoder`.
    """
    given = {
        name: getattr(config, name) if inputs.get(name) is None else inputs[name]
        for name in ("vision_feature_layer", "vision_feature_select_strategy")
    }
    state = given["vision_feature_layer"]
    if not isinstance(state, int):
        return None
    layer = state % (len(layers) + 1) - 1  # the first hidden state is the embeddings
    if layer < 0:
        return None
    dropped = int(given["vision_feature_select_strategy"] == "default")
    return Encoder(layers, layer, attention, class_token, dropped)


@contextlib.contextmanager
def recorded(encoder: Encoder | None, names: Set[str]) -> Iterator[dict[str, list[torch.Tensor]]]:
    """While the block runs the encoder, collect cues of its patches.

    Yields:
        for each name in `names`, one tensor (patches, ...) for each time that the encoder called its attention, or its
        layer: tile by tile, image by image or window by window.

    Raises:
        ValueError: there is no such cue.
    """
    if missing := names - (encoder.cues if encoder else frozenset()):
        raise ValueError(f"this model's encoder does not give {', '.join(sorted(missing))} on these inputs")
    calls: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    with contextlib.ExitStack() as stack:
        for suffix, step in (("", 0), (NEXT, 1)):
            wanted = {name + suffix: cue for name, cue in _CUES.items() if name + suffix in names}
            if encoder and wanted:
                note = _collector(wanted, encoder.dropped, calls)
                stack.enter_context(watched(encoder.attentions[encoder.layer + step], note))
            if encoder and OUTPUT + suffix in names:
                hook = _output_collector(encoder.dropped, calls[OUTPUT + suffix])
                stack.callback(encoder.layers[encoder.layer + step].register_forward_hook(hook).remove)
        yield calls


def _collector(
    wanted: dict[str, Callable[[Call], torch.Tensor]], dropped: int, calls: dict[str, list[torch.Tensor]]
) -> Callable[[Call], None]:
    def note(call: Call) -> None:
        for name, cue in wanted.items():
            calls[name].append(cue(call)[:, dropped:].flatten(0, 1))

    return note


def _output_collector(dropped: int, outputs: list[torch.Tensor]) -> Callable[..., None]:
    def note(_module: torch.nn.Module, _args: Any, states: torch.Tensor) -> None:
        outputs.append(states.detach()[..., dropped:, :].flatten(0, -2))

    return note


@contextlib.contextmanager
def watched(module: torch.nn.Module, note: Callable[[Call], None]) -> Iterator[None]:
    """Show `note` every call of one attention module, without gradients; it goes on with the kernel that it had."""
    own: Any = module.config
    eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    kernel = ALL_ATTENTION_FUNCTIONS.get_interface(own._attn_implementation, eager)

    def attend(module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        note(Call(query.detach(), key.detach(), kwargs["scaling"], kwargs.get("sliding_window")))
        return kernel(module, query, key, *args, **kwargs)

    with replaced(module, attend):
        yield


@contextlib.contextmanager
def replaced(module: torch.nn.Module, function: Callable[..., Any]) -> Iterator[None]:
    """While the block runs, one attention module calls `function` in its kernel's place, with what the kernel gets.

    All that is changed, and changed back when the block ends, is the implementation that this one module reads from a
    configuration of its own: layers share theirs.
    """
    own: Any = module.config
    name = f"pinhole-{id(module)}"

    def attend(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        module.config = own  # FlashAttention's kernels read their own name from it
        try:
            return function(module, *args, **kwargs)
        finally:
            module.config = redirected

    redirected = copy.copy(own)
    redirected._attn_implementation_internal = name
    ALL_ATTENTION_FUNCTIONS[name] = attend
    module.config = redirected
    try:
        yield
    finally:
        module.config = own
        del ALL_ATTENTION_FUNCTIONS[name]


def averaged(patches: torch.Tensor, tiles: int, side: int) -> torch.Tensor:
    """Means over squares of side * side patches: (tiles * n, c) to (tiles * n / side^2, c), tile by tile, row by row.

    Where the side of a tile is no multiple, the squares at its right and lower edge have fewer patches.
    """
    length = math.isqrt(len(patches) // tiles)
    grid = patches.unflatten(0, (tiles, length, length)).permute(0, 3, 1, 2)
    return F.avg_pool2d(grid, side, ceil_mode=True).permute(0, 2, 3, 1).flatten(0, 2)
