"""Posts the sample site's notes to a running gateway, as a field rep's phone would."""

import sys
from pathlib import Path

import httpx
import msgspec

NOTES = Path(__file__).with_name("notes.jsonl")


class SampleNote(msgspec.Struct, frozen=True, kw_only=True):
    """A line of notes.jsonl."""

    customer: str
    author: str
    text: str
    language: str


def post(url: str) -> int:
    """Post every note to the gateway at `url`, each under a key of its own so that it is accepted once; gives how
    many there are."""
    notes = [msgspec.json.decode(line, type=SampleNote) for line in NOTES.read_text("utf-8").splitlines()]
    for number, note in enumerate(notes):
        body = {
            "subject": note.customer,
            "author": note.author,
            "text": note.text,
            "language": note.language,
            "key": f"sample-{number}",
        }
        httpx.post(f"{url}/api/notes", json=body).raise_for_status()
    return len(notes)


if __name__ == "__main__":
    print(f"{post(sys.argv[1])} notes posted")
