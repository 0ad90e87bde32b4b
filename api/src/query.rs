//! What stands in the address of a request: ids in its path, parameters behind it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Query, RawPathParams};
use axum::http::request::Parts;
use protocol::frame::Range;
use protocol::id::{ConversationId, UserId};
use protocol::limits::SEQ_MAX;

use crate::context::Context;
use crate::failure::Failure;
use crate::fields::parse_id;

const ONE_POSITION: &str = "of `before`, `after`, `around` and `since` at most one may be given";

/// An id of a path, percent-decoded.
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
    /// As it stands there, percent-decoded.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// An integer of `0..=max`.
    fn number(&self, name: &str, max: u64) -> Result<Option<u64>, Failure> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| *number <= max);
        let refusal = || Failure::bad_request(format!("`{name}` must be an integer from 0 to {max}"));
        number.map(Some).ok_or_else(refusal)
    }

    /// `limit`: 1 to `max`; `default` when it is not given.
    pub(crate) fn limit(&self, default: u16, max: u16) -> Result<u16, Failure> {
        let Some(text) = self.text("limit") else { return Ok(default.min(max)) };
        let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
        limit.ok_or_else(|| Failure::bad_request(format!("`limit` must be an integer from 1 to {max}")))
    }

    /// Where a page of a log begins or ends: at most one of the four positions.
    pub(crate) fn range(&self) -> Result<Range, Failure> {
        type Position = fn(u64) -> Range;
        const POSITIONS: [(&str, Position); 4] = [
            ("before", Range::Before),
            ("after", Range::After),
            ("around", Range::Around),
            ("since", Range::Since),
        ];
        let mut given = None;
        for (name, position) in POSITIONS {
            let Some(number) = self.number(name, SEQ_MAX)? else { continue };
            if given.replace(position(number)).is_some() {
                return Err(Failure::bad_request(ONE_POSITION));
            }
        }
        Ok(given.unwrap_or(Range::Newest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(query: &str) -> Parameters {
        let uri = format!("/?{query}").parse().unwrap();
        let Query(pairs) = Query::try_from_uri(&uri).unwrap();
        Parameters(pairs)
    }

    #[test]
    fn a_page_has_at_most_one_position() {
        let good = [
            ("", Range::Newest),
            ("before=1", Range::Before(1)),
            ("after=0", Range::After(0)),
            ("around=9007199254740991", Range::Around(SEQ_MAX)),
            ("since=1700000000000&other=x", Range::Since(1_700_000_000_000)),
        ];
        for (query, range) in good {
            assert_eq!(parameters(query).range().unwrap(), range, "{query}");
        }
        for query in
            ["before=1&after=1", "before=x", "after=-1", "around=9007199254740992", "since=", "since=1.5"]
        {
            parameters(query).range().unwrap_err();
        }
    }

    #[test]
    fn a_limit_ends_at_its_bounds() {
        for (query, limit) in [("", 50), ("limit=1", 1), ("limit=200", 200), ("limit=7&limit=8", 8)] {
            assert_eq!(parameters(query).limit(50, 200).unwrap(), limit);
        }
        for query in ["limit=0", "limit=201", "limit=", "limit=ten", "limit=-1"] {
            parameters(query).limit(50, 200).unwrap_err();
        }
    }
}
