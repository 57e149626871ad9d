"""Run by the service's own environment: the service with a model of each kind, until its standard input ends."""

import sys
import tempfile
from pathlib import Path

from model_files import classification_model, regression_model, two_numbers_model, typed_model
from prediction_api.settings import Settings
from registry_server import publish, running_registry
from service_thread import serving


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running_registry() as registry:
        registry.add(regression_model())
        registry.add(classification_model(), name="tumour")
        registry.add(two_numbers_model(), name="sum")
        registry.add(typed_model(), name="typed")
        settings = Settings(
            mlflow_tracking_uri=registry.uri,
            api_port=0,
            api_poll_seconds=0.02,
            models_dir=Path(folder) / "models",
            prediction_log_dir=Path(folder) / "predictions",
            signing_public_keys=publish(Path(folder) / "keys"),
        )
        with serving(settings) as address:
            print(address, flush=True)
            sys.stdin.read()


if __name__ == "__main__":
    main()
