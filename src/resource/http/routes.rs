//! The routes of a resource.

use actix_web::http::Method;
use actix_web::web;

use super::{read, write};
use crate::http::routing;
use crate::resource::module::ResourceModule;
use crate::resource::{batch, export};

/// Registers the operations of a resource under its path, in a scope of its own, whose prefix is compared before any
/// pattern is tried; the most frequent routes come first.
pub fn routes(module: &'static ResourceModule, api: &mut web::ServiceConfig) {
    let resource = module.resource;
    let operations = resource.operations;
    let one = routing::resource("/{id}")
        .reads(Method::GET, move |reads, caller, request, _| read::read(resource, reads, caller, request))
        .on_if(operations.update, Method::PATCH, move |reads, caller, request, body| {
            write::update(module, reads, caller, request, body)
        })
        .on_if(operations.delete, Method::DELETE, move |reads, caller, request, _| {
            write::delete(module, reads, caller, request)
        });
    let many = routing::resource("")
        .reads(Method::GET, move |reads, caller, request, _| read::list(resource, reads, caller, request));
    let many = match module.custom_create {
        Some(own) => own(many),
        None => many.on_if(operations.create, Method::POST, move |reads, caller, request, body| {
            write::create(module, reads, caller, request, body)
        }),
    };
    let export = routing::resource("/export")
        .reads(Method::GET, move |reads, caller, request, _| export::export(resource, reads, caller, request));
    let batch = routing::resource("/batch/read").reads(Method::POST, move |reads, caller, request, body| {
        read::batch_read(resource, reads, caller, request, body)
    });
    let history = routing::resource("/{id}/history")
        .reads(Method::GET, move |reads, caller, request, _| read::history(resource, reads, caller, request));
    let restoration = routing::resource("/{id}/restoration").on_if(
        operations.restore,
        Method::POST,
        move |reads, caller, request, body| write::restore(module, reads, caller, request, body),
    );
    api.service(web::scope(&format!("/{}", resource.path())).configure(|scope| {
        module.static_routes.iter().for_each(|register| register(scope));
        // Before the pattern `/{id}`, which it matches, too.
        export.register(scope);
        one.register(scope);
        many.register(scope);
        batch.register(scope);
        if operations.batch {
            batch::routes(resource, scope);
        }
        if resource.has_history() {
            history.register(scope);
        }
        if operations.restore {
            restoration.register(scope);
        }
        module.routes.iter().for_each(|register| register(scope));
    }));
}
