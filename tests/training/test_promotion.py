"""Who serves, and why: promotion, rollback, and the ledger of both, on a real MLflow."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from training import cli
from training.errors import AliasMoved, ConfigError, GateRefused, NothingToPromote
from training.promotion import promote as promotion
from training.promotion import status as overview
from training.tracking.ledger import Ledger
from training.tracking.registry import DIGEST_TAG, Registry
from versions import BEST, FAIR, GOOD, POOR, Model, contract, failed

pytestmark = pytest.mark.usefixtures("tracking")


def test_a_better_version_takes_over_and_the_ledger_has_it_all(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model.train(FAIR)
    model.promote()
    model.train(GOOD)
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "train_model")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "manual__1")
    answer = model.promote()
    assert (answer["action"], model.production()) == ("promoted", "2")
    entry = model.ledger.entries()[-1]
    version = model.client.get_model_version(model.name, "2")
    assert (entry.action, entry.version, entry.previous) == ("promoted", "2", "1")
    assert (entry.by, entry.run_id, entry.code_version) == ("airflow: train_model, manual__1", version.run_id, "abc")
    assert entry.data_digest
    assert entry.figures["gain_lower"] > 0
    assert [reason.as_json() for reason in entry.reasons] == answer["reasons"]
    assert model.client.get_run(entry.id).data.metrics["gain"] == pytest.approx(entry.figures["gain"])


def test_the_verdict_is_a_section_of_the_versions_page(model: Model) -> None:
    version = model.train(GOOD, leaks=["column 'x' gives the target away"])
    card = "# Model card\n\nWhat it is.\n\n## Gate verdict\n\nnone yet\n\n## Limits of use\n\nMany."
    model.client.update_model_version(model.name, version, card)
    reasons = model.promote()["reasons"]
    page = model.client.get_model_version(model.name, version)
    assert page.tags["gate"] == "promoted"
    assert page.description.startswith("# Model card\n\nWhat it is.\n\n## Gate verdict\n\n**promoted**")
    assert page.description.endswith("\n\n## Limits of use\n\nMany.")
    assert "- pass: mae gain over the majority or mean predictor" in page.description
    assert "- note: column 'x' gives the target away" in page.description
    assert "none yet" not in page.description
    assert [reason["text"] for reason in reasons if reason["code"] == "leak"] == ["column 'x' gives the target away"]


def test_a_worse_version_is_refused_once(model: Model) -> None:
    model.serve(GOOD)
    model.train(POOR)
    answer = model.promote()
    assert (answer["action"], failed(answer), model.production()) == ("refused", {"gain"}, "1")
    assert model.promote() == answer
    assert model.moves() == [("promoted", "1", None), ("refused", "2", "1")]
    with pytest.raises(GateRefused, match="gain"):
        promotion.promote(model.config(), strict=True)


def test_dry_run_says_what_it_would_do_and_off_always_promotes(model: Model) -> None:
    model.serve(GOOD)
    model.train(BEST)
    assert model.promote(gate={"mode": "dry_run"})["action"] == "would_promote"
    model.train(POOR)
    assert model.promote(gate={"mode": "dry_run"})["action"] == "would_refuse"
    assert model.production() == "1"
    answer = model.promote(gate={"mode": "off"})
    assert (answer["action"], answer["reasons"][-1]["code"], model.production()) == ("promoted", "gate_off", "3")
    why = overview.status(model.config())["decisions"][0]["why"]
    assert why.startswith("gate.mode is off: promoted anyway; mae gain over version 1 is -")


def test_going_back_twice_goes_back_twice_and_bars_both(model: Model) -> None:
    model.serve(POOR, FAIR, GOOD)
    assert [model.rollback()["version"] for _ in range(2)] == ["2", "1"]
    with pytest.raises(
        ConfigError, match="version 1 is in production, and no earlier one is left to go back"
    ) as caught:
        model.rollback()
    assert "go forward again, too (of 2, 3): make rollback VERSION=3, or" in caught.value.hint
    for data in (2, 3):
        answer = model.promote(data, gate={"mode": "off"})
        assert (answer["action"], failed(answer)) == ("refused", {"rolled_back"})
    assert model.promote(3, gate={"mode": "off"}) == answer
    assert (model.production(), len(model.moves())) == ("1", 7)


def test_a_person_brings_a_version_back(model: Model) -> None:
    model.serve(FAIR, GOOD)
    model.rollback()
    assert model.rollback("2") == {"action": "rolled_back", "version": "2", "previous": "1"}
    assert model.promote()["action"] == "unchanged"
    assert model.rollback("2")["action"] == "unchanged"
    with pytest.raises(ConfigError, match="has no version 99"):
        model.rollback("99")


def test_new_evidence_may_promote_after_a_rollback(model: Model) -> None:
    model.serve(FAIR, GOOD)
    model.rollback()
    model.train(BEST)
    assert model.promote()["action"] == "promoted"
    assert model.rollback()["version"] == "1"


def killed(kind: type, step: str, job: Callable[[], object]) -> None:
    """Runs a job that is killed where it comes to this step."""

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, step, kill)
        with pytest.raises(KeyboardInterrupt):
            job()


def test_a_move_that_never_reached_the_alias_is_abandoned_and_judged_again(model: Model) -> None:
    model.serve(FAIR)
    model.train(GOOD)
    killed(Registry, "point_alias", model.promote)
    assert model.promote()["action"] == "promoted"
    assert model.production() == "2"
    assert model.moves() == [("promoted", "1", None), ("abandoned", "2", "1"), ("promoted", "2", "1")]
    abandoned = model.ledger.entries()[1]
    assert {reason.code for reason in abandoned.reasons if not reason.passed} == {"abandoned"}
    assert overview.status(model.config())["agrees_with_ledger"]


def test_a_move_that_reached_the_alias_counts(model: Model) -> None:
    model.serve(POOR, FAIR, GOOD)
    killed(Ledger, "finish", model.rollback)
    assert model.rollback() == {"action": "rolled_back", "version": "2", "previous": "3"}
    assert (model.production(), len(model.moves())) == ("2", 4)
    assert failed(model.promote()) == {"rolled_back"}


def test_a_move_cut_short_to_a_version_that_was_then_deleted_is_no_dead_end(model: Model) -> None:
    model.serve(FAIR)
    model.train(GOOD)
    killed(Registry, "point_alias", model.promote)
    model.client.delete_model_version(model.name, "2")
    with pytest.raises(NothingToPromote):
        model.promote()
    assert overview.status(model.config())["production"] == "1"
    model.train(GOOD)
    assert model.promote()["action"] == "promoted"
    assert model.rollback()["version"] == "1"


def test_the_version_in_production_was_deleted(model: Model) -> None:
    model.serve(FAIR, GOOD)
    model.client.delete_model_version(model.name, "2")
    assert overview.status(model.config())["production"] is None
    with pytest.raises(ConfigError, match="no version is in production, and no earlier one is left") as raised:
        model.rollback()
    assert raised.value.hint.endswith("pipeline.py rollback --to 1.")
    assert model.rollback("1")["version"] == "1"


def test_a_model_that_was_deleted_and_trained_again_is_judged_again(model: Model) -> None:
    """The ledger still says that version 1 was promoted: that was another one."""
    model.serve(FAIR)
    model.client.delete_registered_model(model.name)
    assert model.train(POOR) == "1"
    answer = model.promote(gate={"limits": {"mae": 1e-9}})
    assert (answer["action"], failed(answer), model.production()) == ("refused", {"limit"}, None)
    assert model.moves()[1:] == [("found", "", "1"), ("refused", "1", None)]
    model.client.delete_registered_model(model.name)
    assert model.train(GOOD) == "1"
    assert model.promote()["action"] == "promoted"


def test_a_deleted_ledger_is_restored(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    model.serve(FAIR)
    ledger = model.client.get_experiment_by_name(f"{model.name}-ledger").experiment_id
    model.client.delete_experiment(ledger)
    assert overview.status(model.config())["agrees_with_ledger"]
    assert f"experiment '{model.name}-ledger' was deleted" in caplog.text
    model.client.delete_experiment(ledger)
    model.train(GOOD)
    assert model.promote()["action"] == "promoted"
    assert model.moves() == [("promoted", "1", None), ("promoted", "2", "1")]


def test_deleted_entries_and_runs_are_no_dead_end(model: Model) -> None:
    """The run of the champion's training, and the entry of its promotion, were deleted in MLflow's page."""
    model.serve(FAIR)
    model.client.delete_run(str(model.client.get_model_version(model.name, "1").run_id))
    model.client.delete_run(model.ledger.entries()[-1].id)
    assert overview.status(model.config())["production"] == "1"
    model.train(GOOD)
    assert model.promote()["action"] == "promoted"
    assert [action for action, _, _ in model.moves()] == ["found", "promoted"]


def test_an_alias_moved_by_other_means_is_written_down(model: Model) -> None:
    model.serve(FAIR, GOOD)
    model.registry.point_alias("1")
    status = overview.status(model.config())
    assert (status["production"], status["agrees_with_ledger"], status["since"]) == ("1", False, None)
    assert failed(model.promote()) == {"found"}
    assert model.moves()[2:] == [("found", "1", "2"), ("refused", "2", "1")]
    model.registry.point_alias("")
    assert failed(model.promote(1)) == {"found"}
    assert model.rollback("1")["previous"] is None


def test_a_decision_on_what_is_no_longer_so_changes_nothing(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model.serve(POOR, FAIR)
    model.train(GOOD)
    judged = promotion.judge

    def moved_meanwhile(*arguments: Any) -> Any:
        model.registry.point_alias("1")
        return judged(*arguments)

    monkeypatch.setattr(promotion, "judge", moved_meanwhile)
    with pytest.raises(AliasMoved, match="moved from version 2 to 1 meanwhile"):
        model.promote()
    assert (model.production(), len(model.moves())) == ("1", 2)


SEEN = "champion_saw_rows"
OTHER_SEED, SMALLER_TEST = {"seed": 8, "test": 0.2}, {"seed": 7, "test": 0.1}
BY_GROUP = {"by": "group", "column": "x", "seed": 7, "test": 0.2}
OTHER_FEATURES = {"features": [*contract("", POOR)["features"], {"name": "colour", "type": "category"}]}
OF_THE_SAMPLE = {"data": contract("", GOOD)["data"] | {"synthetic": True}}


@pytest.mark.parametrize(
    ("champion", "challenger", "code", "told"),
    [
        pytest.param({"split": OTHER_SEED}, {}, SEEN, "seed 8 -> 7", id="seed"),
        pytest.param({"split": SMALLER_TEST}, {}, SEEN, "test share 0.1 -> 0.2", id="share"),
        pytest.param({"split": {"calibration": 0.1}}, {}, SEEN, "is not known", id="unknown"),
        pytest.param({"split": BY_GROUP}, {}, SEEN, "by group x -> by hash", id="way"),
        pytest.param({"terms": OTHER_FEATURES}, {}, SEEN, "other features (colour)", id="features"),
        pytest.param({}, {"terms": OF_THE_SAMPLE}, "synthetic_data", "was trained on real data", id="sample"),
        pytest.param({}, {"slope": float("nan")}, "challenger_not_finite", "", id="not-finite"),
    ],
)
def test_a_version_that_cannot_be_compared_is_refused(
    model: Model, champion: dict[str, Any], challenger: dict[str, Any], code: str, told: str
) -> None:
    model.serve(POOR, **champion)
    model.train(**{"slope": GOOD, **challenger})
    answer = model.promote()
    assert (answer["action"], failed(answer), model.production()) == ("refused", {code}, "1")
    assert told in answer["reasons"][0]["text"]
    assert json.dumps(answer, allow_nan=False)


def test_a_smaller_test_part_is_compared(model: Model) -> None:
    model.serve(FAIR)
    model.train(GOOD, split=SMALLER_TEST)
    assert model.promote()["action"] == "promoted"


def test_a_champion_whose_file_was_changed_can_be_replaced(model: Model) -> None:
    model.serve(FAIR)
    model.client.set_model_version_tag(model.name, "1", DIGEST_TAG, "0" * 64)
    model.train(GOOD)
    answer = model.promote()
    assert (answer["action"], failed(answer)) == ("refused", {"champion_cannot_score"})
    assert model.promote(gate={"mode": "off"})["action"] == "promoted"


def test_every_alias_has_its_own_course(model: Model) -> None:
    model.serve(FAIR)
    staging = Registry(model.name, "staging")
    assert overview.status(model.config(serving={"alias": "staging"}))["production"] is None
    assert Ledger(staging).entries() == []
    promotion.settle(Ledger(staging))
    assert len(model.moves()) == 1


def test_in_airflow_a_refusal_skips_what_follows(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    model.serve(GOOD)
    model.train(POOR)
    with pytest.raises(SystemExit) as ended:
        cli.main(["promote", "--skip", "--config", str(model.write())])
    assert ended.value.code == 99
    assert "skipped: version 2: refused: mae gain over version 1 is" in capsys.readouterr().err


def test_status_shows_every_pipeline_and_what_is_wrong_with_one(
    model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    model.serve(GOOD)
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
