//! The state of the rules, as operators are told it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use crate::settings::{Diagnostic, Diagnostics, Severity};
use crate::telemetry::metrics;

/// Something that is wrong with what rules are read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RulesProblem {
    /// File, line and column, if it has a place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The fault, in words.
    pub problem: String,
    /// A remedy, if one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl From<&Diagnostic> for RulesProblem {
    fn from(found: &Diagnostic) -> Self {
        let place = found.span.as_ref().map(ToString::to_string);
        Self { place, problem: found.message.clone(), help: found.help.clone() }
    }
}

impl RulesProblem {
    /// The errors among findings.
    #[must_use]
    pub fn all(found: &Diagnostics) -> Vec<Self> {
        let errors = found.0.iter().filter(|found| found.severity == Severity::Error);
        errors.map(Self::from).collect()
    }

    /// Logs it; `message` says what it means.
    pub fn log(&self, message: &'static str) {
        let Self { place, problem, help } = self;
        tracing::error!(place, problem, help, "{message}");
    }
}

/// The state of the rules. Clones are the same.
#[derive(Debug, Clone)]
pub struct RulesReport(Arc<Mutex<Facts>>);

/// The facts of the rules in force and of the last try to read others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The moment from which on the rules are in force.
    pub since: Timestamp,
    /// If the last good copy stands in for policies that were broken at the start, the moment at which it was made.
    pub stands_in: Option<Timestamp>,
    /// The moment of the last reading.
    pub read: Timestamp,
    /// The errors in what was read then; with some, rules that were in force before stay so.
    pub problems: Vec<RulesProblem>,
    /// The last moment at which files were compared with what was read.
    pub looked: Timestamp,
    /// True if the system tells of changes.
    pub is_told: bool,
    /// The reason why the last good copy cannot be written, if it cannot.
    pub copy_problem: Option<String>,
}

impl RulesReport {
    /// Rules that are in force from now on, all of them as they were read.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Facts {
            since: now,
            stands_in: None,
            read: now,
            problems: Vec::new(),
            looked: now,
            is_told: false,
            copy_problem: None,
        })))
    }

    /// Returns the facts as they are now.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.lock().clone()
    }

    /// Notes the start's reading.
    pub fn started(&self, stands_in: Option<Timestamp>, problems: Vec<RulesProblem>) {
        let mut facts = self.lock();
        (facts.stands_in, facts.problems) = (stands_in, problems);
        metrics::rules_in_force(facts.problems.is_empty(), facts.stands_in.is_some());
    }

    /// Notes that rules were read and are in force; with problems, tenants whose policies are broken keep what they had.
    pub fn reloaded(&self, now: Timestamp, problems: Vec<RulesProblem>) {
        let mut facts = self.lock();
        (facts.since, facts.read) = (now, now);
        // Who keeps what it had may have it from the copy.
        facts.stands_in = facts.stands_in.filter(|_| !problems.is_empty());
        facts.problems = problems;
        metrics::reloaded(facts.problems.is_empty());
        metrics::rules_in_force(facts.problems.is_empty(), facts.stands_in.is_some());
    }

    /// Notes that what was read is refused.
    pub fn refused(&self, now: Timestamp, problems: Vec<RulesProblem>) {
        let mut facts = self.lock();
        (facts.read, facts.problems) = (now, problems);
        metrics::reloaded(false);
        metrics::rules_in_force(false, facts.stands_in.is_some());
    }

    /// Notes that files were compared.
    pub fn looked(&self, now: Timestamp) {
        self.lock().looked = now;
        metrics::rules_looked_at(now.as_second());
    }

    /// Notes whether the system tells of changes.
    pub fn told(&self, is_told: bool) {
        self.lock().is_told = is_told;
    }

    /// Notes why the last good copy cannot be written, or that it was, and returns true if that is news.
    #[must_use]
    pub fn copied(&self, problem: Option<String>) -> bool {
        let mut facts = self.lock();
        let is_news = facts.copy_problem.is_some() != problem.is_some();
        facts.copy_problem = problem;
        is_news
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
