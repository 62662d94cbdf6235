"""What hold-outs show: who is left alone, that a play which harms pauses itself, and that only what was drawn is said
to move anything."""

from pathlib import Path

import httpx
import pytest

from edge.act.channels import Channels
from edge.act.countdown import Countdown
from edge.decide.experiments import Experiments
from edge.decide.holdouts import draw
from edge.decide.playbook import read_playbook
from edge.errors import SettingsError
from edge.events import PlayChange, Trial, new_id, now_us
from edge.store import plays, told
from edge.store.outcomes import Told
from tests.edge.tried import GOAL, Tried, a_site
from tests.records import AT
from tests.served import parts_of, served

MINES = [f"mine {number}" for number in range(400)]


def pause(tried: Tried) -> plays.Standing | None:
    return plays.standings(tried.journal.readers.connection()).get("budget")


# ---- who is left alone -----------------------------------------------------------------------------------------------


def test_a_subject_is_left_alone_or_not_on_every_box_and_after_every_restart_alike(tmp_path: Path) -> None:
    folders = [a_site(tmp_path / name) for name in ("one", "other")]
    first, again, other = (read_playbook(folder / "playbook.toml") for folder in (folders[0], *folders))
    arms = [
        [draw(book, book.by_name["budget"], subject)[0].held_out for subject in MINES] for book in (first, again, other)
    ]
    assert arms[0] == arms[1] == arms[2]
    assert 0.4 < sum(arms[0]) / len(MINES) < 0.6


def test_what_is_for_safety_leaves_nobody_alone(tmp_path: Path) -> None:
    path = a_site(tmp_path / "site") / "playbook.toml"
    text = path.read_text("utf-8")
    path.write_text(text.replace('goal = "closed"\n', 'goal = "closed"\nsafety = true\n', 1), "utf-8")
    book = read_playbook(path)
    assert book.share(book.by_name["budget"]) == 0
    assert [draw(book, book.by_name["budget"], subject) for subject in MINES] == [()] * len(MINES)
    path.write_text(text.replace('goal = "closed"\n', 'goal = "closed"\nsafety = true\nholdout = 0.1\n', 1), "utf-8")
    with pytest.raises(SettingsError, match="for safety and leaves nobody alone"):
        read_playbook(path)


def test_those_left_alone_get_a_decision_and_no_action(tried: Tried) -> None:
    decisions = tried.worried(MINES[:40])
    arms = {one.arm for one in decisions.values()}
    assert arms == {"treatment", "control"}
    for one in decisions.values():
        assert (tried.actions(one) > 0) == (one.arm == "treatment")
        assert one.trials == (Trial(share=0.5, held_out=one.arm == "control"),)


def test_of_a_step_with_a_hold_out_of_its_own_the_others_are_done(tmp_path: Path) -> None:
    tried = Tried(a_site(tmp_path / "site", 'name = "offer"\nholdout = 0.5\n'))
    try:
        decisions = [one for one in tried.worried(MINES[:60]).values() if one.arm == "treatment"]
        left_out = {one.id: next(trial.held_out for trial in one.trials if trial.step == "offer") for one in decisions}
        assert {tried.actions(one) for one in decisions if left_out[one.id]} == {2}
        assert {tried.actions(one) for one in decisions if not left_out[one.id]} == {3}
    finally:
        tried.close()


# ---- a play that harms -----------------------------------------------------------------------------------------------


def test_a_play_that_harms_pauses_itself_does_nothing_and_is_measured_anew_when_it_runs_again(tmp_path: Path) -> None:
    folder = a_site(tmp_path / "site")
    tried = Tried(folder)
    decisions = list(tried.worried(MINES).values())
    told_of = 0
    while pause(tried) is None and told_of < len(decisions):
        tried.tell_all(decisions[told_of : told_of + 4], treated=0.0, left_alone=1.0)
        told_of += 4
    standing = pause(tried)
    assert standing is not None
    assert (standing.state, standing.by) == ("paused", "gateway")
    assert standing.remark.startswith("shown to harm: -")
    assert 4 < told_of < len(decisions), "not at once, and not only at the end"
    tried.close()

    tried = Tried(folder)  # it stays so after a restart, and is said once
    try:
        (paused,) = tried.worried(["while it is paused"]).values()
        assert (paused.arm, tried.actions(paused)) == ("paused", 0)
        changes = tried.journal.readers.connection().execute("SELECT count(*) FROM play_changes").fetchall()
        assert changes == [(1,)]
        assert tried.pipeline.experiments.effects["budget", ""].verdict == "harms"

        tried.journal.change_play(PlayChange(at=now_us(), play="budget", state="running", by="Lin")).result()
        tried.pipeline.drain()
        assert ("budget", "") not in tried.pipeline.experiments.effects, "what was before does not count any more"
        tried.tell_all(decisions[told_of:], treated=0.0, left_alone=1.0)
        assert ("budget", "") not in tried.pipeline.experiments.effects
        anew = tried.worried(f"new {number}" for number in range(20))
        assert {one.arm for one in anew.values()} == {"treatment", "control"}
        tried.tell_all(list(anew.values())[:4], treated=0.0, left_alone=1.0)
        effect = tried.pipeline.experiments.effects["budget", ""]
        assert (effect.treated + effect.held_out, effect.verdict) == (4, "unproven")
        standing = pause(tried)
        assert standing is not None
        assert standing.state == "running"
    finally:
        tried.close()


def test_a_play_that_helps_goes_on(tried: Tried) -> None:
    tried.tell_all(tried.worried(MINES[:200]).values(), treated=1.0, left_alone=0.0)
    assert tried.pipeline.experiments.effects["budget", ""].verdict == "helps"
    assert pause(tried) is None


def test_outcomes_of_one_arm_alone_claim_nothing(tried: Tried) -> None:
    decisions = tried.worried(MINES).values()
    tried.tell_all((one for one in decisions if one.arm == "treatment"), treated=1.0, left_alone=0.0)
    effect = tried.pipeline.experiments.effects["budget", ""]
    assert (effect.verdict, effect.held_out) == ("suspect", 0)


def test_a_correction_counts_and_so_does_a_restart(tmp_path: Path) -> None:
    folder = a_site(tmp_path / "site")
    tried = Tried(folder)
    decisions = list(tried.worried(MINES[:200]).values())
    tried.tell_all(decisions, treated=0.4, left_alone=0.6)
    tried.tell_all(decisions, treated=1.0, left_alone=0.0)  # all of it was the wrong way round
    effect = tried.pipeline.experiments.effects["budget", ""]
    assert (effect.verdict, effect.treated + effect.held_out) == ("helps", 200)
    tried.close()
    tried = Tried(folder)
    try:
        assert tried.pipeline.experiments.effects["budget", ""] == effect
    finally:
        tried.close()


def test_a_trial_begins_anew_with_its_share_and_late_outcomes_of_the_share_before_do_not_end_it() -> None:
    def one(at: int, share: float) -> Told:
        return Told(
            subject=new_id(),
            play="budget",
            at=at,
            arm="treatment",
            trials=(Trial(share=share, held_out=False),),
            probability=0.9,
            earlier=0,
            value=1.0,
        )

    experiments = Experiments([one(AT, 0.1) for _ in range(5)])
    for told_now in (one(AT + 10, 0.2), one(AT + 1, 0.1), one(AT + 11, 0.2)):
        experiments.take(told_now)
    assert experiments.effects["budget", ""].treated == 2


# ---- what is said of it ----------------------------------------------------------------------------------------------


def test_a_chain_says_unproven_until_the_sites_own_hold_outs_show_it(tmp_path: Path) -> None:
    step = 'name = "offer"\nholdout = 0.5\nprior = { without = 0.5, with = 0.7 }\n'
    folder = a_site(tmp_path / "site", step)
    playbook = folder / "playbook.toml"
    playbook.write_text(playbook.read_text("utf-8").replace(GOAL, GOAL.replace("share = 0.5", "share = 0.0")), "utf-8")
    tried = Tried(folder)
    try:
        before = [one.chain for one in tried.worried(MINES).values() if not one.trials[0].held_out]
        assert before[0] is not None
        assert before[0].unproven == before[0].steps[:1] != ()
        assert before[0].low <= before[0].after <= before[0].high
        for decision in tried.decisions():
            if decision.play == "budget":
                tried.tell(decision, 0.0 if decision.trials[0].held_out else 1.0)
        tried.pipeline.drain()
        assert tried.pipeline.experiments.effects["budget", "offer"].verdict == "helps"
        later = tried.worried(f"new {number}" for number in range(10)).values()
        after = next(one.chain for one in later if not one.trials[0].held_out)
        assert after is not None
        assert after.unproven == ()
        assert after.after > after.before
    finally:
        tried.close()


def test_what_only_goes_along_is_never_said_to_have_moved_anything(tried: Tried) -> None:
    """Everybody whose first step was done bought: but who did it chose whom to do it for."""
    decisions = list(tried.worried(MINES[:60]).values())
    connection = tried.journal.readers.connection()
    Countdown(tried.journal, Channels(None, tried.opened.site.webhooks, tried.opened.site.messages)).settle()
    for number, decision in enumerate(decisions):
        rows = connection.execute(
            "SELECT id FROM actions WHERE decision_id = ? AND channel = 'card' ORDER BY step LIMIT 1", (decision.id,)
        ).fetchall()
        for (action_id,) in rows if number % 2 else []:
            for state in ("accepted", "done"):
                tried.journal.move(str(action_id), state, "Lin").result()
        tried.tell(decision, 0.5 if not rows else float(number % 2))
    tried.pipeline.drain()
    assert [one for one in told.features(connection, "closed") if one.done]
    site = tried.opened.site
    parts = parts_of(tried.journal, site.audio, site=site, playbook=tried.pipeline.playbook)
    with served(parts) as url, httpx.Client(base_url=url) as client:
        (report,) = client.get("/api/drivers").json()
        assert (report["goal"], report["outcomes"], report["moved"]) == ("closed", 60, [])
        assert [one["play"] for one in report["unproven"]] == ["budget"]
        assert "budget/1 done" in [one["feature"] for one in report["goes_along"]]
        row = next(one for one in client.get("/api/plays").json() if one["play"] == "budget")
        assert row["effect"]["verdict"] == "unproven"
        assert row["decisions"].keys() == {"treatment", "control"}

        def change(to: str, **said: object) -> int:
            return client.post(f"/api/plays/budget/{to}", json={"by": "Lin", **said}).status_code

        assert [change("pause"), change("pause"), change("resume"), change("resume")] == [200, 409, 200, 409]
        assert [change("pause", by="gateway"), change("pause", remark="x" * 2_001)] == [400, 400]
        assert client.post("/api/plays/none/pause", json={"by": "Lin"}).status_code == 404
        listed = client.get("/api/chains")
        assert (listed.status_code, client.get("/api/chains", params={"limit": 0}).status_code) == (200, 400)
