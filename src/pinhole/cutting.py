"""Lets visual tokens leave between the decoder layers of a model; with compression.py the only code that hooks one."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
from transformers import StaticCache

from pinhole.adapter_folders import adapter_of
from pinhole.families.base import Family
from pinhole.families.cues import watched
from pinhole.forward_pass import Pass
from pinhole.kept import Kept, mask_of, set_state
from pinhole.layer_method import LayerMethod
from pinhole.reduction import Reduction


class Cutting:
    """A layer method at work on a model, while it is attached.

    What the layers hold of a conversation travels with its KV cache; nothing stays here between two passes.

    Attributes:
        reductions: what was decided in front of each cut for each image of the latest pass with images.
    """

    def __init__(self, family: Family, method: LayerMethod) -> None:
        self._family, self._method = family, method
        self._model = family.language_model
        self._cuts = method.cuts(len(self._model.layers))
        self._adapter = adapter_of(family, method.adapter) if method.adapter else None
        self._pass: Pass | None = None
        self._is_mine = False
        self._meanwhile = contextlib.ExitStack()
        self.reductions: dict[int, list[Reduction]] = {}

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Hook the LLM's layers while the block runs. A pass is cut only after `begin`."""
        handles = [
            self._model.layers[number].register_forward_pre_hook(
                functools.partial(self._before_layer, number), with_kwargs=True
            )
            for number in range(self._cuts[0], len(self._model.layers))
        ]
        handles += [
            self._model.register_forward_pre_hook(self._before_llm, with_kwargs=True),
            self._model.register_forward_hook(self._after_llm, with_kwargs=True, always_call=True),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._meanwhile.close()
            self._pass, self._is_mine = None, False

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """While the block runs, every pass of the model is cut; features are given as `Family.decided` makes them."""

        def before(_module: torch.nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
            self.begin(kwargs)
            features = kwargs.get("mm_encoder_outputs")
            return args, {**kwargs, "mm_encoder_outputs": self._family.ready(features)} if features else kwargs

        handle = self._family.model.register_forward_pre_hook(before, with_kwargs=True)
        try:
            with self.attached():
                yield
        finally:
            handle.remove()

    def begin(self, inputs: dict[str, Any] | None) -> None:
        """Note what the next pass of the model reads.

        Args:
            inputs: of `forward`, images already reduced to `mm_encoder_outputs` in `Family.decided`'s form; None where
                the method has no part in that pass.
        """
        self._pass = None if inputs is None else Pass.of(self._family, inputs)
        self._is_mine = inputs is not None

    def _before_llm(self, module: torch.nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self._meanwhile.close()  # where the pass before was interrupted
        run = self._pass
        if self._adapter and self._is_mine:
            self._meanwhile.enter_context(self._adapter.on())
        if run is None or not run.units:
            return
        run.first = kwargs["inputs_embeds"]
        self.reductions = {}
        if self._method.watches:
            for cut in self._cuts:
                attention = self._model.layers[cut - 1].self_attn
                self._meanwhile.enter_context(watched(attention, functools.partial(run.calls.__setitem__, cut)))

    def _before_layer(
        self, number: int, module: torch.nn.Module, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]] | None:
        run = self._pass
        if run is None:
            return None
        cut = max(layer for layer in self._cuts if layer <= number)
        hidden = args[0] if args else kwargs["hidden_states"]
        kwargs = {name: value for name, value in kwargs.items() if name != "hidden_states"}
        if number == cut and run.units:
            hidden = self._cut(run, cut, hidden, kwargs)
        kept = run.state.get(cut)
        if kept is None:
            return None
        if run.is_cut:
            kwargs |= self._family.cut_inputs(kwargs, run.flat, run.total)
            kwargs["position_ids"] = None  # FlashAttention would take jumps in them for other sequences
        if run.is_cut or self._method.positions == "compact":
            kwargs["position_embeddings"] = self._embeddings(run, cut, kept, hidden, kwargs["position_embeddings"])
        kwargs["attention_mask"] = self._mask(run, cut, kept, hidden, kwargs.get("attention_mask"))
        return (hidden, *args[1:]), kwargs

    def _cut(self, run: Pass, cut: int, hidden: torch.Tensor, kwargs: dict[str, Any]) -> torch.Tensor:
        """The hidden states that go on; the pass and the cache learn what the layers hold from here."""
        cache = kwargs.get("past_key_values")
        if isinstance(cache, StaticCache):
            raise ValueError(
                f"{self._method.name} lets tokens leave between layers, and a static cache has one length for all: "
                "use a dynamic one"
            )
        hidden, self.reductions[cut] = run.cut(self._family, self._method, cut, hidden, kwargs)
        run.calls.pop(cut, None)  # its queries and keys would lie there to the end of the pass
        if cache is not None:
            set_state(cache, run.state, self)
        return hidden

    def _embeddings(
        self, run: Pass, cut: int, kept: Kept, hidden: torch.Tensor, given: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotary embeddings of this pass's tokens, the same for all layers up to the next cut."""
        if cut not in run.embeddings:
            run.embeddings[cut] = (
                self._family.rotary(hidden, self._numbered(run, kept, hidden))
                if self._method.positions == "compact"
                else run.gathered(given)
            )
        return run.embeddings[cut]

    def _numbered(self, run: Pass, kept: Kept, hidden: torch.Tensor) -> torch.Tensor:
        """(B, q): position ids of this pass's tokens among those that the layer holds."""
        keys = kept.all_columns(run.length)
        real = run.is_real(keys)
        return (real.long().cumsum(-1) - 1).clamp_min(0)[:, -hidden.shape[1] :]

    def _mask(
        self, run: Pass, cut: int, kept: Kept, hidden: torch.Tensor, given: torch.Tensor | None
    ) -> torch.Tensor | None:
        keys, queries = kept.held(run.length), hidden.shape[1]
        attention = self._family.model.config.get_text_config(decoder=True)._attn_implementation
        if given is None and kept.even and ("flash" in attention or queries in (1, keys)):
            return None
        if cut not in run.masks:
            columns = kept.all_columns(run.length)
            run.masks[cut] = mask_of(columns, run.valid, run.columns, attention, hidden.dtype)
        return run.masks[cut]

    def _after_llm(self, module: torch.nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        """Zeros where tokens left, so that the output has a place for every token of the prompt."""
        self._meanwhile.close()
        run, self._pass, self._is_mine = self._pass, None, False
        if run is not None and run.is_cut and output is not None:
            output.last_hidden_state = run.spread(output.last_hidden_state)
