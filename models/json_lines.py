"""Files of JSON lines, as `outstation score` reads them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from models.errors import InputInvalid


def json_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON lines with their 1-based line numbers; blank lines are passed over. Raises
    InputInvalid at the first line that is none."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, msgspec.json.decode(line, type=dict[str, Any])
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    raise InputInvalid(f"{file}, line {number}: not a JSON object: {error}.") from None
