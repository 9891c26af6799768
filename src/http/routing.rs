//! Resources that answer 405 with `Allow` to what they do not know (actix answers 404 when routes are only guarded), and
//! hand every handler the same four things.

use std::future::Future;

use actix_web::http::Method;
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder};

use super::caller::{Caller, Claim};
use super::payload::{Body, Large, Pieces};
use super::quota::Anyone;
use crate::context;
use crate::error::{Error, Result};

/// A resource under construction.
pub struct Routes {
    resource: Resource,
    allowed: Vec<Method>,
}

pub fn resource(path: &str) -> Routes {
    Routes { resource: web::resource(path), allowed: Vec::new() }
}

impl Routes {
    /// It takes bodies as large as those of many rows may be.
    pub fn large(mut self) -> Self {
        self.resource = self.resource.app_data(Large);
        self
    }

    /// Answers `method` with `handler`: the state it works with, caller, request, and the body, read within its limits.
    pub fn on<S, H, F>(self, method: Method, handler: H) -> Self
    where
        S: 'static,
        H: Fn(Data<S>, Caller, HttpRequest, Bytes) -> F + Copy + 'static,
        F: Future<Output = Result<HttpResponse>> + 'static,
    {
        self.route(method, move |state: Data<S>, caller: Caller, request: HttpRequest, body: Body| {
            handler(state, caller, request, body.into_inner())
        })
    }

    /// As [`Routes::on`], for whoever comes: there is no caller yet, so their address is counted.
    pub fn open<S, H, F>(self, method: Method, handler: H) -> Self
    where
        S: 'static,
        H: Fn(Data<S>, HttpRequest, Bytes) -> F + Copy + 'static,
        F: Future<Output = Result<HttpResponse>> + 'static,
    {
        self.route(method, move |state: Data<S>, _: Anyone, request: HttpRequest, body: Body| {
            handler(state, request, body.into_inner())
        })
    }

    /// As [`Routes::on`], for a read: the handler gets a claim, which is confirmed in the round that validates the answer.
    pub fn reads<S, H, F>(self, method: Method, handler: H) -> Self
    where
        S: 'static,
        H: Fn(Data<S>, Claim, HttpRequest, Bytes) -> F + Copy + 'static,
        F: Future<Output = Result<HttpResponse>> + 'static,
    {
        self.route(method, move |state: Data<S>, claim: Claim, request: HttpRequest, body: Body| {
            handler(state, claim, request, body.into_inner())
        })
    }

    /// As [`Routes::on`], for a body of any type that is taken piece by piece. The request has as long as its pieces keep coming.
    pub fn streams<S, H, F>(self, method: Method, handler: H) -> Self
    where
        S: 'static,
        H: Fn(Data<S>, Caller, HttpRequest, Pieces) -> F + Copy + 'static,
        F: Future<Output = Result<HttpResponse>> + 'static,
    {
        self.route(method, move |state: Data<S>, caller: Caller, request: HttpRequest, body: Pieces| {
            context::takes_its_time();
            handler(state, caller, request, body)
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
            // Whatever can be read answers HEAD as well (RFC 9110, section 9.1); the encoder leaves the body out.
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
        S: 'static,
        H: Fn(Data<S>, Caller, HttpRequest, Bytes) -> F + Copy + 'static,
        F: Future<Output = Result<HttpResponse>> + 'static,
    {
        if offered { self.on(method, handler) } else { self }
    }

    pub fn register(self, config: &mut ServiceConfig) {
        config.service(self.resource.default_service(refuse(&self.allowed)));
    }
}

/// Answers 405 and says what is allowed.
pub fn refuse(allowed: &[Method]) -> actix_web::Route {
    let allow = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    web::to(move || {
        let allow = allow.clone();
        async move { Err::<HttpResponse, _>(Error::MethodNotAllowed { allow }) }
    })
}
