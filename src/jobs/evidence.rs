//! The proof that Move's answer to a mutation is.

use crate::upstream::FieldError;

/// The facts that are certain after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// The root field resolved: the mutation was carried out.
    Done,
    /// Move refused it before it did anything.
    Refused,
    /// Neither.
    Open,
}

/// Judges an answer by its value and its errors.
///
/// A value proves that the mutation was carried out, and so does an error below the root field: only a
/// field of a job that is there can fail (a null that bubbles up takes the job's value with it, GraphQL
/// specification, section 6.4.4). Errors at the root field are refusals unless AppSync says with them
/// that the resolver itself broke or ran out of time, which it may have done after it had written. An
/// error that names no place is one only if its type says that nothing was executed.
pub(super) fn of_answer(has_value: bool, errors: &[FieldError]) -> Proof {
    if has_value || errors.iter().any(|error| !error.path.is_empty()) {
        Proof::Done
    } else if errors.is_empty() || !errors.iter().all(is_refusal) {
        Proof::Open
    } else {
        Proof::Refused
    }
}

/// Returns true for an error that proves that nothing was done.
fn is_refusal(error: &FieldError) -> bool {
    /// AppSync's names for the errors of requests that it does not execute.
    const NOT_EXECUTED: [&str; 7] = [
        "BadRequestException",
        "MalformedHttpRequestException",
        "ThrottlingException",
        "TooManyRequestsException",
        "Unauthorized",
        "UnauthorizedException",
        "ValidationError",
    ];
    if error.has_path {
        return !leaves_open(error);
    }
    error.error_type.as_deref().is_some_and(|kind| NOT_EXECUTED.contains(&kind))
}

/// Returns true for an error that says how a resolver ended and not what it did.
fn leaves_open(error: &FieldError) -> bool {
    /// `ExecutionTimeout`, `InternalFailure`, `ServiceUnavailableException`, `Lambda:Unhandled` and
    /// their like.
    const BROKEN: [&str; 7] =
        ["timeout", "timedout", "internal", "unavailable", "unhandled", "gateway", "http:5"];
    /// The beginnings of AppSync's names for errors in a resolver's code: it runs also after the data source was called.
    const EVALUATION: [&str; 2] = ["MappingTemplate", "Code"];
    /// The same in texts for people, which are all there is where an error has no type.
    const BROKEN_TEXT: [&str; 3] = ["timed out", "timeout", "internal"];
    let Some(kind) = error.error_type.as_deref() else {
        let lower = error.message.to_ascii_lowercase();
        return BROKEN_TEXT.iter().any(|word| lower.contains(word));
    };
    let lower = kind.to_ascii_lowercase();
    lower.starts_with("lambda:")
        || lower.starts_with("dynamodb:")
        || EVALUATION.contains(&kind)
        || BROKEN.iter().any(|word| lower.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::PathSegment;

    fn error(kind: Option<&str>, path: &[&str]) -> FieldError {
        FieldError {
            message: "m".into(),
            error_type: kind.map(str::to_owned),
            error_info: None,
            data: None,
            path: path.iter().map(|name| PathSegment::Field((*name).to_owned())).collect(),
            has_path: true,
        }
    }

    #[test]
    fn an_error_without_a_place_is_a_refusal_only_if_its_type_says_that_nothing_was_executed() {
        let unplaced = |kind| FieldError { has_path: false, ..error(kind, &[]) };
        for kind in ["ValidationError", "UnauthorizedException", "MalformedHttpRequestException"] {
            assert_eq!(of_answer(false, &[unplaced(Some(kind))]), Proof::Refused, "{kind}");
        }
        for kind in [None, Some("MoveNotFoundError"), Some("Odd"), Some("InternalFailure")] {
            assert_eq!(of_answer(false, &[unplaced(kind)]), Proof::Open, "{kind:?}");
        }
        let both = [error(Some("MoveNotFoundError"), &[]), unplaced(Some("Odd"))];
        assert_eq!(of_answer(false, &both), Proof::Open);
    }

    #[test]
    fn a_value_or_an_error_below_the_root_field_proves_that_it_was_carried_out() {
        assert_eq!(of_answer(true, &[]), Proof::Done);
        assert_eq!(of_answer(true, &[error(None, &[])]), Proof::Done);
        assert_eq!(of_answer(false, &[error(None, &["client"])]), Proof::Done);
        let both = [error(Some("Unauthorized"), &[]), error(None, &["outputs", "file"])];
        assert_eq!(of_answer(false, &both), Proof::Done);
    }

    #[test]
    fn an_error_at_the_root_field_is_a_refusal_unless_the_resolver_broke() {
        for kind in [None, Some("ValidationError"), Some("MoveNotFoundError"), Some("Unauthorized")]
        {
            assert_eq!(of_answer(false, &[error(kind, &[])]), Proof::Refused, "{kind:?}");
        }
        for kind in [
            "ExecutionTimeout",
            "InternalFailure",
            "InternalServerError",
            "Lambda:Unhandled",
            "Lambda:ExecutionTimeoutException",
            "ServiceUnavailableException",
            "BadGatewayException",
            "Sandbox.Timedout",
            "Http:502",
            "MappingTemplate",
            "Code",
        ] {
            assert_eq!(of_answer(false, &[error(Some(kind), &[])]), Proof::Open, "{kind}");
        }
        for message in ["Execution timed out.", "Internal failure"] {
            let error = FieldError { message: message.into(), ..error(None, &[]) };
            assert_eq!(of_answer(false, &[error]), Proof::Open, "{message}");
        }
        assert_eq!(of_answer(false, &[]), Proof::Open);
    }
}
