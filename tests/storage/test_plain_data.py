import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmlm.errors import AlignMLMError, CheckpointError, ConfigError, DataError
from alignmlm.storage.plain_data import (
    merged,
    parse_json,
    read_json,
    read_layered_yaml,
    read_yaml,
)
from alignmlm.storage.plain_yaml import parse_yaml, yaml_text


def yaml(text):
    return parse_yaml(text, "r.yaml", ConfigError)


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1.0e-3", 0.001), ("-.5", -0.5), ("-0.0", -0.0), ("+7", 7), ("0x1F", 31),
        ("1_000", 1000), ("true", True), ("~", None), ("''", ""), (".inf", float("inf")),
        ("no", "no"), ("on", "on"), ("010", "010"), ("1:30", "1:30"), ("2024-01-01", "2024-01-01"),
        ("'3'", "3"), ("1.2.3", "1.2.3"), ("0x", "0x"), ("-", [None]), ("=", "="), ("-x", "-x"),
    ],
)  # fmt: skip
def test_a_yaml_scalar_has_the_type_that_yaml_1_2_gives_it(text, value):
    found = yaml(f"a: {text}" if text != "-" else "a:\n- ")["a"]
    assert found == value and type(found) is type(value)


def test_yaml_keys_are_text_as_written():
    assert yaml("{no: 1, 0: 2, true: 3, 1e3: 4, '': 5}") == {
        "no": 1, "0": 2, "true": 3, "1e3": 4, "": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: !!python/object/apply:os.system [id]", "r.yaml:2: tag = 'tag:yaml.org,2002:pyt"),
        ("a: !Popen {args: id}", "r.yaml:1: tag = '!Popen', but it must be left out"),
        ("a: !!str 3", "r.yaml:1: tag = "),
        ("!<tag:x> a: 3", "r.yaml:1: tag = "),
        ("a: ! x", "r.yaml:1: tag = '!'"),
        ("!!python/name:os.system a: 3", "r.yaml:1: tag = "),
        ("a: 1\nb: &lol [x]", "r.yaml:2: anchor = '&lol'"),
        ("a: *lol", "r.yaml:1: alias = '*lol'"),
        ("{*lol : 3}", "r.yaml:1: alias = '*lol'"),
        ("a:\n  <<: {x: 1}", "r.yaml:2: key = '<<'"),
        (
            "a: 1\nb: 2\na: 3",
            "r.yaml:3: key = 'a', but it must occur only once in its section; line 1",
        ),
        ("? [a, b]\n: 3", "r.yaml:1: key = 'a list or mapping', but it must be text"),
        ("a: 1\n---\nb: 2", "r.yaml:2: document = '---'"),
        ("x: [" + "[" * 70, "r.yaml:1: nesting = '65 levels'"),
        ("a: " + "9" * 5000, "r.yaml:1: number = '999"),
        ("a: 1\nb: [1, 2", r"r.yaml:2.* be YAML \(expected ',' or ']'"),
        ("a: 1\n\tb: 2", r"r.yaml:2.* be YAML \("),
        ('a: "\\ud800"', r"r.yaml: text = '\\ud800', but it must have no lone surrogate \(U\+D800"),
        ('a: "\\U00110000"', "r.yaml: text = .* be YAML"),
        ("a: \0", r"r.yaml:1 = 'a: \\x00', but it must be YAML \(U\+0000 may not"),
    ],
)
def test_yaml_that_is_more_than_plain_data_is_refused_by_name(text, message):
    with pytest.raises(ConfigError, match=message.replace("*lol", r"\*lol")):
        yaml(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "m.json: key = 'c', but it must occur only once"),
        ('{"a": 1,\n "b": NaN}', "m.json: number = 'NaN', but it must be finite"),
        ('{"a": -Infinity}', "m.json: number = '-Infinity'"),
        ('{"a": 1e999}', "m.json: number = '1e999'"),
        ('{"a": "\\uDC00"}', r"m.json: text = .*lone surrogate \(U\+DC00"),
        ('{"\\ud800": 1}', "m.json: text = .*lone surrogate"),
        ("[" * 70 + "]" * 70, "m.json: nesting = 'more than 64 levels'"),
        ("[" * 100_000, "m.json: nesting = "),
        ('{"a":' * 100_000, "m.json: nesting = "),
        ("9" * 5000, "m.json: number = 'thousands of digits'"),
        ('{"a": 1,\n"b" 2}', r"m.json:2 = '\"b\" 2}', but it must be JSON"),
        (b'{"a":\n"\xff"}', r"m.json:2 = .* be UTF-8"),
        ("", r"m.json:1 = '', but it must be JSON"),
    ],
)
def test_json_that_is_more_than_plain_data_is_refused_by_name(text, message):
    with pytest.raises(DataError, match=message):
        parse_json(text, "m.json")


def test_records_of_what_was_measured_may_hold_numbers_that_are_not_finite():
    assert str(parse_json("[NaN, Infinity]", "m", nan=True)) == "[nan, inf]"


def test_a_pair_of_surrogates_is_one_character():
    assert parse_json('"\\ud83d\\ude00"', "m") == "😀"


@pytest.mark.parametrize("read", [read_yaml, read_json])
def test_a_byte_order_mark_is_skipped(read, tmp_path):
    assert read(write(tmp_path / "x", b'\xef\xbb\xbf{"a": 1}')) == {"a": 1}


@pytest.mark.parametrize("read", [read_yaml, read_json])
@pytest.mark.parametrize("kind", [ConfigError, DataError, CheckpointError])
def test_what_is_no_mapping_or_no_file_is_an_error_of_the_kind_asked_for(read, kind, tmp_path):
    for path in (write(tmp_path / "x", "[1]"), tmp_path / "nowhere", tmp_path, Path("a\0b")):
        with pytest.raises(kind, match=r"x = \[1\].* mapping|file = .* be an existing file"):
            read(path, kind)


def test_a_file_that_is_too_large_is_refused_before_it_is_parsed(tmp_path):
    with pytest.raises(ConfigError, match="have at most 1 MiB"):
        read_yaml(write(tmp_path / "x", "# " + "x" * 2**20))


def test_an_endless_file_is_refused():
    with pytest.raises(ConfigError, match="have at most 1 MiB"):
        read_yaml(Path("/dev/zero"))


def test_an_empty_yaml_file_is_an_empty_mapping(tmp_path):
    assert read_yaml(write(tmp_path / "x", "# nothing\n")) == {}


def test_an_error_does_not_quote_a_long_value_whole():
    with pytest.raises(DataError) as caught:
        parse_json("x" * 10_000, "m")
    assert len(str(caught.value)) < 500


def test_included_files_are_the_lower_layers(tmp_path):
    write(tmp_path / "base.yaml", "a: 1\n")
    path = write(tmp_path / "r.yaml", "include: base.yaml\nb: 2\n")
    assert read_layered_yaml(path) == [
        (str(tmp_path / "base.yaml"), {"a": 1}),
        (str(path), {"b": 2}),
    ]


def test_files_that_include_each_other_are_refused(tmp_path):
    write(tmp_path / "a.yaml", "include: ./b.yaml\n")
    write(tmp_path / "b.yaml", "include: ../" + tmp_path.name + "/a.yaml\n")
    with pytest.raises(ConfigError, match="not include itself"):
        read_layered_yaml(tmp_path / "a.yaml")


def test_an_include_that_is_no_path_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"r\.yaml: include = \['a'\]"):
        read_layered_yaml(write(tmp_path / "r.yaml", "include: [a]\n"))


def test_merging_goes_into_mappings_and_replaces_everything_else():
    below = {"a": {"x": 1, "y": [1]}, "b": 1}
    assert merged(below, {"a": {"y": [2]}, "b": {"z": 3}}) == {
        "a": {"x": 1, "y": [2]}, "b": {"z": 3},
    }  # fmt: skip
    assert below == {"a": {"x": 1, "y": [1]}, "b": 1}


texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["1e3", "0x1f", "no", "null", "~", "08", "1_0", "<<", "=", "2024-01-01", ".inf", "!x", "&a"]
)
finite = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
pieces = st.sampled_from(
    ["a", ": ", "\n", "  ", "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "!", "!!python/name:x",
     "|", ">", "'", '"', "\\", "#", "%", "---", "...", "<<", "? ", "1e9", "0x", "\ufeff", "\\ud800",
     "\t", "\x85", "NaN", "null", "9" * 400, "@", "`", "~", "é"]
)  # fmt: skip


def check_round_trip(value):
    assert yaml(yaml_text({"a": value})) == {"a": value}
    assert parse_json(json.dumps(value), "m") == value


def is_plain(value):
    if isinstance(value, dict):
        return all(type(k) is str and is_plain(v) for k, v in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    return value is None or type(value) in (str, int, float, bool)


def check_nothing_but_plain_data_or_our_error(text):
    for parse in (parse_yaml, parse_json):
        try:
            found = parse(text, "f", DataError)
        except AlignMLMError as error:
            assert len(str(error).splitlines()) <= 10
        else:
            assert is_plain(found)


@settings(max_examples=150, deadline=None)
@given(plain)
def test_plain_data_survives_yaml_and_json(value):
    check_round_trip(value)


hostile = st.lists(pieces, max_size=25).map("".join) | st.binary(max_size=30).map(
    lambda data: data.decode("latin-1")
)


@settings(max_examples=150, deadline=None)
@given(hostile)
def test_any_text_is_plain_data_or_refused(text):
    check_nothing_but_plain_data_or_our_error(text)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(plain)
def test_plain_data_survives_yaml_and_json_10_000_times(value):
    check_round_trip(value)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(hostile)
def test_any_of_10_000_texts_is_plain_data_or_refused(text):
    check_nothing_but_plain_data_or_our_error(text)
