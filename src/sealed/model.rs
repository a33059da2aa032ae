//! The list of sealed columns, and what is reported about them.

use std::fmt;
use std::time::Duration;

use crypto::{AssociatedData, KeyId};
use uuid::Uuid;

/// Column whose values are encrypted. The fields are private: a column exists only by its line in this file.
#[derive(Debug, PartialEq, Eq)]
pub struct SealedColumn {
    table: &'static str,
    column: &'static str,
    key: &'static [KeyColumn],
}

/// Column of the row's key. Table, column and the values of the key, in their order, are the associated data.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyColumn {
    Uuid(&'static str),
    /// `bytea` of 32 bytes: two UUIDs of the associated data.
    Hash(&'static str),
    /// `integer` of at least 0: a UUID of the same number.
    Number(&'static str),
}

macro_rules! sealed_columns {
    ($($(#[$doc:meta])* $name:ident $table:literal $column:literal [$($kind:ident $key:literal),+])+) => {
        $($(#[$doc])* pub const $name: SealedColumn = SealedColumn {
            table: $table,
            column: $column,
            key: &[$(KeyColumn::$kind($key)),+],
        };)+

        /// Every sealed column.
        pub static SEALED_COLUMNS: &[SealedColumn] = &[$($name),+];
    };
}

// Name, table, column, and the key of the row.
sealed_columns! {
    /// Secrets of authenticator apps.
    TOTP_SECRETS "mfa_factors" "secret" [Uuid "user_id"]
    /// Replies to requests with an idempotency key.
    IDEMPOTENT_REPLIES "idempotency_keys" "body" [Uuid "account_id", Uuid "user_id", Hash "key_hash"]
    /// Secrets of accounts.
    SECRET_VALUES "secret_versions" "value" [Uuid "account_id", Uuid "secret_id", Number "version"]
}

impl SealedColumn {
    pub const fn table(&self) -> &'static str {
        self.table
    }

    pub const fn column(&self) -> &'static str {
        self.column
    }

    pub(super) const fn key(&self) -> &'static [KeyColumn] {
        self.key
    }

    pub(super) const fn associated_data<'a>(&self, row: &'a [Uuid]) -> AssociatedData<'a> {
        AssociatedData {
            table: self.table,
            column: self.column,
            row,
        }
    }
}

impl fmt::Display for SealedColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)
    }
}

impl KeyColumn {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Uuid(name) | Self::Hash(name) | Self::Number(name) => name,
        }
    }

    /// Type in the database.
    pub(super) const fn sql_type(&self) -> &'static str {
        match self {
            Self::Uuid(_) => "uuid",
            Self::Hash(_) => "bytea",
            Self::Number(_) => "integer",
        }
    }

    /// SQL of its UUIDs in the associated data, separated by commas.
    pub(super) fn sql_uuids(&self) -> String {
        match self {
            Self::Uuid(name) => (*name).to_owned(),
            Self::Hash(name) => format!(
                "encode(substr({name}, 1, 16), 'hex')::uuid, encode(substr({name}, 17), 'hex')::uuid"
            ),
            Self::Number(name) => format!("lpad(to_hex({name}), 32, '0')::uuid"),
        }
    }
}

/// The halves of a hash, as the associated data of a [`KeyColumn::Hash`].
pub fn hash_uuids(hash: &[u8; 32]) -> [Uuid; 2] {
    let half = |from: usize| Uuid::from_slice(&hash[from..from + 16]).unwrap_or_default();
    [half(0), half(16)]
}

/// Number of values of a column under each key.
#[derive(Debug)]
pub struct ColumnKeys {
    pub column: &'static SealedColumn,
    /// Rows under each key of the ring, in its order.
    pub known: Vec<(KeyId, u64)>,
    /// Rows under keys that are not in the ring, by the key id in hexadecimal digits.
    pub unknown: Vec<(String, u64)>,
}

impl ColumnKeys {
    pub fn unknown_rows(&self) -> u64 {
        self.unknown.iter().map(|(_, rows)| rows).sum()
    }
}

impl fmt::Display for ColumnKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.column)?;
        for (at, (key, rows)) in self.known.iter().enumerate() {
            let separator = if at == 0 { ':' } else { ',' };
            write!(f, "{separator} {rows} under {key}")?;
        }
        for (key, rows) in &self.unknown {
            write!(f, ", {rows} under {key}, which is not in the ring")?;
        }
        Ok(())
    }
}

/// Progress of the re-encryption of one column.
#[derive(Debug)]
pub struct Progress {
    pub column: &'static SealedColumn,
    /// Rows that were re-encrypted.
    pub rows: u64,
    pub undecryptable: u64,
    /// Rows under another key than the first, apart from those. `None` until they are counted at the end.
    pub remaining: Option<u64>,
    pub elapsed: Duration,
}

impl Progress {
    /// Rows re-encrypted in a second.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn rate(&self) -> f64 {
        self.rows as f64 / self.elapsed.as_secs_f64().max(0.001)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column, rows, .. } = self;
        write!(
            f,
            "{column}: {rows} rows re-encrypted, {:.0} rows/s",
            self.rate()
        )?;
        if self.undecryptable > 0 {
            write!(f, ", {} cannot be decrypted", self.undecryptable)?;
        }
        match self.remaining {
            None => Ok(()),
            Some(0) => f.write_str(", done"),
            Some(remaining) => write!(f, ", {remaining} remain"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_halves_of_a_hash_are_both_in_the_associated_data() {
        let mut other = [1; 32];
        assert_eq!(hash_uuids(&[1; 32]), hash_uuids(&other));
        for byte in [0, 31] {
            other = [1; 32];
            other[byte] = 2;
            assert_ne!(hash_uuids(&[1; 32]), hash_uuids(&other));
        }
    }

    #[test]
    fn no_column_is_listed_twice() {
        let mut names: Vec<_> = SEALED_COLUMNS.iter().map(ToString::to_string).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), SEALED_COLUMNS.len());
    }
}
