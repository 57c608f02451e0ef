"""Files of tensors with numpy alone, beside the format's own library in both directions; damaged ones are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

from modgrad.export.tensors import read, write

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?", "c8"]


def arrays() -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(0)
    found = {f"of {dtype}": (100 * numbers.standard_normal((3, 5))).astype(dtype) for dtype in DTYPES}
    forms = {"scalar": np.float32(3.5), "empty": np.zeros((0, 4)), "turned": np.arange(6.0).reshape(2, 3).T}
    return found | {"ünïcode/": np.arange(3), "big-endian": np.arange(4, dtype=">i4")} | forms


def same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
        assert found[name].dtype == np.asarray(value).dtype.newbyteorder("="), name


def test_both_ways(tmp_path: Path) -> None:
    tensors = arrays()
    write(tensors, tmp_path / "ours.safetensors", {"about": "a test"})
    same(read(tmp_path / "ours.safetensors"), tensors)
    same(load_file(tmp_path / "ours.safetensors"), tensors)
    fit = {k: np.ascontiguousarray(v).reshape(v.shape) for k, v in tensors.items() if k != "big-endian"}
    save_file(fit, tmp_path / "theirs.safetensors")
    same(read(tmp_path / "theirs.safetensors"), fit)
    write({}, tmp_path / "none.safetensors")
    assert read(tmp_path / "none.safetensors") == {}
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{x}.safetensors" for x in ("none", "ours", "theirs")]


def test_every_array_can_be_written_to_and_is_its_own(tmp_path: Path) -> None:
    write(arrays(), tmp_path / "it.safetensors")
    found = read(tmp_path / "it.safetensors")
    assert all(value.flags.writeable and value.flags.c_contiguous for value in found.values())
    pairs = [(a, b) for a in found for b in found if a < b]
    assert not any(np.shares_memory(found[a], found[b]) for a, b in pairs)


def test_bfloat16_has_the_values_of_float32(tmp_path: Path) -> None:
    """Every pattern of its bits."""
    every = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)
    save_torch({"a": every, "b": torch.ones(2)}, tmp_path / "it.safetensors")
    found = read(tmp_path / "it.safetensors")["a"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, every.float().numpy())


def test_a_dtype_that_numpy_does_not_have_is_refused_by_name(tmp_path: Path) -> None:
    save_torch({"layer.weight": torch.ones(2).to(torch.float8_e5m2)}, tmp_path / "it.safetensors")
    with pytest.raises(ValueError, match=r"it\.safetensors: 'layer\.weight' is of dtype F8_E5M2"):
        read(tmp_path / "it.safetensors")


def encoded(header: Any, data: bytes = bytes(8)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(**changes: Any) -> dict[str, Any]:
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


DAMAGED = {
    "empty": b"",
    "short": b"1234567",
    "a long header": (2**40).to_bytes(8, "little") + bytes(100),
    "half": encoded(entry())[:-20],
    "not JSON": encoded(b"{'a'}"),
    "not text": encoded(b"\xff\xfe{}"),
    "deep": encoded(b"[" * 100_000),
    "a list": encoded([1]),
    "an entry of text": encoded({"a": "F32"}),
    "no dtype": encoded({"a": {"shape": [2], "data_offsets": [0, 8]}}),
    "a shape of text": encoded(entry(shape="2")),
    "a negative shape": encoded(entry(shape=[-2])),
    "a shape of floats": encoded(entry(shape=[2.0])),
    "a shape of truths": encoded(entry(shape=[True, 2])),
    "another shape": encoded(entry(shape=[3])),
    "one offset": encoded(entry(data_offsets=[0])),
    "backward": encoded({**entry(), "b": {"dtype": "F32", "shape": [0], "data_offsets": [8, 4]}}),
    "overlapping": encoded({**entry(), "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}),
    "a gap": encoded(entry(data_offsets=[4, 12]), bytes(12)),
    "cut": encoded(entry(), bytes(7)),
    "longer": encoded(entry(), bytes(9)),
    "twice": encoded(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":1}'),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_files_are_refused(tmp_path: Path, case: str) -> None:
    (tmp_path / "it.safetensors").write_bytes(DAMAGED[case])
    with pytest.raises(ValueError, match=r"it\.safetensors is no safetensors file, or a damaged one: .+ Write it anew"):
        read(tmp_path / "it.safetensors")


def test_another_kind_of_file_or_none(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "it.pt")
    with pytest.raises(ValueError, match=r"it\.pt is no safetensors file.*modgrad\.save\(modgrad\.load\(path\)"):
        read(tmp_path / "it.pt")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*absent\.safetensors"):
        read(tmp_path / "absent.safetensors")


def test_every_prefix_of_a_file_is_refused(tmp_path: Path) -> None:
    write({"a": np.arange(3.0), "b": np.ones(2, bool)}, tmp_path / "it.safetensors")
    whole = (tmp_path / "it.safetensors").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "it.safetensors").write_bytes(whole[:length])
        with pytest.raises(ValueError, match="damaged"):
            read(tmp_path / "it.safetensors")


def test_what_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "it.safetensors"
    write({"a": np.ones(3)}, file)
    for wrong, error in (({"a": np.array(["x"])}, TypeError), ({"__metadata__": np.ones(1)}, ValueError)):
        with pytest.raises(error, match=next(iter(wrong))):
            write(wrong, file)
    with pytest.raises(ValueError, match="expected the name of a .safetensors file"):
        write({}, tmp_path / "it.npz")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write({}, tmp_path / "absent" / "it.safetensors")
    same(read(file), {"a": np.ones(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["it.safetensors"]


def test_a_disk_that_is_full_leaves_the_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    write({"a": np.ones(3)}, tmp_path / "it.safetensors")
    monkeypatch.setattr(np, "ascontiguousarray", full)  # after the header
    with pytest.raises(OSError, match="No space left"):
        write({"a": np.zeros(3)}, tmp_path / "it.safetensors")
    same(read(tmp_path / "it.safetensors"), {"a": np.ones(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["it.safetensors"]
