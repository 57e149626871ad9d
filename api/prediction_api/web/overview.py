"""The overview at `/`: what every part of the stack says of itself, read when somebody looks.

Where each fact comes from:
1. What serves, and its metrics: the catalog, in memory; so this tile is there when everything else is away.
2. The gate's last verdict: the ledger, as `GET /history` reads it. The last training: its run in MLflow.
3. Drift, live error and the last check: the runs and the tag that the monitor writes into MLflow.
4. Predictions, feedback and refused requests: this process's own counters.
5. Airflow: its open health check. The service that anybody may call gets no account there, because whoever took it over
   could start trainings; the runs themselves are on Airflow's page, and `make status` prints them with its own login.
6. Documents and answers: the question-answering service's calls, with a key that may read where it asks for one.
7. Alerts: Prometheus.
No thread, no store: the sources are asked at once, each for at most SECONDS, and the answer is kept for KEPT_SECONDS.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel, ValidationError

from prediction_api.errors import HistoryUnavailable, RegistryAway, SourceAway
from prediction_api.models.copies import now
from prediction_api.models.registry import LedgerEntry, Registry, Run
from prediction_api.models.store import Catalog, LiveModel, ServedModel
from prediction_api.telemetry.metrics import Metrics
from prediction_api.web.neighbours import Neighbours
from prediction_api.web.tiles import Link, Point, Tile, Trend, counted, figure, moment

SECONDS = 3.0  # MLflow searches slowly while the machine trains a model
KEPT_SECONDS = 5.0
MOST_WINDOWS = 20  # of a trend
NAMES = {"mae": "MAE", "rmse": "RMSE", "r2": "R²", "roc_auc": "ROC AUC", "log_loss": "log loss"}
MOVES = ("promoted", "rolled_back", "reverted", "found")
JUDGED = ("promoted", "refused", "would_promote", "would_refuse")


class OverviewAnswer(BaseModel):
    """`attention` names the tiles on which somebody has to act; a source that is away is not among them."""

    at: datetime
    attention: list[str]
    tiles: list[Tile]


class _Window(BaseModel):
    """What the monitor found in one stretch of the traffic."""

    end: AwareDatetime
    rows: int
    drifted: list[str] = []
    error_worse: bool = False


class Overview:
    def __init__(self, catalog: Catalog, metrics: Metrics, neighbours: Neighbours) -> None:
        self._catalog, self._metrics, self._neighbours = catalog, metrics, neighbours
        self._since = now()
        self._asking = asyncio.Lock()
        self._kept: OverviewAnswer | None = None
        self._asked_at = 0.0

    async def read(self) -> OverviewAnswer:
        """Everything, at most KEPT_SECONDS old."""
        async with self._asking:
            if self._kept is None or time.monotonic() - self._asked_at >= KEPT_SECONDS:
                tiles = await self._tiles()
                bad = [tile.title for tile in tiles if any(fact.bad for fact in tile.facts)]
                self._kept, self._asked_at = OverviewAnswer(at=now(), attention=bad, tiles=tiles), time.monotonic()
            return self._kept

    async def close(self) -> None:
        await self._neighbours.close()

    async def _tiles(self) -> list[Tile]:
        near, asked = self._neighbours, list[Awaitable[Tile]]()
        for model in self._catalog.models.values():
            served, traffic = serving(model, self._catalog), Tile(title=f"{model.name}: live traffic")
            asked.append(_asked(served, partial(add_decisions, model.name, self._catalog.registry)))
            asked.append(_asked(traffic, partial(add_windows, model, self._catalog.registry)))
        others = {"Documents and answers": near.documents, "Airflow": near.airflow, "Alerts": near.alerts}
        asked += [_asked(Tile(title=title), source) for title, source in others.items()]
        first = [] if self._catalog.models else [no_model(self._catalog)]
        return [*first, *await asyncio.gather(*asked), requests(self._metrics, self._since)]


async def _asked(tile: Tile, source: Callable[[Tile], Awaitable[None]]) -> Tile:
    """`tile` with what the source adds to it, and why it adds no more."""
    try:
        async with asyncio.timeout(SECONDS):
            await source(tile)
    except TimeoutError:
        tile.away = f"No answer within {SECONDS:.0f} s. This page asks again."
    except (RegistryAway, HistoryUnavailable) as error:
        tile.away = _without_mlflow(error.detail)
    except SourceAway as error:
        tile.away = error.detail
    return tile


def _without_mlflow(why: str) -> str:
    return f"MLflow does not answer ({why}): start it, or see its log."


def no_model(catalog: Catalog) -> Tile:
    why = f"No model is served yet: {catalog.missing(None)}."
    link = Link(text="Start train_model", page="Airflow", path="dags/train_model")
    return Tile(title="Model", away=f"{why} Train one: make train, or the DAG train_model in Airflow.", links=[link])


def serving(model: ServedModel, catalog: Catalog) -> Tile:
    """What this process serves of a model, from memory."""
    tile, name = Tile(title=model.name), quote(model.name)
    if live := model.live:
        tile.add("In production", f"version {live.version}, here since {moment(live.loaded_at)}")
        if metric := _headline(live):
            tile.add("On test rows", metric)
        if data := live.predictor.contract.data:
            made_up = ", synthetic" if data.synthetic else ""
            tile.add("Trained on", f"{counted(data.rows, 'row')} of {data.source}{made_up}")
        tile.links.append(Link(text="Predict", page="Predict", path=f"?model={name}"))
    tile.links.append(Link(text="Versions in MLflow", page="MLflow", path=f"#/models/{name}"))
    if refusal := model.refusal:
        why = f"version {refusal.version} is promoted and not served: {refusal.detail}. {refusal.hint}"
        tile.add("Refused by this service", why, bad=True)
    if catalog.state.reachable is False:
        tile.add("Registry", "away; what is served goes on from its copy", bad=True)
    return tile


def _headline(live: LiveModel) -> str:
    """The metric that the gate compares, which is the one with a baseline, beside that baseline."""
    metrics = live.predictor.contract.metrics
    for name, value in metrics.items():
        if (baseline := metrics.get(f"baseline_{name}")) is not None:
            return f"{NAMES.get(name, name)} {figure(value)}; without a model {figure(baseline)}"
    return ", ".join(f"{NAMES.get(name, name)} {figure(value)}" for name, value in list(metrics.items())[:1])


async def add_decisions(name: str, registry: Registry, tile: Tile) -> None:
    """The last training and what was decided. Raises RegistryAway, HistoryUnavailable."""
    runs, history = await asyncio.gather(
        registry.runs(name, 1, "attributes.run_name LIKE 'train-%'"), registry.history(name)
    )
    for run in runs:
        took = timedelta(milliseconds=run.end - run.start).total_seconds()
        ends = {"FINISHED": f"done in {took:.0f} s", "FAILED": "failed"}
        began = moment(datetime.fromtimestamp(run.start / 1000, UTC))
        tile.add("Last training", f"{began}, {ends.get(run.status, 'not finished')}", bad=run.status == "FAILED")
        tile.links.append(Link(text="The run in MLflow", page="MLflow", path=_run_path(run)))
    verdict = next((one for one in history.entries if one.action in JUDGED), None)
    change = next((one for one in history.entries if one.action in MOVES), None)
    if verdict:
        tile.add("Gate's last verdict", decided(verdict))
    if change and change is not verdict:
        tile.add("Last change", decided(change))
    served = change.version if change else ""
    reasons = [reason for one in history.entries if one.version == served for reason in one.reasons]
    if leaks := dict.fromkeys(reason.text for reason in reasons if reason.code == "leak"):
        tile.add("A leak?", f"{'; '.join(leaks)}. If it is not known before the target is: data.ignore", bad=True)
    if history.away:
        tile.away = _without_mlflow(history.away)


def decided(entry: LedgerEntry) -> str:
    """A decision with what was decisive: a gate that was off, what failed, else the gain, else what was said first."""
    off = [reason for reason in entry.reasons if reason.code == "gate_off"]
    decisive = off + [reason for reason in entry.reasons if reason.passed is False]
    decisive = decisive or [reason for reason in entry.reasons if reason.code == "gain"] or entry.reasons[:1]
    why = "; ".join(reason.text for reason in decisive)
    with suppress(ValueError):
        entry = entry.model_copy(update={"at": moment(datetime.fromisoformat(entry.at))})
    what = ", ".join(filter(None, (f"version {entry.version} {entry.action.replace('_', ' ')}", entry.at)))
    return f"{what}: {why}" if why else what


async def add_windows(model: ServedModel, registry: Registry, tile: Tile) -> None:
    """What the monitor found in the traffic of the live version. Raises RegistryAway."""
    where = f"tags.`monitor.version` = '{model.live.version if model.live else ''}'"
    runs, check = await asyncio.gather(
        registry.runs(f"{model.name}-monitor", MOST_WINDOWS, where), registry.last_check(model.name)
    )
    windows = list[tuple[_Window, dict[str, float]]]()
    for run in reversed(runs):
        with suppress(ValidationError):  # its run is still being written
            windows.append((_Window.model_validate_json(run.tag("monitor.window")), run.figures()))
    if windows:
        add_verdict(*windows[-1], tile)
        drift = trend("Drift: the largest PSI of a column", "drift/worst", "drift/limit", windows)
        tile.trends = [one for one in (drift, trend("Live error", "live/error", "live/limit", windows)) if one]
        tile.links.append(
            Link(text="The last report", page="MLflow", path=f"{_run_path(runs[0])}/artifacts/report.html")
        )
    else:
        tile.add("Drift", "no window of this version's traffic was measured yet")
    none = "none yet; the DAG that monitors this model makes it"
    tile.add("Last check", f"{moment(check.at)}: {check.text}" if check else none)
    if check:
        tile.add("Next check", following(check.schedule))


def add_verdict(window: _Window, figures: dict[str, float], tile: Tile) -> None:
    names, more = ", ".join(window.drifted[:5]), len(window.drifted) - 5
    drifted = f"{counted(len(window.drifted), 'column')}: {names}" if names else "none"
    drifted += f" and {more} more" if more > 0 else ""
    measured = f"{counted(window.rows, 'row')} until {moment(window.end)}"
    tile.add("Drift", f"{drifted}; {measured}", bad=bool(window.drifted))
    error = "not known: the last window has no feedback (POST /feedback)"
    if {"live/error", "live/promised"} <= figures.keys():
        error = f"{figure(figures['live/error'])}, where {figure(figures['live/promised'])} was promised"
    tile.add("Live error", error, bad=window.error_worse)
    labelled, far = counted(figures.get("labelled_rows", 0), "row"), figures.get("far_off_rows", 0)
    told = f"{labelled}; the truth of {far:.0f} is so far off that it counts in part: is it right?" if far else labelled
    tile.add("With feedback", told, bad=bool(far))


def trend(name: str, value: str, limit: str, windows: list[tuple[_Window, dict[str, float]]]) -> Trend | None:
    """A figure over the windows that have it, beside the last one's limit."""
    found = [(window, figures) for window, figures in windows if {value, limit} <= figures.keys()]
    points = [
        Point(at=one.end, value=figures[value], bad=one.error_worse if value == "live/error" else bool(one.drifted))
        for one, figures in found
    ]
    return Trend(name=name, limit=found[-1][1][limit], points=points) if found else None


def following(schedule: str) -> str:
    """When the monitor looks again, by the schedule that it noted: a cron expression or preset."""
    if schedule == "@hourly":
        return f"{moment(now().replace(minute=0) + timedelta(hours=1))}, every hour"
    by_hand = "when somebody starts the DAG that monitors this model"
    return by_hand if schedule in ("", "none") else f"by schedule, {schedule}"


def requests(metrics: Metrics, since: datetime) -> Tile:
    """What this process has answered; other replicas count for themselves."""
    tile, seen = Tile(title="Requests to this service"), metrics.traffic()
    tile.add("Counted since", f"{moment(since)}, when this process started")
    tile.add("Predictions", counted(seen.predictions, "row"))
    tile.add("Feedback received", counted(seen.feedback, "report"))
    refused = ", ".join(f"{count:.0f} × {status}" for status, count in sorted(seen.refused.items()))
    tile.add("Refused requests", refused or "none")
    if seen.lost:
        lost = f"{counted(seen.lost, 'line')} of the prediction log; see its disk and PREDICTION_LOG_DIR"
        tile.add("Lost", lost, bad=True)
    return tile


def _run_path(run: Run) -> str:
    return f"#/experiments/{run.experiment}/runs/{run.id}"
