"""The running service: models, store, index, put together once and held. Loads in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from rag_service.answering import Answerer
from rag_service.engines import Embedder, Generator
from rag_service.errors import ModelUnavailable, NotReady, OtherEmbedder, RagError, TooBusy, UnfitModel
from rag_service.index import Index
from rag_service.ingestion import Library
from rag_service.jobs import Job, Jobs, Progress
from rag_service.loaders import Limits
from rag_service.models import load_embedder, load_generator
from rag_service.reindexing import Gate, only_one, reindex
from rag_service.retrieval import Retriever
from rag_service.settings import Settings
from rag_service.snapshots import Snapshots
from rag_service.store import Store
from rag_service.watching import Watcher

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """Everything that answering needs, once it is there. `without_generator` says why there is none, if so."""

    embedder: Embedder
    generator: Generator | None
    without_generator: str | None
    library: Library
    answerer: Answerer
    index: Index


class Runtime:
    """The store at once, the models when they are loaded."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.store_path)
        self.snapshots = Snapshots(self.store, settings.data_dir / "snapshots")
        self.jobs = Jobs()
        self.watcher: Watcher | None = None
        self._parts: Parts | None = None
        self._failure: RagError | None = None
        self.loaded = threading.Event()  # set when loading has ended, well or not
        self.needs_reindex: str | None = None  # why, where the stored vectors are not the wanted embedder's
        self._replacing = threading.Lock()
        self._gate = Gate()
        self._waiting = threading.BoundedSemaphore(settings.max_waiting)

    def start(self) -> None:
        """Loads the models in the background; `parts` raises NotReady until then."""
        threading.Thread(target=self._load_and_keep, name="load-models", daemon=True).start()

    def watch(self) -> None:
        """Follows the watched folder, if one is set, once the models are loaded."""
        if self.settings.watched is not None:
            folder, collection = self.settings.watched
            self.watcher = Watcher(
                folder, collection, self.store, lambda: self.parts().library, self.jobs, self.settings.max_file_bytes
            )
            self.watcher.start(self.loaded)

    def load(self) -> Parts:
        """Loads the models now. Raises ModelUnavailable, UnfitModel, OtherEmbedder.

        Where the settings name another embedder than the one that made the stored vectors, that one goes on serving
        until the documents are reindexed, if it can still be found.
        """
        settings = self.settings
        embedder = load_embedder(settings)
        try:
            self.store.check_embedder(embedder.identity)
            self.store.tell_embedder(embedder.identity, settings.embedder, settings.embedder_revision)
            self.needs_reindex = None
        except OtherEmbedder as error:
            del embedder
            embedder = self._stored_embedder(error)
            self.needs_reindex = f"{error.detail} {error.hint}"
            log.warning("answering with the stored embedder. %s", self.needs_reindex)
        generator, without = load_generator(settings)
        library = self.library_over(self.store, embedder)
        self._parts = self._put_together(embedder, generator, without, library)
        log.info("ready: %d passages", self._parts.index.size())
        return self._parts

    def start_reindex(self) -> Progress:
        """Begins `reindex` in the background. Raises AlreadyReindexing, TooManyJobs."""
        with only_one(self.settings.data_dir):
            pass
        return self.jobs.start("reindex", self.reindex)

    def reindex(self, job: Job) -> None:
        """Makes all vectors anew with the embedder of the settings; the old ones answer until it has ended.

        Raises AlreadyReindexing, ModelUnavailable.
        """
        data_dir, serving = self.settings.data_dir, self._parts
        beside = data_dir / "reindexed.db"
        with only_one(data_dir):
            embedder = serving.embedder if serving and not self.needs_reindex else load_embedder(self.settings)
            reindex(
                self.store,
                beside,
                lambda store: self.library_over(store, embedder),
                lambda generation: self._take(beside, generation, embedder),
                job,
            )

    def parts(self) -> Parts:
        """The loaded parts. Raises NotReady, or what kept them from loading."""
        if self._parts is not None:
            return self._parts
        if self._failure is not None:
            raise self._failure
        raise NotReady("The models are still loading.")

    @contextmanager
    def place(self) -> Iterator[Parts]:
        """A place among the questions that are worked on. Raises TooBusy where all are taken, and NotReady."""
        self.parts()
        if not self._waiting.acquire(blocking=False):
            raise TooBusy(self.settings.max_waiting)
        try:
            with self._gate.passing():
                yield self._checked(self.parts())
        finally:
            self._waiting.release()

    def _checked(self, parts: Parts) -> Parts:
        """The parts, if their embedder made the stored vectors. Another process may have put other ones in place, or a
        snapshot: then what these need is loaded, and NotReady raised until it is there."""
        try:
            self.store.check_embedder(parts.embedder.identity)
        except OtherEmbedder as error:
            with self._replacing:
                if self._parts is parts:
                    self._parts = None
                    self.start()
            raise NotReady(f"Loading the embedder of the stored vectors. {error.detail}") from error
        return parts

    def close(self) -> None:
        if self.watcher is not None:
            self.watcher.close()
        if self._parts is not None:
            self._parts.index.close()
        self.store.close()

    def _put_together(
        self, embedder: Embedder, generator: Generator | None, without: str | None, library: Library
    ) -> Parts:
        index = Index(self.store, embedder.dimension, self.settings.data_dir / "index")
        return Parts(
            embedder=embedder,
            generator=generator,
            without_generator=without,
            library=library,
            answerer=Answerer(embedder, generator, Retriever(index, self.store), self.store, self.settings.threshold),
            index=index,
        )

    def library_over(self, store: Store, embedder: Embedder) -> Library:
        """Adds files to this store, by the settings."""
        settings = self.settings
        limits = Limits(settings.max_file_bytes, settings.load_seconds, settings.load_bytes, settings.max_text_bytes)
        return Library(store, embedder, limits, settings.chunk_tokens, settings.overlap_tokens)

    def _stored_embedder(self, error: OtherEmbedder) -> Embedder:
        """The embedder that made the stored vectors. Raises `error` where it cannot be had any more."""
        stored = self.store.embedder()
        if stored is None or stored.found is None:
            raise error
        name, revision = stored.found
        before = {"embedder": name, "embedder_revision": revision, "compute": stored.identity.partition(":")[0]}
        try:
            embedder = load_embedder(self.settings.model_copy(update=before))
        except (ModelUnavailable, UnfitModel, OSError, ValueError):
            raise error from None
        if embedder.identity != stored.identity:
            raise error
        return embedder

    def _take(self, beside: Path, generation: int, embedder: Embedder) -> bool:
        """Puts the new vectors and their embedder in place, between two questions; False where the store is no longer
        what the new vectors were made from."""
        settings, parts = self.settings, self._parts
        # The library first: a file that is being read may take half a minute, and questions shall not wait for it.
        with parts.library.paused() if parts else nullcontext(), self._gate.closed():
            if not self.store.take_over(beside, generation):
                return False
            self.needs_reindex = None
            if parts is not None:
                parts.library.use(embedder)
                self._parts = self._put_together(embedder, parts.generator, parts.without_generator, parts.library)
        self.store.tell_embedder(embedder.identity, settings.embedder, settings.embedder_revision)
        if self._failure is not None:  # with the old vectors the service could not start; now it can
            self._failure = None
            self.start()
        return True

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
