"""Tries a model in a process of its own before the service loads it: what hangs or kills that process is refused.

ONNX Runtime refuses most of what is wrong with a graph by itself (of 6,000 damaged files none killed it), but a graph
can also compute for ever or fill the memory, and neither can be stopped in a thread.
"""

import asyncio
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel

from prediction_api.errors import ModelRefused, UnsafeGraph
from prediction_api.models.predictor import Predictor

SECONDS = 60.0
_BYTES = 1_500_000_000  # of data; besides what the file itself takes, a few times over
_COPIES = 8  # of the file's content, as message, graph and session


class Verdict(BaseModel):
    """What the process writes. `refused` is the error's stable name; empty where the model passed."""

    refused: str = ""
    detail: str = ""


async def try_out(content: bytes) -> None:
    """Loads the model and replays its golden rows elsewhere. Raises the ModelRefused that happened there."""
    # No secret goes along. numpy starts a thread per core unless told otherwise, and uses none of them here.
    environment = {"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[2]), "HOME": "/nonexistent"}
    environment["OPENBLAS_NUM_THREADS"] = "1"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __spec__.name,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env=environment,
    )  # fmt: skip
    try:
        async with asyncio.timeout(SECONDS):
            answer, _ = await process.communicate(content)
    except TimeoutError:
        raise UnsafeGraph(f"loading it and predicting its golden rows did not end within {SECONDS:g} s") from None
    finally:  # a stop of the service too
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise UnsafeGraph(f"loading it in a process of its own ended that process: {_ending(process.returncode)}")
    verdict = Verdict.model_validate_json(answer.splitlines()[-1])
    if verdict.refused:
        raise next(kind for kind in ModelRefused.__subclasses__() if kind.code() == verdict.refused)(verdict.detail)


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def main() -> int:
    """Reads a model from standard input; writes the verdict as the last line of standard output."""
    content = sys.stdin.buffer.read()
    most = _BYTES + _COPIES * len(content)
    allowed = resource.getrlimit(resource.RLIMIT_DATA)[1]  # nobody may go beyond; where it is less, less it is
    most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # if memory runs out, then this one goes; not every system has that
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    try:
        Predictor.from_bytes(content)
        verdict = Verdict()
    except ModelRefused as refused:
        verdict = Verdict(refused=refused.code(), detail=refused.detail)
    print("\n" + verdict.model_dump_json())  # noqa: T201  # ONNX's parser may have written to it too
    return 0


if __name__ == "__main__":
    sys.exit(main())
