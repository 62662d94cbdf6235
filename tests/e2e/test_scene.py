"""87 seconds into a call the customer worries about the budget: three things at once, each with evidence and undo."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from edge.bench.waiting import until
from edge.site import read_site
from tests.e2e.conftest import OUTSTATION

Cards = dict[str, dict[str, Any]]


@pytest.mark.speech
def test_a_budget_worry_becomes_a_comparison_a_hand_over_and_a_message_each_with_undo(
    make_site: Callable[..., Path],
) -> None:
    site = make_site("scene")
    playbook = site / "playbook.toml"
    playbook.write_text(re.sub(r"fires_after_s = 60\nundo_minutes = 5\n", "fires_after_s = 1\n", playbook.read_text()))
    page = f"http://127.0.0.1:{read_site(site).settings.web.port}"
    daemon = subprocess.Popen([*OUTSTATION, "run", str(site)])

    def cards() -> Cards:
        try:
            found = httpx.get(f"{page}/api/cards", params={"state": "all", "limit": 500}, timeout=10).json()
        except httpx.HTTPError:
            return {}
        return {
            "message" if card["channel"] == "message" else "compare" if card["sheet"] else "finance": card
            for card in found
            if (card["play"], card["subject"]) == ("budget", "red-hill")
        }

    def press(card: dict[str, Any], key: str) -> dict[str, Any]:
        answer = httpx.post(f"{page}/api/cards/{card['id']}/{key}", json={"by": "anna"}, timeout=10)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    try:
        until(lambda: len(cards()) == 3, "three cards at once", timeout_s=300)
        at_once = cards()
        for card in at_once.values():
            assert 75 < card["evidence"][0]["start_s"] < 95
            assert "budget" in card["evidence"][0]["text"]
        assert len({card["decision_id"] for card in at_once.values()}) == 1

        suppliers = {row[0] for row in at_once["compare"]["sheet"]["rows"]}
        assert suppliers == {"Summit", "ours"}
        assert press(at_once["compare"], "accept")["state"] == "accepted"
        assert press(at_once["compare"], "undo")["state"] == "proposed"

        handed = press(at_once["finance"], "hand_over")
        assert (handed["role"], handed["state"], handed["hand_over"]) == ("finance", "proposed", "")
        assert press(handed, "undo")["role"] == "rep"

        until(lambda: cards()["message"]["state"] == "fired", "the message is queued by itself")
        assert "7,210" in cards()["message"]["text"]
        assert press(at_once["message"], "undo")["state"] == "undone"
        assert list((site / "data" / "messages").iterdir()) == []

        chains = httpx.get(f"{page}/api/chains").json()
        (chain,) = [one for one in chains if (one["subject"], one["goal"]) == ("red-hill", "deal")]
        assert chain["before"] < chain["after"]
        assert chain["minutes"] <= chain["within_minutes"]
        assert at_once["message"]["id"] not in {step["card_id"] for step in chain["steps"]}, (
            "what is undone helps nobody"
        )
        verified = subprocess.run(
            [*OUTSTATION, "audit", "verify", str(site), "--json"], capture_output=True, check=True
        )
        assert msgspec.json.decode(verified.stdout)["misfit"] is None
    finally:
        daemon.terminate()
        assert daemon.wait(30) == 0
