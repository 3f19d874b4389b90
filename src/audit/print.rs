//! An API Activity as JSON, member by member: most of a line is the same in every line, and every call costs one.

use super::ocsf::{Api, ApiActivity, Metadata, Resources, SrcEndpoint, Unmapped, Upstream, User};
use crate::json::JsonPrinter;

/// Appends a record without the end of its line.
pub fn print(record: &ApiActivity<'_>, into: &mut Vec<u8>) {
    let mut line = JsonPrinter(into);
    line.json(r#"{"activity_id":"#).value(record.activity_id);
    line.json(r#","activity_name":"#).word(record.activity_name);
    user(&record.actor.user, &mut line);
    api(&record.api, &mut line);
    line.maybe(r#","count":"#, record.count);
    line.maybe(r#","start_time":"#, record.start_time);
    line.maybe(r#","end_time":"#, record.end_time);
    line.json(r#","category_name":"#).word(record.category_name);
    line.json(r#","category_uid":"#).value(record.category_uid);
    line.json(r#","class_name":"#).word(record.class_name);
    line.json(r#","class_uid":"#).value(record.class_uid);
    line.json(r#","duration":"#).value(record.duration);
    line.maybe(r#","message":"#, record.message);
    metadata(&record.metadata, &mut line);
    resources(&record.resources, &mut line);
    line.json(r#","severity":"#).word(record.severity);
    line.json(r#","severity_id":"#).value(record.severity_id);
    match record.src_endpoint {
        SrcEndpoint::Address { ip } => {
            line.json(r#","src_endpoint":{"ip":""#).address(ip).json("\"}")
        }
        SrcEndpoint::Name { name } => line.json(r#","src_endpoint":{"name":"#).word(name).json("}"),
    };
    line.json(r#","status":"#).word(record.status);
    line.maybe_word(r#","status_code":"#, record.status_code);
    line.maybe_word(r#","status_detail":"#, record.status_detail);
    line.json(r#","status_id":"#).value(record.status_id);
    line.json(r#","time":"#).value(record.time);
    line.json(r#","type_name":"#).word(record.type_name);
    line.json(r#","type_uid":"#).value(record.type_uid);
    unmapped(&record.unmapped, &mut line);
    line.json("}");
}

fn user(user: &User<'_>, line: &mut JsonPrinter<'_>) {
    line.json(r#","actor":{"user":{"uid":"#).value(user.uid);
    line.json(r#","type":"#).word(user.r#type);
    line.json(r#","type_id":"#).value(user.type_id);
    line.maybe(r#","credential_uid":"#, user.credential_uid);
    if let Some(org) = &user.org {
        line.json(r#","org":{"uid":"#).value(org.uid).json("}");
    }
    line.json("}}");
}

fn api(api: &Api, line: &mut JsonPrinter<'_>) {
    line.json(r#","api":{"operation":"#).word(api.operation);
    line.json(r#","service":{"name":"#).word(api.service.name);
    match api.request.uid.0 {
        Some(id) => line.json(r#"},"request":{"uid":""#).plain(id).json("\"}"),
        None => line.json(r#"},"request":{"uid":"none"}"#),
    };
    // Who has an error has a status too.
    line.json(r#","response":{"#);
    line.maybe(r#""code":"#, api.response.code);
    line.maybe_word(r#","error":"#, api.response.error);
    line.json("}}");
}

fn metadata(metadata: &Metadata<'_>, line: &mut JsonPrinter<'_>) {
    line.json(r#","metadata":{"version":"#).word(metadata.version);
    line.json(r#","product":{"name":"#).word(metadata.product.name);
    line.json(r#","vendor_name":"#).word(metadata.product.vendor_name);
    line.json(r#","version":"#).word(metadata.product.version);
    line.json(r#"},"uid":""#).value(metadata.uid.0).json("\"");
    line.maybe(r#","correlation_uid":"#, metadata.correlation_uid);
    line.json("}");
}

fn resources(resources: &Resources<'_>, line: &mut JsonPrinter<'_>) {
    line.json(r#","resources":["#);
    let ids = resources.0.iter().flat_map(|notes| notes.entity.iter().chain(&notes.named));
    for (index, id) in ids.enumerate() {
        line.json(if index > 0 { r#",{"uid":"# } else { r#"{"uid":"# }).value(id.as_str());
        line.json(r#","type":"#).word(id.kind().name()).json("}");
    }
    line.json("]");
}

fn unmapped(facts: &Unmapped<'_>, line: &mut JsonPrinter<'_>) {
    line.json(r#","unmapped":{"chain":{"seq":"#).value(facts.chain.seq);
    line.json(r#","prev":""#).plain(facts.chain.prev);
    line.json(r#""},"phase":"#).word(facts.phase);
    line.maybe(r#","tenant":"#, facts.tenant);
    line.maybe(r#","alias":"#, facts.alias);
    line.json(r#","decision":"#).word(facts.decision);
    line.json(r#","rule":"#).word(facts.rule);
    if let Some(given) = &facts.metadata {
        line.json(r#","metadata":{"bytes":"#).value(given.bytes);
        line.json(r#","sha256":""#).plain(given.sha256.0).json("\"}");
    }
    line.maybe(r#","expires":"#, facts.expires);
    line.maybe_word(r#","cache":"#, facts.cache);
    line.json(r#","cost":"#).value(facts.cost);
    line.json(if facts.replayed { r#","replayed":true"# } else { "" });
    upstream(&facts.upstream, line);
    line.maybe(r#","policy_version":"#, facts.policy_version);
    if let Some(trace) = &facts.trace_id {
        line.json(r#","trace_id":""#).plain(trace.0).json("\"");
    }
    line.maybe(r#","retired":"#, facts.retired);
    line.json("}");
}

fn upstream(upstream: &Upstream<'_>, line: &mut JsonPrinter<'_>) {
    line.json(r#","upstream":{"calls":"#).value(upstream.calls);
    line.json(r#","milliseconds":"#).value(upstream.milliseconds);
    line.maybe(r#","request_id":"#, upstream.request_id);
    line.json("}");
}
