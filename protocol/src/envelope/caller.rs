//! Who asked and who is answered, in whatever envelope: for who keeps requests and passes answers on.

use super::{Caller, ToGateway, ToRouter};

/// Who asks, by the kind of reference that `$envelope` is.
macro_rules! asker {
    ($envelope:expr) => {
        match $envelope {
            ToRouter::Append { caller, .. }
            | ToRouter::Signal { caller, .. }
            | ToRouter::History { caller, .. }
            | ToRouter::Backlog { caller, .. }
            | ToRouter::Attach { caller, .. }
            | ToRouter::Create { caller, .. }
            | ToRouter::Show { caller, .. }
            | ToRouter::Change { caller, .. }
            | ToRouter::Remove { caller, .. }
            | ToRouter::Members { caller, .. }
            | ToRouter::SessionOpen { caller, .. }
            | ToRouter::PresenceOf { caller, .. }
            | ToRouter::Conversations { caller, .. } => Some(caller),
            ToRouter::Detach { .. }
            | ToRouter::Mark { .. }
            | ToRouter::Typing { .. }
            | ToRouter::SessionHeard { .. }
            | ToRouter::SessionClose { .. }
            | ToRouter::Watch { .. }
            | ToRouter::Unwatch { .. }
            | ToRouter::Membership { .. }
            | ToRouter::GatewayGone { .. } => None,
        }
    };
}

/// Who is answered, by the kind of reference that `$envelope` is.
macro_rules! answered {
    ($envelope:expr) => {
        match $envelope {
            ToGateway::Appended { caller, .. }
            | ToGateway::Signalled { caller, .. }
            | ToGateway::Refused { caller, .. }
            | ToGateway::Misplaced { caller }
            | ToGateway::Page { caller, .. }
            | ToGateway::Backlog { caller, .. }
            | ToGateway::Attached { caller, .. }
            | ToGateway::PresenceOf { caller, .. }
            | ToGateway::SessionOpened { caller, .. }
            | ToGateway::Conversations { caller, .. }
            | ToGateway::Created { caller, .. }
            | ToGateway::Conversation { caller, .. }
            | ToGateway::Removed { caller }
            | ToGateway::Members { caller, .. } => Some(caller),
            ToGateway::Publish { .. }
            | ToGateway::Head { .. }
            | ToGateway::Signal { .. }
            | ToGateway::Typing { .. }
            | ToGateway::Receipt { .. }
            | ToGateway::Presence { .. }
            | ToGateway::CloseSession { .. }
            | ToGateway::Joined { .. }
            | ToGateway::Left { .. } => None,
        }
    };
}

impl ToRouter {
    /// Who asks, of a request: of an envelope that is answered exactly once.
    #[must_use]
    pub const fn request(&self) -> Option<&Caller> {
        asker!(self)
    }

    /// The same, to be replaced.
    pub const fn request_mut(&mut self) -> Option<&mut Caller> {
        asker!(self)
    }
}

impl ToGateway {
    /// Who asked, when this is an answer.
    #[must_use]
    pub const fn caller(&self) -> Option<Caller> {
        answered!(self).copied()
    }

    /// The same, to be replaced.
    pub const fn caller_mut(&mut self) -> Option<&mut Caller> {
        answered!(self)
    }
}
