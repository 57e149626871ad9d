"""The running service: models, store, index, put together once and held. Loads in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from rag_service.answering.answerer import Answerer
from rag_service.errors import AlreadyReindexing, NotReady, OtherEmbedder, RagError, TooBusy, Watched, counted
from rag_service.indexing.ingest import Library
from rag_service.indexing.jobs import Job, Jobs, Progress
from rag_service.indexing.reindex import reindex
from rag_service.indexing.uploads import UploadWorker
from rag_service.indexing.watch import Watcher
from rag_service.models.engines import ChatGenerator, Embedder, Generator
from rag_service.models.find import DEFAULT_EMBEDDER, pinned
from rag_service.models.load import load_embedder, load_generator
from rag_service.reading import Limits
from rag_service.search.retriever import Retriever
from rag_service.settings import Settings
from rag_service.store.faiss_index import Index
from rag_service.store.protocol import Edition, Store, VectorIndex
from rag_service.store.sqlite import SqliteStore
from rag_service.types import Verdict

log = logging.getLogger(__name__)

T = TypeVar("T")

_SWEEP_SECONDS = 30.0


@contextmanager
def place_in(places: threading.BoundedSemaphore, full: RagError) -> Iterator[None]:
    """Takes one of the places while the block runs. Raises `full` where all are taken."""
    if not places.acquire(blocking=False):
        raise full
    try:
        yield
    finally:
        places.release()


@dataclass(frozen=True)
class Parts:
    """Everything that answering needs, once it is there. `without_generator` says why there is none, if so; `quoting`
    answers without it."""

    embedder: Embedder
    generator: Generator | ChatGenerator | None
    without_generator: str | None
    library: Library
    answerer: Answerer
    quoting: Answerer
    index: VectorIndex

    @property
    def sent_to(self) -> str | None:
        """The host that questions and passages are sent to, if they are."""
        return self.generator.sent_to if isinstance(self.generator, ChatGenerator) else None


def open_store(settings: Settings) -> Store:
    """The store of the settings. Raises StoreAway, StoreDamaged, StoreTooNew."""
    if settings.store is None:
        return SqliteStore(settings.store_path)
    settings.data_dir.mkdir(parents=True, exist_ok=True)  # for uploads and indexes
    from rag_service.store.postgres import PostgresStore  # its driver takes memory that the others need not spend

    return PostgresStore(settings.store, settings.store_password_file)


class Service:
    """The store at once, the models when they are loaded."""

    def __init__(self, settings: Settings) -> None:
        """Raises StoreAway, StoreDamaged, StoreTooNew."""
        self.settings = settings
        self.store = open_store(settings)
        self.jobs = Jobs(self.store.board)
        self.watcher: Watcher | None = None
        self.uploads: UploadWorker | None = None
        self.keeps_uploads = False  # until they are added, by whichever replica
        self._parts: dict[str, Parts] = {}  # by the embedder's identity: while documents are reindexed there are two
        self._failure: RagError | None = None
        self.loaded = threading.Event()  # set when loading has ended, well or not
        self.needs_reindex: str | None = None  # why, where the passages are not as the settings want them
        self._replacing = threading.Lock()
        self._waiting = threading.BoundedSemaphore(settings.max_waiting)
        self._closing = threading.Event()
        self.on_verdict: Callable[[Verdict], None] = lambda _: None  # called for each file that was to be added

    def start(self, lasting: bool = True) -> None:
        """Loads the models in the background; `parts` raises NotReady until then. Then also follows the watched folder,
        if one is set, adds the uploads that wait, where it is `lasting`, and deletes what nothing needs any more."""
        threading.Thread(target=self._load_and_keep, name="load-models", daemon=True).start()
        threading.Thread(target=self._sweep, name="sweep", daemon=True).start()
        if self.settings.watched is not None:
            folder, collection = self.settings.watched
            self.watcher = Watcher(
                folder, collection, self.store, lambda: self.parts().library, self.jobs, self.settings.max_file_bytes
            )
            self.watcher.start(self.loaded)
        if lasting and self.store.board is not None:
            self.keeps_uploads = True
            if self.settings.work:
                self.uploads = UploadWorker(self.store.board, self.jobs, lambda: self.parts().library)
                self.uploads.start(self.loaded)

    def load(self) -> Parts:
        """Loads the models now. Raises ModelUnavailable, UnfitModel, OtherEmbedder. If the settings name another
        embedder than that of the stored vectors, the stored one keeps serving until the documents are reindexed, if it
        can still be found."""
        embedder = load_embedder(self.settings)
        stored = self.store.edition()
        self.needs_reindex = self._why_reindex(stored, embedder)
        if stored is not None and stored.embedder != embedder.identity:
            refused = OtherEmbedder(stored.embedder, embedder.identity)
            del embedder
            embedder = self._stored_embedder(stored, refused)
        if self.needs_reindex:
            log.warning(self.needs_reindex)
        generator, without = load_generator(self.settings)
        library = self.library_over(self.store, embedder)
        parts = self._put_together(embedder, generator, without, library)
        self._parts = {embedder.identity: parts}
        counts = (f"{count} documents in {name}" for name, count in self.store.collections().items())
        log.info("ready: %s", ", ".join(counts) or "no document yet")
        return parts

    def start_reindex(self) -> Progress:
        """Begins `reindex` in the background. Raises AlreadyReindexing, TooManyJobs."""
        with self.store.alone("reindex") as alone:
            if not alone:
                raise AlreadyReindexing
        return self.jobs.start("reindex", self.reindex)

    def reindex(self, job: Job) -> None:
        """Makes all passages again with the embedder and the passage size of the settings; the old ones answer until it
        has ended.

        Raises AlreadyReindexing, ModelUnavailable.
        """
        with self.store.alone("reindex") as alone:
            if not alone:
                raise AlreadyReindexing
            embedder, serving = load_embedder(self.settings), next(iter(self._parts.values()), None)
            library = serving.library if serving else self.library_over(self.store, embedder)
            if embedder.identity in self._parts:
                embedder = self._parts[embedder.identity].embedder  # in memory once
            library.use_also(embedder)
            if serving is not None and embedder.identity not in self._parts:
                parts = self._put_together(embedder, serving.generator, serving.without_generator, library)
                self._parts = {**self._parts, embedder.identity: parts}
            wanted = self._wanted(embedder)
            reindex(self.store, library, wanted, job)
            library.use_only(embedder, wanted)
            self._forget_all_but(embedder)

    def parts(self) -> Parts:
        """The parts that the stored passages go with. Raises NotReady, or what kept them from loading."""
        known = self._parts
        if not known:
            raise self._failure or NotReady("The models are still loading.")
        stored = self.store.edition()
        if stored is None:
            return next(iter(known.values()))
        if stored.embedder in known:
            return known[stored.embedder]
        with self._replacing:  # another process has reindexed the documents
            if self._parts is known:
                self._parts = {}
                threading.Thread(target=self._load_and_keep, name="load-models", daemon=True).start()
        raise NotReady("Another process has reindexed the documents; its embedder is being loaded.")

    @property
    def ready(self) -> bool:
        """Whether `parts` returns any."""
        try:
            self.parts()
        except RagError:
            return False
        return True

    def work(self, on: Callable[[Parts], T]) -> T:
        """Does a question's work in a place among those that are worked on. Raises TooBusy where all are taken,
        NotReady, and what the work raises."""
        parts = self.parts()
        with place_in(self._waiting, TooBusy(counted(self.settings.max_waiting, "question"))):
            try:
                return on(parts)
            except OtherEmbedder:  # at this very moment another edition began to answer
                return on(self.parts())

    def refuse_watched(self, collection: str) -> None:
        """Raises Watched where the collection follows a folder: what is changed in it here would come again."""
        watched = self.settings.watched
        if watched is not None and watched[1] == collection:
            raise Watched(collection, str(watched[0]))

    def close(self) -> None:
        self._closing.set()
        if self.uploads is not None:
            self.uploads.close()
        if self.watcher is not None:
            self.watcher.close()
        for parts in self._parts.values():
            parts.index.close()
        self.store.close()

    def library_over(self, store: Store, embedder: Embedder, **cut: Any) -> Library:
        """Adds files to this store, by the settings; `cut` are fields of the edition that they are not to decide."""
        wanted = replace(self._wanted(embedder), **cut)
        limits, kept = self.limits(), self.settings.max_original_bytes
        counted_by = (lambda verdict: self.on_verdict(verdict)) if store is self.store else None
        return Library(store, embedder, limits, wanted, kept, counted_by)

    def answerer_over(self, store: Store) -> Answerer:
        """Answers from another store with the models that are loaded. Raises NotReady."""
        parts = self.parts()
        retriever = Retriever(Index(store, parts.embedder.dimension), store)
        return Answerer(parts.embedder, parts.generator, retriever, store, self.settings.threshold)

    def limits(self) -> Limits:
        """What one file may take."""
        settings = self.settings
        return Limits(
            settings.max_file_bytes, settings.load_seconds, settings.load_bytes, settings.max_text_bytes, settings.html
        )

    def _wanted(self, embedder: Embedder) -> Edition:
        settings = self.settings
        found = pinned(settings.embedder or DEFAULT_EMBEDDER)
        return Edition(embedder.identity, found, settings.chunk_tokens, settings.overlap_tokens)

    def _why_reindex(self, stored: Edition | None, embedder: Embedder) -> str | None:
        if stored is None:
            return None
        if stored.embedder != embedder.identity:
            refused = OtherEmbedder(stored.embedder, embedder.identity)
            return f"{refused.detail} {refused.hint}"
        cut, wanted = (stored.chunk_tokens, stored.overlap_tokens), self._wanted(embedder)
        if cut != (wanted.chunk_tokens, wanted.overlap_tokens):
            return (
                f"The passages have at most {cut[0]} tokens and repeat {cut[1]}; the settings say "
                f"{wanted.chunk_tokens} and {wanted.overlap_tokens}. To cut them again, run "
                "`python -m rag_service reindex`, or POST /reindex."
            )
        return None

    def _put_together(
        self, embedder: Embedder, generator: Generator | ChatGenerator | None, without: str | None, library: Library
    ) -> Parts:
        index = self._index(embedder.dimension)
        retriever = Retriever(index, self.store)
        answerer, quoting = (
            Answerer(embedder, one, retriever, self.store, self.settings.threshold) for one in (generator, None)
        )
        return Parts(embedder, generator, without, library, answerer, quoting, index)

    def _index(self, dimension: int) -> VectorIndex:
        if self.settings.search == "memory":
            return Index(self.store, dimension, self.settings.data_dir / "index")
        from rag_service.store.postgres import PostgresStore
        from rag_service.store.postgres_index import PostgresIndex

        assert isinstance(self.store, PostgresStore)  # the settings see to it
        return PostgresIndex(self.store.database, dimension)

    def _stored_embedder(self, stored: Edition, refused: OtherEmbedder) -> Embedder:
        """The embedder that made the stored vectors. Raises `refused` if it no longer exists."""
        name, commit = stored.found
        by = stored.embedder.partition(":")[0]
        how = {"engine": "torch"} if by == "torch" else {"engine": "ctranslate2", "compute": by}
        name = name or DEFAULT_EMBEDDER
        before = {"embedder": f"{name}@{commit}" if commit and not Path(name).is_dir() else name, **how}
        try:
            embedder = load_embedder(self.settings.model_copy(update=before))
        except (RagError, OSError, ValueError):
            raise refused from None
        if embedder.identity != stored.embedder:
            raise refused
        return embedder

    def _forget_all_but(self, embedder: Embedder) -> None:
        """Answers with this embedder alone; a request that has begun ends with the one that it began with."""
        self.needs_reindex = None
        self._parts = {identity: parts for identity, parts in self._parts.items() if identity == embedder.identity}
        if self._failure is not None:  # with the old vectors the service could not start; now it can
            self._failure = None
            threading.Thread(target=self._load_and_keep, name="load-models", daemon=True).start()

    def _load_and_keep(self) -> None:
        try:
            self.load()
        except RagError as error:
            self._failure = error
            log.error("%s %s", error.detail, error.hint)
        except Exception as error:  # a thread's error would otherwise be lost, and /readyz wait for ever
            self._failure = NotReady(f"The models could not be loaded ({type(error).__name__}).", "See the log.")
            log.exception("the models could not be loaded")
        finally:
            self.loaded.set()

    def _sweep(self) -> None:
        wait = 1.0
        while not self._closing.wait(wait):
            try:
                wait = 0.1 if self.store.sweep() else _SWEEP_SECONDS
            except Exception:  # such as a full disk: it is tried again
                log.exception("old passages could not be deleted")
                wait = _SWEEP_SECONDS
