"""The tools of the fault bench: what they break is broken, and whole again afterwards."""

import subprocess
import sys
from random import Random

import httpx
import pytest

from stack.faults.bench import ALL, plan
from stack.faults.network import Relay
from stack.faults.process_kinds import damage
from stack.faults.process_stack import family

PARENT = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'input()']).pid, flush=True); input()"


def ask(relay: Relay) -> object:
    return httpx.get(f"http://127.0.0.1:{relay.port}/", trust_env=False, timeout=0.5).json()


@pytest.mark.parametrize("fault", ["cut", "silence"])
def test_a_connection_is_broken_and_restored(json_server, fault: str) -> None:
    relay = Relay(int(json_server({"GET /": (200, {"all": "well"})}).rpartition(":")[2]))
    assert ask(relay) == {"all": "well"}
    getattr(relay, fault)()
    with pytest.raises(httpx.TransportError):
        ask(relay)
    relay.restore()
    assert ask(relay) == {"all": "well"}


def test_a_seed_decides_the_order_and_the_part_how_many() -> None:
    assert plan(ALL, "", 1, 7) == plan(ALL, "", 1, 7) != plan(ALL, "", 1, 8)
    assert len(plan(ALL, "", 1, 7)) == sum(one.times for one in ALL) >= 320
    assert {one.name for one in plan(ALL, "", 0.01, 7)} == {one.name for one in ALL}
    assert {one.name for one in plan(ALL, "disk,clock", 1, 7)} == {"disk full", "clock moved"}


def test_finds_what_a_program_has_started() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert [pid for pid, _ in family(parent.pid)] == [child]
        assert "input()" in family(parent.pid)[0][1]
        parent.communicate(b"\n\n")


def test_a_damaged_file_is_another(tmp_path) -> None:
    path = tmp_path / "file"
    for seed in range(20):
        path.write_bytes(bytes(range(256)))
        damage(path, Random(seed))
        assert path.read_bytes() != bytes(range(256))
