//! Close frames (RFC 6455, sections 5.5.1 and 7.4): which codes may be on the wire, and what a payload says.

use super::{CONTROL_BYTES_MAX, Violation};
use crate::error::CloseCode;

/// Longest reason of a close frame, in bytes: a control payload less the code.
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// RFC 6455 section 7.4 and the IANA registry: 1004 to 1006 and 1015 are for APIs, never on the wire; the rest of
/// 1000 to 2999 belongs to the protocol, 3000 to 3999 to libraries, 4000 to 4999 to applications.
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The code and the reason of a close payload. No payload means no code.
pub(super) fn parse(payload: &[u8]) -> Result<(Option<CloseCode>, &str), Violation> {
    match payload {
        [] => Ok((None, "")),
        [_] => Err(Violation::ClosePayload),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !may_be_sent(code) {
                return Err(Violation::CloseCode);
            }
            let reason = core::str::from_utf8(reason).map_err(|_| Violation::Utf8)?;
            Ok((Some(CloseCode(code)), reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_the_registry_pass_and_their_neighbours_fail() {
        let passes = |code: u16| parse(&code.to_be_bytes()).is_ok();
        for code in [1000, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
            assert!(passes(code), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, u16::MAX] {
            assert!(!passes(code), "{code}");
        }
    }

    #[test]
    fn a_payload_is_empty_or_a_code_with_a_reason_in_utf8() {
        assert_eq!(parse(b""), Ok((None, "")));
        assert_eq!(parse(b"\x03"), Err(Violation::ClosePayload));
        assert_eq!(parse(b"\x03\xe8"), Ok((Some(CloseCode::NORMAL), "")));
        assert_eq!(parse(b"\x03\xe8bye"), Ok((Some(CloseCode::NORMAL), "bye")));
        assert_eq!(parse(b"\x03\xe8\xce"), Err(Violation::Utf8));
    }
}
