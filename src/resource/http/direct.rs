//! The lists and rows of resources, found by their path without the router.

use std::collections::HashMap;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use uuid::Uuid;

use super::read;
use super::request::API;
use crate::base::error::Error;
use crate::http::caller::UnverifiedCaller;
use crate::http::direct_routes::DirectResponse;
use crate::resource::definition::Resource;
use crate::resource::read_service::ReadService;

/// The routes by which a resource is read.
struct ReadRoutes {
    resource: &'static Resource,
    list: String,
    one: String,
}

/// Finds what a request reads.
pub struct ReadRouter(HashMap<String, ReadRoutes, xxhash_rust::xxh3::Xxh3DefaultBuilder>);

impl ReadRouter {
    /// Takes the registry of all resources.
    pub fn new(resources: &[&'static Resource]) -> Self {
        let routes = |resource: &&'static Resource| {
            let list = format!("{API}/{}", resource.path());
            (list.clone(), ReadRoutes { resource, one: format!("{list}/{{id}}"), list })
        };
        Self(resources.iter().map(routes).collect())
    }

    /// Returns the response to a GET of a list or of a row; `None` where the path is that of neither.
    pub fn find(&'static self, request: &HttpRequest) -> Option<DirectResponse> {
        if *request.method() != Method::GET {
            return None;
        }
        let path = request.path();
        let (routes, id) = match self.0.get(path) {
            Some(routes) => (routes, None),
            None => {
                let (list, id) = path.rsplit_once('/')?;
                (self.0.get(list)?, Some(Uuid::try_parse(id).ok()?))
            }
        };
        let (resource, request) = (routes.resource, request.clone());
        let response = async move {
            let caller = UnverifiedCaller::from_request(&request, &mut Payload::None).await?;
            let reads = request.app_data::<Data<ReadService>>().cloned();
            let reads = reads.ok_or_else(|| Error::Internal("nothing reads resources".into()))?;
            match id {
                Some(_) => read::row(resource, id, reads, caller, request).await,
                None => read::list(resource, reads, caller, request).await,
            }
        };
        let route = if id.is_some() { &routes.one } else { &routes.list };
        Some(DirectResponse { route, response: Box::pin(response) })
    }
}
