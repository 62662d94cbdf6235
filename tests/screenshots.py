"""Takes the documentation's pictures of the page of a gateway: python -m tests.screenshots URL OUTDIR."""

import sys
import tempfile
from pathlib import Path

from tests.browser import browsing

PICTURES = {"page-en.png": ("en", 1240, 740), "page-zh.png": ("zh", 390, 844)}


def take(url: str, folder: Path) -> None:
    """The cards in English on a wide screen and in Chinese on a narrow one."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile, browsing(Path(profile)) as tab:
        for name, (language, width, height) in PICTURES.items():
            tab.open(f"{url}/?lang={language}#/cards", width=width, height=height)
            tab.wait("document.querySelectorAll('.card .amount:not(:empty)').length > 0")
            tab.picture(folder / name)


if __name__ == "__main__":
    take(sys.argv[1].rstrip("/"), Path(sys.argv[2]))
