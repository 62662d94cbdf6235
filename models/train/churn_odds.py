"""Trains the pack `churn-odds`: how likely a customer with a subscription is to leave.

    python -m models.train.churn_odds --data DATA [--out FOLDER] [--key FILE]

Learnt from DATA/telco/train.csv and measured on DATA/telco/dev.csv; constants were chosen on folds of train.csv.
"""

from pathlib import Path

from models.pack import Source
from models.train.odds import Labelled, Recipe, command, labelled, read_rows


def read(data: Path) -> tuple[Labelled, Labelled]:
    """The customers of train.csv to learn from, and those of dev.csv to test on."""
    learnt, tested = (labelled(read_rows(data / "telco" / name), "Churn", "Yes") for name in ("train.csv", "dev.csv"))
    return learnt, tested


RECIPE = Recipe(
    name="churn-odds",
    label="churned",
    about=(
        "Says of a customer with a subscription how likely it is that they leave within the month, from the term of "
        "the contract, months as a customer, charges, way of paying and the services they have. It reads the columns "
        "of IBM's telecom sample (tenure, Contract, MonthlyCharges …); a table with other columns needs a pack learnt "
        "from it. The sample was made by IBM, of one company and one month: probabilities are calibrated for a "
        "quarter who leave, and for another share only their order holds."
    ),
    about_zh=(
        "判断一个订购客户在本月内流失的可能性，依据合同期限、在网月数、费用、付款方式和所用服务。"
        "它读的是 IBM 电信样例的列（tenure、Contract、MonthlyCharges……），列名不同的表要另外训练。"
        "样例由 IBM 制作，只有一家公司一个月的数据：概率按约四分之一的流失率校准，流失率不同的地方只能看高低顺序。"
    ),
    source=Source(name="telco", licence="Apache-2.0", use="train"),
    split="dev.csv",
    read=read,
    leave_out=("customerID", "gender", "Churn"),
    target=0.85,
)

main = command(RECIPE)

if __name__ == "__main__":
    main()
