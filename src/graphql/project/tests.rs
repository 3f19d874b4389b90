//! Random jobs and random documents: what is projected is what the engine answers.

use std::collections::HashMap;
use std::fmt::Write as _;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{BaseType, Type, TypeKind, TypeSystemDefinition};
use async_graphql::{EmptyMutation, EmptySubscription, ID, Object, Schema};
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
                    // In it what cannot apply may stand too.
                    let other = ["Job", "Take", "File", "Client"][dice.roll(4)];
                    let below = self.selection(dice, other, aliases);
                    write!(text, " ... on Identifier {{ id ... on {other}{below} }}")
                        .expect("memory");
                }
                kind => {
                    let (field, of) = &fields[dice.roll(fields.len())];
                    if kind == 3 {
                        // Sometimes one that is taken: fields may share a key, if they can be merged.
                        *aliases += usize::from(dice.roll(8) > 0);
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

/// What became of one seed.
#[derive(Debug, PartialEq, Eq)]
enum Case {
    /// No job or no valid document came of it.
    Nothing,
    /// The document has no plan.
    Engines,
    /// Both answered, and the same.
    Same,
    /// The engine had errors to tell, and the projection left it to it.
    Left,
}

fn answer_both_ways(types: &Types, seed: u64) -> Case {
    let mut dice = Dice(seed);
    let mut job = types.object(&mut dice, "Job");
    // The gateway's own field, which Move does not send.
    job.remove("percentageComplete");
    let Ok(job) = serde_json::from_value::<Job>(job.into()) else { return Case::Nothing };
    let selection = types.selection(&mut dice, "Job", &mut 0);
    let text = format!("{{ j: getJob(jobId: \"1\"){selection} }}");

    let schema = Schema::build(Query(job.clone()), EmptyMutation, EmptySubscription)
        .register_output_type::<Identifier>()
        .register_output_type::<Timestamped>()
        .register_output_type::<InternalFileSchema>()
        .register_output_type::<ClientOwner>()
        .finish();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let answer = runtime.block_on(schema.execute(&text));
    if answer.errors.iter().any(|error| error.path.is_empty()) {
        return Case::Nothing;
    }
    let limits = Limits { depth: 100, aliases: 1_000, tokens: 100_000, ..Limits::default() };
    let document = Documents::new(limits).parse(&text).expect("a document");
    let Some(query) = document.job_query() else { return Case::Engines };
    let mut projected = b"{\"j\":".to_vec();
    let result = job.project(&query.root.below, &mut projected);
    projected.push(b'}');

    if answer.errors.is_empty() {
        assert_eq!(result, Ok(()), "{text}");
        // To the letter, and in order.
        let engines = serde_json::to_string(&answer.data).expect("JSON");
        assert_eq!(String::from_utf8(projected).expect("UTF-8"), engines, "{text}");
        Case::Same
    } else {
        assert_eq!(result, Err(NeedsEngine), "{text}: {:?}", answer.errors);
        Case::Left
    }
}

#[test]
fn what_is_projected_is_what_the_engine_answers() {
    let types = Types::exported();
    let cases: Vec<_> = (0..2_500).map(|seed| answer_both_ways(&types, seed)).collect();
    let count = |wanted| cases.iter().filter(|case| **case == wanted).count();
    // It is about something.
    assert!(count(Case::Same) > 500, "{}", count(Case::Same));
    assert!(count(Case::Left) > 10, "{}", count(Case::Left));
    assert!(count(Case::Engines) > 50, "{}", count(Case::Engines));
}
