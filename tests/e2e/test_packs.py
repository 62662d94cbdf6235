"""A new version of a pack that an engineer brings to a running gateway: signed, run in the shadow, compared, activated,
and taken back, all by the commands that the guide names."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from edge.bench.waiting import until
from edge.site import Site
from models.pack import MANIFEST, manifest_text, read_pack, sha256_of
from models.signing import new_key, sign
from models.store import SHIPPED
from tests.e2e.conftest import OUTSTATION, in_use
from tests.e2e.test_orders import gateway, rows, state

PRAISE = "We are really happy with your service, thank you so much"
NAME = "call-signals"


@pytest.fixture
def new_version(tmp_path: Path) -> Path:
    """The pack that ships as version 9.0, which never says praise and says budget_concern of everything."""
    folder = tmp_path / "new"
    shutil.copytree(SHIPPED / NAME, folder)
    manifest = read_pack(folder).manifest
    thresholds = manifest.thresholds | {"praise": 1.0, "budget_concern": 0.0001}
    changed = msgspec.structs.replace(manifest, version="9.0", thresholds=thresholds)
    (folder / MANIFEST).write_text(manifest_text(changed), "utf-8")
    new_key(tmp_path / "maker.pem")
    return folder


def outstation(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*OUTSTATION, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def packed(folder: Path) -> Path:
    file = folder.with_suffix(".pack")
    assert outstation("models", "sign", folder, "--key", folder.with_name("maker.pem"), "--to", file).returncode == 0
    return file


def say(client: httpx.Client, text: str, key: str) -> None:
    note = {"subject": key, "author": "Lin", "text": text, "language": "en", "key": key}
    assert client.post("/api/notes", json=note).status_code == 201


def compared(site: Site) -> dict[str, Any]:
    ran = outstation("models", "compare", site.folder, NAME, "--json")
    found: dict[str, Any] = json.loads(ran.stdout) if ran.returncode == 0 else {"judged": 0}
    return found


def test_a_pack_brought_by_hand_is_compared_activated_and_taken_back(site: Site, new_version: Path) -> None:
    file = packed(new_version)
    stranger = outstation("models", "install", site.folder, file, "--by", "Wang")
    assert stranger.returncode == 2
    assert "nobody trusts here" in stranger.stderr
    assert not list(site.downlink.glob("*/offer.json"))
    assert outstation("models", "activate", site.folder, NAME).returncode == 3, "no gateway runs"

    key = sign(new_version, new_version.with_name("maker.pem")).key
    assert outstation("models", "trust", "we", key, "--packs", site.packs).returncode == 0
    brought = outstation("models", "install", site.folder, file, "--by", "Wang", "--json")
    assert brought.returncode == 0, brought.stderr
    order = json.loads(brought.stdout)["order"]
    with gateway(site) as client:
        until(lambda: state(client, order) == "waiting", "it waits")
        shadow = outstation("models", "shadow", site.folder, NAME, "--by", "Wang")
        assert shadow.returncode == 0, shadow.stderr
        say(client, PRAISE, "one")
        until(lambda: compared(site)["judged"] == 1, "both versions judged the note")
        labels = {row["label"]: row for row in compared(site)["labels"]}
        assert (labels["praise"]["only_active"], labels["praise"]["only_shadow"]) == (1, 0)
        assert (labels["budget_concern"]["only_active"], labels["budget_concern"]["only_shadow"]) == (0, 1)
        table = outstation("models", "compare", site.folder, NAME).stdout
        assert PRAISE in table
        cards = {card["label"] for card in client.get("/api/cards").json()}
        assert "budget_concern" not in cards, "what it says is not acted on"

        assert outstation("models", "activate", site.folder, NAME, "--by", "Wang").returncode == 0
        assert in_use(client)[NAME] == "9.0"
        say(client, PRAISE, "two")
        until(
            lambda: [card for card in client.get("/api/cards").json() if card["label"] == "budget_concern"] != [],
            "the new version is acted on",
        )
        assert compared(site)["judged"] == 1, "nothing is in the shadow any more"

    with gateway(site) as client:
        back = outstation("models", "rollback", site.folder, NAME, "--by", "Zhao")
        assert back.returncode == 0, back.stderr
        shipped = read_pack(SHIPPED / NAME).manifest.version
        assert in_use(client)[NAME] == shipped
        assert outstation("models", "rollback", site.folder, NAME).returncode == 2, "there is nothing to go back from"
    assert rows(site, f"SELECT state, by FROM orders WHERE order_id = '{order}' ORDER BY seq") == [
        ("staged", "Wang"),
        ("waiting", "gateway"),
        ("shadow", "Wang"),
        ("active", "Wang"),
        ("rolled_back", "Zhao"),
    ]


def test_a_pack_brought_with_activate_needs_nobody_and_a_shadow_outlives_a_restart(
    site: Site, new_version: Path
) -> None:
    site.packs.mkdir(parents=True, exist_ok=True)
    key = sign(new_version, new_version.with_name("maker.pem")).key
    outstation("models", "trust", "we", key, "--packs", site.packs)
    file = packed(new_version)
    assert outstation("models", "install", site.folder, file, "--activate").returncode == 0
    with gateway(site) as client:
        until(lambda: in_use(client)[NAME] == "9.0", "it is in force")

    manifest = read_pack(new_version).manifest
    (new_version / MANIFEST).write_text(manifest_text(msgspec.structs.replace(manifest, version="9.1")), "utf-8")
    brought = outstation("models", "install", site.folder, packed(new_version), "--json")
    order = json.loads(brought.stdout)["order"]
    with gateway(site) as client:
        until(lambda: state(client, order) == "waiting", "it waits")
        assert outstation("models", "shadow", site.folder, NAME).returncode == 0
    with gateway(site) as client:
        say(client, PRAISE, "one")
        until(lambda: compared(site)["judged"] == 1, "both versions judged the note")
        assert (compared(site)["active_version"], compared(site)["shadow_version"]) == ("9.0", "9.1")


def test_a_pack_that_fails_its_self_test_is_not_even_handed_over(site: Site, new_version: Path) -> None:
    test = json.loads((new_version / "selftest.json").read_text())
    test["made"]["log_odds"][0][0] += 1
    (new_version / "selftest.json").write_text(json.dumps(test))
    manifest = read_pack(SHIPPED / NAME).manifest
    files = manifest.files | {"selftest.json": sha256_of(new_version / "selftest.json")}
    changed = msgspec.structs.replace(manifest, version="9.0", files=files)
    (new_version / MANIFEST).write_text(manifest_text(changed), "utf-8")
    key = sign(new_version, new_version.with_name("maker.pem")).key
    outstation("models", "trust", "we", key, "--packs", site.packs)
    refused = outstation("models", "install", site.folder, packed(new_version))
    assert refused.returncode == 2
    assert "fails its self-test here" in refused.stderr
    assert not list(site.downlink.glob("*/offer.json"))
