//! Sessions of roles that are no superuser.

use super::cluster::Cluster;
use super::{Session, World};

/// The roles of the engine, those first that the others include.
pub const ROLES: [&str; 6] = [
    "ff_reader",
    "ff_signaller",
    "ff_producer",
    "ff_worker",
    "ff_operator",
    "ff_admin",
];

impl World {
    /// A world in which the roles of the engine have been granted their functions.
    pub fn with_roles() -> Self {
        Self::with_roles_on(Cluster::home())
    }

    /// As [`World::with_roles`], on this server.
    pub fn with_roles_on(cluster: Cluster) -> Self {
        let mut world = Self::on(cluster);
        world.rows("SELECT * FROM ff_create_roles()", &[]);
        world
    }

    /// A login of this test with the rights of these roles; returns its name.
    pub fn login(&mut self, name: &str, member_of: &str) -> String {
        let login = format!("{}_{name}", self.database);
        self.run(&format!("CREATE ROLE {login} LOGIN"));
        if !member_of.is_empty() {
            self.run(&format!("GRANT {member_of} TO {login}"));
        }
        login
    }

    /// A session that has become this role for good.
    pub fn session_of(&self, role: &str) -> Session {
        let mut session = self.session();
        session.run(&format!("SET SESSION AUTHORIZATION {role}"));
        session
    }

    /// A session of a new login with the rights of these roles.
    pub fn session_with(&mut self, name: &str, member_of: &str) -> Session {
        let login = self.login(name, member_of);
        self.session_of(&login)
    }
}
