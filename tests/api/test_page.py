"""The page for predicting, used in a real browser as a person would."""

import re
from urllib.parse import urljoin

import httpx
import pytest
from chromium import PHONE, hindrances, tab_to, watched
from conftest import live, wait_until
from model_files import (
    classification_contract,
    classification_model,
    regression_contract,
    regression_model,
    typed_model,
)
from page_fixtures import drop, look_again
from playwright.sync_api import Browser, Page, Route, expect
from prediction_api.settings import Settings
from pydantic import SecretStr
from registry_server import FakeRegistry
from servers import held_port
from service_thread import serving

EVIL = "<img src=x onerror=\"console.error('script ran')\">"


def answer_of(page: Page, path: str) -> httpx.Response:
    """What the service itself answers now."""
    return httpx.get(urljoin(page.url, path), trust_env=False, timeout=60)


def test_a_prediction_needs_only_the_keyboard(wine: Page) -> None:
    tab_to(wine, "Skip to the content")
    wine.keyboard.press("Enter")
    tab_to(wine, "fixed acidity g/dm3")
    wine.keyboard.type("8.0")
    tab_to(wine, "alcohol")
    wine.keyboard.type("9")
    tab_to(wine, "type")
    wine.keyboard.press("w")
    wine.keyboard.press("Enter")
    wine.keyboard.press("Escape")
    tab_to(wine, "Predict")
    wine.keyboard.press("Enter")
    answer = wine.get_by_role("region", name="Answer")
    expect(answer).to_contain_text("quality 14.000")
    expect(answer).to_contain_text("between 13.500 and 14.500 in 90% of cases")
    expect(answer.locator("[aria-live=polite]")).to_contain_text("14.000")


def test_the_form_shows_ranges_units_and_a_row_of_the_test_set(wine: Page) -> None:
    acidity = wine.get_by_label("fixed acidity")
    expect(acidity).to_have_value("8")
    expect(acidity).to_have_accessible_description("3.8 to 15.9")
    expect(wine.get_by_label("alcohol")).to_have_accessible_description("8 to 14.9 · may stay empty")
    expect(wine.get_by_label("type").locator("option")).to_have_text(["not known", "red", "white"])
    expect(wine.get_by_label("type")).to_have_value("white")
    expect(wine.get_by_text("Synthetic data.")).to_be_visible()
    expect(wine.locator("#subtitle")).to_have_text(
        "wine-quality version 1, trained 23 Nov 2026, 09:00 UTC on 7 rows of data/sample.csv"
    )
    expect(wine.get_by_role("region", name="Its history")).to_contain_text("Nothing was decided")
    acidity.fill("1000")
    expect(acidity).to_have_accessible_description("training saw only 3.8 to 15.9")
    for value, kind in (("4", "not known"), ("8", "white")):  # there are two rows
        wine.get_by_role("button", name="Another row").click()
        expect(acidity).to_have_value(value)
        expect(acidity).to_have_accessible_description("3.8 to 15.9")
        expect(wine.get_by_label("type").locator("option:checked")).to_have_text(kind)


def test_an_answer_is_explained_and_goes_when_its_row_changes(wine: Page) -> None:
    answer = wine.get_by_role("region", name="Answer")
    for change in (
        lambda: wine.get_by_label("alcohol").fill("10"),
        lambda: wine.get_by_label("type").select_option("red"),
        lambda: wine.get_by_role("button", name="Another row").click(),
    ):
        wine.get_by_role("button", name="Predict").click()
        expect(answer.get_by_role("heading", name="What moved it most")).to_be_visible()
        expect(answer.get_by_label("Know the true quality?")).to_be_visible()
        change()
        expect(answer).to_have_text(
            re.compile(r"^\s*Answer\s*A row that the model has not learned from[^.]*\. [^.]*\.\s*$")
        )


def test_an_answer_that_comes_after_a_change_is_not_shown(wine: Page) -> None:
    held: list[Route] = []
    wine.route("**/predict", lambda route: held.append(route))  # noqa: PLW0108  # no bound method will do
    wine.get_by_role("button", name="Predict").click()
    expect(wine.get_by_role("button", name="Predict")).to_be_disabled()
    wine.get_by_label("alcohol").fill("10")
    while not held:  # the button is disabled before the browser has sent the request
        wine.wait_for_timeout(10)
    held[0].continue_()
    expect(wine.get_by_role("button", name="Predict")).to_be_enabled()
    expect(wine.locator(".headline")).to_have_count(0)


def test_each_type_has_its_control_and_several_models_a_selector(
    registry: FakeRegistry, address: str, page: Page
) -> None:
    registry.add(typed_model(), name="typed")
    registry.add(classification_model(), name="tumour")
    wait_until(lambda: httpx.get(f"{address}/models/tumour/readyz", trust_env=False, timeout=60).status_code == 200)
    page.goto(f"{address}/predict-form")
    expect(page.get_by_role("heading", name="Predict worth")).to_be_visible()
    expect(page.get_by_label("sold")).to_have_attribute("type", "date")
    expect(page.get_by_label("paid")).to_have_accessible_description("as 03.06.2024 · may stay empty")
    expect(page.get_by_label("is active").locator("option")).to_have_text(["not known", "true", "false"])
    page.get_by_label("garage").fill("carport")
    expect(page.get_by_label("garage")).to_have_accessible_description(
        "training did not see this: it is predicted without it"
    )
    page.get_by_role("button", name="Predict").click()
    answer = page.get_by_role("region", name="Answer")
    expect(answer).to_contain_text("Predicted without garage")
    expect(answer).to_contain_text("60,105")
    page.get_by_label("Model", exact=True).select_option("tumour")
    expect(page.get_by_role("heading", name="Predict kind")).to_be_visible()
    page.get_by_role("button", name="Predict").click()
    expect(answer).to_contain_text("benign")
    page.goto(f"{address}/predict-form?model=tumour")
    expect(page.get_by_role("heading", name="Predict kind")).to_be_visible()


def test_what_the_service_refuses_is_shown_at_its_field_until_it_is_corrected(wine: Page) -> None:
    acidity = wine.get_by_label("fixed acidity")
    acidity.fill("")
    acidity.press("Enter")
    expect(acidity).to_have_accessible_description("3.8 to 15.9 expected a finite number, found null")
    acidity.fill("8")
    acidity.press("Enter")
    expect(wine.locator(".headline")).to_be_visible()
    expect(acidity).not_to_have_attribute("aria-invalid", "true")
    expect(acidity).to_have_accessible_description("3.8 to 15.9")
    acidity.fill("7,4")
    wine.get_by_role("button", name="Predict").click()
    expect(acidity).to_have_attribute("aria-invalid", "true")
    expect(acidity).to_have_accessible_description("3.8 to 15.9 expected a finite number, found the text '7,4'")
    expect(acidity).to_be_focused()
    expect(wine.get_by_role("alert")).to_contain_text("The input does not fit the model")
    meaning = wine.get_by_role("link", name="What this error means")
    with wine.expect_navigation():
        meaning.click()
    expect(wine.locator("tr:target")).to_contain_text("The input does not fit the model")


def test_what_moved_the_prediction_is_shown_with_the_largest_first(wine: Page) -> None:
    wine.get_by_label("fixed acidity").fill("9")
    wine.get_by_label("alcohol").fill("")
    wine.get_by_label("type").select_option("red")
    wine.get_by_role("button", name="Predict").click()
    most = wine.get_by_role("list", name="What moved it most").get_by_role("listitem")
    expect(most).to_have_text(
        ["fixed acidity+1.0009 instead of 7", "type−1.000red instead of white", "alcohol−0.300empty instead of 10.3"]
    )
    expect(most).to_have_class(["up", "down", "down"])
    expect(wine.locator("#explanation")).to_contain_text("With typical values throughout, the answer is 14.800.")
    wine.get_by_label("fixed acidity").fill("7")
    wine.get_by_label("type").select_option("not known")
    wine.get_by_role("button", name="Predict").click()
    expect(wine.locator(".headline")).to_contain_text("13.500")
    expect(most).to_have_count(2)
    wine.get_by_text("1 that moved it less").click()
    expect(wine.get_by_role("list", name="What moved it less")).to_have_text("fixed acidity0.0007, as is typical")


def test_the_model_and_its_history_are_shown_with_reasons(registry: FakeRegistry, address: str, page: Page) -> None:
    reasons = [{"code": "gain", "passed": False, "text": f"not certain {EVIL}"}, {"text": "within", "passed": True}]
    entry = {"version": "1", "previous": None, "by": "airflow", "at": "2026-11-23T10:00:00+00:00", "reasons": []}
    registry.ledger = [
        entry | {"action": "refused", "version": "2", "previous": "1", "reasons": reasons},
        entry | {"action": "promoted"},
        entry | {"action": "looked_at"},
    ]
    registry.add(regression_model())
    page.goto(f"{address}/predict-form")
    model = page.get_by_role("region", name="The model in production")
    model.get_by_text("Identifiers").press("Enter")
    for text in ("wine-quality, version 1 (production)", "7 rows of data/sample.csv, synthetic", "sha256:00"):
        expect(model.get_by_text(text)).to_be_visible()
    expect(model.locator(".metrics")).to_have_text("MAE0.5")
    told = page.get_by_role("region", name="Its history")
    decisions = told.locator("ol > li")
    expect(decisions.locator("strong")).to_have_text(
        ["Version 2 was refused", "Version 1 was promoted", "Version 1 looked at"]
    )
    expect(decisions.first).to_contain_text("in favour of version 1")
    expect(decisions.nth(1)).to_contain_text("23 Nov 2026, 10:00 UTC, by airflow")
    told.get_by_text("2 reasons").press("Enter")
    expect(told.locator("li li")).to_have_text([f"failed: not certain {EVIL}", "passed: within"])
    assert page.locator("img").count() == 0


def test_a_version_that_is_not_served_is_said_with_what_it_means(registry: FakeRegistry, own_wine: Page) -> None:
    registry.add(regression_model(slope=0.25), sha256="0" * 64)
    wait_until(lambda: answer_of(own_wine, "readyz").json()["refused"])
    look_again(own_wine)
    trouble = own_wine.get_by_role("region", name="The model in production").locator(".callout")
    expect(trouble).to_contain_text("Version 2 is not served: ")
    trouble.get_by_role("link", name="What this means").click()
    expect(own_wine.locator("tr:target")).to_contain_text("digest-mismatch")


def test_a_decision_that_leaves_the_model_as_it_is_comes_into_the_history(
    registry: FakeRegistry, own_wine: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prediction_api.models.registry.KEPT_SECONDS", 0.0)
    told = own_wine.get_by_role("region", name="Its history")
    expect(told).to_contain_text("Nothing was decided")
    reasons = [{"text": "not certain", "passed": False}]
    registry.ledger = [{"action": "refused", "version": "2", "previous": "1", "by": "", "at": "", "reasons": reasons}]
    look_again(own_wine, times=12)
    expect(told).to_contain_text("Version 2 was refused")
    told.get_by_text("1 reason").click()
    look_again(own_wine, times=12)
    expect(told.get_by_text("failed: not certain")).to_be_visible()  # what was opened stays open


def test_without_a_history_predictions_go_on_and_it_is_said(
    registry: FakeRegistry, settings: Settings, page: Page
) -> None:
    registry.add(regression_model())
    with live(settings):
        wait_until(lambda: list(settings.models_dir.glob("*/*.json")))  # a copy of the model is kept
    registry.stop()
    with serving(settings) as url:
        page.goto(f"{url}/predict-form")
        expect(page.get_by_role("region", name="Its history")).to_contain_text("history cannot be read")
        page.get_by_role("button", name="Predict").click()
        expect(page.locator(".headline")).to_be_visible()


def test_an_older_history_says_its_age(registry: FakeRegistry, own_wine: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prediction_api.models.registry.KEPT_SECONDS", 0.0)
    expect(own_wine.get_by_role("region", name="Its history")).to_contain_text("Nothing was decided")
    registry.stop()
    wait_until(lambda: answer_of(own_wine, "readyz").json()["registry"]["reachable"] is False)
    own_wine.reload()
    for name, text in (
        ("Its history", "The registry does not answer now; this is"),
        ("The model in production", "goes on serving from its copy"),
    ):
        expect(own_wine.get_by_role("region", name=name)).to_contain_text(text)


def test_the_truth_can_be_told_later(wine: Page) -> None:
    wine.get_by_role("button", name="Predict").click()
    truth = wine.get_by_label("Know the true quality?")
    truth.fill("good")
    truth.press("Enter")
    expect(truth).to_have_accessible_description("expected a number, found the text 'good'")
    truth.fill("6.5")
    with wine.expect_response("**/feedback") as told:
        truth.press("Enter")
    assert told.value.status == 202
    expect(truth).to_have_accessible_description("Noted, thank you.")
    assert told.value.request.post_data_json["actual"] == 6.5


def test_a_date_with_a_time_of_day_is_typed_as_text(registry: FakeRegistry, address: str, page: Page) -> None:
    def timed(route: Route) -> None:
        model = route.fetch().json()
        sold = next(feature for feature in model["features"] if feature["name"] == "sold")
        sold["parts"].append({"input": "sold_seconds", "part": "seconds"})
        model["rows"] = [model["rows"][0] | {"sold": "2026-03-29T14:30:49"}]
        route.fulfill(json=model)

    registry.add(typed_model())
    page.route("**/model", timed)
    page.goto(f"{address}/predict-form")
    expect(page.get_by_label("sold")).to_have_value("2026-03-29T14:30:49")
    expect(page.get_by_label("sold")).to_have_accessible_description(re.compile("as 2026-03-29T14:30:00, in UTC"))


def test_classification_shows_the_probabilities_as_bars(registry: FakeRegistry, address: str, page: Page) -> None:
    threshold = {"label": "benign", "value": 0.1, "chosen_for": "precision 0.9"}
    registry.add(classification_model(classification_contract() | {"threshold": threshold}))
    page.goto(f"{address}/predict-form")
    page.get_by_label("size").fill("2")
    page.get_by_label("size").press("Enter")
    expect(page.locator(".headline")).to_have_text("kind malign")
    told = "“benign” is served from a probability of 10.0% (precision 0.9)"
    expect(page.get_by_role("region", name="Answer")).to_contain_text(told)
    expect(page.locator("#model")).to_contain_text(told)
    shares = page.get_by_role("list", name="Probabilities").get_by_role("listitem")
    expect(shares).to_have_text(["malign88.1%", "benign11.9%"])
    widths = page.locator(".shares .bar").evaluate_all(
        "bars => bars.map(bar => parseFloat(getComputedStyle(bar, '::before').width) / bar.clientWidth)"
    )
    assert widths == pytest.approx([0.8807971, 0.1192029], abs=0.01)
    truth = page.get_by_label("Know the true kind?")
    truth.select_option("benign")
    page.get_by_role("button", name="Tell").click()
    expect(truth).to_have_accessible_description("Noted, thank you.")


def test_without_a_model_the_page_says_so_and_then_finds_one(registry: FakeRegistry, address: str, page: Page) -> None:
    page.goto(f"{address}/predict-form")
    waiting = page.get_by_role("region", name="No model is served yet")
    expect(waiting).to_contain_text("make train")
    look_again(page)
    expect(waiting).to_contain_text("no registered model carries the alias 'production'")
    registry.add(regression_model())
    wait_until(lambda: answer_of(page, "readyz").is_success)
    look_again(page)
    expect(page.get_by_label("fixed acidity")).to_be_visible()
    expect(waiting).to_be_hidden()


def test_another_model_is_noticed_and_its_form_built(registry: FakeRegistry, own_wine: Page) -> None:
    own_wine.get_by_label("fixed acidity").fill("6")
    contract = regression_contract()
    contract["features"][1] |= {"name": "strength", "example": 11.5}
    registry.add(regression_model(contract=contract))
    wait_until(lambda: answer_of(own_wine, "model").json()["version"] == "2")
    look_again(own_wine)
    expect(own_wine.get_by_label("strength")).to_have_value("9")
    expect(own_wine.get_by_role("status")).to_contain_text("version 2 is served now")
    expect(own_wine.get_by_label("fixed acidity")).to_have_value("6")  # what was typed stays
    own_wine.get_by_role("button", name="Predict").click()
    expect(own_wine.locator(".headline")).to_contain_text("13.000")


def test_a_service_that_is_away_is_said_and_its_restart_is_no_news(
    registry: FakeRegistry, settings: Settings, page: Page
) -> None:
    registry.add(regression_model())
    with held_port() as port:
        settings = settings.model_copy(update={"api_port": port})
        with serving(settings) as url:
            page.goto(f"{url}/predict-form")
            expect(page.get_by_label("fixed acidity")).to_be_visible()
            page.get_by_label("fixed acidity").fill("6")
        look_again(page)
        expect(page.get_by_role("status").first).to_contain_text("The service does not answer.")
        page.get_by_role("button", name="Predict").click()
        expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
        with serving(settings):
            look_again(page)
            expect(page.get_by_role("status").first).to_have_text("")
            expect(page.get_by_label("fixed acidity")).to_have_value("6")


def test_a_key_is_asked_for_where_the_service_wants_one(registry: FakeRegistry, settings: Settings, page: Page) -> None:
    registry.add(regression_model())
    right = "0f9a6c1e5d7b48e2a3c0"
    with serving(settings.model_copy(update={"api_key": SecretStr(right)})) as url:
        wait_until(lambda: httpx.get(f"{url}/readyz", trust_env=False, timeout=60).is_success)
        page.goto(f"{url}/predict-form")
        key = page.get_by_label("API key")
        expect(key).to_be_focused()
        key.fill("another key, not the right one")
        key.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("The service did not take this key.")
        page.reload()
        expect(page.get_by_role("alert")).to_have_text("The service did not take this key.")
        key.fill(right)
        key.press("Enter")
        expect(page.get_by_role("heading", name="Predict quality")).to_be_visible()
        drop(page, "rows.csv", "fixed acidity,alcohol,type\n7,9,red\n")
        page.get_by_role("button", name="Predict all rows").click()
        expect(page.locator("#outcome")).to_contain_text("1 prediction")
        page.get_by_role("button", name="Predict", exact=True).click()
        expect(page.locator("#explanation")).to_contain_text("With typical values throughout")
        assert page.evaluate("localStorage.length + document.cookie.length") == 0  # the key ends with the tab


def test_no_text_of_a_model_becomes_markup(registry: FakeRegistry, address: str, page: Page) -> None:
    contract = regression_contract()
    contract["features"][0] |= {"name": f"acid{EVIL}", "unit": EVIL}
    contract["features"][2] |= {"categories": [EVIL, "red", "white"], "example": EVIL}
    contract["target"] = f"quality{EVIL}"
    contract["data"] |= {"source": EVIL}
    registry.add(regression_model(contract=contract))
    page.goto(f"{address}/predict-form")
    expect(page.get_by_label(f"acid{EVIL}")).to_be_visible()
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".headline")).to_contain_text(EVIL)
    assert page.locator("img").count() == 0
    page.goto(f"{address}/docs")
    expect(page.get_by_role("rowheader", name=f"acid{EVIL}")).to_be_visible()
    assert page.locator("img").count() == 0


def test_the_content_policy_refuses_markup_and_more(registry: FakeRegistry, address: str, browser: Browser) -> None:
    with watched(browser) as (tab, errors):
        tab.goto(f"{address}/predict-form")
        markup = "try { document.body.innerHTML = '<p>'; 'taken' } catch (error) { error.name }"
        assert tab.evaluate(markup) == "TypeError"
        elsewhere = (
            "document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.1:9/x.png'}))"
        )
        with tab.expect_console_message(lambda message: message.text == "policy: http://127.0.0.1:9/x.png"):
            tab.evaluate(elsewhere)
    assert "policy: http://127.0.0.1:9/x.png" in errors  # so every other test would see it too


def test_every_text_can_be_read_and_every_field_has_a_label(wine: Page) -> None:
    wine.get_by_label("fixed acidity").fill("wrong")
    wine.get_by_role("button", name="Predict").click()
    expect(wine.get_by_role("alert")).to_be_visible()
    assert hindrances(wine) == []
    wine.get_by_label("fixed acidity").fill("1000")
    wine.get_by_role("button", name="Predict").click()
    expect(wine.locator(".headline")).to_be_visible()
    assert hindrances(wine) == []
    nameless = "[...document.querySelectorAll('input, select')].filter((field) => !field.labels.length).length"
    assert wine.evaluate(nameless) == 0
    assert wine.evaluate("document.querySelectorAll('h1').length") == 1


def test_a_phone_needs_no_sideways_scrolling(wine: Page) -> None:
    wine.set_viewport_size(PHONE)
    wine.get_by_role("button", name="Predict").click()
    expect(wine.locator(".headline")).to_be_in_viewport()
    assert wine.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
