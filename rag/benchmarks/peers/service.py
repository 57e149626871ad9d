"""What every peer's program answers to over HTTP: it takes passages, then questions about them."""

from collections.abc import Callable

from fastapi import FastAPI
from pydantic import BaseModel


class Passages(BaseModel):
    passages: list[str]


class Question(BaseModel):
    question: str
    top_k: int


def service(hold: Callable[[list[str]], int], answer: Callable[[str, int], dict]) -> FastAPI:
    """`hold` embeds passages in place of those before and gives how many it holds; `answer` takes question and top_k,
    and gives the `answer` with its `answer_tokens`.
    """
    app = FastAPI()

    @app.get("/readyz")
    def readyz() -> dict:
        return {}

    @app.post("/passages")
    def passages(body: Passages) -> dict:
        return {"passages": hold(body.passages)}

    @app.post("/ask")
    def ask(body: Question) -> dict:
        return answer(body.question, body.top_k)

    return app
