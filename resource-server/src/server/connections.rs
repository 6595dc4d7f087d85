//! How many connections one address may hold, so that a single host cannot take them all.

use std::any::Any;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, Shutdown};
use std::sync::{Arc, Mutex, PoisonError};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use socket2::SockRef;

/// The open connections by address.
#[derive(Debug)]
pub struct Connections {
    open: Mutex<HashMap<IpAddr, usize>>,
    limit: usize,
}

/// A counted connection; dropping it gives the place back.
#[derive(Debug)]
struct Seat {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Connections {
    /// At most `limit` for one address; 0: no limit.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), limit })
    }

    /// Called for each new connection: counts it, or closes it at once.
    pub fn admit(self: &Arc<Self>, io: &dyn Any, extensions: &mut Extensions) {
        let plain = io.downcast_ref::<TcpStream>();
        let stream = plain
            .or_else(|| io.downcast_ref::<TlsStream<TcpStream>>().map(|stream| stream.get_ref().0));
        let Some((stream, peer)) =
            stream.and_then(|stream| Some((stream, stream.peer_addr().ok()?)))
        else {
            return;
        };
        match self.seat(peer.ip()) {
            Some(seat) => {
                extensions.insert(seat);
            }
            None => {
                if let Err(error) = SockRef::from(stream).shutdown(Shutdown::Both) {
                    log::debug!(error:%; "a connection over the limit was closed already");
                }
            }
        }
    }

    fn seat(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let address = one_host(address.to_canonical());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if self.limit > 0 && *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Seat { connections: Arc::clone(self), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// One IPv6 host has a whole /64 to choose its addresses from.
fn one_host(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_limit_and_gets_places_back() {
        let connections = Connections::new(2);
        let seat = |text: &str| connections.seat(text.parse().unwrap());
        let first = seat("203.0.113.9");
        let _second = seat("203.0.113.9").unwrap();
        assert!(seat("203.0.113.9").is_none());
        assert!(seat("::ffff:203.0.113.9").is_none());
        assert!(seat("203.0.113.10").is_some());
        drop(first);
        assert!(seat("203.0.113.9").is_some());
    }

    #[test]
    fn an_ipv6_host_is_its_64() {
        let connections = Connections::new(1);
        let _seat = connections.seat("2001:db8::1".parse().unwrap()).unwrap();
        assert!(connections.seat("2001:db8::2".parse().unwrap()).is_none());
        assert!(connections.seat("2001:db8:0:1::1".parse().unwrap()).is_some());
    }
}
