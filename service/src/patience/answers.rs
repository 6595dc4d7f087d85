//! Where a request begins and its answer ends, told to the [`Pace`] of the connection; and the word that an answer is its last one.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use actix_http::{Payload, Request, Response};
use actix_service::{Service, ServiceFactory, apply_fn_factory};
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::ConnectionType;
use actix_web::web::Bytes;
use pin_project_lite::pin_project;

use super::Pace;

/// `app`, with the beginning of each request and the end of each answer told to the connection's [`Pace`]. Once the listener `is_closed`
/// every answer says that its connection ends with it.
pub(crate) fn marked<F, B>(
    app: F,
    is_closed: Arc<AtomicBool>,
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
    apply_fn_factory(app, move |mut request: Request, app: &F::Service| {
        let pace = request.conn_data::<Rc<Pace>>().cloned();
        if let Some(pace) = &pace {
            pace.asked(!matches!(request.payload(), Payload::None));
        }
        let end = End(pace);
        let answer = app.call(request);
        let is_closed = is_closed.clone();
        async move {
            let mut answer = answer.await?.into();
            if is_closed.load(Ordering::Relaxed) {
                answer.head_mut().set_connection_type(ConnectionType::Close);
            }
            Ok(answer.map_body(|_, body| Answer { body, _end: end }))
        }
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
