//! The times that a search is about.

use jiff::Timestamp;
use serde_json::Value;

/// The records that are looked at, and how many of them are printed.
#[derive(Debug, Clone, Copy)]
pub struct SearchWindow {
    /// The oldest time.
    pub since: Option<Timestamp>,
    /// The youngest time.
    pub until: Option<Timestamp>,
    /// The greatest number of records, the newest.
    pub limit: Option<usize>,
}

impl SearchWindow {
    /// Returns true if a record is of these times.
    pub fn holds(&self, record: &Value) -> bool {
        let time = record["time"].as_i64().unwrap_or_default();
        self.since.is_none_or(|since| time >= since.as_millisecond())
            && self.until.is_none_or(|until| time <= until.as_millisecond())
    }

    /// The times, in words.
    pub fn told(&self) -> String {
        let to_the_second = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ");
        match (self.since, self.until) {
            (None, None) => "yet".to_owned(),
            (Some(since), None) => format!("since {}", to_the_second(since)),
            (None, Some(until)) => format!("until {}", to_the_second(until)),
            (Some(since), Some(until)) => {
                format!("from {} until {}", to_the_second(since), to_the_second(until))
            }
        }
    }
}
