//! The token of an upgrade: the first three of the four places of PROTOCOL section 1, in its order. The fourth is the
//! first frame. Nothing here looks into a token.

use std::borrow::Cow;

/// Where a token was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenPlace {
    /// `Authorization: Bearer <token>`.
    Authorization,
    /// `bearer.<token>` in `Sec-WebSocket-Protocol`.
    Subprotocol,
    /// `?token=<token>`.
    Query,
}

/// A token as it was given, perhaps empty, never to be logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Token<'a> {
    /// Where.
    pub place: TokenPlace,
    /// What. Borrowed from the request unless a query escaped it.
    pub text: Cow<'a, str>,
}

impl core::fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Token").field("place", &self.place).field("bytes", &self.text.len()).finish()
    }
}

/// The token of an `Authorization` header; `None` for another scheme. Schemes ignore case (RFC 9110, section 11.1).
pub(super) fn of_authorization(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The token of an entry of the subprotocol list.
pub(super) fn of_subprotocol(entry: &str) -> Option<&str> {
    entry.strip_prefix("bearer.")
}

/// The first `token` of a query. `%XX` is decoded; `+` stays, for no token has a space. What does not decode stays as
/// it is, and will not be a good token.
pub(super) fn of_query(query: &str) -> Option<Cow<'_, str>> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decoded(name) == "token").then(|| percent_decoded(value))
    })
}

fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            decoded.push(byte);
            rest = tail;
            continue;
        }
        let Some((digits, tail)) = tail.split_first_chunk::<2>() else { return Cow::Borrowed(text) };
        let Some(byte) = hexadecimal(digits) else { return Cow::Borrowed(text) };
        decoded.push(byte);
        rest = tail;
    }
    String::from_utf8(decoded).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn hexadecimal(digits: &[u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    Some((high? << 4 | low?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_gives_its_first_token_decoded() {
        let cases = [
            ("token=a.b-c_d", Some("a.b-c_d")),
            ("x=1&token=abc&token=second", Some("abc")),
            ("token=a%2Eb%3d", Some("a.b=")),
            ("%74oken=abc", Some("abc")),
            ("token=a+b", Some("a+b")),
            ("token=", Some("")),
            ("token", Some("")),
            ("tokens=abc", None),
            ("", None),
            ("token=%", Some("%")),
            ("token=%4", Some("%4")),
            ("token=%zz", Some("%zz")),
            ("token=%+1", Some("%+1")),
            ("token=%ff", Some("%ff")),
        ];
        for (query, token) in cases {
            assert_eq!(of_query(query).as_deref(), token, "{query}");
        }
    }

    #[test]
    fn a_bearer_scheme_ignores_case_and_space_around_the_token() {
        assert_eq!(of_authorization("Bearer abc"), Some("abc"));
        assert_eq!(of_authorization("bEARER   abc "), Some("abc"));
        assert_eq!(of_authorization("Bearer"), Some(""));
        assert_eq!(of_authorization("Basic abc"), None);
        assert_eq!(of_authorization("Bearerabc"), None);
    }

    #[test]
    fn a_token_is_never_printed() {
        let token = Token { place: TokenPlace::Query, text: Cow::Borrowed("secret") };
        assert!(!format!("{token:?}").contains("secret"));
    }
}
