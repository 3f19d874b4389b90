use serde_json::json;

use super::*;
use crate::model::FieldCoordinate;

/// A little of everything that the gateway's schema has.
const SDL: &str = r"
scalar AWSJSON
scalar _Any
enum Order { ASC DESC }
input Window { end: Float! start: Float }
interface Named { name: String }
interface Owned { client: Client }
type Client implements Named { name: String }
type Job implements Named & Owned { client: Client! id: ID! name: String volume: Volume take: Take }
type Take implements Named { name: String }
type Human { id: ID! state: String }
union Volume = Human
union _Entity = Job
type Page { items: [Job] after: AWSJSON }
type Query {
    getJob(jobId: ID!): Job!
    listJobs(first: Int, after: AWSJSON, order: Order): Page
    _entities(representations: [_Any!]!): [_Entity]!
}
type Mutation { updateJob(id: String!, metadata: AWSJSON, window: Window): Job! }
schema { query: Query mutation: Mutation }
";

fn schema(hidden: &[(&str, &str)]) -> Result<Arc<Schema>, String> {
    let coordinate = |(type_name, field): &(&str, &str)| FieldCoordinate {
        type_name: (*type_name).to_owned(),
        field: (*field).to_owned(),
    };
    Schema::new(SDL, &hidden.iter().map(coordinate).collect::<Vec<_>>()).map(Arc::new)
}

fn operation(text: &str, name: Option<&str>, variables: Value) -> Result<Operation, Error> {
    let Value::Object(variables) = variables else { panic!("an object") };
    let limits = Limits { representations: 3, ..Limits::default() };
    let schema = schema(&[]).expect("a schema");
    Documents::new(limits).parse(&schema, text)?.operation(name, variables)
}

/// A form as text: keys, and the types that fragments are written out by.
fn shown(operation: &Operation) -> String {
    fn fields(all: &[Field]) -> String {
        let shown = all.iter().map(|field| {
            let below = field.objects().iter().map(|object| match &field.below {
                Below::OneOf(_) => format!("{}{}", object.type_name, fields(&object.fields)),
                _ => fields(&object.fields),
            });
            format!("{}{}", field.key, below.collect::<Vec<_>>().join("|"))
        });
        format!("{{{}}}", shown.collect::<Vec<_>>().join(" "))
    }
    fn one(field: &Field) -> &[Field] {
        std::slice::from_ref(field)
    }
    let roots = operation.form.roots.iter().map(|root| fields(one(&root.field)));
    roots.collect::<Vec<_>>().join(" ").replace("} {", " ")
}

fn units(operation: &Operation) -> Vec<(&str, RootField)> {
    operation.root_fields().collect()
}

/// The first fault of a document.
fn fault(text: &str) -> String {
    match operation(text, None, json!({})) {
        Ok(_) => String::new(),
        Err(Error::Invalid(problems)) => {
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert!(problems[0].position.is_some(), "{text}: {problems:?}");
            problems[0].message.clone()
        }
        Err(other) => other.to_string(),
    }
}

#[test]
fn root_fields_are_found_through_fragments_aliases_and_directives() {
    let text = r#"query Q($yes: Boolean = true) {
        a: getJob(jobId: "1") { id }
        ...More @include(if: $yes)
        ... on Query { c: getJob(jobId: "2") @skip(if: $yes) { id } __typename }
    }
    fragment More on Query { listJobs { after } }"#;
    let found = operation(text, None, json!({})).expect("an operation");
    assert_eq!(units(&found), [("a", RootField::GetJob), ("listJobs", RootField::ListJobs)]);
    assert_eq!(found.kind, Kind::Query);
    let found = operation(text, None, json!({"yes": false})).expect("an operation");
    assert_eq!(units(&found), [("a", RootField::GetJob), ("c", RootField::GetJob)]);
}

#[test]
fn a_key_that_is_selected_twice_is_one_root_field_with_both_selections() {
    let text = r#"mutation {
        updateJob(id: "1") { id } updateJob(id: "1") { name }
        ... on Mutation { updateJob(id: "1") { client { name } } } ...F
    }
    fragment F on Mutation { updateJob(id: "1") { client { n: name } id } }"#;
    let merged = operation(text, None, json!({})).expect("an operation");
    assert_eq!(units(&merged), [("updateJob", RootField::UpdateJob)]);
    assert_eq!(shown(&merged), "{updateJob{id name client{name n}}}");
}

#[test]
fn one_key_for_two_things_is_refused_also_through_fragments() {
    for text in [
        r#"mutation { updateJob(id: "1") { id } ... on Mutation { updateJob(id: "2") { id } } }"#,
        r#"{ a: getJob(jobId: "1") { id } ...F } fragment F on Query { a: listJobs { after } }"#,
        r#"{ getJob(jobId: "1") { client { x: name } ... on Named { ... on Job { client { x: __typename } } } } }"#,
    ] {
        assert!(!fault(text).is_empty(), "{text}");
    }
}

#[test]
fn lists_of_which_one_begins_with_the_other_are_different_arguments() {
    let ask = |one: &str, other: &str| {
        let field =
            |list: &str| format!("_entities(representations: {list}) {{ ... on Job {{ id }} }}");
        fault(&format!("{{ {} ... on Query {{ {} }} }}", field(one), field(other)))
    };
    assert!(ask("[{id: 1}]", "[{id: 1}, {id: 2}]").contains("differing arguments"));
    assert!(ask("[]", "[{id: 1}]").contains("differing arguments"));
    assert_eq!(ask("[{id: 1, a: [2]}]", "[{a: [2], id: 1}]"), "");
    let twice = "{ _entities(representations: [{id: 1, id: 1}]) { ... on Job { id } } }";
    assert!(fault(twice).contains("only one input field"));
}

#[test]
fn fragments_are_written_out_for_the_type_that_is_there() {
    let text = r#"{ getJob(jobId: "1") {
        ... on Named { name ... on Take { name t: name } ... on Job { id } }
        volume { __typename ... on Human { state } } volume { ... on Human { id } }
    } }"#;
    let found = operation(text, None, json!({})).expect("an operation");
    assert_eq!(shown(&found), "{getJob{name id volumeHuman{__typename state id}}}");
}

#[test]
fn an_operation_is_picked_by_name_and_never_guessed() {
    let two = "query A { __typename } mutation B { __typename }";
    let none = json!({});
    assert!(matches!(operation(two, None, none.clone()), Err(Error::OperationNameNeeded)));
    assert!(matches!(operation(two, Some("C"), none.clone()), Err(Error::UnknownOperation(_))));
    let picked = operation(two, Some("B"), none.clone()).expect("B");
    assert_eq!(picked.kind, Kind::Mutation);
    assert!(operation("{ __typename }", Some("A"), none).is_err());
}

#[test]
fn only_the_variables_of_the_operation_that_is_executed_are_judged() {
    let two = "query One($v: ID!) { getJob(jobId: $v) { id } }
               query Many($v: Int) { listJobs(first: $v) { after } }";
    assert!(operation(two, Some("One"), json!({"v": "job-1"})).is_ok());
    assert!(operation(two, Some("Many"), json!({"v": 3})).is_ok());
    assert!(operation(two, Some("Many"), json!({"v": "job-1"})).is_err());
}

#[test]
fn a_document_is_parsed_once_for_a_schema() {
    let documents = Documents::new(Limits::default());
    let (one, other) = (schema(&[]).expect("a schema"), schema(&[]).expect("a schema"));
    let first = documents.parse(&one, "{ __typename }").expect("a document");
    let second = documents.parse(&one, "{ __typename }").expect("a document");
    assert!(Arc::ptr_eq(&first, &second));
    let third = documents.parse(&other, "{ __typename }").expect("a document");
    assert!(!Arc::ptr_eq(&first, &third));
}

#[test]
fn each_representation_is_a_unit_and_their_number_is_bounded() {
    let text = "query($r: [_Any!]!) { _entities(representations: $r) { ... on Job { id } } }";
    let ask = |n| operation(text, None, json!({"r": vec![json!({"__typename": "Job"}); n]}));
    assert_eq!(
        units(&ask(2).expect("an operation")),
        [("_entities.0", RootField::GetJob), ("_entities.1", RootField::GetJob)]
    );
    assert!(units(&ask(0).expect("an operation")).is_empty());
    let refused = ask(4).expect_err("too many").to_string();
    assert!(refused.contains("4 representations") && refused.contains("limits.representations"));
}

#[test]
fn what_is_wrong_is_said_once_with_what_was_meant() {
    for (text, says) in [
        (
            "{ getJop { id } }",
            "Cannot query field \"getJop\" on type \"Query\". Did you mean \"getJob\"?",
        ),
        ("{ getJob(jobld: \"1\") { id } }", "Did you mean \"jobId\"?"),
        ("{ getJob(id: \"1\") { id } }", "Did you mean \"jobId\"?"),
        ("{ getJob(jobId: \"1\") { clinet { name } } }", "Did you mean \"client\"?"),
        ("{ listJobs(order: UP) { after } }", "\"UP\" does not exist in \"Order\""),
        ("{ listJobs(order: \"ASC\") { after } }", "Did you mean the enum value \"ASC\"?"),
        ("{ ... on Jop { id } }", "Unknown type \"Jop\". Did you mean \"Job\"?"),
        (
            "query($i: Strin) { listJobs { after } getJob(jobId: $i) { id } }",
            "Unknown type \"Strin\"",
        ),
        (
            "mutation { updateJob(id: \"1\", window: {end: 1, end: 2}) { id } }",
            "only one input field named \"end\"",
        ),
        (
            "mutation { updateJob(id: \"1\", window: {ent: 1, end: 2}) { id } }",
            "Did you mean \"end\"?",
        ),
        ("mutation { updateJob(id: \"1\", metadata: \"{\") { id } }", "JSON text in a string"),
        ("mutation { updateJob(id: \"1\", metadata: {a: 1}) { id } }", "JSON text in a string"),
        ("{ __typename @nope }", "Unknown directive \"@nope\""),
        ("{ __typename { x } }", "must not have a selection"),
        ("{ getJob(jobId: \"1\") { take { x: name } take { x: __typename } id } }", "x"),
        ("{ getJob(jobId: \"1\") }", "must have a selection of subfields"),
        ("{ getJob { id } }", "\"jobId\" of type \"ID!\" is required"),
        ("{ listJobs(first: 1.5) { after } }", "expected Int (a whole number), got 1.5"),
        ("query($a: Int) { __typename }", "unused variable"),
    ] {
        let fault = fault(text);
        assert!(fault.contains(says), "{text}: {fault}");
    }
}

#[test]
fn what_the_specification_takes_is_taken() {
    for text in [
        "{ listJobs(first: -0) { after } }",
        "query($t: Boolean!) { __typename @include(if: $t) }",
        r#"mutation { updateJob(id: "take \uD83C\uDFAC \u{1F3AC}") { id } }"#,
        r#"{ listJobs(after: "{}", order: ASC) { items { id } } }"#,
    ] {
        assert!(operation(text, None, json!({"t": true})).is_ok(), "{text}: {}", fault(text));
    }
}

#[test]
fn the_lenient_places_are_these_and_no_others() {
    // `String` for `ID`, as Move's clients declare it.
    let id = "query($id: String!) { getJob(jobId: $id) { id } }";
    assert!(operation(id, None, json!({"id": "1"})).is_ok());
    assert!(!fault("query($id: Int!) { getJob(jobId: $id) { id } }").is_empty());
    assert!(!fault("query($id: String) { getJob(jobId: $id) { id } }").is_empty());
    // An object as a cursor, as a literal and as a variable.
    let cursor = operation("{ listJobs(after: {id: \"1\"}) { after } }", None, json!({}));
    let given = cursor.expect("lenient").arguments(0).expect("arguments");
    assert_eq!(given["after"], json!(r#"{"id":"1"}"#));
    let text = "query($c: AWSJSON) { listJobs(after: $c) { after } }";
    let cursor = operation(text, None, json!({"c": {"id": "1"}})).expect("lenient");
    assert_eq!(cursor.arguments(0).expect("arguments")["after"], json!(r#"{"id":"1"}"#));
    // Nowhere else.
    let text = "mutation($m: AWSJSON) { updateJob(id: \"1\", metadata: $m) { id } }";
    let other = operation(text, None, json!({"m": {"id": "1"}})).expect("an operation");
    assert!(other.arguments(0).is_err());
    // Variables that nobody declared.
    assert!(operation("{ __typename }", None, json!({"x": 1})).is_ok());
}

#[test]
fn variables_are_fitted_to_their_types_and_misfits_are_placed() {
    let text = "mutation($w: Window) { updateJob(id: \"1\", window: $w) { id } }";
    let fitted = operation(text, None, json!({"w": {"end": 1}})).expect("an operation");
    assert_eq!(fitted.arguments(0).expect("arguments")["window"], json!({"end": 1}));
    for (value, says) in [
        (json!({"end": "x"}), "\"$w.end\": expected Float"),
        (json!({"ent": 1}), "Did you mean \"end\"?"),
        (json!({"start": 1}), "\"$w.end\": a value of type Float! is needed"),
        (json!(7), "expected an object of type Window, got 7"),
    ] {
        let refused =
            operation(text, None, json!({ "w": value })).expect_err("a misfit").to_string();
        assert!(refused.contains(says), "{refused}");
    }
    let text = "query($n: Int) { listJobs(first: $n) { after } }";
    for (value, fits) in [(json!(1.0), true), (json!(1.5), false), (json!(1_u64 << 40), false)] {
        assert_eq!(operation(text, None, json!({ "n": value })).is_ok(), fits, "{value}");
    }
}

#[test]
fn hidden_fields_are_gone_and_what_they_leave_empty_is_gone_with_them() {
    let hiding = schema(&[("Job", "client"), ("Human", "id"), ("Human", "state")]).expect("valid");
    let documents = Documents::new(Limits::default());
    for (text, is_valid) in [
        ("{ getJob(jobId: \"1\") { name } }", true),
        ("{ getJob(jobId: \"1\") { client { name } } }", false),
        ("{ getJob(jobId: \"1\") { ... on Owned { client { name } } } }", false),
        ("{ getJob(jobId: \"1\") { volume { __typename } } }", false),
    ] {
        assert_eq!(documents.parse(&hiding, text).is_ok(), is_valid, "{text}");
    }
    let nothing = [("Query", "getJob"), ("Query", "listJobs"), ("Query", "_entities")];
    assert!(schema(&nothing).is_err());
}

#[test]
fn documents_that_would_keep_a_validator_busy_are_not_validated() {
    let mut doubling = String::from("{ getJob(jobId: \"1\") { ...F0 } } ");
    for i in 0..100 {
        doubling.push_str(&format!("fragment F{i} on Job {{ ...F{n} ...F{n} }} ", n = i + 1));
    }
    doubling.push_str("fragment F100 on Job { id }");
    assert!(matches!(operation(&doubling, None, json!({})), Err(Error::TooComplex { .. })));
    let cycle = "{ getJob(jobId: \"1\") { ...F } } fragment F on Job { ...F }";
    assert!(matches!(operation(cycle, None, json!({})), Err(Error::FragmentCycle(_))));
}

#[test]
fn one_fault_is_one_error_that_names_what_it_is_about() {
    let told = |text: &str| match operation(text, None, json!({})) {
        Err(Error::Invalid(problems)) => problems
            .into_iter()
            .map(|problem| (problem.message, problem.position.map(|place| place.column)))
            .collect::<Vec<_>>(),
        other => panic!("{text}: {other:?}"),
    };
    for (text, message, column) in [
        ("{ getJob(jobId: null) { id } }", "Argument \"jobId\": expected ID!, got null", 17),
        (
            "{ getJob(jobId: \"1\", jobId: \"2\") { id } }",
            "There can be only one argument named \"jobId\".",
            22,
        ),
        (
            "query($j: Job) { getJob(jobId: $j) { id } }",
            "Variable \"$j\" cannot be of \"Job\": no input type.",
            7,
        ),
        (
            "{ getJob(jobId: \"1\") { a: id a: name } }",
            "Fields \"a\" conflict because \"id\" and \"name\" are different fields. Give one of them an alias.",
            30,
        ),
    ] {
        assert_eq!(told(text), [(message.to_owned(), Some(column))], "{text}");
    }
}
