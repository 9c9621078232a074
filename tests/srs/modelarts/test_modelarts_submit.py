"""`submit` against an endpoint on this machine: the signed request arrives, errors are one line."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from srs.modelarts import request, sdk
from srs.modelarts.__main__ import main
from srs.modelarts.request import build
from srs.modelarts.settings import load

CONFIG = Path(__file__).parents[3] / "configs" / "modelarts" / "qwen2.5-coder-7b.toml"
KEYS = {
    "HUAWEICLOUD_SDK_AK": "ACCESSKEY",
    "HUAWEICLOUD_SDK_SK": "secret-of-the-test",
    "HUAWEICLOUD_SDK_PROJECT_ID": "project0",
}


class Endpoint(ThreadingHTTPServer):
    """Answers every request with ``status`` and ``answer``; keeps what arrived."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.status, self.answer = 201, {"kind": "job", "metadata": {"id": "job-42", "name": "x"}}
        self.arrived: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.arrived.append((self.command, self.path, headers, body))
        content = json.dumps(self.server.answer).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(
        "huaweicloudsdkmodelarts", reason="the Huawei Cloud SDK is not installed: make setup"
    )
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(autouse=True)
def _no_keys_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KEYS, "HUAWEICLOUD_SDK_SECURITY_TOKEN", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)


def signature(method: str, path: str, headers: dict[str, str], body: bytes, secret: str) -> str:
    """SDK-HMAC-SHA256, as Huawei Cloud's "AK/SK signing" guide defines it."""
    signed = headers["authorization"].split("SignedHeaders=")[1].split(",")[0]
    lines = [f"{name}:{headers[name].strip()}\n" for name in signed.split(";")]
    request = "\n".join(
        [method, f"{path}/", "", "".join(lines), signed, hashlib.sha256(body).hexdigest()]
    )
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"SDK-HMAC-SHA256\n{headers['x-sdk-date']}\n{digest}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


@pytest.mark.usefixtures("keys")
def test_the_signed_request_arrives_with_the_rendered_body(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = tmp_path / "job.json"
    assert main(["render", "--config", str(CONFIG), "--out", str(job)]) == 0
    assert main(["submit", "--job", str(job), "--endpoint", endpoint.url]) == 0
    assert "created training job job-42 (srs-qwen25-coder-7b" in capsys.readouterr().out
    ((method, path, headers, body),) = endpoint.arrived
    assert (method, path) == ("POST", "/v2/project0/training-jobs")
    assert json.loads(body) == json.loads(job.read_text()) == build(load(CONFIG))
    assert "Access=ACCESSKEY" in headers["authorization"]
    right = signature(method, path, headers, body, KEYS["HUAWEICLOUD_SDK_SK"])
    assert headers["authorization"].endswith(f"Signature={right}")
    assert right != signature(method, path, headers, body + b" ", KEYS["HUAWEICLOUD_SDK_SK"])


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(("status", "code"), [(400, 2), (403, 2), (500, 1), (503, 1)])
def test_an_error_answer_is_one_line(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str], status: int, code: int
) -> None:
    endpoint.status = status
    endpoint.answer = {"error_msg": "The flavor\nis sold out.", "error_code": "ModelArts.2763"}
    assert main(["submit", "--config", str(CONFIG), "--endpoint", endpoint.url]) == code
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [
        f"srs.modelarts: ModelArts answered {status} ModelArts.2763: The flavor is sold out."
    ]
    assert KEYS["HUAWEICLOUD_SDK_SK"] not in shown.out + shown.err


@pytest.mark.usefixtures("keys")
def test_nobody_at_the_endpoint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "--config", str(CONFIG), "--endpoint", "http://127.0.0.1:9"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("srs.modelarts: ModelArts could not be reached: ")


@pytest.mark.usefixtures("keys")
def test_an_unknown_region_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "--config", str(CONFIG), "--region", "cn-southwest-9"]) == 2
    assert "did you mean cn-southwest-" in capsys.readouterr().err


def test_without_credentials_it_says_what_it_would_send(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", "--config", str(CONFIG), "--endpoint", endpoint.url]) == 0
    head, post, body = capsys.readouterr().out.split("\n", 2)
    assert head.startswith("Not sent: HUAWEICLOUD_SDK_AK")
    assert post == f"POST {endpoint.url}/v2/{{project_id}}/training-jobs"
    assert json.loads(body) == build(load(CONFIG))
    assert not endpoint.arrived


def test_a_job_is_compared_with_the_sdks_models_before_it_is_written_or_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huaweicloudsdkmodelarts")
    job = tmp_path / "job.json"
    rendering = ["render", "--config", str(CONFIG), "--out", str(job)]
    assert main(rendering) == 0
    assert "; checked against the SDK's models\n" in capsys.readouterr().out
    wrong = json.loads(job.read_text()) | {"algoritm": {}}
    monkeypatch.setattr(request, "build", lambda _: wrong)
    job.write_text(json.dumps(wrong))
    for words in (["submit", "--job", str(job)], rendering):
        assert main(words) == 2
        assert "algoritm: not a field of Job; did you mean algorithm?" in capsys.readouterr().err

    monkeypatch.setattr(sdk, "PACKAGE", "huaweicloudsdk_of_no_one")
    assert main(rendering) == 0
    assert "; not checked against the SDK's models: it is not installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "one of the arguments --job --config is required"),
        (["--config", str(CONFIG), "--job", "job.json"], "not allowed with argument"),
    ],
)
def test_a_job_comes_from_one_place(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["submit", *words])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_rendered_job_is_not_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = tmp_path / "job.json"
    assert main(["render", "--config", str(CONFIG), "--out", str(job)]) == 0
    assert main(["submit", "--job", str(job), "--set", "modelarts.nodes=4"]) == 2
    assert "--set changes a --config: give it to `render`" in capsys.readouterr().err


def test_a_part_of_the_credentials_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HUAWEICLOUD_SDK_AK", "a")
    monkeypatch.setenv("HUAWEICLOUD_SDK_SK", "b")
    assert main(["submit", "--config", str(CONFIG)]) == 2
    assert "HUAWEICLOUD_SDK_PROJECT_ID is not set" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", '{"kind": "other"}'])
def test_a_file_that_is_no_request_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    job = tmp_path / "job.json"
    job.write_text(text)
    assert main(["submit", "--job", str(job)]) == 2
    assert str(job) in capsys.readouterr().err
