"""Sizes: by name, from TOML, and every mistake in them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from sextant.decoder.config import SIZES, DecoderConfig, from_mapping, named_config, vocab_for
from sextant.decoder.mesh import Degrees
from sextant.decoder.pipeline import stage_parts
from sextant.decoder.sharding import (
    TABLE,
    Style,
    num_parameters,
    parameter_shapes,
    row_of,
    split_shape,
)
from sextant.errors import InputError

EXPERTS = DecoderConfig(
    vocab=64,
    hidden=32,
    layers=3,
    heads=4,
    kv_heads=2,
    head_dim=8,
    ffn=48,
    context=16,
    tied=False,
    experts=4,
    active_experts=2,
    expert_ffn=24,
    shared_experts=1,
    dense_layers=1,
)


def test_names_are_about_what_they_say() -> None:
    told = {"10m": 10e6, "124m": 124e6, "1b": 1.236e9}
    assert {name: num_parameters(SIZES[name]) for name in told} == pytest.approx(told, rel=0.01)


def test_a_toml_file_speaks_as_a_workload_does(tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text(
        "[model]\nlayers = 2\nhidden = 64\nheads = 4\nffn = 128\nvocab = 100\nsequence = 32\n"
        "tied_embeddings = false\n"
    )
    config = named_config(str(path))
    assert (config.kv_heads, config.head_dim, config.context, config.tied) == (4, 16, 32, False)


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("layrs = 2", "layrs"),
        ("layers = 2.5", "layers"),
        ("layers = 0", "layers"),
        ("heads = 3", "heads"),
        ("kv_heads = 3", "kv_heads"),
        ("head_dim = 7", "head_dim"),
        ("experts = 4\nactive_experts = 5\nexpert_ffn = 8", "active_experts"),
        ("experts = 4", "expert_ffn"),
        ("tied_embeddings = 1", "tied"),
        ('balance = "luck"\nexperts = 2\nactive_experts = 1\nexpert_ffn = 8', "balance"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, line: str, where: str) -> None:
    keys = {"layers": 2, "hidden": 64, "heads": 4, "ffn": 128, "vocab": 100, "sequence": 32}
    given = {part.split(" = ")[0] for part in line.splitlines()}
    rest = "\n".join(f"{key} = {value}" for key, value in keys.items() if key not in given)
    path = tmp_path / "model.toml"
    path.write_text(f"[model]\n{rest}\n{line}\n")
    with pytest.raises(InputError) as told:
        named_config(str(path))
    assert where in str(told.value)


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError) as told:
        named_config("10n")
    assert told.value.hint == "did you mean 10m?"
    path = tmp_path / "other.toml"
    path.write_text("[corpus]\nrecords = 1\n")
    with pytest.raises(InputError, match=r"no \[model\]"):
        named_config(str(path))
    path.write_text("[model]\nlayers = 2\n")
    with pytest.raises(InputError, match="missing"):
        named_config(str(path))


def test_plain_data_and_back() -> None:
    assert from_mapping(asdict(EXPERTS)) == EXPERTS


def test_a_vocabulary_is_the_tokenizers_where_none_is_stated(tmp_path: Path) -> None:
    assert [vocab_for(num_ids) for num_ids in (500, 512, 513)] == [512, 512, 576]
    assert named_config("10m", 512).vocab == 512
    path = tmp_path / "model.toml"
    sizes = "[model]\nlayers = 2\nhidden = 64\nheads = 4\nffn = 128\nsequence = 32\n"
    path.write_text(sizes)
    assert named_config(str(path), 512).vocab == 512
    path.write_text(sizes + "vocab = 600\n")
    assert named_config(str(path), 512).vocab == 600


def test_a_layout_reads_as_it_is_written() -> None:
    degrees = Degrees.parse("dp=2, tp=2,pp=2")
    assert (degrees.ranks, degrees.data, degrees.describe()) == (8, 2, "pp=2,dp=2,tp=2")
    assert Degrees.parse(degrees.describe()) == degrees
    assert Degrees.parse("1").ranks == 1
    for text in ("dp=two", "dd=2", "dp=2,dp=2", "dp", "dp=0"):
        with pytest.raises(InputError):
            Degrees.parse(text)


@pytest.mark.parametrize(
    ("layout", "what", "nearest"),
    [
        ("tp=3", "3 does not divide 4 heads", "2 does"),
        ("tp=4", "4 does not divide 2 kv_heads", "2 does"),
        ("ep=8", "8 does not divide 4 experts", "4 does"),
        ("dp=3", "3 does not divide a batch of 8 sequences", "2 does"),
        ("pp=4", "4 does not divide 3 layers", "3 does"),
    ],
)
def test_a_layout_that_does_not_divide_names_the_nearest(
    layout: str, what: str, nearest: str
) -> None:
    with pytest.raises(InputError) as told:
        Degrees.parse(layout).check(EXPERTS, batch=8, micro_batch=1, sequence=16)
    assert (told.value.what, told.value.hint) == (what, nearest)


def test_micro_batches_must_divide() -> None:
    Degrees.parse("dp=2").check(EXPERTS, batch=8, micro_batch=2, sequence=16)
    with pytest.raises(InputError, match="micro-batches of 3"):
        Degrees.parse("dp=2").check(EXPERTS, batch=8, micro_batch=3, sequence=16)


def test_every_parameter_has_its_row() -> None:
    rows = {row_of(name) for name in parameter_shapes(EXPERTS)}
    assert rows == set(TABLE)
    with pytest.raises(KeyError):
        row_of("layers.0.something.weight")


def test_a_split_holds_its_share() -> None:
    degrees = Degrees.parse("tp=2,fsdp=2,ep=2")
    shapes = parameter_shapes(EXPERTS)
    for name, shape in shapes.items():
        whole = 1
        for size in shape:
            whole *= size
        part = 1
        for size in split_shape(name, shape, degrees):
            part *= size
        style = row_of(name).style
        ways = {Style.SEQUENCE: 2, Style.EXPERTS: 8}.get(style, 4)
        assert part * ways == whole, name


def test_stages_share_the_work() -> None:
    parts = stage_parts(SIZES["10m"], 4)
    assert [layer for part in parts for layer in part.layers] == list(range(10))
    assert [(part.first, part.last) for part in parts] == [
        (True, False),
        (False, False),
        (False, False),
        (False, True),
    ]
    # The output projection is worth more than two of these layers, so the last stage has fewer.
    assert [len(part.layers) for part in parts] == [3, 3, 3, 1]
