//! Settings from environment variables, each declared once.
//!
//! [`settings!`] declares a section: the name, type, default, bounds, help and production rules of
//! each setting. A [`Reader`] reads it and collects every fault by variable name, never with a value.
//! The reference page and the example env file are rendered from the same declarations.
//!
//! ```
//! use std::time::Duration;
//!
//! settings::settings! {
//!     /// Time limits.
//!     pub struct TimeConfig {}
//!     "Time limits", TimeSettings {
//!         /// For a handler to respond.
//!         REQUEST_TIMEOUT => request: Duration = "15s", at_most("1h");
//!         /// Address to listen on.
//!         BIND_ADDR => bind_addr: Option<std::net::SocketAddr>;
//!     }
//! }
//!
//! let variables = [("REQUEST_TIMEOUT".to_owned(), "2h".to_owned())].into();
//! let mut reader = settings::Reader::new(&variables);
//! let config = TimeSettings::read(&mut reader).build();
//! let faults = reader.finish(config).unwrap_err();
//! assert_eq!(faults.0[0].message, "must be at most 1h");
//! ```

mod entry;
mod environment;
pub mod host;
mod log_level;
mod postgres_url;
mod reader;
mod render;
mod rule;
mod suspects;
mod types;
mod web;

pub use entry::{Entry, Section};
pub use environment::Environment;
pub use log_level::LogLevel;
pub use postgres_url::PostgresUrl;
pub use reader::{Effective, Fault, Faults, Reader, Source};
pub use render::{env_section, markdown_section, production_list, required_table};
pub use rule::{Rule, rule_list};
pub use types::{
    CurrencyCode, DurationOrZero, Field, List, Mebibytes, OneLine, OrDefault, Setting, Unlimited,
};
pub use web::{HostPattern, Network, Origin, RedisUrl, SentryDsn, WebUrl};

/// Declares a section of settings, and optionally the struct that the program uses.
///
/// An entry is `NAME => field: Type = default, attribute…;` under its help as a doc comment. The
/// type implements [`Setting`], or is an `Option` or a [`List`] of one that does. Defaults and bounds
/// are written as in an env file; numbers may be bare. Attributes:
///
/// | attribute | meaning |
/// | --- | --- |
/// | `required`, `required("hint")` | a fault when unset |
/// | `secret` | never shown by `Reader::effective` |
/// | `example("text")` | value in the example env file |
/// | `in_development("text")` | another default outside of production |
/// | `computed("description", function)` | default text computed from other settings |
/// | `within(1..=10)`, `at_most("1h")` | bounds |
/// | `check(predicate, "message")` | rule that holds everywhere |
/// | `production(predicate, "message")` | rule that holds in production; may repeat |
/// | `production_at_most("1d")` | upper bound in production |
/// | `decides_production(predicate)` | this setting says whether production rules apply |
///
/// The predicates get one value: of an `Option` what is set, of a list each member. Bounds and rules
/// are not applied to defaults.
///
/// `pub struct X { more: Type }` before the section generates `X` with a public field for each
/// setting and those listed, and `build` on the section: `None` if a setting is faulty.
#[macro_export]
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $whole:ident { $( $(#[$more_meta:meta])* $more:ident: $more_ty:ty, )* }
        $title:literal $(: $intro:literal)?, $values:ident { $($entries:tt)* }
    ) => {
        $crate::__values! { $title, concat!($($intro)?), $values { $($entries)* } }
        $crate::__whole! {
            $(#[$meta])* $whole { $( $(#[$more_meta])* $more: $more_ty, )* } $values { $($entries)* }
        }
    };
    ($title:literal $(: $intro:literal)?, $values:ident { $($entries:tt)* }) => {
        $crate::__values! { $title, concat!($($intro)?), $values { $($entries)* } }
    };
}

/// Declares the struct of all sections, in the order in which they are read and described.
#[macro_export]
macro_rules! sections {
    ($(#[$meta:meta])* $all:ident { $( $field:ident: $section:ty, )* }) => {
        $(#[$meta])*
        pub(crate) struct $all { $( pub(crate) $field: $section, )* }

        impl $all {
            pub(crate) const SECTIONS: &'static [$crate::Section] = &[ $( <$section>::SECTION, )* ];

            pub(crate) fn read(reader: &mut $crate::Reader<'_>) -> Self {
                Self { $( $field: <$section>::read(reader), )* }
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __values {
    ($title:expr, $intro:expr, $values:ident { $(
        $(#[doc = $help:literal])+
        $name:ident => $field:ident: $ty:ty $(= $default:literal)? $(, $key:ident $(($($arg:tt)*))?)*;
    )* }) => {
        /// The section as read: `None` for a setting with a fault.
        pub struct $values {
            $( pub $field: Option<<$ty as $crate::Field>::Value>, )*
        }

        impl $values {
            pub const SECTION: $crate::Section = $crate::Section {
                title: $title,
                intro: $intro,
                entries: &[ $( Self::$name, )* ],
            };

            $(
                pub const $name: $crate::Entry = {
                    let entry = $crate::Entry::new(stringify!($name), &[$($help),+]);
                    $( let entry = entry.default_text(concat!($default)); )?
                    $( let entry = $crate::__describe!(entry, $key $(($($arg)*))?); )*
                    entry
                };

                pub fn $field(
                    reader: &mut $crate::Reader<'_>,
                ) -> Option<<$ty as $crate::Field>::Value> {
                    let entry: &'static $crate::Entry = &Self::$name;
                    let value = reader.read::<$ty>(entry)?;
                    // What is wrong with a computed default is a fault of the setting that it is from.
                    if reader.is_default() {
                        return Some(value);
                    }
                    $( $crate::__check!(reader, entry, value, $ty, $key $(($($arg)*))?); )*
                    Some(value)
                }
            )*

            pub fn read(reader: &mut $crate::Reader<'_>) -> Self {
                Self { $( $field: Self::$field(reader), )* }
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __whole {
    (
        $(#[$meta:meta])* $whole:ident { $( $(#[$more_meta:meta])* $more:ident: $more_ty:ty, )* }
        $values:ident { $(
            $(#[doc = $help:literal])+
            $name:ident => $field:ident: $ty:ty $(= $default:literal)? $(, $key:ident $(($($arg:tt)*))?)*;
        )* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $whole {
            $(
                #[doc = concat!("`", stringify!($name), "`:")]
                $(#[doc = $help])+
                pub $field: <$ty as $crate::Field>::Value,
            )*
            $( $(#[$more_meta])* pub $more: $more_ty, )*
        }

        impl $values {
            pub fn build(self, $($more: $more_ty),*) -> Option<$whole> {
                Some($whole { $( $field: self.$field?, )* $( $more, )* })
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __describe {
    ($entry:ident, required) => {
        $entry.required("")
    };
    ($entry:ident, required($hint:literal)) => {
        $entry.required($hint)
    };
    ($entry:ident, secret) => {
        $entry.secret()
    };
    ($entry:ident, example($text:literal)) => {
        $entry.example($text)
    };
    ($entry:ident, in_development($text:literal)) => {
        $entry.in_development(concat!($text))
    };
    ($entry:ident, computed($text:literal, $from:expr)) => {
        $entry.computed($text, $from)
    };
    ($entry:ident, within($low:literal ..= $high:literal)) => {
        $entry.bounds(Some(concat!($low)), concat!($high))
    };
    ($entry:ident, at_most($high:literal)) => {
        $entry.bounds(None, concat!($high))
    };
    ($entry:ident, check($ok:expr, $message:expr)) => {
        $entry
    };
    ($entry:ident, production($ok:expr, $message:expr)) => {
        $entry.production($message)
    };
    ($entry:ident, production_at_most($high:literal)) => {
        $entry.production(concat!("must be at most ", $high))
    };
    ($entry:ident, decides_production($ok:expr)) => {
        $entry
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __check {
    ($reader:ident, $entry:ident, $value:ident, $ty:ty, within($($bounds:tt)*)) => {
        if !$reader.within::<$ty>($entry, &$value) {
            return None;
        }
    };
    ($reader:ident, $entry:ident, $value:ident, $ty:ty, at_most($high:literal)) => {
        if !$reader.within::<$ty>($entry, &$value) {
            return None;
        }
    };
    ($reader:ident, $entry:ident, $value:ident, $ty:ty, check($ok:expr, $message:expr)) => {
        if !$reader.check::<$ty>($entry, &$value, $ok, $message) {
            return None;
        }
    };
    ($reader:ident, $entry:ident, $value:ident, $ty:ty, production($ok:expr, $message:expr)) => {
        $reader.production_check::<$ty>($entry, &$value, $ok, $message);
    };
    ($reader:ident, $entry:ident, $value:ident, $ty:ty, production_at_most($high:literal)) => {
        $reader.production_at_most::<$ty>($entry, &$value, $high);
    };
    ($reader:ident, $entry:ident, $value:ident, $ty:ty, decides_production($ok:expr)) => {
        $reader.decide_production(<$ty as $crate::Field>::all(&$value, $ok));
    };
    ($reader:ident, $entry:ident, $value:ident, $ty:ty, $($described:tt)*) => {};
}
