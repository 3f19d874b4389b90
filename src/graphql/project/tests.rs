//! Random jobs and random documents: what is projected is what the engine answers.

use std::collections::HashMap;
use std::fmt::Write as _;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{BaseType, Type, TypeKind, TypeSystemDefinition};
use async_graphql::{EmptyMutation, EmptySubscription, ID, Object, Schema};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{NeedsEngine, Project};
use crate::operation::{Documents, Limits};
use crate::types::{ClientOwner, Identifier, InternalFileSchema, Job, Timestamped};

/// A schema whose only job this is.
struct Query(Job);

#[Object]
impl Query {
    #[graphql(name = "getJob")]
    async fn get_job(&self, job_id: ID) -> Job {
        let _ = job_id;
        self.0.clone()
    }
}

/// Choices that a seed decides.
struct Dice(u64);

impl Dice {
    /// One of so many.
    fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap_or_default()
    }
}

/// The object types' fields, and the enums' values, by the exported schema.
struct Types {
    objects: HashMap<String, Vec<(String, Type)>>,
    enums: HashMap<String, Vec<String>>,
}

impl Types {
    fn exported() -> Self {
        let mut types = Self { objects: HashMap::new(), enums: HashMap::new() };
        for definition in parse_schema(super::super::sdl(false)).expect("a schema").definitions {
            let TypeSystemDefinition::Type(definition) = definition else { continue };
            let name = definition.node.name.node.to_string();
            match definition.node.kind {
                TypeKind::Object(object) => {
                    let fields = object.fields.into_iter().map(|field| field.node);
                    let fields = fields.map(|field| (field.name.node.to_string(), field.ty.node));
                    types.objects.insert(name, fields.collect());
                }
                TypeKind::Enum(values) => {
                    let values = values.values.into_iter();
                    let names = values.map(|value| value.node.value.node.to_string());
                    types.enums.insert(name, names.collect());
                }
                _ => {}
            }
        }
        types
    }

    /// A value as Move might send it: sometimes without what the schema promises.
    fn value(&self, dice: &mut Dice, of: &Type) -> Value {
        if dice.roll(if of.nullable { 6 } else { 60 }) == 0 {
            return Value::Null;
        }
        let name = match &of.base {
            BaseType::List(item) => {
                return (0..dice.roll(3)).map(|_| self.value(dice, item)).collect();
            }
            BaseType::Named(name) => name.as_str(),
        };
        match name {
            "ID" | "String" | "AWSURL" | "AWSDateTime" => {
                json!(format!("t\"\u{e9}{}", dice.roll(9)))
            }
            "AWSJSON" => json!("{\"a\": 1.0}"),
            "Int" => json!(dice.roll(100)),
            "Float" => json!(f64::from(u8::try_from(dice.roll(200)).expect("small")) / 8.0),
            "Boolean" => json!(dice.roll(2) == 0),
            "Volume" => {
                let mut volume = self.object(dice, "HumanVolume");
                volume.insert("__typename".to_owned(), "HumanVolume".into());
                volume.into()
            }
            name => match self.enums.get(name) {
                Some(_) if dice.roll(40) == 0 => json!("OF_TOMORROW"),
                Some(values) => json!(values[dice.roll(values.len())]),
                None => self.object(dice, name).into(),
            },
        }
    }

    fn object(&self, dice: &mut Dice, name: &str) -> Map<String, Value> {
        let fields = &self.objects[name];
        fields.iter().map(|(name, of)| (name.clone(), self.value(dice, of))).collect()
    }

    /// What somebody might select of a type: in any order, with aliases, repetitions and fragments.
    fn selection(&self, dice: &mut Dice, name: &str, aliases: &mut usize) -> String {
        let name = if name == "Volume" { "HumanVolume" } else { name };
        let Some(fields) = self.objects.get(name) else { return String::new() };
        let mut text = " {".to_owned();
        for _ in 0..=dice.roll(5) {
            match dice.roll(12) {
                0 => text += " __typename",
                1 => {
                    let below = self.selection(dice, name, aliases);
                    write!(text, " ... on {name}{below}").expect("memory");
                }
                2 if fields.iter().any(|(field, _)| field == "id") && name != "HumanVolume" => {
                    text += " ... on Identifier { id }";
                }
                kind => {
                    let (field, of) = &fields[dice.roll(fields.len())];
                    if kind == 3 {
                        *aliases += 1;
                        write!(text, " a{aliases}:").expect("memory");
                    }
                    let below = self.selection(dice, base(of), aliases);
                    // A union's own fields are its members'.
                    let below = match base(of) {
                        "Volume" => format!(" {{ ... on HumanVolume{below} }}"),
                        _ => below,
                    };
                    write!(text, " {field}{below}").expect("memory");
                }
            }
        }
        text + " }"
    }
}

fn base(of: &Type) -> &str {
    match &of.base {
        BaseType::List(item) => base(item),
        BaseType::Named(name) => name,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_projected_is_what_the_engine_answers(seed: u64) {
        let (types, mut dice) = (Types::exported(), Dice(seed));
        let mut job = types.object(&mut dice, "Job");
        // The gateway's own field, which Move does not send.
        job.remove("percentageComplete");
        // Some that break a promise are refused before they get here.
        let Ok(job) = serde_json::from_value::<Job>(job.into()) else { return Ok(()) };
        let text = format!(
            "{{ j: getJob(jobId: \"1\"){} }}",
            types.selection(&mut dice, "Job", &mut 0)
        );

        let schema = Schema::build(Query(job.clone()), EmptyMutation, EmptySubscription)
            .register_output_type::<Identifier>()
            .register_output_type::<Timestamped>()
            .register_output_type::<InternalFileSchema>()
            .register_output_type::<ClientOwner>()
            .finish();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let answer = runtime.block_on(schema.execute(&text));
        let limits = Limits { depth: 100, aliases: 1_000, tokens: 100_000, ..Limits::default() };
        let document = Documents::new(limits).parse(&text).expect("a document");
        let query = document.job_query().expect("one job and nothing else");
        let mut projected = Vec::new();
        let result = job.project(&query.root.below, &mut projected);

        if answer.errors.is_empty() {
            prop_assert_eq!(result, Ok(()), "{}", text);
            let Value::Object(data) = serde_json::to_value(&answer.data).expect("JSON") else {
                panic!("no data")
            };
            let (_, engines) = data.into_iter().next().expect("the job");
            let projected: Value = serde_json::from_slice(&projected).expect("JSON");
            prop_assert_eq!(&projected, &engines);
            // To the letter too, and in order.
            let engines = serde_json::to_string(&answer.data).expect("JSON");
            let mut whole = b"{\"j\":".to_vec();
            job.project(&query.root.below, &mut whole).expect("as before");
            whole.push(b'}');
            prop_assert_eq!(String::from_utf8(whole).expect("UTF-8"), engines);
        } else {
            let all_are_of_values = answer.errors.iter().all(|error| !error.path.is_empty());
            prop_assert!(all_are_of_values, "{}: {:?}", text, answer.errors);
            prop_assert_eq!(result, Err(NeedsEngine), "{}: {:?}", text, answer.errors);
        }
    }
}
