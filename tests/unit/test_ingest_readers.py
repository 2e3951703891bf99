"""The readers: records are whole wherever a block ends, lines are numbered truly, bad lines stand alone."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beforehand.ingest.readers.files import TextFile
from beforehand.ingest.readers.separated import Splitter, read_separated
from beforehand.ingest.tree import Node
from beforehand.ingest.words import Source

PLAIN = Source("s", Node(None, 1, 1))
VALUES = st.text(alphabet='a,"\n\r é;', max_size=6)


def lines_of(records: list[list[str]]) -> list[str]:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows(records)
    out.seek(0)
    return list(out)


@given(st.lists(st.lists(VALUES, min_size=3, max_size=3), max_size=8), st.integers(1, 5))
def test_records_are_the_same_wherever_blocks_end(records: list[list[str]], size: int) -> None:
    lines = lines_of(records)
    splitter = Splitter(PLAIN, 1)
    splitter.width = 3
    found: list[list[str]] = []
    starts: list[int] = []
    for at in range(0, len(lines) + size, size):
        block = splitter.split(lines[at : at + size], last=at + size >= len(lines) + size)
        assert block.broken == []
        found += block.records
        starts += block.starts
    expected, line = [], 1
    for record in records:
        expected.append(line)
        line += len(lines_of([record]))
    assert found == records
    assert starts == expected


@given(
    st.lists(
        st.sampled_from(["a,b,c\n", '"a,b,c\n', 'a"b,c,d\n', '"x"y,b,c\n', "a\n", '"a","b\n', 'c","d"\n']), max_size=12
    )
)
def test_no_line_is_lost_whatever_stands_in_it(lines: list[str]) -> None:
    splitter = Splitter(PLAIN, 1)
    splitter.width = 3
    block = splitter.split(lines, last=True)
    spans = sum(1 + sum(value.count("\n") for value in record) for record in block.records)
    assert spans + len(block.broken) == len(lines)
    good = [at for at, line in enumerate(lines, 1) if line == "a,b,c\n"]
    inside = {at for start, record in zip(block.starts, block.records, strict=True) if "\n" in "".join(record)
              for at in range(start, start + 1 + "".join(record).count("\n"))}  # fmt: skip
    assert set(good) <= set(block.starts) | inside


@pytest.mark.parametrize(("encoding", "text"), [("utf-8-sig", "Café"), ("utf-16", "Café"), ("windows-1252", "Café €")])
def test_encodings_and_byte_order_marks(tmp_path: Path, encoding: str, text: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"id,name\n1,{text}\n", encoding=encoding)
    file = TextFile(path, encoding)
    header, content, *_ = [frame for frame, _ in read_separated(replace(PLAIN, encoding=encoding), file, None)]
    file.close()
    assert header.columns == ["id", "name"]
    assert content.rows() == [("1", text, 2)]
    assert file.bad_bytes == 0


def test_quotes_can_be_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text('ham\tsay "hi\nspam\t"free\n')
    source = replace(PLAIN, delimiter="\t", quote=None, header=False, columns=("label", "text"))
    file = TextFile(path, "utf-8")
    frames = [frame for frame, _ in read_separated(source, file, None)]
    file.close()
    assert frames[1].rows() == [("ham", 'say "hi', 1), ("spam", '"free', 2)]
