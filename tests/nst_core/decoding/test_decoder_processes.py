"""The decoding processes: several at once, within the memory, confined, and believed in nothing."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from nst_core import host
from nst_core.canvas import Fit, Size
from nst_core.decoding import Decoder, messages, pool
from nst_core.decoding.limits import BYTES_PER_PIXEL
from nst_core.errors import InputUnreadable, JobError
from nst_core.imaging import images
from nst_core.imaging.fitting import Wanted
from tests import corpus

GOOD = corpus.good_files()


def decode(decoder: Decoder, data: bytes, wanted: Wanted | None = None) -> images.Picture:
    return decoder.decode(
        data, name="x", max_pixels=10**6, max_bytes=10**8, seconds=60, wanted=wanted
    )


# Answers that are not to be believed -------------------------------------------------------------

TAKEN_OVER = """
import os, pickle, socket, sys
from nst_core.decoding import messages
from nst_core.decoding.messages import Answer, Kind

channel, memory = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
channel.sendall(messages.READY)
nonce, request, data = messages.receive_request(channel, memory)

def answer(kind, *numbers, text="{}", nonce=nonce):
    messages.send_answer(channel, nonce, Answer(kind, numbers, text))

"""
CREDITS = '{"artist": "", "copyright": "", "description": "", "date": "", "resolution": null}'


def taken_over(does: str) -> Callable[[int, int], subprocess.Popen[bytes]]:
    """Starts a process in the place of a decoding one, which does this with the first file."""

    def start(channel: int, memory: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", TAKEN_OVER + does, str(channel), str(memory)]
        return subprocess.Popen(command, pass_fds=(channel, memory))

    return start


@pytest.mark.parametrize(
    "does",
    [
        "channel.sendall(pickle.dumps(os.system))",
        "channel.sendall(pickle.dumps(os.system) * 99)",
        "answer(Kind.SIZE, 5, 5)",
        "answer(99)",
        "answer(Kind.PICTURE, 1, 1, 0, 0, 1, 1, nonce=bytes(8))",
        "answer(Kind.PICTURE, 2**20, 2**20, 0, 0, 1, 1)",
        "answer(Kind.PICTURE, 5, 5, 2**40, 2**40, 5, 5)",
        f"os.ftruncate(memory, 74); answer(Kind.PICTURE, 5, 5, 0, 0, 5, 5, text={CREDITS!r})",
        "os.ftruncate(memory, 75); answer(Kind.PICTURE, 5, 5, 0, 0, 5, 5, text='{')",
        "os.ftruncate(memory, 75); answer(Kind.PICTURE, 5, 5, 0, 0, 5, 5, text='[]')",
        "os.ftruncate(memory, 75); answer(Kind.PICTURE, 5, 5, 0, 0, 5, 5, text='{\"a\": 1}')",
        "answer(Kind.CLAIM, 2**40)",
        "answer(Kind.CLAIM, 5); channel.recv(1); answer(Kind.CLAIM, 5); channel.recv(1)",
        "channel.close(); os.close(memory)",
    ],
)
def test_a_decoder_that_a_file_has_taken_over_fails_its_file_alone(
    does: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Decoder(1)
    with monkeypatch.context() as patch:
        patch.setattr(pool, "_start", taken_over(does))
        with pytest.raises(InputUnreadable, match=r"^x ends the decoder, twice \(status -?\d+\)"):
            decode(one, GOOD["colour.png"])
    assert decode(one, GOOD["colour.png"]).original.width == corpus.WIDTH
    one.close()


def test_a_decoder_that_says_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Decoder(1)
    monkeypatch.setattr(pool, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(pool, "SILENCE_FACTOR", 0.0)
    monkeypatch.setattr(pool, "_start", taken_over("channel.recv(1)"))
    with pytest.raises(InputUnreadable, match=r"^x ends the decoder, twice"):
        decode(one, GOOD["colour.png"])


def test_what_a_credible_answer_says_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Decoder(1)
    lines = "'one\\ntwo ' + 100_000 * 'x'"
    monkeypatch.setattr(pool, "_start", taken_over(f"answer(Kind.UNREADABLE, text={lines})"))
    with pytest.raises(InputUnreadable, match=r"^one two x+") as caught:
        decode(one, GOOD["colour.png"])
    assert len(str(caught.value)) <= messages.MOST_TEXT
    one.close()


# What it gives up --------------------------------------------------------------------------------

CONFINED = """
import os, socket, subprocess, sys, threading
from nst_core.decoding.confinement import confine

filtered = confine()
attempts = {
    "open": lambda: os.open(sys.argv[1], os.O_RDONLY),
    "create": lambda: os.open(sys.argv[1] + ".new", os.O_WRONLY | os.O_CREAT),
    "socket": lambda: socket.socket(),
    "pipe": lambda: os.pipe(),
    "exec": lambda: subprocess.run(["/bin/true"]),
}
# Without the filter of system calls these two are still there.
calls = {
    "fork": lambda: os.fork() or os._exit(0),
    "remove": lambda: os.unlink(sys.argv[1]),
    "kill": lambda: os.kill(os.getppid(), 0),
}
for name, attempt in {**attempts, **(calls if filtered else {})}.items():
    try:
        attempt()
    except OSError:
        continue
    os.write(1, f"{name} is still there".encode())
done = []
thread = threading.Thread(target=lambda: done.append(1))
thread.start()
thread.join()
os.write(1, f"{len(done)} {filtered}".encode())
"""


def test_a_decoder_opens_nothing_and_starts_nothing_once_it_is_confined(
    tmp_path: pathlib.Path,
) -> None:
    file = tmp_path / "secret"
    file.write_text("x")
    done = subprocess.run(
        [sys.executable, "-c", CONFINED, str(file)], capture_output=True, text=True, check=True
    )
    # Whether its system calls are filtered depends on the machine's libseccomp.
    assert done.stdout in ("1 True", "1 False")
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_its_system_calls_are_filtered_where_they_can_be(decoder: Decoder) -> None:
    pytest.importorskip("pyseccomp", reason="its system calls are filtered by libseccomp alone")
    decode(decoder, GOOD["colour.png"])
    for pid in decoder.pids:
        status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        assert "\nSeccomp:\t2\n" in status
        assert "\nNoNewPrivs:\t1\n" in status


# Several at once ---------------------------------------------------------------------------------


def at_once(decoder: Decoder, files: list[bytes]) -> None:
    """Decode files on a thread each."""
    threads = [threading.Thread(target=decode, args=(decoder, data)) for data in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_as_many_files_are_decoded_at_once_as_there_may_be_processes() -> None:
    for most in (1, 3):
        one = Decoder(most)
        at_once(one, [GOOD["colour.png"]] * 9)
        assert len(one.pids) == most
        one.close()
        assert one.pids == []


def test_one_processor_is_left_to_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for processors, most in ((1, 2), (2, 2), (8, 7), (200, pool.MOST_PROCESSES)):
        monkeypatch.setattr(host, "processors", lambda processors=processors: processors)
        assert Decoder()._most == most


def test_pictures_wait_for_memory_but_one_alone_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together: list[int] = []
    claimed = 0
    real = Decoder._memory_for

    @contextlib.contextmanager
    def noted(self: Decoder, pixels: int, request: Any) -> Iterator[None]:
        nonlocal claimed
        with real(self, pixels, request):
            claimed += 1
            together.append(claimed)
            yield
            claimed -= 1

    monkeypatch.setattr(Decoder, "_memory_for", noted)
    for share, most in ((0.5, 1), (2.5, 2)):
        pixels = corpus.WIDTH * corpus.HEIGHT
        free = share * BYTES_PER_PIXEL * pixels / pool.MEMORY_SHARE
        monkeypatch.setattr(host, "available_memory", lambda free=free: free)
        together.clear()
        one = Decoder(3)
        at_once(one, [GOOD["colour.png"]] * 9)
        assert len(together) == 9
        assert max(together) <= most
        one.close()


def test_a_process_decodes_at_the_size_that_is_wanted(decoder: Decoder) -> None:
    for name in ("colour.jpg", "colour.png"):
        wanted = Wanted(Fit(size=Size(20, 10)), over_surroundings=True)
        found = decode(decoder, GOOD[name], wanted)
        assert found.original == Size(corpus.WIDTH, corpus.HEIGHT)
        alone = images.decode(
            GOOD[name], name="x", max_pixels=10**6, max_bytes=10**8, wanted=wanted
        )
        np.testing.assert_array_equal(found.rgb, alone.rgb)
        assert found.credits == alone.credits


@pytest.mark.parametrize("text", ["ж" * 1900, "写" * 1300, "\x01" * 4000, "ж  \u2003и"])
def test_credits_of_every_script_come_through_as_they_are(text: str, decoder: Decoder) -> None:
    exif = Image.Exif()
    for tag in (ExifTags.Base.Artist, ExifTags.Base.Copyright, ExifTags.Base.ImageDescription):
        exif[tag] = text.encode()
    found = decode(decoder, corpus.file_of(corpus.texture(), "JPEG", exif=exif)).credits
    assert (found.artist, found.copyright, found.description) == (text,) * 3


# Its life ----------------------------------------------------------------------------------------


def test_a_decoder_that_was_killed_is_started_again(decoder: Decoder) -> None:
    decode(decoder, GOOD["colour.png"])
    (pid,) = decoder.pids
    os.kill(pid, signal.SIGKILL)
    assert decode(decoder, GOOD["colour.png"]).original.width == corpus.WIDTH


def test_decoders_that_were_all_killed_fail_no_file() -> None:
    one = Decoder(3)
    at_once(one, [GOOD["colour.png"]] * 9)
    pids = one.pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for _ in range(4):
        assert decode(one, GOOD["colour.png"]).original.width == corpus.WIDTH
    one.close()


def test_a_file_that_crashes_the_decoder_twice_fails_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = Decoder()
    with monkeypatch.context() as patch:
        patch.setattr(pool, "_start", taken_over("os.kill(os.getpid(), 11)"))
        with pytest.raises(InputUnreadable, match=r"^x ends the decoder, twice \(status -11\)"):
            decode(one, GOOD["colour.png"])
    assert decode(one, GOOD["colour.png"]).original.width == corpus.WIDTH
    one.close()


def test_a_decoder_that_cannot_be_started_stops_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Decoder()
    for program in ("/none/such", "/bin/false"):
        monkeypatch.setattr(sys, "executable", program)
        with pytest.raises(JobError, match="cannot be started"):
            decode(one, GOOD["colour.png"])


def test_threads_share_a_decoder_and_leave_the_warning_filters_alone(decoder: Decoder) -> None:
    filters = list(warnings.filters)
    names = ["colour.png", "colour.jpg", "lossless.webp", "float.tiff"] * 5
    found: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        found[number] = decode(decoder, GOOD[names[number]]).rgb

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(names))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, name in enumerate(names):
        np.testing.assert_array_equal(found[number], decode(decoder, GOOD[name]).rgb)
    assert warnings.filters == filters


def test_the_processors_are_counted_once_for_all_files(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    monkeypatch.setattr(pool, "_decoders", {})
    monkeypatch.setattr(host, "processors", lambda: counted.append(1) or 2)
    assert len({pool.decoder() for _ in range(10)}) == len(counted) == 1


PARENT = """
import os, sys
from nst_core.decoding import decoder

def size():
    found = decoder().header_size(
        open(sys.argv[1], "rb").read(), name="x", max_pixels=10**6, complete=True, seconds=60
    )
    return found, decoder().pids[0]

first = size()
child = os.fork()
if not child:
    # A fork has a decoder of its own.
    os._exit(0 if size()[0] == first[0] and size()[1] != first[1] else 1)
assert os.waitpid(child, 0)[1] == 0
assert size() == first
print(first[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("ending", ["clean", "killed"])
def test_a_decoder_ends_with_its_worker(ending: str, tmp_path: Any) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(GOOD["colour.png"])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    if ending == "killed":
        parent.send_signal(signal.SIGKILL)
    parent.communicate()
    assert parent.returncode == (-signal.SIGKILL if ending == "killed" else 0)
    while is_running(child):
        # As long as it takes: the test's own timeout is the limit.
        os.sched_yield()


def is_running(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8") as file:
            # An orphan that nobody waits for stays as a zombie.
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_decoder_knows_no_key_of_its_worker_s_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-key")
    decoder = Decoder(most=1)
    try:
        decode(decoder, GOOD["colour.png"])
        (pid,) = decoder.pids
        environment = pathlib.Path(f"/proc/{pid}/environ")
        if not environment.exists():
            pytest.skip("only Linux shows a process's environment")
        assert b"the-key" not in environment.read_bytes()
    finally:
        decoder.close()
