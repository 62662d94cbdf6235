"""`outstation bench` on the box it is on: figures for machines, for people, and into a document."""

import csv
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.bench import audit, chains, countdowns, decisions, hillstrom, uplift
from edge.bench.document import write
from edge.bench.figure import Figure
from edge.decide.uplift import Uplift

Measure = Callable[[], Iterator[Figure]]
BENCH = [sys.executable, "-m", "edge.cli", "bench"]


def figure(bench: str, value: float, ok: bool | None = None) -> Figure:
    return Figure(bench=bench, case="one", metric="time", value=value, unit="ms", target="≤ 5 ms", ok=ok)


def test_a_benchmark_prints_a_line_of_json_for_each_figure_and_writes_its_table(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("# Benchmarks\n")
    ran = subprocess.run([*BENCH, "predict", "--json", "--write", str(document)], capture_output=True, check=True)
    figures = [msgspec.json.decode(line, type=Figure) for line in ran.stdout.splitlines()]
    assert {one.bench for one in figures} == {"predict"}
    assert all(one.value > 0 for one in figures)
    text = document.read_text()
    assert text.startswith("# Benchmarks\n\n<!-- figures of predict -->\n")
    assert all(f"| {one.case} | {one.metric} |" in text for one in figures)


def test_a_benchmark_that_there_is_not_is_answered_with_those_that_there_are() -> None:
    ran = subprocess.run([*BENCH, "speed"], capture_output=True, text=True)
    assert ran.returncode == 2
    assert "predict" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_only_the_table_of_the_same_benchmark_is_replaced(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("Before.\n")
    write(document, [figure("bus", 1.0)])
    write(document, [figure("live", 2.0, ok=False)])
    between = document.read_text()
    document.write_text(between + "\nAfter.\n")
    write(document, [figure("bus", 3.0, ok=True)])
    text = document.read_text()
    assert text.startswith("Before.\n\n<!-- figures of bus -->\n")
    assert text.endswith("\nAfter.\n")
    assert text.count("figures of bus") == text.count("figures of live") == 1
    assert "| 3 ms | ≤ 5 ms: met |" in text
    assert "| 2 ms | ≤ 5 ms: **short of it** |" in text
    assert "| 1 ms |" not in text


def test_writing_the_same_figures_again_changes_nothing(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    write(document, [figure("bus", 1.0)])
    first = document.read_text()
    write(document, [figure("bus", 1.0)])
    assert document.read_text() == first


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_what_takes_minutes(option: str) -> None:
    ran = subprocess.run([*BENCH, option], capture_output=True, text=True, check=True)
    assert "On request, as they take minutes: audit, bus, live, uplift." in " ".join(ran.stdout.split())


@pytest.mark.parametrize(
    ("figures", "metrics"),
    [
        (lambda: chains.measure_size(8, 3, 6), ["p50", "p99", "sets looked at"]),
        (lambda: chains.measure_size(300, 5, 2), ["p50", "p99", "sets looked at"]),
        (lambda: countdowns.measure_ended(60), ["done", "the last is late by", "commits"]),
        (lambda: iter([countdowns.measure_running(60)]), ["a look"]),
        (lambda: audit.measure_entries(300), ["verified in", "entries"]),
        (lambda: decisions.measure_open(12, 5), ["p50", "p99"]),
        (
            lambda: uplift.measure_case(0.3, 0.3, 0.1, 3, 60),
            [
                "bounds ever miss the truth",
                "a fixed-sample interval",
                "width after 60",
                "outcomes until it is shown, median (more than)",
            ],
        ),
    ],
)
def test_what_happens_to_actions_is_measured(figures: Measure, metrics: list[str]) -> None:
    measured = list(figures())
    assert [one.metric for one in measured] == metrics
    assert all(one.value >= 0 for one in measured)


def test_what_is_carried_out_together_is_written_together() -> None:
    (commits,) = [one.value for one in countdowns.measure_ended(200) if one.metric == "commits"]
    assert commits < 100


def test_all_experiments_at_once_come_to_what_the_product_comes_to_one_by_one() -> None:
    made = uplift.make(0.5, 0.5, 0.4, 6, 300)
    above, _ = uplift.won(uplift.numbers_of(made, 0.5), uplift.JUST_ABOVE)
    shown_after = uplift.first_of((above,))
    assert (shown_after < 300).any()
    for number in range(6):
        one, after = Uplift(0.5), []
        for treated, value, covariate in zip(*(part[:, number].tolist() for part in made), strict=True):
            one.add(treated, value, (covariate,))
            after.append(one.effect.verdict == "helps")
        assert shown_after[number] == (after.index(True) if any(after) else 300)


def test_an_experiment_in_a_file_is_found_again(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    known = {"recency": "6", "history": "80.5", "mens": "1", "womens": "0", "newbie": "0", "channel": "Web"}
    command = [sys.executable, "-m", "edge.bench.hillstrom", "--data", str(tmp_path), "--json"]
    without = subprocess.run(command, capture_output=True, text=True)
    assert (without.returncode, without.stdout) == (2, "")
    assert "has no hillstrom/*.csv" in without.stderr
    (tmp_path / "hillstrom").mkdir()
    with (tmp_path / "hillstrom" / "odd.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, [*known, "treatment", "visit", "conversion"])
        rows.writeheader()
        for number in range(1_500):
            treatment = ("Mens E-Mail", "Womens E-Mail", "No E-Mail")[number % 3]
            visit = int(draw.random() < (0.1 if treatment == "No E-Mail" else 0.4))
            rows.writerow(known | {"treatment": treatment, "visit": visit, "conversion": number % 2})
    ran = subprocess.run(command, capture_output=True, check=True)
    figures = [msgspec.json.decode(line, type=Figure) for line in ran.stdout.splitlines()]
    lows = [one.value for one in figures if "visit" in one.case and one.metric == "low"]
    assert len(lows) == 4
    assert min(lows) > 0
    assert hillstrom.covariates(known) == (0.5, 0.0805, 1.0, 0.0, 0.0, 0.0, 1.0)
