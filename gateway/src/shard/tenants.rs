//! Tenants, interned: a connection keeps four bytes for one instead of 65.

use foldhash::quality::SeedableRandomState;
use hashbrown::HashMap;
use protocol::id::Tenant;

#[derive(Debug)]
struct Interned {
    tenant: Tenant,
    connections: u32,
}

/// The tenants of the shard's connections, by number.
#[derive(Debug)]
pub(super) struct Tenants {
    numbers: HashMap<Tenant, u32, SeedableRandomState>,
    interned: Vec<Interned>,
    free: Vec<u32>,
}

impl Tenants {
    pub(super) fn new(hasher: SeedableRandomState) -> Self {
        Self { numbers: HashMap::with_hasher(hasher), interned: Vec::new(), free: Vec::new() }
    }

    /// The tenant's number; one more connection holds it.
    pub(super) fn acquire(&mut self, tenant: Tenant) -> u32 {
        if let Some(&number) = self.numbers.get(&tenant) {
            self.interned[number as usize].connections += 1;
            return number;
        }
        let interned = Interned { tenant, connections: 1 };
        let number = match self.free.pop() {
            Some(number) => {
                self.interned[number as usize] = interned;
                number
            }
            None => {
                self.interned.push(interned);
                (self.interned.len() - 1) as u32
            }
        };
        self.numbers.insert(tenant, number);
        number
    }

    /// One connection less holds it; the last one's number is free.
    pub(super) fn release(&mut self, number: u32) {
        let interned = &mut self.interned[number as usize];
        interned.connections -= 1;
        if interned.connections == 0 {
            self.numbers.remove(&interned.tenant);
            self.free.push(number);
        }
    }

    /// The tenant of a number that is held.
    pub(super) fn get(&self, number: u32) -> Tenant {
        self.interned[number as usize].tenant
    }

    /// Asserts that every number is held or free.
    pub(super) fn invariants(&self) {
        assert_eq!(self.numbers.len() + self.free.len(), self.interned.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_one_tenants_for_as_long_as_somebody_holds_it() {
        let mut tenants = Tenants::new(SeedableRandomState::fixed());
        let (a, b) = (Tenant::parse("a").unwrap(), Tenant::parse("b").unwrap());
        let first = tenants.acquire(a);
        assert_eq!(tenants.acquire(a), first);
        tenants.release(first);
        assert_eq!(tenants.get(first), a);
        tenants.release(first);
        assert_eq!(tenants.acquire(b), first);
        assert_eq!(tenants.get(first), b);
        tenants.invariants();
    }
}
