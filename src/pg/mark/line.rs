//! The mark of one queue as a plain value: what moves it, without the memory and the locks around it.

/// A place in a queue, in claim order: rank, creation instant, identity.
pub type Place = (i16, i64, [u8; 16]);

/// Before every other place.
pub const HEAD: Place = (i16::MIN, i64::MIN, [0; 16]);

/// Behind every other place: the mark of a queue that offers nothing.
pub const TAIL: Place = (i16::MAX, i64::MAX, [u8::MAX; 16]);

/// A look from the head at least this often, microseconds.
pub const LOOK_EVERY: i64 = 1_000_000;
/// … and never for more than a hundredth of the time.
pub const LOOK_SHARE: i64 = 100;

/// A mark, and what is needed to move it safely.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    place: Place,
    generation: u64,
    looked_at: i64,
    look_cost: i64,
}

/// How the queue stood when a claim began.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Where the claim starts.
    pub from: Place,
    /// It starts at the head, whatever the mark.
    pub look: bool,
    generation: u64,
    began: i64,
}

impl Line {
    /// Of a queue nobody has claimed from.
    pub const NEW: Line = Line {
        place: HEAD,
        generation: 0,
        looked_at: 0,
        look_cost: 0,
    };

    /// Where a claim may start; none when it is time for a look.
    pub fn start(&self, now: i64) -> Option<Start> {
        let pause = LOOK_EVERY.max(self.look_cost * LOOK_SHARE);
        (now - self.looked_at < pause).then_some(Start {
            from: self.place,
            look: false,
            generation: self.generation,
            began: now,
        })
    }

    /// Begins a look from the head; the next claims start at the mark again.
    pub fn look(&mut self, now: i64) -> Start {
        self.looked_at = now;
        Start {
            from: HEAD,
            look: true,
            generation: self.generation,
            began: now,
        }
    }

    /// A claim that saw every entry has taken `first` before all others, or nothing.
    pub fn passed(&mut self, start: Start, first: Option<Place>, now: i64) {
        if start.look {
            self.look_cost = now - start.began;
        }
        if let Some(first) = first
            && self.generation == start.generation
            && (first > self.place || start.look)
        {
            self.place = first;
        }
    }

    /// An entry is visible that was not, or is free again.
    pub fn lower(&mut self, place: Place) {
        self.generation += 1;
        self.place = self.place.min(place);
    }
}
