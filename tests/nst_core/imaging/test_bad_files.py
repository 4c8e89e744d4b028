"""Files from anywhere: each is a good image or one refusal, and none harms who decodes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nst_core.errors import InputTooLarge, InputUnreadable, JobError, PairError
from nst_core.imaging import decoding, encoding, images
from nst_core.imaging.decoding import Decoder
from tests import corpus

FORMATS = {"JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF"}
FLIPS = 6
GOOD = corpus.good_files()


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    """A decoder of this module's own."""
    one = Decoder()
    yield one
    one.close()


def decode(decoder: Decoder, data: bytes, seconds: float = 60) -> images.Picture:
    return decoder.decode(data, name="x", max_pixels=10**6, max_bytes=10**8, seconds=seconds)


def outcome(decoder: Decoder, data: bytes) -> images.Picture | PairError:
    try:
        return decode(decoder, data)
    except (InputTooLarge, InputUnreadable) as error:
        refusal = error
    sentence = str(refusal)
    assert sentence.startswith("x ")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return refusal


def size(decoder: Decoder, data: bytes) -> tuple[int, int] | None:
    return decoder.header_size(data, name="x", max_pixels=10**6, complete=True, seconds=60)


# The corpus ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOOD)
def test_every_format_and_mode_is_read_cut_off_or_not(name: str, decoder: Decoder) -> None:
    data = GOOD[name]
    whole = decode(decoder, data)
    assert (whole.width, whole.height) == (corpus.WIDTH, corpus.HEIGHT) == size(decoder, data)
    cuts = [*range(0, len(data), 1024), len(data) - 1]
    for cut in cuts:
        part = outcome(decoder, data[:cut])
        if isinstance(part, images.Picture):
            # Only what comes after the pixels may be missing.
            np.testing.assert_array_equal(part.rgb, whole.rgb)
    # Within the first picture, also where there are several.
    assert isinstance(outcome(decoder, data[: len(data) // 4]), InputUnreadable)


@pytest.mark.parametrize("name", GOOD)
def test_flipped_bits_give_an_image_or_a_refusal_and_the_decoder_lives_on(
    name: str, decoder: Decoder
) -> None:
    data = GOOD[name]
    generator = np.random.default_rng(len(data))
    decode(decoder, data)
    process = decoder._process
    for number in range(FLIPS):
        damaged = bytearray(data)
        # Every other time in the header, where a bit can mean a size.
        reach = min(len(data), 200) if number % 2 else len(data)
        for place in generator.integers(0, 8 * reach, 1 + number % 3):
            damaged[place // 8] ^= 1 << int(place % 8)
        found = outcome(decoder, bytes(damaged))
        if isinstance(found, images.Picture):
            assert size(decoder, bytes(damaged)) == (found.width, found.height)
    assert decoder._process is process


@pytest.mark.parametrize(("name", "bad"), corpus.bad_files().items())
def test_what_is_no_image_is_refused_with_its_status(
    name: str, bad: tuple[bytes, str], decoder: Decoder
) -> None:
    data, status = bad
    found = outcome(decoder, data)
    if status == "input_too_small":
        # An image all the same: only the network is too large for it.
        assert isinstance(found, images.Picture), name
    else:
        assert isinstance(found, PairError), name
        assert found.status == status


def test_every_other_format_that_pillow_knows_is_refused(decoder: Decoder) -> None:
    Image.init()
    tried = 0
    for file_format in sorted(Image.SAVE.keys() - FORMATS):
        for mode in ("RGB", "L", "1", "P"):
            try:
                data = corpus.file_of(Image.new(mode, (32, 32), 1), file_format)
            except Exception:  # Not in this mode, or not without a program or library.
                continue
            assert isinstance(outcome(decoder, data), InputUnreadable), file_format
            tried += 1
            break
    assert tried > 10


# Bombs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bomb", [corpus.directory_bomb, corpus.exif_bomb, corpus.text_bomb])
def test_a_bomb_takes_no_more_than_the_memory_that_is_configured(
    bomb: Callable[[], bytes], decoder: Decoder
) -> None:
    data = bomb()
    assert len(data) < 300_000
    assert isinstance(outcome(decoder, data), PairError)
    process = decoder._process
    assert process is not None
    # In KiB; only where there is such a file.
    with open(f"/proc/{process.pid}/status", encoding="utf-8") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    allowed = decoding.BASE_BYTES + decoding.BYTES_PER_PIXEL * 10**6
    assert 1024 * peak < allowed + decoding.BYTES_PER_BYTE * len(data)
    assert decode(decoder, GOOD["colour.png"]).width == corpus.WIDTH


@pytest.mark.parametrize("bomb", [corpus.scans_bomb, corpus.strips_bomb])
def test_a_decoding_without_end_is_ended_inside_the_library(
    bomb: Callable[[], bytes], decoder: Decoder
) -> None:
    with pytest.raises(InputTooLarge, match=r"^x takes more than 0\.5 s .* raise decode_seconds"):
        decoder.decode(bomb(), name="x", max_pixels=10**7, max_bytes=10**8, seconds=0.5)
    assert decode(decoder, GOOD["colour.png"]).width == corpus.WIDTH


def test_the_largest_picture_allowed_has_the_memory_that_it_takes(decoder: Decoder) -> None:
    side = 2000
    alpha = np.dstack([corpus.texture(100, 100), np.full((100, 100), 99, np.uint8)])
    alpha = np.tile(alpha, (side // 100, side // 100, 1))
    data = corpus.file_of(
        alpha, "TIFF", exif=corpus.exif_of(6), icc_profile=encoding.srgb_profile()
    )
    limits = {"max_pixels": side * side, "max_bytes": len(data), "seconds": 600.0}
    picture = decoder.decode(data, name="x", **limits)
    assert picture.alpha is not None
    alone = images.decode(data, name="x", max_pixels=side * side, max_bytes=len(data))
    np.testing.assert_array_equal(picture.rgb, alone.rgb)


# The process --------------------------------------------------------------------------------------


def test_a_decoder_that_was_killed_is_started_again(decoder: Decoder) -> None:
    decode(decoder, GOOD["colour.png"])
    process = decoder._process
    assert process is not None
    process.kill()
    process.wait()
    assert decode(decoder, GOOD["colour.png"]).width == corpus.WIDTH


def fake(answer: str) -> Callable[[], subprocess.Popen[bytes]]:
    """Starts a process that says that it is ready, reads one request, and does `answer`."""
    code = (
        "import os, pickle, signal, sys\n"
        f"sys.stdout.buffer.write({decoding._READY!r}); sys.stdout.flush()\n"
        f"pickle.load(sys.stdin.buffer); {answer}\n"
    )

    def start() -> subprocess.Popen[bytes]:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return subprocess.Popen([sys.executable, "-c", code], **pipes)

    return start


def test_a_file_that_crashes_the_decoder_twice_fails_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = Decoder()
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "_start", fake("os.kill(os.getpid(), signal.SIGSEGV)"))
        with pytest.raises(InputUnreadable, match=r"^x ends the decoder, twice \(status -11\)"):
            decode(one, GOOD["colour.png"])
    assert decode(one, GOOD["colour.png"]).width == corpus.WIDTH
    one.close()


def test_a_decoder_that_cannot_be_started_stops_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Decoder()
    for program in ("/none/such", "/bin/false"):
        monkeypatch.setattr(sys, "executable", program)
        with pytest.raises(JobError, match="cannot be started"):
            decode(one, GOOD["colour.png"])


def test_threads_share_a_decoder(decoder: Decoder) -> None:
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


PARENT = """
import os, sys
from nst_core.imaging.decoding import decoder

def size():
    found = decoder().header_size(
        open(sys.argv[1], "rb").read(), name="x", max_pixels=10**6, complete=True, seconds=60
    )
    return found, decoder()._process.pid

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
