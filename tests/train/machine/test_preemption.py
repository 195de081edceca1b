"""A metadata server of our own gives notice of a preemption."""

import contextlib
import http.server
import threading

import pytest

from lengthwise.train.machine import preemption
from lengthwise.train.machine.preemption import PreemptionNotice, metadata_server


@contextlib.contextmanager
def serving(values):
    """The address of a server that answers as Google's does, from `values`, by key."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if "broken" in values:
                self.wfile.write(values["broken"])
                return
            value = values.get(self.path.removeprefix("/computeMetadata/v1/instance/"))
            asked_right = self.headers["Metadata-Flavor"] == "Google" and value is not None
            self.send_response(200 if asked_right else 403)
            self.end_headers()
            self.wfile.write((value or "").encode())

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("localhost", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"localhost:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(preemption, "_SECONDS_BETWEEN", 0.01)


@pytest.mark.parametrize(
    ("name", "value"),
    [("preempted", "TRUE"), ("maintenance-event", "TERMINATE_ON_HOST_MAINTENANCE")],
)
def test_a_notice_is_passed_on_once(name, value, capfd):
    values = {"preempted": "FALSE", "maintenance-event": "NONE"}
    notified = threading.Event()
    calls = []
    with (
        serving(values) as server,
        PreemptionNotice(server, lambda: (calls.append(1), notified.set())),
    ):
        assert not notified.wait(0.1)
        values[name] = value
        assert notified.wait(10)
    assert calls == [1]
    assert f"{name} is {value}" in capfd.readouterr().out


def test_a_silent_server_is_told_once_and_asked_on(capfd):
    values = {}
    notified = threading.Event()
    with serving(values) as server, PreemptionNotice(server, notified.set):
        assert not notified.wait(0.2)
        values |= {"preempted": "TRUE", "maintenance-event": "NONE"}
        assert notified.wait(10)
    assert capfd.readouterr().err.count("warning") == 1


@pytest.mark.parametrize(
    "broken", [b"no status line\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n\xff\xff", b""]
)
def test_an_answer_that_is_none_does_not_end_the_asking(broken, capfd):
    values = {"broken": broken, "preempted": "TRUE", "maintenance-event": "NONE"}
    notified = threading.Event()
    with serving(values) as server, PreemptionNotice(server, notified.set):
        assert not notified.wait(0.2)
        del values["broken"]
        assert notified.wait(10)
    assert capfd.readouterr().err.count("asking on") == 1


def test_only_googles_machines_have_the_server(monkeypatch, tmp_path):
    monkeypatch.delenv(preemption.HOST, raising=False)
    product = tmp_path / "product_name"
    monkeypatch.setattr(preemption, "_PRODUCT", product)
    assert metadata_server() is None
    product.write_text("Another machine\n")
    assert metadata_server() is None
    product.write_text("Google Compute Engine\n")
    assert metadata_server() == "metadata.google.internal"
    monkeypatch.setenv(preemption.HOST, "localhost:1")
    assert metadata_server() == "localhost:1"
    with PreemptionNotice(None):
        pass
