//! The known name nearest to a mistyped one, for "did you mean". Knows nothing of what the names stand for.

/// The candidate with the fewest changed letters, if few enough for a slip of the hand (a third of the name).
pub(super) fn nearest<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let slips_max = (wanted.len() / 3).max(1);
    candidates
        .map(|candidate| (distance(wanted.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(slips, _)| *slips <= slips_max)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, removals and replacements that turn one into the other (Levenshtein).
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_hand_finds_its_name_and_a_strange_word_finds_none() {
        let names = ["limits.body_bytes", "limits.meta_bytes", "listen.client"];
        assert_eq!(nearest("limits.body_byte", names.into_iter()), Some("limits.body_bytes"));
        assert_eq!(nearest("limit.metabytes", names.into_iter()), Some("limits.meta_bytes"));
        assert_eq!(nearest("zebra", names.into_iter()), None);
    }

    #[test]
    fn distance_counts_changed_letters() {
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"same", b"same"), 0);
    }
}
