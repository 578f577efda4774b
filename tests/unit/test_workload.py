"""The door: what a user may write, and what is said about what they may not."""

from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from sextant.errors import InputError
from sextant.plan.shapes import shape_of
from sextant.workload import Workload, parse_workload, read_workload

SMALLEST = {
    "corpus": "[corpus]\nrecords = 10",
    "index": "[index]\nvectors = 10",
    "tables": "[tables]\nrows = 10",
    "model": "[model]\nparameters = 10",
    "training": "[model]\nparameters = 10\n[training]\ntokens = 10",
    "serving": "[serving]\nrequests_per_s = 1",
    "agents": "[agents]\ncount = 2",
    "streams": "[streams]\ncount = 2",
    "sites": "[sites]\ncount = 2",
}


def parse(text: str) -> Workload:
    return parse_workload(text, where="product.toml")


def refusal(text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        parse(text)
    return caught.value


@pytest.mark.parametrize("table", SMALLEST)
def test_each_table_alone_is_a_workload(table: str) -> None:
    assert getattr(parse(SMALLEST[table]), table)


def test_units_are_left_at_the_door() -> None:
    workload = parse(
        """
        name = "mine"
        [corpus]
        records = "2x10^9"
        bytes_per_record = "1.5 kB"
        [agents]
        count = 50
        control_period = "50 ms"
        speed = "36 km/h"
        [streams]
        count = "200k"
        bytes_per_s = "2.5 Mbit/s"
        [serving]
        requests_per_s = "10^6/s"
        availability = "99.9%"
        """
    )
    assert workload.name == "mine"
    assert workload.corpus
    assert (workload.corpus.records, workload.corpus.bytes_per_record) == (2e9, 1500)
    assert workload.agents
    assert (workload.agents.control_period, workload.agents.speed) == (0.05, pytest.approx(10))
    assert workload.streams
    assert (workload.streams.count, workload.streams.bytes_per_s) == (2e5, 312_500)
    assert workload.serving
    assert workload.serving.requests_per_s == 1e6
    assert workload.serving.availability == pytest.approx(0.999)


def test_one_model_and_several_models_are_written_alike() -> None:
    assert list(parse("[model]\nparameters = 1").model) == ["model"]
    several = parse("[model.small]\nparameters = 1\n[model.large]\nparameters = '70 B'").model
    assert [(name, model.parameters) for name, model in several.items()] == [
        ("small", 1),
        ("large", 70e9),
    ]


def test_an_index_has_one_vector_a_record_unless_it_says_otherwise() -> None:
    assert parse("[corpus]\nrecords = 70\n[index]").num_vectors == 70
    assert parse("[corpus]\nrecords = 70\n[index]\nvectors = 8").num_vectors == 8


@pytest.mark.parametrize("table", SMALLEST)
def test_an_unknown_key_is_named_with_the_known_ones(table: str) -> None:
    error = refusal(f"{SMALLEST[table]}\nzzzz = 1")
    assert str(error) == f"product.toml: {table}.zzzz: unknown key"
    field = Workload.model_fields[table]
    model = next((a for a in (field.annotation, *get_args(field.annotation)) if _is_model(a)), None)
    assert error.hint
    assert error.hint.startswith("known keys: ")
    if model is not None:
        assert error.hint.removeprefix("known keys: ").split(", ") == list(model.model_fields)


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


@pytest.mark.parametrize(
    ("text", "where", "hint"),
    [
        ("[corpus]\nrecord = 10", "corpus.record", "records"),
        ("[index]\nvectors = 1\ndim = 3", "index.dim", "dims"),
        ("[model.judge]\nparameter = 3", "model.judge.parameter", "parameters"),
        ("[model]\nparameters = 3\nkv_head = 1", "model.kv_head", "kv_heads"),
        ("[agents]\ncount = 2\ncontrol_perod = 1", "agents.control_perod", "control_period"),
        ("[corpus]\nrecords = 1\n[fleet]\nmachin = 'h100'", "fleet.machin", "machine"),
        ("[corpus]\nrecords = 1\n[servng]\nx = 1", "servng", "serving"),
        (
            "[streams]\ncount = 1\n[[streams.stages]]\nname = 'a'\nsecond = 1",
            "streams.stages.0.second",
            "seconds",
        ),
    ],
)
def test_a_misspelt_key_is_met_with_the_right_one(text: str, where: str, hint: str) -> None:
    error = refusal(text)
    assert error.where == f"product.toml: {where}"
    assert error.what.startswith("unknown key")
    assert error.hint == f"did you mean {hint!r}?"


def test_a_misspelt_table_alone_is_met_with_the_right_one() -> None:
    assert refusal("[corpse]\nrecords = 1").hint == "did you mean 'corpus'?"


@pytest.mark.parametrize("text", ["", "# nothing", "name = 'mine'", "[fleet]\nmachine = 'h100'"])
def test_at_least_one_table_is_needed(text: str) -> None:
    assert "at least one table" in refusal(text).what


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[corpus]\nrecords = 0", "corpus.records"),
        ("[corpus]\nrecords = -1", "corpus.records"),
        ("[corpus]\nrecords = true", "corpus.records"),
        ("[corpus]\nrecords = nan", "corpus.records"),
        ("[corpus]\nrecords = inf", "corpus.records"),
        ("[corpus]\nrecords = 1e400", "corpus.records"),
        ("[corpus]\nrecords = 1e28", "corpus.records"),
        ("[corpus]\nrecords = []", "corpus.records"),
        ("[corpus]\nrecords = 1979-05-27", "corpus.records"),
        ("[corpus]\nrecords = '30 parsecs'", "corpus.records"),
        ("[corpus]\nrecords = 1\nbytes_per_record = '30 m'", "corpus.bytes_per_record"),
        ("[corpus]", "corpus.records"),
        ("corpus = 5", "corpus"),
        ("model = 5", "model"),
        ("[[corpus]]\nrecords = 1", "corpus"),
        ("[index]\nvectors = 1\ndims = 1.5", "index.dims"),
        ("[index]\nvectors = 1\ndims = 0", "index.dims"),
        ("[index]\nvectors = 1\nrecall = 0", "index.recall"),
        ("[index]\nvectors = 1\nrecall = 1.01", "index.recall"),
        ("[index]\nvectors = 1\nrecall = nan", "index.recall"),
        ("[index]\nvectors = 1\nrecall = true", "index.recall"),
        ("[index]\nvectors = 1\ndtype = 'fp23'", "index.dtype"),
        ("[serving]\nrequests_per_s = 1\navailability = 1", "serving.availability"),
        ("[sites]\ncount = 2\ndropout = 1", "sites.dropout"),
        ("[sites]\ncount = 2\nmay_export = 'perhaps'", "sites.may_export"),
        ("[agents]\ncount = 2\nperceive_time = '-1 ms'", "agents.perceive_time"),
        ("[tables]\nrows = 1\nzipf_exponent = 5", "tables.zipf_exponent"),
        ("name = ''\n[corpus]\nrecords = 1", "name"),
        ("name = 5\n[corpus]\nrecords = 1", "name"),
        ("[index]", "index.vectors"),
        ("[model]", "model"),
        ("[model.judge]\nlayers = 3", "model.judge"),
        ("[model]\nparameters = 1\nactive_parameters = 2", "model.active_parameters"),
        ("[model]\nparameters = 1\nactive_experts = 2", "model.active_experts"),
        ("[model]\nparameters = 1\nexperts = 2\nactive_experts = 4", "model.active_experts"),
        ("[model]\nlayers = 2\nhidden = 4\ndense_layers = 3", "model.dense_layers"),
        ("[model]\nlayers = 2\nhidden = 4\nheads = 4\nkv_heads = 3", "model.kv_heads"),
        ("[model]\nlayers = 2\nhidden = 4\nheads = 3", "model.heads"),
        ("[training]\ntokens = 1", "training"),
        ("[corpus]\nrecords = 1\n[sources]\n'corpus.dims' = 'x'", "sources"),
        ("[corpus]\nrecords = 1\n[sources]\n'corpus.records.x' = 'x'", "sources"),
        ("[corpus]\nrecords = 1\n[sources]\n'index.dims' = 'x'", "sources"),
    ],
)
def test_what_a_fact_may_not_be_is_said_where_it_stands(text: str, where: str) -> None:
    error = refusal(text)
    assert error.where == f"product.toml: {where}"
    assert 3 < len(error.what) < 400


def test_a_close_value_is_suggested_for_a_misspelt_one() -> None:
    assert refusal("[index]\nvectors = 1\ndtype = 'fp23'").hint == "did you mean 'fp32'?"


def test_a_number_out_of_range_asks_for_its_unit() -> None:
    hint = refusal("[agents]\ncount = 2\ncontrol_period = 0").hint
    assert hint
    assert "unit" in hint


def test_several_mistakes_are_counted() -> None:
    error = refusal("[corpus]\nrecords = -1\nbytes_per_record = -1\nmay_leave_site = 7")
    assert error.what.endswith("(and 2 more)")


@pytest.mark.parametrize(
    "text",
    [
        "[corpus",
        "records = ",
        "a = 1\na = 2",
        "x = " + "[" * 5000,
        "x = " + "9" * 5000,
        "\x00",
        "x = '\x07'",
    ],
)
def test_what_is_not_toml_is_said_to_be_so(text: str) -> None:
    error = refusal(text)
    assert error.what.startswith("not valid TOML")
    assert error.where == "product.toml"


def test_a_file_names_the_workload_unless_it_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "product.toml"
    path.write_text("[corpus]\nrecords = 1", encoding="utf-8")
    assert read_workload(path).name == "product"
    path.write_text("name = 'mine'\n[corpus]\nrecords = 1", encoding="utf-8")
    assert read_workload(path).name == "mine"


def test_a_byte_order_mark_of_a_windows_editor_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "product.toml"
    path.write_bytes(b"\xef\xbb\xbf[corpus]\r\nrecords = 7\r\n")
    workload = read_workload(path)
    assert workload.corpus
    assert workload.corpus.records == 7


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "no such file"),
        (b"\xff\xfe[\x00", "not UTF-8"),
        (b"#" * 1_000_001, "over 1 MB"),
    ],
)
def test_a_file_that_cannot_be_read_is_wrong_input(
    tmp_path: Path, content: bytes | None, what: str
) -> None:
    path = tmp_path / "product.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=what) as caught:
        read_workload(path)
    assert caught.value.where == str(path)


def test_a_directory_is_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="directory"):
        read_workload(tmp_path)


def test_an_endless_file_is_not_read_to_its_end() -> None:
    """A device says that it is empty, so its size cannot be asked beforehand."""
    with pytest.raises(InputError, match="over 1 MB"):
        read_workload(Path("/dev/zero"))


def test_a_workload_is_frozen() -> None:
    workload = parse("[corpus]\nrecords = 1")
    with pytest.raises(ValueError, match="frozen"):
        workload.name = "other"  # type: ignore[misc]


def test_a_model_may_state_latent_attention_windows_and_extra_prediction_layers() -> None:
    text = """
[model]
layers = 61
hidden = 7168
heads = 128
attention = "mla"
query_rank = 1536
kv_rank = 512
rope_head_dim = 64
value_head_dim = 128
sliding_window = 1024
sliding_window_layers = 30
mtp_layers = 1
"""
    shape = shape_of(parse(text).model["model"])
    assert (shape.query_rank, shape.value_head_dim, shape.mtp_layers) == (1536, 128, 1)
    assert (shape.sliding_window, shape.sliding_window_layers) == (1024, 30)
    wrong = refusal(text.replace("sliding_window = 1024", ""))
    assert wrong.what == "sliding_window_layers without sliding_window"
