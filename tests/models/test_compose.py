"""A pack composed of a pack and two tables says what they say together, shows all of them, and is refused in a sentence
when its parts do not fit."""

import json
import sqlite3
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.compose.composed import Composed
from models.compose.library import Library
from models.compose.manifest import Table
from models.compose.tables import read_table
from models.errors import ModelError, PackInvalid
from models.opening import open_pack
from models.pack import MANIFEST, manifest_text, read_pack, sha256_of
from models.score import score as score_command
from models.signing import check_pack, makers, new_key, sign, trust
from models.store import SHIPPED
from models.tasks.labelling import About
from models.tasks.text_labels import Known, LabelScore

LABEL = "part_missing"
FAULT = "the pump is leaking oil and it trips every hour"
DAY = date(2026, 11, 17)
ASSETS = """machine,warranty_until,wear_part
pump-03,2027-06-30,mechanical-seal
hoist-02,2025-01-31,brake-pad
fan-01,,
"""
STOCK = "part,pieces\nmechanical-seal,0\nbrake-pad,12\n"
HEAD = """
name = "part-missing"
version = "1.0.0"
task = "text-labels"
runtime = "compose"
languages = ["en", "zh"]
licence = "Apache-2.0"
about = "For tests."
labels = ["part_missing"]
thresholds = { part_missing = 0.3 }
"""
BODY = """
files = {}
compose.names.machine = "machine"
compose.names.part = "part"
compose.packs.fault = { pack = "call-signals-small", label = "fault_report" }
compose.lookups.warranty = { table = "assets", key = "machine else subject", column = "warranty_until" }
compose.lookups.wear_part = { table = "assets", key = "machine else subject", column = "wear_part" }
compose.lookups.pieces = { table = "stock", key = "part else wear_part", column = "pieces" }
compose.values.covered = "today <= warranty"
compose.labels.part_missing = "fault and covered and pieces = 0"
compose.tables.assets.file = "tables/assets.csv"
compose.tables.assets.key = "machine"
compose.tables.assets.columns = { warranty_until = "date", wear_part = "text" }
compose.tables.stock.file = "tables/stock.csv"
compose.tables.stock.key = "part"
compose.tables.stock.columns = { pieces = "number" }

[[compose.examples]]
text = "the pump is leaking oil and it trips every hour"
names = { machine = "pump-9" }
day = 2026-11-17
tables.assets = [{ machine = "pump-9", warranty_until = 2027-03-01, wear_part = "seal" }]
tables.stock = [{ part = "seal", pieces = 0 }]
labels = ["part_missing"]
"""


LEAVING = (
    "compose.tables.assets.file",
    'compose.packs.leaving = { pack = "call-signals-small", label = "churn_risk" }\ncompose.tables.assets.file',
)


class Site:
    """A site's folder with two tables, and composed packs in its packs folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.packs = folder, folder / "data" / "packs"
        (folder / "tables").mkdir(parents=True)
        (folder / "site.toml").write_text('name = "north"\n')
        self.table("assets.csv", ASSETS)
        self.table("stock.csv", STOCK)

    def table(self, name: str, text: str) -> None:
        (self.folder / "tables" / name).write_text(text, "utf-8")

    def pack(self, *changes: tuple[str, str], name: str = "part-missing") -> Path:
        """Writes the composed pack with parts of its manifest changed; gives its folder."""
        text = HEAD + BODY
        for old, new in (*changes, ('name = "part-missing"', f'name = "{name}"')):
            assert old in text
            text = text.replace(old, new)
        folder = self.packs / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).write_text(text, "utf-8")
        return folder

    def opened(self, *changes: tuple[str, str]) -> Composed:
        return Library(self.packs).composed(read_pack(self.pack(*changes)))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def about(machine: str = "pump-03", day: date = DAY, **more: str) -> About:
    names = [("machine", machine), *more.items()]
    return About(language="en", names=tuple((kind, name) for kind, name in names if name), day=day)


def said(pack: Composed, what: About, text: str = FAULT) -> LabelScore:
    ((score,),) = pack.score([text], [""], [what])
    return score


def why_not(pack: Composed, what: About, text: str = FAULT) -> str:
    (judged,) = pack.judge([text], [""], [what])
    assert not judged.scores
    return judged.abstains[LABEL]


# ---- what it says ------------------------------------------------------------------------------------------------


def test_a_fault_of_a_covered_machine_whose_part_is_gone_gets_the_label(site: Site) -> None:
    pack = site.opened()
    (scores,) = Library(SHIPPED).named("call-signals-small").score([FAULT])
    fault = next(score for score in scores if score.label == "fault_report")
    assert said(pack, about()).probability == fault.probability > pack.thresholds[LABEL]
    assert said(pack, about(), "thank you very much").probability < pack.thresholds[LABEL]
    assert said(pack, about(day=date(2027, 7, 1))).probability == 0, "the warranty has run out"
    assert said(pack, about(part="brake-pad")).probability == 0, "that part is there"


def test_the_evidence_names_every_part(site: Site) -> None:
    score = said(site.opened(), about())
    assert Known("assets", "warranty_until", "pump-03", "2027-06-30") in score.known
    assert Known("stock", "pieces", "mechanical-seal", "0") in score.known
    assert {known.what for known in score.known} == {
        "fault_report",
        "machine",
        "today",
        "warranty_until",
        "wear_part",
        "pieces",
        "covered",
    }
    heaviest = {FAULT[start:end] for start, end, weight in score.contributions[:3] if weight > 0}
    assert heaviest >= {"leaking", "trips"}


def test_without_its_evidence_the_score_falls(site: Site) -> None:
    pack = site.opened(("fault and covered", "(fault or leaving) and covered"), LEAVING)
    score = said(pack, about())
    for start, end, _ in score.contributions[:2]:
        assert said(pack, about(), FAULT[:start] + FAULT[end:]).probability < score.probability
    assert why_not(pack, about(machine=""))
    site.table("stock.csv", STOCK.replace("seal,0", "seal,2"))
    assert said(pack, about()).probability == 0


def test_the_words_of_two_parts_weigh_by_the_chain_rule(site: Site) -> None:
    text = "the pump trips every hour, we will not renew, we are leaving for another supplier"
    changes = (("fault and covered and pieces = 0", "fault and not leaving"), LEAVING)
    score = said(site.opened(*changes), about(), text)
    assert {text[start:end]: weight for start, end, weight in score.contributions}["trips"] > 0
    against, _, _ = min(score.contributions, key=lambda word: word[2])
    assert against >= text.index("we will not renew"), "what speaks of leaving counts against it, not what is broken"


def test_the_subject_and_the_names_come_in_where_they_are_asked_for(site: Site) -> None:
    pack = site.opened()
    note = About(subject="pump-03", day=DAY)
    assert said(pack, note).probability > pack.thresholds[LABEL]
    two = About(names=(("machine", "pump-03"), ("machine", "hoist-02")), day=DAY)
    assert Known("", "machine", "", "pump-03") in said(pack, two).known


def test_a_pack_may_be_made_of_composed_packs(site: Site) -> None:
    site.pack()
    inner = ('pack = "call-signals-small", label = "fault_report"', 'pack = "part-missing", label = "part_missing"')
    outer = Library(site.packs).composed(read_pack(site.pack(inner, name="outer")))
    score = said(outer, about())
    assert Known("stock", "pieces", "mechanical-seal", "0") in score.known
    assert Known("call-signals-small", "fault_report", "", f"{score.probability:.2f}") in score.known
    assert "pump" in {FAULT[start:end] for start, end, _ in score.contributions}


def test_a_part_runs_once_for_a_batch_and_not_again_for_who_asks_the_same(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library(site.packs)
    changes = (("fault and covered", "(fault or leaving) and covered"), LEAVING)
    pack = library.composed(read_pack(site.pack(*changes)))
    part = library.named("call-signals-small")
    runs: list[Sequence[str]] = []
    scored = part._labeller.score  # type: ignore[attr-defined]

    def counted(texts: Sequence[str], before: Sequence[str], about: Sequence[About]) -> list[list[LabelScore]]:
        runs.append(texts)
        return list(scored(texts, before, about))

    monkeypatch.setattr(part._labeller, "score", counted)  # type: ignore[attr-defined]
    texts = [FAULT, "is this still under warranty", "good morning"]
    part.score(texts, [""] * 3, [about()] * 3)
    pack.score(texts, [""] * 3, [about()] * 3)
    assert [len(run) for run in runs] == [3]


# ---- when it has no answer ---------------------------------------------------------------------------------------


def test_it_abstains_where_something_it_needs_is_not_known(site: Site) -> None:
    pack = site.opened()
    assert why_not(pack, about(machine="")) == "nobody said what it is about"
    assert why_not(pack, about(machine="crane-1")) == "assets has no row for crane-1"
    assert why_not(pack, about(part="gearbox")) == "stock has no row for gearbox"
    assert why_not(pack, about(machine="fan-01")) == "warranty_until of fan-01 is empty"
    assert "it is not in en or zh" in why_not(pack, About(language="ko", names=(("machine", "pump-03"),), day=DAY))
    assert pack.abstains("…") == "there is no word in it"


def test_what_does_not_matter_need_not_be_known(site: Site) -> None:
    expired = about(machine="hoist-02", part="gearbox")
    assert said(site.opened(), expired).probability == 0
    assert (
        said(
            site.opened(("covered and pieces = 0", "covered and pieces else 0 = 0")), about(part="gearbox")
        ).probability
        > 0.3
    )


def test_a_table_is_read_again_when_it_changes(site: Site) -> None:
    pack = site.opened()
    assert said(pack, about()).probability > 0
    site.table("stock.csv", STOCK.replace("seal,0", "seal,40"))
    assert said(pack, about()).probability == 0
    for broken in (STOCK.replace("seal,0", "seal,many"), "part\nx\n", "\0"):
        site.table("stock.csv", broken)
        assert why_not(pack, about()) == "the table stock cannot be read any more"
    (site.folder / "tables" / "stock.csv").unlink()
    assert why_not(pack, about()) == "the table stock cannot be read any more"
    site.table("stock.csv", STOCK)
    assert said(pack, about()).probability > 0


# ---- tables ------------------------------------------------------------------------------------------------------


def test_a_table_may_be_that_of_an_sqlite_file_and_is_read_again_too(site: Site) -> None:
    path = site.folder / "tables" / "store.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute('CREATE TABLE "in stock" (part TEXT, pieces INTEGER)')
    connection.execute("INSERT INTO \"in stock\" VALUES ('mechanical-seal', 0)")
    connection.commit()
    pack = site.opened(
        ('file = "tables/stock.csv"', 'file = "tables/store.db"\ncompose.tables.stock.rows = "in stock"')
    )
    assert said(pack, about()).probability > 0.3
    connection.execute('UPDATE "in stock" SET pieces = 4')
    connection.commit()
    assert said(pack, about()).probability == 0
    connection.close()


def test_a_table_inside_the_pack_is_vouched_for_by_its_hash_and_signature(site: Site, tmp_path: Path) -> None:
    folder = site.pack()
    (folder / "stock.csv").write_text(STOCK, "utf-8")
    site.pack(
        ("files = {}", f'files = {{ "stock.csv" = "{sha256_of(folder / "stock.csv")}" }}'),
        ('file = "tables/stock.csv"', 'file = "stock.csv"\ncompose.tables.stock.inside = "pack"'),
    )
    trust(site.packs, "us", new_key(tmp_path / "key.pem"))
    sign(folder, tmp_path / "key.pem")
    assert check_pack(read_pack(folder), makers(site.packs)) == "us"
    open_pack(folder, site.packs)
    (folder / "stock.csv").write_text(STOCK.replace("0", "9"), "utf-8")
    with pytest.raises(PackInvalid, match="was altered"):
        read_pack(folder)


def test_a_spreadsheets_mark_and_empty_cells_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffpart,pieces,sold\nseal, 3 ,是\nrope,,\n".encode())
    rows = read_table(Table(file="t.csv", key="part", columns={"pieces": "number", "sold": "truth"}), path)
    assert rows["seal"]["pieces"] == 3.0
    assert str(rows["rope"]["pieces"]).find("empty") > 0


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(st.sampled_from("part,pieces\n0123-\"'abc"), max_size=80).map(str.encode))
def test_any_bytes_are_a_table_or_are_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    for name, rows in (("t.csv", ""), ("t.db", "stock")):
        path = tmp_path / name
        path.write_bytes(content)
        try:
            read_table(Table(file=name, rows=rows, key="part", columns={"pieces": "number"}), path)
        except PackInvalid as error:
            assert str(path) in str(error)  # noqa: PT017  # it need not be raised


# ---- what is refused ---------------------------------------------------------------------------------------------

REFUSED = [
    (("covered and pieces = 0", "covered and stok = 0"), "compose.labels.part_missing names 'stok'"),
    (("covered and pieces = 0", "covered and pieces"), "part_missing joins a truth and a number by 'and'"),
    (("fault and covered and pieces = 0", "pieces"), "compose.labels.part_missing gives a number"),
    (("today <= warranty", "today <= pieces"), "compose.values.covered joins a date and a number"),
    (("today <= warranty", "covered"), "the nodes covered → covered need each other in a circle"),
    (("part else wear_part", "part else late"), "compose.lookups.pieces.key names 'late'"),
    (("part else wear_part", "today"), "compose.lookups.pieces.key gives a date, and keys are texts"),
    (('key = "machine else subject", column = "wear_part" }', 'key = "id", column = "wear_part" }\n'
      'compose.values.id = "part else wear_part"'), "the nodes wear_part → id → wear_part need each other"),
    (('table = "stock"', 'table = "shelf"'), "compose.lookups.pieces looks into 'shelf'"),
    (('column = "pieces"', 'column = "count"'), "compose.lookups.pieces wants the column 'count'"),
    (("{ pieces = \"number\" }", "{ pieces = \"number\", price = \"number\" }"), "compose.tables.stock: "),
    (('{ pieces = "number" }', '{ pieces = "number", part = "date" }'), "'mechanical-seal', which is no date"),
    (("tables/stock.csv", "tables/shelf.csv"), "shelf.csv is not there"),
    (("tables/stock.csv", "../stock.csv"), "compose.tables.stock: ../stock.csv lies outside"),
    (("tables/stock.csv", "data/journal.db\"\ncompose.tables.stock.rows = \"events"), "gateway's own data"),
    (("tables/stock.csv", "tables/stock.db"), "compose.tables.stock: `rows` names the table in an SQLite file"),
    (('label = "fault_report"', 'label = "fault"'), "compose.packs.fault: the pack call-signals-small"),
    (('pack = "call-signals-small"', 'pack = "nonesuch"'), "compose.packs.fault: There is no pack 'nonesuch'"),
    (('pack = "call-signals-small"', 'pack = "device-anomaly"'), "compose.packs.fault: "),
    (('pack = "call-signals-small", label = "fault_report"', 'pack = "part-missing", label = "part_missing"'),
     "the packs part-missing → part-missing are made of each other in a circle"),
    (('compose.names.part = "part"', 'compose.names.today = "part"'), "compose.names.today has the name of"),
    (('compose.names.part = "part"', 'compose.names.or = "part"'), "compose.names.or is no name for a node"),
    (('labels = ["part_missing"]\nthr', 'labels = ["other"]\nthr'), "labels, thresholds and compose.labels differ"),
    (('task = "text-labels"', 'task = "device-anomaly"'), "[compose] goes with"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "problem"), REFUSED, ids=lambda one: one if isinstance(one, str) else "")
def test_what_does_not_fit_is_refused_by_manifest_and_node(site: Site, change: tuple[str, str], problem: str) -> None:
    with pytest.raises(PackInvalid) as caught:
        site.opened(change)
    sentence = str(caught.value)
    assert problem in sentence
    assert str(site.packs / "part-missing" / MANIFEST) in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_packs_that_are_made_of_each_other_are_refused(site: Site) -> None:
    part = 'pack = "call-signals-small", label = "fault_report"'
    site.pack((part, 'pack = "second", label = "part_missing"'), name="first")
    site.pack((part, 'pack = "first", label = "part_missing"'), name="second")
    with pytest.raises(PackInvalid, match="first → second → first are made of each other in a circle; break it"):
        Library(site.packs).named("first")


def test_tables_of_a_site_need_a_site(site: Site, tmp_path: Path) -> None:
    folder = site.pack()
    with pytest.raises(PackInvalid, match="lies in a site's folder; name the site's packs"):
        open_pack(folder, tmp_path)


def test_an_unknown_key_is_refused(site: Site) -> None:
    with pytest.raises(PackInvalid, match="unknown field `colums`"):
        site.opened((".columns = { pieces", ".colums = { pieces"))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.text(st.sampled_from("fault covered pieces = 0 and or not else ()"), max_size=40))
def test_any_label_opens_and_judges_or_is_refused(site: Site, text: str) -> None:
    try:
        pack = site.opened(('"fault and covered and pieces = 0"', json.dumps(text)))
    except ModelError:
        return
    (judged,) = pack.judge([FAULT], [""], [about()])
    assert len(judged.scores) + len(judged.abstains) == 1


# ---- the self-test, the manifest, the command --------------------------------------------------------------------


def test_the_examples_are_the_self_test(site: Site) -> None:
    open_pack(site.pack(), site.packs)
    site.table("assets.csv", ASSETS.replace("2027", "2020"))
    open_pack(site.packs / "part-missing", site.packs)  # the examples bring their own rows
    with pytest.raises(
        PackInvalid, match=r"compose.examples\[1\] fails here: .* gets no label, where part_missing is due"
    ):
        open_pack(site.pack(('"seal", pieces = 0', '"seal", pieces = 1')), site.packs)
    with pytest.raises(PackInvalid, match="part_missing abstains: stock has no row for seal"):
        open_pack(site.pack(('part = "seal", pieces = 0', 'part = "rope", pieces = 0')), site.packs)
    with pytest.raises(PackInvalid, match=r"compose.examples\[1\].tables.stock, row 1: 'pieces' is 'x'"):
        open_pack(site.pack(('"seal", pieces = 0', '"seal", pieces = "x"')), site.packs)


def test_the_manifest_is_written_as_it_is_read(site: Site) -> None:
    folder = site.pack()
    manifest = read_pack(folder).manifest
    (folder / MANIFEST).write_text(manifest_text(msgspec.structs.replace(manifest, version="1.1")), "utf-8")
    again = read_pack(folder).manifest
    assert again.version == "1.1"
    open_pack(folder, site.packs)


def test_the_command_scores_a_file_and_says_why(site: Site, tmp_path: Path) -> None:
    site.pack()
    turns = tmp_path / "turns.jsonl"
    rows = [
        {"text": FAULT, "names": {"machine": "pump-03"}, "day": "2026-11-17"},
        {"text": FAULT, "subject": "pump-03", "day": "2026-11-17"},
        {"text": FAULT},
    ]
    turns.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    ran = CliRunner().invoke(score_command, ["part-missing", str(turns), "--packs", str(site.packs), "--json"])
    assert ran.exit_code == 0, ran.output
    first, second, third = map(json.loads, ran.stdout.splitlines())
    assert first["labels"] == second["labels"] == [LABEL]
    assert {"source": "stock", "what": "pieces", "of": "mechanical-seal", "value": "0"} in first["known"][LABEL]
    assert third["abstains"] == {LABEL: "nobody said what it is about"}
    plain = CliRunner().invoke(score_command, ["part-missing", str(turns), "--packs", str(site.packs)]).stdout
    assert "pieces of mechanical-seal: 0" in plain
    assert "abstains on part_missing: nobody said what it is about" in plain
