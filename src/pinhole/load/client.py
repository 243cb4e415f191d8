"""One request of an OpenAI-compatible server: its answer streamed and timed, its error told, never sent twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pinhole.load.messages import Message

try:
    import openai
except ImportError as missing:
    raise ImportError("asking a server needs the openai package: pip install 'pinhole-vlm[load]'") from missing

OK = 200
NO_ANSWER = 0
"""The status of a request that no whole answer and no HTTP error came back for."""


@dataclass(frozen=True)
class Answers:
    """What answers are asked for.

    Attributes:
        tokens: at most.
        fixed_length: exactly `tokens`, whatever the model says (`ignore_eos`, which vLLM and SGLang know).
        timeout_s: after which a request is given up.
    """

    tokens: int = 16
    fixed_length: bool = True
    timeout_s: float = 120.0


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
        status: HTTP's, 200 for a whole answer; 0 where there was neither an answer nor an HTTP error.
        reason: why there is no whole answer.
        text: the answer, as far as it came.
        ttft_s: seconds up to the first token's text.
        seconds: up to the end.
        prompt_tokens: as the server counts them, visual tokens that it kept included.
        cached_tokens: those of them that it found in its prefix cache, where it tells.
        output_tokens: of the answer.
    """

    status: int
    reason: str | None
    text: str
    ttft_s: float | None
    seconds: float
    prompt_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None


@dataclass
class _Heard:
    """What a stream has told so far."""

    text: str = ""
    ttft_s: float | None = None
    ended: bool = False
    usage: Any = None

    def take(self, chunk: Any, after_s: float) -> None:
        """One event of the stream."""
        self.usage = chunk.usage or self.usage
        for choice in chunk.choices:
            self.text += choice.delta.content or ""
            self.ended = self.ended or choice.finish_reason is not None
            if self.ttft_s is None and (self.text or self.ended):
                self.ttft_s = after_s

    def reply(self, status: int, reason: str | None, seconds: float) -> Reply:
        """All of it."""
        if status == OK and not self.ended:
            status, reason = NO_ANSWER, "the stream ended before the answer did"
        usage = self.usage
        details = usage.prompt_tokens_details if usage else None
        return Reply(
            status,
            reason,
            self.text,
            self.ttft_s,
            seconds,
            usage.prompt_tokens if usage else None,
            details.cached_tokens if details else None,
            usage.completion_tokens if usage else None,
        )


class Client:
    """Asks one server; `connected` makes it."""

    def __init__(self, api: openai.AsyncOpenAI, model: str, answers: Answers) -> None:
        self._api = api
        self.model = model
        self._answers = answers

    async def ask(self, messages: list[Message]) -> Reply:
        """Greedy answer to one request. What goes wrong is in the reply."""
        heard, begun = _Heard(), time.perf_counter()
        status, reason = OK, None
        try:
            async with asyncio.timeout(self._answers.timeout_s), await self._stream(messages) as stream:
                async for chunk in stream:
                    heard.take(chunk, time.perf_counter() - begun)
        except TimeoutError:
            status, reason = NO_ANSWER, f"no whole answer within {self._answers.timeout_s:g} s"
        except openai.APIStatusError as error:
            status, reason = error.status_code, _reason(error)
        except openai.APIError as error:
            status, reason = NO_ANSWER, _reason(error)
        except ValueError as error:
            status, reason = NO_ANSWER, f"the stream cannot be read: {error}"
        return heard.reply(status, reason, time.perf_counter() - begun)

    async def _stream(self, messages: list[Message]) -> Any:
        return await self._api.chat.completions.create(  # type: ignore[call-overload]
            model=self.model,
            messages=messages,
            max_tokens=self._answers.tokens,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"ignore_eos": True} if self._answers.fixed_length else None,
        )


@asynccontextmanager
async def connected(url: str, answers: Answers) -> AsyncIterator[Client]:
    """A client of the first model that a server offers.

    Proxies, keys and redirections are passed by: a load goes where it was sent, with no credentials.

    Args:
        url: the server's root, without /v1.
        answers: what is asked of it.

    Raises:
        ValueError: no such server answers there.
    """
    http = openai.DefaultAsyncHttpxClient(trust_env=False, follow_redirects=False, timeout=answers.timeout_s)
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, http_client=http) as api:
        try:
            offered = (await api.models.list()).data
        except (openai.APIError, ValueError) as error:
            raise ValueError(f"no OpenAI-compatible server answers at {url}: {_reason(error)}") from error
        if not offered:
            raise ValueError(f"the server at {url} offers no model")
        yield Client(api, offered[0].id, answers)


def _reason(error: Exception) -> str:
    """The server's own words where there are any, on one line."""
    body = getattr(error, "body", None)
    told = body.get("message") if isinstance(body, dict) else None
    return " ".join(str(error if told is None else told).split())
