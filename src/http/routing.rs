//! Route builder: paths return 405 with `Allow` for other methods (actix returns 404 when routes are only guarded), and
//! handlers get state, caller, request and body.

use std::future::Future;

use actix_web::http::Method;
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder};

use super::caller::{Caller, UnverifiedCaller};
use super::payload::{Body, BodyStream, LargeBody, RawBody, RawLimit};
use super::rate_limit::check::Anonymous;
use crate::base::error::{Error, Result};
use crate::base::request_context;

/// The routes of one path, under construction.
pub struct Routes {
    resource: Resource,
    allowed: Vec<Method>,
}

pub fn resource(path: &str) -> Routes {
    Routes { resource: web::resource(path), allowed: Vec::new() }
}

impl Routes {
    /// Raises the body limit to that of batches.
    pub fn large(mut self) -> Self {
        self.resource = self.resource.app_data(LargeBody);
        self
    }

    /// Handles `method` with `handler`, which gets its state (`Data`, or a tuple of several), the caller, the request,
    /// and the body, read within its limits.
    pub fn on<S, H, F>(self, method: Method, handler: H) -> Self
    where
        S: FromRequest + 'static,
        H: Fn(S, Caller, HttpRequest, Bytes) -> F + Copy + 'static,
        F: Future<Output = Result<HttpResponse>> + 'static,
    {
        self.route(method, move |state: S, caller: Caller, request: HttpRequest, body: Body| {
            handler(state, caller, request, body.into_inner())
        })
    }

    /// As [`Routes::on`], for operations without authentication: requests are counted by client network.
    pub fn open<S, H, F>(self, method: Method, handler: H) -> Self
    where
        S: FromRequest + 'static,
        H: Fn(S, HttpRequest, Bytes) -> F + Copy + 'static,
        F: Future<Output = Result<HttpResponse>> + 'static,
    {
        self.route(method, move |state: S, _: Anonymous, request: HttpRequest, body: Body| {
            handler(state, request, body.into_inner())
        })
    }

    /// As [`Routes::on`], for a read: the validation round of the response confirms the [`UnverifiedCaller`].
    pub fn reads<S, H, F>(self, method: Method, handler: H) -> Self
    where
        S: FromRequest + 'static,
        H: Fn(S, UnverifiedCaller, HttpRequest, Bytes) -> F + Copy + 'static,
        F: Future<Output = Result<HttpResponse>> + 'static,
    {
        self.route(method, move |state: S, caller: UnverifiedCaller, request: HttpRequest, body: Body| {
            handler(state, caller, request, body.into_inner())
        })
    }

    /// As [`Routes::on`], for a body of any type that is streamed. The request's time limit does not apply.
    pub fn streams<S, H, F>(self, method: Method, handler: H) -> Self
    where
        S: FromRequest + 'static,
        H: Fn(S, Caller, HttpRequest, BodyStream) -> F + Copy + 'static,
        F: Future<Output = Result<HttpResponse>> + 'static,
    {
        self.route(method, move |state: S, caller: Caller, request: HttpRequest, body: BodyStream| {
            request_context::no_timeout();
            handler(state, caller, request, body)
        })
    }

    /// As [`Routes::open`], for a body of at most `max_bytes` of any type, which carries its own proof of where it comes from: requests are
    /// not counted, unless the handler refuses them.
    pub fn raw<S, H, F>(mut self, method: Method, max_bytes: usize, handler: H) -> Self
    where
        S: FromRequest + 'static,
        H: Fn(S, HttpRequest, Bytes) -> F + Copy + 'static,
        F: Future<Output = Result<HttpResponse>> + 'static,
    {
        self.resource = self.resource.app_data(RawLimit(max_bytes));
        self.route(method, move |state: S, request: HttpRequest, body: RawBody| {
            handler(state, request, body.into_inner())
        })
    }

    fn route<H, A>(mut self, method: Method, handler: H) -> Self
    where
        H: Handler<A> + Copy,
        A: FromRequest + 'static,
        H::Output: Responder + 'static,
    {
        let mut methods = vec![method];
        if methods == [Method::GET] {
            // Every readable path handles HEAD as well (RFC 9110, section 9.1); the encoder omits the body.
            methods.push(Method::HEAD);
        }
        for method in methods {
            self.resource = self.resource.route(web::method(method.clone()).to(handler));
            self.allowed.push(method);
        }
        self
    }

    pub fn on_if<S, H, F>(self, offered: bool, method: Method, handler: H) -> Self
    where
        S: FromRequest + 'static,
        H: Fn(S, Caller, HttpRequest, Bytes) -> F + Copy + 'static,
        F: Future<Output = Result<HttpResponse>> + 'static,
    {
        if offered { self.on(method, handler) } else { self }
    }

    pub fn register(self, config: &mut ServiceConfig) {
        config.service(self.resource.default_service(refuse(&self.allowed)));
    }
}

/// Builds a fallback route that returns 405 with the allowed methods.
pub fn refuse(allowed: &[Method]) -> actix_web::Route {
    let allow = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    web::to(move || {
        let allow = allow.clone();
        async move { Err::<HttpResponse, _>(Error::MethodNotAllowed { allow }) }
    })
}
