//! What stands in the address of a request: ids in its path, parameters behind it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Query, RawPathParams};
use axum::http::request::Parts;
use protocol::id::{ConversationId, UserId};
use protocol::limits::PAGE_EVENTS_DEFAULT;

use crate::context::Context;
use crate::failure::Failure;
use crate::fields::parse_id;

/// The ids of a path, percent-decoded.
async fn path_parameter(parts: &mut Parts, context: &Arc<Context>, name: &str) -> Result<String, Failure> {
    let parameters = RawPathParams::from_request_parts(parts, context)
        .await
        .map_err(|_| Failure::bad_request("the path is no UTF-8 once it is percent-decoded"))?;
    let found = parameters.iter().find(|(key, _)| *key == name);
    found.map(|(_, value)| value.to_owned()).ok_or_else(Failure::unexpected)
}

/// `{conversation}` of the path.
pub(crate) struct ConversationInPath(pub(crate) ConversationId);

impl FromRequestParts<Arc<Context>> for ConversationInPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, context: &Arc<Context>) -> Result<Self, Failure> {
        let text = path_parameter(parts, context, "conversation").await?;
        parse_id("conversation", &text, |text| ConversationId::parse(text)).map(Self)
    }
}

/// `{user}` of the path.
pub(crate) struct UserInPath(pub(crate) UserId);

impl FromRequestParts<Arc<Context>> for UserInPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, context: &Arc<Context>) -> Result<Self, Failure> {
        let text = path_parameter(parts, context, "user").await?;
        parse_id("user", &text, |text| UserId::parse(text)).map(Self)
    }
}

/// The parameters of a query. Unknown ones are ignored; of two with one name the last counts.
pub(crate) struct Parameters(Vec<(String, String)>);

impl FromRequestParts<Arc<Context>> for Parameters {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Context>) -> Result<Self, Failure> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(pairs)| Self(pairs))
            .map_err(|_| Failure::bad_request("the query is no list of `name=value`, joined by `&`"))
    }
}

impl Parameters {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// An integer of `0..=max`.
    pub(crate) fn number(&self, name: &str, max: u64) -> Result<Option<u64>, Failure> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| *number <= max);
        let refusal = || Failure::bad_request(format!("`{name}` must be an integer from 0 to {max}"));
        number.map(Some).ok_or_else(refusal)
    }

    /// `limit`: 1 to `max`, or the default.
    pub(crate) fn limit(&self, max: u16) -> Result<u16, Failure> {
        let Some(text) = self.text("limit") else { return Ok(PAGE_EVENTS_DEFAULT.min(max)) };
        let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
        limit.ok_or_else(|| Failure::bad_request(format!("`limit` must be an integer from 1 to {max}")))
    }
}
