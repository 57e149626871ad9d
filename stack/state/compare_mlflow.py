"""Whether MLflow's own client reads the same from its SQLite file as from PostgreSQL.

`compare_mlflow.py SQLITE_FILE`, the other's address in TARGET_URL. Runs in MLflow's image.
"""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient


def seen(url: str) -> dict[str, dict[str, Any]]:
    """All that a client can ask, by its kind and by what it goes by there."""
    client = MlflowClient(url)
    experiments = {one.experiment_id: dict(one) for one in _all(client.search_experiments, view_type=ViewType.ALL)}
    runs = _all(client.search_runs, experiment_ids=list(experiments), run_view_type=ViewType.ALL)
    models = {one.name: dict(one) for one in _all(client.search_registered_models)}
    return {
        "experiments": experiments,
        "runs": {one.info.run_id: one.to_dictionary() for one in runs},
        "models": models,
        "versions": {(one.name, one.version): dict(one) for one in _all(client.search_model_versions)},
        "aliases": {
            (name, alias): version for name, one in models.items() for alias, version in one["aliases"].items()
        },
    }


def _all(search: Callable[..., Any], **asked: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(page_token=token, **asked)
        yield from page
        if not (token := page.token):
            return


def main() -> None:
    old, new = seen(f"sqlite:///{sys.argv[1]}"), seen(os.environ["TARGET_URL"])
    for kind, expected in old.items():
        found = {name: repr(one) for name, one in new[kind].items()}
        if differs := [name for name, one in expected.items() if found.pop(name, None) != repr(one)] + list(found):
            sys.exit(f"{kind} are not the same in PostgreSQL: {differs[:5]}")
    counts = ", ".join(f"{len(found)} {kind}" for kind, found in old.items())
    sys.stdout.write(f"  MLflow's client reads the same from both: {counts}\n")


if __name__ == "__main__":
    main()
