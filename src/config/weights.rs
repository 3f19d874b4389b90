//! `weights`: a key for each operation, by its name.

use crate::model::{RootField, Weights};
use crate::settings::forms::{Count, Whole};
use crate::settings::{Form, KeyText, Keys, Section, Settings};

/// The meaning of an operation's weight.
const MEANING: &str = "Units that one use costs; see [limits](limits.md).";

impl Settings for Weights {
    fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let mut weights = Self::default();
        for field in RootField::ALL {
            weights.set(field, Count::read(section, field.name(), Some(weights.of(field)))?);
        }
        weights.cached = Whole::read(section, "cached", Some(weights.cached))?;
        Some(weights)
    }

    fn declare(keys: &mut Keys) {
        let weights = Self::default();
        for field in RootField::ALL {
            Count::<u32>::declare(
                keys,
                KeyText::new(field.name(), MEANING, ""),
                Some(weights.of(field)),
            );
        }
        let meaning =
            "Units of a `getJob` whose whole answer is given again from memory; 0 is free.";
        Whole::<u32>::declare(keys, KeyText::new("cached", meaning, ""), Some(weights.cached));
    }

    fn differences(&self, other: &Self, path: &str, found: &mut Vec<String>) {
        if self != other {
            found.push(path.trim_end_matches('.').to_owned());
        }
    }
}
