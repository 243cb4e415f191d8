"""What commands say of methods that learn where no weights are named."""

from __future__ import annotations

from collections.abc import Iterable

from pinhole.commands.output import Output


def tell_untrained(texts: Iterable[str], output: Output) -> None:
    """Say which of these methods have random weights.

    Args:
        texts: as `parse_specs` reads them.
        output: how to print.

    Raises:
        ValueError: a text that cannot be read.
    """
    from pinhole.evaluation.contender import parse_specs

    specs = [spec for text in texts for spec in parse_specs(text)]
    for name in dict.fromkeys(spec.name for spec in specs if spec.is_untrained):
        output.tell(f"{name} is untrained here, its weights are random: name trained ones, as {name}:FOLDER", "yellow")
