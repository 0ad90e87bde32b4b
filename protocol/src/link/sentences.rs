//! Sentences of refusals that came from another node. A [`Refusal`](crate::error::Refusal) holds a sentence of the program's
//! text; one that comes over a link was in another program's, perhaps of another version, so it is kept here once for all
//! times that it comes.

use crate::error::{ErrorCode, Refusal};

/// Most sentences kept. A version has some 60; a cluster runs two at a time.
pub const SENTENCES_MAX: usize = 256;
/// Longest sentence kept, in bytes: longer ones are not taken over.
pub const SENTENCE_BYTES_MAX: usize = 256;

/// The sentences that came so far, never given back: at most 64 KiB. One for each core, for the life of the process, and
/// not one for each link, since links come and go.
#[derive(Debug, Default)]
pub struct Sentences {
    known: Vec<&'static str>,
}

impl Sentences {
    /// Those of a process that has heard nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { known: Vec::new() }
    }

    /// A sentence as a refusal holds it. What does not fit is replaced by one that says the code.
    pub(super) fn keep(&mut self, code: ErrorCode, sentence: &str) -> &'static str {
        if let Some(known) = self.known.iter().find(|&&known| known == sentence) {
            return known;
        }
        if self.known.len() >= SENTENCES_MAX || sentence.len() > SENTENCE_BYTES_MAX {
            return in_general(code);
        }
        let kept: &'static str = Box::leak(Box::from(sentence));
        self.known.push(kept);
        kept
    }

    /// A refusal as this process holds it.
    pub(super) fn refusal(
        &mut self,
        code: ErrorCode,
        sentence: &str,
        retry_after_ms: Option<u32>,
    ) -> Refusal {
        Refusal { code, message: self.keep(code, sentence), retry_after_ms }
    }
}

const fn in_general(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::BadRequest => "the request is malformed or breaks a bound",
        ErrorCode::UnknownOp => "there is no such operation",
        ErrorCode::Unauthorized => "no valid token",
        ErrorCode::Forbidden => "not allowed",
        ErrorCode::NotFound => "not there",
        ErrorCode::Conflict => "in conflict with what was stored before",
        ErrorCode::TooLarge => "over a size limit",
        ErrorCode::RateLimited => "over a rate",
        ErrorCode::Unavailable => "nothing was done, or a retry with the same id tells: try again",
        ErrorCode::Internal => "a fault of the server",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_kept_once_and_there_are_only_so_many() {
        let mut sentences = Sentences::new();
        for _ in 0..2 {
            for number in 0..2 * SENTENCES_MAX {
                let sentence = format!("sentence {number}");
                let kept = sentences.keep(ErrorCode::Conflict, &sentence);
                let fits = number < SENTENCES_MAX;
                assert_eq!(kept, if fits { &sentence } else { in_general(ErrorCode::Conflict) });
            }
        }
        assert_eq!(sentences.known.len(), SENTENCES_MAX);
    }

    #[test]
    fn a_sentence_has_at_most_256_bytes() {
        let mut sentences = Sentences::new();
        let (longest, longer) = ("s".repeat(SENTENCE_BYTES_MAX), "s".repeat(SENTENCE_BYTES_MAX + 1));
        assert_eq!(sentences.keep(ErrorCode::Internal, &longest), longest);
        assert_eq!(sentences.keep(ErrorCode::Internal, &longer), in_general(ErrorCode::Internal));
    }
}
