"""Real processes: started, watched and stopped."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from stack.errors import PortTaken, ProgramFailed
from stack.processes import Running, check_port, started_programs

SERVER = """
import http.server, sys
server = http.server.HTTPServer(("127.0.0.1", {port}), http.server.SimpleHTTPRequestHandler)
server.serve_forever()
"""
PARENT_OF_ONE = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session={apart})
print(child.pid, flush=True)
time.sleep(600)
"""
PARENT_OF_ONE, PARENT_OF_ONE_APART = (PARENT_OF_ONE.format(apart=apart) for apart in (False, True))
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"

TELLS_ITS_PARENT = """
import os, signal, sys, time
def tell(*_):
    os.kill(os.getppid(), {number})
    time.sleep(0.1)  # it is still waited for when the signal comes
    sys.exit()
signal.signal(signal.SIGTERM, tell)
print("ready", flush=True)
time.sleep(600)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_log(log: Path, seconds: float = 20) -> str:
    deadline = time.monotonic() + seconds
    while not log.read_text().strip():
        assert time.monotonic() < deadline, "the program printed nothing"
        time.sleep(0.02)
    return log.read_text().strip()


def gone(pid: int, seconds: float = 10) -> bool:
    """Whether the process has ended; one that only waits to be collected has."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_waits_until_a_program_is_healthy(program) -> None:
    port = free_port()
    with started_programs() as running:
        running.append(Running(program(SERVER.format(port=port), health=f"http://127.0.0.1:{port}/")))
        running[0].wait_healthy(20)
        running[0].check_alive()


def test_says_how_a_program_ended_and_what_it_printed(program) -> None:
    with started_programs() as running:
        running.append(Running(program("raise SystemExit('no such table')", health="http://127.0.0.1:1/")))
        with pytest.raises(ProgramFailed, match="probe ended with code 1") as failure:
            running[0].wait_healthy(20)
    assert failure.value.tail == "no such table"
    assert "probe.log" in failure.value.hint


def test_gives_up_on_a_program_that_never_becomes_healthy(program) -> None:
    with started_programs() as running:
        running.append(Running(program("import time; time.sleep(600)", health="http://127.0.0.1:1/")))
        with pytest.raises(ProgramFailed, match="was not healthy after 0 s"):
            running[0].wait_healthy(0.3)


def test_waits_for_a_program_that_ends_by_itself(program) -> None:
    Running(program("print('done')")).wait_done(20)
    with pytest.raises(ProgramFailed, match="ended with code 3"):
        Running(program("raise SystemExit(3)")).wait_done(20)


def test_a_program_that_takes_too_long_is_named(program) -> None:
    with started_programs() as running:
        running.append(Running(program("import time; time.sleep(600)")))
        with pytest.raises(ProgramFailed, match="took longer than 0 s"):
            running[0].wait_done(0.1)


@pytest.mark.parametrize("code", [PARENT_OF_ONE, PARENT_OF_ONE_APART], ids=["in its session", "in another session"])
def test_stops_a_program_with_everything_it_started(program, code: str) -> None:
    with started_programs() as running:
        running.append(Running(program(code)))
        child = int(wait_for_log(running[0].program.log))
    assert gone(child)


def test_a_program_that_does_not_listen_is_ended_all_the_same(program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stack.processes.STOP_SECONDS", 0.2)
    running = Running(program(DEAF))
    wait_for_log(running.program.log)
    running.stop()
    with pytest.raises(ProgramFailed, match="ended with code -9"):
        running.check_alive()


def test_everything_is_stopped_when_a_step_fails(program) -> None:
    children: list[int] = []

    def failing_step() -> None:
        with started_programs() as running:
            running.append(Running(program(PARENT_OF_ONE)))
            children.append(int(wait_for_log(running[0].program.log)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing_step()
    assert gone(children[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_being_told_to_end_stops_everything_too(program, number: signal.Signals) -> None:
    children: list[int] = []

    def interrupted_step() -> None:
        with started_programs() as running:
            running.append(Running(program(PARENT_OF_ONE)))
            children.append(int(wait_for_log(running[0].program.log)))
            os.kill(os.getpid(), number)
            signal.pause()

    with pytest.raises(KeyboardInterrupt):
        interrupted_step()
    assert gone(children[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_being_told_again_while_stopping_leaves_nothing_behind(program, number: signal.Signals) -> None:
    with started_programs() as running:
        running.append(Running(program(PARENT_OF_ONE)))
        child = int(wait_for_log(running[0].program.log))
        running.append(Running(program(TELLS_ITS_PARENT.format(number=int(number)), name="second")))
        wait_for_log(running[1].program.log)
    assert gone(child)


def test_a_taken_port_is_named_with_its_variable() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = int(other.getsockname()[1])
        with pytest.raises(PortTaken, match=f"port {port}, where api should listen, is taken") as taken:
            check_port("127.0.0.1", port, "API_PORT", "api")
    assert f"API_PORT={port + 1000}" in taken.value.hint
    check_port("127.0.0.1", port, "API_PORT", "api")
