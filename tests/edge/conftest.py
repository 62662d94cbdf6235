"""A bare site and its journal, for tests of single parts."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.site import Site, SiteSettings
from edge.store.journal import Journal
from tests.edge.acting import Acting, Clock
from tests.edge.tried import Tried, a_site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site folder with an inbox and no settings but a name."""
    bare = Site(folder=tmp_path / "site", settings=SiteSettings(name="test", time_zone="Asia/Shanghai"))
    for folder in (bare.inbox, bare.data):
        folder.mkdir(parents=True)
    return bare


@pytest.fixture(scope="session")
def empty_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with the newest schema and nothing in it: copying it is quicker than migrating."""
    path = tmp_path_factory.mktemp("empty") / "journal.db"
    Journal(path).close()
    return path


@pytest.fixture
def journal(site: Site, empty_journal: Path) -> Iterator[Journal]:
    """The site's journal, open."""
    shutil.copyfile(empty_journal, site.journal)
    opened = Journal(site.journal)
    yield opened
    opened.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Clocks that the test sets."""
    return Clock(monkeypatch)


@pytest.fixture
def acting(tmp_path: Path, empty_journal: Path, clock: Clock) -> Iterator[Acting]:
    """A journal under these clocks, and what acts on it."""
    shutil.copyfile(empty_journal, tmp_path / "journal.db")
    opened = Acting(tmp_path, clock)
    yield opened
    opened.journal.close()


@pytest.fixture
def tried(tmp_path: Path) -> Iterator[Tried]:
    """A site that leaves half of those who worry about the budget alone."""
    opened = Tried(a_site(tmp_path / "tried"))
    yield opened
    opened.close()
