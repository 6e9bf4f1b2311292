"""Allocator: whatever is allocated and released in whatever order, nothing is handed out twice."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from framework.project.resources import Resources
from framework.worker.allocator import Allocation, Allocator
from framework.worker.devices import Look
from framework.worker.gpu import AMD, NVIDIA, Gpu
from framework.worker.ports import PORTS, Ports
from framework.worker.task_variables import gpu_variables

GIBIBYTE = 2**30
ONE = Fraction(1)
HALF = Fraction(1, 2)


class Host:
    """Devices that a test describes; by default each look is a new one."""

    gpu_kind = NVIDIA

    def __init__(self, cpus: Fraction, memory: int = 64 * GIBIBYTE, gpus: Mapping[str, int] = {}) -> None:
        self.cpus = cpus
        self.memory = memory
        self.sizes: dict[str, int] = {}  # MiB of each that has not 40,000
        self.restriction = ""
        self.gpus = dict(gpus)  # MiB in use of each
        self.problem = ""
        self.frozen: Look | None = None

    def look(self, since: float = -math.inf) -> Look:
        if self.frozen is not None:
            return self.frozen
        gpus = [
            Gpu(name[-1], name, "A100", self.sizes.get(name, 40_000), used)
            for name, used in self.gpus.items()
        ]
        return Look(time.monotonic(), gpus, self.problem, self.restriction)


def host(cpus: int = 8, **gpus: int) -> Host:
    return Host(Fraction(cpus), gpus=gpus)


def take(slots: Allocator, needs: Resources) -> Allocation:
    allocation = slots.allocate(needs)
    assert allocation is not None
    return allocation


def fill(slots: Allocator, needs: Resources) -> list[Allocation]:
    allocations = []
    while (allocation := slots.allocate(needs)) is not None:
        allocations.append(allocation)
    return allocations


@pytest.mark.parametrize(
    ("needs", "limit", "fitting"),
    [
        (Resources(), None, 8),
        (Resources(), 3, 3),
        (Resources(), 20, 20),
        (Resources(cpus=Fraction(3)), None, 2),
        (Resources(cpus=Fraction(3)), 20, 2),
        (Resources(cpus=HALF), None, 16),
        (Resources(cpus=HALF), 4, 4),
        (Resources(memory=10 * GIBIBYTE), None, 6),
        (Resources(memory=65 * GIBIBYTE), None, 0),
        (Resources(ONE), None, 3),
        (Resources(Fraction(2)), None, 1),
        (Resources(Fraction(4)), None, 0),
        (Resources(HALF), None, 6),
        (Resources(Fraction(1, 3)), None, 8),
        (Resources(Fraction("0.3")), 20, 9),
        (Resources(ONE, Fraction(4), 4 * GIBIBYTE), None, 2),
        (Resources(ONE, gpu_memory=39 * GIBIBYTE), None, 3),
        (Resources(ONE, gpu_memory=40 * GIBIBYTE), None, 0),
        (Resources(Fraction("0.1"), gpu_memory=15 * GIBIBYTE), None, 6),
        (Resources(Fraction("0.1"), gpu_memory=1), None, 8),
        (Resources(Fraction(2), gpu_memory=39 * GIBIBYTE), None, 1),
        (Resources(Fraction(0), gpu_memory=99 * GIBIBYTE), None, 8),
    ],
)
def test_as_many_as_fit(needs: Resources, limit: int | None, fitting: int) -> None:
    slots = Allocator(host(8, a=0, b=0, c=0), limit)
    room = slots.room(needs)
    assert (room.most, room.now) == (fitting, fitting)
    allocations = fill(slots, needs)
    assert len(allocations) == fitting
    assert slots.room(needs).now == fitting, "those that run count"
    for allocation in allocations:
        slots.release(allocation)
    assert len(fill(slots, needs)) == fitting


@pytest.mark.parametrize("cpus", [Fraction(1, 4), Fraction(3, 2)])
def test_a_host_with_less_than_a_whole_cpu_runs_one_task(cpus: Fraction) -> None:
    assert len(fill(Allocator(Host(cpus), None), Resources())) == 1


def test_each_task_sees_its_own_gpus_only() -> None:
    allocations = fill(Allocator(host(8, a=0, b=0, c=0, d=0), None), Resources(Fraction(2), Fraction(2)))
    seen = [gpu_variables(allocation)["CUDA_VISIBLE_DEVICES"].split(",") for allocation in allocations]
    assert [len(gpus) for gpus in seen] == [2, 2]
    assert sorted(seen[0] + seen[1]) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "needs",
    [
        Resources(),
        Resources(Fraction(1, 3), Fraction("0.1"), 3 * GIBIBYTE, 30 * GIBIBYTE),
        Resources(Fraction(2)),
    ],
)
def test_what_a_task_has_survives_its_worker(needs: Resources) -> None:
    devices = host(8, a=0, b=0, c=0)
    slots = Allocator(devices, None)
    allocation = take(slots, needs)
    message = json.loads(json.dumps(allocation.to_message()))
    found = Allocation.from_message(message)
    assert (found.needs, found.cpus, found.gpus) == (allocation.needs, allocation.cpus, allocation.gpus)
    assert (found.slot, found.port) == (allocation.slot, allocation.port)
    after = Allocator(devices, None)
    after.restore(found)
    for kind in (needs, Resources(ONE), Resources(memory=60 * GIBIBYTE), Resources(cpus=HALF)):
        assert after.room(kind) == slots.room(kind)
    for each in (fill(slots, Resources(ONE)), fill(after, Resources(ONE))):
        assert not {gpu for one in each for gpu in one.gpus if found.share > 0}.intersection(found.gpus)
    after.release(found)
    assert found not in after._allocations


def test_a_gpu_that_a_task_of_an_earlier_worker_uses_is_ours() -> None:
    devices = host(8, a=30_000)
    slots = Allocator(devices, None)
    slots.restore(Allocation(Resources(ONE), ONE, ("a",)))
    room = slots.room(Resources(ONE))
    assert (room.now, room.trouble) == (1, "")
    assert slots.allocate(Resources(ONE)) is None


def test_a_task_that_has_more_than_there_is_now_leaves_no_room() -> None:
    slots = Allocator(host(2, a=0), None)
    slots.restore(Allocation(Resources(Fraction(2), Fraction(4), 100 * GIBIBYTE), Fraction(4), ("a", "gone")))
    assert slots.room(Resources(cpus=ONE)).now == 1, "itself"
    assert slots.allocate(Resources()) is None


def test_a_task_without_a_gpu_sees_none() -> None:
    assert take(Allocator(host(8, a=0), None), Resources(memory=1)).gpus == ()


def test_a_task_knows_whose_gpus_it_has() -> None:
    devices = host(8, a=0)
    assert take(Allocator(devices, None), Resources(ONE)).gpu_kind == NVIDIA
    devices.gpu_kind = AMD
    assert take(Allocator(devices, None), Resources(ONE)).gpu_kind == AMD


@pytest.mark.parametrize(
    ("needs", "limit", "threads"),
    [
        (Resources(cpus=Fraction(2)), None, 2),
        (Resources(cpus=Fraction(5, 2)), 3, 2),
        (Resources(cpus=HALF), None, 1),
        (Resources(), None, 1),
        (Resources(), 1, 64),
        (Resources(), 5, 12),
        (Resources(), 100, 1),
        (Resources(ONE), None, 16),
        (Resources(Fraction(4)), None, 64),
        (Resources(HALF), None, 8),
        (Resources(memory=32 * GIBIBYTE), None, 32),
    ],
)
def test_libraries_start_as_many_threads_as_a_task_has_cpus_or_its_part_of_the_host(
    needs: Resources, limit: int | None, threads: int
) -> None:
    assert take(Allocator(host(64, a=0, b=0, c=0, d=0), limit), needs).threads == threads


def test_less_than_a_whole_cpu_is_one_thread() -> None:
    assert take(Allocator(Host(HALF), None), Resources()).threads == 1


def test_running_tasks_have_slots_and_ports_of_their_own_the_lowest_free_slot_first() -> None:
    slots = Allocator(host(4), None)
    first = fill(slots, Resources())
    assert [each.slot for each in first] == [0, 1, 2, 3]
    assert len({each.port for each in first}) == 4
    assert all(each.port in PORTS for each in first)
    slots.release(first[2])
    slots.release(first[1])
    assert [each.slot for each in fill(slots, Resources())] == [1, 2]


def test_the_next_worker_gives_no_slot_and_no_port_that_a_task_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framework.worker.ports.PORTS", range(29500, 29504))
    before = fill(Allocator(host(4), None), Resources())
    after = Allocator(host(4), None)
    for each in (before[1], before[3]):
        after.restore(Allocation.from_message(json.loads(json.dumps(each.to_message()))))
    new = fill(after, Resources())
    assert [each.slot for each in new] == [0, 2]
    assert {each.port for each in new} == {before[0].port, before[2].port}


def test_a_task_of_a_worker_that_gave_no_slots_has_the_first() -> None:
    message = take(Allocator(host(), None), Resources()).to_message()
    for new in ("slot", "port", "gpu_memory"):
        del message[new]
    slots = Allocator(host(2), None)
    slots.restore(Allocation.from_message(message))
    assert [each.slot for each in fill(slots, Resources())] == [1]


def test_a_task_for_which_there_is_no_port_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ports, "choose", lambda *_: None)
    assert take(Allocator(host(), None), Resources()).port is None


def test_shares_are_spread_before_they_are_stacked() -> None:
    slots = Allocator(host(8, a=0, b=0), None)
    first, second = take(slots, Resources(HALF)), take(slots, Resources(HALF))
    assert {first.gpus, second.gpus} == {("a",), ("b",)}
    assert slots.allocate(Resources(ONE)) is None, "none of them is whole any more"


def test_a_gpu_that_others_use_is_left_alone_until_it_is_free() -> None:
    devices = host(8, a=0, b=20_000)
    slots = Allocator(devices, None)
    room = slots.room(Resources(ONE))
    assert (room.most, room.now, room.lacks) == (2, 1, "")
    assert room.trouble == "GPU b (A100) is left alone, others use 20000 of its 40000 MiB"
    assert take(slots, Resources(ONE)).gpus == ("a",)
    assert slots.allocate(Resources(ONE)) is None
    devices.gpus = {"a": 30_000, "b": 3}
    assert slots.room(Resources(ONE)).now == 2, "what is in use of a is ours"
    assert slots.room(Resources(ONE)).trouble == ""
    assert take(slots, Resources(ONE)).gpus == ("b",)


def test_a_gpu_that_was_in_use_ever_since_a_task_of_ours_is_not_said_to_be_used_by_others() -> None:
    machine = host(8, a=0)
    slots = Allocator(machine, None)
    lease = take(slots, Resources(ONE))
    machine.gpus["a"] = 3000
    slots.release(lease)
    room = slots.room(Resources(ONE))
    assert (room.most, room.now) == (1, 0)
    assert room.trouble.startswith(
        "GPU a (A100) is not free yet: 3000 of its 40000 MiB have been in use since"
    )
    machine.gpus["a"] = 0
    assert slots.room(Resources(ONE)).trouble == ""
    machine.gpus["a"] = 3000
    assert slots.room(Resources(ONE)).trouble.endswith("left alone, others use 3000 of its 40000 MiB")


def test_a_released_gpu_counts_as_free_and_is_handed_out_after_a_look() -> None:
    devices = host(8, a=0)
    slots = Allocator(devices, None)
    allocation = take(slots, Resources(ONE))
    devices.gpus = {"a": 30_000}
    devices.frozen = devices.look()
    slots.release(allocation)
    room = slots.room(Resources(ONE))
    assert (room.now, room.trouble) == (1, ""), "what the old look has seen was ours"
    assert slots.allocate(Resources(ONE)) is None, "but others may have come meanwhile"
    devices.frozen = None
    assert slots.allocate(Resources(ONE)) is None, "they have"
    assert slots.room(Resources(ONE)).now == 0
    devices.gpus = {"a": 3}
    take(slots, Resources(ONE))


def test_only_gpus_with_enough_memory_are_handed_out() -> None:
    devices = host(8, a=0, b=0, c=0)
    devices.sizes = {"a": 11 * 1024, "b": 24 * 1024, "c": 0}
    slots = Allocator(devices, None)
    needs = Resources(ONE, gpu_memory=20 * GIBIBYTE)
    assert slots.room(needs).most == 2, "what is not known of c's memory is no reason against it"
    assert {gpu for each in fill(slots, needs) for gpu in each.gpus} == {"b", "c"}
    assert slots.room(Resources(Fraction(3), gpu_memory=20 * GIBIBYTE)).lacks == (
        "has 2 GPUs with 20 GiB of memory (a task needs 3)"
    )


def test_a_host_whose_gpus_are_all_too_small_is_unfit_and_says_so() -> None:
    devices = host(8, a=0, b=0)
    devices.sizes = {"a": 8 * 1024, "b": 11 * 1024}
    room = Allocator(devices, None).room(Resources(ONE, gpu_memory=20 * GIBIBYTE))
    assert (room.most, room.now) == (0, 0)
    assert room.lacks == "has GPUs of at most 11 GiB (a task needs one with 20 GiB)"


def test_memory_that_an_idle_gpu_has_in_use_is_not_free() -> None:
    devices = host(8, a=400)
    slots = Allocator(devices, None)
    needs = Resources(ONE, gpu_memory=39_800 * 2**20)
    room = slots.room(needs)
    assert (room.most, room.now, room.lacks, slots.allocate(needs)) == (1, 0, "", None)
    assert room.trouble == "GPU a (A100) has too little memory free: 400 of its 40000 MiB are in use"
    devices.gpus["a"] = 100
    assert slots.room(needs).trouble == ""
    take(slots, needs)


def test_a_gpu_is_shared_as_far_as_its_memory_goes() -> None:
    devices = host(8, a=0)
    slots = Allocator(devices, None)
    needs = Resources(Fraction(1, 4), gpu_memory=10_000 * 2**20)
    take(slots, needs)
    assert slots.room(needs).now == 4
    devices.gpus["a"] = 15_000
    assert slots.room(needs).now == 3, "the task uses more than it has asked for"
    devices.gpus["a"] = 5_000
    assert slots.room(needs).now == 4, "or less"
    assert slots.allocate(Resources(Fraction(1, 4), gpu_memory=31_000 * 2**20)) is None, "it may want it yet"


def test_the_users_variables_are_named_where_too_few_gpus_are_left() -> None:
    devices = host(8, a=0)
    devices.restriction = "CUDA_VISIBLE_DEVICES=0"
    slots = Allocator(devices, None)
    assert slots.room(Resources(Fraction(2))).lacks == "has 1 GPU (a task needs 2); CUDA_VISIBLE_DEVICES=0"
    assert (slots.room(Resources(ONE)).lacks, slots.room(Resources(ONE)).trouble) == ("", "")


def test_failed_gpus_and_lasting_shortages_are_reported() -> None:
    devices = host(8, a=0)
    slots = Allocator(devices, None)
    assert slots.room(Resources(Fraction(2))).lacks == "has 1 GPU (a task needs 2)"
    devices.problem = "nvidia-smi: Unknown Error"
    assert slots.room(Resources(Fraction(2))).lacks == (
        "has 1 GPU (a task needs 2); nvidia-smi: Unknown Error"
    )
    assert slots.room(Resources(ONE)).trouble == "nvidia-smi: Unknown Error"
    assert slots.room(Resources(ONE)).lacks == ""


def test_nothing_is_lacking_as_long_as_nobody_has_looked() -> None:
    devices = host(8)
    devices.frozen = Look()
    room = Allocator(devices, None).room(Resources(ONE))
    assert (room.now, room.lacks, room.trouble) == (0, "", "")
    assert Allocator(devices, None).room(Resources(cpus=Fraction(9))).lacks == "has 8 CPUs (a task needs 9)"


def test_devices_that_are_released_are_handed_out_at_once() -> None:
    slots = Allocator(host(1), None)
    allocation = take(slots, Resources())
    assert slots.allocate(Resources()) is None
    slots.release(allocation)
    take(slots, Resources())


NEEDS = st.builds(
    Resources,
    gpus=st.sampled_from(["0", "0.1", "0.25", "0.3", "0.5", "0.7", "1", "2", "3"]).map(Fraction),
    cpus=st.none() | st.sampled_from(["0.01", "0.5", "1", "1.5", "3"]).map(Fraction),
    memory=st.sampled_from([0, 1, GIBIBYTE, 3 * GIBIBYTE]),
    gpu_memory=st.sampled_from([0, 1, 15 * GIBIBYTE, 38 * GIBIBYTE, 40 * GIBIBYTE]),
)


class Handing(RuleBasedStateMachine):
    """Tasks of changing projects come and go, and so do other people's processes."""

    @initialize(limit=st.sampled_from([None, 3]))
    def start(self, limit: int | None) -> None:
        self.limit = limit
        self.host = Host(Fraction(5), 8 * GIBIBYTE, dict.fromkeys("abcd", 0))
        self.others = dict.fromkeys("abcd", 0)
        self.slots = Allocator(self.host, limit)
        self.allocations: list[Allocation] = []

    def shares(self) -> dict[str, Fraction]:
        shares = dict.fromkeys("abcd", Fraction(0))
        for allocation in self.allocations:
            for gpu in allocation.gpus:
                shares[gpu] += min(allocation.needs.gpus, ONE)
        return shares

    @rule(needs=NEEDS)
    def acquire(self, needs: Resources) -> None:
        room, before = self.slots.room(needs), self.shares()
        allocation = self.slots.allocate(needs)
        promised = room.now - len(self.allocations)
        if allocation is not None:
            self.allocations.append(allocation)
        assert 0 <= promised <= room.most
        assert (allocation is not None) == (promised > 0)
        if allocation is not None:
            assert len(set(allocation.gpus)) == len(allocation.gpus) == math.ceil(needs.gpus)
            assert not any(self.others[gpu] and not before[gpu] for gpu in allocation.gpus)

    @precondition(lambda self: self.allocations)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        allocation = self.allocations.pop(data.draw(st.integers(0, len(self.allocations) - 1)))
        self.slots.release(allocation)

    @rule(gpu=st.sampled_from("abcd"), used=st.sampled_from([0, 400, 20_000]))
    def others_come_or_go(self, gpu: str, used: int) -> None:
        self.host.gpus[gpu] = used
        self.others[gpu] = int(used > 500)

    @invariant()
    def nothing_is_handed_out_twice(self) -> None:
        assert all(share <= 1 for share in self.shares().values())
        assert sum(allocation.needs.memory for allocation in self.allocations) <= self.host.memory
        for gpu in "abcd":
            needed = [each.needs.gpu_memory for each in self.allocations if gpu in each.gpus]
            assert sum(needed) <= 40_000 * 2**20
        slots, ports = ({getattr(each, name) for each in self.allocations} for name in ("slot", "port"))
        assert len(slots) == len(ports) == len(self.allocations)
        assert all(slot < 500 for slot in slots)
        counted = [
            allocation.needs.cpus or Fraction(0 if self.limit else 1) for allocation in self.allocations
        ]
        assert sum(counted) <= self.host.cpus
        assert self.limit is None or len(self.allocations) <= self.limit

    def teardown(self) -> None:
        for allocation in self.allocations:
            self.slots.release(allocation)
        self.host.gpus = dict.fromkeys("abcd", 0)
        whole = Resources(ONE, cpus=ONE)
        assert len(fill(self.slots, whole)) == min(4, self.limit or 4), "all came back"


TestHanding = Handing.TestCase


@given(needs=NEEDS)
def test_threads_that_take_and_give_back_at_once_never_have_too_much(needs: Resources) -> None:
    slots = Allocator(host(4, a=0, b=0, c=0), None)
    most = slots.room(needs).most
    having: set[int] = set()
    seen: list[int] = []

    def run(number: int) -> None:
        for _ in range(3):
            allocation = slots.allocate(needs)
            if allocation is not None:
                having.add(number)
                seen.append(len(having))
                having.discard(number)
                slots.release(allocation)

    threads = [threading.Thread(target=run, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(seen, default=0) <= most
    assert len(fill(slots, needs)) == most
