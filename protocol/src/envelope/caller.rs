//! Who asked and who is answered, in whatever envelope: for who keeps requests and passes answers on.

use super::{Caller, ToGateway, ToRouter};

impl ToRouter {
    /// Who asks, of a request: of an envelope that is answered exactly once.
    #[must_use]
    pub const fn request(&self) -> Option<&Caller> {
        match self {
            Self::Append { caller, .. }
            | Self::Signal { caller, .. }
            | Self::History { caller, .. }
            | Self::Backlog { caller, .. }
            | Self::Attach { caller, .. }
            | Self::Create { caller, .. }
            | Self::Show { caller, .. }
            | Self::Change { caller, .. }
            | Self::Remove { caller, .. }
            | Self::Members { caller, .. }
            | Self::SessionOpen { caller, .. }
            | Self::PresenceOf { caller, .. }
            | Self::Conversations { caller, .. } => Some(caller),
            Self::Detach { .. }
            | Self::Mark { .. }
            | Self::Typing { .. }
            | Self::SessionHeard { .. }
            | Self::SessionClose { .. }
            | Self::Watch { .. }
            | Self::Unwatch { .. }
            | Self::Membership { .. }
            | Self::GatewayGone { .. } => None,
        }
    }

    /// The same, to be replaced.
    pub const fn request_mut(&mut self) -> Option<&mut Caller> {
        match self {
            Self::Append { caller, .. }
            | Self::Signal { caller, .. }
            | Self::History { caller, .. }
            | Self::Backlog { caller, .. }
            | Self::Attach { caller, .. }
            | Self::Create { caller, .. }
            | Self::Show { caller, .. }
            | Self::Change { caller, .. }
            | Self::Remove { caller, .. }
            | Self::Members { caller, .. }
            | Self::SessionOpen { caller, .. }
            | Self::PresenceOf { caller, .. }
            | Self::Conversations { caller, .. } => Some(caller),
            Self::Detach { .. }
            | Self::Mark { .. }
            | Self::Typing { .. }
            | Self::SessionHeard { .. }
            | Self::SessionClose { .. }
            | Self::Watch { .. }
            | Self::Unwatch { .. }
            | Self::Membership { .. }
            | Self::GatewayGone { .. } => None,
        }
    }
}

impl ToGateway {
    /// Who asked, when this is an answer, to be replaced.
    pub const fn caller_mut(&mut self) -> Option<&mut Caller> {
        match self {
            Self::Appended { caller, .. }
            | Self::Signalled { caller, .. }
            | Self::Refused { caller, .. }
            | Self::Misplaced { caller }
            | Self::Page { caller, .. }
            | Self::Backlog { caller, .. }
            | Self::Attached { caller, .. }
            | Self::PresenceOf { caller, .. }
            | Self::SessionOpened { caller, .. }
            | Self::Conversations { caller, .. }
            | Self::Created { caller, .. }
            | Self::Conversation { caller, .. }
            | Self::Removed { caller }
            | Self::Members { caller, .. } => Some(caller),
            Self::Publish { .. }
            | Self::Head { .. }
            | Self::Signal { .. }
            | Self::Typing { .. }
            | Self::Receipt { .. }
            | Self::Presence { .. }
            | Self::CloseSession { .. }
            | Self::Joined { .. }
            | Self::Left { .. } => None,
        }
    }
}
