//! The fuzzer's bytes, read as numbers.

/// What is to be done; where it ends, all numbers are 0.
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// An id of those that few bytes can name, or of the last ones.
    pub fn id(&mut self) -> u32 {
        match self.byte() {
            byte @ 0xf0.. => u32::MAX - u32::from(0xff - byte),
            byte => byte.into(),
        }
    }

    /// Up to 255 bytes, behind their number.
    pub fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

impl Iterator for Script<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
}
