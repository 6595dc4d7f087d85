//! How many connections one address may hold, so that a single host cannot take them all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

use crate::proxies::is_within;

/// The open connections by address. Trusted proxies are not counted: they carry everybody.
#[derive(Debug)]
pub struct Connections {
    open: Mutex<HashMap<IpAddr, usize>>,
    limit: usize,
    trusted: Vec<IpNet>,
}

/// A counted connection; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Seat {
    connections: Arc<Connections>,
    counted: Option<IpAddr>,
}

impl Connections {
    /// At most `limit` for one address that is not `trusted`; 0: no limit.
    pub fn new(limit: usize, trusted: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), limit, trusted })
    }

    /// A seat for one more connection from `address`, unless that has all of its own already.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let address = address.to_canonical();
        if is_within(&self.trusted, address) {
            return Some(Seat { connections: self.clone(), counted: None });
        }
        let key = one_host(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(key).or_default();
        if self.limit > 0 && *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Seat { connections: self.clone(), counted: Some(key) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(key) = self.counted else { return };
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&key);
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
        let connections = Connections::new(2, vec!["10.0.0.0/8".parse().unwrap()]);
        let seat = |text: &str| connections.admit(text.parse().unwrap());
        let first = seat("203.0.113.9");
        let _second = seat("203.0.113.9").unwrap();
        assert!(seat("203.0.113.9").is_none());
        assert!(seat("::ffff:203.0.113.9").is_none());
        assert!(seat("203.0.113.10").is_some());
        drop(first);
        assert!(seat("203.0.113.9").is_some());
    }

    #[test]
    fn a_proxy_is_not_limited() {
        let connections = Connections::new(1, vec!["10.0.0.0/8".parse().unwrap()]);
        let seats: Vec<_> =
            (0..5).filter_map(|_| connections.admit("10.1.2.3".parse().unwrap())).collect();
        assert_eq!(seats.len(), 5);
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        let connections = Connections::new(0, Vec::new());
        let seats: Vec<_> =
            (0..5).filter_map(|_| connections.admit("203.0.113.9".parse().unwrap())).collect();
        assert_eq!(seats.len(), 5);
    }

    #[test]
    fn an_ipv6_host_is_its_64() {
        let connections = Connections::new(1, Vec::new());
        let _seat = connections.admit("2001:db8::1".parse().unwrap()).unwrap();
        assert!(connections.admit("2001:db8::2".parse().unwrap()).is_none());
        assert!(connections.admit("2001:db8:0:1::1".parse().unwrap()).is_some());
    }
}
