"""Whole runs on images of a server: each once over the wire, and looked at before it is skipped."""

from __future__ import annotations

import collections
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from pipeline import storage
from pipeline.__main__ import main
from pipeline.commands import stylize
from pipeline.storage import web as storage_web

if TYPE_CHECKING:
    from collections.abc import Callable

    from web_server import WebServer

    from pipeline.worker.engine_cache import EngineCache
    from tests.pipeline.conftest import Catalog

ALLOWED = ("--allow-schemes=https,file", "--allow-private-hosts")
FILES = ("a.png", "b.png", "s.png", "m.png", "k.png", "i.png")


@pytest.fixture(params=["waves", "beam"])
def runner(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Arguments for a run in waves, and for one whose planning is of the Beam job."""
    return () if request.param == "waves" else ("--runner=FnApiRunner",)


@pytest.fixture
def shop(catalog: Catalog, web: WebServer) -> WebServer:
    """Pictures on the server, and a manifest that names them in every place where one can be."""
    for name in ("a.png", "b.png", "s.png", "i.png"):
        catalog.picture(name)
    for mask in ("m.png", "k.png"):
        catalog.grey(mask, [[0, 255]])
    for name in FILES:
        web.put(f"shop/{name}", catalog.read(name))
    style = {"uri": f"{web.url}/shop/s.png", "mask": f"{web.url}/shop/m.png"}
    rows = [
        {"id": "a", "content": f"{web.url}/shop/a.png", "style": [style]},
        {
            "id": "b",
            "content": f"{web.url}/shop/b.png?w=3",
            "style": f"{web.url}/shop/s.png",
            "options.keep": f"{web.url}/shop/k.png",
            "options.init": f"{web.url}/shop/i.png",
        },
    ]
    catalog.manifest(rows, "pairs.jsonl")
    return web


def run(catalog: Catalog, *more: str, allowed: tuple[str, ...] = ALLOWED) -> int:
    """`nst run` as another process would, later."""
    storage_web.forget()
    return catalog.run(*allowed, *more, manifest="pairs.jsonl")


def test_every_image_crosses_the_wire_once_and_a_second_run_asks_once_for_each(
    catalog: Catalog, shop: WebServer, runner: tuple[str, ...]
) -> None:
    assert run(catalog, *runner) == 0
    assert len(shop.asked) == len(FILES)
    assert {status for _, _, status in shop.asked} == {200}
    inputs = catalog.records()["b"]["inputs"]
    assert [one["uri"].rpartition("/")[2] for one in inputs] == [
        *("b.png?w=3", "s.png", "i.png", "k.png"),
    ]
    assert all(one["mark"].startswith('etag:"') for one in inputs)
    before = catalog.files()
    shop.asked.clear()
    assert run(catalog, *runner) == 0
    assert catalog.statuses() == ["skipped", "skipped"]
    assert [method for method, _, _ in shop.asked] == ["HEAD"] * len(FILES)
    assert {name: before[name] for name in before if "/records/" in name} == {
        name: data for name, data in catalog.files().items() if "/records/" in name
    }
    shop.asked.clear()
    assert run(catalog, "--inputs=trust") == 0
    assert catalog.statuses() == ["skipped", "skipped"]
    assert not shop.asked


def test_what_has_changed_there_is_done_again_and_only_that(
    catalog: Catalog, shop: WebServer, runner: tuple[str, ...]
) -> None:
    assert run(catalog, *runner) == 0
    catalog.picture("other.png")
    shop.put("shop/a.png", catalog.read("other.png"))
    shop.asked.clear()
    assert run(catalog, *runner) == 0
    assert [result["changed"] for result in catalog.results()] == ["content", None]
    assert catalog.statuses() == ["ok", "skipped"]
    fetched = collections.Counter(
        path for method, path, status in shop.asked if (method, status) == ("GET", 200)
    )
    assert fetched == {"shop/a.png": 1}


def test_a_server_without_etags_has_its_bytes_compared(catalog: Catalog, shop: WebServer) -> None:
    shop.etags = shop.heads = False
    assert run(catalog) == 0
    assert run(catalog) == 0
    assert catalog.statuses() == ["skipped", "skipped"]


def test_each_pair_fails_by_its_own_reason(
    catalog: Catalog, shop: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.storage.web.transfer.RETRY_SECONDS", 0.2)

    def endless(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(65536))

    busy = iter([503])
    shop.answers["endless.png"] = endless
    shop.answers["gone.png"] = lambda handler: handler.reply(410)
    shop.answers["secret.png"] = lambda handler: handler.reply(403)
    shop.answers["down.png"] = lambda handler: handler.reply(503)
    page = b"<html><body>Sorry</body></html>"
    shop.answers["page.png"] = lambda handler: handler.reply(200, page)
    shop.answers["busy.png"] = lambda handler: handler.reply(
        next(busy, 200), shop.files["shop/a.png"]
    )
    bad = {
        "none": ("input_not_found", "404"),
        "gone": ("input_not_found", "410"),
        "secret": ("input_unreadable", "403"),
        "down": ("input_unreadable", "503"),
        "page": ("input_unreadable", "HTML"),
        "endless": ("input_too_large", "more than 1000000 bytes"),
    }
    style = f"{shop.url}/shop/s.png"
    names = [*bad, "busy"]
    rows = [{"id": one, "content": f"{shop.url}/{one}.png", "style": style} for one in names]
    password = shop.url.replace("://", "://me:open-sesame@")
    rows.append({"id": "password", "content": f"{password}/shop/a.png", "style": style})
    catalog.manifest(rows, "pairs.jsonl")
    assert run(catalog, "--set=max_bytes=1000000") == 3
    results = {result["id"]: result for result in catalog.results()}
    for name, (status, reason) in bad.items():
        assert results[name]["status"] == status
        assert reason in results[name]["error"], results[name]["error"]
    assert results["busy"]["status"] == "ok"
    assert results["password"]["status"] == "manifest_invalid"
    assert not [name for name, data in written(catalog).items() if b"open-sesame" in data]


def written(catalog: Catalog) -> dict[str, bytes]:
    """The files of the output."""
    return {name: data for name, data in catalog.files().items() if name.startswith("out/")}


def test_a_signature_stands_nowhere_and_another_one_is_the_same_image(
    catalog: Catalog, shop: WebServer, capsys: pytest.CaptureFixture[str]
) -> None:
    def sign(name: str) -> None:
        url = f"{shop.url}/shop/a.png?size=3&X-Amz-Signature=more, {name}"
        missing = f"{shop.url}/shop/none.png?token={name}"
        style = f"{shop.url}/shop/s.png"
        password = shop.url.replace("://", f"://user:my {name}@") + "/shop/a.png"
        rows = [
            {"id": "a", "content": url, "style": style},
            {"id": "none", "content": missing, "style": style},
            {"id": "password", "content": password, "style": style},
        ]
        catalog.manifest(rows, "pairs.jsonl")

    def with_init(name: str) -> tuple[str, ...]:
        # The operator's own setting, which stands in config.yaml too.
        return "--set=metadata=full", f"--set=init={shop.url}/shop/i.png?X-Amz-Signature={name}"

    sign("first-secret")
    assert run(catalog, *with_init("first-secret")) == 3
    sign("second-secret")
    for mode in ("trust", "check"):
        assert run(catalog, *with_init("second-secret"), f"--inputs={mode}") == 3
        assert catalog.statuses() == ["skipped", "input_not_found", "manifest_invalid"]
    assert not [headers for headers in shop.headers if "authorization" in headers]
    assert not [name for name, data in written(catalog).items() if b"-secret" in data]
    captured = capsys.readouterr()
    assert "-secret" not in captured.out + captured.err
    assert catalog.records()["a"]["sources"]["content"].endswith("?size=3&X-Amz-Signature=***")
    again = f"{catalog.run_folder}/failures.csv"
    assert catalog.run(*ALLOWED, manifest=again) == 3
    again_failed = {result["id"]: result["error"] for result in catalog.results()}
    assert "from the manifest that has it" in again_failed["none"]


def test_it_is_off_unless_it_is_named(catalog: Catalog, shop: WebServer) -> None:
    assert run(catalog, allowed=()) == 3
    for error in (result["error"] for result in catalog.results()):
        assert "of the scheme https, and rows may name only file, gs;" in error
    assert run(catalog, allowed=("--allow-schemes=http,file", "--allow-private-hosts")) == 3
    assert run(catalog, allowed=ALLOWED[:1]) == 3
    for error in (result["error"] for result in catalog.results()):
        assert "--allow-private-hosts" in error
    assert not shop.asked


def test_the_command_that_retries_says_what_is_allowed(
    catalog: Catalog, shop: WebServer, capsys: pytest.CaptureFixture[str]
) -> None:
    image = shop.files.pop("shop/a.png")
    assert run(catalog) == 3
    said = capsys.readouterr().out
    assert "--allow-schemes file,https --allow-private-hosts" in said
    assert main(["status", catalog.uri("out")]) == 3
    assert "--allow-schemes file,https --allow-private-hosts" in capsys.readouterr().out
    assert main(["report", catalog.uri("out")]) == 0
    page = catalog.read("out/report/index.html").decode()
    assert "--allow-private-hosts</code>" in page
    shop.put("shop/a.png", image)
    assert catalog.run(*ALLOWED, manifest=f"{catalog.run_folder}/failures.csv") == 0


def test_plan_reads_them_too(
    catalog: Catalog, shop: WebServer, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = catalog.arguments(*ALLOWED, "--json", manifest="pairs.jsonl")[1:]
    storage_web.forget()
    assert main(["plan", *arguments]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["to_do"] == 2
    assert run(catalog) == 0
    # What planning has read is asked after, and not read again.
    assert collections.Counter(
        path for _, path, status in shop.asked if status == 200
    ) == collections.Counter(f"shop/{name}" for name in FILES) - collections.Counter(
        ["shop/b.png"]
    ) + collections.Counter(["shop/b.png?w=3"])


def test_default_ids_come_from_the_path_and_differ_with_the_query(
    catalog: Catalog, shop: WebServer
) -> None:
    content, style = f"{shop.url}/shop/a.png", f"{shop.url}/shop/s.png?v=2"
    names = ["", "?w=1", "?w=2", "?name=x/../../y.png"]
    catalog.manifest([{"content": content + name, "style": style} for name in names], "pairs.jsonl")
    assert run(catalog) == 0
    ids = list(catalog.records())
    assert len(ids) == len(names)
    assert all(one.startswith("a--s-") for one in ids)


def test_workers_in_other_processes_are_told_what_is_allowed(
    catalog: Catalog, shop: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NST_WEB_CACHE_MIB", "0")
    apart = ("--runner=DirectRunner", "--direct_running_mode=multi_processing")
    assert run(catalog, *apart, "--direct_num_workers=2") == 0
    assert set(catalog.records()) == {"a", "b"}
    assert len(shop.asked) > len(FILES)  # In several processes, and nothing is kept.


def test_stylize_takes_a_url(
    catalog: Catalog,
    shop: WebServer,
    engines: EngineCache,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Callable[[str], str],
) -> None:
    monkeypatch.setattr(stylize, "load_engine", engines.engine_for)
    url = f"{shop.url}/shop/a.png?token=secret"
    words = ["stylize", url, catalog.uri("s.png"), "-o", catalog.uri("x.png"), *catalog.small]
    assert main(words) == 1
    sentence = one_sentence(capsys.readouterr().err)
    assert "--allow-private-hosts" in sentence
    assert "secret" not in sentence
    assert main([*words, "--allow-private-hosts"]) == 0
    with Image.open(io.BytesIO(catalog.read("x.png"))) as image:
        assert image.size == (64, 48)
    assert not storage.exists(catalog.uri("out"))
