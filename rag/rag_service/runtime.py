"""The running service: models, store, index, put together once and held. Loads in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rag_service.answering import Answerer
from rag_service.engines import Embedder, Generator
from rag_service.engines.folders import embedder_folder, find_folder
from rag_service.errors import ModelUnavailable, NotReady, RagError, TooBusy
from rag_service.index import Index
from rag_service.ingestion import Library
from rag_service.jobs import Jobs
from rag_service.loaders import Limits
from rag_service.retrieval import Retriever
from rag_service.settings import Settings
from rag_service.snapshots import Snapshots
from rag_service.store import Store

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
        self._parts: Parts | None = None
        self._failure: RagError | None = None
        self.loaded = threading.Event()  # set when loading has ended, well or not
        self._waiting = threading.BoundedSemaphore(settings.max_waiting)

    def start(self) -> None:
        """Loads the models in the background; `parts` raises NotReady until then."""
        threading.Thread(target=self._load_and_keep, name="load-models", daemon=True).start()

    def load(self) -> Parts:
        """Loads the models now. Raises ModelUnavailable, OtherEmbedder."""
        settings = self.settings
        from rag_service.engines.torch_engine import TorchEmbedder

        folder = embedder_folder(
            settings.embedder, settings.embedder_revision, settings.models_dir, settings.hub_seconds
        )
        log.info("embedder: %s (%s)", folder.name, folder.origin)
        embedder = TorchEmbedder(folder)
        self.store.check_embedder(embedder.identity)
        generator, without = load_generator(settings)
        index = Index(self.store, embedder.dimension)
        limits = Limits(settings.max_file_bytes, settings.load_seconds, settings.load_bytes, settings.max_text_bytes)
        self._parts = Parts(
            embedder=embedder,
            generator=generator,
            without_generator=without,
            library=Library(self.store, embedder, limits, settings.chunk_tokens, settings.overlap_tokens),
            answerer=Answerer(embedder, generator, Retriever(index, self.store), self.store, settings.threshold),
            index=index,
        )
        log.info("ready: %d passages", index.size())
        return self._parts

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
        parts = self.parts()
        if not self._waiting.acquire(blocking=False):
            raise TooBusy(self.settings.max_waiting)
        try:
            yield parts
        finally:
            self._waiting.release()

    def close(self) -> None:
        self.store.close()

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


def load_generator(settings: Settings) -> tuple[Generator | None, str | None]:
    """The generator, or None and the reason: the service then answers by quotation."""
    if settings.generator.lower() == "none":
        log.info("generator: none, as set; answers are quotations")
        return None, "RAG_GENERATOR is none."
    try:
        folder = find_folder(
            settings.generator,
            settings.generator_revision,
            settings.models_dir,
            settings.hub_seconds,
            "RAG_GENERATOR",
        )
    except ModelUnavailable as error:
        log.warning("generator: none; answers are quotations. %s %s", error.detail, error.hint)
        return None, f"{error.detail} {error.hint}"
    from rag_service.engines.torch_engine import TorchGenerator

    log.info("generator: %s (%s)", folder.name, folder.origin)
    return TorchGenerator(folder, settings.answer_tokens), None
