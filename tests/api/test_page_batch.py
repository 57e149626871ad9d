"""Many rows on the page: a CSV file goes in, the service's own answer comes out."""

import io
import re
from csv import reader
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from chromium import hindrances
from model_files import classification_model
from page_fixtures import drop
from playwright.sync_api import Page, expect
from registry_server import FakeRegistry

EVIL = "<img src=x onerror=\"console.error('script ran')\">"

ROWS = "fixed acidity,alcohol,type\n" + "".join(f"{number},9.5,white\n" for number in range(4, 14))


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "my wines.csv"
    path.write_text(ROWS)
    return path


def answered(page: Page, text: str) -> list[list[str]]:
    """The service's own answer, without the ids, which are another for each call."""
    answer = httpx.post(
        urljoin(page.url, "predict/batch"),
        content=text,
        headers={"Content-Type": "text/csv"},
        trust_env=False,
        timeout=60,
    )
    assert answer.status_code == 200
    return without_ids(answer.text)


def without_ids(text: str, first: int = 0) -> list[list[str]]:
    """Every line from this cell on, without the last one."""
    return [line[first:-1] for line in reader(io.StringIO(text))]


def downloaded(page: Page) -> tuple[str, str]:
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("Download")).press("Enter")
    return download.value.suggested_filename, Path(download.value.path()).read_text()


def test_a_chosen_file_is_predicted_and_the_download_is_the_services_answer(wine: Page, csv: Path) -> None:
    wine.get_by_label("Choose a CSV file").set_input_files(csv)
    look = wine.get_by_role("region", name=f"my wines.csv, {len(ROWS)} bytes: 3 columns, the first rows")
    expect(look.get_by_role("row")).to_have_count(6)
    expect(look.get_by_role("row").nth(1)).to_have_text("249.5white")
    wine.get_by_role("button", name="Predict all rows").press("Enter")
    expect(wine.locator("#outcome")).to_contain_text("10 predictions, in the order of the rows.")
    name, text = downloaded(wine)
    assert name == "my wines-predictions.csv"
    assert without_ids(text, first=3) == answered(wine, ROWS)
    assert [line.split(",")[:3] for line in text.splitlines()] == [line.split(",") for line in ROWS.splitlines()]


def test_the_browser_holds_no_answer_longer_than_the_page_offers_it(wine: Page, csv: Path) -> None:
    wine.evaluate(
        "window.given = []; const free = URL.revokeObjectURL.bind(URL);"
        " URL.revokeObjectURL = (address) => { window.given.push(address); free(address); };"
    )
    wine.get_by_label("Choose a CSV file").set_input_files(csv)
    link = wine.get_by_role("link", name=re.compile("Download"))
    wine.get_by_role("button", name="Predict all rows").press("Enter")
    first = link.get_attribute("href")
    assert first not in wine.evaluate("window.given")
    wine.get_by_role("button", name="Predict all rows").press("Enter")
    expect(link).not_to_have_attribute("href", str(first))
    assert first in wine.evaluate("window.given")
    assert link.get_attribute("href") not in wine.evaluate("window.given")


def test_a_dropped_file_is_taken_and_columns_that_are_no_features_are_copied(wine: Page) -> None:
    lines = ROWS.splitlines()
    notes = ["note;with", *(f'"says ""{number}"";\nand more"' for number in range(10))]
    drop(wine, "noted.csv", "\r\n".join(f"{note},{line}" for note, line in zip(notes, lines, strict=True)))
    expect(wine.get_by_role("row").nth(1)).to_have_text('3says "0";\nand more49.5white', use_inner_text=False)
    hint = "Not a feature of the model, so only copied into the answer: note;with"
    expect(wine.locator("#batch")).to_contain_text(hint)
    wine.get_by_role("button", name="Predict all rows").click()
    expect(wine.locator("#outcome")).to_contain_text("10 predictions")
    text = downloaded(wine)[1]
    assert without_ids(text, first=4) == answered(wine, ROWS)
    assert list(reader(io.StringIO(text)))[1][0] == 'says "0";\nand more'


def test_each_fault_is_shown_with_its_place_as_the_service_says_it(wine: Page) -> None:
    bad = ROWS.replace("5,9.5", "5,strong").replace("7,9.5,white", f"7,9.5,{EVIL}")
    drop(wine, "bad.csv", bad.replace(",", ";"))  # semicolons part as well
    wine.get_by_role("button", name="Predict all rows").click()
    expect(wine.locator("#outcome").get_by_role("alert")).to_contain_text("The input does not fit the model")
    faults = wine.locator(".faults li")
    expect(faults).to_have_count(2)
    expect(faults.first).to_have_text(
        "line 3 alcohol: expected a finite number or an empty cell, found the text 'strong'"
    )
    expect(faults.last).to_contain_text("line 5 type: expected one of 'red', 'white' or an empty cell, found the text")
    expect(wine.locator("#outcome")).to_contain_text("No row was predicted, because of 2 faults:")
    assert wine.locator("#outcome").inner_text().count("strong") == 1


def test_a_file_with_bad_rows_is_predicted_without_them(wine: Page) -> None:
    lines = ROWS.splitlines()
    lines[3] = "6,strong,white"
    lines[9] = "12,9.5"
    drop(wine, "bad.csv", "\n".join([*lines[:4], "", *lines[4:]]))  # a blank line is a line, and no row
    wine.get_by_role("button", name="Predict all rows").click()
    expect(wine.locator("#preview mark")).to_have_text(["4", "strong", "11"])  # the lines, and the cell
    rows = wine.locator("#preview tbody tr")
    expect(rows).to_have_count(6)
    expect(rows.filter(has_text="12").locator("th, td")).to_have_text(["11", "12", "9.5", ""])
    expect(wine.locator(".faults li")).to_have_count(2)
    wine.get_by_role("button", name="Predict the other rows").press("Enter")
    outcome = wine.locator("#outcome")
    expect(outcome).to_contain_text("8 predictions, in the order of the rows.")
    expect(outcome).to_contain_text("2 rows left out, lines 4, 11. The last column of the file, error, says why.")
    table = list(reader(io.StringIO(downloaded(wine)[1])))
    assert table[0] == ["fixed acidity", "alcohol", "type", "prediction", "low", "high", "id", "error"]
    assert [row[0] for row in table if row[3] == ""] == ["6", "12"]
    assert table[3][7].startswith("line 4 alcohol: expected a finite number")


def test_everybody_can_read_the_marked_faults(wine: Page) -> None:
    drop(wine, "bad.csv", ROWS.replace("5,9.5", "5,strong").replace("7,9.5,white", "7,9.5"))
    wine.get_by_role("button", name="Predict all rows").click()
    expect(wine.locator("#preview mark")).to_have_count(3)
    assert hindrances(wine) == []


@pytest.mark.parametrize("text", ["fixed acidity,alcohol\n7,9\n", "fixed acidity,alcohol,type\n"])
def test_where_no_row_can_fit_there_are_no_others_to_predict(wine: Page, text: str) -> None:
    drop(wine, "bad.csv", text)
    wine.get_by_role("button", name="Predict all rows").click()
    expect(wine.locator(".faults li")).to_have_count(1)
    expect(wine.get_by_role("button", name="Predict the other rows")).to_have_count(0)


def test_no_text_of_a_file_becomes_markup(wine: Page) -> None:
    drop(wine, f"{EVIL}.csv", f"fixed acidity,alcohol,type,{EVIL}\n7,9,red,{EVIL}\n")
    expect(wine.get_by_role("cell", name=EVIL)).to_be_visible()
    wine.get_by_role("button", name="Predict all rows").click()
    expect(wine.locator("#outcome")).to_contain_text("1 prediction, in the order")
    assert wine.locator("img").count() == 0


def test_a_wide_file_does_not_widen_the_page_of_a_phone(wine: Page) -> None:
    wine.set_viewport_size({"width": 360, "height": 740})
    drop(wine, f"{'long' * 20}.csv", "fixed acidity,alcohol,type\n" + f"7,9,{'red' * 50}\n")
    expect(wine.get_by_role("cell", name="redred")).to_be_visible()
    wine.get_by_role("button", name="Predict all rows").click()
    expect(wine.locator(".faults")).to_be_visible()
    assert wine.evaluate("document.documentElement.scrollWidth") == 360


def test_an_empty_file_is_said(wine: Page) -> None:
    drop(wine, "nothing.csv", "\n\n")
    expect(wine.locator("#batch").get_by_role("alert")).to_have_text("nothing.csv is empty.")


def test_probabilities_are_in_the_answer_for_classes(registry: FakeRegistry, address: str, page: Page) -> None:
    registry.add(classification_model())
    page.goto(f"{address}/predict-form")
    expect(page.get_by_label("size")).to_be_visible()
    drop(page, "sizes.csv", "size\n-2\n2\n")
    page.get_by_role("button", name="Predict all rows").click()
    answer = page.get_by_role("region", name="The first predictions")
    expect(answer.get_by_role("columnheader")).to_have_text(
        ["size", "prediction", "probability_benign", "probability_malign", "id"]
    )
    expect(answer.get_by_role("row").nth(2)).to_contain_text("2malign0.11920290.8807971")


def test_the_many_rows_can_be_stopped(wine: Page) -> None:
    wine.route("**/predict/batch?*", lambda _: None)  # never answered
    drop(wine, "rows.csv", ROWS)
    wine.get_by_role("button", name="Predict all rows").click()
    expect(wine.get_by_role("progressbar")).to_be_visible()
    wine.get_by_role("button", name="Stop").press("Enter")
    expect(wine.locator("#outcome")).to_have_text("Stopped.")
    expect(wine.get_by_role("button", name="Predict all rows")).to_be_enabled()
