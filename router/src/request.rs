//! What the shard asks of a request before it looks at what it wants: where, who, and whose roles decide it.

use protocol::envelope::{Actor, AttachItem, Authority, Caller, Change, ToRouter};
use protocol::id::{ClientId, ConversationKey, UserId, UserKey};
use protocol::placement::Slot;

use crate::conversation::Waiting;

/// The conversation that a request is about; `None` for the requests to a user's owner, and for an attach.
pub(crate) const fn conversation(request: &ToRouter) -> Option<ConversationKey> {
    match request {
        ToRouter::Append { conversation, .. }
        | ToRouter::Signal { conversation, .. }
        | ToRouter::History { conversation, .. }
        | ToRouter::Backlog { conversation, .. }
        | ToRouter::Detach { conversation, .. }
        | ToRouter::Mark { conversation, .. }
        | ToRouter::Typing { conversation, .. }
        | ToRouter::Create { conversation, .. }
        | ToRouter::Show { conversation, .. }
        | ToRouter::Change { conversation, .. }
        | ToRouter::Remove { conversation, .. }
        | ToRouter::Members { conversation, .. } => Some(*conversation),
        ToRouter::Attach { .. }
        | ToRouter::SessionOpen { .. }
        | ToRouter::SessionHeard { .. }
        | ToRouter::SessionClose { .. }
        | ToRouter::Watch { .. }
        | ToRouter::Unwatch { .. }
        | ToRouter::PresenceOf { .. }
        | ToRouter::Conversations { .. }
        | ToRouter::Membership { .. }
        | ToRouter::GatewayGone { .. } => None,
    }
}

/// In whose name a request to a conversation is made.
pub(crate) const fn actor(request: &ToRouter) -> Option<Actor> {
    match request {
        ToRouter::Append { actor, .. }
        | ToRouter::Signal { actor, .. }
        | ToRouter::History { actor, .. }
        | ToRouter::Attach { actor, .. }
        | ToRouter::Mark { actor, .. }
        | ToRouter::Typing { actor, .. }
        | ToRouter::Create { actor, .. }
        | ToRouter::Show { actor, .. }
        | ToRouter::Change { actor, .. }
        | ToRouter::Remove { actor, .. }
        | ToRouter::Members { actor, .. } => Some(*actor),
        _ => None,
    }
}

/// Who is to be answered, and by which client id.
pub(crate) fn caller(request: &ToRouter) -> Option<(Caller, Option<ClientId>)> {
    match request {
        ToRouter::Append { caller, draft, .. } | ToRouter::Signal { caller, draft, .. } => {
            Some((*caller, ClientId::parse(&*draft.view().id).ok()))
        }
        ToRouter::Change { caller, id, .. } => Some((*caller, Some(*id))),
        ToRouter::History { caller, .. }
        | ToRouter::Create { caller, .. }
        | ToRouter::Show { caller, .. }
        | ToRouter::Remove { caller, .. }
        | ToRouter::Members { caller, .. }
        | ToRouter::SessionOpen { caller, .. }
        | ToRouter::PresenceOf { caller, .. }
        | ToRouter::Conversations { caller, .. } => Some((*caller, None)),
        // These have answers of their own, or none.
        ToRouter::Backlog { .. }
        | ToRouter::Attach { .. }
        | ToRouter::Detach { .. }
        | ToRouter::Mark { .. }
        | ToRouter::Typing { .. }
        | ToRouter::SessionHeard { .. }
        | ToRouter::SessionClose { .. }
        | ToRouter::Watch { .. }
        | ToRouter::Unwatch { .. }
        | ToRouter::Membership { .. }
        | ToRouter::GatewayGone { .. } => None,
    }
}

/// The slots that a request is about: one, or of an attach that of each item.
pub(crate) fn slots(request: &ToRouter) -> impl Iterator<Item = Slot> {
    let (tenant, items) = match request {
        ToRouter::Attach { actor, items, .. } => (Some(actor.key.tenant), &**items),
        _ => (None, [].as_slice()),
    };
    let of_item = move |item: &AttachItem| {
        let key = ConversationKey { tenant: tenant?, conversation: item.conversation };
        Some(Slot::of_conversation(&key))
    };
    let one = if items.is_empty() { request.slot() } else { None };
    one.into_iter().chain(items.iter().filter_map(of_item))
}

/// True when nobody but the owner of the slot may do it: not to be taken while that may be somebody else.
pub(crate) const fn needs_owner(request: &ToRouter) -> bool {
    matches!(
        request,
        ToRouter::Append { .. }
            | ToRouter::Signal { .. }
            | ToRouter::History { .. }
            | ToRouter::Create { .. }
            | ToRouter::Change { .. }
            | ToRouter::Remove { .. }
    )
}

/// Whom a change is about.
pub(crate) const fn target(change: &Change) -> Option<UserId> {
    match change {
        Change::Join { user, .. } | Change::Leave { user } | Change::Role { user, .. } => Some(*user),
        Change::Title { .. } => None,
    }
}

/// Whose roles decide a request: at most the actor's, and that of whom a change is about.
pub(crate) fn users(request: &ToRouter) -> [Option<UserKey>; 2] {
    let of_actor = actor(request).filter(|actor| actor.authority == Authority::User).map(|actor| actor.key);
    let of_target = match request {
        ToRouter::Change { conversation, change, .. } => {
            target(change).map(|user| UserKey { tenant: conversation.tenant, user })
        }
        _ => None,
    };
    [of_actor, of_target]
}

/// The same for anything that waits.
pub(crate) fn users_of_waiting(waiting: &Waiting) -> [Option<UserKey>; 2] {
    match waiting {
        Waiting::Request(request) => users(request),
        Waiting::Attach { user, .. } => [*user, None],
    }
}

/// True when everything that was asked for before has to be in the log, or refused, first.
pub(crate) const fn is_barrier(request: &ToRouter) -> bool {
    matches!(request, ToRouter::Remove { .. })
}
