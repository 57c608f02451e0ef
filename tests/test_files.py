"""Files: what is saved comes back, what cannot be is refused by name, and no code is run from one."""

from __future__ import annotations

import json
import os
import pickle
import stat
import subprocess
import sys
from collections import OrderedDict, defaultdict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import modgrad
from modgrad import nn, optim
from modgrad.files import _storable


def again(obj: Any, tmp_path: Path, **options: Any) -> Any:
    file = tmp_path / "it.safetensors"
    modgrad.save(obj, file, **options)
    return modgrad.load(file)


def same(a: Any, b: Any) -> bool:
    if isinstance(b, Tensor):
        alike = type(a) is Tensor and a.dtype is b.dtype and a.shape == b.shape
        exact = torch.complex128 if b.is_complex() else torch.float64  # in which those of 8 bits can be compared
        return alike and torch.equal(a.to(exact), b.to(exact))
    if isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in b)
    if isinstance(b, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or a != a)


DTYPES = [
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2),
    *((torch.uint16, torch.uint32, torch.uint64, torch.complex64) if _storable(torch.complex64) else ()),
]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.norm = nn.BatchNorm2d(2)
        self.output = nn.Linear(3, 5, dtype=torch.bfloat16)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight
        self.scale = nn.Parameter(torch.tensor(2.5))
        self.nothing = nn.Parameter(torch.empty(0, 3))
        self.none = nn.Parameter(torch.empty(3, 0))
        self.turned = nn.Parameter(torch.randn(4, 3).t())
        self.image = nn.Parameter(torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last))


def test_a_state_dict(tmp_path: Path) -> None:
    net, other = Net(), Net()
    state = net.state_dict()
    found = again(state, tmp_path)
    assert same(found, {name: value.contiguous() for name, value in state.items()})
    assert found["head.weight"] is found["embedding.weight"], "tied"
    assert other.load_state_dict(found) == ([], [])
    assert all(map(torch.equal, other.state_dict().values(), state.values()))
    assert other.head.weight is other.embedding.weight


def test_any_program_reads_the_tensors(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    state = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm2d(2)).state_dict()
    again(state, tmp_path)
    assert same(dict(sorted(load_file(tmp_path / "it.safetensors").items())), dict(sorted(state.items())))


def test_another_programs_file(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    tensors = {"b": torch.randn(3), "a": torch.ones(2, dtype=torch.int64)}
    save_file(tensors, tmp_path / "other.safetensors")
    assert same(dict(sorted(modgrad.load(tmp_path / "other.safetensors").items())), dict(sorted(tensors.items())))
    assert modgrad.read_metadata(tmp_path / "other.safetensors") == {}


@pytest.mark.parametrize("make", [lambda p: optim.Adam(p, lr=0.1, amsgrad=True), lambda p: optim.SGD(p, momentum=0.9)])
def test_a_checkpoint_goes_on_where_it_stopped(make: Any, tmp_path: Path) -> None:
    def train(model: Any, optimizer: Any) -> None:
        torch.manual_seed(5)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(4, 3)).square().sum().backward()
            optimizer.step()

    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = make(model.parameters())
    train(model, optimizer)
    checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 3}
    found = again(checkpoint, tmp_path)
    assert same(found, checkpoint)
    other = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    continued = make(other.parameters())
    other.load_state_dict(found["model"])
    continued.load_state_dict(found["optimizer"])
    train(model, optimizer)
    train(other, continued)
    assert same(other.state_dict(), model.state_dict())


@pytest.mark.parametrize(
    "obj",
    [
        {},
        [],
        None,
        3,
        torch.tensor(3.0),
        {"": torch.ones(2)},
        {"a": {"b": torch.ones(1)}, "a.b": torch.zeros(1), "a.b_": torch.ones(3)},
        {1: torch.ones(1), "1": torch.zeros(1), (2, "x"): None, None: 1, 2.5: (), False: [True]},
        {"$tensor": "a", "x": {"$dict": []}, "$": torch.ones(1)},
        {"__metadata__": torch.ones(1), "modgrad": 1, "format": "x"},
        {"n": [1, -(2**80), 0.1, float("inf"), -float("inf"), float("nan"), "ä\n\0", (), (1, (2.0,)), -0.0]},
        {"deep": [{"a": (torch.ones(1), [torch.zeros(0, 2)])}]},
    ],
    ids=repr,
)
def test_trees(obj: Any, tmp_path: Path) -> None:
    assert same(again(obj, tmp_path), obj)


def test_kinds_of_tensors(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    kinds = {str(dtype): torch.tensor([0, 1, 2, 4]).to(dtype) for dtype in DTYPES}
    parts = {"whole": base, "part": base[1:3], "crossing": base[2:], "column": base[:, 1], "reversed": base.flip(0)}
    odd = {
        "expanded": torch.ones(1, 3).expand(4, 3),
        **({"conjugate": torch.tensor([1 + 2j]).conj()} if _storable(torch.complex64) else {}),
        "negative": torch.tensor([1 + 2j]).conj().imag,
    }
    modules = {"parameter": nn.Parameter(base), "variable": nn.Variable(base) * 2, "theirs": torch.nn.Parameter(base)}
    found = again({**kinds, **parts, **odd, **modules}, tmp_path)
    for name, value in {**kinds, **parts, **odd, **modules}.items():
        assert type(found[name]) is Tensor
        expected = value.detach().resolve_conj().resolve_neg().contiguous()
        assert same(found[name], expected), name
        assert found[name].is_contiguous()
        assert not found[name].requires_grad
    assert found["parameter"] is found["whole"], "the same values in the same memory"
    assert found["part"].untyped_storage().data_ptr() != found["whole"].untyped_storage().data_ptr()
    assert isinstance(again(OrderedDict(a=defaultdict(list, b=[1])), tmp_path)["a"], dict)
    assert again({"size": torch.ones(2, 3).shape, "number": np.float64(0.5)}, tmp_path) == {
        "size": (2, 3),
        "number": 0.5,
    }


def test_what_cannot_be_stored_is_refused_by_name(tmp_path: Path) -> None:
    itself: list[Any] = []
    itself.append(itself)
    model = nn.Linear(2, 2)
    wrong = {
        "model": model,
        "fine": torch.ones(1),
        "deep": [1, {"function": len}],
        "itself": itself,
        "array": np.ones(2),
        "pair": namedtuple("Pair", "a b")(1, 2),
        "sparse": torch.eye(2).to_sparse(),
        "meta": torch.ones(1, device="meta"),
        "complex": torch.ones(1, dtype=torch.complex128),
        "keys": {len: 1},
    }
    with pytest.raises(TypeError) as error:
        modgrad.save(wrong, tmp_path / "it.safetensors")
    for part in [
        "['model'], Linear Linear(in_features=2, out_features=2, bias=True): store its state_dict()",
        "['deep'][1]['function'], builtin_function_or_method <built-in function len>: store tensors, numbers, text",
        "['itself'][0], list [[...]]: holds itself",
        "['array'], ndarray",
        "['pair'], Pair Pair(a=1, b=2)",
        "['sparse'], Tensor of shape (2, 2) and torch.float32: is not dense: write tensor.to_dense()",
        "['meta'], Tensor of shape (1,) and torch.float32: has no values",
        "['complex'], Tensor of shape (1,) and torch.complex128: safetensors has no such dtype",
        "['keys'], builtin_function_or_method <built-in function len>: a key must be text or a number",
    ]:
        assert part in str(error.value)
    assert "'fine'" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TypeError, match=r"what was given, Linear .* store its state_dict\(\)"):
        modgrad.save(model, tmp_path / "it.safetensors")


def test_metadata(tmp_path: Path) -> None:
    file = tmp_path / "it.safetensors"
    modgrad.save({"a": torch.ones(1)}, file, metadata={"about": "a test", "format": "mine"})
    assert modgrad.read_metadata(file) == {"about": "a test", "format": "mine"}
    assert same(modgrad.load(file), {"a": torch.ones(1)})
    for metadata in ({"n": 3}, {3: "n"}, {"modgrad": "x"}):
        with pytest.raises(TypeError, match="expected text by name"):
            modgrad.save({}, file, metadata=metadata)  # type: ignore[arg-type]


def test_files_of_pytorch(tmp_path: Path) -> None:
    twin = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(twin.parameters())
    for suffix in ("pt", "pth"):
        file = tmp_path / f"it.{suffix}"
        torch.save(
            {"model": twin.state_dict(keep_vars=True), "optimizer": optimizer.state_dict(), "n": (3, [4.0])}, file
        )
        found = modgrad.load(file)
        assert all(type(value) is Tensor and not value.requires_grad for value in found["model"].values())
        assert found["model"]._metadata == twin.state_dict()._metadata
        assert found["n"] == (3, [4.0])
        assert same(dict(found["model"]), {name: value.detach() for name, value in twin.state_dict().items()})
    with pytest.raises(ValueError, match="only .safetensors files have metadata"):
        modgrad.read_metadata(file)


class Harm:
    def __reduce__(self) -> Any:
        return os.system, ("touch harm",)


@pytest.mark.parametrize("name", ["it.pt", "it.pth", "it.safetensors"])
def test_no_code_is_run_from_a_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.ones(1), "b": Harm()}, tmp_path / name)
    with pytest.raises(ValueError, match=name):
        modgrad.load(tmp_path / name)
    (tmp_path / name).write_bytes(pickle.dumps(Harm()))
    with pytest.raises(ValueError, match=name):
        modgrad.load(tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("use", [modgrad.load, modgrad.read_metadata])
def test_files_that_cannot_be_read(use: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file .*nowhere.safetensors"):
        use(tmp_path / "nowhere.safetensors")
    with pytest.raises(ValueError, match=r"load reads .safetensors, .pt and .pth files, not 'it.npz'"):
        use(tmp_path / "it.npz")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        use(tmp_path / "folder.pt")
    file = tmp_path / "it.safetensors"
    modgrad.save({"a": torch.ones(100)}, file)
    whole = file.read_bytes()
    for damaged in (b"", whole[:7], whole[:60], whole[:-1], whole + b"x", b"\xff" * 100):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"it.safetensors is no safetensors file, or a damaged one"):
            use(file)


@pytest.mark.parametrize(
    "tree",
    ["not json", '{"$tensor": "absent"}', '{"$tuple": 3}', '{"$dict": [[[], 1]]}', "[" * 100_000, '{"$float": "x"}'],
)
def test_a_tree_that_makes_no_sense(tree: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    file = tmp_path / "it.safetensors"
    save_file({"a": torch.ones(1)}, file, {"modgrad": tree})
    with pytest.raises(ValueError, match="a damaged one"):
        modgrad.load(file)


def test_damaged_files_of_pytorch(tmp_path: Path) -> None:
    file = tmp_path / "it.pt"
    torch.save({"a": torch.ones(100)}, file)
    whole = file.read_bytes()
    for damaged in (b"", whole[:100], whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match="it.pt is damaged, or holds objects"):
            modgrad.load(file)


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"save writes .safetensors files, not 'it.pt'. For PyTorch's own format write"
    ):
        modgrad.save({}, tmp_path / "it.pt")
    with pytest.raises(FileNotFoundError, match="there is no folder .*absent"):
        modgrad.save({}, tmp_path / "absent" / "it.safetensors")
    (tmp_path / "it.safetensors").mkdir()
    with pytest.raises(IsADirectoryError):
        modgrad.save({}, tmp_path / "it.safetensors")


def test_a_file_is_replaced_in_one_step_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.torch

    file, link = tmp_path / "it.safetensors", tmp_path / "link.safetensors"
    link.symlink_to(file)
    modgrad.save({"a": torch.ones(3)}, link)
    assert link.is_symlink()
    loaded = modgrad.load(link)

    def fails(tensors: Any, path: Any, metadata: Any) -> None:
        Path(path).write_bytes(b"half of it")
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", fails)
        with pytest.raises(OSError, match="no space left"):
            modgrad.save({"a": torch.zeros(3)}, file)
    assert same(modgrad.load(file), {"a": torch.ones(3)}), "what was there is still there"
    assert sorted(found.name for found in tmp_path.iterdir()) == ["it.safetensors", "link.safetensors"]
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    file.write_bytes(b"\0" * file.stat().st_size)
    assert same(loaded, {"a": torch.ones(3)}), "what was loaded has its own memory"


def test_another_device(tmp_path: Path) -> None:
    modgrad.save({"a": torch.ones(2)}, tmp_path / "it.safetensors")
    torch.save({"a": torch.ones(2)}, tmp_path / "it.pt")
    with pytest.raises((RuntimeError, AssertionError), match="nodevice"):
        modgrad.load(tmp_path / "it.safetensors", device="nodevice")
    if not torch.cuda.is_available():
        return
    for name in ("it.safetensors", "it.pt"):
        found = modgrad.load(tmp_path / name, device="cuda")["a"]
        assert found.is_cuda
        modgrad.save({"a": found}, tmp_path / "back.safetensors")
        assert same(modgrad.load(tmp_path / "back.safetensors"), {"a": torch.ones(2)})


def test_importing_modgrad_does_not_import_safetensors() -> None:
    program = "import sys, modgrad; print(json.dumps([name for name in sys.modules if name.startswith('safetensors')]))"
    run = subprocess.run([sys.executable, "-c", f"import json; {program}"], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == []
