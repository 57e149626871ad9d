"""The service's settings: the only module that reads the environment, besides the health check."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from rag_service.errors import BadSettings
from rag_service.health import DEFAULT_PORT

MEGABYTE = 1024 * 1024
COLLECTION = r"\w[\w .-]{0,63}"
COLLECTION_RULE = "letters, digits, space, '_', '.' and '-', at most 64, a letter, a digit or '_' first"


class Settings(BaseSettings):
    """Every value can be set by a variable: RAG_ and the field's name in capitals. `.env.example` lists them."""

    model_config = SettingsConfigDict(
        env_prefix="RAG_", frozen=True, env_ignore_empty=True, populate_by_name=True, extra="ignore"
    )

    host: str = "127.0.0.1"
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65535)
    data_dir: Path = Path("var/rag")
    models_dir: Path = Path("var/rag/models")
    store: str | None = None  # postgresql://user@host/database; else a file in the data folder
    store_password_file: Path | None = None
    work: bool = True  # False: what is uploaded to replicas over PostgreSQL, `python -m rag_service work` adds
    search: Literal["memory", "store"] = "memory"  # where vectors are compared
    watch: str | None = None

    # Both are a folder, or NAME@COMMIT on the hub. The generator may also be `none`: quotes only, or `openai`: a server
    # that speaks OpenAI's chat completions.
    embedder: str | None = None
    generator: str = "google/flan-t5-small"

    llm_base_url: str | None = None
    llm_model: str | None = None
    llm_api_key_file: Path | None = None
    llm_context: int = Field(default=4096, ge=1024)  # tokens; what does not fit, some servers cut off unasked
    llm_allow_remote: bool = False
    llm_answer_tokens: int = Field(default=512, ge=16)

    # What runs the models: ctranslate2 (BERT and T5 alone, no PyTorch), or torch (what transformers can load).
    engine: Literal["ctranslate2", "torch"] = "ctranslate2"
    # How ctranslate2 stores and multiplies the weights: int8 takes a quarter of the memory and half the time.
    compute: Literal["int8", "float32"] = "int8"

    chunk_tokens: int = Field(default=160, ge=32, le=4096)
    overlap_tokens: int = Field(default=32, ge=0, le=512)
    answer_tokens: int = Field(default=64, ge=4, le=512)
    threshold: float = Field(default=0.18, ge=0.0, le=1.0)

    max_file_bytes: int = Field(default=32 * MEGABYTE, gt=0)
    max_original_bytes: int = Field(default=32 * MEGABYTE, ge=0)  # of a PDF that is kept, to show its pages; 0: none
    max_waiting: int = Field(default=16, gt=0)
    drain_seconds: float = Field(default=0.0, ge=0, le=300)
    allowed_hosts: str = ""  # names, separated by commas, beside IP addresses, localhost, rag and RAG_HOST
    api_key_file: Path | None = None
    pages: str = ""  # the links on top of every page, where this service is a part of a stack, see http/page_files.py
    html: Literal["main", "all"] = "main"  # what is read of a page: without menus, adverts and the like, or all
    # Under its own name, the one that everything that speaks to MLflow reads.
    mlflow_tracking_uri: str | None = Field(default=None, validation_alias="MLFLOW_TRACKING_URI")
    traces: bool = False  # of questions, to the same server

    # Limits that nobody has to set, each with an answer of its own beyond it (docs/reference/documents.md).
    max_body_bytes: ClassVar[int] = MEGABYTE  # of a request that is no upload
    max_files: ClassVar[int] = 200  # in one upload
    max_uploads: ClassVar[int] = 4  # at once, and images of pages
    max_connections: ClassVar[int] = 200
    request_seconds: ClassVar[float] = 60.0  # for a request to arrive
    load_seconds: ClassVar[float] = 30.0  # of computing for reading one file
    load_bytes: ClassVar[int] = 512 * MEGABYTE  # address space of the process that does
    max_text_bytes: ClassVar[int] = 16 * MEGABYTE  # that comes out of one file
    hub_seconds: ClassVar[float] = 5.0  # until the model hub counts as away

    @field_validator("overlap_tokens")
    @classmethod
    def _overlap_is_a_part(cls, overlap: int, info: object) -> int:
        chunk = getattr(info, "data", {}).get("chunk_tokens", overlap * 2)
        if overlap * 2 > chunk:
            raise ValueError("must be at most half of RAG_CHUNK_TOKENS")
        return overlap

    @field_validator("store")
    @classmethod
    def _is_a_database(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "")
        if url and (parts.scheme not in ("postgresql", "postgres") or parts.password):
            raise ValueError(
                "must be like postgresql://user@host/database, its password in the file RAG_STORE_PASSWORD_FILE"
            )
        return url

    @field_validator("llm_base_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "")
        if url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query):
            raise ValueError("must be like http://127.0.0.1:11434/v1, without a name, a password or a query")
        return url

    @model_validator(mode="after")
    def _store_can_search(self) -> Self:
        if self.search == "store" and self.store is None:
            raise ValueError(
                "RAG_SEARCH is store, which compares vectors inside PostgreSQL: set RAG_STORE too, or RAG_SEARCH=memory"
            )
        return self

    @model_validator(mode="after")
    def _server_is_named(self) -> Self:
        if self.generator.lower() == "openai" and not (self.llm_base_url and self.llm_model):
            raise ValueError("RAG_GENERATOR is openai: set RAG_LLM_BASE_URL and RAG_LLM_MODEL too")
        if self.llm_answer_tokens * 2 > self.llm_context:
            raise ValueError("RAG_LLM_ANSWER_TOKENS must be at most half of RAG_LLM_CONTEXT")
        return self

    @field_validator("watch")
    @classmethod
    def _watch_names_a_collection(cls, watch: str | None) -> str | None:
        if watch is not None and not re.fullmatch(COLLECTION, _folder_and_collection(watch)[1]):
            raise ValueError(f"must be a folder, or folder:collection with a collection of {COLLECTION_RULE}")
        return watch

    @property
    def watched(self) -> tuple[Path, str] | None:
        """The folder that is watched and its collection, if one is set."""
        if self.watch is None:
            return None
        folder, collection = _folder_and_collection(self.watch)
        return Path(folder).absolute(), collection

    @property
    def max_upload_bytes(self) -> int:
        """Of all files in one request."""
        return 4 * self.max_file_bytes

    @property
    def allowed_names(self) -> list[str]:
        return [name for one in self.allowed_hosts.split(",") if (name := one.strip())]

    @property
    def store_path(self) -> Path:
        return self.data_dir / "store.db"

    @property
    def ratings_path(self) -> Path:
        return self.data_dir / "questions.jsonl"


def _folder_and_collection(watch: str) -> tuple[str, str]:
    folder, colon, collection = watch.rpartition(":")
    return (folder, collection) if colon and folder else (watch, "default")


def read_settings(**overrides: object) -> Settings:
    """The settings: overrides, else the environment, else the working folder's `.env`. Raises BadSettings
    naming the variables that are wrong."""
    try:
        return Settings(_env_file=".env", **overrides)  # type: ignore[arg-type, call-arg]
    except ValidationError as error:
        wrong = "; ".join(": ".join([*_variable(item["loc"]), item["msg"]]) for item in error.errors())
        raise BadSettings(wrong, "`.env.example` lists every variable with its default.") from error


def _variable(place: tuple[int | str, ...]) -> list[str]:
    """The variable that a complaint is about; none where it is about several."""
    return [f"RAG_{str(place[0]).upper()}"] if place else []
