"""What people write where a name is asked for becomes neither a path nor SQL, and is answered with a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from recorder import lifecycle
from recorder.cli import main
from recorder.clock import SECOND_NS, Clock, Moment
from recorder.configuration import load
from recorder.errors import ConfigInvalid
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Stream
from recorder.settings import Journal as JournalSettings

HOSTILE = {
    "a path": "../../etc/passwd",
    "an absolute path": "/etc/passwd",
    "quotes": "a' OR '1'='1",
    "double quotes": 'a"; DROP TABLE messages; --',
    "NUL": "a\0b",
    "lines": "a\nb\r\nc",
    "10 kB": "x" * 10_000,
    "letters of the world": "naïve-株式-🙂",
    "an encoded NUL": "a%00b",
    "a pattern": "*.parquet",
    "an escape": "\x1b]0;title\x07",
}
names = pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)


@pytest.fixture
async def recording(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    journal = Journal.open(data, JournalSettings(commit_interval_ms=1), Clock())
    moment = Moment(1_795_262_400 * SECOND_NS, 1)
    opened = lifecycle.entry("gap.opened", since_ns=moment.utc_ns, cause="closed")
    journal.append(Stream("news", "finlight"), Kind.DATA, 1, [b'{"action":"sendArticle","data":{}}'], Mark.NONE, moment)
    last = journal.append(Stream("news", "finlight"), Kind.LIFECYCLE, 1, [opened], Mark.NONE, moment)
    await journal.wait_durable(last)
    await journal.close()
    return data


def files(folder: Path) -> set[str]:
    """Without those that SQLite makes for whoever reads."""
    every = (str(path.relative_to(folder)) for path in folder.rglob("*"))
    return {name for name in every if not name.endswith(("-wal", "-shm"))}


@names
def test_a_feed_of_a_hostile_name_is_refused_by_its_key(name: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f'[feeds.{json.dumps(name, ensure_ascii=False)}]\nkind = "finance_query.hours"\n', encoding="utf-8"
    )
    with pytest.raises(ConfigInvalid) as refused:
        load(config, None, {})
    (problem,) = refused.value.problems
    assert "is no name for a feed" in problem
    assert len(problem) < 300
    assert "\x1b" not in str(refused.value)
    assert "\0" not in str(refused.value)


@names
def test_options_that_filter_are_values_and_never_sql(name: str, recording: Path, tmp_path: Path) -> None:
    before = files(tmp_path)
    out = tmp_path / "out.csv"
    for words in (
        ["gaps", "--feed", name],
        ["export", "gaps", "--feed", name, "--out", str(out), "--force"],
        ["export", "articles", "--symbol", name, "--out", str(out), "--force"],
        ["export", name, "--out", str(out), "--force"],
        ["export", "gaps", "--from", name, "--out", str(out), "--force"],
    ):
        done = CliRunner().invoke(main, [*words, "--data", str(recording)])
        assert done.exception is None or isinstance(done.exception, SystemExit), (words, done.exception)
        assert "Traceback" not in done.output
        assert "root:" not in done.output
    out.unlink(missing_ok=True)
    assert files(tmp_path) == before
    told = CliRunner().invoke(main, ["gaps", "--json", "--data", str(recording)])
    assert len(json.loads(told.stdout)) == 1, "the tables are still there"


@pytest.mark.parametrize("name", [name for name in HOSTILE.values() if "\0" not in name])  # no argument can hold one
def test_a_data_folder_of_a_hostile_name_is_a_folder_or_a_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["info"], ["gaps"], ["status"], ["verify"]):
        done = CliRunner().invoke(main, [*words, "--data", name])
        assert done.exit_code != 0
        assert done.exception is None or isinstance(done.exception, SystemExit), (words, done.exception)
    assert not files(tmp_path)
