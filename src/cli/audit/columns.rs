//! The form in which records are printed.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::Value;

/// The form of records.
#[derive(Debug, clap::Args)]
pub struct Printing {
    /// The form of records.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// The columns of a table or of CSV, separated by commas; without it time, tenant, credential, operation, phase,
    /// decision, code and about, and after the time the origin where there are several.
    #[arg(long, value_enum, value_delimiter = ',')]
    columns: Vec<Column>,
}

/// The columns that are shown if none are named, where all records are of one origin.
const USUAL: [Column; 8] = [
    Column::Time,
    Column::Tenant,
    Column::Credential,
    Column::Operation,
    Column::Phase,
    Column::Decision,
    Column::Code,
    Column::About,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Lines for people.
    Table,
    /// The record as it is, one a line.
    Json,
    /// Comma-separated values with a header (RFC 4180).
    Csv,
}

/// A column. `time`, `about` and `origin` are made for people; the others are members of the record.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Column {
    /// The time, in UTC.
    Time,
    /// The replica or the file that it was read from.
    Origin,
    /// The number in its chain.
    Number,
    /// The tenant.
    Tenant,
    /// The key's id, or the token's issuer and subject.
    Credential,
    /// The root field.
    Operation,
    /// Intent, outcome or refusals.
    Phase,
    /// Allowed, denied or limited.
    Decision,
    /// The error's code.
    Code,
    /// The job, take, file or volume; of refusals their number, reason and origin.
    About,
    /// The `X-Request-Id`.
    Request,
    /// The caller's address.
    Address,
    /// The HTTP status.
    Status,
    /// The time it took, in milliseconds.
    Duration,
    /// The cost, in units.
    Cost,
    /// The cache's part in it.
    Cache,
    /// Why a credential was refused.
    Reason,
    /// The version of the policies.
    Policy,
}

impl Column {
    /// Its name, as it is asked for, and its width in a table.
    const fn heading(self) -> (&'static str, usize) {
        match self {
            Self::Time => ("time", 24),
            Self::Origin => ("origin", 24),
            Self::Number => ("number", 8),
            Self::Tenant => ("tenant", 12),
            Self::Credential => ("credential", 20),
            Self::Operation => ("operation", 20),
            Self::Phase => ("phase", 8),
            Self::Decision => ("decision", 8),
            Self::Code => ("code", 20),
            Self::About => ("about", 40),
            Self::Request => ("request", 36),
            Self::Address => ("address", 16),
            Self::Status => ("status", 6),
            Self::Duration => ("duration", 8),
            Self::Cost => ("cost", 5),
            Self::Cache => ("cache", 9),
            Self::Reason => ("reason", 20),
            Self::Policy => ("policy", 12),
        }
    }

    /// Its cell for a record; `None` if that says nothing of it.
    fn of(self, record: &Value, origin: &str) -> Option<String> {
        let own = &record["unmapped"];
        let value = match self {
            Self::Time => return time(record),
            Self::About => return about(record),
            Self::Origin => return Some(origin.to_owned()),
            Self::Number => &own["chain"]["seq"],
            Self::Tenant => &own["tenant"],
            Self::Credential => &record["actor"]["user"]["credential_uid"],
            Self::Operation => &record["api"]["operation"],
            Self::Phase => &own["phase"],
            Self::Decision => &own["decision"],
            Self::Code => &record["status_code"],
            Self::Request => &record["api"]["request"]["uid"],
            Self::Address => return address(record),
            Self::Status => &record["api"]["response"]["code"],
            Self::Duration => &record["duration"],
            Self::Cost => &own["cost"],
            Self::Cache => &own["cache"],
            Self::Reason => &record["status_detail"],
            Self::Policy => &own["policy_version"],
        };
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

/// RFC 3339, in UTC, to the millisecond: all of one length, so that they sort as texts.
fn time(record: &Value) -> Option<String> {
    let time = Timestamp::from_millisecond(record["time"].as_i64()?).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

/// The caller's address, or that there were several or that it is unknown.
fn address(record: &Value) -> Option<String> {
    let source = &record["src_endpoint"];
    source["ip"].as_str().or_else(|| source["name"].as_str()).map(str::to_owned)
}

/// The job of a call; of refused requests how many they were, why and from where.
fn about(record: &Value) -> Option<String> {
    let reason = record["status_detail"].as_str();
    let Some(count) = record["count"].as_u64() else {
        let about = record["resources"][0]["uid"].as_str().or(reason);
        return about.or_else(|| record["message"].as_str()).map(str::to_owned);
    };
    let requests = if count == 1 { "request" } else { "requests" };
    let from = address(record).unwrap_or_else(|| "-".to_owned());
    let why = reason.or_else(|| record["status_code"].as_str()).unwrap_or("-");
    Some(format!("{count} {requests} from {from}: {why}"))
}

/// Standard output, where records are printed.
pub struct Printer {
    to: io::StdoutLock<'static>,
    format: Format,
    columns: Vec<Column>,
    /// Set until the first record is printed.
    needs_header: bool,
}

impl Printer {
    /// A printer that has printed nothing yet, for records of one origin or of several.
    pub fn new(printing: &Printing, has_several: bool) -> Self {
        let (format, mut columns) = (printing.format, printing.columns.clone());
        if columns.is_empty() {
            columns = USUAL.to_vec();
            if has_several {
                columns.insert(1, Column::Origin);
            }
        }
        Self { to: io::stdout().lock(), format, columns, needs_header: format != Format::Json }
    }

    /// Prints a record: its line, or what the columns show of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn print(&mut self, line: &[u8], record: &Value, origin: &str) -> io::Result<()> {
        if std::mem::take(&mut self.needs_header) {
            let names = self.columns.iter().map(|column| Some(column.heading().0.to_owned()));
            let names = names.collect();
            self.row(names)?;
        }
        if self.format == Format::Json {
            self.to.write_all(line)?;
            return self.to.write_all(b"\n");
        }
        let cells = self.columns.iter().map(|column| column.of(record, origin)).collect();
        self.row(cells)
    }

    /// Hands over what was printed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    fn row(&mut self, cells: Vec<Option<String>>) -> io::Result<()> {
        if self.format == Format::Csv {
            let cells: Vec<_> = cells.iter().map(|cell| quoted(cell.as_deref())).collect();
            return write!(self.to, "{}\r\n", cells.join(","));
        }
        let mut line = String::new();
        for (column, cell) in self.columns.iter().zip(cells) {
            let (cell, width) = (cell.unwrap_or_else(|| "-".to_owned()), column.heading().1);
            line.push_str(&format!("{cell:<width$} "));
        }
        writeln!(self.to, "{}", line.trim_end())
    }
}

/// A field of CSV (RFC 4180, section 2).
fn quoted(cell: Option<&str>) -> String {
    match cell {
        Some(text) if text.contains(['"', ',', '\r', '\n']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        text => text.unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_quoted_where_it_would_be_taken_for_several() {
        assert_eq!(quoted(Some("a \"b\", c")), "\"a \"\"b\"\", c\"");
        assert_eq!(quoted(Some("a b")), "a b");
        assert_eq!(quoted(None), "");
    }
}
