"""The service's settings: the only place that reads the environment."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, SecretStr, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from prediction_api.errors import StartRefused

NAME = r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,99}"  # of a registered model and of an alias; the model's is also a folder's
RegistryName = Annotated[str, StringConstraints(pattern=rf"^{NAME}$")]
_empty_is_none = BeforeValidator(lambda given: given or None)
_Address = Annotated[Annotated[str, StringConstraints(pattern=r"^https?://\S+$")] | None, _empty_is_none]


class Settings(BaseSettings):
    """Each field is the environment variable of the same name in capitals; the constants are the same everywhere."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8000, ge=0, le=65535)
    poll_seconds: ClassVar[float] = 2.0  # between two looks into the registry
    request_seconds: ClassVar[float] = 60.0  # for a request to arrive
    max_connections: ClassVar[int] = 800  # below the 1,024 files that systems let a process open

    api_drain_seconds: float = Field(default=0.0, ge=0, le=300)
    api_allowed_hosts: str = ""  # names, separated by commas, beside IP addresses, localhost, api and API_HOST
    api_access_log: bool = False
    api_max_body_bytes: int = Field(default=8_000_000, ge=1_000)
    mlflow_tracking_uri: str = Field(default="http://127.0.0.1:5001", pattern=r"^https?://\S+$")
    # What the overview asks; empty: nothing. The key is one of the question-answering service's that allows reading.
    airflow_url: _Address = None
    rag_url: _Address = None
    prometheus_url: _Address = None
    api_rag_key_file: Annotated[Path | None, _empty_is_none] = None
    api_pages: str = "Overview=./ Predict=predict-form"  # the links on top of every page, see web/files.py
    default_model: Annotated[RegistryName | None, _empty_is_none] = None  # of the calls that name none
    model_alias: RegistryName = "production"
    api_key: Annotated[SecretStr | None, _empty_is_none] = None
    api_key_file: Annotated[Path | None, _empty_is_none] = None
    api_models_mb: int = Field(default=500, ge=1)
    models_dir: Path = Path("models")
    signing_public_keys: Path = Path("var/signing/public")
    prediction_log_dir: Annotated[Path | None, _empty_is_none] = Path("var/predictions")  # empty: nothing is logged
    prediction_log_days: int = Field(default=90, ge=0, le=36_500)  # 0 keeps them for ever
    prediction_log_group_reads: bool = False  # for a monitor that runs as another user of the same group

    @property
    def max_csv_bytes(self) -> int:
        """Of a CSV body; it is kept in a temporary file, not in memory."""
        return 4 * self.api_max_body_bytes


def read_settings() -> Settings:
    """The settings of this process. Raises StartRefused naming each variable that has a wrong value."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = [f"{str(one['loc'][0]).upper()}={one['input']!r}: {one['msg']}" for one in error.errors()]
        raise StartRefused("; ".join(wrong)) from None
