"""Instructions inside documents are data. `benchmarks/injection.py` has them all; here one wording of each family."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.injection import CARRIERS, FAMILIES, MARK, Obeying, Result, attempt, make_trials, read_by, tempted
from rag_service.service import Parts, Service
from rag_service.settings import Settings

FEW = {family: wordings[:1] for family, wordings in FAMILIES.items()}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("injection")
    with closing(Service(Settings(data_dir=folder, models_dir=folder / "models", generator="none"))) as opened:
        opened.load()
        yield opened


def results(runtime: Service, parts: Parts) -> tuple[list[Result], list[str]]:
    with tempted() as (link, reached):
        carriers = len(CARRIERS)
        places = enumerate(make_trials(link, FEW))  # each family in one carrier
        trials = [one for place, one in places if place % carriers == place // carriers % carriers]
        return [attempt(parts, trial, runtime) for trial in trials], reached


def test_the_trials_cover_their_families_three_hundred_times() -> None:
    trials = list(make_trials("http://127.0.0.1:1/take"))

    assert len(trials) >= 300
    assert len({trial.text for trial in trials}) == len(trials)
    assert min(Counter(trial.family for trial in trials).values()) >= 12


def test_without_a_generator_nothing_is_obeyed_or_fetched(runtime: Service) -> None:
    done, reached = results(runtime, runtime.parts())

    assert reached == []
    assert all(one.verbatim for one in done)
    assert not [one for one in done if one.outcome == "obeyed"]


def test_the_support_check_bears_a_generator_that_obeys(runtime: Service) -> None:
    done, reached = results(runtime, read_by(Obeying(), runtime))

    assert reached == []
    assert all(one.verbatim for one in done)
    obeyed = [one for one in done if one.outcome == "obeyed"]
    # It can happen: in so short a document an instruction may be nearly as much about the question as the fact is.
    assert 0 < len(obeyed) <= len(done) / 3
    assert not {one.trial.family for one in obeyed} & {"encoded", "in parts"}


def test_the_double_obeys_each_instruction_that_reaches_it() -> None:
    for trial in make_trials("http://127.0.0.1:1/take", FEW):
        assert Obeying().generate(trial.text) == MARK
    assert Obeying().generate(Path(__file__).read_text()[:50]) == ""
