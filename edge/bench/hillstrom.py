"""What `edge.decide.uplift` finds in a published experiment: Kevin Hillstrom's e-mail challenge (MineThatData, 2008).

`python -m edge.bench.hillstrom --data DIR` takes the folder of the data sets, in which `hillstrom/*.csv` has a row a
customer, with recency, history, mens, womens, newbie, channel, zip_code, treatment, visit, conversion and spend. Each
e-mail went to a third of the customers, and a third got none; so beside those left alone half of the rest are treated.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
import numpy as np

from edge.bench.figure import Figure, show
from edge.decide.uplift import Uplift

PUBLISHED = {
    ("Womens E-Mail", "visit"): 0.0452,
    ("Mens E-Mail", "visit"): 0.0766,
    ("Womens E-Mail", "conversion"): 0.0031,
    ("Mens E-Mail", "conversion"): 0.0068,
}
"""The differences of the means of all 64,000 customers."""
NO_EMAIL = "No E-Mail"
SHARE = 0.5
NEAR = 0.005
LONGEST_RECENCY, HIGH_HISTORY = 12, 1_000.0
CHANNELS = ("Phone", "Web")

Row = Mapping[str, str]


def measure(folder: Path) -> Iterator[Figure]:
    """Each e-mail against none, with what was known of the customers and without. Raises OSError, FileNotFoundError
    when there is no such experiment."""
    rows = [row for path in sorted(folder.glob("hillstrom/*.csv")) for row in read(path)]
    if not rows:
        raise FileNotFoundError(f"{folder} has no hillstrom/*.csv; name the folder of the data sets.")
    for (email, outcome), published in PUBLISHED.items():
        compared = [row for row in rows if row["treatment"] in (email, NO_EMAIL)]
        for known in (True, False):
            yield from measure_effect(compared, email, outcome, published, known=known)


def measure_effect(rows: Sequence[Row], email: str, outcome: str, published: float, *, known: bool) -> Iterator[Figure]:
    """The effect of an e-mail, beside the difference of the means; with covariates if they are `known`."""
    uplift = Uplift(SHARE)
    for row in rows:
        uplift.add(row["treatment"] == email, float(row[outcome]), covariates(row) if known else ())
    effect, plain = uplift.effect, difference(rows, email, outcome)
    case = f"{email}, {outcome}, {'with' if known else 'without'} covariates"
    yield Figure(
        bench="hillstrom",
        case=case,
        metric="mean",
        value=effect.mean,
        unit="",
        peer="the difference of means",
        ratio=effect.mean / plain if plain else None,
        target=f"within {NEAR:g} of {published:g}, which lies in the bounds",
        ok=effect.low <= published <= effect.high and abs(effect.mean - published) <= NEAR,
    )
    for metric, value in (("low", effect.low), ("high", effect.high), ("width", effect.high - effect.low)):
        yield Figure(bench="hillstrom", case=case, metric=metric, value=value, unit="")


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file. Raises OSError."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def covariates(row: Row) -> tuple[float, ...]:
    """What was known of a customer before, each between 0 and 1."""
    return (
        int(row["recency"]) / LONGEST_RECENCY,
        min(1.0, float(row["history"]) / HIGH_HISTORY),
        float(row["mens"]),
        float(row["womens"]),
        float(row["newbie"]),
        *(float(row["channel"] == channel) for channel in CHANNELS),
    )


def difference(rows: Sequence[Row], email: str, outcome: str) -> float:
    """The mean outcome of those who got an e-mail less that of the others."""
    treated, held_out = (
        [float(row[outcome]) for row in rows if (row["treatment"] == email) is arm] for arm in (True, False)
    )
    return float(np.mean(treated) - np.mean(held_out))


@click.command()
@click.option(
    "--data", "folder", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False), help="The data."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def main(folder: Path, as_json: bool) -> None:
    """What the e-mails of the Hillstrom experiment did."""
    try:
        for figure in measure(folder):
            show(figure, as_json)
    except OSError as error:
        raise click.UsageError(str(error)) from None


if __name__ == "__main__":
    main()
