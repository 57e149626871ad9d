"""Asking the programs of the stack: what goes wrong is a StepFailed with a sentence."""

import ssl
from typing import Any

import httpx

from stack.errors import NoAnswer, StepFailed


class Client(httpx.Client):
    """Raises NoAnswer where httpx raises a TransportError."""

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        try:
            return super().send(request, **options)
        except httpx.TransportError as error:
            raise NoAnswer(f"{request.method} {request.url}", type(error).__name__) from error


def client(base_url: str, trust: ssl.SSLContext | bool = True) -> Client:
    """An HTTP client for a program on this machine: proxies of the environment do not apply."""
    return Client(base_url=base_url, timeout=120, trust_env=False, verify=trust)


def content(answer: httpx.Response) -> Any:
    """The answer's JSON. Raises StepFailed with the service's own words when it is an error."""
    if answer.is_success:
        return answer.json()
    try:
        problem = answer.json()
        said = f"{problem.get('title')}: {problem.get('detail')}"
        hint = str(problem.get("hint") or "")
    except (ValueError, AttributeError):
        said, hint = answer.text[:500], ""
    request = answer.request
    raise StepFailed(f"{request.method} {request.url.path} answered {answer.status_code}, {said}", hint)
