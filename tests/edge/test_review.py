"""`outstation audit verify` and `outstation uplift`, as people call them; and the key that signs."""

import stat
from pathlib import Path

import apsw
import msgspec
import pytest
from click.testing import CliRunner, Result

from edge.checkpoints import Checkpoints, audit_key, public_text
from edge.cli import outstation
from edge.decide.holdouts import is_held_out
from edge.errors import SettingsError
from edge.events import Checkpoint, Decision, Trial, now_us
from edge.site import Site, make_site, read_site
from edge.store.journal import Conclusions, Journal
from edge.store.outcomes import Claim
from edge.store.rows import select
from sync.hq.store import Store
from sync.outbox import Outbox
from sync.protocol import LANES
from tests.hq.sent import KEY, row, send
from tests.records import an_action


@pytest.fixture
def made(tmp_path: Path) -> Site:
    make_site(tmp_path / "made", sample=False)
    return read_site(tmp_path / "made")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(outstation, [str(one) for one in arguments])


def a_day(journal: Journal, customers: int, share: float = 0.5) -> None:
    """Decisions about so many customers, a share left alone; those that something was done for stay."""
    for number in range(customers):
        left = is_held_out("a key of eight", "keep", f"customer-{number}", share)
        decision = Decision(
            at=now_us(),
            prediction_id="p",
            event_id="e",
            subject=f"customer-{number}",
            play="keep",
            deadline=now_us(),
            arm="control" if left else "treatment",
            trials=(Trial(share=share, held_out=left),),
        )
        actions = [] if left else [an_action(decision_id=decision.id)]
        journal.conclude(Conclusions(decisions=[decision], actions=actions)).result()
        claim = Claim(value=float(not left), at=now_us(), by="li", source="http", decision_id=decision.id)
        journal.tell(claim).result()


def test_verify_and_uplift_tell_what_the_journal_proves(made: Site) -> None:
    journal = Journal(made.journal)
    a_day(journal, 120)
    Checkpoints(journal, made.audit_key).sign()
    journal.close()

    verified = call("audit", "verify", made.folder)
    assert verified.exit_code == 0
    assert "entries fit, 1 checkpoints signed by" in verified.output
    told = call("uplift", made.folder, "--json")
    line = msgspec.json.decode(told.output)
    assert (line["play"], line["verdict"]) == ("keep", "helps")
    assert line["low"] > 0.2
    assert line["treated"] + line["held_out"] == 120
    assert "left alone: helps" in call("uplift", made.folder).output

    other = call("audit", "verify", made.folder, "--key", "00" * 32, "--json")
    assert other.exit_code == 1
    assert msgspec.json.decode(other.output)["misfit"]["why"] == "its signature is not the site's"


def test_hq_takes_the_hold_outs_of_all_sites_together_and_says_what_a_playbook_can_expect(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "hq.db")
    for name, share in (("mine-1", 0.5), ("mine-2", 0.5), ("mine-3", 0.25)):
        store.enrol(name, KEY)
        journal = Journal(tmp_path / name / "journal.db")
        a_day(journal, 60, share)
        journal.close()
        bring(tmp_path / name / "journal.db", store, name)
    store.close()

    told = call("uplift", "--hq", tmp_path / "hq.db", "--json").output.splitlines()
    both, third = (msgspec.json.decode(line) for line in told)
    assert (both["play"], both["sites"], both["share"], both["verdict"]) == ("keep", 2, 0.5, "helps")
    assert both["treated"] + both["held_out"] == 120, "a customer of one site is not that of another with its name"
    assert (third["sites"], third["share"], third["treated"] + third["held_out"]) == (1, 0.25, 60)
    assert (
        "prior = { without = 0.01, with = 0.99, subjects = 120 }" in call("uplift", "--hq", tmp_path / "hq.db").output
    )
    assert call("uplift").exit_code == 2


def test_what_a_site_sent_under_the_name_of_an_outcome_is_left_out(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "hq.db")
    store.enrol("mine-1", KEY)
    send(store, [row(1, "decision", {"id": 7}), row(2, "outcome", {"value": "much"})], site="mine-1", lane="day")
    store.close()
    assert call("uplift", "--hq", tmp_path / "hq.db").output == "No site has told what came of a play that is tried.\n"


def bring(journal: Path, store: Store, site: str) -> None:
    """All that a site wrote down to HQ."""
    outbox = Outbox.open(journal)
    assert outbox is not None
    for epoch, lane in ((epoch, lane) for epoch in outbox.epochs() for lane in LANES):
        newest = outbox.newest(epoch, lane)
        if newest:
            send(
                store,
                outbox.rows(epoch, lane, (1, newest), "oldest", 1 << 30, newest),
                site=site,
                epoch=epoch,
                lane=lane,
            )
    outbox.close()


def test_an_edit_is_named(made: Site) -> None:
    journal = Journal(made.journal)
    a_day(journal, 5)
    journal.close()
    connection = apsw.Connection(str(made.journal))
    changed: tuple[str] = connection.execute("SELECT id FROM outcomes ORDER BY seq LIMIT 1 OFFSET 2").fetchone()  # type: ignore[assignment]
    connection.execute("UPDATE outcomes SET value = 1 - value WHERE id = ?", changed)
    connection.close()
    verified = call("audit", "verify", made.folder)
    assert verified.exit_code == 1
    assert f"outcome {changed[0]}) does not fit: its record was changed." in verified.output


def test_checkpoints_are_signed_by_a_key_that_only_the_site_reads_and_go_to_hq(made: Site) -> None:
    journal = Journal(made.journal)
    checkpoints = Checkpoints(journal, made.audit_key)
    checkpoints.sign()
    assert select(journal.readers.connection(), Checkpoint, "") == [], "nothing is signed when there is nothing"
    a_day(journal, 1)
    checkpoints.sign()
    checkpoints.sign()
    (signed,) = select(journal.readers.connection(), Checkpoint, "")
    assert signed.key == public_text(made.audit_key)
    sent = journal.readers.connection().execute("SELECT lane FROM outbox WHERE kind = 'checkpoint'").fetchall()
    assert sent == [("day",)]
    journal.close()
    assert stat.S_IMODE(made.audit_key.stat().st_mode) == 0o600
    made.audit_key.chmod(0o644)
    with pytest.raises(SettingsError, match="others may read the key"):
        audit_key(made.audit_key)
    made.audit_key.chmod(0o600)
    made.audit_key.write_text("no key")
    with pytest.raises(SettingsError, match="cannot be used"):
        audit_key(made.audit_key)


def test_a_site_that_never_ran_has_nothing_to_verify(made: Site) -> None:
    with pytest.raises(Exception, match="run the site first"):
        CliRunner().invoke(outstation, ["audit", "verify", str(made.folder)], catch_exceptions=False)
