//! `audit`: one file, and the sinks that follow it.

use std::time::Duration;

use crate::audit;
use crate::settings;
use crate::settings::forms::{Boolean, Bytes, Count, FilePath, PositiveTime, Time, WebUrl};
use crate::settings::{Form, Items, Keys, OneOf, Optional, Section, Settings, ValueKind};

/// The records of what tenants do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The file, which is the record of truth.
    pub journal: audit::Settings,
    /// True if standard output follows it.
    pub stdout: bool,
    /// The OTLP endpoint that follows it.
    pub otlp: Option<audit::Endpoint>,
}

settings! {
    /// `audit` as it is written.
    struct AuditKeys {
        /// The fate of a query whose record finds the queue full: `wait`, or `drop` the record. See [audit](audit.md).
        on_full: OneOf<audit::OnFull> = audit::OnFull::Wait,
        /// The file, and sinks that follow it.
        sinks: Items<SinkKeys>,
    }
}

settings! {
    /// A sink as it is written.
    struct SinkKeys {
        /// The file that is written; the other sinks follow it.
        file: Optional<FilePath> | "required if there is `audit`",
        /// The size at which it is closed.
        rotate: Bytes = 100 << 20,
        /// The age at which it is closed.
        rotate_after: PositiveTime = Duration::from_hours(24),
        /// Closed files that are kept, however old they are.
        keep: Count<usize> = 30,
        /// The time for which closed files are kept, however many they are. See [audit](audit.md).
        keep_for: Time = Duration::from_hours(90 * 24),
        /// `true`: standard output follows.
        stdout: Boolean = false,
        /// An endpoint for OTLP logs over HTTP (`…/v1/logs`) that follows.
        otlp: Optional<WebUrl>,
    }
}

/// `audit`
#[derive(Debug)]
pub enum AuditForm {}

impl Form for AuditForm {
    type Value = Audit;

    fn kind() -> ValueKind {
        ValueKind::Section
    }

    fn read(section: &mut Section<'_, '_>, key: &'static str, _: Option<Audit>) -> Option<Audit> {
        let below = section.below(key);
        let (context, span) = (below.context(), below.span().clone());
        let AuditKeys { on_full, sinks } = below.read()?;
        let (mut journal, mut stdout, mut otlp) = (None, false, None);
        for sink in sinks {
            let SinkKeys { file, rotate, rotate_after, keep, keep_for, .. } = sink.settings;
            stdout |= sink.settings.stdout;
            otlp = sink.settings.otlp.map(audit::Endpoint::new).or(otlp);
            let Some(file) = file else { continue };
            if journal.is_some() {
                context.error(&sink.span, "there is one audit file: other sinks follow it");
            }
            let rotate = rotate as u64;
            journal = Some(audit::Settings { file, rotate, rotate_after, keep, keep_for, on_full });
        }
        if journal.is_none() {
            let problem = "`audit.sinks` must have a `file`: it is what the other sinks follow";
            context.error(&span, problem);
        }
        Some(Audit { journal: journal?, stdout, otlp })
    }

    fn show(_: &Audit) -> Option<String> {
        None
    }

    fn below(keys: &mut Keys, name: &'static str) {
        keys.below(name, AuditKeys::declare);
    }
}
