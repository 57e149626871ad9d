"""The command line's `eval`."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rag_service.evaluation.gate import as_row, as_text, read_gate
from rag_service.evaluation.run import Plan, evaluate, evaluate_and_log, swept
from rag_service.service import Service
from rag_service.settings import Settings


def add_command(commands: Any) -> None:
    """Puts `eval` under the others."""
    command = commands.add_parser("eval", help="ask questions whose answers are known; prints how well it does")
    command.add_argument(
        "--questions",
        type=Path,
        metavar="FILE",
        help="SQuAD format, asked of the file's own texts; or .jsonl, what people rated on the page",
    )
    command.add_argument("--collection", default="default", help="whose documents the questions are made from")
    command.add_argument("--count", type=int, default=150, help="how many are made at most (default 150)")
    command.add_argument("--top-k", type=int, default=4, choices=range(1, 21), metavar="1..20")
    command.add_argument("--seed", type=int, default=7)
    command.add_argument("--calibrate", action="store_true", help="fit the confidence to the outcome and keep it")
    command.add_argument(
        "--gate", nargs="+", default=[], metavar="FIGURE=NUMBER|FILE", help="exit 1 where a figure does not reach it"
    )
    command.add_argument(
        "--sweep",
        metavar="NAME=VALUE,…",
        help="a table with a row for each value of top_k, depth, weights, chunk_tokens or overlap_tokens",
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_evaluate)


def _evaluate(settings: Settings, options: argparse.Namespace) -> int:
    gate = read_gate(options.gate)
    plan = Plan(options.collection, options.count, options.top_k, options.seed, options.questions, options.calibrate)
    with closing(Service(settings)) as service:
        service.load()
        if options.sweep:
            return _sweep(service, plan, *options.sweep.partition("=")[::2])
        report = evaluate_and_log(service, plan, gate, _step)
    print(json.dumps(asdict(report), indent=2, ensure_ascii=False) if options.json else as_text(report))
    for sentence in report.missed:
        print(sentence, file=sys.stderr)
    return 0 if report.passed else 1


def _sweep(service: Service, plan: Plan, name: str, values: str) -> int:
    """A table of Markdown: each value with its figures."""
    plans = {value: swept(plan, name, value) for value in values.split(",")}
    for place, (value, one) in enumerate(plans.items()):
        figures = evaluate(service, one, _step).figures
        if not place:
            print(as_row(name), "| --- " * as_row(name).count(" | ") + "| --- |", sep="\n")
        print(as_row(value, {key: f"{one.value:.4f}" if one else "" for key, one in figures.items()}), flush=True)
    return 0


def _step(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)
