//! Requests: what a shard of a cluster has asked and nobody has answered. Each is kept until it is answered once: by an owner, or
//! by the shard itself when patience is over. The number of a request says its place in the order of all; each time that it is asked
//! again it has another, so that an answer to a former time is an answer to nothing.

use std::collections::VecDeque;

use protocol::envelope::{AttachItem, AttachedItem};
use protocol::envelope::{Caller, ToGateway, ToRouter};
use protocol::error::{ErrorCode, Refusal};
use protocol::id::ClientId;
use protocol::placement::Slot;
use router::shrink;

/// Bits of a number that say how often a request was asked; the upper ones say which it is.
const TIMES_BITS: u32 = 16;
/// No place: the request is answered.
const NONE: u32 = u32::MAX;
/// Milliseconds told to who is refused since an owner does not answer.
const RETRY_MS: u32 = 1_000;

/// What is told to who asked in vain.
pub(super) const UNAVAILABLE: Refusal = Refusal::retry(
    ErrorCode::Unavailable,
    "whoever has this does not answer; it may have been done nevertheless",
    RETRY_MS,
);

/// An unanswered request.
#[derive(Debug)]
pub(super) struct Request {
    /// As it was asked, with the caller that is answered.
    pub(super) envelope: ToRouter,
    /// Whose owner has it: of a list, of its first.
    pub(super) slot: Slot,
    /// When the shard answers it itself.
    pub(super) deadline_ms: u64,
    /// How often it was asked again.
    times: u16,
    /// It went on its way at least once.
    pub(super) asked: bool,
    /// It was on its way before, and what came of that is not known.
    pub(super) doubtful: bool,
    /// Its owner said that it is not.
    pub(super) misplaced: bool,
}

impl Request {
    pub(super) const fn new(envelope: ToRouter, slot: Slot, deadline_ms: u64) -> Self {
        Self { envelope, slot, deadline_ms, times: 0, asked: false, doubtful: false, misplaced: false }
    }

    /// From now on an answer to what was asked before is none.
    pub(super) const fn renumber(&mut self) {
        self.times = self.times.wrapping_add(1);
        self.misplaced = false;
    }

    /// Who is answered.
    pub(super) const fn caller(&self) -> Caller {
        *self.envelope.request().expect("only requests are kept")
    }
}

/// All unanswered requests of a shard, in the order in which they were asked first.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// By number less `first`: where each is kept. Those that were answered out of turn are left out.
    window: VecDeque<u32>,
    first: u64,
    kept: Vec<Option<Request>>,
    free: Vec<u32>,
}

impl Requests {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.kept.len() - self.free.len()
    }

    /// Keeps one more; which it is.
    pub(super) fn add(&mut self, request: Request) -> u64 {
        let at = match self.free.pop() {
            Some(at) => {
                self.kept[at as usize] = Some(request);
                at
            }
            None => {
                self.kept.push(Some(request));
                (self.kept.len() - 1) as u32
            }
        };
        self.window.push_back(at);
        self.first + self.window.len() as u64 - 1
    }

    fn place(&self, which: u64) -> Option<usize> {
        let at = *self.window.get(usize::try_from(which.checked_sub(self.first)?).ok()?)?;
        (at != NONE).then_some(at as usize)
    }

    /// One that is not answered.
    pub(super) fn get(&self, which: u64) -> Option<&Request> {
        self.kept[self.place(which)?].as_ref()
    }

    pub(super) fn get_mut(&mut self, which: u64) -> Option<&mut Request> {
        let at = self.place(which)?;
        self.kept[at].as_mut()
    }

    /// What an answer is to name.
    pub(super) fn number(&self, which: u64) -> i64 {
        let times = self.get(which).map_or(0, |request| request.times);
        (which << TIMES_BITS | u64::from(times)) as i64
    }

    /// Which request an answer names; `None` when it is answered, or was asked again since.
    pub(super) fn find(&self, number: i64) -> Option<u64> {
        let which = number as u64 >> TIMES_BITS;
        (self.get(which)?.times == number as u16).then_some(which)
    }

    /// Forgets one: it is answered.
    pub(super) fn remove(&mut self, which: u64) -> Option<Request> {
        let at = self.place(which)?;
        let request = self.kept[at].take();
        self.free.push(at as u32);
        self.window[(which - self.first) as usize] = NONE;
        while self.window.front() == Some(&NONE) {
            self.window.pop_front();
            self.first += 1;
        }
        request
    }

    /// The oldest.
    pub(super) fn oldest(&self) -> Option<(u64, &Request)> {
        Some((self.first, self.get(self.first)?))
    }

    /// All, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Request)> {
        let numbered = (self.first..).zip(&self.window).filter(|(_, at)| **at != NONE);
        numbered.filter_map(|(which, at)| Some((which, self.kept[*at as usize].as_ref()?)))
    }

    /// Gives back memory that a storm took.
    pub(super) fn trim(&mut self) {
        shrink::queue(&mut self.window);
        if self.len() == 0 {
            (self.kept, self.free) = (Vec::new(), Vec::new());
        }
    }

    /// Asserts that each is kept once, and that the oldest is the first to be given up.
    pub(super) fn invariants(&self) {
        assert_eq!(self.iter().count(), self.len());
        assert!(self.window.front() != Some(&NONE));
        assert!(self.iter().zip(self.iter().skip(1)).all(|(a, b)| a.1.deadline_ms <= b.1.deadline_ms));
        assert!(self.iter().all(|(_, request)| request.envelope.request().is_some()));
    }
}

/// The refusal of a request in the form of its kind.
pub(super) fn refused(envelope: &ToRouter, caller: Caller, refusal: Refusal) -> ToGateway {
    match envelope {
        ToRouter::Attach { actor, items, .. } => {
            let item = |item: &AttachItem| AttachedItem { conversation: item.conversation, state: None };
            let items = items.iter().map(item).collect();
            ToGateway::Attached { caller, tenant: actor.key.tenant, items, refused: Some(refusal) }
        }
        ToRouter::Backlog { conversation, after, .. } => ToGateway::Backlog {
            caller,
            conversation: *conversation,
            after: *after,
            events: [].into(),
            head: 0,
            refused: Some(refusal),
        },
        ToRouter::Append { draft, .. } | ToRouter::Signal { draft, .. } => {
            ToGateway::Refused { caller, id: ClientId::parse(&*draft.view().id).ok(), refusal }
        }
        ToRouter::Change { id, .. } => ToGateway::Refused { caller, id: Some(*id), refusal },
        _ => ToGateway::Refused { caller, id: None, refusal },
    }
}

/// The answer to a request, for who asked. One that is none to such a request counts as a refusal: it would be taken for the
/// answer to something that was never asked.
pub(super) fn answer_of(request: &Request, mut answer: ToGateway) -> ToGateway {
    let caller = request.caller();
    let fits = match (&request.envelope, &answer) {
        (ToRouter::Attach { items: asked, .. }, ToGateway::Attached { items, .. }) => {
            asked.iter().map(|item| item.conversation).eq(items.iter().map(|item| item.conversation))
        }
        (ToRouter::Backlog { .. }, ToGateway::Backlog { .. }) => true,
        (ToRouter::Attach { .. } | ToRouter::Backlog { .. }, _)
        | (_, ToGateway::Attached { .. } | ToGateway::Backlog { .. }) => false,
        _ => true,
    };
    if fits && let Some(known) = answer.caller_mut() {
        *known = caller;
        if request.doubtful
            && let ToGateway::Refused { refusal, .. } = &mut answer
            && is_of_membership(refusal.code)
            && matches!(request.envelope, ToRouter::Append { .. } | ToRouter::Change { .. })
        {
            // It may have been stored when it was asked first, while the sender was a member still.
            *refusal = UNAVAILABLE;
        }
        return answer;
    }
    let refusal = if let ToGateway::Refused { refusal, .. } = answer { refusal } else { UNAVAILABLE };
    refused(&request.envelope, caller, refusal)
}

/// Whether a refusal depends on what its asker is at that moment.
const fn is_of_membership(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NotFound | ErrorCode::Forbidden)
}

#[cfg(test)]
mod tests {
    use protocol::envelope::GatewayId;
    use protocol::id::{Tenant, UserId, UserKey};

    use super::*;

    fn request(connection: u64) -> Request {
        let caller = Caller { gateway: GatewayId(1), connection, reference: 7 };
        let user = UserKey { tenant: Tenant::default_tenant(), user: UserId::parse("u").unwrap() };
        Request::new(ToRouter::PresenceOf { caller, user }, Slot::of_user(&user), connection)
    }

    #[test]
    fn each_is_found_by_its_last_number_until_it_is_answered() {
        let mut requests = Requests::default();
        let all: Vec<u64> = (0..100).map(|at| requests.add(request(at))).collect();
        let former: Vec<i64> = all.iter().map(|&which| requests.number(which)).collect();
        for &which in all.iter().step_by(2) {
            requests.get_mut(which).unwrap().renumber();
        }
        for (at, &which) in all.iter().enumerate() {
            assert_eq!(requests.find(former[at]).is_some(), at % 2 == 1);
            assert_eq!(requests.find(requests.number(which)), Some(which));
        }
        for &which in all.iter().rev().step_by(3) {
            assert!(requests.remove(which).is_some() && requests.remove(which).is_none());
            requests.invariants();
        }
        let order: Vec<u64> = requests.iter().map(|(_, request)| request.deadline_ms).collect();
        assert!(order.is_sorted() && order.len() == 66);
        while let Some((which, _)) = requests.oldest() {
            requests.remove(which);
        }
        assert_eq!((requests.len(), requests.find(former[1]), requests.find(-1)), (0, None, None));
        requests.invariants();
    }
}
