"""Files of outcomes: a table or JSON lines with `value`, and either `decision` or `subject` and `play`; and, where
there is more to say, `at` (RFC 3339), `by`, `remark`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from edge.errors import Refused
from edge.events import now_us
from edge.sources.logs import Row, cells_of, json_rows, lines_of, table_rows
from edge.store.outcomes import Claim
from models.device_log import parse_time

LONGEST = 200
BY_FILE = "file"


def read_outcomes(path: Path) -> Iterator[Row]:
    """The rows of a `.csv` or `.jsonl` file of outcomes. Raises Refused when the whole file cannot be one."""
    with path.open("rb") as file:
        lines = lines_of(path.name, file)
        if path.suffix.lower() != ".csv":
            yield from json_rows(path.name, lines)
            return
        header_line = next(lines, "")
        header = [column.strip() for column in cells_of(header_line)]
        if "value" not in header or not ("decision" in header or {"subject", "play"} <= set(header)):
            raise Refused(
                f"{path.name} line 1: a file of outcomes begins with value,decision or value,subject,play; correct it."
            )
        yield from table_rows(header_line, header, lines)


def claim_of(fields: Mapping[str, Any], zone: ZoneInfo) -> Claim:
    """What a row says came of a decision. Raises Refused naming the field."""
    try:
        value = float(fields.get("value", ""))
    except (TypeError, ValueError):
        raise Refused(f"value: {str(fields.get('value'))[:40]!r} is not a number; say 1 for yes, 0 for no") from None
    at = fields.get("at") or ""
    try:
        told_at = parse_time(at, zone) if at != "" else now_us()
    except ValueError:
        raise Refused(f"at: {str(at)[:40]!r} is not a time; write RFC 3339") from None
    texts = {name: str(fields.get(name) or "").strip()[:LONGEST] for name in ("decision", "subject", "play", "remark")}
    return Claim(
        value=value,
        at=told_at,
        by=str(fields.get("by") or BY_FILE).strip()[:LONGEST],
        source="file",
        decision_id=texts["decision"],
        subject=texts["subject"],
        play=texts["play"],
        remark=texts["remark"],
    )
