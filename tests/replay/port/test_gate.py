from __future__ import annotations

import pytest

from recorder.replay.port.gate import Gate, is_loopback
from recorder.replay.port.handshake import Handshake

TOKEN = "0123456789abcdef"


def status(gate: Gate, path: str = "/replay", query: dict[str, str] | None = None, **headers: str) -> int:
    named = tuple((name.replace("_", "-"), text) for name, text in headers.items())
    answer = gate(Handshake(path, query or {}, named))
    return 101 if answer is None else answer.status


def test_without_a_token_whoever_is_no_foreign_page_comes_in() -> None:
    assert status(Gate(None, [])) == 101


@pytest.mark.parametrize(
    "given",
    [
        {"Authorization": f"Bearer {TOKEN}"},
        {"authorization": f"bearer  {TOKEN} "},
        {"query": {"token": TOKEN}},
        {"x_api_key": TOKEN},  # what clients of the imitated upstreams can send
        {"query": {"apiKey": TOKEN}},
    ],
)
def test_a_token_is_taken_wherever_a_client_can_send_one(given: dict[str, object]) -> None:
    assert status(Gate(TOKEN, []), **given) == 101  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer \udcff"},
        {"query": {"token": ""}},
        {"query": {"token": TOKEN[:-1]}},
    ],
)
def test_without_the_token_nobody_comes_in_but_to_healthz(given: dict[str, object]) -> None:
    assert status(Gate(TOKEN, []), **given) == 401  # type: ignore[arg-type]
    assert status(Gate(TOKEN, []), "/healthz", **given) == 101  # type: ignore[arg-type]
    assert status(Gate(TOKEN, []), "/healthz/..", **given) == 401  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://localhost:3000", 101),
        ("http://127.0.0.1", 101),
        ("http://[::1]:8080", 101),
        ("https://charts.example.com", 101),
        ("HTTPS://Charts.Example.com", 101),
        ("https://charts.example.com.evil.org", 403),
        ("https://localhost.evil.org", 403),
        ("http://charts.example.com", 403),
        ("null", 403),
        ("", 403),
        ("http://[", 403),
    ],
)
def test_pages_of_this_machine_and_of_allowed_origins_come_in(origin: str, expected: int) -> None:
    assert status(Gate(None, ["https://charts.example.com/"]), Origin=origin) == expected


def test_a_page_needs_the_token_as_well() -> None:
    assert status(Gate(TOKEN, []), Origin="http://localhost") == 401


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "192.168.1.1", "example.com", "localhost.evil.org", "")],
)
def test_loopback_is_this_machine_alone(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


def test_files_of_the_page_need_no_token_and_its_answers_do() -> None:
    gate = Gate(TOKEN, [], ["/", "/page/ask.js"])
    assert status(gate, "/") == status(gate, "/page/ask.js") == 101
    assert status(gate, "/page/coverage.json") == status(gate, "/page/") == status(gate, "/page/ask.js/x") == 401


@pytest.mark.parametrize("host", ["localhost:8765", "127.0.0.1:8765", "[::1]:8765", "recorder.example:443"])
def test_the_page_is_answered_under_names_that_are_known(host: str) -> None:
    assert status(Gate(None, ["https://recorder.example:443"]), "/page/coverage.json", Host=host) == 101


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "localhost.evil.example", "127.0.0.1.evil.example", "["]
)
def test_a_foreign_name_that_points_here_gets_no_answer_from_the_recording(host: str) -> None:
    assert status(Gate(None, []), "/page/coverage.json", Host=host) == 403
    assert status(Gate(TOKEN, []), "/page/coverage.json", Host=host, Authorization=f"Bearer {TOKEN}") == 101
