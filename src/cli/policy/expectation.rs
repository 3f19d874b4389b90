//! Expectations of policies, and their verdicts.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::cli::caller::{self, Credential};
use crate::config;
use crate::graphql::{self, ApiError};
use crate::limit::Charge;
use crate::model::{Caller, ErrorCode, Kind, RootField, Subscription};
use crate::operation::{self, Documents};
use crate::policy::TenantName;
use crate::reload::Loaded;
use crate::settings::forms::{Count, JsonMapping, Text, hidden};
use crate::settings::{
    Choice, Context, Diagnostic, Diagnostics, Item, Items, OneOf, Optional, Section, Sources, Sub,
    ValueKind, nearest,
};
use crate::{scalars, settings};

settings! {
    /// A file of expectations.
    struct ExpectationFile {
        /// Expectations.
        tests: Items<Expectation>,
    }
}

settings! {
    /// An expectation: a caller, a request, the verdict.
    pub struct Expectation {
        /// A sentence.
        name: Text,
        /// The caller.
        caller: Sub<Asking>,
        /// The operation that it asks for; or `query`.
        operation: Optional<OperationName>,
        /// The document that it sends, which is valid in its tenant's schema or not.
        query: Optional<Text>,
        /// The values of the document's variables.
        variables: Optional<JsonMapping>,
        /// The number of times that it asks, all at one moment; the verdict is on the last.
        times: Count<u32> = 1,
        /// The verdict.
        expect: OneOf<Verdict>,
        /// The code of the refusal.
        code: Optional<Code>,
        /// The cost of one request, in units.
        cost: Optional<Count<u32>>,
    }
}

settings! {
    /// The caller.
    pub struct Asking {
        /// A tenant.
        tenant: TenantName,
        /// One of its keys, by its id.
        key: Optional<Text>,
        /// The claims of a token.
        claims: Optional<JsonMapping>,
    }
}

/// The verdict on a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is carried out.
    Allow,
    /// It is refused.
    Deny,
}

impl Choice for Verdict {
    const WORDS: &'static [(&'static str, Self)] = &[("allow", Self::Allow), ("deny", Self::Deny)];
}

scalars! {
    /// The name of an operation.
    OperationName(ExpectedOperation): ValueKind::Word, operation, hidden;
    /// The code of an error.
    Code(ErrorCode): ValueKind::Word, code, hidden;
}

/// An operation that somebody asks for: a field of a query or a mutation, or a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedOperation {
    /// The right that it needs.
    field: RootField,
    is_subscription: bool,
}

fn operation(text: &str) -> Result<ExpectedOperation, String> {
    let field = RootField::from_name(text);
    let field = field.map(|field| ExpectedOperation { field, is_subscription: false });
    let subscription = Subscription::from_name(text)
        .map(|own| ExpectedOperation { field: own.read(), is_subscription: true });
    field.or(subscription).ok_or_else(|| {
        let names = RootField::ALL.into_iter().map(RootField::name);
        match nearest(text, names.chain(Subscription::ALL.map(Subscription::name))) {
            Some(known) => format!("must be an operation: did you mean `{known}`?"),
            None => "must be an operation such as getJob".to_owned(),
        }
    })
}

fn code(text: &str) -> Result<ErrorCode, String> {
    let known = ErrorCode::ALL.iter().copied().find(|code| code.as_str() == text);
    known.ok_or_else(|| "must be a code of docs/errors.md such as FORBIDDEN".to_owned())
}

/// A refusal: its code, and why.
struct Refused {
    code: ErrorCode,
    why: String,
}

impl From<Vec<ApiError>> for Refused {
    fn from(errors: Vec<ApiError>) -> Self {
        let why: Vec<_> = errors.iter().map(|error| error.message.to_string()).collect();
        let code = errors.first().map_or(ErrorCode::Internal, |error| error.code);
        Self { code, why: why.join(" ") }
    }
}

/// Reads the expectations of a file, or of all in a folder.
///
/// # Errors
/// Everything that is wrong with them, at once.
pub fn read(path: &Path) -> Result<Vec<Item<Expectation>>, Diagnostics> {
    let sources = Sources::new(&|_| None);
    let context = Context::of_policies(&sources);
    let mut expectations = Vec::new();
    for path in files(path)? {
        let source = config::read(&path, &sources)?;
        match settings::parse(&source) {
            Ok(root) => {
                let file = Section::new(&context, "", &root).read::<ExpectationFile>();
                expectations.extend(file.into_iter().flat_map(|file| file.tests));
            }
            Err(problem) => context.report(problem),
        }
    }
    // What could not be read may stand there all the same.
    let is_read = !context.has_errors();
    for Item { settings, span } in expectations.iter().filter(|_| is_read) {
        if settings.operation.is_some() == settings.query.is_some() {
            context.error(span, "an expectation has either `operation` or `query`");
        }
    }
    let found = context.finish();
    if found.has_errors() { Err(found) } else { Ok(expectations) }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Diagnostics> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(path) {
        Ok(entries) => entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect(),
        Err(error) => {
            let message = format!("cannot read the folder {}: {error}", path.display());
            return Err(Diagnostics(vec![Diagnostic::error(message, None)]));
        }
    };
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    Ok(paths)
}

/// Judges a request as the gateway would, as far as policies decide.
///
/// # Errors
/// What is so instead.
pub fn verdict(loaded: &Loaded, expectation: &Expectation) -> Result<(), String> {
    let Asking { tenant, key, claims } = &expectation.caller;
    let credential = match (key, claims) {
        (Some(key), _) => Credential::Key(key),
        (None, Some(claims)) => Credential::Token(claims),
        (None, None) => Credential::Any,
    };
    let judged = match caller::caller(loaded, tenant, credential) {
        Ok(caller) if caller.tenant.id != *tenant => {
            return Err(format!("the token is one of tenant `{}`", caller.tenant.id));
        }
        Ok(caller) => judge(loaded, &caller, expectation),
        Err(error) => {
            let why = caller::why_refused(loaded, tenant, credential, error).to_string();
            let why = why.trim_start_matches("error: ").to_owned();
            Err(Refused { code: ErrorCode::Unauthenticated, why })
        }
    };
    // Who is nobody is denied everything: that is hardly what was to be tested, unless it says so.
    let is_wanted = |code| match expectation.code {
        Some(wanted) => wanted == code,
        None => code != ErrorCode::Unauthenticated,
    };
    match (judged, expectation.expect) {
        (Ok(cost), Verdict::Allow) if expectation.cost.is_some_and(|wanted| wanted != cost) => {
            let wanted = expectation.cost.unwrap_or_default();
            Err(format!("it costs {cost}, not {wanted}"))
        }
        (Ok(_), Verdict::Allow) => Ok(()),
        (Ok(_), Verdict::Deny) => Err("it is allowed".to_owned()),
        (Err(Refused { code, .. }), Verdict::Deny) if is_wanted(code) => Ok(()),
        (Err(Refused { code, why }), _) => Err(format!("it is denied, {}: {why}", code.as_str())),
    }
}

/// Returns the cost of one request that is carried out.
fn judge(loaded: &Loaded, caller: &Caller, expectation: &Expectation) -> Result<u32, Refused> {
    let (kind, fields, introspects) = match (&expectation.query, expectation.operation) {
        (Some(query), _) => {
            let variables = expectation.variables.clone().unwrap_or_default();
            asked(loaded, caller, query, variables)?
        }
        (None, operation) => {
            let is_subscription = operation.is_some_and(|own| own.is_subscription);
            let kind = if is_subscription { Kind::Subscription } else { Kind::Query };
            (kind, operation.into_iter().map(|own| own.field).collect(), false)
        }
    };
    // Where only a part is forbidden, the answer has the rest; what is expected is the whole.
    if let Some(field) = fields.iter().find(|field| !caller.may(**field)) {
        return Err(vec![ApiError::forbidden(*field)].into());
    }
    if introspects && !caller.tenant.introspection {
        let why = "introspection is switched off".to_owned();
        return Err(Refused { code: ErrorCode::Forbidden, why });
    }
    let weights = &loaded.config.weights;
    let charge = |times: u32| {
        let fields = (0..times).flat_map(|_| fields.iter().copied());
        Charge::for_units(fields, |field| weights.in_operation(kind, field), introspects)
    };
    let one = charge(1);
    caller::admit(loaded, caller, &one, &charge(expectation.times))
        .map_err(|(code, why)| Refused { code, why })?;
    Ok(one.total())
}

/// The root fields of a document, and true if it asks for the schema.
fn asked(
    loaded: &Loaded,
    caller: &Caller,
    query: &str,
    variables: Map<String, Value>,
) -> Result<(Kind, Vec<RootField>, bool), Refused> {
    let schema = graphql::schema_without(&caller.tenant.hidden_fields)
        .map_err(|why| Refused { code: ErrorCode::Internal, why })?;
    let documents = Documents::new(loaded.config.limits.clone());
    let refused = |error: operation::Error| Refused::from(vec![ApiError::from(error)]);
    let document = documents.parse(&schema, query).map_err(refused)?;
    let operation = document.operation(None, variables).map_err(refused)?;
    let fields = operation.root_fields().map(|(_, field)| field).collect();
    Ok((operation.kind, fields, operation.introspects()))
}
