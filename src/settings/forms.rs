//! The forms that several files use: a type for each, which is never made, only named in declarations.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::form::{Form, Scalar};
use super::{Section, Value, ValueKind, values};

/// Declares scalars, a line each: `Name(value): kind, parser, shower;`. A shower gives the text that a file
/// would hold, or `None`.
#[macro_export]
macro_rules! scalars {
    ($($(#[$doc:meta])* $Name:ident($Value:ty): $kind:expr, $parse:expr, $show:expr;)*) => { $(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $Name {}

        impl $crate::settings::Scalar for $Name {
            type Value = $Value;

            fn kind() -> $crate::settings::ValueKind {
                $kind
            }

            fn parse(text: &str) -> Result<Self::Value, String> {
                $parse(text)
            }

            fn show(value: &Self::Value) -> Option<String> {
                $show(value).into()
            }
        }
    )* };
}

scalars! {
    /// Any text.
    Text(String): ValueKind::Text, values::text, shown;
    /// `true` or `false`
    Boolean(bool): ValueKind::Boolean, values::boolean, shown;
    /// A duration, which may be 0.
    Time(Duration): ValueKind::Duration, values::duration, show_duration;
    /// A duration of more than 0.
    PositiveTime(Duration): ValueKind::Duration, values::some_time, show_duration;
    /// A number of bytes.
    Bytes(usize): ValueKind::Size, values::bytes, |bytes: &usize| show_bytes(*bytes);
    /// A whole percentage up to 100.
    Percent(u32): ValueKind::Percentage, values::percentage, |value: &u32| format!("{value}%");
    /// Units in a time, such as `1/s`.
    UnitsPerTime((NonZeroU32, Duration)): ValueKind::Rate, values::rate, show_rate;
    /// An address and a port.
    Address(SocketAddr): ValueKind::Word, values::parsed("an address such as 127.0.0.1:4000"), shown;
    /// A network, or one address.
    Network(IpNet): ValueKind::Word, values::network, shown;
    /// An `http` or `https` URL.
    WebUrl(url::Url): ValueKind::Word, values::web_url, show_url;
}

fn shown(value: &impl ToString) -> String {
    value.to_string()
}

/// Shows nothing: the value is a secret, or has no default.
#[must_use]
pub fn hidden<T>(_: &T) -> Option<String> {
    None
}

/// Shows a URL without what stands behind its `?`, which may be a token.
#[must_use]
pub fn show_url(url: &url::Url) -> String {
    match url.as_str().split_once('?') {
        Some((before, _)) => format!("{before}?…"),
        None => url.to_string(),
    }
}

fn show_rate((units, per): &(NonZeroU32, Duration)) -> String {
    let unit = match per.as_secs() {
        1 => "s",
        60 => "min",
        _ => "h",
    };
    format!("{units}/{unit}")
}

/// The largest unit that shows all of it.
fn show_duration(time: &Duration) -> String {
    let milliseconds = time.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let fits = |(unit, _): &&(u128, &str)| milliseconds > 0 && milliseconds.is_multiple_of(*unit);
    let (unit, name) = units.iter().find(fits).unwrap_or(&(1, "ms"));
    if milliseconds == 0 { "0".to_owned() } else { format!("{}{name}", milliseconds / unit) }
}

/// The largest unit that shows all of it.
fn show_bytes(bytes: usize) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let (unit, name) =
        units.into_iter().find(|(unit, _)| bytes.is_multiple_of(*unit)).unwrap_or((1, ""));
    format!("{}{name}", bytes / unit)
}

/// The path of a file or folder; relative ones start from the folder of the file they stand in.
#[derive(Debug)]
pub enum FilePath {}

impl Scalar for FilePath {
    type Value = PathBuf;

    fn kind() -> ValueKind {
        ValueKind::Text
    }

    fn parse(text: &str) -> Result<PathBuf, String> {
        Ok(PathBuf::from(text.trim_start_matches("./")))
    }

    fn show(value: &PathBuf) -> Option<String> {
        Some(value.display().to_string())
    }

    fn within(value: PathBuf, folder: &Path) -> PathBuf {
        folder.join(value)
    }
}

/// A whole number.
#[derive(Debug)]
pub struct Whole<T>(PhantomData<T>);

impl<T: std::str::FromStr + ToString + PartialEq> Scalar for Whole<T> {
    type Value = T;

    fn kind() -> ValueKind {
        ValueKind::Number(0)
    }

    fn parse(text: &str) -> Result<T, String> {
        values::parsed("a whole number")(text)
    }

    fn show(value: &T) -> Option<String> {
        Some(shown(value))
    }
}

/// A whole number of at least 1.
#[derive(Debug)]
pub struct Count<T>(PhantomData<T>);

impl<T: TryFrom<u32> + ToString + PartialEq> Scalar for Count<T> {
    type Value = T;

    fn kind() -> ValueKind {
        ValueKind::Number(1)
    }

    fn parse(text: &str) -> Result<T, String> {
        let count = values::positive(text)?.get();
        count.try_into().map_err(|_| "must be a smaller number".to_owned())
    }

    fn show(value: &T) -> Option<String> {
        Some(shown(value))
    }
}

/// A mapping of anything, as JSON.
#[derive(Debug)]
pub enum JsonMapping {}

impl Form for JsonMapping {
    type Value = serde_json::Map<String, serde_json::Value>;

    fn kind() -> ValueKind {
        ValueKind::Anything
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        default: Option<Self::Value>,
    ) -> Option<Self::Value> {
        let Some(node) = section.node(key) else { return default };
        let name = section.name(key);
        if !matches!(node.value, Value::Map(_)) {
            section.context().error(&node.span, format!("`{name}` must be a mapping"));
            return default;
        }
        match section.context().json(&name, node)? {
            serde_json::Value::Object(members) => Some(members),
            _ => default,
        }
    }

    fn show(value: &Self::Value) -> Option<String> {
        serde_json::to_string(value).ok()
    }
}

/// A mapping whose keys the file chooses and whose values are secrets.
#[derive(Debug)]
pub struct Secrets<N, S>(PhantomData<(N, S)>);

impl<N: Scalar, S: Scalar> Form for Secrets<N, S> {
    type Value = Vec<(N::Value, S::Value)>;

    fn kind() -> ValueKind {
        ValueKind::Members { names: Box::new(N::kind()), values: Box::new(ValueKind::Secret) }
    }

    fn read(
        section: &mut Section<'_, '_>,
        key: &'static str,
        _: Option<Self::Value>,
    ) -> Option<Self::Value> {
        let mut secrets = Vec::new();
        for (own, node) in section.members(key) {
            let name = format!("{}.{}", section.name(key), own.text);
            let secret = section.context().secret(&name, node, S::parse);
            match N::parse(&own.text) {
                Ok(own) => secrets.extend(secret.map(|secret| (own, secret))),
                Err(problem) => {
                    let message = format!("`{name}` at {}: {problem}", own.span);
                    section.context().report(super::Diagnostic::error(message, None));
                }
            }
        }
        Some(secrets)
    }

    fn unset() -> Option<Self::Value> {
        Some(Vec::new())
    }

    fn show(_: &Self::Value) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_reads_as_the_same() {
        for text in ["0", "1ms", "1500ms", "15s", "90s", "10m", "36h", "7d"] {
            let time = values::duration(text).expect("a duration");
            assert_eq!(show_duration(&time), text);
        }
        for text in ["1", "1000", "256KiB", "1025KiB", "100MiB", "3GiB"] {
            let bytes = values::bytes(text).expect("a size");
            assert_eq!(show_bytes(bytes), text);
        }
    }
}
