"""`outstation bench` on the box it is on: figures for machines, for people, and into a document."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edge.bench.document import write
from edge.bench.figure import Figure

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
    assert "On request, as they take minutes: bus, live." in " ".join(ran.stdout.split())
