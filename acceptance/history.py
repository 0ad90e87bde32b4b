"""What was sent and what was heard, and how that is held against a log (PROTOCOL, section 3, promises 1 to 3). No I/O."""


class Fault(AssertionError):
    """A promise that was broken."""


class Hearing:
    """What one device heard of a conversation: everything after `after`, once and in order, over all its connections."""

    def __init__(self, user, conversation, after):
        self.user, self.conversation, self.after, self.events = user, conversation, after, []

    @property
    def last(self):
        return self.after + len(self.events)

    def take(self, event):
        if event["seq"] != self.last + 1:
            what = "a repeat" if event["seq"] <= self.last else "a gap"
            raise Fault(f"{self.user} heard seq {event['seq']} of {self.conversation} after {self.last}: {what} ({event['id']})")
        self.events.append(essence(event))


def essence(event):
    """What must be the same wherever an event is told."""
    return event["type"], event["sender"], event["id"], event.get("body"), event["time"]


class Sending:
    """What one sender sent into a conversation, and what it was told."""

    def __init__(self, user, conversation):
        self.user, self.conversation = user, conversation
        self.sent, self.acks, self.refused = {}, {}, set()
        self.highest, self.floors, self.first_unacked = 0, {}, 0

    @staticmethod
    def number(id_):
        return int(id_[1:])

    def first(self, body=""):
        """A new message, about to be sent: its id. It comes after all that was acknowledged before."""
        number = len(self.sent)
        id_ = f"m{number}"
        self.sent[id_] = f"{self.user} {number} {body}"
        self.floors[id_] = self.highest
        return id_

    def ack(self, frame):
        """An ack; whether it is the message's first."""
        id_, seq = frame["id"], frame["seq"]
        if id_ in self.acks:
            if (seq, frame["duplicate"]) != (self.acks[id_], True):
                raise Fault(f"{self.user}: {id_} of {self.conversation} was stored at seq {self.acks[id_]}; again it is told {frame}")
            return False
        self.acks[id_] = seq
        self.highest = max(self.highest, seq)
        return True

    def refuse(self, id_):
        """Answered `unavailable`: from now on it may be anywhere, or nowhere."""
        if id_ not in self.acks:
            self.refused.add(id_)

    def unacked(self):
        """In the order in which they were sent."""
        while f"m{self.first_unacked}" in self.acks:
            self.first_unacked += 1
        ids = (f"m{number}" for number in range(self.first_unacked, len(self.sent)))
        return [id_ for id_ in ids if id_ not in self.acks]

    def last_acked(self):
        return [max(self.acks, key=self.number)] if self.acks else []


def faults(conversation, log, sendings, hearings):
    """Everything in which what was told and heard differs from the log."""
    seqs = [event["seq"] for event in log]
    found = [] if seqs == list(range(1, len(log) + 1)) else [f"{conversation}: its log is not dense: {seqs[:20]}"]
    stored = {}
    for event in log:
        key = event["sender"], event["id"]
        if key in stored:
            found.append(f"{conversation}: {key} is stored twice, at seq {stored[key]['seq']} and {event['seq']}")
        stored.setdefault(key, event)
    for sending in sendings:
        found += of_sender(sending, log, stored)
    for hearing in hearings:
        found += of_listener(hearing, log)
    return found


def of_sender(sending, log, stored):
    where = f"{sending.conversation}: {sending.user}"
    for id_, seq in sending.acks.items():
        event = stored.get((sending.user, id_))
        if event is None:
            yield f"{where}: {id_} was acknowledged at seq {seq}, and is lost"
        elif event["seq"] != seq:
            yield f"{where}: {id_} was acknowledged at seq {seq}, and is at {event['seq']}"
        elif seq <= sending.floors[id_]:
            yield f"{where}: {id_} was sent when seq {sending.floors[id_]} was acknowledged, and is before it, at {seq}"
    own = [event for event in log if event["sender"] == sending.user]
    for event in own:
        if sending.sent.get(event["id"]) != event.get("body"):
            yield f"{where}: {event['id']} at seq {event['seq']} is not what was sent: {str(event.get('body'))[:80]!r}"
    # What was refused was sent anew: its place is where it got in.
    ids = [event["id"] for event in own if event["id"] in sending.sent and event["id"] not in sending.refused]
    for earlier, later in zip(ids, ids[1:]):
        if sending.number(earlier) > sending.number(later):
            yield f"{where}: {later} was sent before {earlier}, and is stored after it"


def of_listener(hearing, log):
    where = f"{hearing.conversation}: {hearing.user}"
    expected = log[hearing.after:]
    if len(hearing.events) < len(expected):
        yield f"{where} heard up to seq {hearing.last}; the log has {len(log)}"
    if len(hearing.events) > len(expected):
        yield f"{where} heard up to seq {hearing.last}, and the log ends at {len(log)}"
    for heard, event in zip(hearing.events, expected):
        if heard != essence(event):
            yield f"{where} heard {heard} at seq {event['seq']}; the log has {essence(event)}"
            return
