//! What a change means for the counts of executions per public state.

use super::transition::Change;
use super::words::PublicState;

/// An execution leaves one public state for another; none is before its creation or after its purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    from: Option<PublicState>,
    to: Option<PublicState>,
}

impl Moved {
    /// What a change moves, none if the public state stays.
    pub fn of(change: &Change) -> Option<Moved> {
        let from = change.before.as_deref().map(|e| e.vector.public_state());
        let to = Some(change.after.vector.public_state());
        (from != to).then_some(Moved { from, to })
    }

    /// As rows store it: sixteen times the place of the state that is left, and the place of the one that is entered.
    pub fn number(self) -> i16 {
        place(self.from) * 16 + place(self.to)
    }
}

/// The place of a public state among the words, counted from 1; 0 is none.
pub fn place(state: Option<PublicState>) -> i16 {
    let at = |state| PublicState::ALL.iter().position(|s| *s == state);
    state.and_then(at).map_or(0, |at| at as i16 + 1)
}

/// The public state at a place.
pub fn at(place: i16) -> Option<PublicState> {
    let index = usize::try_from(place).ok()?.checked_sub(1)?;
    PublicState::ALL.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_place_of_four_bits() {
        assert_eq!((place(None), at(0), at(-1)), (0, None, None));
        for state in PublicState::ALL {
            assert_eq!(at(place(Some(*state))), Some(*state));
            assert!((1..16).contains(&place(Some(*state))));
        }
        let moved = Moved {
            from: Some(PublicState::Skipped),
            to: Some(PublicState::Waiting),
        };
        let (from, to) = (moved.number() >> 4, moved.number() & 15);
        assert_eq!((at(from), at(to)), (moved.from, moved.to));
    }
}
