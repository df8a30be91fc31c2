from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.replay.relay.rows import elements

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
BLANKS = st.text(alphabet=" \t\n\r", max_size=2)


@given(st.lists(JSON, max_size=6), st.booleans(), st.data())
def test_the_slices_are_the_elements_as_they_lay(values: list[object], escaped: bool, data: st.DataObject) -> None:
    slices = [json.dumps(value, ensure_ascii=escaped) for value in values]
    between = [data.draw(BLANKS) + each + data.draw(BLANKS) for each in slices]
    text = data.draw(BLANKS) + "[" + (",".join(between) if between else data.draw(BLANKS)) + "]" + data.draw(BLANKS)
    assert json.loads(text) == values
    assert [each for each, _ in elements(text)] == slices


@given(st.text(alphabet='[]{},:"\\ 01a.-eE\n\ttrufalsn'))
def test_what_it_takes_apart_is_json_and_what_it_refuses_is_none(text: str) -> None:
    try:
        expected = json.loads(text)
    except (ValueError, RecursionError):
        expected = None
    if isinstance(expected, list):
        assert [json.loads(each) for each, _ in elements(text)] == expected
    else:
        with pytest.raises(ValueError):
            list(elements(text))


def test_texts_of_numbers_keys_and_escapes_stay_as_they_are() -> None:
    rows = ['{"b":4300.0,"a":1e400}', r'{"s":"\u00e9\/é"}', '{"n" : -0.00}', "9" * 5000, "NaN"]
    assert [each for each, _ in elements("[" + ",".join(rows) + "]")] == rows


@pytest.mark.parametrize("text", ["", "[", "]", "{}", "[1", "[1,]", "[,1]", "[1]]", "[1] x", "[1 2]", "[" * 100_000])
def test_anything_else_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        list(elements(text))


def test_captured_frames_come_apart_into_their_rows() -> None:
    found = list((Path(__file__).parents[2] / "frames").rglob("quotes*.json"))
    assert found
    for path in found:
        text = path.read_text().rstrip("\n")
        assert "[" + ",".join(each for each, _ in elements(text)) + "]" == text
