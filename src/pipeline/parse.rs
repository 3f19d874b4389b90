//! Text to operation: a GraphQL request, its document, and the operation of it that is asked for.

use axum::http::Method;

use super::{Authenticated, subscribe};
use crate::graphql::ApiError;
use crate::http::bad_request::BadRequest;
use crate::http::error::Refusal;
use crate::http::request;
use crate::model::{CallRecord, ErrorCode, Kind};
use crate::operation::Operation;

/// Parses a request's text. What is not worked out yet waits for its tenant's turn: parsing is the one stage that
/// costs processor time before anything is charged for it, and so a tenant never has more than one processor of it.
///
/// # Errors
/// When it is no GraphQL request, its document cannot be executed, or it is a mutation by GET.
pub async fn parse(
    request: &Authenticated<'_>,
    text: &[u8],
    record: &mut CallRecord,
) -> Result<Operation, Refusal> {
    let of_document = |errors| Refusal::of_document(errors, request.media_type);
    let asked = request::parse(&request.head.method, text).map_err(|error| match error {
        BadRequest::PersistedQuery => {
            let code = ErrorCode::PersistedQueryNotSupported;
            of_document(vec![ApiError::new(code, error.to_string())])
        }
        error => error.into(),
    })?;
    let schemas = &request.rules.gateways;
    let tenant = &request.caller.tenant;
    let (document, _turn) = if let Some(document) = schemas.worked_out(tenant, &asked.query) {
        (document, None)
    } else {
        let turn = request.limits.turn_to_parse().await;
        (schemas.parse(tenant, &asked.query).map_err(of_document)?, Some(turn))
    };
    let operation = document
        .operation(asked.operation_name.as_deref(), asked.variables)
        .map_err(|error| of_document(vec![error.into()]))?;
    record.parsed(operation.kind, operation.trails());
    match operation.kind {
        Kind::Subscription => drop(subscribe::stream_type(request)?),
        Kind::Query | Kind::Mutation if !request.takes_answers => {
            return Err(BadRequest::StreamsAlone.into());
        }
        Kind::Query | Kind::Mutation => {}
    }
    if request.head.method == Method::GET && operation.kind == Kind::Mutation {
        return Err(BadRequest::MutationByGet.into());
    }
    Ok(operation)
}
