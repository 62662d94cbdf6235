"""The pack for devices that ships: what it finds, what it leaves alone, and that its evidence is true of it."""

import csv
import datetime as dt
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from edge.events import Event, Reading
from edge.perceive.windows import DeviceWindows
from models import packs
from models.errors import InputInvalid, PackInvalid
from models.features.windows import FEATURES
from models.pack import Pack, read_pack
from models.runtime import load
from models.score import score as score_command
from models.tasks.device_anomaly import DeviceAnomaly
from models.train.device_anomaly import ROWS, fit, packed, scorer, whole
from models.train.layer_graph import hidden_layer
from models.train.quantize import quantize_layers
from models.train.series import made
from models.train.windowed import features_of

SHIPPED = Path(packs.__path__[0]) / "device-anomaly"
INBOX = Path(__file__).parents[2] / "edge" / "sample" / "inbox"
FAULT_MINUTE = 38
BATCH = 250

Rows = NDArray[np.float32]


@pytest.fixture(scope="module")
def shipped() -> DeviceAnomaly:
    return DeviceAnomaly(load(read_pack(SHIPPED)))


@pytest.fixture(scope="module")
def some_features() -> Rows:
    """Features of made series, with and without faults."""
    return np.concatenate(features_of([(one.at_us, one.values) for one in made(99, 12)]))[::7]


def sample_log(device: str) -> list[Event]:
    with (INBOX / f"{device}.csv").open(encoding="utf-8", newline="") as file:
        return [
            Event(
                at=round(dt.datetime.fromisoformat(row["time"]).timestamp() * 1e6),
                source="test",
                subject=row["device"],
                received_at=0,
                boot_id="boot",
                data=Reading(values={name: float(text) for name, text in list(row.items())[2:]}),
            )
            for row in csv.DictReader(file)
        ]


def alarms(anomaly: DeviceAnomaly, device: str) -> dict[str, list[float]]:
    """The minutes of a sample log at which an event reaches the threshold, by the sensor that made it."""
    windows, events = DeviceWindows(), sample_log(device)
    found: dict[str, list[float]] = defaultdict(list)
    for begin in range(0, len(events), BATCH):
        some = events[begin : begin + BATCH]
        batch = windows.update(some)
        probability = anomaly.score(batch.features)
        for event, row in enumerate(batch.loudest(probability, len(some))):
            if probability[row] >= anomaly.threshold:
                found[batch.sensor[row]].append((some[event].at - events[0].at) / 6e7)
    return found


def log_odds(probability: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = probability.astype(np.float64)
    return np.log(exact / (1 - exact))


# ---- what it finds -----------------------------------------------------------------------------------------------


def test_the_hoists_failing_bearing_is_found_within_minutes_and_nothing_before(shipped: DeviceAnomaly) -> None:
    found = alarms(shipped, "hoist-07")
    minutes = sorted(minute for sensor in found.values() for minute in sensor)
    assert FAULT_MINUTE <= minutes[0] <= FAULT_MINUTE + 5
    assert set(found) == {"vibration_mm_s", "bearing_temp_c"}


def test_once_the_bearing_is_bad_the_alarm_stays(shipped: DeviceAnomaly) -> None:
    late = [minute for sensor in alarms(shipped, "hoist-07").values() for minute in sensor if minute >= 50]
    assert len(late) >= 0.9 * 10 * 30  # a reading every two seconds


def test_nothing_is_said_of_the_pump_that_runs_well(shipped: DeviceAnomaly) -> None:
    assert not alarms(shipped, "pump-03")


def test_the_manifests_figures_hold_8_bits_to_half_a_point_of_float() -> None:
    metrics = {(metric.set, metric.metric): metric.value for metric in read_pack(SHIPPED).manifest.metrics}
    pairs = [
        (value, metrics[name, f"{metric}, float"])
        for (name, metric), value in metrics.items()
        if (name, f"{metric}, float") in metrics
    ]
    assert pairs
    for in_8_bits, in_float in pairs:
        assert in_8_bits >= in_float - 0.005


# ---- why ---------------------------------------------------------------------------------------------------------


def test_many_readings_at_once_have_the_probabilities_that_they_have_one_by_one(shipped: DeviceAnomaly) -> None:
    features = np.random.default_rng(5).normal(size=(10_000, len(FEATURES))).astype(np.float32)
    at_once = shipped.score(features)
    assert at_once.shape == (10_000,)
    for row in [*range(200), 4095, 4096, 4097, 9_999]:
        assert shipped.score(features[row : row + 1]) == at_once[row : row + 1]


def test_weights_add_up_to_the_log_odds_less_those_of_a_usual_reading(
    shipped: DeviceAnomaly, some_features: Rows
) -> None:
    probability = shipped.score(some_features)
    told_apart = np.flatnonzero((probability > 1e-4) & (probability < 0.9999))[:200]  # from 0 and 1, in 32 bits
    weights = np.array([sum(weight for _, weight in shipped.explain(some_features[row])) for row in told_apart])
    usual = log_odds(probability[told_apart]) - weights
    np.testing.assert_allclose(usual, np.median(usual), atol=0.3)


def test_weights_come_largest_first_and_name_every_feature(shipped: DeviceAnomaly, some_features: Rows) -> None:
    weights = shipped.explain(some_features[0])
    assert {name for name, _ in weights} == set(FEATURES)
    sizes = [abs(weight) for _, weight in weights]
    assert sizes == sorted(sizes, reverse=True)


def test_without_its_first_evidence_an_anomaly_is_less_likely(shipped: DeviceAnomaly, some_features: Rows) -> None:
    probability = shipped.score(some_features)
    usual = np.median(some_features[probability < 0.01], axis=0)
    anomalous = some_features[probability >= shipped.threshold][:50]
    assert len(anomalous) >= 20
    for row in anomalous:
        name = next(name for name, weight in shipped.explain(row) if weight > 0)
        without = row.copy()
        without[FEATURES.index(name)] = usual[FEATURES.index(name)]
        before, after = shipped.score(np.stack([row, without]))
        assert after < before


# ---- the pack ----------------------------------------------------------------------------------------------------


def test_scores_do_not_depend_on_the_batch(shipped: DeviceAnomaly, some_features: Rows) -> None:
    together = shipped.score(some_features[:40])
    alone = np.concatenate([shipped.score(row[np.newaxis]) for row in some_features[:40]])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert shipped.score(some_features[:0]).shape == (0,)


def test_8_bits_say_what_float_says(tmp_path: Path, some_features: Rows) -> None:
    network = fit(some_features, some_features[:, 0] > 2, np.ones(len(some_features)), seed=1)
    middle = hidden_layer(network.hidden, network.bias, ROWS)
    small = quantize_layers(middle, [{"inputs": network.inputs(some_features)}])
    said = [
        scorer(packed(tmp_path / name, whole(network, one), 0.5, []))(some_features)
        for name, one in (("float", middle), ("int8", small))
    ]
    np.testing.assert_allclose(said[0], 1 / (1 + np.exp(-network.log_odds(some_features))), atol=1e-5)
    np.testing.assert_allclose(said[1], said[0], atol=0.06)
    weights = [tensor.data_type for tensor in small.graph.initializer if list(tensor.dims) == [len(FEATURES), 32]]
    assert weights == [onnx.TensorProto.INT8]


def test_the_same_readings_make_the_same_bytes(some_features: Rows) -> None:
    def model() -> bytes:
        network = fit(some_features, some_features[:, 0] > 2, np.ones(len(some_features)), seed=1)
        small = quantize_layers(
            hidden_layer(network.hidden, network.bias, ROWS), [{"inputs": network.inputs(some_features)}]
        )
        return bytes(whole(network, small).SerializeToString(deterministic=True))

    assert model() == model()


def test_features_of_another_shape_are_refused(shipped: DeviceAnomaly) -> None:
    with pytest.raises(InputInvalid, match="features"):
        shipped.score(np.zeros((3, len(FEATURES) + 1), np.float32))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task": "text-labels"}, "not one that watches devices"),
        ({"labels": ("device_anomaly", "worn")}, "one label"),
        ({"thresholds": {}}, "its threshold"),
        ({"inputs": {}}, "not made for this version's features"),
    ],
)
def test_a_pack_that_does_not_fit_is_refused(change: dict[str, object], says: str) -> None:
    pack = read_pack(SHIPPED)

    class Other:
        """The pack's model under another manifest."""

        def __init__(self) -> None:
            self.pack = Pack(folder=pack.folder, manifest=msgspec.structs.replace(pack.manifest, **change))
            self.run = load(pack).run

    with pytest.raises(PackInvalid, match=says):
        DeviceAnomaly(Other())


# ---- the command -------------------------------------------------------------------------------------------------


def scored(file: Path) -> list[dict[str, Any]]:
    result = CliRunner().invoke(score_command, [str(SHIPPED), str(file), "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    return [msgspec.json.decode(line) for line in result.stdout.splitlines()]


def test_the_command_prints_a_prediction_a_line_and_says_why_it_calls() -> None:
    rows = scored(INBOX / "hoist-07.csv")
    assert [row["line"] for row in rows] == list(range(2, len(rows) + 2))
    assert len(rows) == len(sample_log("hoist-07"))
    called = [row for row in rows if row["labels"]]
    assert called[0]["sensor"] == "vibration_mm_s"
    assert called[0]["value"] > called[0]["usual"]
    assert called[0]["weights"][0][1] > 0
    assert all(row["time"][11:16] >= "06:38" for row in called)


def test_json_lines_are_scored_like_the_same_csv(tmp_path: Path) -> None:
    csv_file, flat, nested = tmp_path / "log.csv", tmp_path / "log.jsonl", tmp_path / "nested.jsonl"
    events = sample_log("pump-03")[:300]
    names = list(events[0].data.values)  # type: ignore[union-attr]  # these are readings
    rows = [(event.at, [event.data.values[name] for name in names]) for event in events]  # type: ignore[union-attr]
    csv_file.write_text(
        "\n".join([",".join(["time", "device", *names]), *(f"{at},pump-03,{','.join(map(str, v))}" for at, v in rows)])
    )
    readings = [(at, dict(zip(names, values, strict=True))) for at, values in rows]
    flat.write_bytes(
        b"\n".join(msgspec.json.encode({"time": at, "device": "pump-03", "note": "x"} | v) for at, v in readings)
    )
    nested.write_bytes(
        b"\n".join(msgspec.json.encode({"time": at, "device": "pump-03", "values": v}) for at, v in readings)
    )
    said = [
        [(row["time"], row["sensor"], row["probabilities"]) for row in scored(file)]
        for file in (csv_file, flat, nested)
    ]
    assert said[0] == said[1] == said[2]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("log.csv", "device,x\na,1\n", "no column `time`"),
        ("log.csv", "time,device,x\n2026-03-12T06:00:00Z,a,1\n2026-03-12T06:00:02Z,a,much\n", "line 3: x is 'much'"),
        ("log.csv", "time,device,x\n2026-03-12T06:00:00Z,a\n", "line 2: has not as many cells"),
        ("log.csv", "time,device,x\nyesterday,a,1\n", "line 2: time is 'yesterday'"),
        ("log.csv", "time,device,x\n1,a,nan\n", "line 2: x is nan"),
        ("log.jsonl", '{"time": 1, "x": 1}\n[1]\n', "line 2: not a JSON object"),
        ("log.jsonl", '{"x": 1}\n', "line 1: time is None"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path: Path, name: str, text: str, says: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(InputInvalid) as caught:
        scored(file)
    assert says in str(caught.value)
    assert str(file) in str(caught.value)
