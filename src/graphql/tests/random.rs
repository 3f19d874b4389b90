//! Random requests: valid ones, nearly valid ones, and invalid ones.

use apollo_compiler::Schema;
use apollo_compiler::ast::{FieldDefinition, InputValueDefinition, Type};
use apollo_compiler::schema::ExtendedType;
use serde_json::{Map, Value, json};

/// Choices that a seed decides.
pub struct Dice(pub u64);

impl Dice {
    /// One of so many.
    pub fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).expect("few sides")
    }

    /// Returns true if the one in so many happens.
    fn is(&mut self, one_in: usize) -> bool {
        self.roll(one_in) == 0
    }

    fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.roll(choices.len())]
    }
}

/// Makes requests and jobs of a schema.
pub struct Random {
    schema: Schema,
    dice: Dice,
    /// The interval at which something is wrong on purpose: one in so many choices; never, if it is 0.
    faults: usize,
    variables: Vec<(String, String)>,
    given: Map<String, Value>,
    fragments: Vec<(String, String)>,
    aliases: usize,
}

impl Random {
    pub fn new(sdl: &str, seed: u64) -> Self {
        let schema = Schema::parse(sdl, "schema").expect("a schema");
        let (variables, given, fragments) = (Vec::new(), Map::new(), Vec::new());
        Self { schema, dice: Dice(seed), faults: 0, variables, given, fragments, aliases: 0 }
    }

    fn is_wrong(&mut self) -> bool {
        self.faults > 0 && self.dice.is(self.faults)
    }

    fn fields(&self, type_name: &str) -> Vec<FieldDefinition> {
        match self.schema.types.get(type_name) {
            Some(ExtendedType::Object(object)) => {
                object.fields.values().map(|field| FieldDefinition::clone(field)).collect()
            }
            Some(ExtendedType::Interface(interface)) => {
                interface.fields.values().map(|field| FieldDefinition::clone(field)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// An object as Move might send it: sometimes without what the schema promises. `_failing` names a field that
    /// is null because of an error.
    pub fn entity(&mut self, type_name: &str, id: &str) -> Value {
        let mut entity = self.object(type_name);
        entity.insert("__typename".into(), type_name.into());
        for (name, value) in [("id", json!(id)), ("metadata", json!("{\"a\": 1.0}"))] {
            if entity.contains_key(name) {
                entity.insert(name.into(), value);
            }
        }
        entity.remove("percentageComplete");
        let may_fail = ["name", "name", "created", "take", "sources", "type"];
        let failing = self.dice.of(&may_fail);
        if self.dice.is(2)
            && let Some(value) = entity.get_mut(failing)
        {
            *value = Value::Null;
            entity.insert("_failing".into(), failing.into());
        }
        entity.into()
    }

    fn object(&mut self, type_name: &str) -> Map<String, Value> {
        let fields = self.fields(type_name).into_iter();
        let fields = fields.map(|field| (field.name.to_string(), self.value(&field.ty)));
        fields.collect()
    }

    fn value(&mut self, ty: &Type) -> Value {
        if self.dice.is(if ty.is_non_null() { 60 } else { 6 }) {
            return Value::Null;
        }
        if ty.is_list() {
            return (0..self.dice.roll(3)).map(|_| self.value(ty.item_type())).collect();
        }
        match ty.inner_named_type().as_str() {
            "AWSDateTime" => json!("2030-01-01T00:00:00.000Z"),
            "ID" | "String" | "AWSURL" => {
                json!(format!("t\"\u{e9}\u{1F3AC}\n\\{}", self.dice.roll(9)))
            }
            "AWSJSON" => json!("{\"a\": 1.0}"),
            "Int" if self.dice.is(20) => json!(33.5),
            "Int" => json!(self.dice.roll(100)),
            "Float" => json!(f64::from(u8::try_from(self.dice.roll(99)).expect("small")) + 0.125),
            "Boolean" => json!(self.dice.is(2)),
            "Volume" => {
                let mut volume = self.object("HumanVolume");
                volume.insert("__typename".into(), "HumanVolume".into());
                volume.into()
            }
            name => match self.schema.types.get(name) {
                Some(ExtendedType::Enum(_)) if self.dice.is(30) => json!("OF_TOMORROW"),
                Some(ExtendedType::Enum(values)) => {
                    let values: Vec<_> = values.values.keys().map(ToString::to_string).collect();
                    json!(values[self.dice.roll(values.len())])
                }
                _ => self.object(name).into(),
            },
        }
    }

    /// A document, the operation's name, and variables.
    pub fn request(&mut self) -> (String, Option<String>, Map<String, Value>) {
        self.faults = [0, 0, 60, 20][self.dice.roll(4)];
        (self.variables, self.given) = (Vec::new(), Map::new());
        (self.fragments, self.aliases) = (Vec::new(), 0);
        let (keyword, root) =
            if self.dice.is(4) { ("mutation", "Mutation") } else { ("query", "Query") };
        let mut selection = self.selection(root, 0);
        if self.is_wrong() {
            selection = selection.replacen('}', "...Unknown }", 1);
        }
        let mut declared: Vec<_> =
            self.variables.iter().map(|(name, ty)| format!("${name}: {ty}")).collect();
        if self.is_wrong() {
            declared.push("$unused: Int".into());
        }
        if self.is_wrong() && !declared.is_empty() {
            declared.push(declared[0].clone());
        }
        let declared =
            if declared.is_empty() { String::new() } else { format!("({})", declared.join(", ")) };
        let mut text = format!("{keyword} Own{declared} {selection}");
        for (name, fragment) in std::mem::take(&mut self.fragments) {
            text += &format!(" fragment {name} {fragment}");
        }
        let mut name = self.dice.is(2).then(|| "Own".to_owned());
        match self.dice.roll(12) {
            0 => {
                text += " query Other($v: Int) { listJobs(first: $v) { first } }";
                name = Some("Own".into());
            }
            1 if self.is_wrong() => text += " { __typename }",
            2 if self.is_wrong() => text += " fragment Unused on Job { id }",
            3 if self.is_wrong() => name = Some("Nobody".into()),
            4 if self.is_wrong() => text += " fragment Cycle on Job { ...Cycle }",
            _ => {}
        }
        if self.is_wrong() {
            text = self.garbled(&text);
        }
        (text, name, std::mem::take(&mut self.given))
    }

    /// A text without one of its tokens, or with one twice.
    fn garbled(&mut self, text: &str) -> String {
        let mut tokens: Vec<_> = text.split(' ').collect();
        let at = self.dice.roll(tokens.len());
        if self.dice.is(2) {
            tokens.remove(at);
        } else {
            tokens.insert(at, tokens[at]);
        }
        tokens.join(" ")
    }

    fn selection(&mut self, type_name: &str, depth: usize) -> String {
        let fields = self.fields(type_name);
        let mut text = "{".to_owned();
        if type_name == "_Entity" && self.dice.is(2) {
            // One name in several types, which Move may fail at.
            let name = self.dice.of(&["name", "created"]);
            for own in ["Job", "Take", "HumanVolume"] {
                text += &format!(" ... on {own} {{ {name} }}");
            }
        }
        for _ in 0..=self.dice.roll(3) {
            match self.dice.roll(9) {
                0 => text += " __typename",
                1 | 2 if depth < 4 => text += &self.fragment(type_name, depth),
                _ if self.is_wrong() => text += " nope",
                _ if fields.is_empty() => text += &self.fragment(type_name, depth + 1),
                _ => {
                    let field = &fields[self.dice.roll(fields.len())];
                    text += &self.field(field, depth);
                }
            }
        }
        text + " }"
    }

    fn fragment(&mut self, type_name: &str, depth: usize) -> String {
        let within: Vec<String> = match (type_name, self.dice.roll(3)) {
            ("Query" | "Mutation", _) | (_, 0) => vec![type_name.into()],
            ("Volume", _) => vec!["HumanVolume".into()],
            ("_Entity", _) => ["Job", "Take", "File", "HumanVolume"].map(Into::into).into(),
            _ => ["Job", "Take", "File", "Client", "Identifier", "Timestamped", "ClientOwner"]
                .map(Into::into)
                .into(),
        };
        let mut on = within[self.dice.roll(within.len())].clone();
        if self.is_wrong() {
            on = self.dice.of(&["Nope", "String", "Rig", "Query", "AreaType"]).to_owned();
        }
        let directive = self.directive();
        if depth >= 5 {
            return format!(" ... on {on}{directive} {{ __typename }}");
        }
        let below = self.selection(&on, depth + 1);
        match self.dice.roll(3) {
            0 => {
                let name = format!("F{}", self.fragments.len());
                self.fragments.push((name.clone(), format!("on {on} {below}")));
                format!(" ...{name}{directive}")
            }
            1 if on == type_name => format!(" ...{directive} {below}"),
            _ => format!(" ... on {on}{directive} {below}"),
        }
    }

    fn directive(&mut self) -> String {
        if self.is_wrong() {
            let odd = [
                "@nope",
                "@skip",
                "@skip(if: 1)",
                "@deprecated",
                "@skip(if: true) @skip(if: true)",
            ];
            return format!(" {}", self.dice.of(&odd));
        }
        match self.dice.roll(14) {
            0 => " @skip(if: true)".into(),
            1 => " @include(if: true)".into(),
            2 => {
                let ty: Type = Type::NonNullNamed("Boolean".try_into().expect("a name"));
                let name = self.variable(&ty, json!(self.dice.0.is_multiple_of(2)));
                format!(" @include(if: ${name})")
            }
            _ => String::new(),
        }
    }

    fn field(&mut self, field: &FieldDefinition, depth: usize) -> String {
        if field.name == "_service" {
            return String::new();
        }
        let mut text = " ".to_owned();
        if self.dice.is(6) {
            // Sometimes one that is taken: fields may share a key, if they can be merged.
            self.aliases += usize::from(!self.dice.is(10));
            text += &format!("a{}: ", self.aliases);
        }
        text += &field.name;
        let mut given = Vec::new();
        for argument in &field.arguments {
            if argument.is_required() || self.dice.is(3) {
                if self.is_wrong() {
                    continue;
                }
                given.push(format!("{}: {}", argument.name, self.argument(argument)));
            }
        }
        if self.is_wrong() {
            given.push("nope: 1".into());
        }
        if self.is_wrong() && !given.is_empty() {
            given.push(given[0].clone());
        }
        if !given.is_empty() {
            text += &format!("({})", given.join(", "));
        }
        text += &self.directive();
        let is_leaf =
            self.schema.types.get(field.ty.inner_named_type()).is_none_or(ExtendedType::is_leaf);
        match (is_leaf, self.is_wrong()) {
            (true, false) | (false, true) => {}
            (true, true) => text += " { x }",
            (false, false) if depth >= 5 => text += " { __typename }",
            (false, false) => {
                text += &format!(" {}", self.selection(field.ty.inner_named_type(), depth + 1));
            }
        }
        text
    }

    fn argument(&mut self, argument: &InputValueDefinition) -> String {
        let value = self.input(&argument.name, &argument.ty);
        if self.dice.is(3) {
            let name = self.variable(&argument.ty, value);
            return format!("${name}");
        }
        self.literal(&argument.ty, &value)
    }

    /// A value for an input, sometimes of another type.
    fn input(&mut self, name: &str, ty: &Type) -> Value {
        if self.is_wrong() {
            let odd = [
                json!(null),
                json!(1.5),
                json!("UP"),
                json!(true),
                json!([1]),
                json!({"a": 1}),
                json!(1_u64 << 40),
            ];
            let odd = odd[self.dice.roll(odd.len())].clone();
            // An object for a cursor is a wanted leniency, which has a test of its own.
            let is_lenient = odd.is_object() && ty.inner_named_type() == "AWSJSON";
            return if is_lenient { json!([1]) } else { odd };
        }
        if !ty.is_non_null() && self.dice.is(6) {
            return Value::Null;
        }
        if ty.is_list() && !self.dice.is(6) {
            return (0..self.dice.roll(3)).map(|_| self.input(name, ty.item_type())).collect();
        }
        match (name, ty.inner_named_type().as_str()) {
            ("representations", _) => {
                let types = ["Job", "Job", "Take", "File", "HumanVolume", "Rig"];
                let type_name = self.dice.of(&types);
                json!({"__typename": type_name, "id": format!("job-{}", self.dice.roll(6))})
            }
            (_, "ID" | "String") => json!(format!("job-{}", self.dice.roll(6))),
            (_, "AWSJSON") => json!("{\"a\":1}"),
            (_, "AWSDateTime") => json!("2030-01-01T00:00:00.000Z"),
            (_, "Int") => json!(self.dice.roll(9)),
            (_, "Float") => json!(0.5),
            (_, "Boolean") => json!(true),
            (_, name) => match self.schema.types.get(name).cloned() {
                Some(ExtendedType::Enum(values)) => {
                    let values: Vec<_> = values.values.keys().map(ToString::to_string).collect();
                    json!(values[self.dice.roll(values.len())])
                }
                Some(ExtendedType::InputObject(input)) => {
                    let mut object = Map::new();
                    for field in input.fields.values() {
                        if (field.is_required() && !self.is_wrong()) || self.dice.is(2) {
                            object
                                .insert(field.name.to_string(), self.input(&field.name, &field.ty));
                        }
                    }
                    if self.is_wrong() {
                        object.insert("nope".into(), json!(1));
                    }
                    object.into()
                }
                _ => json!(1),
            },
        }
    }

    /// Declares a variable of a type, or nearly, and gives it the value.
    fn variable(&mut self, ty: &Type, value: Value) -> String {
        let name = format!("v{}", self.variables.len());
        let mut declared = ty.to_string();
        match self.dice.roll(8) {
            // With a default, a nullable variable may stand where null may not.
            0 if !ty.is_list() && declared.ends_with('!') => {
                let default = self.literal(ty, &Self::clean(ty));
                declared = format!("{} = {default}", declared.trim_end_matches('!'));
            }
            1 if !declared.ends_with('!') && !value.is_null() => declared.push('!'),
            2 if self.is_wrong() => declared = declared.trim_end_matches('!').to_owned(),
            3 if self.is_wrong() => {
                declared = self.dice.of(&["Int", "[Int]", "Nope", "Job", "Boolean!"]).to_owned();
            }
            _ => {}
        }
        let is_left_out = value.is_null() && self.dice.is(2);
        if !is_left_out {
            self.given.insert(name.clone(), value);
        }
        if !self.is_wrong() {
            self.variables.push((name.clone(), declared));
        }
        name
    }

    fn clean(ty: &Type) -> Value {
        match ty.inner_named_type().as_str() {
            "Boolean" => json!(true),
            "Int" => json!(1),
            _ => json!("job-1"),
        }
    }

    /// A value as it stands in a document.
    fn literal(&mut self, ty: &Type, value: &Value) -> String {
        match value {
            Value::Array(items) => {
                let items: Vec<_> =
                    items.iter().map(|item| self.literal(ty.item_type(), item)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Object(members) => {
                let types = match self.schema.types.get(ty.inner_named_type()).cloned() {
                    Some(ExtendedType::InputObject(input)) => Some(input),
                    _ => None,
                };
                let mut all = Vec::new();
                for (name, value) in members {
                    let known = types.as_ref().and_then(|input| input.fields.get(name.as_str()));
                    let text = match known {
                        Some(field) if self.dice.is(8) => {
                            format!("${}", self.variable(&field.ty, value.clone()))
                        }
                        Some(field) => self.literal(&field.ty, value),
                        None => value.to_string(),
                    };
                    all.push(format!("{name}: {text}"));
                }
                if self.is_wrong() && !all.is_empty() {
                    all.push(all[0].clone());
                }
                format!("{{{}}}", all.join(", "))
            }
            Value::String(text) if !self.is_wrong() => {
                match self.schema.types.get(ty.inner_named_type()) {
                    Some(ExtendedType::Enum(_)) => text.clone(),
                    _ => value.to_string(),
                }
            }
            other => other.to_string(),
        }
    }
}
