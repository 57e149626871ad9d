"""The two models that the settings name, found and loaded."""

from __future__ import annotations

import logging

from rag_service.errors import ModelUnavailable, UnfitModel
from rag_service.models.embedder import BertEmbedder
from rag_service.models.engines import Embedder, Generator
from rag_service.models.find import embedder_folder, find_folder
from rag_service.models.generator import T5Generator
from rag_service.settings import Settings

log = logging.getLogger(__name__)


def load_embedder(settings: Settings) -> Embedder:
    """The embedder of the settings. Raises ModelUnavailable, UnfitModel."""
    folder = embedder_folder(settings.embedder, settings.embedder_revision, settings.models_dir, settings.hub_seconds)
    log.info("embedder: %s (%s)", folder.name, folder.origin)
    return BertEmbedder(folder, settings.models_dir, settings.compute)


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
        generator = T5Generator(folder, settings.models_dir, settings.compute, settings.answer_tokens)
    except (ModelUnavailable, UnfitModel) as error:
        log.warning("generator: none; answers are quotations. %s %s", error.detail, error.hint)
        return None, f"{error.detail} {error.hint}"
    log.info("generator: %s (%s)", folder.name, folder.origin)
    return generator, None
