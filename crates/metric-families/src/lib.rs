//! Tables of metrics, declared beside the code that records them.

pub use metrics::Unit;
use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Metric type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counted in buckets.
    Histogram,
}

/// A family of series with the same name.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Metric name.
    pub name: &'static str,
    /// Metric type.
    pub kind: Kind,
    /// Unit of the values.
    pub unit: Unit,
    /// Label names.
    pub labels: &'static [&'static str],
    /// Help text, one sentence.
    pub help: &'static str,
}

/// Describes families to the recorder that is installed.
pub fn describe(families: &[Family]) {
    for family in families {
        let Family {
            name, unit, help, ..
        } = *family;
        match family.kind {
            Kind::Counter => describe_counter!(name, unit, help),
            Kind::Gauge => describe_gauge!(name, unit, help),
            Kind::Histogram => describe_histogram!(name, unit, help),
        }
    }
}

/// Declares a constant per metric name, and `FAMILIES`, the table of them.
#[macro_export]
macro_rules! families {
    ($($ident:ident $name:literal $kind:ident $unit:ident [$($label:literal)*] $help:literal)+) => {
        $(const $ident: &str = $name;)+

        /// The metrics that are recorded here.
        pub const FAMILIES: &[$crate::Family] = &[$($crate::Family {
            name: $name,
            kind: $crate::Kind::$kind,
            unit: $crate::Unit::$unit,
            labels: &[$($label),*],
            help: $help,
        }),+];
    };
}

/// Declares an enum of label values: `as_str` is the value, `ALL` lists them, and `init` starts a counter's series of
/// each at zero.
#[macro_export]
macro_rules! label_values {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $text:literal)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Starts the series of `counter` at zero.
            pub fn init(counter: &'static str, label: &'static str) {
                for value in Self::ALL {
                    ::metrics::counter!(counter, label => value.as_str()).absolute(0);
                }
            }
        }
    };
}
