"""vLLM in a process of its own: answers prompts for the process that started it, and ends with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from pinhole.data import Dialogue


class Said(NamedTuple):
    """An answer.

    Attributes:
        ids: its tokens, with that which ended it.
        prompt: tokens that the LLM read of the prompt, visual ones that remain included.
        is_cut: the context was full.
    """

    ids: list[int]
    prompt: int
    is_cut: bool


class Worker:
    """One engine of vLLM, and the images and videos of the dialogues that it holds.

    Args:
        model: checkpoint folder or hub name.
        options: of `vllm.LLM`.
    """

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        from vllm import LLM

        self._llm = LLM(model, **options)
        self._media: list[dict[str, list[Any]]] = []

    def show(self, dialogues: list[Dialogue], frames: int | None) -> None:
        """Load what the prompts to come are about.

        Raises:
            ValueError: an image or a video that cannot be used.
        """
        self._media = [_media(dialogue, frames) for dialogue in dialogues]

    def ask(self, prompts: list[list[int]], sampling: dict[str, Any]) -> list[Said]:
        """An answer to each of the dialogues that were shown.

        Args:
            prompts: ids, with one placeholder for each image and video.
            sampling: parameters of vLLM.
        """
        from vllm import SamplingParams

        requests = [
            {"prompt_token_ids": ids, "multi_modal_data": media}
            for ids, media in zip(prompts, self._media, strict=True)
        ]
        said = []
        for answer in self._llm.generate(requests, SamplingParams(**sampling), use_tqdm=False):
            [output] = answer.outputs
            is_cut = output.finish_reason == "length" and len(output.token_ids) < sampling["max_tokens"]
            said.append(Said(list(output.token_ids), len(answer.prompt_token_ids), is_cut))
        return said

    def stop(self) -> None:
        """Free what vLLM holds, its own processes included."""
        self._llm.llm_engine.engine_core.shutdown()


def _media(dialogue: Dialogue, frames: int | None) -> dict[str, list[Any]]:
    """As vLLM takes them; the frames of a video were chosen when it was loaded."""
    films = [
        (video.frames, {**asdict(video.metadata), "do_sample_frames": False}) for video in dialogue.load_videos(frames)
    ]
    return {name: items for name, items in (("image", dialogue.load_images()), ("video", films)) if items}


def work(connection: Connection, model: str, options: dict[str, Any]) -> None:
    """Start an engine and call its methods, until it is told to stop.

    A message is a method's name and its arguments, or None at the end. The answer is True and what the method returned,
    or False and what went wrong; so is the first message, once the engine has started.
    """
    os.setsid()  # what vLLM starts can be ended with this process, and Ctrl-C is for the one that started it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    try:
        worker = Worker(model, options)
    except Exception as error:
        connection.send((False, _told(error)))
        return
    connection.send((True, None))
    while call := _next(connection):
        name, arguments = call
        try:
            connection.send((True, getattr(worker, name)(*arguments)))
        except Exception as error:
            connection.send((False, _told(error)))
    worker.stop()


def _next(connection: Connection) -> tuple[str, tuple[Any, ...]] | None:
    try:
        return connection.recv()
    except EOFError:  # the other process was killed
        _end_all()
        raise


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__


def _end_with_parent() -> None:
    """Where the parent is killed while vLLM is at work: no engine outlives it, nor what that holds of a GPU."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    _end_all()


def _end_all() -> None:
    """End this process and all that vLLM started."""
    os.killpg(0, signal.SIGKILL)
