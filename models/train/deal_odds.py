"""Trains the pack `deal-odds`: how likely it is that a customer who is telephoned buys.

    python -m models.train.deal_odds --data DATA [--out FOLDER] [--key FILE]

DATA/bank holds the calls of a bank's campaigns in order of time, from a boom into a crisis. The last tenth of them is
the test. What only tells the time of a call is left out: indices of the economy, month and day, and `contact`, since
whether a mobile or a landline was called changed with the campaign; so is `education`, which misled on later calls.
Constants and columns were chosen on calls before the last tenth, learning from what came before them.
"""

from pathlib import Path

from models.pack import Source
from models.train.odds import Labelled, Recipe, command, labelled, read_rows

FILES = ("bank-additional-full.train.csv", "bank-additional-full.dev.csv")  # the second follows the first
TESTED = 10  # the last of so many parts


def read(data: Path) -> tuple[Labelled, Labelled]:
    """The calls to learn from, and the later ones to test on."""
    calls = labelled(read_rows(*(data / "bank" / name for name in FILES)), "y", "yes")
    end = len(calls.rows) - len(calls.rows) // TESTED
    return tuple(  # type: ignore[return-value]  # there are two
        Labelled(rows=calls.rows[part], truth=calls.truth[part]) for part in (slice(end), slice(end, None))
    )


RECIPE = Recipe(
    name="deal-odds",
    label="deal_won",
    about=(
        "Says of a customer how likely it is that the next call sells, from who they are and how earlier campaigns "
        "ended. It reads the columns of the UCI Bank Marketing table (age, job, poutcome, previous …); a table with "
        "other columns needs a pack learnt from it. What was learnt of calls in 2008 and 2009 orders later calls only "
        "roughly, and how many of them sell at all follows the economy, which it does not see: its probabilities are "
        "calibrated for a share of deals as in the last calls it learnt from."
    ),
    about_zh=(
        "判断下一通电话成交的可能性，依据客户的情况和以往营销的结果。"
        "它读的是 UCI Bank Marketing 表的列（age、job、poutcome、previous……），列名不同的表要另外训练。"
        "从 2008、2009 年的电话学来的规律，对以后的电话只能粗略排序；总成交率随经济起伏，它看不到，"
        "概率按学习时最近一段的成交率校准。"
    ),
    source=Source(name="bank", licence="CC-BY-4.0", use="train"),
    split="the last tenth in time",
    read=read,
    leave_out=(
        "y",
        "duration",  # known only after the call
        "contact",
        "education",
        "month",
        "day_of_week",
        "emp.var.rate",
        "cons.price.idx",
        "cons.conf.idx",
        "euribor3m",
        "nr.employed",
    ),
    in_time=True,
    small=5.0,
    smooth=20.0,
    target=0.68,
)

main = command(RECIPE)

if __name__ == "__main__":
    main()
