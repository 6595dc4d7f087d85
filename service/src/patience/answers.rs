//! Where a request begins and its answer ends, told to the [`Pace`] of the connection.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_http::{Payload, Request, Response};
use actix_service::{Service, ServiceFactory, apply_fn_factory};
use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;
use pin_project_lite::pin_project;

use super::Pace;

/// `app`, with the beginning of each request and the end of each answer told to the connection's [`Pace`].
pub(crate) fn marked<F, B>(
    app: F,
) -> impl ServiceFactory<
    Request,
    Config = (),
    Response = Response<Answer<B>>,
    Error = F::Error,
    InitError = F::InitError,
    Service: Service<Request, Future: 'static>,
    Future: 'static,
>
where
    F: ServiceFactory<Request, Config = ()> + 'static,
    F::Response: Into<Response<B>>,
    <F::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    apply_fn_factory(app, |mut request: Request, app: &F::Service| {
        let pace = request.conn_data::<Rc<Pace>>().cloned();
        if let Some(pace) = &pace {
            pace.asked(!matches!(request.payload(), Payload::None));
        }
        let end = End(pace);
        let answer = app.call(request);
        async move { Ok(answer.await?.into().map_body(|_, body| Answer { body, _end: end })) }
    })
}

/// The end of an answer, or of the try to make one.
struct End(Option<Rc<Pace>>);

impl Drop for End {
    fn drop(&mut self) {
        if let Some(pace) = &self.0 {
            pace.answered();
        }
    }
}

pin_project! {
    /// The body of an answer; the HTTP library drops it as soon as it has its last byte.
    pub(crate) struct Answer<B> {
        #[pin]
        body: B,
        _end: End,
    }
}

impl<B: MessageBody> MessageBody for Answer<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.project().body.poll_next(context)
    }
}
