"""What the packs folder promises: a pack is there whole or not at all, and no archive reaches out of it."""

import os
import random
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import store
from models.catalogue import Entry
from models.errors import ModelError, PackInvalid, PackMissing
from models.pack import Manifest, Metric, Source, Tensor, manifest_text, read_pack
from models.store import find_pack, install, pack_folders, writing

MakeArchive = Callable[..., Path]
MakeEntry = Callable[..., Entry]


def visible(packs: Path) -> set[str]:
    return {path.name for path in packs.iterdir() if not path.name.startswith(".")}


def installed_folders(packs: Path) -> int:
    return len(list((packs / ".installed").iterdir()))


def put(entry: Entry, archive: Path, packs: Path) -> None:
    with writing(packs):
        install(entry, archive, packs)


def test_an_installed_pack_is_found_whole(tmp_path: Path, make_archive: MakeArchive, make_entry: MakeEntry) -> None:
    archive = make_archive()
    put(make_entry(archive), archive, tmp_path / "packs")
    pack = find_pack("speech-xx", tmp_path / "packs")
    assert pack.manifest.version == "1.0"
    assert set(pack.manifest.files) == {"model/README", "model/am/final.mdl", "model/conf/mfcc.conf"}
    assert (pack.model_path / "README").read_bytes().startswith(b"Made for tests")


def test_dither_is_turned_off_before_the_hash_is_taken(
    tmp_path: Path, make_archive: MakeArchive, make_entry: MakeEntry
) -> None:
    archive = make_archive()
    put(make_entry(archive), archive, tmp_path / "packs")
    options = (find_pack("speech-xx", tmp_path / "packs").model_path / "conf/mfcc.conf").read_text().splitlines()
    assert [option for option in options if "dither" in option] == ["--dither=0"]
    assert {"--sample-frequency=16000", "--use-energy=false", "--allow-upsample=true"} <= set(options)


def test_an_altered_file_is_found_out(tmp_path: Path, make_archive: MakeArchive, make_entry: MakeEntry) -> None:
    archive = make_archive()
    put(make_entry(archive), archive, tmp_path / "packs")
    with (find_pack("speech-xx", tmp_path / "packs").model_path / "am/final.mdl").open("ab") as file:
        file.write(b"!")
    with pytest.raises(PackInvalid, match="altered"):
        find_pack("speech-xx", tmp_path / "packs")


def test_a_newer_version_takes_the_place_of_the_older(
    tmp_path: Path, make_archive: MakeArchive, make_entry: MakeEntry
) -> None:
    archive = make_archive()
    put(make_entry(archive), archive, tmp_path / "packs")
    put(make_entry(archive, version="2.0"), archive, tmp_path / "packs")
    assert find_pack("speech-xx", tmp_path / "packs").manifest.version == "2.0"
    assert installed_folders(tmp_path / "packs") == 1


def test_a_pack_of_the_site_comes_before_the_one_that_ships(
    tmp_path: Path, make_archive: MakeArchive, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_archive()
    put(make_entry(archive), archive, tmp_path / "ships")
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "ships")
    assert find_pack("speech-xx", tmp_path / "packs").manifest.version == "1.0"
    put(make_entry(archive, version="2.0"), archive, tmp_path / "packs")
    assert find_pack("speech-xx", tmp_path / "packs").manifest.version == "2.0"


@pytest.mark.parametrize("name", ["nonesuch", "../speech-xx", "", ".installed"])
def test_a_pack_that_is_not_there_is_missing_with_the_command_to_fetch_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "speech-xx").mkdir()
    with pytest.raises(PackMissing, match="outstation models fetch"):
        find_pack(name, tmp_path / "packs")


def test_a_folder_in_the_way_is_left_alone(tmp_path: Path, make_archive: MakeArchive, make_entry: MakeEntry) -> None:
    packs = tmp_path / "packs"
    (packs / "speech-xx").mkdir(parents=True)
    (packs / "speech-xx/mine.txt").write_text("mine")
    archive = make_archive()
    with pytest.raises(PackInvalid, match="move it away"):
        put(make_entry(archive), archive, packs)
    assert (packs / "speech-xx/mine.txt").read_text() == "mine"
    assert installed_folders(packs) == 0


def test_two_cannot_write_at_once(tmp_path: Path) -> None:
    with writing(tmp_path), pytest.raises(PackMissing, match="Another fetch"), writing(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(PackMissing, match="cannot be written"), writing(tmp_path / "file"):
        pass


@pytest.mark.parametrize(
    "name", ["../out", "assets/model/../../../out", "/out", "assets/model/..\\out", "assets/model/a/../../b"]
)
def test_a_name_that_reaches_outside_is_refused(
    tmp_path: Path, make_archive: MakeArchive, make_entry: MakeEntry, name: str
) -> None:
    archive = make_archive({"assets/model/conf/mfcc.conf": b"", name: b"evil"})
    with pytest.raises(PackInvalid, match="outside itself"):
        put(make_entry(archive), archive, tmp_path / "packs")
    assert visible(tmp_path / "packs") == set()
    assert installed_folders(tmp_path / "packs") == 0


def test_a_symbolic_link_in_an_archive_is_refused(tmp_path: Path, make_entry: MakeEntry) -> None:
    archive = tmp_path / "link.zip"
    link = zipfile.ZipInfo("assets/model/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr(link, "/etc")
    with pytest.raises(PackInvalid, match="outside itself"):
        put(make_entry(archive), archive, tmp_path / "packs")


def test_an_archive_that_unpacks_to_too_much_is_stopped(tmp_path: Path, make_entry: MakeEntry) -> None:
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("assets/model/zeros", bytes(50_000_000))
    with pytest.raises(PackInvalid, match="1000000 bytes"):
        put(make_entry(archive), archive, tmp_path / "packs")
    assert installed_folders(tmp_path / "packs") == 0


def test_an_archive_of_very_many_files_is_refused(
    tmp_path: Path, make_archive: MakeArchive, make_entry: MakeEntry
) -> None:
    archive = make_archive({f"assets/model/{number}": b"" for number in range(store.MOST_FILES + 1)})
    with pytest.raises(PackInvalid, match="10001 files"):
        put(make_entry(archive), archive, tmp_path / "packs")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"elsewhere/conf/mfcc.conf": b""}, "nothing in assets/model"),
        ({"assets/model/am/final.mdl": b""}, "not a Vosk model"),
        ({"assets/model/a": b"", "assets/model/a/b": b""}, "broken"),
    ],
)
def test_an_archive_that_is_not_the_model_is_refused(
    tmp_path: Path, make_archive: MakeArchive, make_entry: MakeEntry, files: dict[str, bytes], reason: str
) -> None:
    archive = make_archive(files)
    with pytest.raises(PackInvalid, match=reason):
        put(make_entry(archive), archive, tmp_path / "packs")


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_a_damaged_archive_is_installed_whole_or_refused(
    tmp_path: Path, make_archive: MakeArchive, make_entry: MakeEntry, seed: int
) -> None:
    archive = make_archive({"assets/model/conf/mfcc.conf": b"--dither=1", "assets/model/am": bytes(range(200))})
    chance = random.Random(seed)
    content = bytearray(archive.read_bytes())
    for _ in range(chance.randint(1, 8)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(content[: chance.choice([len(content), chance.randrange(len(content))])])
    packs = tmp_path / f"packs-{seed}"
    try:
        put(make_entry(archive), damaged, packs)
    except PackInvalid:
        assert visible(packs) == set()
        assert installed_folders(packs) == 0
    else:
        assert find_pack("speech-xx", packs)


KILLED_AT_SYNC = """
import os, signal, sys
from pathlib import Path
import msgspec
from models.catalogue import Entry
from models.store import install, writing

archive, packs, entry = Path(sys.argv[1]), Path(sys.argv[2]), msgspec.json.decode(sys.argv[3], type=Entry)
for moment in range(100):
    child = os.fork()
    if child == 0:
        left, sync = [moment], os.fsync
        def dying(descriptor):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            sync(descriptor)
        os.fsync = dying
        folder = packs / str(moment)
        with writing(folder):
            install(entry, archive, folder)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        print(moment)
        break
"""


def test_an_install_killed_at_any_moment_leaves_the_old_pack_or_the_new(
    tmp_path: Path, make_archive: MakeArchive, make_entry: MakeEntry
) -> None:
    archive, old = make_archive(), make_entry(make_archive())
    new = make_entry(archive, version="2.0")
    for moment in range(20):
        put(old, archive, tmp_path / "packs" / str(moment))
    child = subprocess.run(
        [sys.executable, "-c", KILLED_AT_SYNC, archive, tmp_path / "packs", msgspec.json.encode(new).decode()],
        capture_output=True,
        text=True,
        check=True,
    )
    moments = int(child.stdout)
    assert moments > 5
    for moment in range(moments + 1):
        packs = tmp_path / "packs" / str(moment)
        assert find_pack("speech-xx", packs).manifest.version in ("1.0", "2.0")
        put(new, archive, packs)
        assert find_pack("speech-xx", packs).manifest.version == "2.0"
        assert installed_folders(packs) == 1


def test_an_install_killed_while_unpacking_leaves_nothing_named(
    tmp_path: Path, make_archive: MakeArchive, make_entry: MakeEntry
) -> None:
    archive = make_archive({"assets/model/conf/mfcc.conf": b"", **{f"assets/model/{n}": b"x" for n in range(5000)}})
    entry = make_entry(archive)
    packs = tmp_path / "packs"
    script = (
        "import sys, msgspec\nfrom pathlib import Path\nfrom models.catalogue import Entry\n"
        "from models.store import install, writing\npacks = Path(sys.argv[2])\n"
        "with writing(packs):\n"
        "    install(msgspec.json.decode(sys.argv[3], type=Entry), Path(sys.argv[1]), packs)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, archive, packs, msgspec.json.encode(entry).decode()])
    while child.poll() is None:
        if any((packs / ".installed").glob("*/model/1000")):
            os.kill(child.pid, signal.SIGKILL)
            break
    assert child.wait() == -signal.SIGKILL
    assert visible(packs) == set()
    assert installed_folders(packs) == 1
    with writing(packs):
        assert installed_folders(packs) == 0


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
number = st.floats(allow_nan=False)
tensors = st.dictionaries(text, st.builds(Tensor, dtype=text, shape=st.tuples(st.integers(-1, 2**40))), max_size=3)
manifests = st.builds(
    Manifest,
    name=text,
    version=text,
    languages=st.tuples(text),
    licence=text,
    about=text,
    files=st.dictionaries(text, text, max_size=3),
    labels=st.tuples(text, text),
    thresholds=st.dictionaries(text, number, max_size=3),
    inputs=tensors,
    outputs=tensors,
    sources=st.lists(st.builds(Source, name=text, licence=text), max_size=2).map(tuple),
    metrics=st.lists(st.builds(Metric, metric=text, value=number, set=text, split=text), max_size=2).map(tuple),
)


@settings(deadline=None)
@given(manifests)
def test_every_manifest_reads_back_as_it_was_written(manifest: Manifest) -> None:
    assert msgspec.convert(tomllib.loads(manifest_text(manifest)), Manifest) == manifest


def test_packs_are_listed_without_the_store_s_own_folders(
    tmp_path: Path, make_archive: MakeArchive, make_entry: MakeEntry
) -> None:
    archive = make_archive()
    put(make_entry(archive), archive, tmp_path / "packs")
    assert "speech-xx" in pack_folders(tmp_path / "packs")
    assert not any(name.startswith(".") or "@" in name for name in pack_folders(tmp_path / "packs"))


def test_a_pack_under_another_s_name_is_refused(
    tmp_path: Path, make_archive: MakeArchive, make_entry: MakeEntry
) -> None:
    archive = make_archive()
    put(make_entry(archive), archive, tmp_path)
    (tmp_path / "speech-yy").symlink_to((tmp_path / "speech-xx").readlink())
    with pytest.raises(ModelError, match="holds the pack 'speech-xx'"):
        find_pack("speech-yy", tmp_path)
    assert read_pack(tmp_path / "speech-xx").manifest.name == "speech-xx"
