//! Output streams (§30.1–§30.9): where a frame stands, how many stay, what a summary says, when a stream is over.

pub mod closing;
pub mod merge;
pub mod position;
pub mod retention;
pub mod window;

use uuid::Uuid;

use super::time::Instant;
use position::FrameId;
use retention::Kept;
use window::Window;

/// The stream of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamKey {
    /// Execution.
    pub execution: Uuid,
    /// Number of the attempt.
    pub attempt: i32,
}

impl StreamKey {
    /// A number for locks and wake-ups. Two streams may share one, which makes them wait for each other or look once
    /// in vain.
    pub fn number(self) -> u64 {
        let (high, low) = self.execution.as_u64_pair();
        mix(high ^ mix(low ^ mix(self.attempt as u64)))
    }
}

/// Spreads the bits of a number over all of it.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// What is counted of the frames that survive a crash.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// The latest of them.
    pub last: FrameId,
    /// How many there have been.
    pub frames: i64,
    /// Bytes of their payloads.
    pub bytes: i64,
    /// Durable frames.
    pub durable: Kept,
    /// Patches.
    pub summary: Kept,
    /// When the latest was appended.
    pub last_at: Option<Instant>,
    /// Durable frames to keep, by the policy.
    pub maxlen: Option<i32>,
    /// Life of the stream after its end in milliseconds, by the policy.
    pub ttl_ms: Option<i64>,
    /// There have been best-effort frames.
    pub live: bool,
}

impl Logged {
    /// A stream that nothing has been appended to.
    pub fn new(maxlen: Option<i32>, ttl_ms: Option<i64>) -> Logged {
        Logged {
            last: FrameId::NONE,
            frames: 0,
            bytes: 0,
            durable: Kept::default(),
            summary: Kept::default(),
            last_at: None,
            maxlen,
            ttl_ms,
            live: false,
        }
    }
}

/// What is counted of best-effort frames, as far back as the server's last crash.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// The latest of them.
    pub last: FrameId,
    /// How many there have been.
    pub frames: i64,
    /// Bytes of their payloads.
    pub bytes: i64,
    /// The frames that stay.
    pub kept: Kept,
    /// How many may stay, and the rate that says so.
    pub window: Window,
    /// When the latest was appended.
    pub last_at: Instant,
}

/// A stream as its end found it. Frames behind the last one do not belong to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Final {
    /// The last frame, of whatever mode.
    pub last: FrameId,
    /// Frames ever appended.
    pub frames: i64,
    /// Bytes of their payloads.
    pub bytes: i64,
    /// Ordinal of the last durable frame.
    pub durable: i64,
    /// Ordinal of the last patch.
    pub summary: i64,
    /// When the last frame was appended.
    pub last_at: Option<Instant>,
}

/// A stream as it stands, from the rows of its two kinds.
pub fn so_far(logged: &Logged, live: Option<&Live>) -> Final {
    Final {
        last: live.map_or(logged.last, |l| l.last.max(logged.last)),
        frames: logged.frames + live.map_or(0, |l| l.frames),
        bytes: logged.bytes + live.map_or(0, |l| l.bytes),
        durable: logged.durable.last,
        summary: logged.summary.last,
        last_at: logged.last_at.max(live.map(|l| l.last_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn neighbouring_streams_have_numbers_far_apart() {
        let numbers: BTreeSet<u64> = (0..64u128)
            .flat_map(|id| (0..16).map(move |attempt| (id, attempt)))
            .map(|(id, attempt)| {
                let execution = Uuid::from_u128(id);
                StreamKey { execution, attempt }.number() >> 32
            })
            .collect();
        assert_eq!(numbers.len(), 64 * 16);
    }
}
