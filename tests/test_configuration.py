"""Where settings come from, which one wins, and whether a person can tell from the sentence what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder import configuration
from recorder.configuration import feed_secrets, load, secret
from recorder.errors import ConfigInvalid
from recorder.settings import Settings


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder we are in, with nothing in /etc."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(configuration, "PLACES", (Path("config.toml"), tmp_path / "etc" / "config.toml"))
    (tmp_path / "etc").mkdir()
    return tmp_path


def problems(text: str | bytes, place: Path, **environ: str) -> list[str]:
    file = place / "config.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigInvalid) as caught:
        load(file, None, environ)
    assert str(file) in str(caught.value)
    assert caught.value.exit_code == 2
    return caught.value.problems


def test_without_any_file_the_defaults_hold(place: Path) -> None:
    assert load(None, None, {}) == Settings()


def test_named_file_wins_over_local_over_etc(place: Path) -> None:
    (place / "etc/config.toml").write_text("[seal]\ninterval_s = 1")
    assert load(None, None, {}).seal.interval_s == 1
    (place / "config.toml").write_text("[seal]\ninterval_s = 2")
    assert load(None, None, {}).seal.interval_s == 2
    (place / "other.toml").write_text("[seal]\ninterval_s = 3")
    assert load(Path("other.toml"), None, {}).seal.interval_s == 3


def test_environment_wins_over_file_and_keeps_its_neighbours(place: Path) -> None:
    (place / "config.toml").write_text("[journal]\nretry_s = 2\ncommit_interval_ms = 30")
    settings = load(None, None, {"RECORDER_JOURNAL__COMMIT_INTERVAL_MS": "50", "HOME": "/"})
    assert (settings.journal.commit_interval_ms, settings.journal.retry_s) == (50, 2)


def test_environment_alone_can_declare_a_feed(place: Path) -> None:
    environ = {
        "RECORDER_FEEDS__PRICES__KIND": "finance_query.quotes",
        "RECORDER_FEEDS__PRICES__SYMBOLS": '["AAPL", "^GSPC"]',
    }
    assert load(None, None, environ).feeds["prices"].model_dump()["symbols"] == ["AAPL", "^GSPC"]


def test_data_folder_is_relative_to_who_names_it(place: Path) -> None:
    file = place / "etc/config.toml"
    file.write_text("")
    assert load(file, None, {}).data == place / "etc/data"
    file.write_text('data = "kept"')
    assert load(file, None, {}).data == place / "etc/kept"
    assert load(file, None, {"RECORDER_DATA": "mine"}).data == Path("mine")
    assert load(file, Path("over"), {"RECORDER_DATA": "mine"}).data == Path("over")
    file.write_text('data = "/var/lib/recorder"')
    assert load(file, None, {}).data == Path("/var/lib/recorder")


def test_every_problem_is_told_at_once_with_key_value_and_remedy(place: Path) -> None:
    text = """
    jurnal = 1
    [journal]
    commit_interval_ms = "soon"
    comit_interval_ms = 20
    [seal]
    interval_s = 0
    [feeds.news]
    kind = "finlight"
    ping_seconds = 3
    pong_timeout_s = 10
    [feeds.quotes]
    kind = "finance_query.quote"
    [feeds.prices]
    symbols = ["AAPL"]
    [feeds.Prices]
    kind = "finance_query.quotes"
    symbols = ["A B"]
    """
    assert problems(text, place, RECORDER_LIMITS__FRAME_BYTES_MAX="1") == [
        'journal.commit_interval_ms = "soon": should be a whole number',
        "journal.comit_interval_ms is not a setting; the nearest is commit_interval_ms",
        "seal.interval_s = 0: should be greater than or equal to 0.2",
        'RECORDER_LIMITS__FRAME_BYTES_MAX (limits.frame_bytes_max) = "1": should be greater than or equal to 131072',
        "feeds.news.pong_timeout_s = 10: should be more than ping_s, which is 25.0",
        "feeds.news.ping_seconds is not a setting; the nearest is ping_s",
        'feeds.quotes.kind = "finance_query.quote" is not a kind of feed; the nearest is finance_query.quotes',
        "feeds.prices.kind is missing; it should be one of finlight, finlight.raw, finance_query.quotes, "
        "finance_query.profile, finance_query.market, finance_query.hours",
        "feeds.Prices is no name for a feed: a small letter first, then small letters, digits, _ and -, at most 63",
        'feeds.Prices.symbols.0 = "A B": should be one symbol, without commas, blanks or control characters',
        "jurnal is not a setting; the nearest is journal",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[journal]\nretry_s = \n", "not TOML: Invalid value (at line 2, column 11)"),
        (b"data = '\xff'", "not UTF-8: byte 8"),
        ("journal = 3", "journal = 3: should be a table"),
        ("feeds = 3", "feeds = 3: should be a table"),
        ("[feeds]\nnews = 3", "feeds.news = 3: should be a table"),
        ("data = 3", "data = 3: should be a path"),
        ('data = "a\\u0000b"', 'data = "a\\u0000b": should be a path without control characters'),
        ("[journal]\ncommit_interval_ms = 20.5", "journal.commit_interval_ms = 20.5: should be a whole number"),
        ('[seal]\ninterval_s = "1m"', 'seal.interval_s = "1m": should be a number'),
        ("[replay]\norigins = 5", 'replay.origins = 5: should be an array like ["AAPL", "MSFT"]'),
    ],
)
def test_file_that_is_no_configuration_says_where(text: str | bytes, told: str, place: Path) -> None:
    assert problems(text, place) == [told]


def test_file_that_is_named_must_be_there(place: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"gone\.toml is not usable:\n  cannot be read: No such file"):
        load(Path("gone.toml"), None, {})


def test_file_of_an_editor_that_writes_a_byte_order_mark_is_read(place: Path) -> None:
    (place / "config.toml").write_bytes(b"\xef\xbb\xbf[seal]\ninterval_s = 2")
    assert load(None, None, {}).seal.interval_s == 2


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"RECORDER_COMMIT_INTERVAL": "7"}, "RECORDER_COMMIT_INTERVAL (commit_interval) is not a setting; there are "),
        ({"RECORDER_SEAL__INTERVALS": "7"}, "RECORDER_SEAL__INTERVALS (seal.intervals) is not a setting; the nearest"),
        ({"RECORDER_DATA": "x", "RECORDER_DATA__DIR": "y"}, "RECORDER_DATA__DIR: data is no table"),
        ({"RECORDER_FEEDS__Q__SYMBOLS": "[A"}, 'RECORDER_FEEDS__Q__SYMBOLS: should be an array like ["AAPL", "MSFT"]'),
    ],
)
def test_variables_that_set_nothing_are_errors(environ: dict[str, str], told: str, place: Path) -> None:
    assert problems("", place, **environ)[0].startswith(told)


def test_secrets_and_debug_are_no_settings(place: Path) -> None:
    assert load(None, None, {"RECORDER_SECRET_FINLIGHT": "k", "RECORDER_DEBUG": "1"}) == Settings()


@pytest.mark.parametrize(
    "line",
    [
        'api_key = "hunter2"',
        'secret = "sk_hunter2"',
        'url = "wss://host?apiKey=hunter2"',
        'url = "wss://u:hunter2@host"',
        'url = "hunter2"',
        'url = "ws://host:hunter2"',
    ],
)
def test_key_written_into_the_file_by_mistake_is_refused_and_not_shown(line: str, place: Path) -> None:
    (told,) = problems(f'[feeds.news]\nkind = "finlight"\n{line}', place)
    assert "hunter2" not in told


def test_secret_comes_from_the_environment_or_else_from_systemd(tmp_path: Path) -> None:
    (tmp_path / "finlight").write_text("from systemd\n")
    systemd = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert secret("finlight", {}) is None
    assert secret("other", systemd) is None
    assert secret("finlight", systemd) == "from systemd"
    assert secret("finlight", systemd | {"RECORDER_SECRET_FINLIGHT": " from env "}) == "from env"
    assert secret("finlight", systemd | {"RECORDER_SECRET_FINLIGHT": ""}) == "from systemd"


@pytest.mark.parametrize("value", ["two\nlines", "schlüssel", "nul\x00"])
def test_secret_that_no_header_can_carry_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        secret("finlight", {"RECORDER_SECRET_FINLIGHT": value})
    assert "RECORDER_SECRET_FINLIGHT" in str(caught.value)
    assert value not in str(caught.value)


def test_feed_without_its_secret_says_how_to_set_it() -> None:
    settings = Settings.model_validate(
        {"feeds": {"news": {"kind": "finlight"}, "free": {"kind": "finlight", "secret": ""}}}
    )
    with pytest.raises(ConfigInvalid) as caught:
        feed_secrets(settings, {})
    (told,) = caught.value.problems
    assert "feeds.news" in told
    assert "RECORDER_SECRET_FINLIGHT" in told
    assert "LoadCredential=finlight:" in told
    assert feed_secrets(settings, {"RECORDER_SECRET_FINLIGHT": "k"}) == {"news": "k"}


def test_nothing_to_record_is_a_problem_for_who_wants_to_record() -> None:
    with pytest.raises(ConfigInvalid, match="feeds is empty"):
        feed_secrets(Settings(), {})
