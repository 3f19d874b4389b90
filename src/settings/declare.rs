//! The declaration of keys, each in one place.

use super::keys::{DeclaredKey, Keys};
use super::{Context, Section, Sources};

/// A mapping of a file whose keys are declared.
pub trait Settings: Sized + PartialEq {
    /// Reads the keys. `None` only after an error was reported.
    fn read(section: &mut Section<'_, '_>) -> Option<Self>;

    /// Tells all keys, in their order.
    fn declare(keys: &mut Keys);

    /// Tells the keys, below `path`, that differ.
    fn differences(&self, other: &Self, path: &str, found: &mut Vec<String>);
}

/// Declares a struct of settings: `key: Form | "the default in words" = default,` a line. A key with
/// neither must be set, unless its form says otherwise. The doc comment is the key's meaning for people
/// and editors. `: Default` behind the name is for structs whose keys all have a default.
#[macro_export]
macro_rules! settings {
    (@preset) => { None };
    (@preset $value:expr) => { Some($value) };
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $Name:ident $(: $Default:ident)? {
            $($(#[doc = $doc:literal])+ $key:ident: $Form:ty $(| $words:literal)? $(= $default:expr)?,)*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq)]
        $visibility struct $Name {
            $($(#[doc = $doc])+ $visibility $key: <$Form as $crate::settings::Form>::Value,)*
        }

        impl $crate::settings::Settings for $Name {
            fn read(section: &mut $crate::settings::Section<'_, '_>) -> Option<Self> {
                $(let $key = <$Form as $crate::settings::Form>::read(
                    section, stringify!($key), $crate::settings!(@preset $($default)?),
                );)*
                Some(Self { $($key: $key?),* })
            }

            fn declare(keys: &mut $crate::settings::Keys) {
                $(<$Form as $crate::settings::Form>::declare(
                    keys,
                    $crate::settings::KeyText::new(
                        stringify!($key), concat!($($doc),+), concat!("" $(, $words)?),
                    ),
                    $crate::settings!(@preset $($default)?),
                );)*
            }

            fn differences(&self, other: &Self, path: &str, found: &mut Vec<String>) {
                $(<$Form as $crate::settings::Form>::differences(
                    (&self.$key, &other.$key), &format!("{path}{}", stringify!($key)), found,
                );)*
            }
        }

        $(impl $Default for $Name {
            fn default() -> Self {
                $crate::settings::unset()
            }
        })?
    };
}

/// The settings of a file that sets nothing.
///
/// # Panics
/// If one of the keys has no default.
#[must_use]
#[expect(clippy::expect_used, reason = "a key without a default shows in the first test")]
pub fn unset<S: Settings>() -> S {
    let sources = Sources::new(&|_| None);
    let context = Context::new(&sources);
    S::read(&mut Section::empty(&context)).expect("every key has a default")
}

impl Keys {
    /// All keys of a file.
    #[must_use]
    pub fn of<S: Settings>() -> Vec<DeclaredKey> {
        let mut keys = Self::default();
        S::declare(&mut keys);
        keys.found
    }
}
