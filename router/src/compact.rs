//! A user's key in as many bytes as it has, for tables that hold many.

use protocol::id::{Tenant, UserId, UserKey};

/// `tenant/user`: the slash is in no id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CompactUser(Box<str>);

impl CompactUser {
    /// Packs a key.
    pub(crate) fn new(key: &UserKey) -> Self {
        Self(format!("{}/{}", key.tenant, key.user).into())
    }

    /// The key again.
    pub(crate) fn key(&self) -> UserKey {
        let (tenant, user) = self.0.split_once('/').expect("packed with a slash");
        let tenant = if tenant.is_empty() { Tenant::SYSTEM } else { Tenant::parse(tenant).expect("packed") };
        UserKey { tenant, user: UserId::parse(user).expect("packed") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_as_it_was() {
        let user = UserId::parse("a.b@c|d~e-f:g_h").unwrap();
        for tenant in [Tenant::SYSTEM, Tenant::default_tenant()] {
            let key = UserKey { tenant, user };
            assert_eq!(CompactUser::new(&key).key(), key);
        }
    }
}
