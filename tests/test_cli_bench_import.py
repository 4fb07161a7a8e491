"""The commands about benchmarks as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys

from typer.testing import CliRunner

from tests.benchmarks.readers.shapes import base64_of, image, write_tsv
from zoomgap.benchmarks.readers import SETS
from zoomgap.cli import app
from zoomgap.errors import UsageError
from zoomgap.storage import Store


def zoomgap(*words):
    command = [sys.executable, "-m", "zoomgap", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def hrbench(path):
    rows = [
        {"index": k, "question": "What color?", "answer": "ABCD"[k], "A": "red", "B": "blue", "C": "green",
         "D": "white", "category": "single", "cycle_category": f"cycle_{k}", "image": base64_of(image(0))}
        for k in range(4)
    ]  # fmt: skip
    return write_tsv(path, [*rows, rows[0] | {"index": 4, "answer": "E"}])


def test_import_tells_what_it_took_and_what_it_refused(tmp_path):
    path, db = hrbench(tmp_path / "hr_bench_4k.tsv"), tmp_path / "z.db"
    shown = zoomgap("bench", "import", "hrbench-4k", tmp_path, "--db", db)
    assert shown.returncode == 0, shown.stderr
    assert "hrbench-4k: imported 4 samples of 5 rows (1 refused), sha256 " in shown.stdout
    assert "the answer is not among the choices" in shown.stdout
    assert "hr_bench_4k.tsv row 5" in shown.stdout
    again = CliRunner().invoke(app, ["bench", "import", "hrbench-4k", str(path), "--db", str(db), "--json"])
    found = json.loads(again.stdout)
    assert list(found) == ["bench", "n", "sha256", "new", "split", "rows", "refused", "reasons", "refusals"]
    assert (found["n"], found["new"], found["rows"], found["refused"]) == (4, False, 5, 1)
    assert found["refusals"][0]["where"] == "hr_bench_4k.tsv row 5"
    with Store.open(db, readonly=True) as store:
        assert [(info.name, info.sha256) for info in store.benchmarks()] == [("hrbench-4k", found["sha256"])]


def test_list_says_what_a_set_is_for(tmp_path):
    path, db = hrbench(tmp_path / "hr_bench_4k.tsv"), tmp_path / "z.db"
    run = CliRunner().invoke

    def split() -> str:
        (row,) = json.loads(run(app, ["bench", "list", "--json", "--db", str(db)]).stdout)
        return row["split"]

    command = ["bench", "import", "hrbench-4k", str(path), "--db", str(db)]
    assert "split: train" not in run(app, command).stdout
    assert split() == ""
    assert "split: train" in run(app, [*command, "--split", "train"]).stdout
    assert split() == "train"
    assert "train" in run(app, ["bench", "list", "--db", str(db)]).stdout


def test_bad_imports_are_one_line(tmp_path):
    path, db = hrbench(tmp_path / "hr_bench_4k.tsv"), tmp_path / "z.db"
    for words, said in (
        (("vstarr", path), "no set is called 'vstarr'"),
        (("vstar", tmp_path / "nowhere"), "does not exist"),
        (("mine", path, "--format", "parquet", "--map", "question"), "--map 'question' is not FIELD=VALUE"),
        (("mine", path, "--format", "parquet", "--fill", "color=red"), "no field 'color'"),
        (("mine", path, "--format", "parquet", "--answers", "words"), "--answers 'words' is not known"),
        (("mine", path, "--format", "parquet", "--box-format", "xyz"), "--box-format 'xyz'"),
        (("mine", path, "--format", "parquet", "--split", "training"), "--split 'training'"),
        (("hrbench-4k", path, "--strict"), "1 of 5 rows are refused"),
    ):
        result = CliRunner().invoke(app, ["bench", "import", *map(str, words), "--db", str(db)])
        assert isinstance(result.exception, UsageError), (words, result.output)
        assert said in str(result.exception)
        assert "\n" not in str(result.exception)


def test_a_bad_import_is_one_line_and_code_2(tmp_path):
    process = zoomgap("bench", "import", "vstar", tmp_path / "nowhere", "--db", tmp_path / "z.db")
    assert process.returncode == 2
    (line,) = process.stderr.strip().splitlines()
    assert line.startswith("zoomgap: '")
    assert "does not exist" in line


def test_the_help_of_import_lists_every_set():
    text = CliRunner().invoke(app, ["bench", "import", "--help"]).output
    assert all(f"\n    {name} " in text for name in SETS)
