"""Every figure that GET /metrics tells, with its name, its labels and what it means.

What happens is counted where it happens, a batch at a time; what can be read at any moment is read when somebody asks
(`watch`). No label names a device, a call or a person: after a year there are as many figures as on the first day.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from edge.health import Measures

STEP_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
CONCLUSION_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800)
COMMIT_JOBS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)
ANSWER_S = (0.005, 0.025, 0.1, 0.5, 2.5)
REAL_TIME = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2)


class Metrics:
    """The figures of one daemon, from its start; each journal has its own, so that two in one process stay apart."""

    def __init__(self) -> None:
        # Without a second line for each counter, which says when it was first counted.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

        # What comes in.
        self.events = self._counter(
            "outstation_events",
            "Events that were accepted, by kind (call, reading, note) and source.",
            "kind",
            "source",
        )
        self.refusals = self._counter("outstation_refusals", "Inputs that were kept aside, by source.", "source")
        for source in ("inbox", "bus", "calls"):
            self.refusals.labels(source)  # there at 0, so that the first one is seen as an increase

        # The flow; `track` is reading, note or call.
        self._steps = self._histogram(
            "outstation_step_seconds",
            "Time that a step (perceive, infer, decide, commit) took for a batch; perceiving a call: a slice of it.",
            STEP_S,
            "step",
            "track",
        )
        self.conclusions = self._histogram(
            "outstation_conclusion_seconds",
            "From an event's arrival to the commit of what was concluded: for the oldest of a batch, or a whole call.",
            CONCLUSION_S,
            "track",
        )
        self.speech = self._counter("outstation_speech_audio_seconds", "Sound that was turned into words.")
        self.real_time = self._histogram(
            "outstation_speech_real_time_ratio",
            "Time that decoding one speaker of a call took, divided by the call's length; above 1 calls pile up.",
            REAL_TIME,
        )
        self.predictions = self._counter(
            "outstation_predictions", "Predictions that were written down, by pack and label.", "pack", "label"
        )
        self.decisions = self._counter("outstation_decisions", "Plays that were called.", "play")
        self.actions = self._counter("outstation_actions", "Actions that came into a state.", "state")

        # The journal's writer.
        self.commit = self._histogram(
            "outstation_commit_seconds", "Time that a transaction of the journal took, until it was on disk.", STEP_S
        )
        self.commit_jobs = self._histogram(
            "outstation_commit_jobs", "Jobs that shared a transaction of the journal.", COMMIT_JOBS
        )
        self.commit_failures = self._counter(
            "outstation_commit_failures", "Transactions that the disk did not take; nothing of them was accepted."
        )

        # The page and the HTTP interface.
        self.answers = self._histogram(
            "outstation_http_answer_seconds",
            "From a request to the beginning of its answer; route '': no such address, or the caller may not ask.",
            ANSWER_S,
            "method",
            "route",
            "status",
        )
        self.streams = Gauge("outstation_streams_open", "Open streams of events.", registry=self._registry)

    def step(self, step: str, track: str) -> AbstractContextManager[object]:
        """Measures the block as a step of the flow."""
        return self._steps.labels(step, track).time()

    def watch(self, look: Callable[[], Measures]) -> None:
        """Tell also what `look` sees, each time that somebody asks."""
        self._registry.register(_Seen(look))

    def exposition(self) -> bytes:
        """All figures as Prometheus reads them; looks at the gateway, so call it in a thread."""
        return generate_latest(self._registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self._registry)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, meaning, labels, buckets=buckets, registry=self._registry)


class _Seen(Collector):
    """What is read at the moment when somebody asks; a part that the site does not have has no line."""

    def __init__(self, look: Callable[[], Measures]) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        seen = self._look()
        health = seen.health
        yield _gauge(
            "outstation_live", "1 while events are worked on; if not, only a restart helps.", seen.readiness.live
        )
        yield _gauge("outstation_ready", "1 while events are accepted and worked on.", seen.readiness.ready)
        yield _gauge(
            "outstation_problems", "Sentences about what is wrong, as GET /api/health tells them.", len(health.problems)
        )
        yield _gauge(
            "outstation_readings_behind",
            "Accepted readings that nothing was concluded from yet.",
            health.readings_behind,
        )
        yield _gauge("outstation_calls_waiting", "Calls without a complete transcript.", health.calls_waiting)
        yield _gauge("outstation_writer_jobs_waiting", "Jobs before the journal's writer.", health.writer_waiting)
        yield _gauge("outstation_disk_free_bytes", "Free disk where the journal lies.", seen.disk_free_bytes)
        yield _gauge("outstation_journal_bytes", "Size of the journal's file, without its log.", seen.journal_bytes)

        outbox = GaugeMetricFamily("outstation_outbox_rows", "Records that HQ has not acknowledged.", labels=["lane"])
        outbox.add_metric(["now"], health.outbox.now)
        outbox.add_metric(["day"], health.outbox.day)
        outbox.add_metric(["bulk"], health.outbox.bulk)
        yield outbox
        if seen.hq_heard_at:
            heard_s = seen.hq_heard_at / 1e6
            yield _gauge("outstation_hq_heard_timestamp_seconds", "When HQ last said anything, since 1970.", heard_s)
        if health.replica is not None:
            lag_s = health.replica.lag_s
            yield _gauge(
                "outstation_replica_running", "1 while something keeps the journal's replica.", lag_s is not None
            )
            if lag_s is not None:
                yield _gauge(
                    "outstation_replica_lag_seconds", "How far the replica is behind; 0: half a minute at most.", lag_s
                )

        running = GaugeMetricFamily("outstation_child_running", "1 while the process runs.", labels=["child"])
        restarts = CounterMetricFamily("outstation_child_restarts", "Times it was started again.", labels=["child"])
        for child in seen.children:
            running.add_metric([child.name], child.running)
            restarts.add_metric([child.name], child.restarts)
        yield running
        yield restarts
        if seen.bus is not None:
            yield _gauge("outstation_bus_connected", "1 while the device bus answers.", seen.bus.connected)
            yield CounterMetricFamily(
                "outstation_bus_messages_lost",
                "Devices' messages at QoS 0 that could not wait until there was room.",
                seen.bus.messages_lost,
            )


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, value)
