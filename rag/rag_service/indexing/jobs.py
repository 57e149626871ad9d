"""Long work that somebody wants to watch: each job runs in a thread, and its progress can be read at any time."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import TypeAdapter

from rag_service.errors import RagError, TooManyJobs, UnknownJob, counted
from rag_service.store.protocol import JobBoard
from rag_service.types import Verdict

log = logging.getLogger(__name__)

_KEPT = 100  # the last jobs that have ended
_AT_ONCE = 8
# A watched folder may hold any number of files; the newest verdicts are enough to look at.
_VERDICTS = 1000

_POST_SECONDS = 1.0
_LOST_SECONDS = 60.0  # since a replica last said how far a job is

State = Literal["running", "done", "failed", "cancelled"]
Result = dict[str, Any] | None


@dataclass(frozen=True)
class Progress:
    """A job at one moment. `done` of `total` steps; `current` is what it works on, of which `passages` of
    `passages_total` are embedded; `error` says why it failed, `result` what came out where that is more than verdicts.
    """

    job: str
    kind: str
    started_at: str
    state: State = "running"
    done: int = 0
    total: int = 0
    current: str | None = None
    passages: int = 0
    passages_total: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    documents: tuple[Verdict, ...] = ()
    error: str | None = None
    result: Result = None
    ended_at: str | None = None


_PROGRESS = TypeAdapter(Progress)


class Cancelled(Exception):
    """The work ends here; what it had done stays."""


class Postponed(Exception):
    """The work cannot continue here and now; another process takes it up later."""


class Job:
    """What the work reports of itself, step by step."""

    def __init__(self, kind: str = "", before: Progress | None = None) -> None:
        """A new job, or one that goes on from where it was."""
        self._lock = threading.Lock()
        self._progress = before or Progress(secrets.token_hex(8), kind, _now())
        self._verdicts: deque[Verdict] = deque(self._progress.documents, maxlen=_VERDICTS)
        self._counts: Counter[str] = Counter(self._progress.counts)
        self._cancelled = False

    def cancel(self) -> None:
        """Lets the work end at its next step."""
        self._cancelled = True

    def seen(self, with_verdicts: bool = True) -> Progress:
        """How far it is."""
        with self._lock:
            documents = tuple(self._verdicts) if with_verdicts else ()
            return replace(self._progress, counts=dict(self._counts), documents=documents)

    def works_on(self, name: str) -> None:
        """The next step has begun."""
        self._change(current=name, passages=0, passages_total=0)

    def on_passages(self, passages: int, total: int) -> None:
        """How far the step is."""
        self._change(passages=passages, passages_total=total)

    def ends_step(self, verdict: Verdict | None = None) -> None:
        """A step is over, with this verdict if it was a file."""
        with self._lock:
            if verdict is not None:
                self._verdicts.append(verdict)
                self._counts[verdict.verdict] += 1
            self._progress = replace(self._progress, done=self._progress.done + 1, current=None)

    def reaches(self, done: int, total: int) -> None:
        """`done` of `total` steps are over."""
        self._change(done=done, total=total)

    def ends(self, error: str | None = None, result: Result = None) -> None:
        """It is over, well, cancelled or with an error."""
        state: State = "cancelled" if self._cancelled else "failed" if error else "done"
        with self._lock:
            self._progress = replace(
                self._progress, state=state, error=error, result=result, current=None, ended_at=_now()
            )

    def _change(self, **changes: Any) -> None:
        if self._cancelled:
            raise Cancelled
        with self._lock:
            self._progress = replace(self._progress, **changes)


class Jobs:
    """Those that run and the last that ended; with a board, also the other replicas'. Without one, a restart forgets
    them: the store shows what is there."""

    def __init__(self, board: JobBoard | None = None) -> None:
        self._board = board
        self._lock = threading.Lock()
        self._posting = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self.on_end: Callable[[str, State], None] | None = None  # called with the kind of each job, and how it ended

    def start(self, kind: str, work: Callable[[Job], Result]) -> Progress:
        """Runs `work` in a thread of its own; what it returns is the job's result. Raises TooManyJobs."""
        job = self._added(kind)
        threading.Thread(target=self._run, args=(job, work), name=kind, daemon=True).start()
        return job.seen()

    def run(self, kind: str, work: Callable[[Job], Result]) -> Progress:
        """Runs `work` here and comes back when it has ended, well or not. Raises TooManyJobs."""
        job = self._added(kind)
        self._run(job, work)
        return job.seen()

    def upload(
        self, collection: str, metadata: Mapping[str, str] | None, files: Iterable[tuple[str, bytes]], count: int
    ) -> Progress:
        """Stores `count` files in the database for the next free worker of any replica. Raises TooManyJobs."""
        assert self._board is not None
        progress = replace(Job("ingest").seen(), total=count)
        self._board.upload(progress.job, _PROGRESS.dump_json(progress).decode(), collection, metadata, files)
        return progress

    def take(self, work: Callable[[Job], Result]) -> bool:
        """Goes on with an upload that waits; False where none does. Raises Postponed where the work does."""
        assert self._board is not None
        with self._board.take() as progress:
            if progress is None:
                return False
            job = Job(before=_PROGRESS.validate_json(progress))
            with self._lock:
                self._keep(job)
            self._post(job)  # somebody may have cancelled it
            try:
                self._run(job, work)
            except Postponed:
                with self._lock:
                    del self._jobs[job.seen().job]
                raise
        return True

    def find(self, job: str) -> Progress:
        """One job with its verdicts. Raises UnknownJob."""
        with self._lock:
            here = self._jobs.get(job)
        if here is not None:
            return here.seen()
        posts = self._board.posts(job) if self._board else []
        if not posts:
            raise UnknownJob(job)
        return _posted(*posts[0])

    def cancel(self, job: str) -> Progress:
        """Lets a job end at its next step; what it has done so far stays. Raises UnknownJob."""
        progress = self.find(job)
        with self._lock:
            here = self._jobs.get(job)
        if here is not None:
            here.cancel()
        elif self._board is not None:
            self._board.cancel(job)
        return progress

    def all(self) -> list[Progress]:
        """Every known job without its verdicts, the newest first."""
        with self._lock:
            here = [job.seen(False) for job in reversed(self._jobs.values())]
        if self._board is None:
            return here
        known = {one.job for one in here}
        others = [replace(_posted(*post), documents=()) for post in self._board.posts()]
        everywhere = here + [one for one in others if one.job not in known]
        return sorted(everywhere, key=lambda one: one.started_at, reverse=True)

    def post(self, job: Job) -> None:
        """Says on the board how far the job is, and cancels it where somebody wants that."""
        assert self._board is not None
        with self._posting:  # what is said last is how it ended
            progress = job.seen()
            over = progress.done if progress.state == "running" else progress.total
            if self._board.post(progress.job, _PROGRESS.dump_json(progress).decode(), over):
                job.cancel()

    def _added(self, kind: str) -> Job:
        job = Job(kind)
        with self._lock:
            if sum(one.seen(False).state == "running" for one in self._jobs.values()) >= _AT_ONCE:
                raise TooManyJobs(counted(_AT_ONCE, "job"))
            self._keep(job)
        self._post(job)
        return job

    def _keep(self, job: Job) -> None:
        ended = [key for key, one in self._jobs.items() if one.seen(False).state != "running"]
        for key in ended[: max(0, len(ended) - _KEPT + 1)]:
            del self._jobs[key]
        self._jobs[job.seen().job] = job

    def _run(self, job: Job, work: Callable[[Job], Result]) -> None:
        ended = threading.Event()
        if self._board is not None:
            threading.Thread(target=self._keep_posting, args=(job, ended), name="post-job", daemon=True).start()
        try:
            _run(job, work)
        finally:
            ended.set()
        if self.on_end is not None:
            progress = job.seen(False)
            self.on_end(progress.kind, progress.state)
        self._post(job)

    def _keep_posting(self, job: Job, ended: threading.Event) -> None:
        while not ended.wait(_POST_SECONDS):
            self._post(job)

    def _post(self, job: Job) -> None:
        if self._board is None:
            return
        try:
            self.post(job)
        except RagError as error:  # the work itself goes on, or says so
            log.warning("a job could not be posted: %s", error.detail)


def _posted(progress: str, seconds_ago: float) -> Progress:
    """What another replica said, which may have been killed since."""
    found = _PROGRESS.validate_json(progress)
    if found.state != "running" or seconds_ago < _LOST_SECONDS:
        return found
    return replace(found, state="failed", error="The replica that worked on it has ended. What it had done stays.")


def _run(job: Job, work: Callable[[Job], Result]) -> None:
    try:
        job.ends(result=work(job))
    except Cancelled:
        job.ends()
    except Postponed:
        raise
    except RagError as error:
        job.ends(f"{error.detail} {error.hint}".strip())
    except Exception as error:  # a thread's error would otherwise be lost, and the job run for ever
        log.exception("a job broke")
        job.ends(f"The work broke ({type(error).__name__}). The service's log has the details.")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
