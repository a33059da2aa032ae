//! Types of settings: text, numbers, flags, times, sizes and lists.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use http::HeaderName;

/// A type that a variable's text is read as.
pub trait Setting {
    /// What the program gets: mostly the type itself.
    type Value;

    /// Reads the text. The error says what it must be, and never has the text in it.
    fn parse(text: &str) -> Result<Self::Value, String>;
}

/// The type of a declared setting: a [`Setting`], or an `Option` or a [`List`] of one.
pub trait Field {
    /// What the program gets.
    type Value;
    /// What bounds and rules apply to: of an `Option` what is set, of a list each member.
    type Item;

    /// Reads the text; `None` where nothing is in it.
    fn read(text: &str) -> Result<Option<Self::Value>, String>;

    /// The value where the setting is unset and has no default.
    fn unset() -> Option<Self::Value>;

    /// Reads a bound.
    fn item(text: &str) -> Result<Self::Item, String>;

    /// Whether the rule holds for each item.
    fn all(value: &Self::Value, rule: impl Fn(&Self::Item) -> bool) -> bool;
}

impl<T: Setting> Field for T {
    type Value = T::Value;
    type Item = T::Value;

    fn read(text: &str) -> Result<Option<T::Value>, String> {
        T::parse(text).map(Some)
    }

    fn unset() -> Option<T::Value> {
        None
    }

    fn item(text: &str) -> Result<T::Value, String> {
        T::parse(text)
    }

    fn all(value: &T::Value, rule: impl Fn(&T::Value) -> bool) -> bool {
        rule(value)
    }
}

impl<T: Setting> Field for Option<T> {
    type Value = Option<T::Value>;
    type Item = T::Value;

    fn read(text: &str) -> Result<Option<Self::Value>, String> {
        T::parse(text).map(|value| Some(Some(value)))
    }

    fn unset() -> Option<Self::Value> {
        Some(None)
    }

    fn item(text: &str) -> Result<T::Value, String> {
        T::parse(text)
    }

    fn all(value: &Self::Value, rule: impl Fn(&T::Value) -> bool) -> bool {
        value.iter().all(rule)
    }
}

/// A list of at most `MAX` members, separated by commas; empty unless it is set.
#[derive(Debug)]
pub struct List<T, const MAX: usize = { usize::MAX }>(PhantomData<T>);

impl<T: Setting, const MAX: usize> Field for List<T, MAX> {
    type Value = Vec<T::Value>;
    type Item = T::Value;

    fn read(text: &str) -> Result<Option<Self::Value>, String> {
        let members = text.split(',').map(str::trim);
        let members = members.filter(|member| !member.is_empty());
        let members: Vec<_> = members.map(T::parse).collect::<Result<_, _>>()?;
        if members.len() > MAX {
            return Err(format!("must have at most {MAX} members"));
        }
        Ok((!members.is_empty()).then_some(members))
    }

    fn unset() -> Option<Self::Value> {
        Some(Vec::new())
    }

    fn item(text: &str) -> Result<T::Value, String> {
        T::parse(text)
    }

    fn all(value: &Self::Value, rule: impl Fn(&T::Value) -> bool) -> bool {
        value.iter().all(rule)
    }
}

/// A setting whose value is the type's `Default` when it is unset.
#[derive(Debug)]
pub struct OrDefault<T>(PhantomData<T>);

impl<T: Setting<Value: Default>> Field for OrDefault<T> {
    type Value = T::Value;
    type Item = T::Value;

    fn read(text: &str) -> Result<Option<Self::Value>, String> {
        T::parse(text).map(Some)
    }

    fn unset() -> Option<Self::Value> {
        Some(T::Value::default())
    }

    fn item(text: &str) -> Result<T::Value, String> {
        T::parse(text)
    }

    fn all(value: &Self::Value, rule: impl Fn(&T::Value) -> bool) -> bool {
        rule(value)
    }
}

macro_rules! by_from_str {
    ($($type:ty => $message:literal),+ $(,)?) => {$(
        impl Setting for $type {
            type Value = Self;

            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| $message.to_owned())
            }
        }
    )+};
}

by_from_str! {
    f32 => "must be a number",
    u32 => "must be a whole number",
    u64 => "must be a whole number",
    usize => "must be a whole number",
    SocketAddr => "must be an address and a port, such as 0.0.0.0:8000",
    HeaderName => "must be the name of a header, such as CF-IPCountry",
}

impl Setting for String {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        if text.chars().any(char::is_control) {
            return Err("must be one line without control characters".to_owned());
        }
        Ok(text.to_owned())
    }
}

impl Setting for bool {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        }
    }
}

/// Clocks and libraries add times to the present, and overflow far beyond.
const LONGEST: Duration = Duration::from_hours(3_650 * 24);

/// A time that may be zero, written `500ms`, `30s`, `15m`, `24h`, `14d` or in plain seconds.
#[derive(Debug)]
pub struct DurationOrZero;

impl Setting for DurationOrZero {
    type Value = Duration;

    fn parse(text: &str) -> Result<Duration, String> {
        let wrong = "must be a time such as 500ms, 30s, 15m, 24h, 14d, or plain seconds";
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let number: u64 = digits.trim_end().parse().map_err(|_| wrong)?;
        let time = match &text[digits.len()..] {
            "ms" => Some(Duration::from_millis(number)),
            "" | "s" => Some(Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "h" => number.checked_mul(60 * 60).map(Duration::from_secs),
            "d" => number.checked_mul(24 * 60 * 60).map(Duration::from_secs),
            _ => None,
        };
        let time = time.ok_or(wrong)?;
        if time > LONGEST {
            return Err("must be at most 3650d".to_owned());
        }
        Ok(time)
    }
}

impl Setting for Duration {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        let time = DurationOrZero::parse(text)?;
        if time.is_zero() {
            return Err("must be longer than zero".to_owned());
        }
        Ok(time)
    }
}

/// A size in MiB; the value is in bytes.
#[derive(Debug)]
pub struct Mebibytes<T>(PhantomData<T>);

impl<T: TryFrom<u64>> Setting for Mebibytes<T> {
    type Value = T;

    fn parse(text: &str) -> Result<T, String> {
        let bytes = u64::from_str(text)
            .ok()
            .and_then(|size| size.checked_mul(1024 * 1024));
        bytes
            .and_then(|bytes| T::try_from(bytes).ok())
            .ok_or_else(|| "must be a whole number of MiB".to_owned())
    }
}

/// A number of which zero means without limit: `None`.
#[derive(Debug)]
pub struct Unlimited<T>(PhantomData<T>);

impl<T: Setting<Value: Default + PartialEq>> Setting for Unlimited<T> {
    type Value = Option<T::Value>;

    fn parse(text: &str) -> Result<Self::Value, String> {
        let value = T::parse(text)?;
        Ok((value != T::Value::default()).then_some(value))
    }
}

/// Currency code (ISO 4217), read in upper case.
#[derive(Debug)]
pub struct CurrencyCode;

impl Setting for CurrencyCode {
    type Value = String;

    fn parse(text: &str) -> Result<String, String> {
        let fits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
        fits.then(|| text.to_ascii_uppercase())
            .ok_or_else(|| "must be the three letters of a currency, such as USD".to_owned())
    }
}

/// Text of 1 to `MAX` characters in one line.
#[derive(Debug)]
pub struct OneLine<const MAX: usize>;

impl<const MAX: usize> Setting for OneLine<MAX> {
    type Value = String;

    fn parse(text: &str) -> Result<String, String> {
        // Unicode has line breaks besides the control characters.
        let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        let fits = (1..=MAX).contains(&text.chars().count());
        (fits && !text.contains(breaks))
            .then(|| text.to_owned())
            .ok_or_else(|| format!("must be 1 to {MAX} characters in one line"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, millis) in [
            ("1500ms", 1_500),
            ("30", 30_000),
            ("15m", 900_000),
            ("2d", 172_800_000),
        ] {
            let time = Duration::from_millis(millis);
            assert_eq!(Duration::parse(text), Ok(time), "{text}");
        }
        for text in ["", "m", "-1s", "1w", "1.5h", "99999999999999999999d", "0"] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
        assert_eq!(DurationOrZero::parse("0"), Ok(Duration::ZERO));
        assert!(DurationOrZero::parse("3651d").is_err());
    }

    #[test]
    fn lists_are_separated_by_commas_and_may_hold_nothing() {
        assert_eq!(<List<u32>>::read("1, 2,,3"), Ok(Some(vec![1, 2, 3])));
        assert_eq!(<List<u32>>::read(" , "), Ok(None));
        assert!(<List<u32>>::read("1,x").is_err());
        assert!(<List<u32, 2>>::read("1,2,3").is_err());
        assert_eq!(<List<u32>>::unset(), Some(Vec::new()));
    }

    #[test]
    fn sizes_and_limits_are_read_in_their_units() {
        assert_eq!(Mebibytes::<usize>::parse("2"), Ok(2 * 1024 * 1024));
        assert!(Mebibytes::<u32>::parse("4096").is_err());
        assert_eq!(Unlimited::<u32>::parse("0"), Ok(None));
        assert_eq!(Unlimited::<u32>::parse("7"), Ok(Some(7)));
    }

    #[test]
    fn a_line_is_one_line_of_so_many_characters() {
        let fits = |text: &str| OneLine::<64>::parse(text).is_ok();
        assert!(fits("Acme: Rockets & more") && fits(&"\u{1f680}".repeat(64)));
        for text in ["a\nb", "a\r\nBcc: b", "a\u{2028}b", "a\0b", "a\u{85}b"] {
            assert!(!fits(text), "{text:?}");
        }
        assert!(!fits(&"x".repeat(65)));
    }
}
