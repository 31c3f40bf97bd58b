"""Plain reads: each byte once, and never longer than a file is."""

import hashlib
import os

import pytest

from ccdprofiles.errors import FrameRejected
from ccdprofiles.files.reading import Passage, fill, opened

DATA = bytes(range(256)) * 40


@pytest.fixture
def stream(tmp_path):
    (tmp_path / "a").write_bytes(DATA)
    with opened(tmp_path / "a") as stream:
        yield stream


def test_only_a_regular_file_is_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(FrameRejected, match="not a regular file") as refusal:
            opened(path)
        assert refusal.value.code == "not-a-file"
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "nothing")


def test_a_buffer_is_filled_or_the_file_refused(stream):
    buffer = bytearray(100)
    fill(stream.fileno(), memoryview(buffer), 300)
    assert buffer == DATA[300:400]
    with pytest.raises(FrameRejected) as refusal:
        fill(stream.fileno(), memoryview(buffer), len(DATA) - 99)
    assert refusal.value.code == "truncated"


def test_a_passage_reads_every_byte_once_and_in_order(stream):
    digest = hashlib.sha256()
    passage = Passage(stream.fileno(), digest)
    assert b"".join(map(bytes, passage.pieces(1000, 64))) == DATA[:1000]
    passage.go_to(2000)
    assert b"".join(map(bytes, passage.pieces(2100))) == DATA[2000:2100]
    assert list(passage.pieces(500)) == []
    passage.go_to(len(DATA))
    assert digest.hexdigest() == hashlib.sha256(DATA).hexdigest()


def test_a_passage_may_begin_anywhere_and_without_a_digest(stream):
    assert [bytes(p) for p in Passage(stream.fileno(), None, 10).pieces(20)] == [DATA[10:20]]
