//! Arguments that must be refused: with the specified error, leaving nothing behind, and never
//! with an internal error.

mod documents;
mod ranges;
mod required;
pub mod sweep;

use postgres::types::ToSql;

use crate::support::{Claim, World};

/// A world with something in every state that the refused calls could disturb.
pub struct Inhabited {
    pub world: World,
    pub held: Claim,
}

impl Inhabited {
    pub fn new() -> Self {
        let mut world = World::new();
        let held = world.claimed("", "lease_ttl => '1 h'");
        world.create_several(2, "");
        world
            .create("idempotency_key => 'taken', delay_until => ff_server_time() + interval '1 h'");
        Self { world, held }
    }

    /// Each call is refused with its code; together they change nothing. `$1` is a live handle
    /// where the call has a parameter.
    #[track_caller]
    pub fn refuses(&mut self, calls: &[(&str, String)]) {
        let before = self.world.contents();
        for (sqlstate, call) in calls {
            let handle = self.held.handle.clone();
            let parameters: &[&(dyn ToSql + Sync)] =
                if call.contains("$1") { &[&handle] } else { &[] };
            self.world.refused(sqlstate, call, parameters);
        }
        assert_eq!(
            self.world.contents(),
            before,
            "refused calls leave nothing behind"
        );
    }
}
