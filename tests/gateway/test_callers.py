"""Who calls, how often they may, and what they have used."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from facewright.core.errors import FacewrightError
from facewright.gateway.addresses import grpc_peer_name
from facewright.gateway.api_keys import LONGEST_KEY, KeyHolder, key_hash, new_key
from facewright.gateway.call import Caller
from facewright.gateway.callers import KEYS_VARIABLE, Callers, Clocks, by_name
from facewright.gateway.followed_files import follow
from facewright.gateway.usage import Usage, usage_text
from facewright_client.contract import ErrorCode

KEY = new_key()
HOME = "192.0.2.7"


@dataclass
class Clock:
    """Stands still until it is moved."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def holder(name: str = "studio", key: str = KEY, rate: int | None = None) -> KeyHolder:
    return KeyHolder(name, (key_hash(key),), rate=rate)


def key_file(path: Path, *holders: KeyHolder) -> Path:
    """Written as editors do: beside it, and then put in its place."""
    beside = path.with_suffix(".new")
    beside.touch(mode=0o600)
    beside.write_text("".join(f"{one.line()}\n" for one in holders))
    return beside.replace(path)


def test_metrics_are_for_keys_that_say_so() -> None:
    other = new_key()
    callers = Callers([holder(), KeyHolder("prometheus", (key_hash(other),), metrics=True)])
    assert not callers.identify([f"Bearer {KEY}"], HOME).reads_metrics
    assert callers.identify([f"Bearer {other}"], HOME).reads_metrics
    assert Callers().identify([], HOME).reads_metrics


def test_without_keys_everybody_is_their_address() -> None:
    callers = Callers()
    assert not callers.keys_asked
    assert callers.identify([], HOME) == Caller(HOME)
    assert callers.identify([f"Bearer {KEY}"], HOME) == Caller(HOME), "a key that nobody asked for"
    callers.spend(Caller(HOME))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_a_key_names_its_caller_whatever_the_case_of_the_scheme(scheme: str) -> None:
    callers = Callers([KeyHolder("studio", (key_hash(KEY),), most_at_once=3, best_priority=2)])
    assert callers.identify([f"{scheme} {KEY}"], HOME) == Caller("studio", 2, 3, reads_metrics=False)


def test_two_keys_are_one_caller_while_one_takes_the_place_of_the_other() -> None:
    new = new_key()
    callers = Callers([KeyHolder("studio", (key_hash(KEY), key_hash(new)))])
    assert callers.identify([f"Bearer {KEY}"], HOME) == callers.identify([f"Bearer {new}"], HOME)


SHORT = "correct-horse-battery"
LONG = LONGEST_KEY * "k" + "kk"


@pytest.mark.parametrize(
    "authorization",
    [
        [],
        [""],
        [KEY],
        [f"Basic {KEY}"],
        [f"Bearer{KEY}"],
        [f"Bearer {KEY.swapcase()}"],
        [f"Bearer {KEY} "],
        [f"Bearer {KEY}\n"],
        [f"Bearer {KEY}, Bearer {KEY}"],
        [f"Bearer {KEY}", f"Bearer {KEY}"],
        [f"Bearer {new_key()}"],
        [f"Bearer {key_hash(KEY).hex()}"],
        [f"Bearer {SHORT}"],
        [f"Bearer {LONG}"],
        ["Bearer " + "é" * 40],
        ["Bearer " + "=" * 100_000],
    ],
)
def test_nobody_else_comes_in(authorization: list[str]) -> None:
    """Short keys among them, whose hashes stand in the file: a password that somebody made up could be
    guessed.
    """
    callers = Callers([holder(), holder("guessable", SHORT), holder("endless", LONG)])
    with pytest.raises(FacewrightError) as refusal:
        callers.identify(authorization, HOME)
    assert refusal.value.code == ErrorCode.UNAUTHENTICATED
    assert "Authorization: Bearer" in refusal.value.hint
    assert not any(secret and secret in str(refusal.value) for secret in authorization)
    assert "facewright_unauthenticated_total 1\n" in list(callers.metrics())


def test_a_key_ends_at_its_time() -> None:
    wall = Clock()
    end = datetime.fromtimestamp(1100, UTC)
    callers = Callers([KeyHolder("studio", (key_hash(KEY),), expires=end)], clocks=Clocks(wall=wall))
    wall.now = 1099.9
    assert callers.identify([f"Bearer {KEY}"], HOME).name == "studio"
    wall.now = 1100.0
    with pytest.raises(FacewrightError, match="the API key of studio ended 1970-01-01T00:18:20"):
        callers.identify([f"Bearer {KEY}"], HOME)


def test_a_minutes_worth_may_come_at_once_and_then_one_after_the_other() -> None:
    clock = Clock()
    callers = Callers([holder(rate=6), holder("other", new_key())], clocks=Clocks(clock))
    studio = callers.identify([f"Bearer {KEY}"], HOME)
    for _ in range(6):
        callers.spend(studio)
    for waited, after in ((0.0, 10.0), (4.0, 6.0)):
        clock.now += waited
        with pytest.raises(FacewrightError, match="studio may ask 6 times a minute") as refusal:
            callers.spend(studio)
        assert refusal.value.code == ErrorCode.OVERLOADED
        assert refusal.value.retry_after_s == pytest.approx(after), "a refusal costs nothing"
    callers.spend(Caller("other"))
    clock.now += 6.0
    callers.spend(studio)
    with pytest.raises(FacewrightError):
        callers.spend(studio)
    clock.now += 3600.0
    for _ in range(6):
        callers.spend(studio)
    with pytest.raises(FacewrightError):
        callers.spend(studio)


def test_a_new_file_is_taken_and_a_broken_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = key_file(tmp_path / "keys.toml", holder(rate=1))
    clock = Clock()
    callers = Callers(keys_file=path, clocks=Clocks(clock))
    callers.reload()
    assert not caplog.records, "nothing has changed"
    studio = callers.identify([f"Bearer {KEY}"], HOME)
    callers.spend(studio)

    path.write_text(f"{holder().line()}\nnext = {{ sha256 = '{KEY}' }}\n")
    callers.reload()
    callers.reload()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "API keys stay as they were" in record.getMessage()
    assert "line 2" in record.getMessage()
    path.unlink()
    callers.reload()
    assert "cannot be read" in caplog.records[-1].getMessage()
    path.touch(mode=0o600)
    callers.reload()
    assert "holds no key" in caplog.records[-1].getMessage()
    assert callers.identify([f"Bearer {KEY}"], HOME) == studio
    with pytest.raises(FacewrightError, match="may ask 1 times"):
        callers.spend(studio)

    new = new_key()
    key_file(path, holder("next", new), holder("studio", new_key(), rate=2))
    callers.reload()
    assert caplog.records[-1].getMessage() == "API keys read again: 2 callers"
    assert callers.identify([f"Bearer {new}"], HOME).name == "next"
    callers.spend(studio)
    with pytest.raises(FacewrightError, match="nobody has this API key"):
        callers.identify([f"Bearer {KEY}"], HOME)
    assert not any(secret in caplog.text for secret in (KEY, new, key_hash(KEY).hex(), key_hash(new).hex()))


def test_a_secret_of_kubernetes_is_replaced_by_one_of_its_links(tmp_path: Path) -> None:
    new = new_key()
    for version, key in (("..1", KEY), ("..2", new)):
        (tmp_path / version).mkdir()
        key_file(tmp_path / version / "keys.toml", holder(key=key))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "keys.toml").symlink_to("..data/keys.toml")
    callers = Callers(keys_file=tmp_path / "keys.toml")
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    callers.reload()
    assert callers.identify([f"Bearer {new}"], HOME).name == "studio"
    with pytest.raises(FacewrightError):
        callers.identify([f"Bearer {KEY}"], HOME)


def test_what_changes_is_followed_off_the_loop(tmp_path: Path) -> None:
    path = key_file(tmp_path / "keys.toml", holder())
    callers = Callers(keys_file=path)
    new = new_key()

    async def changed() -> Caller:
        following = asyncio.create_task(follow(callers, every_s=0.01))
        key_file(path, holder("next", new))
        try:
            while True:
                await asyncio.sleep(0.01)
                try:
                    return callers.identify([f"Bearer {new}"], HOME)
                except FacewrightError:
                    continue
        finally:
            following.cancel()

    assert asyncio.run(asyncio.wait_for(changed(), 20)).name == "next"


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_file_that_everybody_may_read_is_complained_of(
    mode: int, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = key_file(tmp_path / "keys.toml", holder())
    path.chmod(mode)
    Callers(keys_file=path)
    assert [record.getMessage() for record in caplog.records] == (
        [f"everybody on this machine may read {path}; mend: chmod 600 {path}"] if warned else []
    )


def _writable(path: Path) -> None:
    key_file(path, holder())
    path.chmod(0o666)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _path: None, "cannot be read: No such file"),
        (Path.mkdir, "cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "is no text"),
        (_writable, "may write into"),
        (Path.touch, "holds no key"),
    ],
)
def test_a_server_does_not_start_with_a_file_that_is_no_key_file(
    make: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "keys.toml"
    make(path)
    with pytest.raises(FacewrightError, match=words) as refusal:
        Callers(keys_file=path)
    assert refusal.value.code == ErrorCode.BAD_OPTION


def test_keys_come_from_a_file_or_from_a_variable_and_not_from_both(tmp_path: Path) -> None:
    path = key_file(tmp_path / "keys.toml", holder())
    text = {KEYS_VARIABLE: path.read_text()}
    for callers in (Callers.from_settings(path, {}), Callers.from_settings(None, text)):
        callers.reload()
        assert callers.identify([f"Bearer {KEY}"], HOME).name == "studio"
    assert not Callers.from_settings(None, {}).keys_asked
    with pytest.raises(FacewrightError, match="give one of them"):
        Callers.from_settings(path, text)
    with pytest.raises(FacewrightError, match=r"\$FACEWRIGHT_KEYS holds no key"):
        Callers.from_settings(None, {KEYS_VARIABLE: ""})


def test_what_a_caller_has_used_is_on_the_metrics_page() -> None:
    callers = Callers([holder()])
    studio = callers.identify([f"Bearer {KEY}"], HOME)
    usage = callers.usage(studio)
    usage.requests += 3
    usage.inside_seconds += 0.5
    callers.usage(studio).photo_bytes += 1 << 40
    samples = _samples("".join(callers.metrics()))
    assert samples == {
        ("facewright_caller_requests_total", "studio"): 3,
        ("facewright_caller_refused_total", "studio"): 0,
        ("facewright_caller_failures_total", "studio"): 0,
        ("facewright_caller_photo_bytes_total", "studio"): 1 << 40,
        ("facewright_caller_inside_seconds_total", "studio"): 0.5,
        ("facewright_unauthenticated_total", ""): 0,
    }


def test_addresses_are_not_on_the_metrics_page() -> None:
    callers = Callers()
    for number in range(100):
        callers.usage(Caller(f"192.0.2.{number}")).requests += 1
    samples = _samples("".join(callers.metrics()))
    assert samples["facewright_caller_requests_total", "anybody"] == 100
    assert "192.0.2" not in "".join(callers.metrics())


def test_labels_are_escaped() -> None:
    name = 'a"b\\c\nd'
    samples = _samples("".join(usage_text({name: Usage(requests=1)})))
    assert samples["facewright_caller_requests_total", name] == 1


def _samples(text: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("caller", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


class _WhoAsks(grpc.GenericRpcHandler):
    """Answers every call with its caller's name."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    def service(self, _details: object) -> grpc.RpcMethodHandler:
        async def answer(_request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            shown = [value for key, value in context.invocation_metadata() if key == "authorization"]
            return self._callers.identify(shown, grpc_peer_name(context.peer())).name.encode()

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.mark.parametrize(("place", "name"), [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1"), ("unix", "unix")])
def test_grpc_says_who_calls_by_metadata_and_by_address(place: str, name: str, tmp_path: Path) -> None:
    if place == "[::1]" and not _has_ipv6():
        pytest.skip("this machine has no IPv6")

    async def names() -> list[bytes]:
        answers = []
        for callers in (Callers(), Callers([holder()])):
            server = grpc.aio.server()
            server.add_generic_rpc_handlers((_WhoAsks(callers),))
            address = f"unix:{tmp_path / 'door'}" if place == "unix" else f"{place}:0"
            port = server.add_insecure_port(address)
            await server.start()
            target = address if place == "unix" else f"{place}:{port}"
            async with grpc.aio.insecure_channel(target) as channel:
                ask = channel.unary_unary("/any/thing")
                answers.append(await ask(b"", metadata=(("authorization", f"Bearer {KEY}"),), timeout=20))
            await server.stop(None)
        return answers

    assert asyncio.run(names()) == [name.encode(), b"studio"]


def test_headers_that_come_several_times_are_one() -> None:
    headers = iter([("a", "1"), ("b", "2"), ("a", "3")])
    assert by_name(headers) == {"a": "1, 3", "b": "2"}
