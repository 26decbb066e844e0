//! Loopback addresses: a range of 127.0.0.0/8 per sandbox, so that several on one computer never collide.
//!
//! A range is claimed by listening on its first address. That is a lock the kernel itself keeps: it ends with the process however the
//! process ends, and it holds between users, whose lock files might be out of reach of each other.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// The port a range is claimed on. Nothing ever connects to it.
const CLAIM_PORT: u16 = 7599;

/// The range for systems on which loopback has only 127.0.0.1 until somebody adds aliases (macOS, BSD).
const ALIASED: (u8, u8) = (77, 0);

/// How to make a machine's addresses usable where loopback is only 127.0.0.1.
const HOW_TO_ADD: &str = "this system's loopback interface has no addresses beside 127.0.0.1; the sandbox needs one per instance and load \
     balancer. Add some, until the next reboot, with:\n  for n in $(seq 1 60); do sudo ifconfig lo0 alias 127.77.0.$n; done";

/// The addresses of one sandbox.
pub(super) struct Addresses {
    pool: Mutex<Pool>,
}

struct Pool {
    claims: Vec<TcpListener>,
    /// Given out from the front, given back at the end: an address rests as long as possible before somebody else answers at it.
    free: VecDeque<Ipv4Addr>,
    random: fastrand::Rng,
}

impl Addresses {
    /// Claims a first range.
    pub fn claim() -> io::Result<Self> {
        let mut pool = Pool { claims: Vec::new(), free: VecDeque::new(), random: fastrand::Rng::new() };
        pool.claim_another()?;
        Ok(Self { pool: Mutex::new(pool) })
    }

    /// An address nobody has; 0.0.0.0 when the system has no more.
    pub fn take(&self) -> IpAddr {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match pool.free.pop_front() {
                // Where addresses are aliases, a part of the range may be missing.
                Some(address) if TcpListener::bind((address, 0)).is_ok() => return address.into(),
                Some(_) => {}
                None if pool.claim_another().is_ok() => {}
                None => return Ipv4Addr::UNSPECIFIED.into(),
            }
        }
    }

    /// Returns an address whose machine is gone.
    pub fn give_back(&self, address: IpAddr) {
        if let IpAddr::V4(address) = address
            && !address.is_unspecified()
        {
            self.pool.lock().unwrap_or_else(PoisonError::into_inner).free.push_back(address);
        }
    }
}

impl Pool {
    fn claim_another(&mut self) -> io::Result<()> {
        for _ in 0..64 {
            let range = (self.random.u8(64..128), self.random.u8(..));
            match self.claim_range(range) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                    let aliased = self.claim_range(ALIASED);
                    return aliased.map_err(|error| io::Error::new(error.kind(), HOW_TO_ADD));
                }
                other => return other,
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    fn claim_range(&mut self, (second, third): (u8, u8)) -> io::Result<()> {
        self.claims.push(TcpListener::bind((Ipv4Addr::new(127, second, third, 1), CLAIM_PORT))?);
        self.free.extend((2..255).map(|last| Ipv4Addr::new(127, second, third, last)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sandboxes_share_no_address() {
        let (one, other) = (Addresses::claim().unwrap(), Addresses::claim().unwrap());
        let taken: std::collections::BTreeSet<IpAddr> = (0..300).flat_map(|_| [one.take(), other.take()]).collect();
        assert_eq!(taken.len(), 600);
        assert!(taken.iter().all(IpAddr::is_loopback));
    }

    #[test]
    fn an_address_given_back_rests_before_it_is_given_again() {
        let addresses = Addresses::claim().unwrap();
        let first = addresses.take();
        addresses.give_back(first);
        let next: Vec<IpAddr> = (0..252).map(|_| addresses.take()).collect();
        assert!(!next.contains(&first));
        assert_eq!(addresses.take(), first);
    }
}
