//! A whole row selected as one value: the executor carries one column through its nodes instead of eighty.

use pgrx::pg_sys;

use super::spi::{Column, Plain};

/// The attributes of a row value.
pub struct Composite {
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Composite {
    /// The attribute at a place of the table, counted from 0; NULL beyond the last.
    pub fn get<T: Column>(&self, index: usize) -> T {
        let null = self.nulls.get(index).copied().unwrap_or(true);
        T::read(
            self.values
                .get(index)
                .copied()
                .unwrap_or(pg_sys::Datum::null()),
            null,
        )
    }
}

impl Plain for Composite {
    fn from_plain(datum: pg_sys::Datum) -> Option<Self> {
        // SAFETY: the datum is a row value inside the result's memory, whose header names its type; the
        // descriptor is released after the attributes have been taken apart.
        unsafe {
            let header: pg_sys::HeapTupleHeader =
                pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast();
            let descriptor = pg_sys::lookup_rowtype_tupdesc(
                (*header).t_choice.t_datum.datum_typeid,
                (*header).t_choice.t_datum.datum_typmod,
            );
            let attributes = (*descriptor).natts as usize;
            let mut values = vec![pg_sys::Datum::null(); attributes];
            let mut nulls = vec![true; attributes];
            let mut tuple = pg_sys::HeapTupleData {
                t_len: pgrx::varsize_any(header.cast()) as u32,
                t_data: header,
                ..Default::default()
            };
            pg_sys::heap_deform_tuple(
                &mut tuple,
                descriptor,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
            if (*descriptor).tdrefcount >= 0 {
                pg_sys::DecrTupleDescRefCount(descriptor);
            }
            Some(Composite { values, nulls })
        }
    }
}

impl Column for Composite {
    fn read(datum: pg_sys::Datum, null: bool) -> Self {
        match Option::<Composite>::read(datum, null) {
            Some(row) => row,
            None => pgrx::error!("an engine statement returned no row where the schema forbids it"),
        }
    }
}
