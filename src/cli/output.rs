//! The ends of a command: its answer on standard output, its failure on standard error.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::settings::Diagnostics;

/// Prints an answer. A reader that closes the pipe has seen enough, which is no failure.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Why a command ended without its answer.
#[derive(Debug)]
pub enum CommandError {
    /// The configuration or a policy is wrong; each finding says what it is.
    Findings(Diagnostics),
    /// Anything else, in a sentence.
    Problem(String),
}

impl From<Diagnostics> for CommandError {
    fn from(found: Diagnostics) -> Self {
        Self::Findings(found)
    }
}

impl From<String> for CommandError {
    fn from(problem: String) -> Self {
        Self::Problem(problem)
    }
}

impl From<&str> for CommandError {
    fn from(problem: &str) -> Self {
        Self::Problem(problem.to_owned())
    }
}

impl std::fmt::Display for CommandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // A finding ends in an empty line, which is for the next one.
            Self::Findings(found) => f.write_str(found.to_string().trim_end()),
            Self::Problem(problem) => write!(f, "error: {problem}"),
        }
    }
}

/// Prints the answer, or why there is none, and returns the status.
pub fn finish(answer: Result<String, CommandError>) -> ExitCode {
    match answer {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
