//! Answers to requests: each to a request that waits, once, and justified by the log.

use std::collections::BTreeMap;

use protocol::frame::Range;
use protocol::id::{ClientId, ConversationId, ConversationKey, UserId};

use super::log::Log;
use super::pages::Page;
use super::sends::{SendKey, Sends};
use super::view::{PendingSend, Request, View};
use super::{Violation, key_of};
use crate::coverage::{Coverage, Mark};
use crate::told::{Content, Told, ToldEvent};

type Logs = BTreeMap<ConversationKey, Log>;

/// Whether the user is a member, and was one when something was asked.
fn since(log: Option<&Log>, user: UserId, head: Option<u64>) -> bool {
    log.zip(head).is_some_and(|(log, head)| log.member_since(user, head))
}

impl View {
    fn violation<T>(&self, promise: &'static str, details: String) -> Result<T, Violation> {
        Err(Violation::new(promise, format!("{:?}: {details}", self.user)))
    }

    /// An answer came.
    pub(super) fn answer(
        &mut self,
        told: &Told,
        logs: &mut Logs,
        sends: &mut Sends,
        coverage: &mut Coverage,
    ) -> Result<(), Violation> {
        match told {
            Told::Ack { id, conversation, seq, duplicate, .. } => {
                self.ack(*id, *conversation, *seq, *duplicate, logs, sends, coverage)
            }
            Told::Page { reference, conversation, events, head, more } => {
                coverage.hit(Mark::PageChecked);
                self.page(*reference, *conversation, events, (*head, *more), logs)
            }
            Told::Synced { reference } => match self.requests.remove(reference) {
                Some(Request::Sync { cursors, refused, .. }) if cursors.len() == refused => {
                    coverage.hit(Mark::Synced);
                    Ok(())
                }
                other => self.violation("answers", format!("{told:?} answers {other:?}")),
            },
            Told::Conversations { reference, conversations, .. } => {
                let known = |conversation| logs[&key_of(self.user, conversation)].may_look(self.user.user);
                let asked = matches!(self.requests.remove(reference), Some(Request::Conversations));
                if !asked || !conversations.iter().all(|entry| known(entry.conversation)) {
                    return self.violation("strangers see nothing", format!("{told:?}"));
                }
                Ok(())
            }
            Told::Pong { reference } => match self.requests.remove(reference) {
                Some(Request::Ping) => Ok(()),
                other => self.violation("answers", format!("{told:?} answers {other:?}")),
            },
            Told::Error { reference, id, code, retry_after_ms } => {
                self.error((*reference, *id), code, *retry_after_ms, logs, sends, coverage)
            }
            Told::Refreshed => {
                self.refreshed();
                Ok(())
            }
            other => self.violation("answers", format!("{other:?} is no answer")),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one frame, and what it is held against")]
    fn ack(
        &mut self,
        id: ClientId,
        conversation: ConversationId,
        seq: Option<u64>,
        duplicate: bool,
        logs: &mut Logs,
        sends: &mut Sends,
        coverage: &mut Coverage,
    ) -> Result<(), Violation> {
        let Some(pending) = self.sends.remove(&id).filter(|pending| pending.conversation == conversation)
        else {
            return self.violation("answers", format!("an ack of {id:?}, which does not wait for one"));
        };
        if pending.ephemeral != seq.is_none() {
            return self.violation("ephemeral is ephemeral", format!("{id:?} acknowledged at {seq:?}"));
        }
        let Some(seq) = seq else { return Ok(()) };
        let log = logs.get_mut(&key_of(self.user, conversation)).expect("mentioned");
        let stored = log.at(seq);
        let same = |event: &ToldEvent| {
            event.sender == self.user.user && event.id == id && event.content == pending.content
        };
        if !stored.is_some_and(same) {
            let details = format!("ack of {id:?} at {seq}: sent {pending:?}, the synced log has {stored:?}");
            return self.violation("persist, then acknowledge", details);
        }
        log.tell(seq);
        if !duplicate {
            self.in_order(conversation, pending.order, seq)?;
        }
        coverage.hit(if duplicate { Mark::AckedDuplicate } else { Mark::Acked });
        sends.ack(SendKey { user: self.user, conversation, id }, seq, duplicate)
    }

    /// What a connection sends into a conversation, and what is stored of it as new, is stored in its order.
    fn in_order(&mut self, conversation: ConversationId, order: u64, seq: u64) -> Result<(), Violation> {
        let stored = self.stored.entry(conversation).or_default();
        let before = stored.range(..order).next_back().is_none_or(|(_, before)| *before < seq);
        let behind = stored.range(order..).next().is_none_or(|(_, behind)| seq < *behind);
        stored.insert(order, seq);
        if !before || !behind {
            let details =
                format!("{conversation:?}: send {order} of the connection is stored at {seq}: {stored:?}");
            return Err(Violation::new("sends stay in order", details));
        }
        Ok(())
    }

    fn page(
        &mut self,
        reference: i64,
        conversation: ConversationId,
        events: &[ToldEvent],
        (head, more): (u64, bool),
        logs: &Logs,
    ) -> Result<(), Violation> {
        let log = &logs[&key_of(self.user, conversation)];
        if !log.may_look(self.user.user) {
            return self.violation("strangers see nothing", format!("a page of {conversation:?}"));
        }
        match self.requests.get_mut(&reference) {
            Some(Request::History { conversation: asked, range, limit, told, .. })
                if *asked == conversation =>
            {
                let page = Page { range: *range, limit: *limit, events, head, more };
                let told = *told;
                self.requests.remove(&reference);
                page.check(log, told)
            }
            Some(Request::Sync { cursors, limit, .. }) => match cursors.remove(&conversation) {
                Some(after) => {
                    let page = Page { range: Range::After(after), limit: *limit, events, head, more };
                    page.check(log, 0)
                }
                None => self.violation("answers", format!("a page of {conversation:?} twice in a sync")),
            },
            _ => self.violation("answers", format!("a page of {conversation:?} that nobody asked for")),
        }
    }

    fn error(
        &mut self,
        (reference, id): (Option<i64>, Option<ClientId>),
        code: &str,
        retry_after_ms: Option<u64>,
        logs: &Logs,
        sends: &mut Sends,
        coverage: &mut Coverage,
    ) -> Result<(), Violation> {
        match code {
            "unavailable" => coverage.hit(Mark::Unavailable),
            "rate_limited" => coverage.hit(Mark::RateLimited),
            "forbidden" => coverage.hit(Mark::Forbidden),
            "not_found" => coverage.hit(Mark::NotFound),
            "conflict" => coverage.hit(Mark::Conflicted),
            _ => return self.violation("refusals", format!("{code} for {id:?} {reference:?}")),
        }
        if matches!(code, "unavailable" | "rate_limited") && retry_after_ms.is_none() {
            return self.violation("every refusal says when to try again", format!("{code} for {id:?}"));
        }
        if let Some(id) = id {
            let Some(pending) = self.sends.remove(&id) else {
                return self.violation("answers", format!("{code} for {id:?}, which does not wait"));
            };
            return self.send_refused(id, &pending, code, logs, sends);
        }
        self.request_refused(reference, code, logs)
    }

    fn send_refused(
        &self,
        id: ClientId,
        pending: &PendingSend,
        code: &str,
        logs: &Logs,
        sends: &mut Sends,
    ) -> Result<(), Violation> {
        let user = self.user.user;
        let key = SendKey { user: self.user, conversation: pending.conversation, id };
        let log = logs.get(&key_of(self.user, pending.conversation));
        let message = matches!(pending.content, Content::Message { .. });
        let member = since(log, user, pending.head);
        let reader = log.is_some_and(|log| log.was_reader(user));
        let unjust = match code {
            "not_found" => message && member,
            "forbidden" => message && member && !reader,
            "conflict" => pending.ephemeral,
            _ => false,
        };
        if unjust {
            return self.violation("refusals", format!("{code} for {id:?} of a member: {pending:?}"));
        }
        if !matches!(code, "unavailable" | "rate_limited") {
            sends.refuse(key, &pending.content);
        }
        Ok(())
    }

    fn request_refused(&mut self, reference: Option<i64>, code: &str, logs: &Logs) -> Result<(), Violation> {
        let Some(reference) = reference else { return Ok(()) };
        match self.requests.get_mut(&reference) {
            Some(Request::History { conversation, head, .. }) => {
                let log = logs.get(&key_of(self.user, *conversation));
                let member = since(log, self.user.user, *head);
                let details = format!("{code} for the history of {conversation:?}");
                self.requests.remove(&reference);
                if member && matches!(code, "not_found" | "forbidden") {
                    return self.violation("refusals", details);
                }
                Ok(())
            }
            // A refusal for each cursor without a page; `synced` comes all the same.
            Some(Request::Sync { refused, .. }) if code != "rate_limited" => {
                *refused += 1;
                Ok(())
            }
            Some(_) => {
                self.requests.remove(&reference);
                Ok(())
            }
            None => self.violation("answers", format!("{code} for {reference}, which does not wait")),
        }
    }
}
