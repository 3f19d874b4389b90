//! The schema as each tenant may see it, and what is remembered of documents.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use moka::sync::Cache;

use super::errors::ApiError;
use super::execute::ChangeEvent;
use super::plan::Plan;
use super::roots::Change;
use super::{Answer, execute};
use crate::jobs::Jobs;
use crate::model::{
    EntityId, EntityKind, FieldCoordinate, Progress, RequestContext, RootField, Tenant, Trail,
};
use crate::operation::{Document, Documents, Form, FormId, Limits, Operation, Schema, sdl_without};
use crate::types::sdl;

/// The approximate memory that plans may take, in bytes.
const REMEMBERED: u64 = 16 * 1024 * 1024;

/// A schema that some tenants share.
#[derive(Debug)]
struct View {
    schema: Arc<Schema>,
    /// Its definition as a subgraph, as a JSON string.
    service: Box<str>,
}

/// The schemas that tenants see, with all that executes their operations: one for all tenants that hide
/// nothing, and one for each set of hidden fields.
#[derive(Debug)]
pub struct Schemas {
    jobs: Jobs,
    documents: Documents,
    views: HashMap<Vec<FieldCoordinate>, Arc<View>>,
    plans: Cache<FormId, Arc<Plan>>,
}

impl Schemas {
    /// Builds the schemas that these tenants need over the jobs they serve. What was built or remembered
    /// before is taken over where it still holds.
    pub fn new<'a>(
        jobs: &Jobs,
        tenants: impl Iterator<Item = &'a Tenant>,
        limits: &Limits,
        before: Option<&Self>,
    ) -> Self {
        let mut views = HashMap::new();
        for hidden in
            std::iter::once([].as_slice()).chain(tenants.map(|tenant| &*tenant.hidden_fields))
        {
            let known = before.and_then(|before| before.views.get(hidden)).cloned();
            // `check` refuses what cannot be hidden; should that ever fail, such a tenant is shown nothing.
            if !views.contains_key(hidden)
                && let Some(view) = known.or_else(|| View::without(hidden).ok().map(Arc::new))
            {
                views.insert(hidden.to_vec(), view);
            }
        }
        let documents = match before {
            Some(before) if before.documents.limits() == limits => before.documents.clone(),
            _ => Documents::new(limits.clone()),
        };
        let plans = before.map_or_else(new_plans, |before| before.plans.clone());
        Self { jobs: jobs.clone(), documents, views, plans }
    }

    fn view(&self, tenant: &Tenant) -> Option<&Arc<View>> {
        self.views.get(&tenant.hidden_fields)
    }

    /// A document that was valid for the tenant before and takes no more work, if it is remembered.
    #[must_use]
    pub fn worked_out(&self, tenant: &Tenant, text: &str) -> Option<Arc<Document>> {
        let document = self.documents.remembered(&self.view(tenant)?.schema, text)?;
        document.is_worked_out().then_some(document)
    }

    /// A document as it is valid for the tenant.
    ///
    /// # Errors
    /// When it is not GraphQL, over a limit, or does not fit the tenant's schema.
    pub fn parse(&self, tenant: &Tenant, text: &str) -> Result<Arc<Document>, Vec<ApiError>> {
        let view = self.view(tenant).ok_or_else(|| vec![ApiError::internal()])?;
        self.documents.parse(&view.schema, text).map_err(ApiError::all_of)
    }

    /// Executes an operation.
    pub async fn execute(&self, request: RequestContext, operation: Operation) -> Answer {
        let Some(view) = self.view(&request.caller.tenant) else {
            return Answer::refusal(request.id, [ApiError::internal()]);
        };
        let plan = self.plan(&operation.form);
        execute::execute(&self.jobs, &request, &plan, &operation, &view.service).await
    }

    /// Executes the read of one job, and tells besides how far it has come, as far as that was asked for; `None` if it
    /// was not read.
    pub async fn observe(
        &self,
        request: &RequestContext,
        operation: &Operation,
    ) -> (Answer, Option<Progress>) {
        let Some(view) = self.view(&request.caller.tenant) else {
            return (Answer::refusal(request.id, [ApiError::internal()]), None);
        };
        let plan = self.plan(&operation.form);
        execute::observe(&self.jobs, request, &plan, operation, &view.service).await
    }

    /// Makes the events of a subscription to a tenant's jobs that tell of changes, read together; `None` for one that the
    /// subscription does not tell of.
    pub async fn tell(
        &self,
        request: &RequestContext,
        operation: &Operation,
        changes: &[Change],
    ) -> Vec<Option<ChangeEvent>> {
        let plan = self.plan(&operation.form);
        execute::tell(&self.jobs, request, &plan, operation, changes).await
    }

    /// Has whoever follows the tenant's jobs know the newest of them, of one take if one is named, and returns how far each
    /// has come.
    ///
    /// # Errors
    /// When Move does not answer.
    pub async fn survey(
        &self,
        request: &RequestContext,
        take: Option<&EntityId>,
    ) -> Result<Vec<(EntityId, Progress)>, ApiError> {
        let trail = request.trails.first().cloned();
        let trail = trail.unwrap_or_else(|| Trail::unread(RootField::GetJob));
        trail.begin();
        let surveyed = self.jobs.survey(request, &trail, take).await;
        trail.end();
        Ok(surveyed?)
    }

    /// The jobs that it reads.
    #[must_use]
    pub const fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    fn plan(&self, form: &Form) -> Arc<Plan> {
        if let Some(plan) = self.plans.get(&form.id) {
            return plan;
        }
        let plan = Arc::new(Plan::for_form(form));
        self.plans.insert(form.id, Arc::clone(&plan));
        plan
    }
}

fn new_plans() -> Cache<FormId, Arc<Plan>> {
    Cache::builder()
        .max_capacity(REMEMBERED)
        .weigher(|_, plan: &Arc<Plan>| u32::try_from(plan.weight()).unwrap_or(u32::MAX))
        .build()
}

impl View {
    fn without(hidden: &[FieldCoordinate]) -> Result<Self, String> {
        let schema = schema_without(hidden)?;
        let service = match hidden {
            [] => sdl(true),
            hidden => sdl_without(&sdl(true), &with_filters(hidden))?,
        };
        let service = serde_json::Value::String(service).to_string().into();
        Ok(Self { schema, service })
    }
}

/// The schema without these fields.
///
/// # Errors
/// Says why what is left is no valid schema.
pub fn schema_without(hidden: &[FieldCoordinate]) -> Result<Arc<Schema>, String> {
    Schema::new(&sdl(false), &with_filters(hidden)).map(Arc::new)
}

/// Adds to hidden fields the members of filters by which their values could be guessed.
fn with_filters(hidden: &[FieldCoordinate]) -> Vec<FieldCoordinate> {
    const FILTERS: [(&str, &str); 5] = [
        ("state", "state"),
        ("created", "createdAfter"),
        ("created", "createdBefore"),
        ("name", "namePrefix"),
        ("metadata", "metadata"),
    ];
    let mut all = hidden.to_vec();
    for (field, member) in FILTERS {
        if hidden.iter().any(|at| at.type_name == "Job" && at.field == field) {
            all.push(FieldCoordinate { type_name: "JobFilter".into(), field: member.into() });
        }
    }
    all
}

/// Everything that is wrong with hiding these fields: nothing, if a valid schema is left that can do its work.
#[must_use]
pub fn problems_of_hiding(hidden: &[FieldCoordinate]) -> Vec<String> {
    static WHOLE: OnceLock<Option<Schema>> = OnceLock::new();
    let whole = WHOLE.get_or_init(|| Schema::new(&sdl(false), &[]).ok());
    let mut problems = Vec::new();
    for coordinate in hidden {
        let FieldCoordinate { type_name, field } = coordinate;
        if !whole.as_ref().is_some_and(|schema| schema.has_field(coordinate)) {
            problems.push(format!("the schema has no field {type_name}.{field}"));
        } else if field == "id"
            && let Some(kind) =
                EntityKind::from_type_name(type_name).filter(|kind| kind.has_owner())
        {
            let problem =
                format!("{type_name}.id cannot be hidden: it is what a {kind} is asked for by");
            problems.push(problem);
        }
    }
    if problems.is_empty()
        && !hidden.is_empty()
        && let Err(problem) = View::without(hidden)
    {
        problems.push(format!("without these fields it is no valid schema: {problem}"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every field of the schema's objects and interfaces, by the lines of its definition.
    fn coordinates() -> Vec<FieldCoordinate> {
        let (mut all, mut type_name, mut nesting) = (Vec::new(), None, 0);
        for line in sdl(false).lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["type" | "interface", name, ..] => type_name = Some((*name).to_owned()),
                ["}"] => type_name = None,
                [word, ..] if nesting == 0 && word.contains([':', '(']) => {
                    let field = word.split([':', '(']).next().unwrap_or_default().to_owned();
                    all.extend(
                        type_name.clone().map(|type_name| FieldCoordinate { type_name, field }),
                    );
                }
                _ => {}
            }
            nesting += line.matches('(').count();
            nesting = nesting.saturating_sub(line.matches(')').count());
        }
        all
    }

    #[test]
    fn hiding_any_field_leaves_a_valid_schema_or_says_why_not() {
        let all = coordinates();
        assert!(all.len() > 80, "{}", all.len());
        for hidden in &all {
            let problems = problems_of_hiding(std::slice::from_ref(hidden));
            let keyed = ["Job", "Take", "File", "HumanVolume"];
            let is_id = keyed.contains(&hidden.type_name.as_str()) && hidden.field == "id";
            assert_eq!(!problems.is_empty(), is_id, "{hidden:?}: {problems:?}");
        }
        // All of a type, and all of all types but the ways in.
        let of =
            |name: &str| all.iter().filter(|at| at.type_name == name).cloned().collect::<Vec<_>>();
        for name in ["Client", "Rig", "ShareCode", "ClientOwner", "Mutation"] {
            assert_eq!(problems_of_hiding(&of(name)), Vec::<String>::new(), "{name}");
        }
        let problems = problems_of_hiding(&of("Query"));
        assert!(problems[0].contains("nothing is left of Query"), "{problems:?}");
        let none = FieldCoordinate { type_name: "Job".into(), field: "nope".into() };
        assert_eq!(problems_of_hiding(&[none]), ["the schema has no field Job.nope"]);
    }
}
