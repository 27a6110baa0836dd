import json
from pathlib import Path

import pytest
from speedtrap_probe.errors import UndeliveredError
from speedtrap_probe.files.outbox import Outbox
from speedtrap_probe.model import Failure, FailureKind, Figures, to_json
from speedtrap_probe.service.submit import BATCH, Beat, Service, deliver

from tests.lab.collector import KEY, CollectorServer, Ledger, collector
from tests.lab.http11 import Handler, Server, serving
from tests.probe.builders import AT, EVERYTHING, a_measurement, a_run
from tests.probe.certificates import Authority


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox.sqlite3")


def test_every_field_that_a_run_can_have_is_taken(outbox: Outbox) -> None:
    ledger = Ledger()
    failure = Failure(FailureKind.SKIPPED, "not today")
    run = a_run(a_measurement("ookla", EVERYTHING), a_measurement("fast", Figures(), failure))
    outbox.put([run])
    with collector(ledger) as server:
        delivery = deliver(outbox, Service(server.url, KEY))
    assert (delivery.stored, delivery.waiting, delivery.problem) == (1, 0, None)
    assert ledger.runs == {run.id: json.loads(json.dumps(to_json(run)))}


def test_many_runs_go_in_batches(outbox: Outbox) -> None:
    ledger = Ledger()
    outbox.put(a_run() for _ in range(2 * BATCH + 1))
    with collector(ledger) as server:
        delivery = deliver(outbox, Service(server.url + "/", KEY))
    assert (len(ledger.runs), ledger.submissions) == (2 * BATCH + 1, 3)
    assert (delivery.stored, len(outbox)) == (2 * BATCH + 1, 0)


def test_a_run_that_was_stored_before_is_acknowledged(outbox: Outbox) -> None:
    ledger, run = Ledger(), a_run()
    with collector(ledger) as server:
        for _ in range(2):
            outbox.put([run])
            assert deliver(outbox, Service(server.url, KEY)).stored == 1
    assert list(ledger.runs) == [run.id]
    assert len(outbox) == 0


def test_a_rejected_run_does_not_hold_up_the_others(outbox: Outbox) -> None:
    bad, good = a_run(probe="neighbour"), a_run()
    outbox.put([bad, good])
    with collector(Ledger(refused_probe="neighbour")) as server:
        delivery = deliver(outbox, Service(server.url, KEY))
    assert delivery.stored == 1
    assert [(one.run.id, one.reason) for one in delivery.rejected] == [(bad.id, "probe: not yours")]
    assert len(outbox) == 0
    assert [one.run for one in outbox.rejections()] == [bad]


def test_runs_made_while_the_service_is_down_arrive_once_when_it_is_back(outbox: Outbox) -> None:
    ledger, runs = Ledger(), [a_run() for _ in range(3)]
    with collector(ledger) as server:
        port = server.server_address[1]
        service = Service(server.url, KEY)
    outbox.put(runs)
    delivery = deliver(outbox, service)
    assert delivery.waiting == 3
    assert delivery.problem is not None
    assert "cannot be reached" in delivery.problem
    with collector(ledger, port):
        assert deliver(outbox, service).stored == 3
        assert deliver(outbox, service).stored == 0
    assert list(ledger.runs) == [run.id for run in runs]


@pytest.mark.parametrize(
    ("ledger", "key", "said"),
    [
        (Ledger(), "wrong", "does not know this key"),
        (Ledger(status=403), KEY, "does not let this key"),
        (Ledger(status=502), KEY, "HTTP 502"),
        (Ledger(status=301), KEY, "HTTP 301"),
        (Ledger(error="broken"), KEY, "refused the runs: broken"),
    ],
)
def test_runs_wait_when_the_service_does_not_take_them(
    ledger: Ledger, key: str, said: str, outbox: Outbox
) -> None:
    outbox.put([a_run(), a_run()])
    with collector(ledger) as server:
        delivery = deliver(outbox, Service(server.url, key))
    assert delivery.problem is not None
    assert said in delivery.problem
    assert key not in delivery.problem
    assert (delivery.stored, delivery.waiting) == (0, 2)


def test_a_batch_that_is_too_large_is_divided(outbox: Outbox) -> None:
    ledger = Ledger(largest_batch=7)
    outbox.put(a_run() for _ in range(30))
    with collector(ledger) as server:
        delivery = deliver(outbox, Service(server.url, KEY))
    assert (len(ledger.runs), delivery.waiting) == (30, 0)


def test_what_is_no_speedtrap_service_is_said_to_be_none() -> None:
    class Page(Handler):
        def do_POST(self) -> None:  # noqa: N802 - http.server's name
            self.swallow()
            self.answer(b"<html>welcome</html>", media_type="text/html")

    with (
        serving(Server(("127.0.0.1", 0), Page)) as server,
        pytest.raises(UndeliveredError, match="no speedtrap service"),
    ):
        Service(server.url, KEY).submit([a_run()])


def test_the_key_does_not_show_in_the_services_text() -> None:
    assert KEY not in repr(Service("http://127.0.0.1:1", KEY))


def test_runs_travel_compressed_and_small_questions_as_they_are(outbox: Outbox) -> None:
    ledger = Ledger()
    outbox.put(a_run() for _ in range(3))
    with collector(ledger) as server:
        assert deliver(outbox, Service(server.url, KEY), Beat("laptop")).stored == 3
    assert ledger.encodings == [None, "gzip"]


def test_a_service_that_takes_no_gzip_gets_the_runs_as_they_are(outbox: Outbox) -> None:
    ledger = Ledger(takes_gzip=False)
    outbox.put(a_run() for _ in range(3))
    with collector(ledger) as server:
        assert deliver(outbox, Service(server.url, KEY)).stored == 3
    assert ledger.encodings == ["gzip", None]


def test_a_service_with_a_certificate_of_its_own_authority_is_trusted_when_it_is_named(
    outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, ledger, run = Authority(tmp_path), Ledger(), a_run()
    outbox.put([run])
    with serving(CollectorServer(ledger, 0), tls=authority.server_side("127.0.0.1")) as server:
        service = Service(server.url, KEY)
        refused = deliver(outbox, service)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "no-such-file"))
        missing = deliver(outbox, service)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        assert deliver(outbox, service).stored == 1
    assert "CERTIFICATE_VERIFY_FAILED" in str(refused.problem)
    assert "SSL_CERT_FILE" in str(missing.problem)
    assert list(ledger.runs) == [run.id]


@pytest.mark.parametrize(("before", "beats"), [(0, 2), (1, 1)])
def test_the_first_delivery_is_followed_by_a_heartbeat(
    before: int, beats: int, outbox: Outbox
) -> None:
    ledger = Ledger()
    with collector(ledger) as server:
        service = Service(server.url, KEY)
        outbox.put(a_run() for _ in range(before))
        deliver(outbox, service)
        outbox.put([a_run(), a_run()])
        deliver(outbox, service, Beat("laptop", AT))
    assert [one["nextRunAt"] for one in ledger.beats] == ["2025-11-24T18:30:00.000+00:00"] * beats


ODD = {
    "nothing": b"",
    "a page": b"<html>welcome</html>",
    "a list": b"[]",
    "no data": b"{}",
    "data of null": b'{"data": null}',
    "data of words": b'{"data": "yes"}',
    "errors of words": b'{"errors": "no"}',
    "errors of null": b'{"errors": [null]}',
    "an error with odd extensions": b'{"errors": [{"message": 5, "extensions": "x"}]}',
    "other fields": b'{"data": {"submitRuns": 5, "probe": 5, "heartbeat": 5}}',
    "runs that nobody sent": b'{"data": {"submitRuns": {"accepted": ["x"]}, "probe": {"plan": 1}}}',
    "an odd plan": b'{"data": {"probe": {"plan": {"downloadMbps": "fast"}, "rules": []}}}',
    "odd rules": b'{"data": {"probe": {"plan": {"downloadMbps": 9, "uploadMbps": 1}, "rules": 5}}}',
    "nested too deeply": b"[" * 100_000,
    "no end": b"x" * (2 << 20),
}


@pytest.mark.parametrize("status", [200, 302, 400, 500])
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_odd_answer_of_the_service_is_not_delivered_and_the_plan_is_unknown(
    odd: bytes, status: int, outbox: Outbox
) -> None:
    class Odd(Handler):
        def do_POST(self) -> None:  # noqa: N802 - http.server's name
            self.swallow()
            self.answer(odd, status, "application/json")

    outbox.put([a_run()])
    with serving(Server(("127.0.0.1", 0), Odd)) as server:
        service = Service(server.url, KEY)
        delivery = deliver(outbox, service)
        with pytest.raises(UndeliveredError):
            service.plan("laptop")
    assert (delivery.stored, delivery.waiting) == (0, 1)
    assert server.url in (delivery.problem or "")
