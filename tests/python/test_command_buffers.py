# SPDX-License-Identifier: MIT
"""Command buffers: order, states, handlers, errors, threads, and the interpreter's lock."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import mpsnn as mps

Status = mps.CommandBufferStatus


@pytest.fixture
def queue(cpu: mps.Device) -> mps.CommandQueue:
    return cpu.command_queue("work")


def held(queue: mps.CommandQueue) -> tuple[mps.CommandBuffer, threading.Event]:
    """A committed buffer that runs until the event is set."""
    event = threading.Event()
    commands = mps.CommandBuffer(queue, "held")
    commands.encode_host_function("wait", lambda: event.wait(20))
    commands.commit()
    return commands, event


def double(device: mps.Device) -> mps.Graph:
    image = mps.ImageNode("x")
    return mps.Graph(device, [mps.AdditionNode(image, image).result_image])


def test_nothing_runs_before_the_commit(queue: mps.CommandQueue) -> None:
    ran: list[int] = []
    commands = mps.CommandBuffer(queue, "first")
    commands.encode_host_function("note", lambda: ran.append(1))
    assert commands.status == Status.NOT_ENQUEUED
    assert (commands.label, queue.label) == ("first", "work")
    assert not ran
    commands.commit()
    commands.wait_until_completed()
    assert ran == [1]
    assert commands.status == Status.COMPLETED
    assert commands.error is None


def test_work_runs_in_order(queue: mps.CommandQueue) -> None:
    ran: list[int] = []
    buffers = [mps.CommandBuffer(queue) for _ in range(5)]
    for index, commands in enumerate(buffers):
        for part in range(3):
            commands.encode_host_function("note", lambda i=3 * index + part: ran.append(i))
    for commands in reversed(buffers):
        commands.commit()
    queue.wait_until_idle()
    assert ran == [3 * index + part for index in reversed(range(5)) for part in range(3)]


def test_handlers_are_called_once_each_in_order(queue: mps.CommandQueue) -> None:
    calls: list[str] = []
    commands = mps.CommandBuffer(queue)
    main = threading.get_ident()
    threads = set()

    def note(name: str) -> None:
        calls.append(name)
        threads.add(threading.get_ident())

    commands.add_completed_handler(lambda c: note(f"completed {c.label}"))
    commands.add_scheduled_handler(lambda c: note(f"scheduled {c.label}"))
    commands.add_completed_handler(lambda _: note("completed too"))
    commands.encode_host_function("work", lambda: note("work"))
    commands.label = "b"
    commands.commit()
    commands.wait_until_completed()
    assert calls == ["scheduled b", "work", "completed b", "completed too"]
    assert main not in threads


def test_commit_and_continue_keeps_the_order_and_waits_for_all(queue: mps.CommandQueue) -> None:
    ran: list[int] = []
    commands = mps.CommandBuffer(queue)
    for piece in range(3):
        commands.encode_host_function("note", lambda i=piece: ran.append(i))
        commands.add_completed_handler(lambda _, i=piece: ran.append(10 + i))
        commands.commit_and_continue()
    commands.wait_until_completed()
    assert ran == [0, 10, 1, 11, 2, 12]
    commands.encode_host_function("note", lambda: ran.append(3))
    commands.commit()
    commands.wait_until_completed()
    assert ran[-1] == 3


def test_states_that_do_not_fit(queue: mps.CommandQueue) -> None:
    commands = mps.CommandBuffer(queue, "twice")
    with pytest.raises(mps.StateError, match="twice"):
        commands.wait_until_completed()
    commands.commit()
    with pytest.raises(mps.StateError, match="twice"):
        commands.commit()
    with pytest.raises(mps.StateError, match="twice"):
        commands.encode_host_function("late", lambda: None)
    with pytest.raises(mps.StateError):
        double(queue.device).encode(commands, {"x": np.ones((1, 1, 1, 1), np.float32)})
    commands.wait_until_completed()


def test_reading_before_the_commit_is_refused(cpu: mps.Device) -> None:
    commands = mps.CommandBuffer(cpu.command_queue())
    image = double(cpu).encode(commands, {"x": np.ones((1, 1, 1, 1), np.float32)})[0]
    assert image is not None
    for read in (image.numpy, image.read, lambda: np.asarray(image)):
        with pytest.raises(mps.StateError, match="commit"):
            read()
    with pytest.raises(BufferError):
        memoryview(image)
    commands.commit()
    assert image.numpy().item() == 2


@pytest.mark.parametrize("where", ["function", "scheduled", "completed"])
def test_an_exception_in_a_handler_becomes_the_buffers_error(
    queue: mps.CommandQueue, where: str
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("the handler's own")

    commands = mps.CommandBuffer(queue, "faulty")
    if where == "function":
        commands.encode_host_function("fails", fail)
    elif where == "scheduled":
        commands.add_scheduled_handler(fail)
    else:
        commands.add_completed_handler(fail)
    commands.commit()
    for _ in range(2):
        with pytest.raises((KeyError, mps.Error), match="the handler's own"):
            commands.wait_until_completed()
    assert "the handler's own" in str(commands.error)
    assert commands.status == Status.ERROR
    other = mps.CommandBuffer(queue)
    other.commit()
    other.wait_until_completed()
    assert other.error is None, "the queue is usable again"


def test_work_after_a_failure_is_not_run(queue: mps.CommandQueue) -> None:
    ran: list[str] = []
    commands = mps.CommandBuffer(queue)
    commands.encode_host_function("fails", lambda: 1 / 0)
    commands.encode_host_function("after", lambda: ran.append("after"))
    graph = double(queue.device)
    image = graph.encode(commands, {"x": np.ones((1, 1, 1, 1), np.float32)})[0]
    assert image is not None
    commands.commit()
    with pytest.raises((ZeroDivisionError, mps.Error)):
        commands.wait_until_completed()
    assert not ran
    with pytest.raises((ZeroDivisionError, mps.Error)):
        image.numpy()


def test_what_is_no_function_is_refused(queue: mps.CommandQueue) -> None:
    commands = mps.CommandBuffer(queue)
    for add in (commands.add_completed_handler, commands.add_scheduled_handler):
        with pytest.raises((TypeError, mps.ArgumentTypeError)):
            add(3)  # type: ignore[arg-type]
    with pytest.raises((TypeError, mps.ArgumentTypeError)):
        commands.encode_host_function("three", 3)  # type: ignore[arg-type]


def test_a_handler_may_encode_and_commit(cpu: mps.Device) -> None:
    queue = cpu.command_queue()
    graph = double(cpu)
    results: list[float] = []
    done = threading.Event()

    def go_on(_: mps.CommandBuffer) -> None:
        following = mps.CommandBuffer(queue)
        image = graph.encode(following, {"x": np.full((1, 1, 1, 1), 4, np.float32)})[0]
        following.add_completed_handler(
            lambda _: (results.append(float(np.asarray(image).item())), done.set())
        )
        following.commit()

    commands = mps.CommandBuffer(queue)
    commands.add_completed_handler(go_on)
    commands.commit()
    assert done.wait(20)
    queue.wait_until_idle()
    assert results == [8.0]


def test_waiting_releases_the_lock(queue: mps.CommandQueue) -> None:
    commands, event = held(queue)
    waited: list[bool] = []
    threads = [
        threading.Thread(target=lambda wait=wait: (wait(), waited.append(True)))
        for wait in (commands.wait_until_completed, queue.wait_until_idle, queue.device.synchronize)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    assert not waited
    event.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert len(waited) == 3


def test_reading_releases_the_lock(cpu: mps.Device) -> None:
    event = threading.Event()
    commands = mps.CommandBuffer(cpu.command_queue())
    commands.encode_host_function("wait", lambda: event.wait(20))
    image = double(cpu).encode(commands, {"x": np.ones((1, 2, 2, 1), np.float32)})[0]
    assert image is not None
    commands.commit()
    results: list[np.ndarray] = []
    reads = (
        image.numpy,
        image.read,
        lambda: np.asarray(image),
        lambda: np.array(memoryview(image)),
    )
    threads = [threading.Thread(target=lambda read=read: results.append(read())) for read in reads]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    assert not results
    event.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert len(results) == 4
    assert all(np.all(result == 2) for result in results)


def test_dropping_everything_with_work_in_flight(cpu: mps.Device) -> None:
    ran: list[int] = []
    queue = cpu.command_queue()
    commands = mps.CommandBuffer(queue)
    commands.encode_host_function("slow", lambda: (time.sleep(0.05), ran.append(1)))
    commands.add_completed_handler(lambda _: ran.append(2))
    commands.commit()
    del commands, queue
    gc.collect()
    cpu.synchronize()
    assert ran == [1, 2]


def test_a_graph_from_several_threads_at_once(cpu: mps.Device) -> None:
    graph = double(cpu)
    failures: list[str] = []

    def work(seed: int) -> None:
        generator = np.random.default_rng(seed)
        queue = cpu.command_queue()
        for _ in range(30):
            height, width = generator.integers(1, 20, 2)
            array = generator.random((1, height, width, 3), dtype=np.float32)
            commands = mps.CommandBuffer(queue)
            image = graph.encode(commands, {"x": array})[0]
            commands.commit()
            if not np.array_equal(np.asarray(image), 2 * array):
                failures.append(f"{seed}: {array.shape}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not failures


def test_results_of_one_queue_are_sources_of_another(cpu: mps.Device) -> None:
    graph = double(cpu)
    first, second = (mps.CommandBuffer(cpu.command_queue()) for _ in range(2))
    image = graph.encode(first, {"x": np.ones((1, 1, 1, 1), np.float32)})[0]
    assert image is not None
    last = graph.encode(second, {"x": image})[0]
    first.commit()
    second.commit()
    assert np.asarray(last).item() == 4


AT_EXIT = {
    "work and handlers in flight": """
        commands.encode_host_function("slow", lambda: time.sleep(0.2))
        commands.add_completed_handler(lambda _: print("handled", flush=True))
        commands.commit()
    """,
    "everything dropped": """
        commands.encode_host_function("slow", lambda: time.sleep(0.2))
        commands.add_completed_handler(lambda _: print("handled", flush=True))
        commands.commit()
        del commands, queue, device
    """,
    "recorded but not committed": """
        commands.add_completed_handler(lambda _: print("handled", flush=True))
        print("handled")
    """,
    "a cycle through a handler": """
        def record(commands, keep):
            keep.append(commands)
            commands.encode_host_function("cycle", lambda: keep)
            commands.add_completed_handler(lambda _: (keep, print("handled", flush=True)))
            commands.commit()
        record(commands, [])
        del commands
    """,
    "the last handle of its own queue dropped by a handler": """
        holder = [queue, commands]
        commands.add_completed_handler(lambda _: holder.clear())
        later = mps.CommandBuffer(queue)
        later.encode_host_function("slow", lambda: time.sleep(0.2))
        later.add_completed_handler(lambda _: print("handled", flush=True))
        commands.commit()
        later.commit()
        del commands, queue, later
    """,
    "an event that no one will signal": """
        event = mps.SharedEvent(device)
        commands.encode_wait_for_event(event, 1)
        commands.add_completed_handler(lambda c: (c.error, print("handled", flush=True)))
        commands.commit()
    """,
    "an exception on the way out": """
        commands.encode_host_function("slow", lambda: time.sleep(0.2))
        commands.add_completed_handler(lambda _: print("handled", flush=True))
        commands.commit()
        sys.exit(0)
    """,
}


def run_script(text: str) -> subprocess.CompletedProcess[str]:
    start = """
        import sys, time
        import mpsnn as mps
        device = mps.Device("cpu")
        queue = device.command_queue()
        commands = mps.CommandBuffer(queue)
    """
    script = textwrap.dedent(start) + textwrap.dedent(text)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", AT_EXIT)
def test_the_interpreter_ends_cleanly(name: str) -> None:
    done = run_script(AT_EXIT[name])
    assert (done.returncode, done.stdout, done.stderr) == (0, "handled\n", "")


def test_late_commits_do_not_crash() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(
                """
                import atexit, time

                def late():  # registered before mpsnn's own, so that it runs after it
                    commands = mps.CommandBuffer(queue)
                    commands.encode_host_function("late", lambda: time.sleep(0.1))
                    commands.commit()

                atexit.register(late)
                import mpsnn as mps
                queue = mps.Device("cpu").command_queue()
                """
            ),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_every_failure_is_told_at_exit() -> None:
    done = run_script(
        """
        def fail(number):
            raise KeyError(f"lost {number}")
        for i in range(4):
            commands = mps.CommandBuffer(queue)
            commands.encode_host_function("fails", lambda i=i: fail(i))
            commands.commit()
        """
    )
    assert done.returncode == 0
    assert [number for number in range(4) if f"lost {number}" in done.stderr] == [0, 1, 2, 3]


def test_failures_that_nobody_waited_for_are_told_at_exit() -> None:
    done = run_script(
        """
        def fail():
            raise KeyError("nobody listens")
        commands.encode_host_function("fails", fail)
        commands.commit()
        """
    )
    assert done.returncode == 0
    assert "nobody listens" in done.stderr
