/// Which records of a batch are kept: one bit a record, bit `i % 64` of word `i / 64`. Bits past the end are 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    words: Vec<u64>,
    len: usize,
}

impl Selection {
    /// All of `len` records.
    pub fn all(len: usize) -> Self {
        let mut selection = Self::default();
        selection.reset(len);
        selection
    }

    /// Makes this a selection of all of `len` records; keeps its memory.
    pub fn reset(&mut self, len: usize) {
        self.words.clear();
        self.words.resize(len.div_ceil(64), u64::MAX);
        self.len = len;
        self.trim();
    }

    /// How many records it speaks of, kept or not.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it speaks of no record.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many records are kept.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether record `index` is kept; false past the end.
    pub fn contains(&self, index: usize) -> bool {
        self.words.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Drops record `index`.
    pub fn drop_record(&mut self, index: usize) {
        if let Some(word) = self.words.get_mut(index / 64) {
            *word &= !(1 << (index % 64));
        }
    }

    /// Drops every record.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Keeps of the kept records those for which `keep` says true.
    pub fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        for (at, word) in self.words.iter_mut().enumerate() {
            let mut left = *word;
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                if !keep(at * 64 + bit as usize) {
                    *word &= !(1 << bit);
                }
            }
        }
    }

    /// Keeps of the kept records of word `at` those whose bit is set in `keep`: bit 0 for the first one that was kept, and so on.
    pub fn keep_in_word(&mut self, at: usize, keep: u64) {
        let Some(word) = self.words.get_mut(at) else { return };
        if *word == u64::MAX {
            *word = keep;
            return;
        }
        let (mut left, mut keep) = (*word, keep);
        while left != 0 {
            let lowest = left & left.wrapping_neg();
            left &= left - 1;
            if keep & 1 == 0 {
                *word &= !lowest;
            }
            keep >>= 1;
        }
    }

    /// Keeps what both this and `bitmap` keep. `bitmap` is in this type's own layout, little endian, and may be shorter or longer:
    /// records that it does not speak of are dropped, bits past the end are ignored.
    pub fn intersect_bytes(&mut self, bitmap: &[u8]) {
        for (at, word) in self.words.iter_mut().enumerate() {
            let mut bytes = [0; 8];
            let from = bitmap.get(at * 8..).unwrap_or_default();
            let len = from.len().min(8);
            bytes[..len].copy_from_slice(&from[..len]);
            *word &= u64::from_le_bytes(bytes);
        }
    }

    /// The indices of the kept records, rising.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                (left != 0).then(|| {
                    let bit = left.trailing_zeros() as usize;
                    left &= left - 1;
                    at * 64 + bit
                })
            })
        })
    }

    /// The words of the bitmap.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    fn trim(&mut self) {
        let tail = self.len % 64;
        if tail != 0
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << tail) - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_narrowed_by_the_bits_of_what_it_kept() {
        let mut selection = Selection::all(70);
        selection.keep_in_word(0, u64::MAX << 1);
        assert_eq!(selection.iter().take(2).collect::<Vec<_>>(), [1, 2]);
        selection.retain(|index| index % 10 == 3);
        selection.keep_in_word(0, 0b10_0101);
        selection.keep_in_word(1, u64::MAX);
        selection.keep_in_word(2, 0);
        assert_eq!(selection.iter().collect::<Vec<_>>(), [3, 23, 53]);
    }

    #[test]
    fn a_selection_narrows_and_never_widens() {
        let mut selection = Selection::all(130);
        assert_eq!(selection.count(), 130);
        selection.retain(|index| index % 3 == 0);
        assert_eq!(selection.count(), 44);
        selection.intersect_bytes(&[0xff; 9]);
        assert_eq!(selection.iter().last(), Some(69), "records that the bitmap does not speak of are dropped");
        selection.intersect_bytes(&[0xff; 100]);
        assert_eq!(selection.count(), 24);
        assert!(!selection.contains(130) && !selection.contains(10_000));
        selection.drop_record(0);
        assert_eq!(selection.iter().next(), Some(3));
    }

    #[test]
    fn no_bit_stands_past_the_end() {
        for len in [0, 1, 63, 64, 65, 128] {
            let selection = Selection::all(len);
            assert_eq!(selection.count(), len);
            assert_eq!(selection.iter().count(), len);
        }
    }
}
