"""`with compress(model, method):` - the only code that hooks a model."""

from __future__ import annotations

import contextlib
import functools
import inspect
import weakref
from typing import Any, Self, Unpack

import torch
from transformers import PreTrainedModel

from pinhole.cutting import Cutting
from pinhole.decide import check_plan, check_scope
from pinhole.devices import input_device
from pinhole.families import family_of
from pinhole.kept import owner_of
from pinhole.last_logits import last_logits
from pinhole.plan import Methods, Plan
from pinhole.reduction import Reduction
from pinhole.scope import Scope, ScopeOptions
from pinhole.shrink import shrink

_attached: weakref.WeakSet[PreTrainedModel] = weakref.WeakSet()


class Compression:
    """A method attached to a model: until `remove()`, or the end of the `with` block, images cost fewer tokens.

    Attributes:
        reductions: what was decided at the LLM's input for each image or video of the latest call.
    """

    def __init__(self, model: PreTrainedModel, plan: Plan, scope: Scope) -> None:
        family, method = family_of(model), plan.entry
        check_plan(plan, family)
        check_scope(scope, family)
        if model in _attached:
            raise ValueError("this model is already compressed: remove() the first compression before adding another")
        if isinstance(method, torch.nn.Module):
            method.to(input_device(model))
        self.reductions: list[Reduction] = []
        self._family, self._plan, self._scope = family, plan, scope
        self._model = model
        self._cutting = Cutting(family, plan.layer) if plan.layer else None
        self._is_generating = False
        self._hooks = contextlib.ExitStack()
        self._own_generate = model.__dict__.get("generate")
        self._generate = model.generate
        self._hooks.callback(model.register_forward_pre_hook(self._before_forward, with_kwargs=True).remove)
        if self._cutting:
            self._hooks.enter_context(self._cutting.attached())

        @functools.wraps(self._generate)
        def generate(
            inputs: torch.Tensor | None = None, generation_config: Any = None, *args: Any, **kwargs: Any
        ) -> Any:
            return self._shrunk_generate(inputs, generation_config, *args, **kwargs)

        model.generate = generate
        _attached.add(model)

    def remove(self) -> None:
        """Make the model what it was before. Calling it again does nothing."""
        if self._model not in _attached:
            return
        _attached.discard(self._model)
        self._hooks.close()
        if self._own_generate is None:
            del self._model.__dict__["generate"]
        else:
            self._model.generate = self._own_generate

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    @property
    def layer_reductions(self) -> dict[int, list[Reduction]]:
        """What was decided in front of each layer for each image or video of the latest call that had some."""
        return self._cutting.reductions if self._cutting else {}

    def _shrink(self, inputs: dict[str, Any]) -> dict[str, Any]:
        shrunk = shrink(self._family, inputs, self._plan.entry, self._scope)
        self.reductions = shrunk.reductions
        return shrunk.inputs

    def _before_forward(
        self, model: torch.nn.Module, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]]:
        if args:
            kwargs = {**dict(zip(inspect.signature(model.forward).parameters, args, strict=False)), **kwargs}
        is_mine = self._is_generating or owner_of(kwargs.get("past_key_values")) is self._cutting is not None
        if self._family.has_pixels(kwargs):
            kwargs, is_mine = self._shrink(kwargs), True
            self._family.remember(kwargs.get("position_ids"), kwargs["attention_mask"])
        if self._cutting:
            self._cutting.begin(kwargs if is_mine else None)
        if is_mine and kwargs.get("mm_encoder_outputs"):
            kwargs["mm_encoder_outputs"] = self._family.ready(kwargs["mm_encoder_outputs"])
        return (), kwargs

    def _shrunk_generate(self, inputs: torch.Tensor | None, config: Any, *args: Any, **kwargs: Any) -> Any:
        """`generate` with shrunk inputs; what it returns starts with the prompt as it was given."""
        if inputs is not None:
            kwargs["input_ids"] = inputs
        if not self._family.has_pixels(kwargs):
            return self._generate(None, config, *args, **kwargs)
        cache = kwargs.get("past_key_values")
        if cache is not None and cache.get_seq_length():
            raise ValueError(
                "the KV cache holds a compressed conversation, whose length differs from these input_ids: "
                "continue conversations through pinhole.Chat"
            )
        with torch.no_grad():
            shrunk = self._shrink(kwargs)
        prompt = kwargs["input_ids"]
        length = shrunk["input_ids"].shape[1]
        for limit in ("max_length", "min_length"):
            given = kwargs.get(limit, getattr(config, limit, None))
            if given:
                shrunk[limit] = given - (prompt.shape[1] - length)
        if self._cutting and (kwargs.get("prefill_chunk_size") or getattr(config, "prefill_chunk_size", None)):
            raise ValueError(
                "a prompt cannot be read in chunks while tokens leave between layers: leave prefill_chunk_size out"
            )
        self._is_generating = True
        try:
            output = self._generate(None, config, *args, **{**last_logits(self._model), **shrunk})
        finally:
            self._is_generating = False

        def with_prompt(ids: torch.Tensor) -> torch.Tensor:
            copies = prompt.repeat_interleave(len(ids) // len(prompt), 0).to(ids.device)
            return torch.cat([copies, ids[:, length:]], 1)

        if isinstance(output, torch.Tensor):
            return with_prompt(output)
        output.sequences = with_prompt(output.sequences)
        return output


def compress(model: PreTrainedModel, method: Methods, **scope: Unpack[ScopeOptions]) -> Compression:
    """Let `model` read its images and videos through `method`, in `forward` and in `generate`.

    Use it as a block, `with pinhole.compress(model, pinhole.Sample(keep=0.1)): ...`, or keep the handle it returns and
    call `remove()`. Prompts without images run as always. `forward` returns logits of the shrunk length and shrinks
    `labels` along; `generate` returns the prompt as given, then the answer. Tokens that leave inside the LLM keep a
    place in the logits, of no meaning.

    Args:
        model: a loaded LVLM of a supported family.
        method: what decides: one method, or `[at_the_input, inside_the_llm]`.
        scope: `positions`, `video` and `separators`, as `pinhole.Scope` explains them.

    Raises:
        ValueError: the family is not supported, lacks a cue, has another width than a learned method, or the model is
            already compressed.
    """
    return Compression(model, Plan.of(method), Scope(**scope))
