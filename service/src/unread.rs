//! Bodies that nobody reads to their end: the answer is said, and the connection closes.
//!
//! After an answer actix-http waits for the rest of a chunked body whose reader is gone, and no timer runs meanwhile: a chunk extension
//! without end holds a connection for ever. A body whose reader is still there it treats like one of a known length: `Connection: close`,
//! what comes is thrown away for the disconnect timeout, and that is all. So the reader is kept until the answer has left.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header::TRANSFER_ENCODING;
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage as _};
use futures_util::Stream;

/// Lets no chunked body outlast its answer. Belongs around every app that [`listener`](crate::listener) serves; how long a handler waits
/// for a body is the handler's own affair.
pub async fn close<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    if !request.headers().contains_key(TRANSFER_ENCODING) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let reader = Reader(Rc::new(RefCell::new(request.take_payload())));
    request.set_payload(Payload::Stream { payload: Box::pin(reader.clone()) });
    let response = next.call(request).await?;
    Ok(response.map_body(|_, body| {
        EitherBody::right(BoxBody::new(Kept { body: body.boxed(), _reader: reader }))
    }))
}

/// A body that the handler may read, and that is there until the last copy of its reader has gone.
#[derive(Clone)]
struct Reader(Rc<RefCell<Payload>>);

impl Stream for Reader {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(context)
    }
}

/// An answer that holds on to the reader of its request's body.
struct Kept {
    body: BoxBody,
    _reader: Reader,
}

impl MessageBody for Kept {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
