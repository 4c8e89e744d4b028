"""Devices by their names, where several GPUs or none are seen."""

from __future__ import annotations

import pytest

from nst_core.devices import device


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, ...]]:
    """The devices that TensorFlow sees, by kind: two GPUs of one make, and the processor."""
    seen = {"GPU": ("/GPU:0", "/GPU:1"), "CPU": ("/CPU:0",)}
    details = {"device_name": "NVIDIA L4", "compute_capability": (8, 9)}
    monkeypatch.setattr(device, "_devices_of", seen.__getitem__)
    monkeypatch.setattr(device, "gpu_details", lambda _: details)
    return seen


def test_auto_is_every_gpu_and_the_processor_where_there_is_none(
    gpus: dict[str, tuple[str, ...]],
) -> None:
    assert device.devices("auto") == device.devices("gpu") == ("/GPU:0", "/GPU:1")
    assert device.devices("cpu") == ("/CPU:0",)
    assert device.choose_device("/GPU:1") == "/GPU:1"
    gpus["GPU"] = ()
    assert device.devices("auto") == ("/CPU:0",)


def test_a_record_names_which_gpu_it_was_where_there_are_several(
    gpus: dict[str, tuple[str, ...]],
) -> None:
    assert device.describe("/GPU:1") == "NVIDIA L4 (GPU:1)"
    assert device.describe("/CPU:0") == "cpu"
    gpus["GPU"] = ("/GPU:0",)
    assert device.describe("/GPU:0") == "NVIDIA L4"


@pytest.mark.parametrize(
    ("capability", "precision"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")]
)
def test_auto_is_bfloat16_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    monkeypatch.setattr(device, "gpu_details", lambda _: {"compute_capability": capability})
    assert device.choose_precision("auto", "/GPU:0") == precision
    assert device.choose_precision("float32", "/GPU:0") == "float32"
