"""Starts the page on this machine."""

from __future__ import annotations

import importlib.util
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from pinhole.demo.conversation import Conversation
from pinhole.demo.desk import Desk
from pinhole.demo.examples import scenes
from pinhole.demo.host import Host
from pinhole.demo.offers import Offers
from pinhole.demo.visitors import KNOWN
from pinhole.load.servers import is_loopback
from pinhole.view.look import UNASKED


@dataclass(frozen=True)
class Address:
    """Where the page is reached.

    Attributes:
        host: that is bound; loopback is this machine alone.
        port: 0 is any that is free.
        share: whether Gradio's tunnel makes the page public.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    share: bool = False

    @property
    def is_private(self) -> bool:
        """Whether it is reached from this machine alone."""
        return is_loopback(self.host) and not self.share

    def resolved(self) -> Address:
        """The same with the port that is meant.

        Raises:
            ValueError: it cannot be had.
        """
        if not 0 <= self.port < 2**16:
            raise ValueError(f"a port is a number up to {2**16 - 1}, got {self.port}")
        try:
            with socket.create_server((self.host, self.port)) as server:
                return replace(self, port=server.getsockname()[1])
        except OSError as error:
            raise ValueError(
                f"cannot listen at port {self.port} of {self.host} ({error}): give another --port (0 is any that is "
                "free) or --host"
            ) from error


@dataclass(frozen=True)
class Serving:
    """A page that can be opened.

    Attributes:
        url: on this machine.
        public: where `share` made it public; None elsewhere.
        desk: what answers.
    """

    url: str
    public: str | None
    desk: Desk


def check_gradio() -> None:
    """Refuse to go on without Gradio.

    Raises:
        ImportError: it is missing; the message says what to install.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ImportError("the demo needs Gradio: pip install 'pinhole-vlm[demo]'")


@contextmanager
def serving(
    host: Host, offers: Offers, address: Address, keep: float, hub: bool, draws: bool = False
) -> Iterator[Serving]:
    """The page, open as long as the block runs. What visitors send is in a folder that goes with it.

    Args:
        host: the model.
        offers: the methods.
        address: where, with a port that is free.
        keep: share of the visual tokens to begin with.
        hub: whether visitors may have learned weights loaded from the hub.
        draws: whether there are scenes of the embedded world to choose from.
    """
    with tempfile.TemporaryDirectory(prefix="pinhole-demo-") as folder:
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(Path(folder) / "sent")}
        import gradio as gr

        from pinhole.demo.layout import CSS, Start, lay_out, theme
        from pinhole.demo.wiring import wire

        examples = scenes(Path(folder)) if draws else []
        start, desk = Start(host.name, offers.labels, keep, examples, hub), Desk(host, offers, bool(examples))
        with gr.Blocks(title=f"Pinhole: {host.name}", analytics_enabled=False, delete_cache=(600, 3600)) as page:
            wire(page, lay_out(start, host.limits), desk, start)
        page.queue(max_size=host.limits.waiting, default_concurrency_limit=1)
        _, url, public = page.launch(
            server_name=address.host,
            server_port=address.port,
            share=address.share,
            max_file_size=host.limits.upload,
            state_session_capacity=KNOWN,
            theme=theme(),
            css_paths=CSS,
            prevent_thread_lock=True,
            quiet=True,
            inbrowser=False,
            ssr_mode=False,
            enable_monitoring=False,
            mcp_server=False,
            run_history=False,
            footer_links=[],
        )
        try:
            yield Serving(url, public, desk)
        finally:
            page.close(verbose=False)


def warm_up(host: Host, offers: Offers, keep: float) -> None:
    """Ask about a grey picture: a model that cannot answer is found out, and the first visitor waits no longer."""
    conversation = Conversation(host, Image.new("RGB", (336, 336), "grey"), offers.plan(offers.labels[0], keep))
    for _ in conversation.ask(UNASKED):
        conversation.stop.set()
