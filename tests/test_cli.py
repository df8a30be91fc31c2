"""The command line itself: quick, quiet where it should be, and honest in its exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from recorder import __version__, start
from recorder.cli import main
from recorder.errors import DataDirectoryBusy, PartDamaged

ROOT = Path(__file__).parents[1]
HEAVY = ("apscheduler", "duckdb", "pyarrow", "pydantic", "rich", "websockets")


def run(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RECORDER_")}
    command = [sys.executable, "-m", "recorder", *arguments]
    return subprocess.run(command, cwd=cwd, env=kept | environ, capture_output=True, text=True, timeout=60)


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys, recorder.cli as c\n"
        "try: c.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        f"print(sorted(set(sys.modules) & {set(HEAVY)!r}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "Commands:" in done.stdout
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("name", main.commands)
def test_every_command_explains_itself_with_examples(name: str) -> None:
    shown = CliRunner().invoke(main, [name, "--help"])
    assert shown.exit_code == 0
    assert f"\n  recorder {name}" in shown.output or f"watch -n1 recorder {name}" in shown.output


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_that_is_ready_is_what_click_says(option: str, tmp_path: Path) -> None:
    done = run(option, cwd=tmp_path, COLUMNS="120")
    assert (done.stdout, done.stderr) == (start.made(), ""), "python -m recorder.start makes the text anew"


def test_help_fits_a_narrow_terminal(tmp_path: Path) -> None:
    shown = run("--help", cwd=tmp_path, COLUMNS="60").stdout
    assert max(map(len, shown.splitlines())) < 60
    assert "export" in shown


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_what_every_script_asks_is_answered_without_a_command_line(option: str, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from recorder import start\n"
        f"sys.argv = ['recorder', '{option}']\n"
        "start.main()\n"
        "print(sorted({'click', 'typing', 'pathlib'} & set(sys.modules)), file=sys.stderr)\n"
    )
    bare = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}"]
    done = subprocess.run(bare, cwd=tmp_path, capture_output=True, text=True, timeout=60, env={"COLUMNS": "80"})
    assert (done.returncode, done.stderr) == (0, "[]\n")


@pytest.mark.parametrize(
    ("shell", "environ"),
    [
        ("bash", {"COMP_WORDS": "recorder sta", "COMP_CWORD": "1"}),
        ("zsh", {"COMP_WORDS": "recorder sta", "COMP_CWORD": "1"}),
        ("fish", {"COMP_WORDS": "recorder sta", "COMP_CWORD": "sta"}),
    ],
)
def test_shells_complete_commands(shell: str, environ: dict[str, str], tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"_RECORDER_COMPLETE={shell}_source recorder" in readme
    assert "complete" in run(cwd=tmp_path, _RECORDER_COMPLETE=f"{shell}_source").stdout
    assert "status" in run(cwd=tmp_path, _RECORDER_COMPLETE=f"{shell}_complete", **environ).stdout


def test_version_is_told() -> None:
    assert __version__ in CliRunner().invoke(main, ["--version"]).output


@pytest.mark.parametrize(
    "arguments",
    [["chek"], ["check", "--jsn"], ["sql"], ["tail", "-n", "-1"], ["demo", "--for", "0"], ["gaps", "--since", "x"]],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, arguments).exit_code == 2


def test_sql_takes_one_format(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["sql", "SELECT 1", "--json", "--csv"])
    assert done.exit_code == 2
    assert "exclude each other" in done.stderr


def test_wrong_configuration_is_exit_code_2_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[seal]\nintervall_s = 1")
    done = run("check", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "seal.intervall_s is not a setting; the nearest is interval_s" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in run("check", cwd=tmp_path, RECORDER_DEBUG="1").stderr


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Lets `recorder fail` raise what it is given."""

    def prepare(error: BaseException) -> None:
        def fail() -> None:
            raise error

        monkeypatch.setitem(main.commands, "fail", click.Command("fail", callback=fail))

    return prepare


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataDirectoryBusy(Path("data"), "process 7"), 1),
        (PartDamaged(Path("x.parquet"), "cut off"), 3),
        (PermissionError(13, "Permission denied", "data"), 1),
    ],
)
def test_expected_failures_are_one_sentence(
    error: Exception, code: int, failing: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECORDER_DEBUG", raising=False)
    failing(error)
    done = CliRunner().invoke(main, ["fail"])
    assert (done.exit_code, done.stderr, done.stdout) == (code, f"recorder: {error}\n", "")


@pytest.mark.parametrize("error", [ValueError("a mistake of ours"), OSError("about no file")])
def test_mistakes_of_ours_are_not_dressed_up(error: Exception, failing: Callable[[BaseException], None]) -> None:
    failing(error)
    assert CliRunner().invoke(main, ["fail"]).exception is error


def test_reader_that_has_seen_enough_ends_the_command_quietly(tmp_path: Path) -> None:
    program = (
        "import click, recorder.cli as c\n"
        "@c.main.command()\n"
        "def flood() -> int:\n"
        "    while True: print('x' * 1000)\n"
        "c.main(['flood'])"
    )
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout and writer.stderr
    writer.stdout.readline()
    writer.stdout.close()
    assert writer.wait(30) == 0
    assert writer.stderr.read() == b""
    writer.stderr.close()
