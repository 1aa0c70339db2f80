"""Damaged and hostile files: each is read to something valid, refused with a sentence or passed over, and none runs code.

Pickles, image folders, extra data and weights have such tests beside their own: test_unpickle, test_images, test_extra,
test_checkpoints.
"""

import io
import json
import pickle
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from scipy.io import savemat

import hardy
from hardy.data import CIFAR10, STL10, SVHN
from hardy.describe import describe
from hardy.errors import UsageError
from hardy.models.checkpoints import read_weights, save_weights
from hardy.results import Measurement, append, read
from hardy.training.record import read_metrics, read_run, trim_metrics
from hardy.training.run import Run
from hardy.training.state import Checkpoint, Folder
from training.fakes import tiny

FEW = 3  # images of a file here
few_examples = settings(max_examples=40)

# where a file ends early (in 1000ths; mostly not at all), and which of its bits are flipped
damage = st.tuples(
    st.just(1000) | st.integers(0, 999), st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 7)), max_size=4)
)


def spoilt(content: bytes, how: tuple[int, list[tuple[int, int]]]) -> bytes:
    end, flips = how
    made = bytearray(content[: len(content) * end // 1000])
    for place, bit in flips if made else ():
        made[place % len(made)] ^= 1 << bit
    return bytes(made)


@contextmanager
def in_time(seconds: int = 20) -> Iterator[None]:
    """Fails what takes more processor time: a file must not be able to hang its reader."""

    def late(*_: object) -> None:
        raise AssertionError("reading does not come to an end")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


# data sets


@pytest.fixture(scope="module")
def releases(tmp_path_factory) -> Path:
    """A folder with the files of three releases, of a few images each."""
    top = tmp_path_factory.mktemp("releases")
    for folder in ("cifar-10-batches-py", "stl10_binary", "svhn"):
        (top / folder).mkdir()
    labels = list(range(FEW))
    batch = {b"data": np.arange(FEW * 3072).reshape(FEW, 3072).astype(np.uint8), b"labels": labels}
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (top / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(batch, protocol=2))
    meta = pickle.dumps({b"label_names": [b"name %d" % i for i in range(10)]}, protocol=2)
    (top / "cifar-10-batches-py" / "batches.meta").write_bytes(meta)
    for part in ("train", "test"):
        (top / "stl10_binary" / f"{part}_X.bin").write_bytes(bytes(FEW * 27_648))
        (top / "stl10_binary" / f"{part}_y.bin").write_bytes(bytes(label + 1 for label in labels))
        variables = {"X": np.ones((32, 32, 3, FEW), np.uint8), "y": np.array([[1], [2], [10]], np.uint8)}
        savemat(top / "svhn" / f"{part}_32x32.mat", variables, do_compression=part == "test")
    (top / "stl10_binary" / "class_names.txt").write_text("".join(f"name {i}\n" for i in range(10)))
    return top


@pytest.mark.parametrize(
    ("data", "file"),
    [
        (CIFAR10(), "cifar-10-batches-py/data_batch_2"),
        (CIFAR10(), "cifar-10-batches-py/batches.meta"),
        (STL10(first=None), "stl10_binary/train_y.bin"),
        (STL10(first=None), "stl10_binary/test_X.bin"),
        (STL10(first=None), "stl10_binary/class_names.txt"),
        (SVHN(), "svhn/train_32x32.mat"),
        (SVHN(), "svhn/test_32x32.mat"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_damaged_file_of_a_data_set_is_read_or_named(releases, data, file):
    path = releases / file
    whole = path.read_bytes()

    @few_examples
    @given(damage)
    def check(how):
        path.write_bytes(spoilt(whole, how))
        try:
            with in_time():
                splits = data.load(releases, offline=True)
        except UsageError as error:
            assert str(path) in str(error)  # noqa: PT017 - reading may succeed as well
            return
        assert [len(split) for split in splits] == [FEW * (5 if data == CIFAR10() else 1), FEW]
        assert all(len(split.classes) == 10 and int(split.labels.max()) < 10 for split in splits)

    layout = replace(CIFAR10._layout, train_count=FEW, test_count=FEW)
    try:
        with (
            patch.object(CIFAR10, "_layout", layout),
            patch.object(STL10, "_counts", (FEW, FEW)),
            patch.object(SVHN, "_counts", (FEW, FEW)),
        ):
            check()
    finally:
        path.write_bytes(whole)


# a run's folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a run with one checkpoint, best weights and rows."""
    path = tmp_path_factory.mktemp("run")
    folder = Folder(path, tiny(), (1, 8, 8), "abcd", {})
    model = tiny().model.build(4, 1)
    best = folder.save_best(1, 0.5, model.state_dict())
    folder.commit(Checkpoint(1, model.state_dict(), {"state": {}, "param_groups": []}, best=best))
    for step in (1, 2, 3):
        folder.log({"kind": "train", "step": step, "epoch": step / 3, "loss": 0.5, "terms": {"natural": 0.5}})
    append(path / "results.jsonl", [row(0.25), row(0.75)])
    return path


def row(value: float) -> Measurement:
    return Measurement("r", "clean accuracy", value, "fraction", 4, 0.0, 1.0, {"seed": 0}, 0.1, 4, 0, "cpu")


@few_examples
@given(how=damage)
def test_a_damaged_run_json_is_read_or_named(finished, tmp_path_factory, how):
    place = tmp_path_factory.getbasetemp() / "fuzzed-run"
    place.mkdir(exist_ok=True)
    (place / "run.json").write_bytes(spoilt((finished / "run.json").read_bytes(), how))
    try:
        with in_time():
            found = read_run(place)
    except UsageError as error:
        assert str(place / "run.json") in str(error)  # noqa: PT017 - reading may succeed as well
        return
    assert isinstance(found, Run)
    assert describe(found)["name"] == found.name


CLASSES = ("Run", "SmallCNN", "OwnNetwork", "PGD", "Linf", "Extra", "Folder", "Adam", "EMA", "Standard")
HOSTILE = (
    "os.system",
    "builtins.eval",
    "eval",
    "__import__",
    "subprocess.Popen",
    "hardy.cli.train",
    "Path",
    "type",
    "",
)
names = st.sampled_from((*CLASSES, *HOSTILE))
keys = st.sampled_from(("type", "name", "data", "model", "source", "path", "attack", "width", "__class__", "command"))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | names,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys, inner, max_size=4)
        | st.builds(lambda name, fields: {**fields, "type": name}, names, st.dictionaries(keys, inner, max_size=4))
    ),
    max_leaves=8,
)


@few_examples
@given(field=st.sampled_from((None, *Run.__dataclass_fields__)), value=anything)
def test_whatever_run_json_says_is_a_run_or_is_refused(finished, tmp_path_factory, field, value):
    place = tmp_path_factory.getbasetemp() / "hostile-run"
    place.mkdir(exist_ok=True)
    told = json.loads((finished / "run.json").read_text())
    told["run"] = value if field is None else {**told["run"], field: value}
    (place / "run.json").write_text(json.dumps(told))
    try:
        found = read_run(place)
    except UsageError as error:
        assert str(place / "run.json") in str(error)  # noqa: PT017 - reading may succeed as well
        return
    assert isinstance(found, Run)
    assert json.loads(json.dumps(describe(found))) == {**describe(found)}


@few_examples
@given(how=damage, step=st.none() | st.integers(0, 4))
def test_damaged_rows_of_metrics_are_passed_over(finished, tmp_path_factory, how, step):
    place = tmp_path_factory.getbasetemp() / "fuzzed-metrics"
    place.mkdir(exist_ok=True)
    (place / "metrics.jsonl").write_bytes(spoilt((finished / "metrics.jsonl").read_bytes(), how))
    with in_time():
        rows = read_metrics(place)
        trim_metrics(place, step)
    assert all(isinstance(found["step"], int) for found in rows)
    assert read_metrics(place) == [found for found in rows if step is not None and found["step"] <= step]
    if how == (1000, []):
        assert [found["step"] for found in rows] == [1, 2, 3]


@few_examples
@given(how=damage)
def test_damaged_rows_of_results_are_passed_over_and_counted(finished, tmp_path_factory, how):
    path = tmp_path_factory.getbasetemp() / "fuzzed-results.jsonl"
    path.write_bytes(spoilt((finished / "results.jsonl").read_bytes(), how))
    with in_time():
        rows, passed_over = read(path)
    assert all(isinstance(found, Measurement) and asdict(found) for found in rows)
    assert len(rows) <= 2
    if how == (1000, []):
        assert (rows, passed_over) == ([row(0.25), row(0.75)], 0)


def _newest(finished: Path, place: Path, state: bytes) -> Checkpoint | None:
    """The newest checkpoint of a copy of the run whose only state file holds this, and which has no weights to lose."""
    folder = Folder(place, tiny(), (1, 8, 8), "abcd", {})
    folder.checkpoints.mkdir(exist_ok=True)
    for name in ("step-00000001.safetensors", "best-00000001.safetensors"):
        (folder.checkpoints / name).write_bytes((finished / "checkpoints" / name).read_bytes())
    for kind in ("last", "best"):
        (place / f"{kind}.safetensors").unlink(missing_ok=True)
    (folder.checkpoints / "step-00000001.state.pt").write_bytes(state)
    return folder.newest()


@few_examples
@given(how=damage)
def test_a_damaged_state_is_passed_over(finished, tmp_path_factory, how):
    whole = (finished / "checkpoints" / "step-00000001.state.pt").read_bytes()
    with in_time():
        found = _newest(finished, tmp_path_factory.getbasetemp() / "fuzzed-state", spoilt(whole, how))
    assert found is None or found.best["value"] == 0.5
    if how == (1000, []):
        assert found is not None


@few_examples
@given(field=st.sampled_from((None, "digest", "best", "average", "pending")), value=anything, lacks=st.booleans())
def test_a_state_of_another_form_is_passed_over(finished, tmp_path_factory, field, value, lacks):
    state = torch.load(finished / "checkpoints" / "step-00000001.state.pt", weights_only=True)
    if lacks:
        state.pop(field, None)
    elif field in ("digest", "best"):
        state[field] = value
    made = io.BytesIO()
    torch.save(value if field is None else state, made)
    found = _newest(finished, tmp_path_factory.getbasetemp() / "other-state", made.getvalue())
    changed = field is None or lacks or field == "digest" or (field == "best" and value is not None)
    assert (found is None) == changed


# nothing runs


class Command:
    """A pickle of it creates a file when it is opened without care."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("place", ["whole", "optimizer", "best", "pending"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_that_would_run_code_is_passed_over_and_runs_none(finished, tmp_path, place, zipped):
    state = torch.load(finished / "checkpoints" / "step-00000001.state.pt", weights_only=True)
    hostile = Command(tmp_path / "hacked") if place == "whole" else {**state, place: Command(tmp_path / "hacked")}
    made = io.BytesIO()
    torch.save(hostile, made, _use_new_zipfile_serialization=zipped)
    assert _newest(finished, tmp_path / "run", made.getvalue()) is None
    assert not (tmp_path / "hacked").exists()
    with io.BytesIO(made.getvalue()) as file:  # it is what it is said to be
        torch.load(file, weights_only=False)
    assert (tmp_path / "hacked").exists()


@pytest.mark.parametrize("file", ["../../elsewhere", "../best.txt", "/elsewhere", "best-00000002.safetensors/../x"])
def test_a_state_that_names_a_file_elsewhere_is_passed_over_and_writes_none(finished, tmp_path, file):
    state = torch.load(finished / "checkpoints" / "step-00000001.state.pt", weights_only=True)
    file = f"{tmp_path}{file}" if file.startswith("/") else file
    made = io.BytesIO()
    torch.save({**state, "best": {**state["best"], "file": file}}, made)
    folder = Folder(tmp_path / "a" / "run", tiny(), (1, 8, 8), "abcd", {})
    folder.checkpoints.mkdir()
    name = "step-00000001.safetensors"
    (folder.checkpoints / name).write_bytes((finished / "checkpoints" / name).read_bytes())
    (folder.path / "best.safetensors").write_bytes((finished / "best.safetensors").read_bytes())
    (folder.checkpoints / "step-00000001.state.pt").write_bytes(made.getvalue())
    before = {*tmp_path.rglob("*")}
    assert folder.newest() is None
    assert {*tmp_path.rglob("*")} == before


SOURCES = ("hacks:build", "hacks", "hacks:", "os:getcwd", "builtins:eval")


@pytest.fixture
def hacks(tmp_path, monkeypatch) -> Path:
    """The file that the module `hacks`, which can be imported, creates when it is."""
    (tmp_path / "hacks.py").write_text("from pathlib import Path\nPath('hacked').touch()\ndef build(): ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "hacked"


@pytest.mark.parametrize("source", SOURCES)
def test_a_run_json_that_names_a_module_imports_none(finished, tmp_path, hacks, source):
    told = json.loads((finished / "run.json").read_text())
    told["run"]["model"] = {"type": "OwnNetwork", "source": source}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(told))
    found = read_run(tmp_path / "run")
    with pytest.raises(UsageError, match="no code runs because a file names it"):
        found.model.build(4, 1)
    assert not hacks.exists()


@pytest.mark.parametrize(
    "model", [*({"type": "OwnNetwork", "source": s} for s in SOURCES), *({"type": n} for n in HOSTILE)]
)
def test_weights_that_name_a_module_or_class_import_none(finished, tmp_path, hacks, model):
    tensors, header = read_weights(finished / "last.safetensors")
    path = tmp_path / "hostile.safetensors"
    save_file(tensors, path, {"hardy": json.dumps({**header, "model": model})})
    with pytest.raises(UsageError, match=r"hostile\.safetensors names a network that cannot be built"):
        hardy.load(path)
    assert not hacks.exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_run_json_with_a_class_that_is_not_ours_is_refused(finished, tmp_path, hacks, name):
    told = json.loads((finished / "run.json").read_text())
    for place in ("model", "data", "objective", "extra"):
        hostile = {**told["run"], place: {"type": name, "command": "touch hacked", "args": ["touch hacked"]}}
        (tmp_path / "run.json").write_text(json.dumps({**told, "run": hostile}))
        with pytest.raises(UsageError, match="not one of this library's settings"):
            read_run(tmp_path)
    assert not hacks.exists()


def test_the_files_that_the_others_are_made_from_are_right(finished):
    assert read_run(finished) == tiny()
    assert Folder(finished, tiny(), (1, 8, 8), "abcd", {}).newest() is not None
    save_weights(finished / "w.safetensors", read_weights(finished / "last.safetensors")[0], tiny().model, 4, 1, {})
    assert not hardy.load(finished / "w.safetensors").training
