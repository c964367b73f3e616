import dataclasses
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sample_records import chain_record, error_record, header

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.protocol import to_plain
from vla_bench.bench.records.journal import Journal, _line, read_journal, write_atomically
from vla_bench.bench.records.result_set import ResultSet


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "journal.jsonl"


def write(path, *records):
    with Journal.open(path, header(10)) as journal:
        for record in records:
            journal.append(record)


def test_what_is_written_is_read_back_exactly(path):
    records = [chain_record(2, 3), error_record(0), chain_record(1, 5)]
    write(path, *records)
    contents = read_journal(path)
    assert contents.records == (records[1], records[2], records[0])
    assert contents.header == header(10)
    assert contents.damaged == ()
    assert len(contents.times) == 3


def test_appending_keeps_what_is_there(path):
    write(path, chain_record(0, 1))
    before = path.read_bytes()
    write(path, chain_record(1, 2))
    assert path.read_bytes().startswith(before)
    assert [record.index for record in read_journal(path).records] == [0, 1]


def test_a_line_cut_anywhere_costs_that_line_only(path):
    write(path, chain_record(0, 1), chain_record(1, 2))
    whole = path.read_bytes()
    last = whole[:-1].rindex(b"\n") + 1
    for length in range(last, len(whole), 5):
        path.write_bytes(whole[:length])
        contents = read_journal(path)
        assert [record.index for record in contents.records] == [0]
        assert contents.damaged == ()
        assert contents.sound_bytes == last


def test_going_on_after_a_cut_line_leaves_no_trace_of_it(path):
    write(path, chain_record(0, 1))
    with path.open("ab") as file:
        file.write(b'{"checksum":"12345678","rec')
    write(path, chain_record(1, 2))
    contents = read_journal(path)
    assert [record.index for record in contents.records] == [0, 1]
    assert contents.damaged == ()


def test_a_changed_number_is_noticed(path):
    write(path, chain_record(0, 1), chain_record(1, 2), chain_record(2, 2))
    lines = path.read_text().splitlines(keepends=True)
    lines[2] = lines[2].replace('"chain_length":2', '"chain_length":5')
    path.write_text("".join(lines))
    contents = read_journal(path)
    assert [record.index for record in contents.records] == [0, 2]
    assert contents.damaged == (3,)


def test_garbage_lines_are_noticed(path):
    write(path, chain_record(0, 1))
    with path.open("ab") as file:
        file.write(b"\xff\xfe garbage\n[]\n\n{}\n")
    write(path, chain_record(1, 2))
    contents = read_journal(path)
    assert [record.index for record in contents.records] == [0, 1]
    assert contents.damaged == (3, 4, 5, 6)


def test_a_judged_record_beats_an_error_and_the_latest_error_an_earlier_one(path):
    write(path, error_record(0, "first"), error_record(0, "second"), error_record(1), chain_record(1, 4))
    assert read_journal(path).records == (error_record(0, "second"), chain_record(1, 4))
    write(path, error_record(1, "late"))
    assert read_journal(path).records[1] == chain_record(1, 4)


def test_a_second_driver_is_refused_and_told_who_holds_the_folder(path):
    with Journal.open(path, header(10)), pytest.raises(ResultSetError, match=r"process \d+ on .*run\.name="):
        Journal.open(path, header(10))
    Journal.open(path, header(10)).close()


def test_overwriting_does_not_touch_another_drivers_journal(path):
    with Journal.open(path, header(10)) as journal:
        journal.append(chain_record(0, 1))
        with pytest.raises(ResultSetError):
            Journal.open(path, header(10), overwrite=True)
        assert len(read_journal(path).records) == 1


def test_overwriting_starts_afresh(path):
    write(path, chain_record(0, 1))
    with Journal.open(path, header(3), overwrite=True) as journal:
        assert journal.contents.records == ()
    assert read_journal(path).header["episodes"] == 3


def test_the_lock_of_a_killed_driver_is_free(path):
    program = (
        "import json, os, signal, sys; from pathlib import Path; from vla_bench.bench.records.journal import Journal\n"
        "journal = Journal.open(Path(sys.argv[1]), json.loads(sys.argv[2]))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path), json.dumps(header(10))]).returncode == -9
    Journal.open(path, {}).close()


def test_a_folder_without_journal_is_named(tmp_path):
    with pytest.raises(ResultSetError, match="is not a result set"):
        read_journal(tmp_path / "journal.jsonl")


def test_a_damaged_header_is_refused(path):
    write(path, chain_record(0, 1))
    path.write_bytes(b"x" + path.read_bytes())
    with pytest.raises(ResultSetError, match=r"header line is damaged.*run\.overwrite=true"):
        read_journal(path)


def test_a_later_format_is_refused(path):
    write(path, chain_record(0, 1))
    lines = path.read_bytes().replace(b'"record"', b'"unheard of"').splitlines(keepends=True)
    path.write_bytes(_line({"header": {"format": 99}}) + lines[1])
    with pytest.raises(ResultSetError, match="format 99"):
        read_journal(path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultSetError, match=r"cannot write to .*run\.results="):
        Journal.open(tmp_path / "file" / "run" / "journal.jsonl", {})


def test_every_line_is_json(path):
    write(path, chain_record(0, 1))
    first, second = map(json.loads, path.read_text().splitlines())
    assert first["header"]["episodes"] == 10
    assert second["record"]["chain_length"] == 1


def test_a_file_that_could_not_be_written_whole_does_not_appear(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(target, fail)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


FULL = """
import json, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from sample_records import chain_record
from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.records.journal import Journal
journal = Journal.open(Path(sys.argv[1]), json.loads(sys.argv[2]))
journal.append(chain_record(0, 1))
size = Path(sys.argv[1]).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))
try:
    journal.append(chain_record(1, 1))
except ResultSetError as error:
    print(error)
print(Path(sys.argv[1]).stat().st_size == size)
journal.close()
"""


def test_a_full_disk_leaves_no_part_of_a_record(path):
    """A limit on the file's size makes the kernel write a part of the line and then refuse."""
    arguments = [str(path), json.dumps(header(10)), str(Path(__file__).parent)]
    done = subprocess.run([sys.executable, "-c", FULL, *arguments], capture_output=True, text=True, check=True)
    said, untouched = done.stdout.splitlines()
    assert re.match(r"cannot write to .*journal\.jsonl: File too large.*the same command finishes", said)
    assert untouched == "True"
    assert len(read_journal(path).records) == 1


def test_another_header_leaves_the_records_and_may_be_followed_by_more(path):
    write(path, chain_record(0, 1))
    with Journal.open(path, header(10)) as journal:
        journal.replace_header(header(20), [7])
        assert journal.contents.header["episodes"] == 20
        journal.append(chain_record(1, 2))
    contents = read_journal(path)
    assert (contents.header, contents.damaged) == (header(20), ())
    assert contents.records == (chain_record(1, 2), dataclasses.replace(chain_record(0, 1), index=7))


@pytest.mark.parametrize("name", ["benchmark", "identity", "protocol", "episodes", "notes"])
def test_a_foreign_header_is_refused_with_what_it_lacks(path, name):
    write(path, chain_record(0, 1))
    foreign = {key: value for key, value in header(10).items() if key != name}
    path.write_bytes(_line({"header": foreign}))
    with pytest.raises(ResultSetError, match=f"no usable '{name}'.*run.overwrite=true"):
        read_journal(path)


def test_lines_that_are_sound_but_no_records_are_noticed(path):
    """Right checksums around wrong things: nothing but plain reading, and no exception."""
    write(path, chain_record(0, 1))
    good, rng = to_plain(chain_record(1, 2)), random.Random(1)
    odd = [None, True, -1, 2.5, "", "x", [], {}, [[]], {"a": 1}, "\ud800".encode("utf-8", "replace").decode()]
    with path.open("ab") as file:
        for _ in range(500):
            plain = json.loads(json.dumps(good))
            home = rng.choice([plain, plain["subtasks"][0], plain["timings"]])
            plain["index"] = 1
            key = rng.choice([*home, "unheard_of"])
            home[key] = rng.choice(odd)
            if rng.random() < 0.2:
                home.pop(key)
            file.write(_line({"time": 1.0, "record": plain}))
    contents = read_journal(path)
    assert {0, 1} >= {record.index for record in contents.records} >= {0}
    assert len(contents.damaged) > 200
    ResultSet(path.parent, contents).write()


@pytest.fixture
def on_disk(monkeypatch):
    """Inodes whose content was made to reach the disk, in order, with the size they had then."""
    synced = []
    real = os.fsync

    def fsync(descriptor):
        real(descriptor)
        state = os.fstat(descriptor)
        synced.append((state.st_ino, state.st_size))

    monkeypatch.setattr(os, "fsync", fsync)
    return synced


def test_a_record_is_on_disk_when_append_returns(path, on_disk):
    with Journal.open(path, header(10)) as journal:
        for index in range(3):
            del on_disk[:]
            journal.append(chain_record(index, 1))
            assert on_disk == [(path.stat().st_ino, path.stat().st_size)]


def test_a_file_and_then_its_name_are_on_disk_when_it_appears(tmp_path, on_disk):
    target = tmp_path / "summary.json"
    write_atomically(target, lambda temporary: temporary.write_text("whole"))
    (file, size), (folder, _) = on_disk
    assert (file, size, folder) == (target.stat().st_ino, 5, tmp_path.stat().st_ino)


def test_a_new_journal_and_another_header_are_on_disk(path, on_disk):
    with Journal.open(path, header(10)) as journal:
        assert [inode for inode, _ in on_disk] == [path.stat().st_ino, path.parent.stat().st_ino]
        journal.append(chain_record(0, 1))
        del on_disk[:]
        journal.replace_header(header(20), [0])
        assert [inode for inode, _ in on_disk] == [path.stat().st_ino, path.parent.stat().st_ino]


@pytest.mark.parametrize("index", [-1, 3])
def test_a_record_of_an_episode_that_there_is_not_is_no_record(path, index):
    with Journal.open(path, header(3)) as journal:
        for place in (0, 2, index):
            journal.append(dataclasses.replace(chain_record(0, 1), index=place))
    contents = read_journal(path)
    assert [record.index for record in contents.records] == [0, 2]
    assert len(contents.damaged) == 1


def test_a_journal_that_cannot_be_read_is_a_sentence(tmp_path):
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(ResultSetError, match=r"journal\.jsonl.*directory"):
        read_journal(tmp_path / "journal.jsonl")
