"""The checks of clusters can fail: doctored histories are found out, and traffic through proxies survives what is done to them."""

import copy
import time

import pytest

from cluster import Cluster
from history import Fault, Hearing, Sending, faults
from nodes import FAST, Door, slot_of, until
from promises import PROMISES
from traffic import Traffic, tell


def event(seq, sender, id_, body):
    return {"type": "message", "seq": seq, "sender": sender, "id": id_, "body": body, "time": 1000 + seq}


def history():
    """Two senders, one message refused once, and two listeners: nothing wrong with it."""
    alice, bob = Sending("alice", "c"), Sending("bob", "c")
    log = []
    for sending in (alice, bob, alice, alice, bob):
        id_ = sending.first()
        log.append(event(len(log) + 1, sending.user, id_, sending.sent[id_]))
        sending.ack({"id": id_, "seq": len(log), "duplicate": False})
    # m3 was refused, and gets in after m4.
    for id_ in (alice.first(), alice.first()):
        assert id_ in ("m3", "m4")
    alice.refuse("m3")
    for id_ in ("m4", "m3"):
        log.append(event(len(log) + 1, "alice", id_, alice.sent[id_]))
        alice.ack({"id": id_, "seq": len(log), "duplicate": False})
    hearings = [Hearing("carol", "c", 0), Hearing("dave", "c", 3)]
    for hearing in hearings:
        for one in log[hearing.after:]:
            hearing.take(one)
    return log, [alice, bob], hearings


def test_a_history_without_fault_has_none():
    assert faults("c", *history()) == []


def renumber(log):
    for place, one in enumerate(log):
        one["seq"] = place + 1


def lose(log, sendings, hearings):
    del log[4]


def lose_the_last(log, sendings, hearings):
    del log[-1]


def lose_and_close_the_gap(log, sendings, hearings):
    del log[4]
    renumber(log)


def store_twice(log, sendings, hearings):
    log.append(copy.deepcopy(log[0]))
    renumber(log)


def swap_two_of_a_sender(log, sendings, hearings):
    log[2], log[3] = log[3], log[2]
    renumber(log)
    sendings[0].acks |= {"m1": 4, "m2": 3}
    sendings[0].floors = dict.fromkeys(sendings[0].floors, 0)


def store_before_what_was_acknowledged(log, sendings, hearings):
    sendings[0].floors["m3"] = 7


def change_a_body(log, sendings, hearings):
    log[1]["body"] = "another"


def hear_another_body(log, sendings, hearings):
    hearings[0].events[1] = hearings[0].events[1][:3] + ("another", 1002)


def hear_too_little(log, sendings, hearings):
    hearings[1].events.pop()


def hear_what_is_not_stored(log, sendings, hearings):
    hearings[1].take(event(8, "mallory", "m0", "x"))


def hear_in_another_order(log, sendings, hearings):
    events = hearings[0].events
    events[0], events[1] = events[1], events[0]


def store_what_was_never_sent(log, sendings, hearings):
    log.append(event(8, "alice", "m9", "x"))


@pytest.mark.parametrize("doctor, said", [
    (lose, "not dense"),
    (lose_the_last, "m3 was acknowledged at seq 7, and is lost"),
    (lose_and_close_the_gap, "m1 was acknowledged at seq 5, and is lost"),
    (store_twice, "stored twice"),
    (swap_two_of_a_sender, "m1 was sent before m2"),
    (store_before_what_was_acknowledged, "and is before it"),
    (change_a_body, "is not what was sent"),
    (hear_another_body, "carol heard"),
    (hear_too_little, "dave heard up to seq 6"),
    (hear_what_is_not_stored, "the log ends at 7"),
    (hear_in_another_order, "carol heard"),
    (store_what_was_never_sent, "m9 at seq 8 is not what was sent"),
])
def test_each_doctored_history_is_found_out(doctor, said):
    doctored = history()
    doctor(*doctored)
    found = faults("c", *doctored)
    assert any(said in fault for fault in found), found


@pytest.mark.parametrize("seq, said", [(1, "a repeat"), (2, "a repeat"), (4, "a gap")])
def test_a_gap_and_a_repeat_are_found_at_once(seq, said):
    hearing = Hearing("carol", "c", 1)
    hearing.take(event(2, "alice", "m0", "x"))
    with pytest.raises(Fault, match=said):
        hearing.take(event(seq, "alice", "m1", "x"))


@pytest.mark.parametrize("again", [{"seq": 2, "duplicate": True}, {"seq": 1, "duplicate": False}])
def test_a_retry_that_is_told_something_else_is_found_at_once(again):
    sending = Sending("alice", "c")
    id_ = sending.first()
    assert sending.ack({"id": id_, "seq": 1, "duplicate": False})
    assert not sending.ack({"id": id_, "seq": 1, "duplicate": True})
    with pytest.raises(Fault, match="again it is told"):
        sending.ack({"id": id_} | again)


def test_the_slot_of_a_conversation_is_as_the_server_has_it():
    assert slot_of("general") == 2140


class Doors:
    """Three ways to one server: to clients no different from three gateways."""

    def __init__(self, server):
        self.gateways = [Door(server) for _ in range(3)]
        self.everyone = [server, *self.gateways]

    def close(self):
        for door in self.gateways:
            door.close()


@pytest.fixture
def doors(start):
    three = Doors(start(config=FAST))
    yield three
    three.close()


def test_traffic_comes_through_cuts_stalls_and_kill_9(doors):
    server, first, second = doors.everyone[:3]
    with Traffic(doors.gateways) as traffic:
        traffic.progress()
        first.proxy.cut()
        traffic.progress()
        first.proxy.mend()
        second.proxy.stall()
        held = second.proxy.passed()
        time.sleep(0.3)
        assert second.proxy.passed() == held > 0, "a stall keeps what there is"
        second.proxy.unstall()
        traffic.progress()
        server.restart()
        for door in doors.gateways:
            door.proxy.lead_to(server.client_address)
        traffic.progress()
        report = traffic.finish(doors.everyone)
    tell("one server behind three proxies: cuts, stalls and kill -9", report)
    assert report.counts["welcomes"] > len(traffic.roamers) + 5, report
    assert report.counts["retries of what was acknowledged"] > 0, report


@pytest.mark.foundationdb
def test_traffic_comes_through_a_store_that_was_away(start):
    cluster = Cluster()
    three = Doors(start(config=FAST, cluster=cluster))
    try:
        with Traffic(three.gateways) as traffic:
            traffic.progress()
            cluster.kill()
            until(lambda: traffic.counts["unavailable"] > 0)
            cluster.run()
            traffic.progress()
            report = traffic.finish(three.everyone)
        tell("one server, its store killed", report)
    finally:
        three.close()
        cluster.close()


def test_traffic_finds_an_event_that_is_withheld(doors):
    with pytest.raises(Fault, match="a gap"):
        with Traffic(doors.gateways) as traffic:
            traffic.progress()
            victim = traffic.listeners[0]
            take, dropped = victim.take, []

            def lossy(frame):
                if frame["op"] == "event" and not dropped:
                    dropped.append(frame)
                    return True
                return take(frame)

            victim.take = lossy
            until(lambda: victim.failure)
            traffic.finish(doors.everyone)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_what_is_promised_of_gateways_holds_for_one_server(shared_doors, promise):
    promise(shared_doors)


@pytest.fixture(scope="module")
def shared_doors(server):
    three = Doors(server)
    yield three
    three.close()
