"""The packs for machines' lives that ship, in ONNX and in LiteRT: what they say of an engine that wears, why, and of
what they say nothing."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models import packs
from models.errors import InputInvalid, PackInvalid
from models.features.life import BEGINNING, CAUSES, FEATURES, SENSORS, UnitLife
from models.pack import Pack, Tensor, read_pack
from models.runtime import load
from models.runtime.litert import LiteRtModel
from models.score import score as score_command
from models.selftest import run_self_test
from models.tasks.device_rul import CAP, DeviceRul
from models.train.device_rul import content, figures, fit, in_good_order, packed, predictor, widened_rows, widening
from models.train.evaluate import evaluate
from models.train.layer_graph import hidden_layer
from models.train.life_graph import ROWS, lite, whole
from models.train.quantize import quantize_layers
from models.unit_log import UnitLine, read_unit_log

SHIPPED = Path(packs.__path__[0])
NAMES = ("device-rul", "device-rul-litert")
WEAR = dict(zip(SENSORS, (1, 1, 1, -1, 1, 1, 1, -1, 1, 1, 1, 1, -1, -1), strict=True))  # which way each goes
STEPS = 2.0  # cycles, to which 8 bits of one layer are true

Rows = NDArray[np.float32]


@pytest.fixture(scope="module", params=NAMES)
def shipped(request: pytest.FixtureRequest) -> DeviceRul:
    return DeviceRul(load(read_pack(SHIPPED / request.param)))


@pytest.fixture(scope="module")
def engine() -> NDArray[np.float64]:
    """The readings [200, len(SENSORS)] of a made engine: in good order for 80 cycles, then worse and worse."""
    constants = {
        one.name: onnx.numpy_helper.to_array(one)
        for one in onnx.load(SHIPPED / "device-rul" / "model.onnx").graph.initializer
    }
    usual, spread = (
        constants[name][: len(SENSORS)].astype(np.float64) ** power for name, power in (("centre", 1), ("scale", -1))
    )
    worn = np.expm1(np.maximum(np.arange(200) - 80, 0) / 40) / np.expm1(3) * 4
    noise = np.random.default_rng(7).normal(0, 0.7, (200, len(SENSORS)))
    return np.asarray(usual + spread * (worn[:, np.newaxis] * np.array(list(WEAR.values())) + noise))


def features_of(readings: NDArray[np.float64]) -> Rows:
    life = UnitLife()
    return np.array([life.update(cycle, row) for cycle, row in enumerate(readings.tolist(), 1)])


def write_log(file: Path, readings: NDArray[np.float64], unit: str = "7") -> Path:
    lines = [",".join(["unit", "cycle", *SENSORS])]
    lines += [f"{unit},{cycle},{','.join(map(repr, row))}" for cycle, row in enumerate(readings.tolist(), 1)]
    file.write_text("\n".join(lines) + "\n")
    return file


def scored(file: Path, pack: str = "device-rul") -> list[dict[str, Any]]:
    result = CliRunner().invoke(score_command, [str(SHIPPED / pack), str(file), "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    return [msgspec.json.decode(line) for line in result.stdout.splitlines() if line.startswith("{")]


# ---- what it says ------------------------------------------------------------------------------------------------


def test_an_engine_has_less_and_less_life_as_it_wears(shipped: DeviceRul, engine: NDArray[np.float64]) -> None:
    lives = shipped.predict(features_of(engine))
    assert lives[60].cycles > 80
    assert lives[199].cycles < 20
    assert lives[60].cycles > lives[150].cycles > lives[199].cycles


def test_the_bounds_hold_the_value_and_stay_between_nothing_and_the_cap(
    shipped: DeviceRul, engine: NDArray[np.float64]
) -> None:
    for life in shipped.predict(features_of(engine)):
        assert 0 <= life.low <= life.cycles <= life.high <= CAP


def test_what_each_sensor_took_adds_up_to_the_life_left(shipped: DeviceRul, engine: NDArray[np.float64]) -> None:
    lives = shipped.predict(features_of(engine)[BEGINNING:])
    usual = np.array([life.usual for life in lives])
    np.testing.assert_allclose(usual, np.median(usual), atol=STEPS)
    for life in lives:
        assert life.usual + sum(weight for _, weight in life.weights) == pytest.approx(life.cycles, abs=1e-3)
        assert {name for name, _ in life.weights if not name.startswith("limit")} == set(CAUSES)
        sizes = [abs(weight) for _, weight in life.weights]
        assert sizes == sorted(sizes, reverse=True)


def test_of_a_worn_engine_the_sensors_took_most_of_its_life(shipped: DeviceRul, engine: NDArray[np.float64]) -> None:
    (life,) = shipped.predict(features_of(engine)[-1:])
    assert sum(weight for name, weight in life.weights if name in SENSORS) < -40


def test_both_runtimes_say_the_same(engine: NDArray[np.float64]) -> None:
    features = features_of(engine)[BEGINNING:]
    onnx_said, litert_said = (
        np.array([life.cycles for life in DeviceRul(load(read_pack(SHIPPED / name))).predict(features)])
        for name in NAMES
    )
    assert np.sqrt(np.mean((onnx_said - litert_said) ** 2)) < 3


def test_lives_do_not_depend_on_the_batch(shipped: DeviceRul, engine: NDArray[np.float64]) -> None:
    features = features_of(engine)[:50]
    alone = [shipped.predict(row[np.newaxis])[0].cycles for row in features]
    np.testing.assert_allclose([life.cycles for life in shipped.predict(features)], alone, atol=1e-3)
    assert shipped.predict(features[:0]) == []


def test_an_engine_unlike_all_that_were_learnt_from_is_left_alone(
    shipped: DeviceRul, engine: NDArray[np.float64]
) -> None:
    (life,) = shipped.predict(features_of(engine * 1.5)[-1:])
    assert "deviations" in life.abstains


@pytest.mark.parametrize("name", NAMES)
def test_a_pack_is_small_proves_itself_and_reaches_its_target(name: str) -> None:
    pack = read_pack(SHIPPED / name)
    run_self_test(load(pack))
    assert pack.model_path.stat().st_size <= 2 << 20
    (error, in_float) = [one.value for one in pack.manifest.metrics if one.metric.startswith("RMSE")][:2]
    assert error <= 12.5
    assert error <= in_float + 0.5


def test_the_litert_pack_computes_its_layer_in_8_bits() -> None:
    model = load(read_pack(SHIPPED / "device-rul-litert"))
    assert isinstance(model, LiteRtModel)
    kinds = {detail["dtype"] for detail in model._interpreter.get_tensor_details()}
    assert {np.int8, np.int32} <= kinds


# ---- the command -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", NAMES)
def test_the_command_prints_a_life_a_line_with_bounds_and_reasons(
    tmp_path: Path, engine: NDArray[np.float64], pack: str
) -> None:
    rows = scored(write_log(tmp_path / "log.csv", engine), pack)
    assert [row["line"] for row in rows] == list(range(2, 202))
    assert all(f"{BEGINNING} are needed" in row["abstain"] for row in rows[: BEGINNING - 1])
    for row in rows[BEGINNING - 1 :]:
        assert (row["unit"], row["pack"]) == ("7", pack)
        assert row["low"] <= row["rul"] <= row["high"]
        assert row["usual"] + sum(weight for _, weight in row["weights"]) == pytest.approx(row["rul"], abs=0.02)


def test_for_people_a_line_says_what_is_left_and_why(tmp_path: Path, engine: NDArray[np.float64]) -> None:
    file = write_log(tmp_path / "log.csv", engine)
    result = CliRunner().invoke(score_command, [str(SHIPPED / "device-rul"), str(file)], catch_exceptions=False)
    assert "201: 7 cycle 200: " in result.stdout
    assert "cycles left (" in result.stdout


def test_units_whose_lines_are_mixed_are_told_apart(tmp_path: Path, engine: NDArray[np.float64]) -> None:
    one, other = (write_log(tmp_path / f"{unit}.csv", rows, unit) for unit, rows in (("a", engine), ("b", engine[::2])))
    mixed = tmp_path / "mixed.csv"
    lines, others = one.read_text().splitlines(), other.read_text().splitlines()[1:]
    mixed.write_text("\n".join([lines[0], *(line for pair in zip(lines[1:101], others, strict=True) for line in pair)]))
    last = {row["unit"]: row["rul"] for row in scored(mixed) if "rul" in row}
    assert last == {"a": scored(one)[99]["rul"], "b": scored(other)[99]["rul"]}


def test_json_lines_and_other_names_mean_the_same(tmp_path: Path, engine: NDArray[np.float64]) -> None:
    said = [row.get("rul") for row in scored(write_log(tmp_path / "log.csv", engine[:60]))]
    file = tmp_path / "log.jsonl"
    file.write_bytes(
        b"\n".join(
            msgspec.json.encode(
                {"Engine ID": "7", "time_in_cycles": cycle, "setting_1": 0.1}
                | {f"Sensor_Measurement_{sensor[1:]}": value for sensor, value in zip(SENSORS, row, strict=True)}
            )
            for cycle, row in enumerate(engine[:60].tolist(), 1)
        )
    )
    assert [row.get("rul") for row in scored(file)] == said


@pytest.mark.parametrize("names", [["time"], ["date"], ["time", "cycle"]])
def test_without_cycles_a_number_as_time_counts_and_without_that_the_lines(
    tmp_path: Path, engine: NDArray[np.float64], names: list[str]
) -> None:
    said = [row.get("rul") for row in scored(write_log(tmp_path / "log.csv", engine[:40]))]
    of_name = {"time": 0 if "cycle" in names else 1, "date": 0, "cycle": 1}
    rows = [
        [*(("2026-03-12T06:00:00Z", cycle)[of_name[name]] for name in names), *values]
        for cycle, values in enumerate(engine[:40].tolist(), 1)
    ]
    file = tmp_path / "other.csv"
    file.write_text("\n".join(",".join(map(str, row)) for row in [[*names, *SENSORS], *rows]))
    assert [row.get("rul") for row in scored(file)] == said


@pytest.mark.parametrize("cell", ["nan", "inf", "-inf", "", "much", "1e300", "1" * 400])
def test_a_cell_that_is_no_number_costs_its_line_alone(tmp_path: Path, engine: NDArray[np.float64], cell: str) -> None:
    file = write_log(tmp_path / "log.csv", engine[:40])
    lines = file.read_text().splitlines()
    lines[30] = ",".join([*lines[30].split(",")[:5], cell, *lines[30].split(",")[6:]])
    file.write_text("\n".join(lines))
    rows = scored(file)
    assert "its s7 is" in rows[29]["abstain"]
    assert "abstain" not in rows[28] | rows[30]


def test_columns_that_are_missing_are_named(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("unit,cycle,temperature\n1,1,20\n1,2\n")
    rows = scored(file)
    assert [row["line"] for row in rows] == [2, 3]
    assert rows[0]["abstain"] == f"it has no {', '.join(SENSORS)}"


@pytest.mark.parametrize(
    ("cycles", "says"),
    [
        ([*range(1, 31), 30], "cycle 30 comes after cycle 30"),
        ([*range(1, 31), 3], "cycle 3 comes after cycle 30"),
        ([*range(101, 132)], "its readings begin at cycle 101"),
        ([*range(1, 31), -4], "none comes before 0"),
    ],
)
def test_cycles_out_of_order_and_lives_without_a_beginning(
    tmp_path: Path, engine: NDArray[np.float64], cycles: list[int], says: str
) -> None:
    file = tmp_path / "log.csv"
    rows = [f"1,{cycle},{','.join(map(repr, row))}" for cycle, row in zip(cycles, engine.tolist(), strict=False)]
    file.write_text("\n".join([",".join(["unit", "cycle", *SENSORS]), *rows]))
    assert says in scored(file)[-1]["abstain"]


@pytest.mark.parametrize(("name", "text"), [("log.jsonl", b"[1]\n"), ("log.csv", b"unit,s2\n1,\xff\n")])
def test_what_is_no_log_is_refused_with_its_name(tmp_path: Path, name: str, text: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(text)
    with pytest.raises(InputInvalid, match=name):
        scored(file)


@given(st.lists(st.tuples(*[st.text(max_size=4) | st.floats() | st.none()] * 3), max_size=4))
def test_no_line_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]]) -> None:
    file = tmp_path_factory.mktemp("log") / "log.jsonl"
    sound = dict.fromkeys(SENSORS, 1.0)
    file.write_bytes(
        b"\n".join(msgspec.json.encode(sound | {"unit": unit, "cycle": at, "s7": value}) for unit, at, value in rows)
    )
    lines: Iterator[UnitLine] = read_unit_log(file, SENSORS)
    for line in lines:
        assert bool(line.problem) != (len(line.values) == len(SENSORS))
        assert all(map(math.isfinite, (line.cycle, *line.values)))


# ---- how it is made ----------------------------------------------------------------------------------------------


def test_features_are_those_of_a_still_machine_when_nothing_moves() -> None:
    life = UnitLife()
    for cycle in range(1, 60):
        features = life.update(cycle, [5.0] * len(SENSORS))
    count = len(SENSORS)
    np.testing.assert_allclose(features[:count], 5.0)
    np.testing.assert_allclose(features[count : 4 * count], 0.0, atol=1e-6)
    assert features[-1] == pytest.approx(math.log(59))


def test_float_8_bits_and_litert_say_the_same(
    tmp_path: Path, engine: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.train.device_rul.EPOCHS", 60)
    monkeypatch.setattr("models.train.device_rul.BATCH", 20)
    features, life = features_of(engine)[BEGINNING:], np.arange(199, BEGINNING - 1, -1).astype(np.float32)
    network = fit(features, life)
    middle = hidden_layer(network.hidden, network.bias, ROWS)
    small = quantize_layers(middle, [{"inputs": network.inputs(features)}])
    exact = np.clip(network.life(features)[:, 0], 0, CAP)
    for name, runtime, model, within in (
        ("float", "onnx", content(whole(network, middle)), 1e-2),
        ("int8", "onnx", content(whole(network, small)), 3.0),
        ("litert", "litert", lite(network, features), 3.0),
    ):
        said = predictor(packed(tmp_path / name, name, runtime, model, features))(features)  # type: ignore[arg-type]
        np.testing.assert_allclose([one.cycles for one in said], exact, atol=within)
    usual = network.life(network.centre[np.newaxis])[0, 0]
    assert said[0].usual == pytest.approx(usual, abs=STEPS)
    assert np.any(np.all(in_good_order(features[:70], network.scale) == features[:70], axis=1))


def test_widened_bounds_are_passed_as_seldom_as_they_should_be() -> None:
    random = np.random.default_rng(3)
    truth = random.uniform(0, 100, 5000)
    near = truth + random.normal(0, 10, 5000)
    said = np.stack([near, near - 2, near + 2], axis=1).astype(np.float32)
    low, high = widened_rows(said, widening(said, truth))[:, 1:].T
    assert np.mean(truth < low) == pytest.approx(0.1, abs=0.01)
    assert np.mean(truth > high) == pytest.approx(0.1, abs=0.01)


def test_figures_count_late_warnings_more() -> None:
    from models.tasks.device_rul import Life

    late, early = ([Life(cycles=50 + off, low=40, high=60)] for off in (20, -20))
    truth = np.array([50.0])
    said = [{one.metric: one.value for one in figures(lives, truth, "", "")} for lives in (late, early)]
    assert said[0]["RMSE, cap 125"] == said[1]["RMSE, cap 125"] == 20
    assert said[0]["NASA's score for each engine"] > said[1]["NASA's score for each engine"]
    assert said[0]["share between the bounds of 80%"] == 1


def test_figures_of_a_pack_need_the_sets(tmp_path: Path) -> None:
    pack = read_pack(SHIPPED / "device-rul")
    with pytest.raises(InputInvalid, match="--data"):
        list(evaluate(pack, None))
    with pytest.raises(InputInvalid, match="cmapss"):
        list(evaluate(pack, tmp_path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task": "device-anomaly"}, "not for machines' lives"),
        ({"inputs": {"features": Tensor(dtype="float32", shape=(-1, 3))}}, "not made for this version's features"),
    ],
)
def test_a_pack_that_does_not_fit_is_refused(change: dict[str, object], says: str) -> None:
    pack = read_pack(SHIPPED / "device-rul")

    class Other:
        """The pack's model under another manifest."""

        def __init__(self) -> None:
            self.pack = Pack(folder=pack.folder, manifest=msgspec.structs.replace(pack.manifest, **change))
            self.run = load(pack).run

    with pytest.raises(PackInvalid, match=says):
        DeviceRul(Other())


def test_features_of_another_shape_are_refused(shipped: DeviceRul) -> None:
    with pytest.raises(InputInvalid, match="features"):
        shipped.predict(np.zeros((3, len(FEATURES) + 1), np.float32))
