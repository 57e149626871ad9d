"""The two models that the settings name, found and loaded."""

from __future__ import annotations

import importlib
import logging
from types import ModuleType

from rag_service.errors import EngineMissing, GeneratorFailed, ModelUnavailable, RemoteAddress, UnfitModel
from rag_service.models.batching import WORKERS
from rag_service.models.embedder import BertEmbedder
from rag_service.models.engines import ChatGenerator, Embedder, Generator
from rag_service.models.find import ModelFolder, embedder_folder, find_folder
from rag_service.models.generator import T5Generator
from rag_service.settings import Settings

log = logging.getLogger(__name__)


def load_embedder(settings: Settings, workers: int = WORKERS) -> Embedder:
    """The embedder of the settings; with CTranslate2, `workers` batches are worked on side by side. Raises
    ModelUnavailable, UnfitModel, EngineMissing."""
    folder = embedder_folder(settings.embedder, settings.models_dir, settings.hub_seconds)
    log.info("embedder: %s (%s)", folder.name, folder.origin)
    if settings.engine == "torch":
        found: Embedder = _torch_engine().TorchEmbedder(folder)
        return found
    return BertEmbedder(folder, settings.models_dir, settings.compute, workers)


def load_generator(settings: Settings) -> tuple[Generator | ChatGenerator | None, str | None]:
    """The generator, or None and the reason: the service then answers by quotation."""
    if settings.generator.lower() == "openai":
        return _chat_server(settings)
    if settings.generator.lower() == "none":
        log.info("generator: none, as set; answers are quotations")
        return None, "RAG_GENERATOR is none."
    try:
        folder = find_folder(settings.generator, settings.models_dir, settings.hub_seconds, "RAG_GENERATOR")
        generator = _generator(folder, settings)
    except (ModelUnavailable, UnfitModel, EngineMissing) as error:
        log.warning("generator: none; answers are quotations. %s %s", error.detail, error.hint)
        return None, f"{error.detail} {error.hint}"
    log.info("generator: %s (%s)", folder.name, folder.origin)
    return generator, None


def _generator(folder: ModelFolder, settings: Settings) -> Generator | ChatGenerator:
    if settings.engine == "torch":
        found: Generator | ChatGenerator = _torch_engine().load_generator(
            folder, settings.answer_tokens, settings.llm_context, settings.llm_answer_tokens
        )
        return found
    return T5Generator(folder, settings.models_dir, settings.compute, settings.answer_tokens)


def _torch_engine() -> ModuleType:
    """The module, which takes seconds to be imported. Raises EngineMissing."""
    try:
        return importlib.import_module("rag_service.models.torch_engine")
    except ImportError as error:
        raise EngineMissing(str(error)) from error


def _chat_server(settings: Settings) -> tuple[ChatGenerator | None, str | None]:
    from rag_service.models.chat_server import ChatServer  # its HTTP client, which nothing else needs

    assert settings.llm_base_url
    assert settings.llm_model
    server = ChatServer(
        settings.llm_base_url,
        settings.llm_model,
        settings.llm_context,
        settings.llm_answer_tokens,
        settings.llm_api_key_file,
        settings.llm_allow_remote,
    )
    try:
        server.check()
    except RemoteAddress as error:
        log.error("generator: none; answers are quotations. %s %s", error.detail, error.hint)
        return None, f"{error.detail} {error.hint}"
    except GeneratorFailed as error:  # it may come back; each answer says what is wrong until then
        log.warning("%s %s", error.detail, error.hint)
    log.info("generator: %s at %s, which gets the questions and passages", server.name, server.sent_to)
    return server, None
