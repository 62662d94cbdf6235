"""The packs for odds: what they say of a row, why, and of rows that say little; and what trains them."""

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InputInvalid, PackInvalid
from models.features.table import TABLE_FILE, UNKNOWN, Columns, Numbers, Row, Texts, learn_columns
from models.opening import open_pack
from models.pack import Pack, read_pack
from models.runtime import load
from models.score import score as score_command
from models.store import SHIPPED
from models.table_file import read_table
from models.tasks.odds import Odds, RowScore
from models.train import churn_odds, deal_odds, renewal_odds
from models.train.odds import Labelled, exported, fit, measure, packed, train
from models.train.quantize import quantize_tables

RECIPES = (deal_odds.RECIPE, renewal_odds.RECIPE, churn_odds.RECIPE)
PACKS = [recipe.name for recipe in RECIPES]
LEAVING: Row = {
    "tenure": "1",
    "Contract": "Month-to-month",
    "InternetService": "Fiber optic",
    "PaymentMethod": "Electronic check",
    "MonthlyCharges": "95.5",
    "TechSupport": "No",
}
NO_NUMBERS = ("nan", "inf", "-inf", "1e300", "-1e300", "1e9999", "", "  ", "many", "²", "0x10")


@pytest.fixture(scope="module")
def churn() -> Odds:
    return shipped("churn-odds")


def shipped(name: str) -> Odds:
    return Odds(load(read_pack(SHIPPED / name)))


def scored(odds: Odds, row: Row) -> RowScore:
    (score,) = odds.score([row])
    assert isinstance(score, RowScore), score
    return score


def some_rows(odds: Odds, count: int = 200) -> list[Row]:
    """Rows with a value that the pack knows in every column."""
    random = np.random.default_rng(7)
    return [{column.name: some_cell(random, column) for column in odds.columns.all} for _ in range(count)]


def some_cell(random: np.random.Generator, column: Numbers | Texts) -> str:
    if isinstance(column, Numbers):
        return repr(random.uniform(column.lowest, column.highest))
    return str(random.choice(column.values))


def table(count: int = 1200, seed: int = 3) -> list[dict[str, str]]:
    """Customers of whom those leave that pay by the month and are new; like the table that churn-odds learns from."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        tenure, term = int(random.integers(1, 73)), str(random.choice(["Month-to-month", "Two year"]))
        log_odds = 2.0 * (term == "Month-to-month") - tenure / 20
        rows.append(
            {
                "customerID": f"C{number}",
                "tenure": str(tenure),
                "Contract": term,
                "MonthlyCharges": f"{random.normal(60, 20):.2f}",
                "Churn": "Yes" if random.random() < 1 / (1 + math.exp(-log_odds)) else "No",
            }
        )
    return rows


def written(folder: Path, learnt: Sequence[Row], tested: Sequence[Row]) -> Path:
    """The folder of data sets with the set that churn-odds learns from."""
    (folder / "telco").mkdir(parents=True)
    for name, rows in (("train.csv", learnt), ("dev.csv", tested)):
        with (folder / "telco" / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return folder


# ---- what it says and why ----------------------------------------------------------------------------------------


def test_a_new_customer_by_the_month_leaves_and_an_old_one_on_two_years_stays(churn: Odds) -> None:
    assert scored(churn, LEAVING).probability > 0.6
    assert scored(churn, {**LEAVING, "tenure": "70", "Contract": "Two year"}).probability < 0.15


def test_whom_an_earlier_campaign_won_is_likelier_to_buy_again() -> None:
    odds = shipped("deal-odds")
    won, lost = ({"age": "40", "poutcome": outcome, "previous": "1"} for outcome in ("success", "failure"))
    assert scored(odds, won).probability > scored(odds, lost).probability


@pytest.mark.parametrize("name", PACKS)
def test_weights_and_bias_add_up_to_the_log_odds_and_these_make_the_probability(name: str) -> None:
    odds = shipped(name)
    for score in (scored(odds, row) for row in some_rows(odds)):
        assert score.log_odds == pytest.approx(score.bias + sum(weight for _, weight in score.weights), abs=1e-5)
        assert score.probability == pytest.approx(1 / (1 + math.exp(-score.log_odds)), abs=1e-5)
        sizes = [abs(weight) for _, weight in score.weights]
        assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("name", PACKS)
def test_without_its_strongest_evidence_a_row_is_less_likely(name: str) -> None:
    odds = shipped(name)
    fallen = 0
    for row in some_rows(odds):
        before = scored(odds, row)
        strongest, weight = max(before.weights, key=lambda weight: weight[1])
        if weight <= 0:
            continue
        after = scored(odds, {column: cell for column, cell in row.items() if column != strongest})
        assert after.log_odds == pytest.approx(before.log_odds - weight, abs=1e-5)
        assert after.probability < before.probability
        assert strongest in after.unknown
        fallen += 1
    assert fallen >= 150


@pytest.mark.parametrize("name", PACKS)
def test_scores_do_not_depend_on_the_other_rows(name: str) -> None:
    odds = shipped(name)
    rows = some_rows(odds, 50)
    together = [score.log_odds for score in odds.score(rows) if isinstance(score, RowScore)]
    assert together == pytest.approx([scored(odds, row).log_odds for row in rows], abs=1e-5)
    assert odds.score([]) == []


# ---- what is not known -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", NO_NUMBERS)
def test_what_is_no_sensible_number_adds_nothing_and_is_said_to_be_unknown(churn: Odds, cell: str) -> None:
    without = {column: text for column, text in LEAVING.items() if column != "tenure"}
    score = scored(churn, {**LEAVING, "tenure": cell})
    assert score == scored(churn, without)
    assert dict(score.weights)["tenure"] == 0
    assert "tenure" in score.unknown


def test_a_number_a_little_beyond_what_was_learnt_counts_as_the_outermost(churn: Odds) -> None:
    assert scored(churn, {**LEAVING, "tenure": "80"}) == scored(churn, {**LEAVING, "tenure": "72"})


def test_capitals_and_spaces_do_not_matter_and_a_text_never_learnt_adds_nothing(churn: Odds) -> None:
    plain = scored(churn, LEAVING)
    assert scored(churn, {f" {name.upper()} ": f"  {cell.upper()} " for name, cell in LEAVING.items()}) == plain
    assert "Contract" in scored(churn, {**LEAVING, "Contract": "By the hour"}).unknown


@pytest.mark.parametrize("row", [{}, {"colour": "red"}, {"tenure": "", "Contract": "?"}])
def test_of_a_row_of_which_nothing_is_known_it_abstains_with_the_reason(churn: Odds, row: Row) -> None:
    (why,) = churn.score([row])
    assert isinstance(why, str)
    assert "no value that the pack knows" in why
    assert "tenure" in why


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["tenure", "Contract", "TotalCharges", "colour"]), st.text(max_size=40)))
def test_any_row_has_a_finite_answer_or_a_reason(churn: Odds, row: dict[str, str]) -> None:
    (score,) = churn.score([row])
    assert isinstance(score, str) or (0 < score.probability < 1 and math.isfinite(score.log_odds))


# ---- columns and bins --------------------------------------------------------------------------------------------


def test_columns_are_told_apart_into_numbers_and_texts_and_those_that_say_nothing_are_not_learnt() -> None:
    rows = [{"x": str(n % 50), "team": "ab"[n % 2], "rare": f"r{n}", "same": "1", "gone": ""} for n in range(100)]
    columns = learn_columns(rows, ["y"], 4)
    numbers, texts = columns.all
    assert isinstance(numbers, Numbers)
    assert (numbers.name, numbers.bins, numbers.lowest, numbers.highest) == ("x", 4, 0, 49)
    assert texts == Texts(name="team", values=("a", "b"))


def test_when_most_rows_say_never_the_others_still_have_bins() -> None:
    rows = [{"days": "999" if number % 10 else str(number // 10)} for number in range(1000)]
    columns = learn_columns(rows, [], 5)
    bins = columns.bins_of([{"days": days} for days in ("2", "50", "98", "999")]).ravel().tolist()
    assert len(set(bins)) == 4


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=40, max_size=200), st.integers(2, 20))
def test_bins_grow_with_the_number_and_each_has_a_place_of_its_own(values: list[float], most: int) -> None:
    rows = [{"x": repr(value), "team": "ab"[number % 2]} for number, value in enumerate(values)]
    columns = learn_columns(rows, [], most)
    bins = columns.bins_of(sorted(rows, key=lambda row: float(row["x"])))
    assert set(bins.ravel()) <= set(range(1, columns.size))
    assert len(columns.all) in (1, 2)
    if len(columns.all) == 2:
        assert (np.diff(bins[:, 0]) >= 0).all()
        assert bins[:, 0].max() < bins[:, 1].min()
        assert len(set(bins[:, 0])) == columns.all[0].bins <= most


# ---- learning ----------------------------------------------------------------------------------------------------


def test_what_is_learnt_is_what_made_the_labels_and_the_same_in_8_bits(tmp_path: Path) -> None:
    learnt, tested = (churn_labelled(table(seed=seed)) for seed in (3, 4))
    model = train(churn_odds.RECIPE, learnt)
    exact = exported(model)
    folders = [
        packed(tmp_path / name, churn_odds.RECIPE, model, graph, learnt)
        for name, graph in (("float", exact), ("int8", quantize_tables(exact)))
    ]
    in_float, in_int8 = (measure(folder, tested) for folder in folders)
    assert in_float.auc > 0.75
    assert in_int8.auc >= in_float.auc - 0.005
    assert in_int8.calibration_error < 0.06
    score = scored(Odds(load(read_pack(folders[1]))), {"tenure": "2", "Contract": "Month-to-month"})
    assert all(weight > 0.3 for _, weight in score.weights[:2])
    open_pack(folders[1])


def churn_labelled(rows: Sequence[Row]) -> Labelled:
    return Labelled(rows=rows, truth=np.array([row["Churn"] == "Yes" for row in rows]))


def test_a_column_is_worth_nothing_on_average() -> None:
    learnt = churn_labelled(table())
    columns = learn_columns(learnt.rows, churn_odds.RECIPE.leave_out, 12)
    bins = columns.bins_of(learnt.rows)
    model = fit(churn_odds.RECIPE, columns, bins, learnt.truth)
    np.testing.assert_allclose(model.values[bins].mean(axis=0), 0, atol=1e-9)
    assert model.values[UNKNOWN] == 0


def test_the_same_table_makes_the_same_pack(tmp_path: Path) -> None:
    data = written(tmp_path / "data", table(600), table(200, seed=4))
    runs = [CliRunner().invoke(churn_odds.main, ["--data", str(data), "--out", str(tmp_path / name)]) for name in "ab"]
    assert [run.exit_code for run in runs] == [0, 0]
    contents = [{file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in "ab"]
    assert contents[0] == contents[1]
    assert contents[0].keys() == {"model.onnx", "pack.toml", "selftest.json", TABLE_FILE}
    assert "AUC" in runs[0].output


def shuffled(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    order = np.random.default_rng(1).permutation(len(rows))
    return [{**row, "Churn": rows[other]["Churn"]} for row, other in zip(rows, order, strict=True)]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (shuffled, "on rows left out"),
        (lambda rows: [{**row, "Churn": "No"} for row in rows], "holds for 0 of 1200 rows"),
        (lambda rows: [{"customerID": row["customerID"], "Churn": row["Churn"]} for row in rows], "no column"),
    ],
)
def test_of_a_table_that_says_nothing_of_its_label_no_pack_is_made(
    tmp_path: Path, spoil: Callable[[list[dict[str, str]]], list[Row]], why: str
) -> None:
    data = written(tmp_path / "data", spoil(table()), table(200))
    run = CliRunner().invoke(churn_odds.main, ["--data", str(data), "--out", str(tmp_path / "pack")])
    assert run.exit_code == 1
    assert run.stderr.count("\n") == 1
    assert "nothing in the table tells churned apart" in run.stderr
    assert why in run.stderr
    assert not (tmp_path / "pack").exists()


def test_a_data_folder_without_the_table_is_named(tmp_path: Path) -> None:
    run = CliRunner().invoke(churn_odds.main, ["--data", str(tmp_path), "--out", str(tmp_path / "pack")])
    assert run.exit_code == 2
    assert "telco/train.csv is not there" in run.stderr


# ---- the packs that ship -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PACKS)
def test_the_packs_that_ship_open_and_are_small(name: str) -> None:
    open_pack(SHIPPED / name)
    manifest = read_pack(SHIPPED / name).manifest
    assert (SHIPPED / name / "model.onnx").stat().st_size <= 2_000_000
    metrics = {metric.metric: metric.value for metric in manifest.metrics}
    assert metrics["AUC"] >= metrics["AUC, float"] - 0.005
    assert manifest.calibration is not None


@pytest.mark.parametrize("name", PACKS)
def test_what_would_give_the_answer_away_is_not_read(name: str) -> None:
    assert not {"duration", "y", "Churn", "customerID", "months_active", "churned"} & set(shipped(name).columns.names)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task": "text-labels"}, "not one that scores rows"),
        ({"labels": ("churned", "won")}, "one label"),
        ({"thresholds": {}}, "its threshold"),
        ({"inputs": {}}, "not the columns of its model"),
        ({"files": {}}, "has no table.json"),
    ],
)
def test_a_pack_that_does_not_fit_is_refused(change: dict[str, object], says: str) -> None:
    pack = read_pack(SHIPPED / "churn-odds")

    class Other:
        """The pack's model under another manifest."""

        def __init__(self) -> None:
            self.pack = Pack(folder=pack.folder, manifest=msgspec.structs.replace(pack.manifest, **change))
            self.run = load(pack).run

    with pytest.raises(PackInvalid, match=says):
        Odds(Other())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[]", "columns must be some"),
        (b'[{"type": "texts", "name": "a", "values": ["x"]}, {"type": "texts", "name": "A", "values": ["x"]}]', "own"),
        (b'[{"type": "numbers", "name": "a", "edges": [2, 1], "lowest": 0, "highest": 3}]', "not in order"),
        (b"{", "no table of columns"),
        (b'[{"type": "texts", "name": "a", "values": ["x"]}]', "has not the columns"),
    ],
)
def test_a_table_that_does_not_fit_its_model_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(PackInvalid, match=says):
        Odds(with_table(tmp_path, content))


def test_a_table_with_more_bins_than_its_model_is_refused(tmp_path: Path) -> None:
    columns = list(shipped("churn-odds").columns.all)
    assert isinstance(columns[-1], Numbers)
    columns[-1] = msgspec.structs.replace(columns[-1], edges=tuple(range(1000)))
    with pytest.raises(PackInvalid, match="more bins than its model"):
        Odds(with_table(tmp_path, msgspec.json.encode(columns)))


def with_table(folder: Path, content: bytes) -> Any:
    pack = read_pack(SHIPPED / "churn-odds")
    (folder / TABLE_FILE).write_bytes(content)

    class Other:
        """The pack's model beside another table."""

        def __init__(self) -> None:
            self.pack = Pack(folder=folder, manifest=pack.manifest)
            self.run = load(pack).run

    return Other()


# ---- the command -------------------------------------------------------------------------------------------------


def printed(file: Path, *options: str) -> list[str]:
    result = CliRunner().invoke(score_command, ["churn-odds", str(file), *options], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout.splitlines()


def test_the_command_prints_a_probability_a_row_with_evidence_and_abstains_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_text("id;tenure;Contract;TotalCharges\n1;2;Month-to-month;\n2;;;\n3;nan;Two year;1e99\n", "utf-8")
    first, second, third = (msgspec.json.decode(line) for line in printed(file, "--json"))
    assert (first["line"], first["pack"], first["labels"]) == (2, "churn-odds", ["churned"])
    assert first["log_odds"] == pytest.approx(first["bias"] + sum(weight for _, weight in first["weights"]), abs=1e-3)
    assert {name for name, _ in first["weights"]} == {"tenure", "Contract"}
    assert "TotalCharges" in first["unknown"]
    assert "no value that the pack knows" in second["abstain"]
    assert third["probabilities"]["churned"] < 0.2
    plain = printed(file)
    assert plain[0].startswith("2: churned 0.")
    assert "tenure +" in plain[0]
    assert plain[1].startswith("3: abstains: ")


def test_json_lines_are_scored_like_the_same_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("tenure,Contract,SeniorCitizen\n5,One year,1\n", "utf-8-sig")
    (tmp_path / "a.jsonl").write_text('{"tenure": 5, "Contract": "One year", "SeniorCitizen": 1.0, "x": [1]}\n')
    said = [msgspec.json.decode(printed(tmp_path / name, "--json")[0]) for name in ("a.csv", "a.jsonl")]
    assert said[0]["weights"] == said[1]["weights"]
    assert len(said[0]["weights"]) == 3


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", b"a,b\n1,2\n3\n", "line 3: has not as many cells"),
        ("t.csv", b"a,b\n1,2,3\n", "line 2: has not as many cells"),
        ("t.csv", b"a,b\n\xff,2\n", "not a CSV file in UTF-8"),
        ("t.jsonl", b'{"a": 1}\n[1]\n', "line 2: not a JSON object"),
        ("t.jsonl", b'{"a": \xff}\n', "line 1: not a JSON object"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(InputInvalid) as caught:
        list(read_table(file))
    assert says in str(caught.value)
    assert str(file) in str(caught.value)


def test_columns_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="name of its own"):
        Columns([Texts(name="a", values=("x",)), Texts(name=" A", values=("x",))])
