"""New files: their bytes are those that were put, whatever way they took to the disk."""

import errno
import os
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ccdprofiles.files.writer import NewFile, Writers

MEBI = 2**20


def written(path, size, pieces, around, threads=1):
    """Write pieces of (place, values, stored) and return the file's bytes."""
    with Writers() as writers, ThreadPoolExecutor(threads) as pool:
        file = NewFile(path, size, writers if around else None)
        list(pool.map(lambda piece: file.put(*piece), pieces))
        file.put_bytes(size - 11, b"end of file")
        file.complete()
        file.sync()
        file.close()
    return path.read_bytes()


def expected(size, pieces):
    octets = bytearray(size)
    for place, values, stored in pieces:
        part = values.astype(stored).tobytes()
        octets[place : place + len(part)] = part
    octets[size - 11 :] = b"end of file"
    return bytes(octets)


def pieces_of(size, seed, longest):
    """Cut most of a file into pieces of floats, with some gaps, that begin at odd blocks."""
    random = np.random.default_rng(seed)
    place, pieces = 2880, []
    while place < size - 8000:
        number = int(random.integers(1, longest)) // 4 * 4 + 4
        number = min(number, (size - 4000 - place) // 4)
        pieces.append((place, random.normal(size=number).astype("f4"), ">f4"))
        place += 4 * number + int(random.choice([0, 0, 0, 4, 2880, 4096]))
    return pieces


@pytest.mark.parametrize("around", [False, True])
@pytest.mark.parametrize("order", ["forward", "backward", "any"])
@pytest.mark.parametrize(
    ("size", "longest"),
    [(30_000, 400), (2 * MEBI, 30_000), (5 * MEBI + 1234, 90_000), (9 * MEBI, 700_000)],
)
def test_a_file_holds_what_was_put_there(tmp_path, size, longest, order, around):
    pieces = pieces_of(size, size + longest, longest)
    if order != "forward":
        pieces.reverse()
    if order == "any":
        np.random.default_rng(1).shuffle(pieces)
    found = written(tmp_path / "a", size, pieces, around)
    assert found == expected(size, pieces)


def test_several_threads_may_put(tmp_path):
    size = 12 * MEBI
    pieces = pieces_of(size, 5, 20_000)
    assert written(tmp_path / "a", size, pieces, True, threads=8) == expected(size, pieces)


def test_four_planes_grow_side_by_side(tmp_path):
    size = 8 * MEBI
    rows = np.random.default_rng(3).integers(0, 2**16, (4, 400, 2500)).astype("u2")
    starts = [2880, 2880 + 2 * MEBI + 2, 2880 + 4 * MEBI + 6, 2880 + 6 * MEBI + 4094]
    pieces = [
        (starts[plane] + row * 5000, rows[plane, row : row + 7].reshape(-1), ">u2")
        for row in range(0, 400, 7)
        for plane in range(4)
    ]
    assert written(tmp_path / "a", size, pieces, True) == expected(size, pieces)


@pytest.mark.parametrize("call", ["open", "pwrite"])
def test_a_disk_that_does_not_go_past_the_cache_is_written_through_it(tmp_path, monkeypatch, call):
    if not hasattr(os, "O_DIRECT"):
        pytest.skip("this system has no way past its cache")
    real, refused = getattr(os, call), []

    def refuse(*args):
        if call == "open":
            direct = args[1] & os.O_DIRECT
        else:
            import fcntl

            direct = fcntl.fcntl(args[0], fcntl.F_GETFL) & os.O_DIRECT
        if direct:
            refused.append(args)
            if call == "open":
                os.close(real(*args))  # as some file systems do, which make the file first
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(*args)

    monkeypatch.setattr(os, call, refuse)
    pieces = pieces_of(5 * MEBI, 7, 90_000)
    assert written(tmp_path / "a", 5 * MEBI, pieces, True) == expected(5 * MEBI, pieces)
    assert refused


def test_two_threads_may_be_refused_past_the_cache_at_once(tmp_path, monkeypatch):
    """`complete` writes what remains in its own thread, while the writer is still busy."""
    if not hasattr(os, "O_DIRECT"):
        pytest.skip("this system has no way past its cache")
    real, both, refused = os.pwrite, threading.Barrier(2), []

    def refuse_each_thread_once(*args):
        if threading.get_ident() in refused:
            return real(*args)
        refused.append(threading.get_ident())
        both.wait(20)
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "pwrite", refuse_each_thread_once)
    pieces = [(0, np.ones(MEBI + 4096, "u1"), "u1")]
    size = MEBI + 4096 + 11
    assert written(tmp_path / "a", size, pieces, True) == expected(size, pieces)
    assert len(refused) == 2


def test_an_invalid_write_is_not_retried_for_ever(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(OSError, match="Invalid argument"):
        written(tmp_path / "a", MEBI, [], True)


@pytest.mark.parametrize("size", [MEBI, 30 * MEBI])
def test_a_full_disk_is_heard_of(tmp_path, monkeypatch, size):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    pieces = pieces_of(size, 9, 90_000)
    with Writers() as writers:
        file = NewFile(tmp_path / "a", size, writers)

        def write():
            for piece in pieces:
                file.put(*piece)
            file.complete()

        with pytest.raises(OSError, match="No space") as error:
            write()
        assert error.value.errno == errno.ENOSPC
        file.close()
        file.close()


def test_a_full_disk_ends_the_writing_at_once_and_keeps_no_chunk(tmp_path, monkeypatch):
    chunks = []

    def full(descriptor, view, place):
        chunks.append(weakref.ref(view.obj))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with Writers() as writers:
        file = NewFile(tmp_path / "a", 64 * MEBI, writers)

        def put(numbers):
            for n in numbers:
                file.put(n * MEBI, np.ones(MEBI, "u1"), "u1")
                time.sleep(0.01)

        with pytest.raises(OSError, match="No space"):
            put(range(40))
        with pytest.raises(OSError, match="No space"):
            put(range(40, 41))
        with pytest.raises(OSError, match="No space"):
            file.complete()
        assert len(chunks) == 1
        assert not any(chunk() is not None for chunk in chunks)
        file.close()


def test_another_file_is_not_written_over(tmp_path):
    (tmp_path / "a").write_bytes(b"theirs")
    with Writers() as writers, pytest.raises(FileExistsError):
        NewFile(tmp_path / "a", 100, writers)
    assert (tmp_path / "a").read_bytes() == b"theirs"


def test_a_file_that_is_given_up_is_closed_when_its_writes_are_done(tmp_path):
    with Writers() as writers:
        file = NewFile(tmp_path / "a", 64 * MEBI, writers)
        for n in range(40):
            file.put(n * MEBI, np.zeros(MEBI, "u1"), "u1")
        file.close()
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    after = len(os.listdir("/proc/self/fd")) if before else 0
    assert after == before


@pytest.mark.parametrize("nth", [0, 3, 9])
def test_a_single_write_that_fails_is_heard_of_whenever_it_does(tmp_path, monkeypatch, nth):
    """Also between two looks at what has ended, which is when it was once lost."""
    real, writes = os.pwrite, []

    def fail_once(descriptor, octets, place):
        writes.append(place)
        if len(writes) == nth + 1:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, octets, place)

    class Late(list):
        """Futures that end while they are looked at for the first time."""

        def __iter__(self):
            for future in list.__iter__(self):
                yield future
                future.exception()

    monkeypatch.setattr(os, "pwrite", fail_once)
    with Writers() as writers:
        file = NewFile(tmp_path / "a", 24 * MEBI, writers)
        file._under_way = Late()

        def write():
            for n in range(24):
                file.put(n * MEBI, np.ones(MEBI, "u1"), "u1")
                file._under_way = Late(file._under_way)
            file.complete()

        with pytest.raises(OSError, match="Input/output"):
            write()
        file.close()


@pytest.mark.parametrize(("place", "number"), [(2, 4), (0, 101), (396, 2), (-4, 1)])
def test_what_has_no_place_in_the_file_is_refused(tmp_path, place, number):
    with Writers() as writers:
        file = NewFile(tmp_path / "a", 400, writers)
        with pytest.raises(ValueError, match="are outside a file of 400"):
            file.put(place, np.zeros(number, "f4"), ">f4")
        file.close()


def test_a_file_goes_past_the_cache_if_it_is_written_by_writers_only(tmp_path):
    if not hasattr(os, "O_DIRECT"):
        pytest.skip("this system has no way past its cache")
    import fcntl

    with Writers() as writers:
        for name, given, wanted in (("a", writers, os.O_DIRECT), ("b", None, 0)):
            file = NewFile(tmp_path / name, 5 * MEBI, writers=given)
            try:
                direct = fcntl.fcntl(file._file, fcntl.F_GETFL) & os.O_DIRECT
                if wanted and not direct:
                    pytest.skip("this file system has no way past its cache")
                assert direct == wanted
                # It stays so to the end, although the file ends between two blocks.
                file.put(0, np.ones(5 * MEBI - 8, "u1"), "u1")
                file.complete()
                assert fcntl.fcntl(file._file, fcntl.F_GETFL) & os.O_DIRECT == wanted
            finally:
                file.close()
            assert (tmp_path / name).stat().st_size == 5 * MEBI


def test_no_more_chunks_wait_for_the_disk_than_memory_may_hold(tmp_path, monkeypatch):
    waiting, most, real = 0, 0, os.pwrite

    def slow(*args):
        time.sleep(0.002)
        return real(*args)

    monkeypatch.setattr(os, "pwrite", slow)
    with Writers() as writers:
        file = NewFile(tmp_path / "a", 64 * MEBI, writers)
        for n in range(64):
            file.put(n * MEBI, np.full(MEBI, n, "u1"), "u1")
            waiting = sum(not future.done() for future in file._under_way)
            most = max(most, waiting)
        file.complete()
        file.close()
    # One more may have been written while its future does not say so yet.
    assert 0 < most <= 9
    assert (tmp_path / "a").read_bytes()[::MEBI] == bytes(range(64))
