"""What the commands share: options, and how they are read."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from pinhole.budget import Keep, check_keep
from pinhole.completion import among
from pinhole.progress import is_shown
from pinhole.registry import parse_value
from pinhole.scope import Scope

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help='Checkpoint folder, hub name, "embedded" or "embedded-signs".',
        autocompletion=among("embedded", "embedded-signs"),
    ),
]
DtypeOption = Annotated[
    str,
    typer.Option(
        help="auto (the checkpoint's own), float32, bfloat16 or float16.",
        autocompletion=among("auto", "float32", "bfloat16", "float16"),
    ),
]
DeviceOption = Annotated[
    str | None, typer.Option(help="Such as cuda or cpu; a GPU where there is one.", autocompletion=among("cuda", "cpu"))
]
DeviceMapOption = Annotated[
    str | None,
    typer.Option(
        help="Spread the model over devices: auto, balanced or sequential; without --device.",
        autocompletion=among("auto", "balanced", "sequential"),
    ),
]
AttentionOption = Annotated[
    str | None,
    typer.Option(
        help="sdpa, eager, flash_attention_2, flash_attention_3, flex_attention or a kernel's hub name.",
        autocompletion=among("sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"),
    ),
]
QuantizeOption = Annotated[
    str | None,
    typer.Option(help="Load the weights as 4bit or 8bit, with bitsandbytes.", autocompletion=among("4bit", "8bit")),
]
PositionsOption = Annotated[
    str | None,
    typer.Option(
        help="Positions of what remains: compact or original; unset, what suits the model.",
        autocompletion=among("compact", "original"),
    ),
]
VideoScopeOption = Annotated[
    str,
    typer.Option(
        help="Reduce a video as a whole, or every frame on its own (frame).", autocompletion=among("whole", "frame")
    ),
]
SeparatorsOption = Annotated[
    str,
    typer.Option(
        help="The newlines of tiled images: reduce them like others, or keep.", autocompletion=among("reduce", "keep")
    ),
]
MatchOption = Annotated[
    str,
    typer.Option(
        help="keep hands keep to every method; average makes it the mean over the LLM's layers.",
        autocompletion=among("keep", "average"),
    ),
]


def take_config(context: typer.Context, path: Path | None) -> None:
    """Let a file that `pinhole choose` wrote give what the command line does not.

    A command that compares gets its method beside the uncompressed model.

    Raises:
        ValueError: no such file, or it gives what the command has no option for.
    """
    if path is None or context.resilient_parsing:
        return
    from pinhole.choose.choice import read_choice

    given, known = read_choice(path), {parameter.name for parameter in context.command.params}
    if "methods" in known:
        given["methods"] = ["full", given.pop("method")]
        given["keep"] = [str(given["keep"])] if "keep" in given else None
    if lacking := sorted(given.keys() - known):
        raise ValueError(f"{path} gives {', '.join(lacking)}, and `{context.info_name}` has no such option")
    context.default_map = {name: value for name, value in given.items() if value is not None}


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        callback=take_config,
        is_eager=True,
        help="choice.json of pinhole choose: the model, the method and how it is applied, where they are not given.",
    ),
]


OPEN = "pinhole.option"
"""Under what a context notes the option that may have more values."""


class SpreadCommand(TyperCommand):
    """Lets an option that may be repeated take several values at once: `--methods full sample random`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option's name before each of its values, and note the option that may have more."""
        repeatable = {name for param in self.params if getattr(param, "multiple", False) for name in param.opts}
        spread: list[str] = []
        option: str | None = None
        fresh = False
        for arg in args:
            if arg.startswith("--"):
                if option and fresh and not ctx.resilient_parsing:
                    ctx.fail(f"{option} is followed by no value, but by {arg}")
                option = arg if arg in repeatable else None
                fresh = True
            elif option and not fresh:
                spread.append(option)
            else:
                fresh = False
            spread.append(arg)
        ctx.meta[OPEN] = option
        return super().parse_args(ctx, spread)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Complete another value of the option that the words end with, or what other commands complete."""
        open_options = [param for param in self.params if ctx.meta.get(OPEN) in param.opts]
        if open_options and not incomplete.startswith("-"):
            return open_options[0].shell_complete(ctx, incomplete)
        return super().shell_complete(ctx, incomplete)


def parse_keep(text: str) -> Keep:
    """A share such as 0.1 (with a point) or a count such as 64 (without)."""
    try:
        return check_keep(float(text) if "." in text or "e" in text.lower() else int(text))
    except ValueError as error:
        reason = str(error) if "keep" in str(error) else "not a number"
        raise ValueError(f"--keep {text}: {reason}; give a share such as 0.1 or a count such as 64") from error


def parse_settings(texts: list[str]) -> dict[str, Any]:
    """Settings written `name=value`.

    Raises:
        ValueError: one that is not.
    """
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"cannot read {text!r}: settings are written name=value")
        settings[name.strip().replace("-", "_")] = parse_value(value.strip())
    return settings


@dataclass(frozen=True)
class Checkpoint:
    """The options that say which model is loaded, and how."""

    model: ModelOption = "embedded"
    dtype: DtypeOption = "auto"
    device: DeviceOption = None
    device_map: DeviceMapOption = None
    attention: AttentionOption = None
    quantize: QuantizeOption = None

    def load(self, progress: bool = False) -> Any:
        """Model and processor; with `progress`, in a terminal, transformers draws a bar for the weights."""
        import transformers

        from pinhole.loading import load

        if not is_shown(progress):
            transformers.utils.logging.disable_progress_bar()
        return load(
            self.model,
            self.dtype,
            self.device,
            device_map=self.device_map,
            attn_implementation=self.attention,
            quantization=self.quantize,  # type: ignore[arg-type]
        )


@dataclass(frozen=True)
class Reading:
    """The options that say how a method is applied."""

    positions: PositionsOption = None
    video_scope: VideoScopeOption = "whole"
    separators: SeparatorsOption = "reduce"

    def scope(self) -> Scope:
        """These as a `Scope`.

        Raises:
            ValueError: a value that is not allowed.
        """
        return Scope(self.positions, self.video_scope, self.separators)  # type: ignore[arg-type]


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """A command each of whose parameters of a dataclass's type stands for one option a field."""
    parameters = inspect.signature(command, eval_str=True).parameters
    groups: dict[str, Any] = {name: p.annotation for name, p in parameters.items() if is_dataclass(p.annotation)}
    own = [p for name, p in parameters.items() if name not in groups]
    shared = [p for kind in groups.values() for p in inspect.signature(kind, eval_str=True).parameters.values()]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{entry.name: given.pop(entry.name) for entry in fields(kind)})
        command(**given)

    options = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *shared)]
    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    return run
