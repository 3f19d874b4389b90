use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Json, Malformed> {
    Json::parse(text)
}

#[test]
fn values_are_found_and_given_to_the_letter() {
    let text = r#" {"id" : "job-1","n":[1, 2.50 ,{"a":null}],"\u0061":true,"e":"\"\ud83d"} "#;
    let json = parse(text).expect("JSON");
    let root = json.root();
    assert_eq!(root.text_of("id").as_deref(), Some("job-1"));
    let items: Vec<_> = root.get("n").expect("n").items().map(JsonRef::raw).collect();
    assert_eq!(items, ["1", "2.50", r#"{"a":null}"#]);
    assert_eq!(root.get("a").map(JsonRef::kind), Some(Kind::True));
    assert_eq!(root.get("e").map(JsonRef::raw), Some(r#""\"\ud83d""#));
    assert!(root.text_of("e").is_none() && root.get("nope").is_none());
}

#[test]
fn a_value_of_its_own_is_the_same_value() {
    let json = parse(r#"{"x":[0],"items":[{"id":"a","b":{"c":[1,2]}},7]}"#).expect("JSON");
    let item = json.root().get("items").and_then(|items| items.items().next()).expect("an item");
    let own = item.to_json();
    assert_eq!(own.root().raw(), item.raw());
    assert_eq!(own.root().get("b").map(JsonRef::raw), Some(r#"{"c":[1,2]}"#));
    assert!(own.weight() < json.weight());
}

#[test]
fn a_repeated_member_is_none_of_its_values() {
    let json = parse(r#"{"id":"a","\u0069d":"b","x":1}"#).expect("JSON");
    assert!(matches!(json.root().member("id"), Member::Repeated));
    assert!(json.root().get("id").is_none() && json.root().get("x").is_some());
}

#[test]
fn names_are_given_to_the_letter_whatever_stands_around_them() {
    let text = "{ \"a:,\" : {\"\":[]} ,\n\"b\\\"\":1\t,\"\\ud83d\":2,\"c\":{}}";
    let json = parse(text).expect("JSON");
    let names: Vec<_> = json.root().members().map(|(name, _)| name.text()).collect();
    let names: Vec<_> = names.iter().map(Option::as_deref).collect();
    assert_eq!(names, [Some("a:,"), Some("b\""), None, Some("c")]);
    assert_eq!(
        json.root().get("a:,").and_then(|own| own.get("")).map(JsonRef::kind),
        Some(Kind::Array)
    );
    let own = json.root().get("a:,").expect("an object").to_json();
    assert_eq!(own.root().get("").map(JsonRef::raw), Some("[]"));
}

#[test]
fn depth_is_bounded_and_never_the_stack() {
    assert!(parse(&("[".repeat(64) + &"]".repeat(64))).is_ok());
    assert_eq!(parse(&"[".repeat(1_000_000)).unwrap_err(), Malformed::TooDeep);
    assert_eq!(parse(&format!("[{}0]", "0,".repeat(1 << 20))).unwrap_err(), Malformed::TooLarge);
}

#[test]
fn what_is_no_json_is_refused() {
    for text in [
        "",
        "{",
        "[1",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "01",
        "1.",
        "1e",
        "+1",
        "-",
        "nul",
        "tru e",
        "\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\n\"",
        "[1]]",
        "{} {}",
        "{1:2}",
        "[}",
        "\u{feff}1",
        "'a'",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

proptest! {
    /// serde_json is the judge: what it takes, is taken, and the other way about.
    #[test]
    fn a_text_is_json_if_another_parser_says_so(
        text in r#"([\[\]{},:"\\u0-9a-f.eE+\- \n]|true|false|null|"[a-z]{0,12}"|\\ud83d|é|[0-9]{1,3}){0,12}"#
    ) {
        let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text);
        prop_assert_eq!(parse(&text).is_ok(), theirs.is_ok(), "{}", text);
    }

    #[test]
    fn every_value_is_where_another_parser_finds_it(value in arbitrary()) {
        let text = serde_json::to_string(&value).expect("JSON");
        let json = parse(&text).expect("JSON");
        prop_assert!(same(json.root(), &value));
    }
}

fn arbitrary() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,20}|[\"\\\\\n\u{0}-\u{1f}]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"]{0,4}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn same(ours: JsonRef<'_>, theirs: &serde_json::Value) -> bool {
    use serde_json::Value;
    match theirs {
        Value::Null => ours.is_null(),
        Value::Bool(value) => ours.kind() == if *value { Kind::True } else { Kind::False },
        Value::Number(number) => ours.raw() == number.to_string(),
        Value::String(text) => ours.text().as_deref() == Some(text),
        Value::Array(items) => {
            ours.items().count() == items.len()
                && ours.items().zip(items).all(|(ours, theirs)| same(ours, theirs))
        }
        Value::Object(members) => {
            ours.members().count() == members.len()
                && members
                    .iter()
                    .all(|(name, value)| ours.get(name).is_some_and(|ours| same(ours, value)))
        }
    }
}
