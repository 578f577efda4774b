"""The command line: its order, its exit codes, its messages, and what it does not import."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sextant.cli.main import COMMANDS

Sextant = Callable[..., Any]
Spec = Callable[[str], str]
PUBLISHED = Path(__file__).parents[1] / "published"

ENGINES = {
    "faiss",
    "flwr",
    "onnxruntime",
    "pyarrow",
    "ray",
    "sentence_transformers",
    "sklearn",
    "torch",
    "torchrec",
    "transformers",
    "zenoh",
}
START_S = 0.5


def test_help_lists_the_commands_in_the_order_that_a_person_meets_them(sextant: Sextant) -> None:
    ended = sextant("--help")
    assert ended.code == 0
    listed = re.findall(r"^    (\w+)(?= |$)", ended.out.split("COMMAND\n", 1)[1], flags=re.M)
    assert tuple(listed) == COMMANDS
    assert listed[:6] == ["map", "plan", "budget", "explain", "facts", "probe"]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_s_help_ends_with_an_example(sextant: Sextant, command: str) -> None:
    ended = sextant(command, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert re.search(rf"example: sextant {command}\b", ended.out)


def test_the_book_s_map_to_the_character(sextant: Sextant) -> None:
    ended = sextant("map", "--book")
    assert ended.out == (PUBLISHED / "map-book.txt").read_text(encoding="utf-8")
    assert (ended.code, ended.err) == (0, "")


def test_the_map_in_words(sextant: Sextant) -> None:
    out = sextant("map", "--pairs").out
    assert "⊘" in out.splitlines()[5]
    assert "most alike (largest overlap):" in out
    assert re.search(r"federated-imaging\s+live-moderation\s+overlap 1  distance 4", out)


# --- quick to start, and light ---


def imported(*arguments: str) -> set[str]:
    """The top-level modules that a command imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "sextant", *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    return {
        line.rpartition("|")[2].strip().split(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("map",),
        ("plan", "atlas:web-scale-rag"),
        ("plan", "atlas:live-moderation", "--json"),
        ("budget", "--period", "50 ms", "--round-trip", "8 ms"),
        ("facts", "list"),
    ],
)
def test_no_engine_is_imported(arguments: tuple[str, ...]) -> None:
    modules = imported(*arguments)
    assert "sextant" in modules
    assert not modules & (ENGINES | {"numpy", "PIL"})


def test_the_layout_search_needs_numpy_and_no_engine() -> None:
    assert not imported("plan", "atlas:foundation-pretraining") & (ENGINES | {"PIL"})


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of an installed package, whose modules are compiled once and kept."""
    kept = str(tmp_path_factory.mktemp("compiled"))
    return os.environ | {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": kept}


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("plan", "atlas:web-scale-rag"), ("plan", "atlas:foundation-pretraining")],
)
def test_a_command_answers_within_half_a_second(
    installed: dict[str, str], arguments: tuple[str, ...]
) -> None:
    """In processor time, the best of a few runs, for a busy machine must not fail it."""
    runs = (processor_s(installed, "-m", "sextant", *arguments) for _ in range(6))
    assert any(seconds < START_S for seconds in runs)


def processor_s(environment: dict[str, str], *arguments: str) -> float:
    """Seconds of the processor that a Python process takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *arguments]
    subprocess.run(command, stdout=subprocess.DEVNULL, timeout=60, check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


# --- exit 2: what the user wrote is wrong ---


def test_a_misspelt_key_is_met_with_the_right_one(sextant: Sextant, spec: Spec) -> None:
    path = spec("[corpus]\nrecord = 5")
    error, hint = sextant("plan", path).failed(2)
    assert error == f"{path}: corpus.record: unknown key (and 1 more)"
    assert hint == "did you mean 'records'?"


@pytest.mark.parametrize("command", ["plan", "map", "rehearse", "drill"])
def test_a_missing_file(sextant: Sextant, command: str) -> None:
    error, hint = sextant(command, "missing.toml").failed(2)
    assert error == "missing.toml: no such file or directory"
    assert "atlas:NAME" in hint


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"[corpus", "not valid TOML"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"", "at least one table"),
        (b"#" * 2_000_000, "over 1 MB"),
        (b"\x7fELF\x02\x01", "not"),
    ],
    ids=["torn", "binary", "empty", "huge", "program"],
)
def test_a_file_that_is_no_workload(
    sextant: Sextant, tmp_path: Path, content: bytes, what: str
) -> None:
    path = tmp_path / "product.toml"
    path.write_bytes(content)
    error, _ = sextant("plan", str(path)).failed(2)
    assert error.startswith(f"{path}: ")
    assert what in error


def test_a_name_that_is_not_unicode_is_no_bug(sextant: Sextant, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.toml")
    path.write_text("[corpus]\nrecords = 1", encoding="utf-8")
    assert sextant("plan", str(path), "--json").code in (0, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (("plan", "atlas:web-scale-rug"), "the atlas has no", "atlas:web-scale-rag"),
        (("plan", "atlas:drone-swarm", "--machine", "h1oo"), "no such machine", "'h100'"),
        (("map", "--only", "drone-sworm"), "the atlas has no", "'drone-swarm'"),
        (("facts", "show", "h1oo"), "no such fact", "'h100'"),
        (("explain", "atlas:web-scale-rag", "index_raw"), "the plan has no", "index_raw_bytes"),
        (("budget", "--period", "50 parsecs", "--round-trip", "1 s"), "--period", "50 ms"),
        (("budget", "--period", "0 s", "--round-trip", "1 s"), "--period", "50 ms"),
        (("budget", "--period", "1 s"), "--round-trip", "--help"),
        (("map", "--figure", "map.gif"), ".svg or .png", ""),
        (("map", "--figure", "/nowhere/map.svg"), "cannot write", ""),
        (("plan", "atlas:drone-swarm", "--html", "/nowhere/plan.html"), "cannot write", ""),
        (("plan",), "SPEC", "--help"),
        (("sail",), "invalid choice", "--help"),
        ((), "COMMAND", "--help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_input_is_met_with_what_to_do(
    sextant: Sextant, arguments: tuple[str, ...], error: str, hint: str
) -> None:
    said, advice = sextant(*arguments).failed(2)
    assert error in said
    assert hint in advice


# --- exit 3: the tightest constraint is named ---

INFEASIBLE = {
    "a loop shorter than its own computing": (
        "[agents]\ncount = 5\ncontrol_period = '50 ms'\nperceive_time = '60 ms'",
        r"control period: 60 ms to perceive .* longer than the 50 ms",
    ),
    "a round shorter than its transfer": (
        "[model]\nparameters = '1 billion'\ndtype = 'fp32'\n"
        "[sites]\ncount = 9\nmay_export = false\nlink = '10 Mbit/s'\nround_deadline = '1 min'",
        r"round",
    ),
    "a training run that its fleet cannot end in time": (
        "[model]\nlayers = 126\nhidden = 16384\nheads = 128\nkv_heads = 8\n"
        "[training]\ntokens = '15 trillion'\nfinish_within = '1 day'\n"
        "[fleet]\nmachine = 'h100'\ncount = 128",
        r"compute: 1,024 accelerators need .* and may take 24 h",
    ),
    "a batch that its ranks cannot share": (
        "[model]\nlayers = 126\nhidden = 16384\nheads = 128\nkv_heads = 8\n"
        "[training]\ntokens = '15 trillion'\nglobal_batch = 977\n"
        "[fleet]\nmachine = 'h100'\ncount = 128",
        r"divisibility: 1,024 accelerators .* 977 sequences, 126 layers and 128 heads",
    ),
    "a state that its fleet cannot hold": (
        "[model]\nlayers = 126\nhidden = 16384\nheads = 128\nkv_heads = 8\n"
        "[training]\ntokens = '1 trillion'\nfinish_within = '10 years'\n"
        "[fleet]\nmachine = 'h100'\ncount = 2",
        r"memory",
    ),
    "a deadline shorter than any answer": (
        "[model]\nparameters = '70 billion'\n[serving]\nrequests_per_s = 10\ndeadline = '1 ms'",
        r"deadline",
    ),
    "tables larger than their fleet": (
        "[tables]\nrows = 1e12\n[serving]\nrequests_per_s = 10\n[fleet]\ncount = 1",
        r"memory|tables",
    ),
}


@pytest.mark.parametrize("case", INFEASIBLE)
def test_an_infeasible_workload_names_its_tightest_constraint(
    sextant: Sextant, spec: Spec, case: str
) -> None:
    text, constraint = INFEASIBLE[case]
    for json in ([], ["--json"]):
        error, hint = sextant("plan", spec(text), *json).failed(3)
        assert re.search(constraint, error), error
        assert re.search(r"\d", error), "the constraint has its number"
        assert hint


# --- exit 4: an engine is missing, or a system cannot run yet ---


@pytest.mark.parametrize("arguments", [("rehearse", "atlas:web-scale-rag"), ("drill", "rag")])
def test_a_missing_engine_names_the_extra_that_brings_it(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    for engine in ("torch", "ray", "faiss", "zenoh"):
        text = f"raise ModuleNotFoundError(\"No module named '{engine}'\", name='{engine}')"
        (tmp_path / f"{engine}.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "sextant", *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        check=False,
    )
    assert (done.returncode, done.stdout) == (4, ""), done.stderr
    assert re.search(r"^error: (torch|ray|faiss|zenoh) is not installed$", done.stderr, re.M)
    assert done.stderr.endswith("hint: pip install 'sextant[rag]'\n")


@pytest.mark.parametrize("command", ["rehearse", "drill"])
def test_a_system_that_cannot_run_yet_says_so(sextant: Sextant, command: str) -> None:
    error, hint = sextant(command, "atlas:moe-serving").failed(4)
    assert "can be planned" in error
    assert hint


# --- the rest ---


def test_a_traceback_only_for_who_asks(sextant: Sextant) -> None:
    assert "Traceback" not in sextant("plan", "missing.toml").err
    assert "Traceback" in sextant("plan", "missing.toml", "--debug").err


def test_a_reader_that_goes_away_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sextant", "facts", "list", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout
        assert child.stderr
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(30) == 0


def test_a_terminal_without_circles_still_shows_the_map() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sextant", "map"],
        capture_output=True,
        timeout=60,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"web-scale rag" in done.stdout.lower()


def test_an_interrupted_command_exits_130_and_leaves_nothing() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sextant", "probe"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    ) as child:
        time.sleep(1.5)
        os.killpg(child.pid, signal.SIGINT)
        out, err = child.communicate(timeout=30)
        assert child.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert err.rstrip().endswith("error: interrupted")
    with pytest.raises(ProcessLookupError):
        os.killpg(child.pid, 0)


def test_the_version_is_the_package_s(sextant: Sextant) -> None:
    from sextant import __version__

    assert sextant("--version").out == f"sextant {__version__}\n"


def test_figures_and_pages_are_written(sextant: Sextant, tmp_path: Path) -> None:
    for name in ("map.svg", "map.png"):
        assert sextant("map", "--figure", str(tmp_path / name)).code == 0
    assert (tmp_path / "map.svg").read_text(encoding="utf-8").lstrip().startswith("<")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    page = tmp_path / "plan.html"
    assert sextant("plan", "atlas:drone-swarm", "--html", str(page)).code == 0
    text = page.read_text(encoding="utf-8")
    assert "<svg" in text
    assert not re.search(r"(src|href)=[\"']https?://", text), "the page stands alone"
