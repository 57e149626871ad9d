"""One reading of a cell: what stands in a row of the training file is accepted in every form, and means the same."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import live_model
from fastapi.testclient import TestClient
from model_files import typed_contract, typed_model
from prediction_api.errors import WrongContent
from prediction_api.models.contract import Contract, DateFeature
from prediction_api.predicting.rows import RowReader

NAMES = ["amount", "garage", "is active", "sold", "paid"]
# Cells as a training file may have them, with the value that JSON would give and what the row is worth.
FILE: list[tuple[list[str], list[Any], float]] = [
    (["5", "attached", "True", "2026-01-06", "05.03.2026"], [5, "attached", True, "2026-01-06", "05.03.2026"], 31115.0),
    ([" 5.0 ", "attached\t", "YES", "2026-01-06T23:59:59Z", "5.3.2026"], [5.0, "attached", 1, "2026-01-06", None],
     31115.0),
    (["+.5e1", "none", "no", "2026-01-07T00:30:00+01:00", ""], [5.0, "none", False, "2026-01-06 12:00", None], 1005.0),
    (["\u22125", "007", "false", "", "?"], [-5, 7, 0, None, None], -5.0),
    (["n/a", "NA", "NULL", "nan", "N/A"], [None, None, None, None, None], 0.0),
    (["\u00a01 ", "carport", "", "", ""], ["1", "carport", None, "", " "], 1.0),
]  # fmt: skip


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with live_model(typed_model(), tmp_path_factory.mktemp("typed"), "typed") as client:
        yield client


def table(separator: str = ",", ending: str = "\n") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator=ending).writerows([NAMES, *[cells for cells, _, _ in FILE]])
    return text.getvalue()


@pytest.mark.parametrize(("cells", "values", "worth"), FILE)
def test_a_row_is_accepted_as_text_and_typed(
    typed: TestClient, cells: list[str], values: list[Any], worth: float
) -> None:
    answer = typed.post("/predict", json=dict(zip(NAMES, cells, strict=True)))
    assert (answer.status_code, answer.json().get("prediction")) == (200, worth), answer.text
    typed_row = dict(zip(NAMES, values, strict=True)) | ({"paid": cells[4]} if values[4] is None else {})
    assert typed.post("/predict", json=typed_row).json()["prediction"] == worth


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("change", [str, lambda text: "\ufeff" + text, lambda text: text.rstrip("\r\n")])
def test_the_file_itself_is_accepted_as_csv(typed: TestClient, separator: str, ending: str, change: Any) -> None:
    body = change(table(separator, ending))
    answer = typed.post("/predict/batch", content=body.encode(), headers={"Content-Type": "text/csv"})
    assert answer.status_code == 200, answer.text
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [float(row["prediction"]) for row in rows] == [worth for _, _, worth in FILE]
    assert [row["unknown"] for row in rows] == ["", "", "", "", "", "garage"]


def test_an_unknown_category_is_predicted_and_named_in_every_protocol(typed: TestClient) -> None:
    rows = [dict(zip(NAMES, values, strict=True)) for _, values, _ in FILE[-2:]]
    assert typed.post("/predict", json=rows[1]).json()["unknown"] == ["garage"]
    assert "unknown" not in typed.post("/predict", json=rows[0]).json()
    assert typed.post("/predict/batch", json={"rows": rows}).json()["unknown"] == [[], ["garage"]]
    assert "unknown" not in typed.post("/predict/batch", json={"rows": rows[:1]}).json()
    inputs = [{"name": name, "shape": [1], "datatype": "FP32", "data": [None]} for name in NAMES]
    inputs[1] = {"name": "garage", "shape": [1], "datatype": "BYTES", "data": ["carport"]}
    for one in (inputs[3], inputs[4]):
        one["datatype"] = "BYTES"
    answer = typed.post("/v2/models/typed/infer", json={"inputs": inputs}).json()
    assert json.loads(answer["parameters"]["unknown"]) == [["garage"]]


def test_an_unknown_category_is_refused_where_the_contract_says_so() -> None:
    contract = typed_contract()
    contract["features"][1]["unknown"] = "refuse"
    with pytest.raises(WrongContent, match="garage: expected one of 'attached', 'detached', 'none', '007' or null"):
        reader(contract).one(b'{"amount":1,"garage":"carport","is active":null,"sold":null,"paid":null}')


def reader(contract: dict[str, Any]) -> RowReader:
    return RowReader(Contract.model_validate_json(json.dumps(contract)))


@pytest.mark.parametrize(
    ("feature", "value", "says"),
    [
        ("is active", "maybe", "expected true or false (in text: 'true', 'yes', 'false', 'no') or null"),
        ("is active", 2, "found 2"),
        ("sold", "06.01.2026", "expected a date or time of ISO 8601"),
        ("sold", "2026-02-30", "found the text '2026-02-30'"),
        ("sold", 20260106, "found 2.02601e+07"),
        ("paid", "2026-01-06", "expected a date of the form '%d.%m.%Y', as '03.06.2024' or null"),
        ("garage", 8, "expected a text or null, found 8"),
        ("garage", True, "found true"),
        ("amount", "1,5", "found the text '1,5'"),
        ("amount", "1e39", "found the text '1e39'"),
        ("amount", True, "found true"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(typed: TestClient, feature: str, value: Any, says: str) -> None:
    row = dict.fromkeys(NAMES) | {feature: value}
    answer = typed.post("/predict", json=row)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["loc"] == [feature]
    assert says in answer.json()["errors"][0]["msg"]


@pytest.mark.parametrize(
    ("reading", "text", "number"),
    [
        ({"decimal": ","}, "1,5", 1.5),
        ({"decimal": ",", "thousands": "."}, "1.234.567,5", 1234567.5),
        ({"thousands": ","}, "63,206", 63206.0),
        ({"thousands": ","}, "6,3206", None),
        ({"thousands": ","}, "1.5", 1.5),
        ({"decimal": ","}, "1.5", None),
        ({"missing": ["-999", "k.A."]}, "-999", "missing"),
        ({"missing": ["-999", "k.A."]}, -999, "missing"),
        ({"missing": ["-999", "k.A."]}, "K.a.", "missing"),
        ({"missing": []}, "nan", None),
        ({}, "1_000", None),
        ({}, "\u0661", None),
        ({}, "infinity", None),
    ],
)
def test_numbers_are_read_as_the_contract_says(reading: dict[str, Any], text: Any, number: Any) -> None:
    contract = typed_contract() | {"reading": reading}
    body = json.dumps(dict.fromkeys(NAMES) | {"amount": text}).encode()
    if number is None:
        with pytest.raises(WrongContent):
            reader(contract).one(body)
    else:
        assert reader(contract).one(body)[0] == (None if number == "missing" else number)


@pytest.mark.parametrize(
    "body",
    [
        b'{"amount":1,"amount":2,"garage":null,"is active":null,"sold":null,"paid":null}',
        b'{"amount" :1,"amount" :2,"garage":"\\":","is active":null,"sold":"\\":","paid":null}',
        b'{"amount"\n:1,"garage":null,"is active":null,"sold":null,"paid":null, "\\u0061mount":2}',
    ],
)
def test_a_name_given_twice_is_refused(body: bytes) -> None:
    with pytest.raises(WrongContent, match="amount: this name occurs twice in one object"):
        reader(typed_contract()).one(body)


def test_the_explanation_has_a_typical_value_of_each_type(typed: TestClient) -> None:
    body = typed.post("/explain", json=dict(zip(NAMES, FILE[0][0], strict=True))).json()
    typical = {one["feature"]: one["typical"] for one in body["contributions"]}
    assert typical == {"amount": 5.0, "garage": "none", "is active": True, "sold": "2024-06-03", "paid": "03.06.2024"}


def test_the_model_shows_dates_as_the_table_has_them(typed: TestClient) -> None:
    features = {one["name"]: one for one in typed.get("/model").json()["features"]}
    assert [features[name]["example"] for name in ("sold", "paid")] == ["2024-06-03", "03.06.2024"]


def test_texts_that_a_spreadsheet_would_run_are_made_harmless_where_asked(tmp_path: Path) -> None:
    contract = typed_contract()
    contract["features"][1] |= {"name": "=garage", "input": "garage"}
    body = "amount,garage,is active,sold,paid\n-5,carport,,,\n"
    with live_model(typed_model(contract), tmp_path) as client:
        plain, safe = (
            client.post(f"/predict/batch{query}", content=body, headers={"Content-Type": "text/csv"}).text
            for query in ("", "?safe=1")
        )
    assert plain.splitlines()[1].endswith(",=garage")
    assert safe.splitlines()[1].endswith(",'=garage")
    assert safe.splitlines()[1].startswith("-5.0,")  # a number stays one


@pytest.mark.parametrize(
    ("form", "text", "accepted"),
    [
        ("%Y%m%d", "20240113", True),
        ("%Y%m%d", "2024113", False),
        ("%d.%m.%Y", "3.6.2024", True),
        ("%d.%m.%Y", "٣.٦.٢٠٢٤", False),
        ("%d.%m.%Y", "3.6.24", False),
        ("%d/%m/%Y %H:%M", "3/6/2024 9:05", True),
        ("%d/%m/%Y %H:%M", "3/6/2024 9:5", False),
    ],
)
def test_a_date_has_the_digits_that_training_asks_for(form: str, text: str, accepted: bool) -> None:
    [feature] = [one for one in typed_contract()["features"] if one["name"] == "paid"]
    date = DateFeature.model_validate({**feature, "format": form})
    if accepted:
        date.moment(text)
    else:
        with pytest.raises(ValueError, match="form"):
            date.moment(text)
