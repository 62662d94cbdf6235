"""Trains the pack `renewal-odds`: how likely a company that subscribes to software is to stay beyond a quarter.

    python -m models.train.renewal_odds --data DATA [--out FOLDER] [--key FILE]

DATA/pysurvival/churn.csv says of each company for how many months it was a customer and whether it left then. It
renewed if it was one for longer than a quarter; those of whom nobody knows, since they have not been customers for so
long and have not left, are passed over. Months are the answer and so never read. Every fifth row is the test; constants
were chosen on folds of the others.
"""

from pathlib import Path

import numpy as np

from models.pack import Source
from models.train.odds import Labelled, Recipe, command, read_rows

TERM_MONTHS = 3
TESTED = 5  # one row in so many


def read(data: Path) -> tuple[Labelled, Labelled]:
    """The companies to learn from, and others to test on."""
    rows = read_rows(data / "pysurvival" / "churn.csv")
    stayed = np.array([float(row["months_active"]) > TERM_MONTHS for row in rows])
    left = np.array([float(row["churned"]) == 1 for row in rows])
    known = np.flatnonzero(stayed | left)
    test = known % TESTED == 0
    learnt, tested = (
        Labelled(rows=[rows[place] for place in part], truth=stayed[part]) for part in (known[~test], known[test])
    )
    return learnt, tested


RECIPE = Recipe(
    name="renewal-odds",
    label="renewed",
    about=(
        "Says of a company that subscribes to software by the month how likely it is to be a customer for longer than "
        "a quarter, from the products it has, how it uses them, its size and its region. It reads the columns of "
        "PySurvival's churn table (product_accounting, csat_score, minutes_customer_support …); a table with other "
        "columns needs a pack learnt from it. That table is simulated and far more orderly than real customers are: "
        "its figures say that the pack learnt it, not how it will do on yours."
    ),
    about_zh=(
        "判断按月订购软件的公司一个季度后仍续订的可能性，依据所购产品、使用情况、规模和地区。"
        "它读的是 PySurvival 流失表的列（product_accounting、csat_score、minutes_customer_support……），"
        "列名不同的表要另外训练。"
        "那张表是模拟出来的，比真实客户规整得多：指标只说明它学会了这张表，不说明在你的客户上会怎样。"
    ),
    source=Source(name="pysurvival", licence="Apache-2.0", use="train"),
    split="every fifth row",
    read=read,
    leave_out=("months_active", "churned"),
)

main = command(RECIPE)

if __name__ == "__main__":
    main()
