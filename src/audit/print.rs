//! An API Activity as JSON, member by member: most of a line is the same in every line, and every call costs one.

use std::fmt::Display;
use std::io::Write as _;

use serde::Serialize;

use super::ocsf::{Api, ApiActivity, Metadata, Resources, SrcEndpoint, Unmapped, Upstream, User};

/// A line that is being written.
struct Line<'a>(&'a mut Vec<u8>);

impl Line<'_> {
    /// JSON, as it stands.
    fn json(&mut self, json: &str) -> &mut Self {
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    /// A whole number. By `Display`, those of a record take 2,658 instructions more.
    fn number(&mut self, number: impl Serialize) -> &mut Self {
        // Writing into memory does not fail.
        let _ = serde_json::to_writer(&mut *self.0, &number);
        self
    }

    /// A text in which nothing needs an escape.
    fn plain(&mut self, value: impl Display) -> &mut Self {
        // Nor does this.
        let _ = write!(self.0, "{value}");
        self
    }

    /// A word of the code's own, in which nothing needs an escape.
    fn word(&mut self, word: &'static str) -> &mut Self {
        self.json("\"").json(word).json("\"")
    }

    /// Any text.
    fn text(&mut self, text: &str) -> &mut Self {
        // Nor does this.
        let _ = serde_json::to_writer(&mut *self.0, text);
        self
    }

    fn maybe_number(&mut self, name: &str, number: Option<impl Serialize>) {
        if let Some(number) = number {
            self.json(name).number(number);
        }
    }

    fn maybe_word(&mut self, name: &str, word: Option<&'static str>) {
        if let Some(word) = word {
            self.json(name).word(word);
        }
    }

    fn maybe_text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.json(name).text(text);
        }
    }
}

/// Appends a record without the end of its line.
pub fn print(record: &ApiActivity<'_>, into: &mut Vec<u8>) {
    let mut line = Line(into);
    line.json(r#"{"activity_id":"#).number(record.activity_id);
    line.json(r#","activity_name":"#).word(record.activity_name);
    user(&record.actor.user, &mut line);
    api(&record.api, &mut line);
    line.maybe_number(r#","count":"#, record.count);
    line.maybe_number(r#","start_time":"#, record.start_time);
    line.maybe_number(r#","end_time":"#, record.end_time);
    line.json(r#","category_name":"#).word(record.category_name);
    line.json(r#","category_uid":"#).number(record.category_uid);
    line.json(r#","class_name":"#).word(record.class_name);
    line.json(r#","class_uid":"#).number(record.class_uid);
    line.json(r#","duration":"#).number(record.duration);
    line.maybe_text(r#","message":"#, record.message);
    metadata(&record.metadata, &mut line);
    resources(&record.resources, &mut line);
    line.json(r#","severity":"#).word(record.severity);
    line.json(r#","severity_id":"#).number(record.severity_id);
    match record.src_endpoint {
        SrcEndpoint::Address { ip } => {
            line.json(r#","src_endpoint":{"ip":""#).plain(ip).json("\"}")
        }
        SrcEndpoint::Name { name } => line.json(r#","src_endpoint":{"name":"#).word(name).json("}"),
    };
    line.json(r#","status":"#).word(record.status);
    line.maybe_word(r#","status_code":"#, record.status_code);
    line.maybe_word(r#","status_detail":"#, record.status_detail);
    line.json(r#","status_id":"#).number(record.status_id);
    line.json(r#","time":"#).number(record.time);
    line.json(r#","type_name":"#).word(record.type_name);
    line.json(r#","type_uid":"#).number(record.type_uid);
    unmapped(&record.unmapped, &mut line);
    line.json("}");
}

fn user(user: &User<'_>, line: &mut Line<'_>) {
    line.json(r#","actor":{"user":{"uid":"#).text(user.uid);
    line.json(r#","type":"#).word(user.r#type);
    line.json(r#","type_id":"#).number(user.type_id);
    line.maybe_text(r#","credential_uid":"#, user.credential_uid);
    if let Some(org) = &user.org {
        line.json(r#","org":{"uid":"#).text(org.uid).json("}");
    }
    line.json("}}");
}

fn api(api: &Api, line: &mut Line<'_>) {
    line.json(r#","api":{"operation":"#).word(api.operation);
    line.json(r#","service":{"name":"#).word(api.service.name);
    match api.request.uid.0 {
        Some(id) => line.json(r#"},"request":{"uid":""#).plain(id).json("\"}"),
        None => line.json(r#"},"request":{"uid":"none"}"#),
    };
    // Who has an error has a status too.
    line.json(r#","response":{"#);
    line.maybe_number(r#""code":"#, api.response.code);
    line.maybe_word(r#","error":"#, api.response.error);
    line.json("}}");
}

fn metadata(metadata: &Metadata<'_>, line: &mut Line<'_>) {
    line.json(r#","metadata":{"version":"#).word(metadata.version);
    line.json(r#","product":{"name":"#).word(metadata.product.name);
    line.json(r#","vendor_name":"#).word(metadata.product.vendor_name);
    line.json(r#","version":"#).word(metadata.product.version);
    line.json(r#"},"uid":""#).number(metadata.uid.0).json("\"");
    line.maybe_text(r#","correlation_uid":"#, metadata.correlation_uid);
    line.json("}");
}

fn resources(resources: &Resources<'_>, line: &mut Line<'_>) {
    line.json(r#","resources":["#);
    let ids = resources.0.iter().flat_map(|notes| notes.entity.iter().chain(&notes.named));
    for (index, id) in ids.enumerate() {
        line.json(if index > 0 { r#",{"uid":"# } else { r#"{"uid":"# }).text(id.as_str());
        line.json(r#","type":"#).word(id.kind().name()).json("}");
    }
    line.json("]");
}

fn unmapped(facts: &Unmapped<'_>, line: &mut Line<'_>) {
    line.json(r#","unmapped":{"chain":{"seq":"#).number(facts.chain.seq);
    line.json(r#","prev":""#).plain(facts.chain.prev);
    line.json(r#""},"phase":"#).word(facts.phase);
    line.maybe_text(r#","tenant":"#, facts.tenant);
    line.maybe_text(r#","alias":"#, facts.alias);
    line.json(r#","decision":"#).word(facts.decision);
    line.json(r#","rule":"#).word(facts.rule);
    if let Some(given) = &facts.metadata {
        line.json(r#","metadata":{"bytes":"#).number(given.bytes);
        line.json(r#","sha256":""#).plain(given.sha256.0).json("\"}");
    }
    line.maybe_text(r#","expires":"#, facts.expires);
    line.maybe_word(r#","cache":"#, facts.cache);
    line.json(r#","cost":"#).number(facts.cost);
    line.json(if facts.replayed { r#","replayed":true"# } else { "" });
    upstream(&facts.upstream, line);
    line.maybe_text(r#","policy_version":"#, facts.policy_version);
    if let Some(trace) = &facts.trace_id {
        line.json(r#","trace_id":""#).plain(trace.0).json("\"");
    }
    line.maybe_number(r#","retired":"#, facts.retired);
    line.json("}");
}

fn upstream(upstream: &Upstream<'_>, line: &mut Line<'_>) {
    line.json(r#","upstream":{"calls":"#).number(upstream.calls);
    line.json(r#","milliseconds":"#).number(upstream.milliseconds);
    line.maybe_text(r#","request_id":"#, upstream.request_id);
    line.json("}");
}
