//! OpenAPI description of the probes and of the operators' endpoints.

use serde_json::json;
use utoipa::openapi::path::{HttpMethod, OperationBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, OpenApi, PathItem, Schema};

use crate::http::openapi_responses::{problems, reference};
use crate::resource::Resource;

/// Adds the operations to the OpenAPI document of an API with `resources`.
pub fn describe(resources: &[&Resource], api: &mut OpenApi) {
    describe_probes(api);
    describe_cache(resources, api);
}

fn describe_probes(api: &mut OpenApi) {
    let content = |status: &str| {
        ContentBuilder::new().schema(Some(reference("Health"))).example(Some(json!({ "status": status }))).build()
    };
    for (path, id, summary, good) in [
        ("/health", "health", "Whether the process is alive", "alive"),
        ("/health/liveness", "liveness", "Whether the process is alive", "alive"),
        ("/health/readiness", "readiness", "Whether requests should come", "ready"),
        ("/health/startup", "startup", "Whether the service has started", "started"),
    ] {
        let mut operation = OperationBuilder::new()
            .tag("health")
            .summary(Some(summary))
            .operation_id(Some(id))
            .securities(Some([SecurityRequirement::default()]))
            .response("200", ResponseBuilder::new().description("Yes.").content("application/json", content(good)));
        if good != "alive" {
            let not = ResponseBuilder::new().description("Not now.").content("application/json", content("starting"));
            operation = operation.response("503", not);
        }
        api.paths.paths.insert(path.to_owned(), PathItem::new(HttpMethod::Get, operation));
    }
    let free = ObjectBuilder::new().schema_type(Type::Object).description(Some("Each dependency with its latency."));
    let content = ContentBuilder::new().schema(Some(Schema::from(free.build()))).example(Some(json!({
        "status": "ready", "database": { "status": "up", "latency_ms": 0.3 }, "redis": { "status": "off", "latency_ms": null }
    })));
    let detailed = OperationBuilder::new()
        .tag("health")
        .summary(Some("Each dependency with its latency"))
        .operation_id(Some("healthDetailed"))
        .response("200", ResponseBuilder::new().description("The state.").content("application/json", content.build()));
    let detailed = problems(detailed, &[401, 403, 503]);
    api.paths.paths.insert("/health/detailed".to_owned(), PathItem::new(HttpMethod::Get, detailed));
}

fn describe_cache(resources: &[&Resource], api: &mut OpenApi) {
    let free = |about: &str| ObjectBuilder::new().schema_type(Type::Object).description(Some(about)).build();
    let content = |about: &str, example| {
        ContentBuilder::new().schema(Some(Schema::from(free(about)))).example(Some(example)).build()
    };
    let counts = json!({ "hits_local": 940, "hits_redis": 20, "misses": 40, "hit_rate": 0.96, "inconsistent": 0 });
    let example = json!({
        "enabled": true, "total": counts, "resources": { "leads": counts },
        "local": { "entries": 40, "bytes": 182_000, "capacity_bytes": 67_108_864 },
        "rounds": { "rounds": 310, "failed": 0, "mean_ms": 0.18 },
        "redis": { "connected": true, "breaker": "closed", "uptime_seconds": 3600, "used_memory_bytes": 1_200_000 },
    });
    let statistics = OperationBuilder::new()
        .tag("ops")
        .summary(Some("How the cache does"))
        .description(Some(
            "Of this process, since it started: counts for each resource and in all, size, validation rounds, Redis.",
        ))
        .operation_id(Some("cacheStatistics"))
        .response(
            "200",
            ResponseBuilder::new()
                .description("The figures.")
                .content("application/json", content("Counts, sizes and states.", example)),
        );
    let statistics = problems(statistics, &[401, 403, 503]);
    api.paths.paths.insert("/api/v1/ops/cache".to_owned(), PathItem::new(HttpMethod::Get, statistics));
    let plurals = resources.iter().map(|resource| resource.plural);
    let resource = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(plurals));
    let body = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("resource", resource.description(Some("Only answers about these; all, when left out.")))
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    let asked =
        ContentBuilder::new().schema(Some(Schema::from(body.build()))).example(Some(json!({ "resource": "leads" })));
    let purge = OperationBuilder::new()
        .tag("ops")
        .summary(Some("Forget cached answers of the business"))
        .description(Some(
            "On every replica at once. Never needed for answers to be right; it frees memory and helps to compare.",
        ))
        .operation_id(Some("purgeCache"))
        .request_body(Some(RequestBodyBuilder::new().content("application/json", asked.build()).build()))
        .response(
            "200",
            ResponseBuilder::new().description("How many answers this process and Redis held.").content(
                "application/json",
                content(
                    "Answers forgotten; `redis` is null when it does not answer.",
                    json!({ "local": 12, "redis": 40 }),
                ),
            ),
        );
    let purge = problems(purge, &[400, 401, 403, 408, 413, 415, 422, 503]);
    api.paths.paths.insert("/api/v1/ops/cache/purge".to_owned(), PathItem::new(HttpMethod::Post, purge));
}
