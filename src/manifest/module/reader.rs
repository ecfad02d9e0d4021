//! A place in the bytes of a module; every step is forward, and says what it missed where there is nothing.

use super::{Import, InvalidModule};

#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    const fn malformed(&self, expected: &'static str) -> InvalidModule {
        InvalidModule::Malformed { at: self.at, expected }
    }

    pub(super) fn take(&mut self, count: usize, expected: &'static str) -> Result<&'a [u8], InvalidModule> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or_else(|| self.malformed(expected))?;
        (self.bytes, self.at) = (rest, self.at.saturating_add(count));
        Ok(taken)
    }

    pub(super) fn byte(&mut self, expected: &'static str) -> Result<u8, InvalidModule> {
        self.take(1, expected)?.first().copied().ok_or_else(|| self.malformed(expected))
    }

    /// Unsigned LEB128 of at most 32 bits.
    pub(super) fn number(&mut self, expected: &'static str) -> Result<usize, InvalidModule> {
        let mut value = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte(expected)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let fits = u32::try_from(value).ok().and_then(|value| usize::try_from(value).ok());
                return fits.ok_or_else(|| self.malformed(expected));
            }
        }
        Err(self.malformed(expected))
    }

    pub(super) fn name(&mut self) -> Result<&'a str, InvalidModule> {
        let length = self.number("the length of a name")?;
        let bytes = self.take(length, "as many bytes as the name says")?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed("a name in UTF-8"))
    }

    pub(super) fn import(&mut self) -> Result<Import<'a>, InvalidModule> {
        let import = Import { module: self.name()?, name: self.name()? };
        match self.byte("the kind of an import")? {
            0 => drop(self.number("the type of a function")?),
            1 => {
                self.byte("the type of a table")?;
                self.limits()?;
            }
            2 => self.limits()?,
            3 => drop(self.take(2, "the type of a global")?),
            _ => return Err(self.malformed("a function, table, memory or global")),
        }
        Ok(import)
    }

    fn limits(&mut self) -> Result<(), InvalidModule> {
        let bounded = self.byte("limits")? & 1 == 1;
        self.number("the least size")?;
        if bounded {
            self.number("the largest size")?;
        }
        Ok(())
    }
}
