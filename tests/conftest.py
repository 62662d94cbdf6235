"""What all tests share: the packs folder with the English speech pack in it."""

from pathlib import Path

import pytest

from models.catalogue import read_catalogue, speech_pack_of
from models.fetch import fetch_pack
from models.store import default_packs


@pytest.fixture(scope="session")
def packs() -> Path:
    """The packs folder that the command uses; the English speech pack is fetched into it when it is not there yet."""
    catalogue = read_catalogue()
    fetch_pack(catalogue[speech_pack_of("en", catalogue)], default_packs())
    return default_packs()
