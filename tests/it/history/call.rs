//! What is recorded: every call, what the server answered, and what became of its transaction.

use std::time::Duration;

use uuid::Uuid;

/// A lease as the claim told it.
#[derive(Clone, Debug)]
pub struct Lease {
    pub execution: Uuid,
    pub id: Uuid,
    pub epoch: i64,
    pub attempt: Uuid,
    pub index: i32,
    pub handle: String,
    /// Microseconds since 1970.
    pub expires_at: i64,
}

/// What a call asks for. A claim's worker instance and a create's tag carry the call's number.
#[derive(Clone, Debug)]
pub enum Asked {
    Create {
        items: usize,
        key: Option<String>,
    },
    /// A member that waits for another one.
    Child(Uuid),
    Claim {
        items: usize,
    },
    Renew(Lease),
    Progress(Lease),
    Complete(Lease, Vec<u8>),
    CompleteAndClaim(Lease, Vec<u8>),
    Fail(Lease),
    Delay(Lease),
    Drop(Lease),
    Cancel(Uuid),
    Revoke(Uuid),
    Prioritise(Uuid),
    Replay(Uuid),
    Tag(Uuid),
    Hold(Uuid),
    LetGo(Uuid),
    Tick,
}

/// One thing that an answer says.
#[derive(Clone, Debug)]
pub enum Effect {
    Created(Uuid),
    /// The key was taken by this execution.
    Found(Uuid),
    Granted(Lease),
    Renewed {
        lease: Uuid,
        expires_at: i64,
    },
    /// Something that the log tells once, of a lease or an execution.
    Did(Mark),
    /// The answer of an earlier call, repeated.
    Again(Mark),
}

/// What happened to which lease or execution: `completed` to a lease, `replayed` to an execution.
pub type Mark = (&'static str, Uuid);

#[derive(Clone, Debug)]
pub enum Reply {
    Said(Vec<Effect>),
    /// An error with this SQLSTATE.
    Refused(String),
    /// The connection was lost before the answer.
    Silence,
}

/// What became of the transaction, as far as the caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Committed,
    Undone,
    Unknown,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub number: u32,
    pub transaction: u32,
    pub asked: Asked,
    pub reply: Reply,
    pub fate: Fate,
    /// Since the start of the recording.
    pub began: Duration,
    /// When its fate was known; never, if it was not.
    pub ended: Option<Duration>,
    /// Wall clock at the answer, microseconds since 1970.
    pub answered_at: i64,
}

impl Asked {
    /// The lease it presents.
    pub fn lease(&self) -> Option<&Lease> {
        match self {
            Asked::Renew(l)
            | Asked::Progress(l)
            | Asked::Complete(l, _)
            | Asked::CompleteAndClaim(l, _)
            | Asked::Fail(l)
            | Asked::Delay(l)
            | Asked::Drop(l) => Some(l),
            _ => None,
        }
    }

    /// The execution it is about.
    pub fn execution(&self) -> Option<Uuid> {
        match self {
            Asked::Child(id)
            | Asked::Cancel(id)
            | Asked::Revoke(id)
            | Asked::Prioritise(id)
            | Asked::Replay(id)
            | Asked::Tag(id)
            | Asked::Hold(id)
            | Asked::LetGo(id) => Some(*id),
            other => other.lease().map(|l| l.execution),
        }
    }

    /// What the log tells if it succeeds, of calls about one lease or execution.
    pub fn mark(&self) -> Option<Mark> {
        Some(match self {
            Asked::Renew(l) => ("renewed", l.id),
            Asked::Complete(l, _) | Asked::CompleteAndClaim(l, _) => ("completed", l.id),
            Asked::Fail(l) => ("failed", l.id),
            Asked::Delay(l) => ("delayed", l.id),
            Asked::Drop(l) => ("dropped", l.id),
            Asked::Cancel(id) => ("cancelled", *id),
            Asked::Revoke(id) => ("revoked", *id),
            Asked::Prioritise(id) => ("prioritised", *id),
            Asked::Replay(id) => ("replayed", *id),
            Asked::Tag(id) => ("tagged", *id),
            _ => return None,
        })
    }

    /// How many executions it may create, and how many leases it may be given.
    pub fn most(&self) -> (usize, usize) {
        match self {
            Asked::Create { items, .. } => (*items, 0),
            Asked::Child(_) => (1, 0),
            Asked::Claim { items } => (0, *items),
            Asked::CompleteAndClaim(..) => (0, 1),
            _ => (0, 0),
        }
    }
}

impl Call {
    /// What the answer says, nothing if there was none.
    pub fn said(&self) -> &[Effect] {
        match &self.reply {
            Reply::Said(effects) => effects,
            _ => &[],
        }
    }

    /// The worker instance of its claims.
    pub fn instance(number: u32) -> String {
        format!("h-{number}")
    }
}
