"""`pinhole demo`."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pinhole.commands.output import Output
from pinhole.commands.untrained import tell_untrained
from pinhole.completion import method_specs
from pinhole.options import Checkpoint, Reading, parse_keep, spread
from pinhole.progress import busy

if TYPE_CHECKING:
    from pinhole.demo.limits import Limits


@dataclass(frozen=True)
class Bounds:
    """The options that say what a visitor may send, and what one may take."""

    max_upload: Annotated[str, typer.Option(help="The largest file that is taken, such as 20MB.")] = "20MB"
    max_megapixels: Annotated[float, typer.Option(help="The largest picture, in millions of pixels.")] = 50.0
    max_question: Annotated[int, typer.Option(help="The longest question, in characters.")] = 500
    max_new_tokens: Annotated[int, typer.Option(help="The longest answer, in tokens.")] = 256
    max_turns: Annotated[int, typer.Option(help="Questions in one conversation; then its KV cache is dropped.")] = 20
    max_conversations: Annotated[int, typer.Option(help="Conversations whose KV caches are held at once.")] = 8
    max_waiting: Annotated[int, typer.Option(help="Requests that wait for the model; more are sent away.")] = 20

    def limits(self) -> Limits:
        """These as `Limits`.

        Raises:
            ValueError: a value that is not allowed.
        """
        from pinhole.demo.limits import Limits, parse_size

        return Limits(
            upload=parse_size(self.max_upload),
            pixels=int(self.max_megapixels * 10**6),
            question=self.max_question,
            answer=self.max_new_tokens,
            turns=self.max_turns,
            conversations=self.max_conversations,
            waiting=self.max_waiting,
        )


@spread
def demo(
    checkpoint: Checkpoint,
    reading: Reading,
    bounds: Bounds,
    output: Output,
    methods: Annotated[
        list[str] | None,
        typer.Option(help="Methods to choose from; unset, all that need no training.", autocompletion=method_specs),
    ] = None,
    compressors: Annotated[
        list[Path] | None, typer.Option(help="Folders: every compressor that was saved there or below can be chosen.")
    ] = None,
    keep: Annotated[str, typer.Option(help="Share of the visual tokens to begin with.")] = "0.1",
    host: Annotated[
        str, typer.Option(help="Address to listen at; this machine alone can reach the default.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 is any that is free.")] = 7860,
    share: Annotated[bool, typer.Option("--share", help="Make the page public, through Gradio's tunnel.")] = False,
    hub: Annotated[
        bool | None,
        typer.Option(
            help="Let visitors load compressors from the hub; unset, where only this machine reaches the page."
        ),
    ] = None,
) -> None:
    """Open a page: a picture, what methods keep of it, and two conversations about it side by side.

    With --json one line says where it is, as soon as it can be opened.
    """
    from pinhole.demo.host import Host
    from pinhole.demo.offers import Offers
    from pinhole.demo.serve import Address, check_gradio, serving, warm_up
    from pinhole.loading import SHIPPED

    check_gradio()
    limits, scope, share_kept = bounds.limits(), reading.scope(), parse_keep(keep)
    address = Address(host, port, share).resolved()
    if not isinstance(share_kept, float):
        raise ValueError(f"--keep {keep}: the page has a slider for shares: give one such as 0.1")
    model, processor = checkpoint.load(output.progress)
    name = Path(checkpoint.model).name if Path(checkpoint.model).is_dir() else checkpoint.model
    there = Host(model, processor, name, scope, limits)
    offers = Offers(there.family, methods, compressors or ())
    tell_untrained(methods or (), output)
    for reason in offers.left_out:
        output.tell(f"left out {reason}", "dim")
    with busy("warming up", output.progress):
        warm_up(there, offers, share_kept)
    hub, draws = address.is_private if hub is None else hub, checkpoint.model in SHIPPED
    for ending in (signal.SIGINT, signal.SIGTERM):  # in the background and under a supervisor too
        signal.signal(ending, signal.default_int_handler)
    with serving(there, offers, address, share_kept, hub, draws) as page:
        urls = [url for url in (page.url, page.public) if url]
        output.give({"url": page.url, "public": page.public}, *(f"open {url}" for url in urls))
        if not address.is_private:
            output.tell("whoever reaches this address can use it: there is no login", "bold")
        output.tell("Ctrl-C stops it", "dim")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            output.tell("stopped")
