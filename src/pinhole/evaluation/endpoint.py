"""A chat model behind an OpenAI-compatible address."""

from __future__ import annotations

import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_LONGEST = 60.0
_PASSING = {408, 409, 425, 429}
"""HTTP codes below 500 after which the same request may go through."""

Message = dict[str, str]


class _PassingError(Exception):
    """What may not happen again; `wait` is the seconds that the server asked for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class Endpoint:
    """Where chat completions come from.

    Attributes:
        url: up to `/chat/completions`, such as `https://api.openai.com/v1` or `http://localhost:8000/v1`.
        model: its name there.
        key: of the service; None where it asks for none.
        options: what else each request says, such as `temperature`.
        attempts: of one request, the waits between them doubling up to a minute.
        wait: seconds before the second attempt.
        timeout: seconds of one attempt.
    """

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    options: Mapping[str, Any] = field(default_factory=lambda: {"temperature": 0})
    attempts: int = 6
    wait: float = 1.0
    timeout: float = 120.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"an endpoint's address starts with http:// or https://, got {self.url!r}")

    def complete(self, messages: list[Message]) -> str:
        """The model's reply; empty where it declines to say anything.

        Raises:
            ConnectionError: every attempt failed: no connection, an overloaded service, or no reply in what it sent.
            ValueError: the service refuses the request; another attempt would change nothing.
        """
        for attempt in range(self.attempts):
            try:
                return self._ask(messages)
            except _PassingError as error:
                reason, asked_for = str(error), error.wait
            if attempt + 1 < self.attempts:
                pause = min(_LONGEST, max(asked_for, self.wait * 2**attempt))
                time.sleep(pause * random.uniform(0.75, 1.25))
        raise ConnectionError(f"{self.url} did not answer in {self.attempts} attempts, at last: {reason}")

    def _ask(self, messages: list[Message]) -> str:
        body = json.dumps({"model": self.model, "messages": messages, **self.options}).encode()
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(f"{self.url.rstrip('/')}/chat/completions", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                content = response.read()
        except urllib.error.HTTPError as error:
            with error:
                told = error.read().decode(errors="replace")[:300]
            if error.code < 500 and error.code not in _PASSING:
                raise ValueError(f"{self.url} refuses the request ({error.code}): {told}") from error
            raise _PassingError(f"{error.code} {told}", _seconds(error.headers.get("Retry-After"))) from error
        except OSError as error:  # no connection, a broken one, or a timeout
            raise _PassingError(str(error)) from error
        try:
            reply = json.loads(content)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise _PassingError(f"no chat completion: {content[:300]!r}") from error
        return reply if isinstance(reply, str) else ""


def _seconds(header: str | None) -> float:
    return float(header) if header and header.isdigit() else 0.0
