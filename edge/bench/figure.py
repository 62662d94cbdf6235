"""A measured figure, printed alike by every benchmark."""

import sys

import click
import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure. `ratio` is `value` against `peer`, measured in the same run; `ok` says whether `target` is met (None:
    there is none)."""

    bench: str
    case: str
    metric: str
    value: float
    unit: str
    peer: str | None = None
    ratio: float | None = None
    target: str | None = None
    ok: bool | None = None


def show(figure: Figure, as_json: bool) -> None:
    """Print a figure: a line of JSON, or a line for people."""
    if as_json:
        click.echo(msgspec.json.encode(figure))
    else:
        ratio = f"  {figure.ratio:.3g} × {figure.peer}" if figure.ratio is not None else ""
        verdict = "" if figure.ok is None else ("  ok" if figure.ok else "  SHORT OF") + f" {figure.target}"
        name = f"{figure.bench} · {figure.case} · {figure.metric}"
        click.echo(f"{name:58} {figure.value:10.4g} {figure.unit}{ratio}{verdict}")
    sys.stdout.flush()
