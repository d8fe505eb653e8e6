//! The state vector and the words of the latest attempt as one number, which is how a row stores them.
//!
//! Every dimension takes the place of its value in `ALL`; an attempt's words count from 1, 0 means none. Values may
//! be added at the end of an `ALL`, never moved.

use super::words::*;

/// What one number holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    /// State vector.
    pub vector: Vector,
    /// State of the latest attempt's record.
    pub record: Option<AttemptRecord>,
    /// Its type.
    pub kind: Option<AttemptType>,
    /// The operation that ended or paused it.
    pub end_op: Option<EndOp>,
}

fn place<T: PartialEq>(all: &[T], value: &T) -> i32 {
    all.iter().position(|v| v == value).unwrap_or_default() as i32
}

fn place_of<T: PartialEq>(all: &[T], value: &Option<T>) -> i32 {
    value.as_ref().map_or(0, |v| place(all, v) + 1)
}

fn value<T: Copy>(all: &[T], number: i32, shift: u32, bits: u32) -> Option<T> {
    all.get((number >> shift) as usize & ((1 << bits) - 1))
        .copied()
}

fn value_or_none<T: Copy>(all: &[T], number: i32, shift: u32, bits: u32) -> Option<Option<T>> {
    match (number >> shift) as usize & ((1 << bits) - 1) {
        0 => Some(None),
        n => all.get(n - 1).map(|v| Some(*v)),
    }
}

impl Packed {
    /// The number.
    pub fn number(&self) -> i32 {
        let v = &self.vector;
        place(Lifecycle::ALL, &v.lifecycle)
            | place(Ownership::ALL, &v.ownership) << 2
            | place(Eligibility::ALL, &v.eligibility) << 4
            | place(Blocking::ALL, &v.blocking) << 8
            | place(TerminalOutcome::ALL, &v.outcome) << 13
            | place(AttemptState::ALL, &v.attempt) << 16
            | place_of(AttemptRecord::ALL, &self.record) << 19
            | place_of(AttemptType::ALL, &self.kind) << 22
            | place_of(EndOp::ALL, &self.end_op) << 25
    }

    /// What a number holds; none if it holds no words of the specification.
    pub fn from_number(n: i32) -> Option<Packed> {
        if n >> 28 != 0 {
            return None;
        }
        Some(Packed {
            vector: Vector {
                lifecycle: value(Lifecycle::ALL, n, 0, 2)?,
                ownership: value(Ownership::ALL, n, 2, 2)?,
                eligibility: value(Eligibility::ALL, n, 4, 4)?,
                blocking: value(Blocking::ALL, n, 8, 5)?,
                outcome: value(TerminalOutcome::ALL, n, 13, 3)?,
                attempt: value(AttemptState::ALL, n, 16, 3)?,
            },
            record: value_or_none(AttemptRecord::ALL, n, 19, 3)?,
            kind: value_or_none(AttemptType::ALL, n, 22, 3)?,
            end_op: value_or_none(EndOp::ALL, n, 25, 3)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_number_reads_as_what_it_was_made_of_or_as_nothing(n in any::<i32>()) {
            if let Some(packed) = Packed::from_number(n) {
                prop_assert_eq!(packed.number(), n);
            }
        }
    }

    #[test]
    fn every_word_fits() {
        assert!(
            Lifecycle::ALL.len() <= 4 && Ownership::ALL.len() <= 4 && Eligibility::ALL.len() <= 16
        );
        assert!(
            Blocking::ALL.len() <= 32
                && TerminalOutcome::ALL.len() <= 8
                && AttemptState::ALL.len() <= 8
        );
        assert!(
            AttemptRecord::ALL.len() <= 7 && AttemptType::ALL.len() <= 7 && EndOp::ALL.len() <= 7
        );
    }
}
