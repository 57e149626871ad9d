"""Hundreds of damaged and hostile models: none is loaded, and none takes the service with it."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import live, run, wait_until
from model_files import classification_model, forest_model, regression_model
from mutants import HOSTILE, damaged, targets, tree_model
from prediction_api.errors import GoldenMismatch, SandboxKilled, UnsafeGraph
from prediction_api.models import sandbox, store
from prediction_api.settings import Settings
from registry_server import FakeRegistry

HERE = Path(__file__).parent


MOST = 500_000_000  # bytes for a model


@pytest.fixture
def ending_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replaces Python by a program that reads the model and then ends as the test says."""

    def install(how: str) -> None:
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\ncat > /dev/null\n{how}\n")
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))

    return install


def test_a_file_that_was_damaged_on_the_way_is_never_loaded(registry: FakeRegistry, settings: Settings) -> None:
    """The first layer: whatever differs from what was promoted by one bit has another digest."""
    sound = regression_model()
    registry.add(sound)
    digest = registry.versions["1"].tags["model_sha256"]
    mutants = list(damaged(sound, 48))
    with live(settings) as client:
        for mutant in mutants:
            version = registry.add(mutant, digest)
            wait_until(lambda wanted=version: (client.get("/readyz").json()["refused"] or {}).get("version") == wanted)
            told = client.get("/readyz").json()
            assert (told["model"]["version"], told["refused"]["reason"]) == ("1", "digest-mismatch")
        page = client.get("/metrics").text
    refusals = 'api_model_refusals_total{model="wine-quality",reason="digest-mismatch"}'
    assert f"{refusals} {float(len(mutants))}" in page
    assert 'api_model_swaps_total{model="wine-quality"} 1.0' in page


def child_verdicts(folder: Path, files: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """What a process of its own says about each file; it must come to its end, whatever is in them."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    environment = {"PATH": os.defpath, "PYTHONPATH": f"{HERE.parents[1] / 'api'}{os.pathsep}{HERE}"}
    command = [sys.executable, str(HERE / "mutants.py"), *(str(folder / name) for name in files)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stderr[-2_000:]
    # ONNX's parser prints some complaints of its own
    found = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('{"name"')]
    assert [one["name"] for one in found] == list(files)
    return {one["name"]: one for one in found}


def test_damage_under_a_digest_of_its_own_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    """The other layers, without the digest: no crash, and what passes gives the golden predictions of the sound file.

    What passes was damaged where nothing is computed: a description, the producer's name, the unit of a feature.
    """
    sound = {
        "regression": (regression_model(), [14.0, 12.0]),
        "classes": (classification_model(), ["benign", "malign"]),
    }
    files = {
        f"{kind}-{number}": mutant
        for kind, (content, _) in sound.items()
        for number, mutant in enumerate(damaged(content, 150))
    }
    found = child_verdicts(tmp_path, files)
    for name, verdict in found.items():
        if "refused" not in verdict:
            assert verdict["predictions"] == sound[name.split("-")[0]][1], name
    reasons = Counter(verdict.get("refused", "passed") for verdict in found.values())
    assert reasons.keys() <= {"unsafe-graph", "wrong-contract", "golden-mismatch", "passed"}
    assert reasons["passed"] < 40, reasons


def test_a_damaged_forest_ends_no_process(tmp_path: Path) -> None:
    """Most of the file is nodes that the golden row does not reach, so much of the damage passes."""
    found = child_verdicts(
        tmp_path, {f"forest-{one}": mutant for one, mutant in enumerate(damaged(forest_model(3), 150))}
    )
    reasons = Counter(verdict.get("refused", "passed") for verdict in found.values())
    assert reasons.keys() == {"unsafe-graph", "wrong-contract", "golden-mismatch", "passed"}


def test_hostile_graphs_are_refused(tmp_path: Path) -> None:
    files = {name: tree_model(change) for name, change in HOSTILE.items()}
    found = child_verdicts(tmp_path, {"regression-sound": tree_model(), **files})
    assert "refused" not in found.pop("regression-sound")
    assert {name: verdict.get("refused") for name, verdict in found.items() if "refused" not in verdict} == {}
    for name in ("another leaf", "an index beyond the tensor", "a feature beyond the row"):
        assert found[name]["refused"] == "golden-mismatch", found[name]


def test_a_model_that_fills_the_memory_is_refused_and_the_old_one_goes_on(
    registry: FakeRegistry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "try_out", sandbox.try_out)  # in a process of its own, as in the real service
    registry.add(regression_model())
    with live(settings) as client:
        registry.add(tree_model(targets(10**9)))
        wait_until(lambda: client.get("/readyz").json()["refused"])
        told = client.get("/readyz").json()
    assert (told["model"]["version"], told["refused"]["version"]) == ("1", "2")
    assert told["refused"]["reason"] == "no-room"


@pytest.mark.parametrize(
    ("how", "refusal", "says"),
    [
        ("kill -KILL $$", SandboxKilled, None),  # by something else: no verdict
        ("exit 1", SandboxKilled, "did not start: exit code 1"),
        ("echo started; kill -SEGV $$", UnsafeGraph, "ended the separate process that loaded it: SIGSEGV"),
        ("echo started; exit 3", UnsafeGraph, "ended the separate process that loaded it: exit code 3"),
    ],
)
def test_a_model_that_ends_its_process_is_refused_and_what_else_ends_it_is_no_verdict(
    ending_program: Callable[[str], None], how: str, refusal: type[Exception], says: str | None
) -> None:
    ending_program(how)
    with pytest.raises(refusal, match=says):
        run(sandbox.try_out(regression_model(), MOST))


def test_the_trial_measures_what_the_model_takes() -> None:
    assert 0 <= run(sandbox.try_out(regression_model(), MOST)) < 8_000_000  # without the libraries: these took 29 MB


def test_the_trial_gives_the_refusal_that_happened_there() -> None:
    with pytest.raises(GoldenMismatch, match=r"golden row 0: training gave 5\.0, this graph gives 5\.1"):
        run(sandbox.try_out(tree_model(HOSTILE["another leaf"]), MOST))


LESS_MEMORY = "resource.setrlimit(resource.RLIMIT_DATA, (10**9, 10**9))"
MACOS = """
def refuse(kind, limits, set_limit=resource.setrlimit):
    if kind == resource.RLIMIT_DATA: raise ValueError("current limit exceeds maximum limit")
    set_limit(kind, limits)
resource.setrlimit = refuse
"""


@pytest.mark.parametrize("machine", [LESS_MEMORY, MACOS])
def test_a_machine_that_does_not_allow_the_limit_of_the_trial_is_no_refusal(machine: str) -> None:
    code = f"""import resource, runpy
{machine}
runpy.run_module("prediction_api.models.sandbox", run_name="__main__")
"""
    environment = {"PATH": os.defpath, "PYTHONPATH": str(HERE.parents[1] / "api"), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(MOST)]
    ended = subprocess.run(command, env=environment, input=regression_model(), capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2_000:]
    assert json.loads(ended.stdout.splitlines()[-1])["refused"] == ""


def test_a_model_that_does_not_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "SECONDS", 0.01)
    with pytest.raises(UnsafeGraph, match=r"did not end within 0\.01 s"):
        run(sandbox.try_out(regression_model(), MOST))
