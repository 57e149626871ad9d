"""Checks a model in a separate process before the service loads it: a model that hangs or crashes the process is
refused.

ONNX Runtime itself refuses most damaged graphs (of 6,000 none crashed it), but a graph can also compute without end or
fill the memory, and a thread cannot stop either.
"""

import asyncio
import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

from onnx import TensorProto, helper
from pydantic import BaseModel

from prediction_api.errors import ModelRefused, NoRoomForModel, SandboxKilled, UnsafeGraph
from prediction_api.models.predictor import Predictor
from prediction_api.models.sessions import open_session

SECONDS = 60.0
_BYTES_OF_ITS_OWN = 256_000_000  # the interpreter and the libraries, before the model
_STARTED = b"started\n"  # the process writes this before it looks at the model


class Verdict(BaseModel):
    """What the process writes. `refused` is the error's stable name; empty where the model passed.

    `resident`: bytes of memory that the model takes once it is loaded.
    """

    refused: str = ""
    detail: str = ""
    resident: int = 0


async def try_out(content: bytes, most_bytes: int) -> int:
    """Loads the model and replays its golden rows in another process; returns the bytes that it needs once it is
    loaded. Raises the ModelRefused that occurred there, NoRoomForModel if loading needs more than `most_bytes`, and
    SandboxKilled, which does not judge the model."""
    # No secret goes along. numpy starts a thread for each core by default, and none of them is needed here.
    environment = {"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[2]), "HOME": "/nonexistent"}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "GLIBC_TUNABLES": "glibc.malloc.arena_max=1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __spec__.name, str(most_bytes),
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
    if process.returncode == -signal.SIGKILL:
        raise SandboxKilled("the process that checked it was killed from outside (SIGKILL)")
    if not answer.startswith(_STARTED):
        raise SandboxKilled(f"the process that checks it did not start: {_ending(process.returncode or 0)}")
    if process.returncode:
        raise UnsafeGraph(f"it ended the separate process that loaded it: {_ending(process.returncode)}")
    verdict = Verdict.model_validate_json(answer.splitlines()[-1])
    if verdict.refused:
        raise next(kind for kind in ModelRefused.__subclasses__() if kind.code() == verdict.refused)(verdict.detail)
    return verdict.resident


def resident_bytes() -> int:
    """Of this process."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:  # macOS: the most that it ever was, in bytes there
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def release_memory() -> None:
    """Returns freed memory to the system. glibc keeps it for itself: after a few swaps as much as three models take."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def main() -> int:
    """Reads a model from standard input; writes the verdict as the last line of standard output."""
    sys.stdout.buffer.write(_STARTED)
    sys.stdout.buffer.flush()
    content, most = sys.stdin.buffer.read(), int(sys.argv[1])
    limit = _BYTES_OF_ITS_OWN + most
    allowed = resource.getrlimit(resource.RLIMIT_DATA)[1]  # nobody may go beyond
    limit = limit if allowed == resource.RLIM_INFINITY else min(limit, allowed)
    with suppress(ValueError):  # macOS refuses this limit: there the memory is measured and not held
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # if memory runs out, this process goes and not the service; not every system has that
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    try:
        _warm_up()
        before = resident_bytes()
        loaded = Predictor.from_bytes(content)
        release_memory()
        verdict = Verdict(resident=max(0, resident_bytes() - before))
        del loaded
    except MemoryError:
        verdict = _too_large(most)
    except ModelRefused as refused:
        # how ONNX Runtime reports that an allocation failed
        full = any(sign in refused.detail for sign in ("bad_alloc", "bfc_arena"))
        verdict = _too_large(most) if full else Verdict(refused=refused.code(), detail=refused.detail)
    print("\n" + verdict.model_dump_json())  # noqa: T201  # ONNX's parser may have written to it too
    return 0


def _warm_up() -> None:
    """The first session in a process loads the libraries, which the service has already and no model takes again."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "warm-up", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    open_session(model.SerializeToString())


def _too_large(most: int) -> Verdict:
    detail = f"loading it takes more than the {most // 1_000_000} MB for models (API_MODELS_MB)"
    return Verdict(refused=NoRoomForModel.code(), detail=detail)


if __name__ == "__main__":
    sys.exit(main())
