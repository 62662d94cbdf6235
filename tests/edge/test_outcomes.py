"""What people tell of what came of a decision: held against the decision, corrected, too late, about nothing; asked
alike of those treated and those left alone."""

import httpx
import pytest

from edge.decide.experiments import Experiments
from edge.decide.outcomes import outcomes_in
from edge.errors import Refused, Unknown
from edge.events import Outcome, now_us
from edge.store import told
from edge.store.outcomes import Claim
from edge.store.outcomes import told as counted
from edge.store.rows import select
from tests.edge.tried import WORRY, Tried
from tests.served import parts_of, served

DAY_S = 86_400


def values(tried: Tried) -> list[tuple[float, str]]:
    """What stands in the journal: the values, and by whom each was told and how."""
    outcomes = select(tried.journal.readers.connection(), Outcome, "ORDER BY seq")
    return [(one.value, one.source) for one in outcomes]


def refusals(tried: Tried) -> list[str]:
    return [str(row[0]) for row in tried.journal.readers.connection().execute("SELECT reason FROM refusals")]


def counts(tried: Tried) -> list[float]:
    return [one.value for one in counted(tried.journal.readers.connection())]


def test_told_again_alike_changes_nothing_and_told_otherwise_corrects(tried: Tried) -> None:
    decision = tried.worried(["Red Ridge"])["Red Ridge"]
    first, new = tried.tell(decision, 1.0)
    assert new
    assert tried.tell(decision, 1.0, after_s=120) == (first, False)
    assert tried.tell(decision, 0.4)[1]
    assert values(tried) == [(1.0, "http"), (0.4, "http")], "both stay in the journal"
    assert counts(tried) == [0.4]


def test_what_comes_a_year_late_is_kept_and_does_not_count(tried: Tried) -> None:
    decision = tried.worried(["Red Ridge"])["Red Ridge"]
    late, _ = tried.tell(decision, 1.0, after_s=365 * DAY_S)
    assert late.excluded == "It came 365 days after the decision; what comes within 30 days counts."
    assert counts(tried) == []
    in_time, new = tried.tell(decision, 1.0)
    assert (new, in_time.excluded) == (True, ""), "its time was written wrongly, and is corrected"
    assert counts(tried) == [1.0]
    assert not tried.tell(decision, 1.0, after_s=365 * DAY_S)[1], "known already"


def test_what_came_before_the_decision_or_of_none_is_refused(tried: Tried) -> None:
    decision = tried.worried(["Red Ridge"])["Red Ridge"]
    with pytest.raises(Refused, match="older than the decision"):
        tried.tell(decision, 1.0, after_s=-2 * 3_600)
    claim = Claim(value=1.0, at=now_us(), by="Lin", source="http", decision_id="nobody")
    with pytest.raises(Unknown, match="never decided"):
        tried.journal.tell(claim).result()
    assert values(tried) == []


# ---- in notes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("他们签了 #budget 成", [("budget", 1.0)]),
        ("#budget没成，下次再说", [("budget", 0.0)]),
        ("#budget 40%", [("budget", 0.4)]),
        ("#budget: 0.25 and #rival no", [("budget", 0.25), ("rival", 0.0)]),
        ("#budget Yes.", [("budget", 1.0)]),
        ("#budget 140%", []),
        ("#budget nothing yet", []),
        ("the budget: yes", []),
        ("#budget 1.5", []),
        ("#budget 成本太高", []),
        ("#预算没成", [("预算", 0.0)]),
        ("#预算成功率 40%", [("预算成功率", 0.4)]),
        ("#part_no yes", [("part_no", 1.0)]),
        ("#plan1 no, #plan-b: won", [("plan1", 0.0), ("plan-b", 1.0)]),
    ],
)
def test_outcomes_are_found_in_what_people_write(text: str, found: list[tuple[str, float]]) -> None:
    assert outcomes_in(text) == found


def test_a_note_tells_of_the_newest_decision_about_its_subject(tried: Tried) -> None:
    decision = tried.worried(["Red Ridge"])["Red Ridge"]
    at = decision.at + 60_000_000
    tried.note(("Red Ridge", "#budget 成"), at=at)
    tried.note(("Red Ridge", "又谈了一次 #budget 40%"), at=at + 3 * DAY_S * 1_000_000)
    first, *corrected = values(tried)
    assert first == (1.0, "note")
    assert set(corrected) == {(0.4, "note")}, "also of what the notes themselves called for in this encounter"
    tried.note(("North Pit", "#budget 成"), at=at)
    assert len(values(tried)) == 1 + len(corrected)
    assert [one for one in refusals(tried) if "North Pit" in one]


def test_what_is_corrected_back_in_notes_that_come_together_ends_as_the_last_says(tried: Tried) -> None:
    decision = tried.worried(["Red Ridge"])["Red Ridge"]
    tried.tell(decision, 1.0)
    at = decision.at + 60_000_000
    tried.note(*(("Red Ridge", f"#budget {said}") for said in ("no", "no", "yes")), at=at)
    assert values(tried) == [(1.0, "http"), (0.0, "note"), (1.0, "note")]
    assert counts(tried) == [1.0]


# ---- over HTTP -------------------------------------------------------------------------------------------------------


def test_outcomes_are_told_over_http(tried: Tried) -> None:
    decision = tried.worried(["Red Ridge"])["Red Ridge"]
    parts = parts_of(tried.journal, tried.opened.site.audio, site=tried.opened.site, playbook=tried.pipeline.playbook)
    with served(parts) as url, httpx.Client(base_url=url) as client:

        def tell(**said: object) -> httpx.Response:
            return client.post("/api/outcomes", json={"value": 1, "by": "Lin", "decision_id": decision.id, **said})

        assert tell().status_code == 201
        assert tell().status_code == 200
        assert tell(value=0.4).json()["value"] == 0.4
        assert tell(decision_id="", subject="Red Ridge", play="budget", value=0.5).status_code == 201
        assert tell(decision_id="nobody").status_code == 404
        assert tell(decision_id="").status_code == 404
        assert tell(at=1).status_code == 409
        assert tell(at=2**62).json()["excluded"] != ""
        for wrong in ({"value": 1.5}, {"value": "yes"}, {"by": " "}, {"at": 0}, {"at": 2**63}, {"decision": "x"}):
            assert tell(**wrong).status_code == 400, wrong
        assert [row["value"] for row in client.get("/api/outcomes").json()] == [1.0, 0.5, 0.4, 1.0]
        assert client.get("/api/outcomes/wanted", params={"limit": 0}).status_code == 400


# ---- asked for -------------------------------------------------------------------------------------------------------


def test_those_left_alone_are_asked_about_like_those_treated(tried: Tried) -> None:
    subjects = [f"mine {number}" for number in range(20)]
    decisions = tried.worried(subjects)
    assert {one.arm for one in decisions.values()} == {"treatment", "control"}

    def wanted(at: int) -> list[told.Wanted]:
        return told.wanted(tried.journal.readers.connection(), {}, at, 100)

    after = max(one.deadline for one in decisions.values())
    assert wanted(min(one.deadline for one in decisions.values()) - 1) == [], "there is still time to act"
    asked = wanted(after)
    assert {one.subject for one in asked} == set(subjects)
    assert {one.said for one in asked} == {asked[0].said}
    tried.tell(decisions["mine 3"], 0.0)
    assert {one.subject for one in wanted(after)} == set(subjects) - {"mine 3"}
    assert wanted(after + 31 * DAY_S * 1_000_000) == []


def test_the_first_outcome_of_a_subject_counts(tried: Tried) -> None:
    first = tried.worried(["Red Ridge"])["Red Ridge"]
    tried.tell(first, 1.0)
    tried.note(("Red Ridge", WORRY), at=now_us() + 3_600_000_000)  # another episode
    second = next(one for one in reversed(tried.decisions()) if one.play == "budget")
    assert second.id != first.id
    assert second.arm == first.arm, "it is drawn once"
    tried.tell(second, 0.0)
    effect = Experiments(counted(tried.journal.readers.connection())).effects["budget", ""]
    assert effect.treated + effect.held_out == 1
