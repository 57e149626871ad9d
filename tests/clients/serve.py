"""Run by the service's own environment: the service with a model of each kind, until its standard input ends."""

import sys
import tempfile
from pathlib import Path

from model_files import classification_model, regression_model, two_numbers_model, typed_model
from registry_server import running_registry
from service_thread import serving, settings_for


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running_registry() as registry:
        registry.add(regression_model())
        registry.add(classification_model(), name="tumour")
        registry.add(two_numbers_model(), name="sum")
        registry.add(typed_model(), name="typed")
        with serving(settings_for(registry, Path(folder))) as address:
            print(address, flush=True)
            sys.stdin.read()


if __name__ == "__main__":
    main()
