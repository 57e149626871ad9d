"""Who serves, and why: promotion, rollback, and the ledger of both, on a real tracking server."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import versions
from training import cli
from training.errors import AliasMoved, ConfigError, FileGone, GateRefused, NothingToPromote
from training.promotion import promote as promotion
from training.promotion import status as overview
from training.tracking.ledger import Ledger
from training.tracking.registry import Registry
from versions import Model

from mlflow import MlflowClient

pytestmark = pytest.mark.usefixtures("tracking")
POOR, FAIR, GOOD, BEST = 1.8, 1.9, 1.97, 1.995  # slopes; the truth is 2


def failed(answer: dict[str, Any]) -> set[str]:
    return {reason["code"] for reason in answer["reasons"] if not reason["passed"]}


def test_a_better_version_takes_over_and_the_ledger_has_it_all(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model.train(FAIR)
    model.promote()
    model.train(GOOD)
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "train_model")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "manual__1")
    answer = model.promote()
    assert (answer["action"], model.production()) == ("promoted", "2")
    entry = Ledger(Registry(model.name, "production")).entries()[-1]
    version = MlflowClient().get_model_version(model.name, "2")
    assert (entry.action, entry.version, entry.previous) == ("promoted", "2", "1")
    assert (entry.by, entry.run_id, entry.code_version) == ("airflow: train_model, manual__1", version.run_id, "abc")
    assert entry.data_digest
    assert entry.figures["gain_lower"] > 0
    assert [reason.as_json() for reason in entry.reasons] == answer["reasons"]
    assert MlflowClient().get_run(entry.id).data.metrics["gain"] == pytest.approx(entry.figures["gain"])


def test_the_sample_does_not_take_over_from_real_data(model: Model) -> None:
    model.train(FAIR)
    model.promote()
    real = versions.contract(model.name, GOOD)
    model.train(GOOD, terms={**real, "data": {**real["data"], "synthetic": True}})
    answer = model.promote()
    assert (answer["action"], failed(answer), model.production()) == ("refused", {"synthetic_data"}, "1")


def test_the_verdict_is_a_section_of_the_versions_page(model: Model) -> None:
    version = model.train(GOOD)
    card = "# Model card\n\nWhat it is.\n\n## Gate verdict\n\nnone yet\n\n## Limits of use\n\nMany."
    MlflowClient().update_model_version(model.name, version, card)
    model.promote()
    page = MlflowClient().get_model_version(model.name, version)
    assert page.tags["gate"] == "promoted"
    assert page.description.startswith("# Model card\n\nWhat it is.\n\n## Gate verdict\n\n**promoted**")
    assert page.description.endswith("\n\n## Limits of use\n\nMany.")
    assert "- pass: mae gain over the majority or mean predictor" in page.description
    assert "none yet" not in page.description


def test_a_worse_version_is_refused_once(model: Model) -> None:
    model.train(GOOD)
    model.promote()
    model.train(POOR)
    answer = model.promote()
    assert (answer["action"], failed(answer), model.production()) == ("refused", {"gain"}, "1")
    assert model.promote() == answer
    assert model.ledger() == [("promoted", "1", None), ("refused", "2", "1")]
    with pytest.raises(GateRefused, match="gain"):
        promotion.promote(model.config(), strict=True)


def test_dry_run_says_what_it_would_do_and_off_always_promotes(model: Model) -> None:
    model.train(GOOD)
    model.promote()
    model.train(BEST)
    assert model.promote(gate={"mode": "dry_run"})["action"] == "would_promote"
    model.train(POOR)
    assert model.promote(gate={"mode": "dry_run"})["action"] == "would_refuse"
    assert model.production() == "1"
    answer = model.promote(gate={"mode": "off"})
    assert (answer["action"], answer["reasons"][-1]["code"], model.production()) == ("promoted", "gate_off", "3")


def test_going_back_twice_goes_back_twice_and_bars_both(model: Model) -> None:
    for slope in (POOR, FAIR, GOOD):
        model.train(slope)
        model.promote()
    assert [promotion.rollback(model.config())["version"] for _ in range(2)] == ["2", "1"]
    with pytest.raises(ConfigError, match="no version to go back to from version 1") as caught:
        promotion.rollback(model.config())
    assert caught.value.hint == "Name one (--to, make rollback VERSION=): 2, 3."
    for data in (2, 3):
        answer = model.promote(data, gate={"mode": "off"})
        assert (answer["action"], failed(answer)) == ("refused", {"rolled_back"})
    assert model.promote(3, gate={"mode": "off"}) == answer
    assert (model.production(), len(model.ledger())) == ("1", 7)


def test_a_person_brings_a_version_back(model: Model) -> None:
    for slope in (FAIR, GOOD):
        model.train(slope)
        model.promote()
    promotion.rollback(model.config())
    assert promotion.rollback(model.config(), "2") == {"action": "rolled_back", "version": "2", "previous": "1"}
    assert model.promote()["action"] == "unchanged"
    assert promotion.rollback(model.config(), "2")["action"] == "unchanged"
    with pytest.raises(ConfigError, match="no version 99"):
        promotion.rollback(model.config(), "99")


def test_new_evidence_may_promote_after_a_rollback(model: Model) -> None:
    for slope in (FAIR, GOOD):
        model.train(slope)
        model.promote()
    promotion.rollback(model.config())
    model.train(BEST)
    assert model.promote()["action"] == "promoted"
    assert promotion.rollback(model.config())["version"] == "1"


def test_a_move_that_never_reached_the_alias_is_abandoned_and_judged_again(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.train(FAIR)
    model.promote()
    model.train(GOOD)
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "point_alias", _killed)
        with pytest.raises(KeyboardInterrupt):
            model.promote()
    assert model.promote()["action"] == "promoted"
    assert model.production() == "2"
    assert model.ledger() == [("promoted", "1", None), ("abandoned", "2", "1"), ("promoted", "2", "1")]
    assert failed({"reasons": [one.as_json() for one in model.entries()[1].reasons]}) == {"abandoned"}
    assert overview.status(model.config())["agrees_with_ledger"]


def test_a_move_that_reached_the_alias_counts(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    for slope in (POOR, FAIR, GOOD):
        model.train(slope)
        model.promote()
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "finish", _killed)
        with pytest.raises(KeyboardInterrupt):
            promotion.rollback(model.config())
    assert promotion.rollback(model.config()) == {"action": "rolled_back", "version": "2", "previous": "3"}
    assert (model.production(), len(model.ledger())) == ("2", 4)
    assert failed(model.promote()) == {"rolled_back"}


def test_a_move_cut_short_to_a_version_that_was_then_deleted_is_no_dead_end(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.train(FAIR)
    model.promote()
    model.train(GOOD)
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "point_alias", _killed)
        with pytest.raises(KeyboardInterrupt):
            model.promote()
    MlflowClient().delete_model_version(model.name, "2")
    with pytest.raises(NothingToPromote):
        model.promote()
    assert overview.status(model.config())["production"] == "1"
    model.train(GOOD)
    assert model.promote()["action"] == "promoted"
    assert promotion.rollback(model.config())["version"] == "1"


def test_the_version_in_production_was_deleted(model: Model) -> None:
    for slope in (FAIR, GOOD):
        model.train(slope)
        model.promote()
    MlflowClient().delete_model_version(model.name, "2")
    assert overview.status(model.config())["production"] is None
    with pytest.raises(ConfigError, match="no version to go back to") as raised:
        promotion.rollback(model.config())
    assert raised.value.hint == "Name one (--to, make rollback VERSION=): 1."
    assert promotion.rollback(model.config(), "1")["version"] == "1"


def test_a_model_that_was_deleted_and_trained_again_is_judged_again(model: Model) -> None:
    """The ledger still says that version 1 was promoted: that was another one."""
    model.train(FAIR)
    model.promote()
    MlflowClient().delete_registered_model(model.name)
    assert model.train(POOR) == "1"
    answer = model.promote(gate={"limits": {"mae": 1e-9}})
    assert (answer["action"], failed(answer), model.production()) == ("refused", {"limit"}, None)
    assert model.ledger()[1:] == [("found", "", "1"), ("refused", "1", None)]
    MlflowClient().delete_registered_model(model.name)
    assert model.train(GOOD) == "1"
    assert model.promote()["action"] == "promoted"


def test_a_deleted_ledger_is_restored(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    model.train(FAIR)
    model.promote()
    client = MlflowClient()
    client.delete_experiment(client.get_experiment_by_name(f"{model.name}-ledger").experiment_id)
    assert overview.status(model.config())["agrees_with_ledger"]
    assert f"experiment '{model.name}-ledger' was deleted" in caplog.text
    client.delete_experiment(client.get_experiment_by_name(f"{model.name}-ledger").experiment_id)
    model.train(GOOD)
    assert model.promote()["action"] == "promoted"
    assert model.ledger() == [("promoted", "1", None), ("promoted", "2", "1")]


def test_deleted_entries_and_runs_are_no_dead_end(model: Model) -> None:
    """The run of the champion's training, and the entry of its promotion, were deleted in MLflow's page."""
    model.train(FAIR)
    model.promote()
    client = MlflowClient()
    client.delete_run(str(client.get_model_version(model.name, "1").run_id))
    client.delete_run(model.entries()[-1].id)
    assert overview.status(model.config())["production"] == "1"
    model.train(GOOD)
    assert model.promote()["action"] == "promoted"
    assert [entry[0] for entry in model.ledger()] == ["found", "promoted"]


def test_a_version_without_its_test_rows_says_how_to_go_on(model: Model, tracking_files: Path) -> None:
    """As `mlflow gc` leaves it."""
    version = model.train(FAIR)
    [rows] = tracking_files.rglob(
        f"{MlflowClient().get_model_version(model.name, version).run_id}/**/test-rows.parquet"
    )
    rows.unlink()
    with pytest.raises(FileGone, match=r"version 1 of .*: its test-rows.parquet is no longer") as raised:
        model.promote()
    assert (raised.value.exit_code, raised.value.hint) == (1, "Delete version 1 in MLflow's page, and train again.")


def test_columns_that_give_the_target_away_are_among_the_reasons(model: Model) -> None:
    model.train(FAIR, leaks=["column 'x' gives the target away"])
    reasons = model.promote()["reasons"]
    assert [reason["text"] for reason in reasons if reason["code"] == "leak"] == ["column 'x' gives the target away"]


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_alias_moved_by_other_means_is_written_down(model: Model) -> None:
    for slope in (FAIR, GOOD):
        model.train(slope)
        model.promote()
    MlflowClient().set_registered_model_alias(model.name, "production", "1")
    status = overview.status(model.config())
    assert (status["production"], status["agrees_with_ledger"], status["since"]) == ("1", False, None)
    assert failed(model.promote()) == {"found"}
    assert model.ledger()[2:] == [("found", "1", "2"), ("refused", "2", "1")]
    MlflowClient().delete_registered_model_alias(model.name, "production")
    assert failed(model.promote(1)) == {"found"}
    assert promotion.rollback(model.config(), "1")["previous"] is None


def test_a_decision_on_what_is_no_longer_so_changes_nothing(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    for slope in (POOR, FAIR):
        model.train(slope)
        model.promote()
    model.train(GOOD)
    judged = promotion.judge

    def moved_meanwhile(*arguments: Any) -> Any:
        MlflowClient().set_registered_model_alias(model.name, "production", "1")
        return judged(*arguments)

    monkeypatch.setattr(promotion, "judge", moved_meanwhile)
    with pytest.raises(AliasMoved, match="moved from version 2 to 1 meanwhile"):
        model.promote()
    assert (model.production(), len(model.ledger())) == ("1", 2)


@pytest.mark.parametrize(
    ("split", "told"),
    [
        pytest.param({"seed": 8, "test": 0.2}, "seed 8 -> 7", id="seed"),
        pytest.param({"seed": 7, "test": 0.1}, "test share 0.1 -> 0.2", id="share"),
        pytest.param({"calibration": 0.1}, "is not known", id="unknown"),
        pytest.param({"by": "group", "column": "x", "seed": 7, "test": 0.2}, "by group x -> by hash", id="way"),
    ],
)
def test_a_champion_that_may_have_seen_the_rows_blocks(model: Model, split: dict[str, Any], told: str) -> None:
    model.train(POOR, split=split)
    model.promote()
    model.train(GOOD)
    answer = model.promote()
    assert (answer["action"], failed(answer)) == ("refused", {"champion_saw_rows"})
    assert told in answer["reasons"][0]["text"]


def test_a_champion_of_other_features_blocks_and_a_smaller_test_part_does_not(model: Model) -> None:
    other = versions.contract(model.name, POOR)
    other["features"].append({"name": "colour", "type": "category"})
    model.train(POOR, terms=other, split={"seed": 7, "test": 0.3})
    model.promote()
    model.train(FAIR)
    answer = model.promote()
    assert failed(answer) == {"champion_saw_rows"}
    assert "other features (colour)" in answer["reasons"][0]["text"]
    model.promote(gate={"mode": "off"})
    model.train(GOOD, split={"seed": 7, "test": 0.1})
    assert model.promote()["action"] == "promoted"


def test_a_champion_whose_file_was_changed_can_be_replaced(model: Model) -> None:
    model.train(FAIR)
    model.promote()
    MlflowClient().set_model_version_tag(model.name, "1", "model_sha256", "0" * 64)
    model.train(GOOD)
    answer = model.promote()
    assert (answer["action"], failed(answer)) == ("refused", {"champion_cannot_score"})
    assert model.promote(gate={"mode": "off"})["action"] == "promoted"


def test_a_version_without_finite_predictions_is_refused(model: Model) -> None:
    model.train(FAIR)
    model.promote()
    model.train(float("nan"))
    answer = model.promote()
    assert failed(answer) == {"challenger_not_finite"}
    assert json.dumps(answer, allow_nan=False)


def test_every_alias_has_its_own_course(model: Model) -> None:
    for slope in (FAIR, GOOD):
        model.train(slope)
        model.promote()
    staging = model.config(serving={"alias": "staging"})
    assert overview.status(staging)["production"] is None
    assert Ledger(Registry(model.name, "staging")).entries() == []
    promotion.settle(Registry(model.name, "staging"), Ledger(Registry(model.name, "staging")))
    assert len(model.ledger()) == 2


def test_in_airflow_a_refusal_skips_what_follows(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    model.train(GOOD)
    model.promote()
    model.train(POOR)
    with pytest.raises(SystemExit) as ended:
        cli.main(["promote", "--skip", "--config", str(model.write())])
    assert ended.value.code == 99
    assert "skipped: version 2: refused: mae gain over version 1 is" in capsys.readouterr().err


def test_status_shows_every_pipeline_and_what_is_wrong_with_one(
    model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    model.train(GOOD)
    model.promote()
    path = model.write()
    (model.folder / "pipelines").mkdir()
    (model.folder / "pipelines" / "more.yaml").write_text(path.read_text().replace(model.name, f"{model.name}-more"))
    (model.folder / "pipelines" / "wrong.yaml").write_text("name: wrong\n")
    cli.main(["status", "--all", "--config", str(path)])
    said = capsys.readouterr()
    models = json.loads(said.out)["models"]
    assert [one.get("model") for one in models] == [model.name, f"{model.name}-more", None]
    assert [one.get("production") for one in models] == ["1", None, None]
    assert "wrong.yaml:1: data: Field required" in said.err


@pytest.fixture(autouse=True)
def _no_airflow(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    for name in ("AIRFLOW_CTX_DAG_ID", "AIRFLOW_CTX_DAG_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return lambda: None
