import asyncio
import contextlib
import gc
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator

import loopback
import pytest
from clients import SharedClient, with_client
from loopback import Loopback, raw, reply

from orchestrator.collectors.fetch import Answer, Client

Get = Callable[..., Answer]
Post = Callable[..., Answer]

SECRET = "CG-aBcDeFgHiJkLmNoPqRsTuVwX"
DEADLINE_S = 0.3


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as started:
        yield started


@pytest.fixture(scope="module")
def shared() -> Iterator[SharedClient]:
    with SharedClient() as client:
        yield client


@pytest.fixture
def get(shared: SharedClient) -> Get:
    def ask(url: str, deadline_s: float = 2.0, headers: dict[str, str] | None = None) -> Answer:
        return shared.do(lambda client: client.get_json(url, deadline_s=deadline_s, headers=headers))

    return ask


@pytest.fixture
def post(shared: SharedClient) -> Post:
    def send(url: str, body: object = None, deadline_s: float = 2.0, headers: dict[str, str] | None = None) -> Answer:
        return shared.do(lambda client: client.post_json(url, body, deadline_s=deadline_s, headers=headers))

    return send


def get_once(url: str) -> Answer:
    return with_client(lambda client: client.get_json(url, deadline_s=2))


def test_a_question_says_who_asks_and_wants_the_answer_as_it_is(server: Loopback, get: Get) -> None:
    server.put("/", reply({"price": 1.5}))

    get(f"{server.url}/", headers={"x-cg-demo-api-key": SECRET})

    headers = server.asked[0].headers
    assert headers["user-agent"].startswith("orchestrator-daemon/")
    assert headers["accept-encoding"] == "identity"
    assert headers["x-cg-demo-api-key"] == SECRET


def test_a_good_answer_keeps_its_fractions_exact(server: Loopback, get: Get) -> None:
    server.put("/", reply('{"usd": 0.1234567890123456789}'))

    answer = get(f"{server.url}/")

    assert answer.error is None
    assert str(answer.document) == "{'usd': Decimal('0.1234567890123456789')}"
    assert answer.raw_json == '{"usd": 0.1234567890123456789}'


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (loopback.silence, "timeout"),
        (loopback.drip, "timeout"),
        (loopback.drip_headers, "timeout"),
        (loopback.endless_hints, "timeout"),
        (loopback.endless_headers, "answer broken off or not HTTP"),
        (loopback.endless_header_line, "answer broken off or not HTTP"),
        (loopback.short_body, "answer broken off or not HTTP"),
        (loopback.reset, "connection lost"),
        (loopback.endless_body, "body over 1 MiB"),
        (loopback.gzip_bomb(), "compressed answer refused"),
        (reply("{}", headers={"Content-Encoding": "br"}), "compressed answer refused"),
        (reply("{}", headers={"Content-Encoding": "identity, gzip"}), "compressed answer refused"),
        (reply(b"[" + b"1," * 524_288 + b"1]"), "body over 1 MiB"),
        (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "answer broken off or not HTTP"),
        (raw(b"HTTP/1.1 9999 Odd\r\n\r\n"), "answer broken off or not HTTP"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"), "answer broken off or not HTTP"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), "answer broken off or not HTTP"),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{}"), "answer broken off or not HTTP"),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "answer broken off or not HTTP"),
        (reply(b""), "empty answer"),
        (reply(b" \r\n\t"), "empty answer"),
        (reply("OK"), "not JSON"),
        (reply(b"", status=204), "HTTP 204"),
        (reply("{}", status=206), "HTTP 206"),
        (reply("{}", status=404), "HTTP 404"),
        (reply("{}", status=500), "HTTP 500"),
        (reply("<html>", status=524), "HTTP 524"),
        (reply("{}", status=304), "redirected (304)"),
    ],
)
def test_an_answer_that_is_none_is_an_error_in_fixed_words_and_in_time(
    server: Loopback, behaviour: loopback.Behaviour, error: str, get: Get
) -> None:
    server.put("/", behaviour)
    started = time.monotonic()

    answer = get(f"{server.url}/", deadline_s=DEADLINE_S)

    assert answer.error == error
    assert answer.document is None or answer.document == {}
    assert time.monotonic() - started < DEADLINE_S + 1


def test_a_server_that_hangs_up_without_a_word_is_an_error(server: Loopback, get: Get) -> None:
    server.put("/", loopback.hang_up)

    answer = get(f"{server.url}/")

    assert answer.error in {"answer broken off or not HTTP", "connection lost"}


def test_a_body_of_exactly_one_mebibyte_is_read(server: Loopback, get: Get) -> None:
    server.put("/", reply(b"[" + b" " * (1024 * 1024 - 2) + b"]"))

    answer = get(f"{server.url}/")

    assert (answer.error, answer.document) == (None, [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error_and_is_not_followed(server: Loopback, status: int, get: Get) -> None:
    server.put("/", loopback.redirect(f"{server.url}/elsewhere", status))
    server.put("/elsewhere", reply({"monero": {"usd": 1}}))

    answer = get(f"{server.url}/")

    assert answer.error == f"redirected ({status})"
    assert server.asked_for("/elsewhere") == []


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:{closed}/", "connection refused"),
        ("http://127.0.0.1:99999/", "URL or header not usable"),
        ("http://no-such-host.invalid/", "host not found"),
        (f"http://{'a' * 70}.invalid/", "host not found"),
        ("http://[::1/", "URL not usable"),
        ("http://\ud800/", "URL not usable"),
        ("http://127.0.0.1:1/\n", "URL not usable"),
        ("ftp://127.0.0.1/", "URL not usable"),
        ("file:///etc/hosts", "URL not usable"),
        ("http:///miner", "URL not usable"),
        ("127.0.0.1", "URL not usable"),
        ("", "URL not usable"),
    ],
)
def test_a_url_that_leads_nowhere_is_an_error(url: str, error: str, get: Get) -> None:
    assert get(url.replace("{closed}", str(loopback.closed_port()))).error == error


@pytest.mark.parametrize(
    "headers", [{"X": "ключ"}, {"X": "two\nlines"}, {"X": "\ud800"}, {"X": "\x00"}, {"": "x"}, {"X\r\nY": "x"}]
)
def test_a_header_that_cannot_be_sent_is_an_error(server: Loopback, headers: dict[str, str], get: Get) -> None:
    assert get(f"{server.url}/", headers=headers).error == "URL or header not usable"


def test_a_closed_client_answers_with_an_error(server: Loopback) -> None:
    async def run() -> Answer:
        client = Client()
        await client.close()
        return await client.get_json(f"{server.url}/", deadline_s=1)

    assert asyncio.run(run()).error is not None


def test_being_cancelled_is_no_error_but_the_end(server: Loopback) -> None:
    server.put("/", loopback.silence)

    async def run() -> bool:
        async with Client() as client:
            asking = asyncio.create_task(client.get_json(f"{server.url}/", deadline_s=30))
            done, _ = await asyncio.wait([asking], timeout=0.1)
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
            return not done and asking.cancelled()

    assert asyncio.run(run())


def test_a_tls_server_that_never_shakes_hands_leaves_no_socket_behind(server: Loopback, get: Get) -> None:
    server.put("*", loopback.silence)

    answer = get(server.url.replace("http:", "https:"), deadline_s=0.2)
    gc.collect()

    assert answer.error == "timeout"


def test_speaking_tls_to_who_does_not_is_an_error() -> None:
    async def run() -> Answer:
        async def mumble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            writer.close()

        listening = await asyncio.start_server(mumble, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        async with listening, Client() as client:
            return await client.get_json(f"https://127.0.0.1:{port}/", deadline_s=2)

    assert asyncio.run(run()).error == "TLS failed"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "119"}, 119.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "0.25"}, 0.25),
        ({"Retry-After": "1000000000000"}, 3600.0),
        ({"Retry-After": "9" * 200}, 3600.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "1e3"}, None),
        ({"Retry-After": "٥"}, None),
        ({"Retry-After": ""}, None),
        ({}, None),
        ({"Retry-After": "Sat, 21 Nov 2026 08:02:00 GMT", "Date": "Sat, 21 Nov 2026 08:00:00 GMT"}, 120.0),
        ({"Retry-After": "Sat, 21 Nov 2026 07:00:00 GMT", "Date": "Sat, 21 Nov 2026 08:00:00 GMT"}, 0.0),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT", "Date": "Sat, 21 Nov 2026 08:00:00 GMT"}, 3600.0),
        ({"Retry-After": "Sat, 21 Nov 2026 08:02:00 GMT"}, None),
        ({"Retry-After": "Sat, 99 Nov 2026 08:02:00 GMT", "Date": "Sat, 21 Nov 2026 08:00:00 GMT"}, None),
    ],
)
def test_retry_after_is_read_within_an_hour_or_not_at_all(
    server: Loopback, headers: dict[str, str], seconds: float | None, get: Get
) -> None:
    coded = {name: value.encode().decode("latin-1") for name, value in headers.items()}
    server.put("/", reply({"error": {"code": 500}}, 500, coded))

    assert get(f"{server.url}/").retry_after_s == seconds


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"retry_after": 0.65}, 0.65),
        ({"retry_after": 10**12}, 3600.0),
        ({"retry_after": -1}, 7.0),
        ({"retry_after": True}, 7.0),
        ({"retry_after": None}, 7.0),
        ({"message": "You are being blocked"}, 7.0),
        ("<html>Error 1015</html>", 7.0),
    ],
)
def test_the_bodys_own_retry_after_goes_before_the_header(
    server: Loopback, body: object, seconds: float, post: Post
) -> None:
    server.put("/", reply(body, 429, {"Retry-After": "7"}))

    assert post(f"{server.url}/").retry_after_s == seconds


@pytest.mark.parametrize("status", [429, 503])
def test_who_asks_to_wait_is_not_asked_again_until_then(server: Loopback, status: int) -> None:
    server.put("/first", reply({}, status, {"Retry-After": "90"}))
    server.put("/second", reply({}))

    async def ask_twice(client: Client) -> tuple[Answer, Answer]:
        first = await client.get_json(f"{server.url}/first", deadline_s=2)
        return first, await client.get_json(f"{server.url}/second", deadline_s=2)

    first, second = with_client(ask_twice)

    assert (first.status, first.error, first.retry_after_s) == (status, f"HTTP {status}", 90.0)
    assert second.status is None
    assert second.error == f"asked to wait (HTTP {status}), 1min left"
    assert second.retry_after_s is not None
    assert 80 < second.retry_after_s <= 90
    assert len(server.asked) == 1


def test_a_wait_ends_and_then_the_question_is_asked(server: Loopback) -> None:
    server.put("/", reply({}, 429, {"Retry-After": "0.3"}), reply({"usd": 1}))

    async def ask_three_times(client: Client) -> list[str | None]:
        errors = [(await client.get_json(f"{server.url}/", deadline_s=2)).error for _ in range(2)]
        await asyncio.sleep(0.35)
        return [*errors, (await client.get_json(f"{server.url}/", deadline_s=2)).error]

    assert with_client(ask_three_times) == ["HTTP 429", "asked to wait (HTTP 429), 1s left", None]


def test_a_wait_is_one_hosts_own_and_other_errors_ask_for_none(server: Loopback) -> None:
    with Loopback() as other:
        server.put("/", reply({}, 429, {"Retry-After": "90"}))
        other.put("/", reply({}, 500, {"Retry-After": "90"}), reply({}))

        async def ask(client: Client) -> list[str | None]:
            urls = [f"{server.url}/", f"{other.url}/", f"{other.url}/"]
            return [(await client.get_json(url, deadline_s=2)).error for url in urls]

        assert with_client(ask) == ["HTTP 429", "HTTP 500", None]


def test_a_429_whose_body_is_broken_off_is_a_429_all_the_same(server: Loopback) -> None:
    server.put("/", raw(b"HTTP/1.1 429 Slow\r\nRetry-After: 60\r\nContent-Length: 50\r\n\r\n{"))

    answer = get_once(f"{server.url}/")

    assert (answer.error, answer.retry_after_s) == ("HTTP 429", 60.0)


def test_a_name_lookup_that_hangs_does_not_hold_up_the_end() -> None:
    finish = threading.Event()
    started = time.monotonic()

    async def run() -> bool:
        async with Client():
            looking_up = asyncio.get_running_loop().run_in_executor(None, finish.wait, 30)
            try:
                await asyncio.wait_for(looking_up, 0.1)
            except TimeoutError:
                return True
            return False

    assert asyncio.run(run())
    assert time.monotonic() - started < 5
    finish.set()


def test_a_lookup_gives_its_result_or_its_error(server: Loopback) -> None:
    async def run() -> tuple[object, str]:
        async with Client() as client:
            loop = asyncio.get_running_loop()
            (found, *_) = await loop.run_in_executor(None, socket.getaddrinfo, "127.0.0.1", 80)
            answer = await client.get_json("http://no-such-host.invalid/", deadline_s=5)
            return found[4][1], answer.error or ""

    assert asyncio.run(run()) == (80, "host not found")


def test_cookies_are_neither_kept_nor_sent_back(server: Loopback) -> None:
    server.put("/", reply({}, headers={"Set-Cookie": "id=1; Path=/; Max-Age=9999"}))

    async def ask_twice(client: Client) -> None:
        for _ in range(2):
            await client.get_json(f"{server.url}/", deadline_s=2)

    with_client(ask_twice)

    assert ["cookie" in asked.headers for asked in server.asked] == [False, False]


def test_a_message_that_was_accepted_is_good_whatever_the_body_says(server: Loopback, post: Post) -> None:
    server.put("/slack", reply("ok", headers={"Content-Type": "text/html"}))
    server.put("/discord", reply(b"", 204))
    server.put("/dripping", loopback.drip)

    slack, discord = post(f"{server.url}/slack", {"text": "é\ud800"}), post(f"{server.url}/discord")
    dripping = post(f"{server.url}/dripping", deadline_s=0.2)

    assert (slack.error, slack.status, slack.text, slack.document) == (None, 200, "ok", None)
    assert (discord.error, discord.status, discord.text) == (None, 204, "")
    assert (dripping.error, dripping.status) == (None, 200)
    assert json.loads(server.asked[0].body) == {"text": "é\ud800"}
    assert server.asked[0].headers["content-type"] == "application/json"


def test_a_message_that_was_refused_says_how_and_is_not_held_back_the_next_time(server: Loopback) -> None:
    server.put("/", reply({"message": "Unknown Webhook", "code": 10015}, 404), reply({}, 429, {"Retry-After": "60"}))

    async def post_three_times(client: Client) -> list[Answer]:
        return [await client.post_json(f"{server.url}/", {}, deadline_s=2) for _ in range(3)]

    answers = with_client(post_three_times)

    assert [answer.error for answer in answers] == ["HTTP 404", "HTTP 429", "HTTP 429"]
    assert answers[0].document == {"message": "Unknown Webhook", "code": 10015}
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [200, 401])
@pytest.mark.parametrize(
    "said",
    [
        f"Invalid key {SECRET}",
        f'{{"error": "Invalid key {SECRET}", "price": 1}}',
        f'{{"{SECRET}": 1}}',
        '{"error": "\\u0043G-' + SECRET[3:] + '"}',
        '{"error": "' + "".join(f"\\u{ord(letter):04x}" for letter in SECRET) + '"}',
    ],
)
def test_a_secret_that_a_server_echoes_is_nowhere_in_the_answer(
    server: Loopback, said: str, status: int, get: Get
) -> None:
    server.put("/", reply(said, status))

    answer = get(f"{server.url}/", headers={"x-cg-demo-api-key": SECRET})

    assert SECRET[4:] not in repr(answer)
    assert "[redacted]" in answer.raw_json
    json.loads(answer.raw_json)


def test_a_webhooks_token_that_a_server_echoes_is_nowhere_in_the_answer(server: Loopback, post: Post) -> None:
    path = "/hooks/shortish-token/0123456789abcdefXYZ"
    server.put(path, reply(f"no such hook {server.url}{path} {path} 0123456789abcdefXYZ", 404))

    answer = post(f"{server.url}{path}")

    assert "0123456789abcdefXYZ" not in repr(answer)
    assert answer.text.startswith("no such hook")


def test_no_log_tells_a_url_or_a_header(
    server: Loopback, caplog: pytest.LogCaptureFixture, get: Get, post: Post
) -> None:
    server.put("*", reply({}))
    caplog.set_level(logging.DEBUG)

    post(f"{server.url}/webhooks/1/{SECRET}", headers={"Authorization": f"Bot {SECRET}"})
    get(f"{server.url}/", headers={"x-cg-demo-api-key": SECRET})

    assert SECRET not in caplog.text


def test_a_proxy_of_the_environment_is_used_but_not_for_this_machine(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Loopback() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        proxy.put("*", reply({"by": "proxy"}))
        server.put("/", reply({"by": "server"}))

        here, there = get_once(f"{server.url}/"), get_once("http://pool.invalid/stats")

        assert (here.document, there.document) == ({"by": "server"}, {"by": "proxy"})
        assert [asked.target for asked in proxy.asked] == ["http://pool.invalid/stats"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("ALL_PROXY", "socks5://127.0.0.1:1080"), ("HTTPS_PROXY", "http://[::1"), ("SSL_CERT_FILE", "/none")],
)
def test_an_environment_that_is_not_usable_is_an_error_and_is_not_gone_around(
    server: Loopback, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    server.put("/", reply({}))

    here, there = get_once(f"{server.url}/"), get_once("http://pool.invalid/")

    assert here.error is None
    assert there.error == "the proxy or the certificates named in the environment are not usable"
