"""What is written for people is true."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from recorder import __version__
from recorder.cli import main
from recorder.configuration import KINDS
from recorder.settings import Section, Settings

ROOT = Path(__file__).parent.parent
CONFIG = (ROOT / "config.toml").read_text(encoding="utf-8")
EXAMPLES: dict[str, Any] = tomllib.loads(re.sub(r"(?m)^#(?=\S)", "", CONFIG))["feeds"]


def test_config_toml_has_every_key_and_each_is_the_default() -> None:
    given = tomllib.loads(CONFIG)
    defaults = Settings().model_dump(mode="json", exclude={"feeds"})
    assert given == defaults


def test_every_setting_has_a_line_of_reason() -> None:
    bare = [line for line in CONFIG.splitlines() if re.match(r"#?[a-z_]+ = ", line) and "#" not in line[1:]]
    assert [line for line in bare if not line.startswith("#kind")] == []


def test_feed_examples_are_valid_once_their_comment_sign_is_gone() -> None:
    kinds = {feed.kind for feed in Settings.model_validate({"feeds": EXAMPLES}).feeds.values()}
    assert kinds == set(KINDS) - {"finlight.raw"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_feed_examples_show_the_defaults(name: str) -> None:
    model = KINDS[EXAMPLES[name]["kind"]]
    for key, value in EXAMPLES[name].items():
        default = model.model_fields[key].default
        if key not in ("kind", "symbols") and default is not None:
            assert value == default, key


@pytest.mark.parametrize("model", set(KINDS.values()), ids=lambda model: model.__name__)
def test_feed_examples_name_every_key_of_each_kind(model: type[Section]) -> None:
    shown = {key for example in EXAMPLES.values() for key in example}
    assert set(model.model_fields) <= shown


README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = "\n".join(re.findall(r"(?ms)^```sh\n(.*?)^```", README))
# What stands in place of `recorder` in a line is a path to it; what is behind it up to && or the line's end is its own.
LINES = [
    re.split(r"\s[<>]\s", line)[0].strip() for line in re.findall(r"(?m)(?:^|&& |bin/)recorder ([a-z][^\n&]*)", SHELL)
]


@pytest.mark.parametrize("line", LINES)
def test_commands_in_readme_can_be_typed_as_they_stand(line: str) -> None:
    name, *arguments = shlex.split(line, comments=True)
    main.commands[name].make_context(name, arguments)  # raises click.UsageError


def test_readme_shows_every_command() -> None:
    assert {line.split()[0] for line in LINES} == set(main.commands)


def test_readme_has_each_of_the_two_commands_on_one_line() -> None:
    begin = "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt "
    two = [line for line in SHELL.splitlines() if line.startswith(begin)]
    assert [line.removeprefix(begin) for line in two] == [
        ". && .venv/bin/recorder demo",
        "-e '.[test]' && .venv/bin/pytest",
    ]


def test_configuration_in_readme_is_valid() -> None:
    for block in re.findall(r"(?ms)^```toml\n(.*?)^```", README):
        Settings.model_validate(tomllib.loads(block))


def test_readme_knows_every_kind_of_feed() -> None:
    assert set(re.findall(r"(?m)^\| `(f[a-z_.]+)`", README)) == set(KINDS)


def test_links_within_the_repository_lead_somewhere() -> None:
    for paper in (ROOT / "README.md", *ROOT.glob("docs/*.md")):
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", paper.read_text(encoding="utf-8")):
            assert (paper.parent / target).exists(), f"{paper.name}: {target}"


def test_constraints_pin_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = project["dependencies"] + project["optional-dependencies"]["test"]
    pinned = dict(re.findall(r"(?m)^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8").lower()))
    for requirement in map(Requirement, asked):
        assert requirement.specifier.contains(pinned[requirement.name.lower()]), requirement
    assert project["version"] == __version__
