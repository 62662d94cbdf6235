"""Reads a figure out of what GET /metrics tells."""

from prometheus_client.parser import text_string_to_metric_families


def figure(text: str, name: str, **labels: str) -> float | None:
    """The value of a line with this name and at least these labels, summed over all such; None: there is none."""
    values = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(values) if values else None
