"""The other side of `engine_worker`: starts the process, talks to it, and sees that it is gone."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from typing import Any

from pinhole.serving.engine_worker import work

PATIENCE = 60
"""Seconds that vLLM has to end by itself."""


class EngineProcess:
    """A process with one engine of vLLM: when it has ended, all memory is free.

    Args:
        model: checkpoint folder or hub name.
        options: of `vllm.LLM`.

    Raises:
        ValueError: vLLM does not start; the message is its own.
    """

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, model, options))
        self._process.start()
        theirs.close()
        try:
            self.receive()
        except BaseException:
            self.stop(at_once=True)
            raise

    def send(self, name: str, *arguments: Any) -> None:
        """Call a method of the `Worker`; `receive` gives what it returns."""
        with contextlib.suppress(BrokenPipeError):  # `receive` says so
            self._connection.send((name, arguments))

    def receive(self) -> Any:
        """What the call that was sent returned.

        Raises:
            ValueError: it failed, or the process has ended.
        """
        try:
            is_done, answer = self._connection.recv()
        except (EOFError, ConnectionResetError) as error:
            self._process.join()
            raise ValueError(
                f"vLLM's process ended with code {self._process.exitcode}; what it said stands above"
            ) from error
        if not is_done:
            raise ValueError(f"vLLM says: {answer}")
        return answer

    def stop(self, at_once: bool = False) -> None:
        """End the process and all that vLLM started.

        Args:
            at_once: do not wait for what it is doing.
        """
        if not at_once:
            with contextlib.suppress(BrokenPipeError):
                self._connection.send(None)
            self._process.join(PATIENCE)
        assert self._process.pid, "a process that has started has a number"
        with contextlib.suppress(ProcessLookupError):  # its group is empty, as it should be
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self._connection.close()
