//! Masking (RFC 6455, section 5.3): the XOR with four bytes that a client puts over its payload.

/// Unmasks in place, and returns the mask for the byte that follows.
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) -> [u8; 4] {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let length = payload.len();
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
    let mut next = mask;
    next.rotate_left(length % 4);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmasking_agrees_with_the_definition_for_every_length_and_split() {
        let mask = [0x12, 0x00, 0xff, 0x9c];
        for length in 0..70usize {
            let plain: Vec<u8> = (0..length).map(|index| (index * 37) as u8).collect();
            let masked: Vec<u8> = plain.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect();
            for split in 0..=length {
                let mut bytes = masked.clone();
                let (head, tail) = bytes.split_at_mut(split);
                let next = unmask(head, mask);
                unmask(tail, next);
                assert_eq!(bytes, plain, "length {length}, split {split}");
            }
        }
    }
}
