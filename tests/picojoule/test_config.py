import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picojoule.config import ConfigError, RunConfig, load_config, parse_config, to_toml
from picojoule.config.dumping import _table
from picojoule.config.toml_lines import index_lines, line_of

GOOD = """\
name = "small"
[model]
name = "resnet20"
weights = "a.th"
[data]
name = "cifar10"
"""


def problems(text, overrides=(), choices=None):
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "x.toml", overrides, choices)
    return list(caught.value.problems)


def test_defaults_and_values():
    config = parse_config(GOOD + "[tolerance]\nlambda = 0.3\n[select]\nenergy = 0.2\n[prune]\nmacs = 1\n")
    assert config.tolerance.lambda_ == 0.3
    assert config.select.budget == ("energy", 0.2)
    assert config.prune is not None and config.prune.macs == 1.0
    assert config.retrain is None
    assert parse_config(GOOD).select.budget == ("max_loss", 1.0)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1


def test_every_error_with_its_line():
    text = """\
# a comment with [brackets] and = signs
[model]
nme = "a" # name misspelt
[data]
name = "digits"
batch_size = "3"
validation_images = 0
[prune]
mac = 0.5
macs = 1.5
[select]
operands = [
    "affine", # fine
    "affin",
]
max_loss = 1
energy = 0.2
[retrain]
epochs = 2.5
[model.options]
a = [1]
[selct]
x = 1
"""
    assert problems(text) == [
        "x.toml:2: model.name: missing; it has no default",
        "x.toml:3: model.nme: unknown key; did you mean 'name'?",
        'x.toml:6: data.batch_size: expected a valid integer, got "3"',
        "x.toml:7: data.validation_images: expected greater than or equal to 1, got 0",
        "x.toml:9: prune.mac: unknown key; did you mean 'macs'?",
        "x.toml:10: prune.macs: expected less than or equal to 1, got 1.5",
        "x.toml:11: select: expected only one of max_loss, energy",
        "x.toml:14: select.operands[1]: expected 'sign-magnitude', 'sign-magnitude-9', 'affine' or 'signed', "
        'got "affin"',
        "x.toml:19: retrain.epochs: expected a valid integer, got 2.5",
        "x.toml:21: model.options.a: expected a number, a text, true or false, got [1]",
        "x.toml:22: selct: unknown key; did you mean 'select'?",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["x.toml: model: missing section [model]", "x.toml: data: missing section [data]"]),
        ("a b", ["x.toml:1: broken TOML: expected '=' after a key in a key/value pair (column 3)"]),
        ('a = "x\nb=1', ["x.toml:1: broken TOML: illegal character '\\n' (column 7)"]),
        ("a = 1\na = 2", ["x.toml:2: broken TOML: cannot overwrite a value"]),
        ("a = [1,\n", ["x.toml:1: broken TOML: invalid value"]),
    ],
)
def test_broken_files(text, expected):
    assert problems(text) == expected


def test_missing_file_folder_and_bytes(tmp_path):
    for path, what in ((tmp_path / "no.toml", "no such file or directory"), (tmp_path, "is a directory")):
        with pytest.raises(ConfigError, match=what) as caught:
            load_config(path)
        assert len(caught.value.problems) == 1
    binary = tmp_path / "b.toml"
    binary.write_bytes(b'a = 1\nb = "\xff"\n')
    with pytest.raises(ConfigError, match=r"b\.toml:2: broken TOML: the file is not UTF-8"):
        load_config(binary)


def test_a_mistake_inside_a_list_is_said_once():
    assert problems(GOOD + '[select]\noperands = ["affin"]\n') == [
        "x.toml:8: select.operands[0]: expected 'sign-magnitude', 'sign-magnitude-9', 'affine' or 'signed', "
        'got "affin"'
    ]


def test_sections_that_contradict_themselves():
    assert problems(GOOD + "[select]\nmax_loss = 1\nenergy = 0.5\n") == [
        "x.toml:7: select: expected only one of max_loss, energy"
    ]
    assert problems(GOOD + "[tolerance]\nsigma_init = 0.6\n") == [
        "x.toml:7: tolerance: sigma_init 0.6 is above sigma_max 0.5"
    ]
    assert "no weights" in problems('[model]\nname="a"\n[data]\nname="b"')[0]
    assert problems(GOOD + "[prune]\nmacs = nan\n")[0].startswith("x.toml:8: prune.macs: expected a finite number")
    assert problems(GOOD.replace("small", "../small"))[0].startswith("x.toml:1: name: expected text that matches")
    assert problems("seed = true\n" + GOOD)[0] == "x.toml:1: seed: expected a valid integer, got true"
    assert problems('prune = "yes"\n' + GOOD)[0].startswith("x.toml:1: prune: expected ")


def test_overrides():
    config = parse_config(
        GOOD, overrides=["prune.macs=0.4", "model.name=demo-cnn", 'data.root = "a b"', "seed=3", "seed=4"]
    )
    assert config.prune is not None and config.prune.macs == 0.4
    assert (config.model.name, config.data.root, config.seed) == ("demo-cnn", "a b", 4)
    assert set(problems(GOOD, ["prune.mac=2", "prune.macs=7", "data.batch_size=x"])) == {
        "--set prune.mac=2: prune.mac: unknown key; did you mean 'macs'?",
        "--set prune.macs=7: prune.macs: expected less than or equal to 1, got 7",
        '--set data.batch_size=x: data.batch_size: expected a valid integer, got "x"',
    }
    assert problems(GOOD, ["seed", "name.x=1", "=3"]) == [
        "--set seed: expected section.key=value",
        "--set name.x=1: name is a value, not a section",
        "--set =3: expected section.key=value",
    ]
    assert problems(GOOD, ["select.max_loss=2", "select.energy=1"]) == [
        "--set select.max_loss=2 --set select.energy=1: select: expected only one of max_loss, energy"
    ]


def test_choices():
    choices = {"model.name": ["resnet20", "*:*"], "deploy.targets": ["onnx", "cortex-m4"]}
    assert parse_config(GOOD, choices=choices).model.name == "resnet20"
    assert parse_config(GOOD.replace("resnet20", "my.module:make"), choices=choices).model.name == "my.module:make"
    text = GOOD.replace("resnet20", "resnet2") + '[deploy]\ntargets = ["onnx",\n"cortex"]\n'
    assert problems(text, choices=choices) == [
        "x.toml:3: model.name: unknown name 'resnet2'; did you mean 'resnet20'?",
        "x.toml:9: deploy.targets[1]: unknown name 'cortex'; did you mean 'cortex-m4'?",
    ]


names = st.text(min_size=1, max_size=12)
options = st.dictionaries(
    names, st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | names
)


@settings(max_examples=60)
@given(options, names, st.lists(names, max_size=4), st.floats(1e-9, 1.0))
def test_round_trip(values, weights, keep, macs):
    config = RunConfig.model_validate(
        {
            "model": {"name": "m", "weights": weights, "options": values},
            "data": {"name": "digits"},
            "prune": {"macs": macs, "keep": tuple(keep)},
            "retrain": {"epochs": 3},
        }
    )
    text = to_toml(config)
    assert parse_config(text) == config
    assert to_toml(parse_config(text)) == text


tree = st.recursive(
    st.integers() | st.booleans() | st.text(max_size=8) | st.lists(st.integers() | st.text(max_size=5), max_size=3),
    lambda inner: st.dictionaries(st.text(max_size=6), inner, min_size=1, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150)
@given(st.dictionaries(st.text(max_size=6), tree, max_size=5))
def test_line_index_knows_every_key(values):
    """Each line of a dumped document, read alone, is the key that the index puts on it."""
    out = []
    _table((), values, out)
    text = "\n".join(out)
    assert tomllib.loads(text) == values
    lines = index_lines(text)
    written = text.split("\n")

    def check(path, value):
        if isinstance(value, dict):
            for key, inner in value.items():
                check((*path, key), inner)
        else:
            alone = tomllib.loads(written[lines[path] - 1])
            assert alone == {path[-1]: value}

    check((), values)


def test_line_index_of_awkward_toml():
    text = '''\
"a.b" = """
[not.a.table]
x = 1 # ] } "" """"
c."d e".f = { g = 1, h = [ 2, { i = 3 } ] } # { [
'q"t' = '\\'
[[t]]
k = 1979-05-27T07:32:00Z
[[t]]
[t.sub]
k = -0.5e-3
[x . y]
z = [
  # comment with "quote
  "]", \'\'\'
multi # not a comment
\'\'\',
  [1, 2],
]
'''
    tomllib.loads(text)
    lines = index_lines(text)
    assert lines[("a.b",)] == 1
    assert lines[("c", "d e", "f", "g")] == lines[("c",)] == 4
    assert lines[("c", "d e", "f", "h", 1, "i")] == 4
    assert lines[('q"t',)] == 5
    assert lines[("t", 0, "k")] == 7
    assert lines[("t", 1)] == 8
    assert (lines[("t", 1, "sub")], lines[("t", 1, "sub", "k")]) == (9, 10)
    assert (lines[("x",)], lines[("x", "y")], lines[("x", "y", "z")]) == (11, 11, 12)
    assert (lines[("x", "y", "z", 0)], lines[("x", "y", "z", 1)], lines[("x", "y", "z", 2, 1)]) == (14, 14, 17)
    assert line_of(lines, ("x", "y", "w", 3)) == 11
    assert line_of(lines, ("nowhere",)) is None
