"""What is written for people is true: config.toml equals the defaults."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

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
