"""What trainers, wrappers and savers make of a network's file: it is read, or refused in words."""

from __future__ import annotations

import argparse
import collections
import gzip
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from facewright_export.checkpoints import CheckpointError, LayoutError, UnsafeCheckpointError, WeightError
from facewright_export.checkpoints._notes import import_notes
from facewright_export.checkpoints.face_segmentation import import_bisenet, import_pspnet
from facewright_export.checkpoints.state_dict import import_state_dict
from facewright_export.networks.bisenet import BiSeNet
from tests.networks.golden import load_golden

State = dict[str, Tensor]


class Tiny(nn.Module):
    """Layers of the kinds that wrappers and savers treat each in their own way."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.head = nn.Linear(4, 2)


def weights(seed: int = 1) -> State:
    torch.manual_seed(seed)
    state = Tiny().state_dict()
    return {key: torch.rand_like(value.float()) for key, value in state.items()} | {
        "features.1.num_batches_tracked": torch.tensor(7)
    }


def imported(path: Path) -> State:
    return import_state_dict(Tiny(), path).state_dict()


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def same(found: State, expected: State) -> bool:
    return all(
        torch.allclose(found[key], value.to(found[key].dtype), atol=4e-3) for key, value in expected.items()
    )


def prefixed(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


WRAPPERS = (
    "module.",
    "_orig_mod.",
    "_orig_mod.module.",
    "module._orig_mod.",
    "model.",
    "model._orig_mod.",
    "net.",
    "network.",
    "backbone.",
    "generator.",
    "g_ema.",
    "ema.",
    "ema_model.module.",
    "_forward_module.",
    "_forward_module.module.model.",
    "_fsdp_wrapped_module.",
    "my_name_for_it.",
)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_names_of_wrappers_are_taken_off(tmp_path: Path, wrapper: str) -> None:
    state = weights()
    assert same(imported(saved(prefixed(wrapper, state), tmp_path / "x.pt")), state)


def test_wrappers_around_parts_of_a_network_are_taken_off(tmp_path: Path) -> None:
    """torch's ImageNet example wraps `features` of VGG alone; activation checkpoints and FSDP wrap layers."""
    state = weights()
    for wrapper in ("module", "_orig_mod", "_fsdp_wrapped_module._checkpoint_wrapped_module"):
        renamed = {key.replace("features.", f"features.{wrapper}."): value for key, value in state.items()}
        assert same(imported(saved(renamed, tmp_path / "x.pt")), state), wrapper


def test_a_wrapper_around_some_names_is_another_network(tmp_path: Path) -> None:
    state = weights()
    state["module.head.bias"] = state.pop("head.bias")
    with pytest.raises(LayoutError, match=r"1 missing: head\.bias; 1 extra: module\.head\.bias"):
        imported(saved(state, tmp_path / "x.pt"))


CONTAINERS = (
    "state_dict",
    "model",
    "model_state_dict",
    "model_state",
    "params",
    "params_ema",
    "net",
    "netG",
    "network",
    "weights",
    "ema",
    "model_ema",
    "state_dict_ema",
    "g_ema",
    "G_ema",
    "generator",
    "best_model",
    "module",
)


@pytest.mark.parametrize("container", CONTAINERS)
def test_sections_of_trainers_are_opened(tmp_path: Path, container: str) -> None:
    state, beside = weights(), {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}}
    assert same(imported(saved({container: state} | beside, tmp_path / "x.pt")), state)
    nested = {"model": {container: prefixed("module.", state)}} | beside
    assert same(imported(saved(nested, tmp_path / "x.pt")), state)


def test_what_lies_beside_the_network_is_said(tmp_path: Path) -> None:
    content = {
        "state_dict": prefixed("net.", weights()) | {"loss.vgg.weight": torch.zeros(2)},
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}},
        "epoch": 3,
        "args": argparse.Namespace(size=256),
        "scheduler": [torch.optim.lr_scheduler.LRScheduler],
    }
    with import_notes() as notes:
        imported(saved(content, tmp_path / "x.pt"))
    assert notes == [
        "x.pt also holds args (argparse.Namespace), epoch, optimizer, "
        "scheduler (torch.optim.lr_scheduler.LRScheduler), state_dict.loss: not used"
    ]


def test_nothing_is_said_of_a_file_that_holds_the_network_alone(tmp_path: Path) -> None:
    with import_notes() as notes:
        imported(saved(weights(), tmp_path / "x.pt"))
    assert notes == []


def test_an_entry_of_the_network_itself_is_never_passed_over(tmp_path: Path) -> None:
    for wrap in (dict, lambda state: {"state_dict": state}, lambda state: prefixed("module.", state)):
        state = weights() | {"extra.weight": torch.zeros(2)}
        with pytest.raises(LayoutError, match=r"1 extra: extra\.weight"):
            imported(saved(wrap(state), tmp_path / "x.pt"))
        state = weights()
        del state["head.bias"]
        with pytest.raises(LayoutError, match=r"1 missing: head\.bias"):
            imported(saved(wrap(state), tmp_path / "x.pt"))


class _Config(dict[str, Any]):
    """As EasyDict and OmegaConf: a class that only the trainer's code has."""


def test_objects_of_a_trainer_are_neither_made_nor_in_the_way(tmp_path: Path) -> None:
    objects = {
        "config": _Config(lr=0.1, path=Path("runs")),
        "sampler": collections.defaultdict(list, a=[1]),
        "array": np.float64(0.5),
        "names": {"a", "b"},
        "when": collections.Counter("aab"),
    }
    for zipped in (True, False):
        path = tmp_path / "x.ckpt"
        content = {"state_dict": weights(), **objects}
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        with import_notes() as notes:
            assert same(imported(path), weights())
        assert "array (a NumPy number), config (pathlib.PosixPath), names (set), when:" in notes[0]


def test_the_average_is_taken_where_there_are_two_copies_and_it_is_said(tmp_path: Path) -> None:
    raw, average = weights(1), weights(2)
    for content, taken, left in (
        ({"model": raw, "model_ema": average}, "model_ema", "model"),
        ({"params_ema": average, "params": raw}, "params_ema", "params"),
        (prefixed("net.", raw) | prefixed("ema_model.", average), "ema_model", "net"),
    ):
        with import_notes() as notes:
            assert same(imported(saved(content, tmp_path / "x.pt")), average)
        both = " and ".join(sorted((left, taken)))
        assert f"x.pt holds the network under {both}: {taken} is taken, the average" in notes


def test_swa_and_averages_without_buffers(tmp_path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(Tiny())
    averaged.module.load_state_dict(weights())
    assert same(imported(saved(averaged.state_dict(), tmp_path / "x.pt")), weights())
    average = {key: value for key, value in weights(2).items() if not key.endswith("num_batches_tracked")}
    assert same(imported(saved({"model": weights(), "ema": average}, tmp_path / "x.pt")), average)
    incomplete = {key: value for key, value in weights(2).items() if "running" not in key}
    assert same(imported(saved({"model": weights(), "ema": incomplete}, tmp_path / "x.pt")), weights())


def test_two_networks_of_one_kind_are_not_chosen_between(tmp_path: Path) -> None:
    content = {"model": weights(1), "best_model": weights(2)}
    with pytest.raises(LayoutError, match="holds the network under best_model and model, with other numbers"):
        imported(saved(content, tmp_path / "x.pt"))
    assert same(imported(saved({"model": weights(), "best_model": weights()}, tmp_path / "y.pt")), weights())


def test_a_network_in_a_part_with_a_name_of_its_own_is_told(tmp_path: Path) -> None:
    content = {"netE": {"w": torch.zeros(2)}, "student_of": weights()}
    with pytest.raises(LayoutError, match=r"its names are found under 'student_of', beside netE"):
        imported(saved(content, tmp_path / "x.pt"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_other_floats_become_float32_and_it_is_said(tmp_path: Path, dtype: torch.dtype, form: str) -> None:
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in weights().items()}
    path = tmp_path / "x.pt"
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    with import_notes() as notes:
        found = imported(path)
    assert same(found, weights())
    assert all(value.dtype in (torch.float32, torch.int64) for value in found.values())
    assert notes == [f"x.pt has {str(dtype).removeprefix('torch.')} numbers, which became float32"]


def test_a_double_that_float32_cannot_hold_is_told(tmp_path: Path) -> None:
    state = {key: value.double() for key, value in weights().items()}
    state["head.bias"][0] = 1e300
    with pytest.raises(WeightError, match=r"NaN or infinity in head\.bias"):
        imported(saved(state, tmp_path / "x.pt"))


def test_arrays_of_numpy_are_no_tensors(tmp_path: Path) -> None:
    arrays = {key: value.numpy() for key, value in weights().items()}
    for content in (arrays, weights() | {"head.bias": arrays["head.bias"]}):
        with pytest.raises(LayoutError, match=r"head\.bias \(a NumPy array\)"):
            imported(saved(content, tmp_path / "x.pt"))


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_quantised_and_integer_weights_are_refused(tmp_path: Path) -> None:
    state = weights()
    quantised = torch.quantize_per_tensor(state["head.weight"], 0.1, 0, torch.qint8)
    with pytest.raises(LayoutError, match=r"no plain numbers in head\.weight \(a quantised tensor\)"):
        imported(saved(state | {"head.weight": quantised}, tmp_path / "x.pt"))
    integers = state | {"head.weight": state["head.weight"].to(torch.int8)}
    with pytest.raises(LayoutError, match=r"head\.weight is int8 \[2, 4\], expected float32"):
        imported(saved(integers, tmp_path / "x.pt"))


def test_views_transposes_and_shared_storages_are_numbers_like_others(tmp_path: Path) -> None:
    state = weights()
    pool = torch.rand(100)
    changed = state | {
        "head.weight": pool[10:18].view(4, 2).t(),
        "head.bias": pool[10:12],
        "features.1.weight": pool[::2][:4],
        "features.1.bias": nn.Parameter(state["features.1.bias"]),
    }
    for zipped in (True, False):
        torch.save(changed, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
        found = imported(tmp_path / "x.pt")
        assert all(torch.equal(found[key], value) for key, value in changed.items())


def test_tensors_of_a_gpu_come_to_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.serialization, "location_tag", lambda _storage: "cuda:3")
    for zipped in (True, False):
        torch.save(weights(), tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
        assert b"cuda:3" in (tmp_path / "x.pt").read_bytes()
        assert same(imported(tmp_path / "x.pt"), weights())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_every_protocol_of_pickle_is_read(tmp_path: Path, protocol: int, zipped: bool) -> None:
    path = tmp_path / "x.pt"
    torch.save(weights(), path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    assert same(imported(path), weights())


def test_counters_of_batches_may_be_missing_more_or_averaged(tmp_path: Path) -> None:
    state, counter = weights(), "features.1.num_batches_tracked"
    for counters in ({}, {counter: torch.tensor(7.5)}, {"head.num_batches_tracked": torch.tensor(3)}):
        numbers = {key: value for key, value in state.items() if key != counter}
        assert same(imported(saved(numbers | counters, tmp_path / "x.pt")), numbers)


def test_safetensors_are_read_with_metadata_and_wrappers(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(prefixed("model.module.", weights()), path, metadata={"format": "pt", "step": "9"})
    assert same(imported(path), weights())
    # the ending says nothing: neither here nor of a file of torch.save
    assert same(imported(path.rename(tmp_path / "model.bin")), weights())
    assert same(imported(saved(weights(), tmp_path / "x.safetensors")), weights())


def test_a_forced_weights_only_load_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    assert same(imported(saved(weights(), tmp_path / "x.pt")), weights())


def test_a_whole_network_is_refused_with_the_command_that_saves_its_weights(tmp_path: Path) -> None:
    for content in (Tiny(), {"model": Tiny(), "epoch": 1}, nn.DataParallel(Tiny())):
        for zipped in (True, False):
            path = tmp_path / "x.pt"
            torch.save(content, path, _use_new_zipfile_serialization=zipped)
            with pytest.raises(UnsafeCheckpointError) as refused:
                imported(path)
            assert "a whole network, an object of " in refused.value.seen
            assert "state_dict()" in refused.value.mend


TELL_TALES: dict[str, tuple[Callable[[State], State], str]] = {
    "sharded": (lambda _state: {"_flat_param": torch.zeros(9)}, "a shard of FSDP"),
    "pruned": (
        lambda state: (
            {k.replace("head.weight", "head.weight_orig"): v for k, v in state.items()}
            | {"head.weight_mask": torch.ones(2, 4)}
        ),
        "pruned with masks",
    ),
    "parametrised": (
        lambda state: {
            k.replace("head.weight", "head.parametrizations.weight.original0"): v for k, v in state.items()
        },
        "weights with parametrizations",
    ),
    "weight norm": (
        lambda state: (
            {k.replace("head.weight", "head.weight_v"): v for k, v in state.items()}
            | {"head.weight_g": torch.ones(2, 1)}
        ),
        "weight normalisation",
    ),
    "LoRA": (lambda _state: {"head.lora_A.weight": torch.zeros(1, 4)}, "an adapter"),
}


@pytest.mark.parametrize("case", TELL_TALES)
def test_names_that_tell_how_a_file_was_made_are_explained(tmp_path: Path, case: str) -> None:
    change, told = TELL_TALES[case]
    with pytest.raises(LayoutError) as refused:
        imported(saved(change(weights()), tmp_path / "x.pt"))
    assert told in refused.value.seen


def _zip(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return file.getvalue()


def _tar(*names: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return file.getvalue()


def _torch_bytes() -> bytes:
    file = io.BytesIO()
    torch.save({"w": torch.ones(2)}, file)
    return file.getvalue()


def _npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, w=np.zeros(3))
    return file.getvalue()


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


def _index() -> bytes:
    return json.dumps({"metadata": {}, "weight_map": {"a": "m-1-of-2.safetensors"}}).encode()


FOREIGN: dict[str, tuple[str, bytes, str]] = {
    "Keras": ("vgg.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5, as Keras"),
    "Keras 3": ("vgg.keras", _zip(config_dot_json=b"{}", model_dot_weights_dot_h5=b""), "a Keras archive"),
    "ONNX": ("net.onnx", b"\x08\x07\x12\x07pytorch" + bytes(99), "an ONNX file"),
    "TFLite": ("net.tflite", b"\x1c\x00\x00\x00TFL3" + bytes(99), "a TensorFlow Lite file"),
    "TensorFlow graph": ("frozen.pb", b"\x0a\x1d\x0a\x05input\x12\x0bPlaceholder", "a TensorFlow graph"),
    "TensorFlow checkpoint": (
        "model.ckpt-9.data-00000-of-00001",
        bytes(range(99)),
        "a TensorFlow checkpoint",
    ),
    "NumPy array": ("w.npy", _npy(), "a NumPy array"),
    "NumPy archive": ("w.npz", _npz(), "a NumPy archive"),
    "zip of a file": ("x.pth", _zip(weights__x_dot_pth=b"x"), "a zip archive that holds weights/x.pth"),
    "gzip": ("x.pth.gz", gzip.compress(_torch_bytes()), "compressed with gzip"),
    "xz": ("x.xz", b"\xfd7zXZ\x00" + bytes(99), "compressed with xz"),
    "bzip2": ("x.bz2", b"BZh91AY&SY" + bytes(99), "compressed with bzip2"),
    "zstd": ("x.zst", b"\x28\xb5\x2f\xfd" + bytes(99), "compressed with zstd"),
    "7z": ("x.7z", b"7z\xbc\xaf\x27\x1c" + bytes(99), "a 7z archive"),
    "rar": ("x.rar", b"Rar!\x1a\x07\x01" + bytes(99), "a rar archive"),
    "tar": ("x.tar", _tar("net/weights.pth"), "a tar archive that holds net/weights.pth"),
    "torch of 2016": ("x.pth", _tar("sys_info", "pickle", "storages"), "torch's format of 2016"),
    "LFS pointer": (
        "x.pth",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
        "a Git LFS pointer",
    ),
    "annex pointer": ("x.pth", b"/annex/objects/SHA256E-s1--ab.pth\n", "a git-annex pointer"),
    "Google Drive": (
        "x.pth",
        b"<!DOCTYPE html><title>Google Drive - Virus scan warning</title>",
        "a web page",
    ),
    "S3 error": ("x.pth", b'<?xml version="1.0"?><Error><Code>AccessDenied', "a web page"),
    "hub error": ("x.pth", b"Entry not found", "text: 'Entry not found'"),
    "JSON": ("x.pth", b'{"error": "gone"}', 'text: \'{"error"'),
    "index of shards": ("m.safetensors.index.json", _index(), "the index of a network in 1 shards"),
    "unfinished": ("x.pth", bytes(4096), "zeros alone"),
    "GGUF": ("x.gguf", b"GGUF" + bytes(99), "a GGUF file"),
    "MXNet": ("model-0000.params", b"\x12\x01" + bytes(99), "an MXNet file"),
    "TensorRT": ("x.plan", b"ftrt" + bytes(99), "a TensorRT plan"),
    "ExportedProgram": ("x.pt2", _zip(archive_format=b"pt2", models__a=b""), "a program of torch.export"),
    "CoreML": ("x.mlpackage", _zip(a__model_dot_mlmodel=b""), "a zip archive that holds a/model.mlmodel"),
    "plain pickle": ("x.pkl", pickle.dumps({"w": np.zeros(3)}), "a pickle that torch.save did not write"),
    "pickled tensors": ("x.pkl", pickle.dumps({"w": torch.zeros(3)}), "a pickle that torch.save did not"),
    "NVIDIA": ("ffhq.pkl", pickle.dumps({"G_ema": "torch_utils.persistence"}), "hold Python source code"),
    "empty": ("x.pth", b"", "the file is empty"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_files_of_others_are_called_what_they_are(tmp_path: Path, case: str) -> None:
    name, content, told = FOREIGN[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError) as refused:
        imported(tmp_path / name)
    assert told in refused.value.seen
    assert refused.value.mend
    assert "\n" not in str(refused.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="Is a directory"):
        imported(tmp_path)


@pytest.mark.parametrize("kept", [60, 300])
def test_a_safetensors_file_cut_short_is_told(tmp_path: Path, kept: int) -> None:
    save_file(weights(), tmp_path / "x.safetensors")
    content = (tmp_path / "x.safetensors").read_bytes()
    for end in (kept, len(content) - 4):
        (tmp_path / "cut.safetensors").write_bytes(content[:end])
        with pytest.raises(CheckpointError, match=r"cut short.*; download the file again"):
            imported(tmp_path / "cut.safetensors")


def test_a_safetensors_header_of_any_size_claims_no_memory(tmp_path: Path) -> None:
    for claimed in (2**60, 2**40, 2**31, 90_000_000):
        (tmp_path / "x.safetensors").write_bytes(claimed.to_bytes(8, "little") + b'{"w":' + bytes(99))
        with pytest.raises(CheckpointError):
            imported(tmp_path / "x.safetensors")


def test_bisenet_is_found_under_state_dict_and_model(tmp_path: Path) -> None:
    state = dict(load_golden("bisenet").weights().items())
    for content in ({"state_dict": state, "epoch": 1}, {"model": prefixed("module._orig_mod.", state)}):
        found = import_bisenet(saved(content, tmp_path / "b.pth")).state_dict()
        assert all(torch.equal(found[key], state[key]) for key in BiSeNet().state_dict() if key in state)


def test_a_plain_state_dict_is_a_pspnet_too(tmp_path: Path) -> None:
    state = load_golden("pspnet_resnet101").weights()
    found = import_pspnet(saved(state, tmp_path / "p.pth")).state_dict()
    assert torch.equal(found["cls.4.weight"], state["cls.4.weight"])
