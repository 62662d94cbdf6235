"""A wrong key in any TOML of a site is one sentence that names file, line and key."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.decide.playbook import read_playbook
from edge.errors import PlaybookGap, SettingsError
from edge.site import make_site, read_site
from edge.toml import line_of

GOOD = 'name = "mine"\n'
PLAY = """
[[play]]
name = "budget"
label = "budget_concern"
title = { en = "Budget" }
[[play.step]]
role = "rep"
channel = "card"
what = { en = "Call" }
within_minutes = 5
"""


def site_with(folder: Path, text: str) -> Path:
    (folder / "site.toml").write_text(text, "utf-8")
    return folder


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "colour = 3\n", "site.toml:2: colour: this key is not known"),
        (GOOD + "\n[web]\nport = 'x'\n", "site.toml:4: web.port: Expected `int`, got `str`"),
        (
            GOOD + "[bus]\n[[bus.topics]]\npattern = 'a'\n[[bus.topics]]\npatern = 'b'\n",
            "site.toml:6: bus.topics.patern",
        ),
        ("language = 'zh'\n", "missing required field `name`"),
        ("name = \n", "this is not TOML"),
        (GOOD + "time_zone = 'Mars/Base'\n", "time_zone: 'Mars/Base' is no time zone"),
        ("name = 'a/../b'\n", "name: 'a/../b' may only hold"),
        (GOOD + "[disk]\nfloor_mb = 1024\n", "disk.floor_mb: 1024 is not below low_mb (1024)"),
    ],
)
def test_a_wrong_site_toml_is_explained_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_site(site_with(tmp_path, text))
    assert said in str(caught.value)


def test_a_folder_without_a_site_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="outstation init"):
        read_site(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("role =", "rolle ="), "playbook.toml:7: play.step.rolle: this key is not known"),
        (('"card"', '"fax"'), "playbook.toml:8: play.step.channel: Invalid enum value 'fax'"),
        (
            ("within_minutes = 5", "within_minutes = 0"),
            "playbook.toml:10: play.step.within_minutes: Expected `float` > 0",
        ),
        (('channel = "card"', 'channel = "device"'), "needs payload.topic"),
        (('{ en = "Call" }', "{}"), "says nothing in `what`"),
    ],
)
def test_a_wrong_playbook_is_explained(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    path = tmp_path / "playbook.toml"
    path.write_text(PLAY.replace(*change), "utf-8")
    with pytest.raises(SettingsError) as caught:
        read_playbook(path)
    assert said in str(caught.value)


def test_two_plays_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "playbook.toml"
    path.write_text(PLAY + PLAY, "utf-8")
    with pytest.raises(SettingsError, match="two plays named 'budget'"):
        read_playbook(path)


def test_a_label_without_a_play_is_refused_with_the_place_to_add_one(tmp_path: Path) -> None:
    path = tmp_path / "playbook.toml"
    path.write_text(PLAY, "utf-8")
    playbook = read_playbook(path)
    playbook.check_covers("call-signals", ["budget_concern"])
    with pytest.raises(PlaybookGap) as caught:
        playbook.check_covers("call-signals", ["budget_concern", "churn_risk"])
    assert "'churn_risk'" in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_new_site_can_be_read_at_once_and_is_not_overwritten(tmp_path: Path) -> None:
    make_site(tmp_path / "north", sample=False)
    site = read_site(tmp_path / "north")
    assert site.settings.name == "north"
    assert read_playbook(site.playbook).plays
    assert list(site.inbox.iterdir()) == []
    with pytest.raises(SettingsError, match="there already"):
        make_site(tmp_path / "north", sample=True)


@given(st.text(max_size=300), st.lists(st.text("abc[0]", max_size=5), max_size=4))
def test_finding_a_line_never_fails_whatever_the_text(text: str, steps: list[str]) -> None:
    assert 1 <= line_of(text, steps) <= max(1, len(text.splitlines()))
