"""Weights by name, path or URI: identity, local copies, `nst weights`."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from nst_core.errors import WeightsError
from nst_core.network import procedural
from pipeline import storage
from pipeline.__main__ import main
from pipeline.worker import weights

if TYPE_CHECKING:
    from tests.conftest import EmulatedBucket
    from tests.pipeline.conftest import Catalog

Sentence = Callable[[str], str]


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """Identities are kept for a process; a test must not see those of another."""
    weights.weights_identity.cache_clear()
    yield
    weights.weights_identity.cache_clear()


@pytest.fixture
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """An empty cache for copies."""
    monkeypatch.setenv("NST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def offline(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """No ImageNet file in Keras's cache, and no way to download it; the cache's folder."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr("keras.utils.get_file", refuse)
    return tmp_path / "keras"


def test_the_recipe_s_version_is_the_same_in_both_packages() -> None:
    assert weights.PROCEDURAL_VERSION == procedural.VERSION


def test_an_identity_is_of_the_content_and_never_only_a_path(tmp_path: pathlib.Path) -> None:
    for name, data in (("a.h5", b"one"), ("b.h5", b"one"), ("c.h5", b"two")):
        (tmp_path / name).write_bytes(data)
    found = [weights.weights_identity(str(tmp_path / name)) for name in ("a.h5", "b.h5", "c.h5")]
    assert found[0] == found[1] != found[2]
    assert found[0].startswith("sha256:")
    named = {weights.weights_identity(name) for name in ("imagenet", "procedural")}
    assert len(named | set(found)) == 4


def test_names_and_local_paths_are_loaded_from_where_they_are() -> None:
    for source in ("imagenet", "procedural", "/w/vgg.h5"):
        assert weights.local_weights(source) == source


def test_weights_that_do_not_exist_name_the_ways_out(
    tmp_path: pathlib.Path, gcs: EmulatedBucket
) -> None:
    for source in (str(tmp_path / "none.h5"), gcs.uri("none.h5")):
        with pytest.raises(WeightsError, match=r"none\.h5.*procedural"):
            weights.check_weights(source)


def test_imagenet_that_cannot_be_had_names_the_ways_out(offline: pathlib.Path) -> None:
    with pytest.raises(WeightsError, match=r"no route to host.*\.h5.*procedural") as caught:
        weights.check_weights("imagenet")
    assert str(offline) in str(caught.value)


def test_imagenet_is_not_downloaded_for_the_sake_of_other_weights(
    offline: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "own.h5").write_bytes(b"own")
    weights.check_weights(str(tmp_path / "own.h5"))
    weights.check_weights("procedural")
    assert not offline.exists()


@pytest.mark.parametrize("command", ["run", "plan", "stylize"])
def test_terms_that_are_weighed_for_larger_features_are_told(
    catalog: Catalog, command: str, caplog: pytest.LogCaptureFixture
) -> None:
    catalog.manifest([{"content": "none.png", "style": "none.png"}])
    arguments = [command, *catalog.arguments()[1:]]
    if command == "stylize":
        names = [catalog.uri(name) for name in ("none.png", "none.png", "x.png")]
        arguments = [command, *names[:2], "-o", names[2], *catalog.small]
    for normalization, told in (("energy", False), ("mean", True), ("none", True)):
        caplog.clear()
        main([*arguments, "--set", f"normalization={normalization}"])
        expected = f"normalization is {normalization} with weights procedural"
        assert (expected in caplog.text) == told
        assert ("blur" in caplog.text) == told


def test_a_remote_file_is_copied_once_and_a_changed_one_anew(
    gcs: EmulatedBucket, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = gcs.uri("nets/vgg.h5")
    storage.write_bytes(uri, b"first", "application/x-hdf5")
    copy = pathlib.Path(weights.local_weights(uri))
    assert copy.read_bytes() == b"first"
    assert copy.parent == cache
    reads = []
    real = storage.read_bytes
    monkeypatch.setattr(storage, "read_bytes", lambda uri: reads.append(uri) or real(uri))
    assert weights.local_weights(uri) == str(copy)
    assert reads == []
    storage.write_bytes(uri, b"second", "application/x-hdf5")
    weights.weights_identity.cache_clear()
    assert pathlib.Path(weights.local_weights(uri)).read_bytes() == b"second"
    assert len(list(cache.iterdir())) == 2


def test_verify_tells_good_weights_by_layers_and_hash(
    weights_file: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "verify", "--weights", str(weights_file)]) == 0
    said = capsys.readouterr().out
    assert "16 layers" in said
    assert weights.weights_identity(str(weights_file)).removeprefix("sha256:") in said


def test_verify_takes_a_relative_path(
    weights_file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(weights_file.parent)
    assert main(["weights", "verify", "--weights", weights_file.name]) == 0


@pytest.mark.parametrize("action", ["verify", "fetch"])
@pytest.mark.parametrize("kept", [0, 100, -40000])
def test_damaged_weights_are_one_sentence_and_status_1(
    action: str,
    kept: int,
    weights_file: pathlib.Path,
    tmp_path: pathlib.Path,
    capfd: pytest.CaptureFixture[str],
    one_sentence: Sentence,
) -> None:
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(weights_file.read_bytes()[:kept])
    assert main(["weights", action, "--weights", str(damaged)]) == 1
    assert str(damaged) in one_sentence(capfd.readouterr().err)


def test_fetch_stages_weights_in_a_bucket_and_verify_reads_them_there(
    weights_file: pathlib.Path,
    gcs: EmulatedBucket,
    cache: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = gcs.uri("nets/vgg19.h5")
    assert main(["weights", "fetch", "--weights", str(weights_file), "--to", target]) == 0
    assert f"--weights {target}" in capsys.readouterr().out
    assert storage.read_bytes(target) == weights_file.read_bytes()
    assert main(["weights", "verify", "--weights", target]) == 0
    assert "16 layers" in capsys.readouterr().out
    assert len(list(cache.iterdir())) == 1


def test_damaged_weights_are_not_staged(
    tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str], one_sentence: Sentence
) -> None:
    (tmp_path / "damaged.h5").write_bytes(b"damaged")
    target = tmp_path / "staged" / "vgg19.h5"
    given = ["--weights", str(tmp_path / "damaged.h5"), "--to", str(target)]
    assert main(["weights", "fetch", *given]) == 1
    assert "damaged.h5" in one_sentence(capfd.readouterr().err)
    assert not target.parent.exists()


@pytest.mark.parametrize("action", ["verify", "fetch"])
def test_imagenet_that_cannot_be_fetched_is_one_sentence_and_status_1(
    action: str,
    offline: pathlib.Path,
    capfd: pytest.CaptureFixture[str],
    one_sentence: Sentence,
) -> None:
    assert main(["weights", action]) == 1
    assert "procedural" in one_sentence(capfd.readouterr().err)
    assert not offline.exists()


def test_procedural_weights_are_verified_and_need_no_fetching(
    capfd: pytest.CaptureFixture[str], one_sentence: Sentence, tmp_path: pathlib.Path
) -> None:
    assert main(["weights", "verify", "--weights", "procedural"]) == 0
    assert "procedural: good" in capfd.readouterr().out
    target = str(tmp_path / "x.h5")
    assert main(["weights", "fetch", "--weights", "procedural", "--to", target]) == 1
    assert "rocedural" in one_sentence(capfd.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_a_target_goes_with_fetch_alone(
    capfd: pytest.CaptureFixture[str], one_sentence: Sentence
) -> None:
    assert main(["weights", "verify", "--weights", "procedural", "--to", "x.h5"]) == 2
    assert "--to" in one_sentence(capfd.readouterr().err)


def test_a_target_that_cannot_be_written_is_one_sentence_and_status_1(
    weights_file: pathlib.Path,
    tmp_path: pathlib.Path,
    capfd: pytest.CaptureFixture[str],
    one_sentence: Sentence,
) -> None:
    (tmp_path / "file").write_bytes(b"")
    target = str(tmp_path / "file" / "vgg19.h5")
    assert main(["weights", "fetch", "--weights", str(weights_file), "--to", target]) == 1
    assert target in one_sentence(capfd.readouterr().err)
